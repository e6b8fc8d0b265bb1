"""What the tests of sockets share: contexts that end with the test, connected pairs, ways to wait and to count.

Nothing here waits for a time: `until` waits for a thing, and gives up after so many rounds that only a lost wake-up
takes that long.
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
from greenzmq.testing import assert_no_switch as never_switches

__all__ = ["TICKS", "TRANSPORTS", "address", "connected", "count_switches", "descriptor", "fill", "never_switches"]
__all__ += [
    "each",
    "go_round_without",
    "in_hub",
    "is_open",
    "keep_sockets",
    "open_context",
    "parked",
    "receives",
    "sends",
    "tick",
]
__all__ += ["until"]

TRANSPORTS = ("tcp", "ipc", "inproc")
#: Rounds that the hub makes while a greenlet waits, before that very ticker triggers what is waited for.
TICKS = 5

_number = itertools.count()
# Not pytest's tmp_path, which may be longer than a socket's path may be (zmq.IPC_PATH_MAX_LEN).
_directory = tempfile.mkdtemp(prefix="gz")
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

# pyzmq frees zero-copy buffers in a thread with a context of its own, made at the first use: not part of any one test.
zmq.Frame(bytearray(1), copy=False)


def each(names: str, cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As ``pytest.mark.parametrize(names, cases)``, but all cases in one test; those that fail are named together.

    To give each a hub of its own would cost more than the cases themselves. One name stands for the keys of a table,
    several ("args, expected") for the items of each of its values.
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
    """A context on `hub`; at the end its sockets are closed without linger, whatever the test left in them."""
    context = greenzmq.Context(hub=hub, **options)
    try:
        yield context
    finally:
        context.destroy(linger=0)
        context.__dict__.pop("kept", None)
        context.__dict__.pop("socket", None)


def keep_sockets(context: greenzmq.Context) -> greenzmq.Context:
    """Have the context's sockets live as long as it does: those that only a test's frame knows, too."""
    make, kept = context.socket, context.__dict__.setdefault("kept", [])

    def keep(*args: Any, **kwargs: Any) -> Any:
        kept.append(make(*args, **kwargs))
        return kept[-1]

    context.__dict__["socket"] = keep
    return context


def address(transport: str) -> str:
    """Something to bind to; the system chooses the port."""
    if transport == "tcp":
        return "tcp://127.0.0.1:*"
    return f"ipc://{_directory}/{next(_number)}" if transport == "ipc" else f"inproc://test-{next(_number)}"


def connected(
    context: greenzmq.Context, binds: int, connects: int, transport: str = "inproc", **options: int
) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """Two sockets of these types, the first bound, the second connected to it, both with these options."""
    bound, peer = context.socket(binds), context.socket(connects)
    context.__dict__.setdefault("kept", []).extend((bound, peer))
    for socket in (bound, peer):
        for name, value in options.items():
            setattr(socket, name, value)
    bound.bind(address(transport))
    peer.connect(bound.last_endpoint.decode())
    return bound, peer


def descriptor(socket: zmq.Socket[Any]) -> int:
    """The number of its ZMQ_FD, asked behind greenzmq's back: who asks openly may watch it, too."""
    return cast(int, BackendSocket.get(socket, zmq.FD))


def receives(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet waits for a message of `socket`."""
    return bool(receivers_of(socket))


def sends(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet waits for room in `socket`."""
    return bool(senders_of(socket))


def until(hub: greenzmq.GreenHub, condition: Callable[[], object]) -> None:
    """Let the hub go round until `condition` holds."""
    for attempt in range(3000):
        if condition():
            return
        hub.sleep(0 if attempt < 100 else 0.001)
    raise AssertionError(f"{condition} does not come true")


def in_hub(hub: greenzmq.GreenHub, function: Callable[[], Any]) -> Any:
    """What ``function()`` returns or raises in the hub's own greenlet."""
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
    """Let the hub go round `TICKS` times; none of `waiting` may end meanwhile."""
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
    """Spawn a call of a socket's method, and come back when the hub has gone round `TICKS` times while it waits."""
    task = hub.spawn(function, *args, **kw)
    until(hub, lambda: waits(function.__self__) or task.done)  # type: ignore[attr-defined]
    tick(hub, task)
    return task


def fill(socket: greenzmq.Socket, frame: bytes = b"fill") -> int:
    """Send until there is no more room. How often."""
    for sent in itertools.count():
        try:
            socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return sent
    raise AssertionError


@contextmanager
def count_switches() -> Iterator[list[str]]:
    """The switches between greenlets of this thread, counted by greenlet itself, whoever makes them."""
    switches: list[str] = []
    before = greenlet.settrace(lambda event, _: switches.append(event))
    try:
        yield switches
    finally:
        greenlet.settrace(before)


def is_open(fd: int) -> bool:
    """Whether the descriptor is open; libzmq closes it in a thread of its own."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def go_round_without(hub: greenzmq.GreenHub, fd: int) -> None:
    """Let the hub go round for the first time after the descriptor is closed; until then block it."""
    while is_open(fd):
        time.sleep(0.001)
    for _ in range(3):
        hub.sleep(0.001)
