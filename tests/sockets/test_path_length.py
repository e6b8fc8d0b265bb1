"""How long the hot paths are: bytecodes where nothing waits, exceptions and system calls where something does.

The bounds are what was counted when they were written. A change that needs more has to say in its commit what for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from greenlet import getcurrent
from support.inside import expects_eagain, is_compiled, is_shared, receivers_of, sleeps_alone, use_python
from support.sockets import connected, open_context, receives, until
from support.threads import LOST, eventually

import greenzmq
from greenzmq.hubs import known_hubs

PACKAGE = str(Path(greenzmq.__file__).parent)
HUBS = str(Path(greenzmq.__file__).parent / "hubs" / "")


def bytecodes(call: Callable[[], object]) -> int:
    """How many of greenzmq's own, without those of hubs, `call` executes in this greenlet."""
    executed: list[bool] = []
    with (watched if hasattr(sys, "monitoring") else traced)(executed):
        call()
    return sum(executed)


def counts(filename: str) -> bool:
    return filename.startswith(PACKAGE) and not filename.startswith(HUBS)


@contextmanager
def watched(executed: list[bool]) -> Iterator[None]:
    """Python 3.12 and later."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, event, here = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, getcurrent()
    monitoring.use_tool_id(tool, "path length")
    monitoring.register_callback(
        tool, event, lambda code, _: executed.append(counts(code.co_filename) and getcurrent() is here)
    )
    monitoring.set_events(tool, event)
    try:
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


@contextmanager
def traced(executed: list[bool]) -> Iterator[None]:
    here = getcurrent()

    def trace(frame: Any, event: str, _: object) -> Any:
        if not counts(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed.append(event == "opcode" and getcurrent() is here)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


# By the minor version of Python, what each was.
BYTECODES = {
    "send": (lambda s: s.send(b"m"), {10: 34, 11: 30, 12: 29, 13: 31}),
    "recv": (lambda s: s.recv(), {10: 31, 11: 33, 12: 30, 13: 31}),
    "send_multipart": (lambda s: s.send_multipart([b"l", b"m", b"n"]), {10: 116, 11: 125, 12: 115, 13: 112}),
    "recv_multipart": (lambda s: s.recv_multipart(), {10: 78, 11: 85, 12: 78, 13: 82}),
}


@pytest.mark.parametrize("operation", BYTECODES)
@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
def test_bytecodes_of_the_fast_path(operation, compiled, monkeypatch):
    """With nobody waiting and a message, or room, at hand a call is a handful of greenzmq's bytecodes, on any Python;
    with the extension it is none.

    Seen to fail with a test of `closed` before that of `fast_calls_left`.
    """
    if compiled and not is_compiled():
        pytest.skip("the extension is not used")
    if not compiled:
        use_python(monkeypatch)
    call, most = BYTECODES[operation]
    with zmq.Context() as plain:
        context = greenzmq.Context(plain)
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://length")
        push.connect("inproc://length")
        for _ in range(3):
            push.send_multipart([b"l", b"m", b"n"])
        pull.recv_multipart()  # both are on their fast paths now
        executed = bytecodes(lambda: call(push if "send" in operation else pull))
        push.close()
        pull.close()
    if compiled:
        assert executed == 0
    else:
        assert 0 < executed <= most.get(sys.version_info.minor, 1.2 * max(most.values()))


# Of a recv that waits, is woken by its message and takes it: what the greenlet that waits does, but for the hub's part.
OF_A_WAIT = {10: 599, 11: 567, 12: 536, 13: 542}

#: The same on a socket that threads share, with its lock. With the extension an attempt comes before the wait.
OF_A_SHARED_WAIT = {10: 894, 11: 873, 12: 806, 13: 807}

#: To have the watch stopped after the wait, where a watch does not rest: what the hub does then is not counted.
STOP = 10


@pytest.mark.runtime("asyncio", "eventlet", "gevent", "selector", "threading")  # others have their own
def test_bytecodes_of_a_wait(hub):
    """A wait is as long on every hub, and short.

    Seen to fail when the watch was stopped after each wait, and when each asked for the timeout.
    """
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)

        def receive() -> int:
            hub.spawn(push.send, b"m")
            executed = bytecodes(pull.recv)
            assert expects_eagain(pull) or (is_compiled() and is_shared(pull)), "it has not waited"
            return executed

        executed = [hub.spawn(lambda: [receive() for _ in range(3)]).get() for _ in range(2)][1]
    assert executed[0] > executed[1] == executed[2], "the first of a greenlet is noted as the last receiver"
    rests = hub.hub.supports_lazy_stop
    most = OF_A_SHARED_WAIT if hub.hub.runs_threads else OF_A_WAIT
    assert executed[2] <= most.get(sys.version_info.minor, 1.2 * max(most.values())) + (0 if rests else STOP)


@pytest.mark.runtime("threads")
@pytest.mark.skipif(not is_compiled(), reason="without the extension a thread waits by way of its hub")
def test_bytecodes_of_a_threads_wait(hub, context):
    """A thread that alone waits on a socket does so without any Python code, to receive and to send.

    Seen to fail with the usual wait of a shared socket: 614 to receive.
    """
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)

    def work(socket: Any, call: Callable[[], object]) -> list[int]:
        return [bytecodes(call) for _ in range(3)]

    receiving = hub.spawn(work, pull, pull.recv)
    eventually(lambda: receivers_of(pull))
    for _ in range(3):
        push.send(b"m")
        eventually(lambda: sleeps_alone(pull) or receiving.done)
    assert receiving.get(LOST)[1:] == [0, 0]


def test_exceptions_of_a_round_trip(hub, monkeypatch):
    """Of two greenlets that ask and answer none meets EAGAIN: who had to wait the last time looks before it tries.

    Seen to fail without `Direction.expect_eagain`: two in each round trip.
    """
    raised = []
    init = zmq.Again.__init__
    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR)

        def echo() -> None:
            for _ in range(103):
                other.send(other.recv())

        task = hub.spawn(echo)
        for _ in range(3):
            until(hub, lambda: receives(other))
            one.send(b"warm up")
            one.recv()
        monkeypatch.setattr(zmq.Again, "__init__", lambda self, *args: (raised.append(self), init(self, *args))[1])
        for _ in range(100):
            one.send(b"ping")
            one.recv()
        monkeypatch.undo()
        assert task.join(5)
    assert len(raised) <= 2  # a turn may end in between
    raised.clear()


ROUND_TRIPS = """\
import sys
import greenzmq as zmq
from greenzmq.cli.names import run_on

def main(hub):
    context = zmq.Context(hub=hub)
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    one.bind("inproc://one")
    other.connect("inproc://one")
    def echo():
        for _ in range({trips}):
            other.send(other.recv())
    task = hub.spawn(echo)
    for _ in range({trips}):
        one.send(b"")
        one.recv()
    task.get()
    one.close(), other.close(), context.term()

for name in {hubs!r}:
    run_on(name, main)
"""

#: The same between two native threads.
BETWEEN_THREADS = """\
import greenzmq.threading as zmq

def ask():
    for _ in range({trips}):
        one.send(b"")
        one.recv()

def answer():
    for _ in range({trips}):
        other.send(other.recv())

context = zmq.Context()
one, other = context.socket(zmq.REQ), context.socket(zmq.REP)
one.bind("inproc://one")
other.connect("inproc://one")
for task in [zmq.hub().spawn(ask), zmq.hub().spawn(answer)]:
    task.get()
context.destroy()
"""

LOOPS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "select", "pselect6")
LOOKS = ("poll", "ppoll")
TRIPS = 150


def system_calls(hubs: list[str]) -> Counter[str]:
    """What a process makes that runs so many round trips on each of these hubs."""
    return system_calls_of(ROUND_TRIPS.format(trips=TRIPS, hubs=hubs))


def system_calls_of(program: str) -> Counter[str]:
    """What a process makes that runs this."""
    calls = ",".join((*LOOPS, *LOOKS, "epoll_ctl"))
    command = ["strace", "-f", "-c", "-e", f"trace={calls}", sys.executable, "-W", "ignore", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50)
    if ran.returncode and "ptrace" in ran.stderr:
        pytest.skip(f"strace may not trace here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) (?: *\d+)? *(\w+)$", ran.stderr, re.MULTILINE)
    return Counter({call: int(number) for number, call in rows if call != "total"})


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_system_calls_of_a_round_trip():
    """Two greenlets that ask and answer go through the loop twice each round trip, and ask libzmq's mailbox six times.

    libzmq looks into it once more for each send that comes a millisecond after the last: twice on a slow machine.
    eventlet's hub adds and removes each watch, nobody else does. A hundred calls on each hub belong to the start and
    the end.
    Seen to fail with a second look at EVENTS for each signal.
    """
    hubs = [hub.name for hub in known_hubs() if hub.installed and hub.path.startswith("greenzmq.")]
    calls = system_calls(hubs)
    trips = TRIPS * len(hubs)
    assert sum(calls[call] for call in LOOPS) <= 2 * trips + 100, calls
    assert sum(calls[call] for call in LOOKS) <= 8 * trips + 100 * len(hubs), calls
    assert calls["epoll_ctl"] <= 4 * TRIPS * ("eventlet" in hubs) + 100, calls


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.skipif(not is_compiled(), reason="without the extension a thread waits by way of its hub")
def test_system_calls_of_a_round_trip_of_threads():
    """Two threads that ask and answer sleep once for a message, and no watch is registered for it.

    libzmq looks into the mailbox once in the attempt before the sleep, and twice in the one after it; and for each send
    that comes a millisecond after the last, as under strace.
    Seen to fail when the sleep left a lazily stopped watch in the hub's epoll: 5 calls of epoll_ctl for each trip.
    """
    trips = 10 * TRIPS
    calls = system_calls_of(BETWEEN_THREADS.format(trips=trips))
    assert sum(calls[call] for call in LOOPS) <= 2 * trips + 0.2 * trips + 100, calls
    assert sum(calls[call] for call in LOOKS) <= 8 * trips + 100, calls
    assert calls["epoll_ctl"] <= 0.2 * trips + 100, calls
