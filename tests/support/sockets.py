"""What the tests of sockets share: contexts that end with the test, connected pairs, ways to wait and to count.

No function here waits for a length of time. `until` waits until something is true. It gives up after so many rounds of
the hub that only a lost wake-up can take that long.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import greenlet
import pytest
import zmq
from support.inside import receivers_of, senders_of
from zmq.backend import Socket as BackendSocket

import greenzmq
from greenzmq.sockets.locked import LockedCalls
from greenzmq.testing import assert_no_switch as never_switches

__all__ = ["TICKS", "TRANSPORTS", "address", "connected", "count_switches", "descriptor", "fill", "never_switches"]
__all__ += [
    "each",
    "go_round_without",
    "in_hub",
    "is_open",
    "keep_sockets",
    "made_as",
    "open_context",
    "parked",
    "receives",
    "sends",
    "tick",
]
__all__ += ["until"]

TRANSPORTS = ("tcp", "ipc", "inproc")
#: For how many rounds of the hub a greenlet has to wait before the test does what it waits for.
TICKS = 5

_number = itertools.count()
# Not pytest's tmp_path, which may be too long for the path of a socket (zmq.IPC_PATH_MAX_LEN).
_directory = tempfile.mkdtemp(prefix="gz")
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

# pyzmq frees zero-copy buffers in a thread with a context of its own. Make both now, so that no test seems to leave
# them behind.
zmq.Frame(bytearray(1), copy=False)


def each(names: str, cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run all `cases` in one test, which then reports all those that have failed.

    ``pytest.mark.parametrize(names, cases)`` would make a new hub for each case, which takes longer than the case. If
    there is one name, it stands for each item of `cases`, or for each key if that is a dict. If there are several, such
    as ``"args, expected"``, they stand for the items of each value of the dict.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        parameters = names.split(", ")

        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            wrong = {}
            for case in cases:
                values = [case] if len(parameters) == 1 else cases[case]  # type: ignore[index]
                try:
                    test(**fixtures, **dict(zip(parameters, values, strict=True)))
                except (Exception, pytest.fail.Exception) as error:
                    wrong[case] = error
            if wrong:
                raise AssertionError("\n".join(f"{case}: {wrong[case]!r}" for case in wrong)) from wrong.popitem()[1]

        kept = [p for name, p in inspect.signature(test).parameters.items() if name not in parameters]
        run.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
        return run

    return decorate


@contextmanager
def open_context(hub: greenzmq.GreenHub, **options: Any) -> Iterator[greenzmq.Context]:
    """Make a context on `hub`. At the end of the block its sockets are closed without linger."""
    context = greenzmq.Context(hub=hub, **options)
    try:
        yield context
    finally:
        context.destroy(linger=0)
        context.__dict__.pop("kept", None)
        context.__dict__.pop("socket", None)


def keep_sockets(context: greenzmq.Context) -> greenzmq.Context:
    """Have the context's sockets live as long as it does, even if the test drops its references to them."""
    make, kept = context.socket, context.__dict__.setdefault("kept", [])

    def keep(*args: Any, **kwargs: Any) -> Any:
        kept.append(make(*args, **kwargs))
        return kept[-1]

    context.__dict__["socket"] = keep
    return context


def address(transport: str) -> str:
    """Return an address to bind to. For tcp the system chooses the port."""
    if transport == "tcp":
        return "tcp://127.0.0.1:*"
    return f"ipc://{_directory}/{next(_number)}" if transport == "ipc" else f"inproc://test-{next(_number)}"


def connected(
    context: greenzmq.Context, binds: int, connects: int, transport: str = "inproc", **options: int
) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """Make two sockets of these types and options. The first is bound, the second is connected to it."""
    bound, peer = context.socket(binds), context.socket(connects)
    context.__dict__.setdefault("kept", []).extend((bound, peer))
    for socket in (bound, peer):
        for name, value in options.items():
            setattr(socket, name, value)
    bound.bind(address(transport))
    peer.connect(bound.last_endpoint.decode())
    return bound, peer


def made_as(socket: zmq.Socket[Any]) -> type[zmq.Socket[Any]]:
    """The class that it was made as; one that threads share is of a subclass."""
    return next(cls for cls in type(socket).__mro__ if issubclass(cls, zmq.Socket) and not issubclass(cls, LockedCalls))


def descriptor(socket: zmq.Socket[Any]) -> int:
    """Return the number of the socket's ZMQ_FD.

    greenzmq does not learn of it: after ``socket.get(zmq.FD)`` it would have to expect that others watch the
    descriptor.
    """
    return cast(int, BackendSocket.get(socket, zmq.FD))


def receives(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet waits to receive from `socket`."""
    return bool(receivers_of(socket))


def sends(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet waits to send on `socket`."""
    return bool(senders_of(socket))


def until(hub: greenzmq.GreenHub, condition: Callable[[], object]) -> None:
    """Yield to the hub until `condition` holds."""
    for attempt in range(3000):
        if condition():
            return
        hub.sleep(0 if attempt < 100 else 0.001)
    raise AssertionError(f"{condition} does not come true")


def in_hub(hub: greenzmq.GreenHub, function: Callable[[], Any]) -> Any:
    """Call ``function()`` in the hub's own greenlet. Return its result, or the exception that it raised."""
    outcome: list[Any] = []

    def call() -> None:
        assert greenlet.getcurrent() is hub.hub.greenlet
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    hub.hub.call_soon(call)
    until(hub, lambda: outcome)
    return outcome.pop()


def tick(hub: greenzmq.GreenHub, *waiting: greenzmq.Task[Any]) -> None:
    """Yield to the hub `TICKS` times. No task of `waiting` may end meanwhile."""
    for _ in range(TICKS):
        hub.sleep()
        for task in waiting:
            assert not task.done, f"{task} did not wait"


def parked(
    hub: greenzmq.GreenHub,
    waits: Callable[[greenzmq.Socket], bool],
    function: Callable[..., Any],
    *args: Any,
    **kw: Any,
) -> greenzmq.Task[Any]:
    """Spawn a call of a socket's method, and return the task when it has waited for `TICKS` rounds of the hub."""
    task = hub.spawn(function, *args, **kw)
    until(hub, lambda: waits(function.__self__) or task.done)  # type: ignore[attr-defined]
    tick(hub, task)
    return task


def fill(socket: greenzmq.Socket, frame: bytes = b"fill") -> int:
    """Send until there is no more room. Return how many messages were sent."""
    for sent in itertools.count():
        try:
            socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return sent
    raise AssertionError


@contextmanager
def count_switches() -> Iterator[list[str]]:
    """Collect the switches between greenlets of this thread during the block, by greenlet's own trace function."""
    switches: list[str] = []
    before = greenlet.settrace(lambda event, _: switches.append(event))
    try:
        yield switches
    finally:
        greenlet.settrace(before)


def is_open(fd: int) -> bool:
    """Whether the descriptor is open. libzmq closes descriptors in a thread of its own."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def go_round_without(hub: greenzmq.GreenHub, fd: int) -> None:
    """Block the hub until the descriptor is closed, then let it go round."""
    while is_open(fd):
        time.sleep(0.001)
    for _ in range(3):
        hub.sleep(0.001)
