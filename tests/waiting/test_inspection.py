"""`greenzmq.waiters` and `greenzmq.dump`: who waits, for what, since when, until when, and where in the code."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
import zmq
from support.asyncio import loop_name, run_on
from support.children import Child, Children
from support.forked import RUNTIMES
from support.inside import count_clock, greenlet_of
from support.sockets import connected, fill, never_switches, open_context, until
from support.variants import Variant

import greenzmq
from greenzmq import diagnostics as inspection
from greenzmq.process import unpatched
from greenzmq.waiting import waiter as waiting

__all__ = ["loop_name"]

LONG = 1000.0
#: What a greenlet waits for that has worked long enough.
TURN = "its next turn"


class Situation:
    """Greenlets that wait in every way there is, each named after its way, and what has to be said of each."""

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context) -> None:
        self.hub = hub
        self.tasks: dict[str, greenzmq.Task[Any]] = {}
        self.expected: dict[str, dict[str, Any]] = {}
        self.pull, _ = connected(context, zmq.PULL, zmq.PUSH, "tcp", rcvtimeo=int(LONG * 1000))
        self.full, _ = connected(context, zmq.PUSH, zmq.PULL, sndhwm=1, rcvhwm=1)
        fill(self.full)
        self.router, self.dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        self.natives = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        self.other = greenzmq.Context(hub=hub)
        self.lingering = self.other.socket(zmq.PUSH)
        self.lingering.linger = 0
        self.lingering.connect("inproc://nobody")
        self.event, self.native = greenzmq.GreenEvent(), threading.Event()
        self.reader, self.writer = os.pipe()

    def add(self, name: str, wait: Callable[[], object], **expected: Any) -> None:
        def waits() -> object:
            return wait()

        self.tasks[name] = self.hub.spawn(waits)
        self.expected[name] = expected

    def begin(self) -> None:
        pull, hub = self.pull, self.hub
        tcp = pull.last_endpoint.decode()
        receiving = {"socket": pull, "type": "PULL", "endpoint": tcp, "direction": "in", "limit": LONG}
        self.add("recv", pull.recv, call="recv", what=f"PULL {tcp}", **receiving)
        self.add("queued", pull.recv_multipart, call="recv_multipart", **receiving)
        self.add("through pyzmq", pull.recv_json, call="recv_json", **receiving)
        self.add("send", lambda: self.full.send(b"x"), call="send", socket=self.full, type="PUSH", direction="out")
        poll_both = zmq.POLLIN | zmq.POLLOUT
        self.add("poll", lambda: pull.poll(9e6, poll_both), call="poll", socket=pull, direction="in|out", limit=9e3)
        self.add(
            "Poller", self.poller().poll, call="poll", socket=None, what=f"one of 6: PULL {tcp} in, fd {self.reader}"
        )
        self.add("select", lambda: greenzmq.select([pull], [], [], LONG), call="select", limit=LONG)
        self.add("join", self.tasks["recv"].join, call="join", what=f"{self.tasks['recv']!r}")
        self.add("get", lambda: self.tasks["recv"].get(LONG), call="get", what=f"{self.tasks['recv']!r}", limit=LONG)
        self.add("run", lambda: hub.run(hub.sleep, LONG), call="run", what="<Task GreenHub.sleep running")
        self.add("sleep", lambda: hub.sleep(LONG), call="sleep", what="", limit=LONG)
        self.add("event", self.event.wait, call="wait", what="<greenzmq.GreenEvent clear>")
        self.add("fd", lambda: hub.wait_fd(self.reader), call="wait_fd", what=f"fd {self.reader} in", direction="in")
        self.add("thread", lambda: hub.run_in_thread(self.native.wait), call="run_in_thread", what="Event.wait")
        ends = "ROUTER without address <-> DEALER without address"
        self.add("proxy", lambda: greenzmq.proxy(self.router, self.dealer, hub=hub.hub), call="proxy", what=ends)
        self.add("native", lambda: greenzmq.proxy(*self.natives, native=True, hub=hub.hub), call="proxy", what=ends)
        self.add("term", self.other.term, call="term", what=repr(self.other))
        self.events = greenzmq.monitor_events(self.full)
        self.add("monitor", self.events.__next__, call="recv_multipart", what="events of PUSH", socket=self.full)
        tracker = self.lingering.send(bytes(99999), copy=False, track=True)
        self.add("tracker", tracker.wait, call="wait", what="<greenzmq.sockets.tracker.MessageTracker")

    def poller(self) -> greenzmq.Poller:
        poller = greenzmq.Poller(hub=self.hub)
        poller.register(self.pull, zmq.POLLIN)
        poller.register(self.reader, zmq.POLLIN)
        for _ in range(4):
            poller.register(greenzmq.GreenEvent(), zmq.POLLIN)
        return poller

    def end(self) -> None:
        for task in self.tasks.values():
            task.kill()
        self.native.set()
        self.lingering.close()
        self.events.close()
        for end in (self.reader, self.writer):
            os.close(end)


def test_every_way_to_wait(hub, context):
    """Of each way to wait is told the call, the object, its type, address and direction, the deadline and the place."""
    situation = Situation(hub, context)
    before = monotonic()
    situation.begin()
    until(hub, lambda: len(found_in(situation)) == len(situation.tasks))
    found = found_in(situation)
    for name, expected in situation.expected.items():
        check(found[name], before, **expected)
        assert found[name].hub is hub.hub
        assert found[name].thread == hub.hub.thread_name
    situation.end()


def found_in(situation: Situation) -> dict[str, inspection.ParkedGreenlet]:
    greenlets = {greenlet_of(task): name for name, task in situation.tasks.items()}
    return {
        greenlets[parked.greenlet]: parked
        for parked in greenzmq.waiters()
        if parked.greenlet in greenlets and parked.what != TURN
    }


def check(
    parked: inspection.ParkedGreenlet, before: float, *, what: str = "", limit: float = 0, **expected: Any
) -> None:
    for attribute, value in expected.items():
        assert getattr(parked, attribute) == value, parked
    assert parked.what.startswith(what), parked
    assert before <= parked.since <= monotonic()
    assert (parked.deadline is None) == (not limit), parked
    if parked.deadline is not None:
        assert parked.deadline == pytest.approx(parked.since + limit)
    assert f"{__file__}:" in parked.place
    assert parked.place.endswith("in waits") or "lambda" in parked.place


def test_both_ends_of_the_bridge(loop_name):
    """On asyncio the greenlet is seen in which a coroutine makes its call, and the one that awaits the coroutine."""
    import greenzmq.asyncio as bridge

    async def main() -> None:
        with greenzmq.Context(hub="asyncio") as context:
            pull, push = connected(context, zmq.PULL, zmq.PUSH)
            task = bridge.spawn(lambda: bridge.await_(bridge.run(pull.recv)))
            for _ in range(3000):
                if of(pull):
                    break
                await asyncio.sleep(0)
            assert of(pull)[0].call == "recv"
            (awaiting,) = of_task(task)
            assert awaiting.call == "await_"
            assert awaiting.what.startswith("<coroutine object run ")
            assert awaiting.place.startswith(f"{__file__}:")
            push.send(b"x")
            assert await task == b"x"
            await bridge.run(context.destroy, 0)
            context.__dict__.pop("kept", None)

    run_on(loop_name, main())


def test_only_those_that_wait(hub, push_pull):
    """A greenlet is listed from when it parks until it has been resumed; asking never switches."""
    push, pull = push_pull
    assert not of(pull)
    task = hub.spawn(pull.recv)
    assert not of(pull)
    until(hub, lambda: of(pull))
    with never_switches():
        (parked,) = of(pull)
    assert parked.greenlet is greenlet_of(task)
    assert parked.place == ""  # no code but the library's
    push.send(b"x")
    task.join()
    assert not of(pull)


def of(socket: greenzmq.Socket) -> list[inspection.ParkedGreenlet]:
    return [parked for parked in greenzmq.waiters() if parked.socket is socket]


def test_from_another_thread(hub, context):
    """Another thread sees the same, and on which hub and in which thread each waits."""
    pull, _ = connected(context, zmq.PULL, zmq.PUSH)
    task = hub.spawn(pull.recv)
    until(hub, lambda: of(pull))
    (parked,) = hub.run_in_thread(of, pull)
    assert (parked.hub, parked.thread) == (hub.hub, unpatched.thread_name())
    task.kill()


def test_from_the_hub_itself(hub, context):
    """A callback may ask, too: also of a greenlet that is parked under it, or that it has just woken."""
    pull, _ = connected(context, zmq.PULL, zmq.PUSH)
    task = hub.spawn(pull.recv)
    until(hub, lambda: of(pull))
    found: list[int] = []
    hub.hub.call_soon(lambda: found.append(len(of(pull))))
    until(hub, lambda: found)
    assert found == [1]
    task.kill()


def test_closed_sockets_and_ended_contexts(hub, context):
    """What greenlets wait for may be gone; who asks is told so, and nothing is raised."""
    pull, _ = connected(context, zmq.PULL, zmq.PUSH)
    poller = greenzmq.Poller(hub=hub)
    poller.register(pull)
    poller.register(event := greenzmq.GreenEvent(), zmq.POLLIN)
    task = hub.spawn(poller.poll)
    until(hub, lambda: of_task(task))
    pull.close()  # the task is woken but has not run
    assert "PULL closed" in of_task(task)[0].what
    with pytest.raises(zmq.ZMQError):
        task.get()
    del event


def of_task(task: greenzmq.Task[Any]) -> list[inspection.ParkedGreenlet]:
    found = (parked for parked in greenzmq.waiters() if parked.greenlet is greenlet_of(task))
    return [parked for parked in found if parked.what != TURN]


def test_a_repr_that_raises(hub):
    """A program's own object that cannot be shown is shown as such."""

    class Unspeakable(greenzmq.GreenEvent):
        def __repr__(self) -> str:
            raise LookupError("no words")

    event = Unspeakable()
    task = hub.spawn(event.wait)
    until(hub, lambda: of_task(task))
    assert of_task(task)[0].what == "? (LookupError('no words'))"
    event.set()
    task.join()


def test_objects_that_lie_about_their_class(hub):
    """Asking runs no code of the objects it passes by: one whose `__class__` raises does no harm."""

    class Liar:
        @property
        def __class__(self) -> Any:
            raise AssertionError("asked")

    liars = [Liar()]
    greenzmq.waiters()
    del liars


def test_half_made_waiters(hub):
    """One that another thread is making just now, which the collector knows of already, is passed over."""
    half_made = waiting.Waiter.__new__(waiting.Waiter)
    greenzmq.waiters()
    del half_made


def test_a_limit_that_ends_meanwhile(hub, push_pull, monkeypatch):
    """Another thread may end a wait while this one describes it: the limit is asked for once."""
    _, pull = push_pull
    task = hub.spawn(pull.recv)
    until(hub, lambda: of(pull))
    limits = iter([LONG])
    monkeypatch.setattr(waiting.Waiter, "timeout", property(lambda waiter: next(limits, None)))
    (parked,) = of(pull)
    assert parked.deadline == parked.since + LONG
    task.kill()


def test_from_another_thread_all_the_time(hub):
    """A thread that asks again and again while messages go to and fro finds what makes sense, and disturbs nobody."""
    found: list[inspection.ParkedGreenlet] = []
    over: list[bool] = []

    def ask() -> None:
        while not over:
            found.extend(of(left) + of(right))

    def echo(socket: greenzmq.Socket) -> None:
        while (message := socket.recv()) != b"end":
            socket.send(message)

    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        asking = hub.spawn(hub.run_in_thread, ask)
        echoing = hub.spawn(echo, right)
        for _ in range(1000):
            left.send(b"x")
            assert left.recv() == b"x"
            if len(found) >= 5:
                break
        left.send(b"end")
        echoing.get()
        over.append(True)
        asking.get()
    assert {(each.call, each.what[:4]) for each in found} <= {("recv", "PAIR"), ("recv", TURN[:4]), ("send", TURN[:4])}


def test_dump(hub):
    """`dump` prints a line for each that waits, the places in the code, and what each thread does."""
    with open_context(hub) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH)
        task = hub.spawn(lambda: [pull.recv()])
        until(hub, lambda: of(pull))
        file = io.StringIO()
        greenzmq.dump(file)
        task.kill()
    text = file.getvalue()
    assert f"on {hub.hub!r}:\n" in text
    assert f"  recv PULL {pull_address(text)} for " in text
    assert ", no deadline\n" in text
    assert f'    File "{__file__}", line ' in text
    assert f'thread {hub.hub.thread_name} is in:\n    File "{__file__}", line ' in text


def pull_address(text: str) -> str:
    return text.partition("recv PULL ")[2].partition(" ")[0]


def test_it_costs_nothing_until_asked(hub, monkeypatch):
    """A wait that parks reads the clock once, when it begins; a call on the fast path does not read it."""
    waits: list[float] = []
    with open_context(hub, turn=0) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        for number in range(3):
            push.send(b"%d" % number)
            pull.recv()
            if number == 0:  # both are on their fast paths now
                count_clock(monkeypatch, lambda: waits.append(0))
        assert not waits
        task = hub.spawn(pull.recv)
        hub.hub.call_soon(lambda: push.send(b"x"))
        task.join()
        assert len(waits) == 2  # recv's and join's


# -- on a signal -------------------------------------------------------------------------------------------------------

SIGNAL = (("GREENZMQ_DUMP_SIGNAL", "usr1"),)
PROGRAM = "from programs import inspection; inspection.run({!r})"


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    items = [item for item in request.session.items if item.module is request.module]
    asked = dict.fromkeys(item.callspec.params["variant"] for item in items if "children" in item.fixturenames)
    running = Children({v.id: Child(PROGRAM.format(v.id), SIGNAL, imported=RUNTIMES) for v in asked if not v.missing})
    yield running
    running.close()


def test_on_a_signal(variant: Variant, children: Children) -> None:
    """The signal dumps at once, while a greenlet keeps the hub busy and while it sleeps; what was there goes on."""
    done = children[variant.id]
    busy, asleep, rest = parts(done.err)
    for dumped, place in ((busy, "in keep_hub_busy"), (asleep, "in wait_asleep")):
        assert "  recv PULL inproc://address for " in dumped, done.err
        assert place in dumped, done.err
    assert "wait <greenzmq.GreenEvent clear>" in asleep
    assert (done.status, done.out, rest) == (0, "", ""), done.err


def parts(text: str) -> list[str]:
    found, rest = text.split("---asleep\n")
    return [found, *rest.split("---end\n")]


def test_no_handler_unasked(monkeypatch):
    """Without the variable greenzmq installs nothing."""
    monkeypatch.delenv("GREENZMQ_DUMP_SIGNAL", raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    inspection.install_from_environment()
    assert signal.getsignal(signal.SIGUSR1) is before
    assert getattr(before, "__module__", "") != inspection.__name__


def test_not_in_another_thread(monkeypatch):
    """Imported first in another thread greenzmq cannot install it, and says so in a warning."""
    monkeypatch.setenv("GREENZMQ_DUMP_SIGNAL", "USR1")
    before = signal.getsignal(signal.SIGUSR1)
    thread = threading.Thread(target=inspection.install_from_environment)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread.start()
        thread.join()
    (warning,) = (each for each in caught if each.category is RuntimeWarning)
    assert str(warning.message).startswith("GREENZMQ_DUMP_SIGNAL has no effect: SIGUSR1: only the main thread")
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.parametrize("name", ["USR7", "KILL", "SIGSTOP", "10", " "])
def test_wrong_names(monkeypatch, name):
    """What is no signal's name, or that of one which nobody can handle, is a warning that says what can be written.

    Seen to fail when it was an error, which took greenzmq away from the program.
    """
    monkeypatch.setenv("GREENZMQ_DUMP_SIGNAL", name)
    with pytest.warns(
        RuntimeWarning, match=f"GREENZMQ_DUMP_SIGNAL has no effect: .* {name!r} here; use one of"
    ) as seen:
        inspection.install_from_environment()
    names = str(seen[0].message).partition("one of ")[2].split(", ")
    assert {"HUP", "TERM", "USR1"} <= {*names}
    assert not {"KILL", "STOP"} & {*names}


def run_with_dump_signal(name: str, program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GREENZMQ_DUMP_SIGNAL": name}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_a_wrong_name_and_the_import():
    """A program that imports greenzmq runs on, and is told once."""
    done = run_with_dump_signal("USR7", "import greenzmq; print(greenzmq.__name__)")
    assert (done.returncode, done.stdout) == (0, "greenzmq\n"), done.stderr
    assert done.stderr.count("RuntimeWarning: GREENZMQ_DUMP_SIGNAL has no effect: ") == 1


def test_each_name_that_the_warning_lists_can_be_written():
    """A handler can be installed for every one of them. Seen to fail with KILL and STOP."""
    program = """
from greenzmq import diagnostics
try:
    diagnostics.dump_on_signal("nonsense")
except ValueError as error:
    for name in str(error).partition("one of ")[2].split(", "):
        diagnostics.dump_on_signal(name)
    print("all")
"""
    done = run_with_dump_signal("", program)
    assert (done.stdout, done.stderr) == ("all\n", "")
