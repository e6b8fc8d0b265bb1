"""For asyncio's debug mode: a warning of blocking-style calls in coroutines that happen not to wait.

Such a call works in tests, where the message is there, and is a `BlockingCallError` in production, where it is not. In
debug mode the calls of sockets and Pollers warn, once for each place in the code that makes one.

A socket that is to warn never opens its fast path, so that every call comes by the slow path, where `CheckedState`
looks. The others, all of them outside of debug mode, pay nothing. Which sockets and Pollers these are is known when
they are made:

- those made while a loop in debug mode runs in the thread;
- all, in Python's development mode or under ``$PYTHONASYNCIODEBUG``, but while a loop without debug mode runs.

What was made before the program itself has put a loop into debug mode does not warn.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import zmq

from ..hubs import asyncio_debugs, coroutine_loop, is_debugged_coroutine
from .operations import DONTWAIT, Args, Call, Result, SocketState
from .waiters import get_option

if TYPE_CHECKING:
    from types import FrameType

    from .directions import Direction

__all__ = ["CheckedState", "new_state", "warn_once"]

TYPE = int(zmq.TYPE)
#: The attribute of a loop that has the places in which it has been warned.
WARNED = "_greenzmq_warned"
#: They drop what they cannot send. Some can be asked to wait instead, by an option that cannot be read.
NEVER_WAIT_TO_SEND = (int(zmq.PUB), int(zmq.XPUB), int(zmq.ROUTER))


class CheckedState(SocketState):
    """See `SocketState`. It warns before anything is done: where warnings are errors no message is lost."""

    __slots__ = ()

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        for direction in (self.receiving, self.sending):
            direction.never_fast()

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """See `SocketState.perform`."""
        if not flags & DONTWAIT and is_debugged_coroutine() and self._could_wait(socket, direction):
            self._warn_if_ready(socket, direction.event)
        return super().perform(socket, direction, call, flags, args, met_again)

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """See `SocketState.poll`."""
        if seconds != 0 and is_debugged_coroutine():
            self._warn_if_ready(socket, events)
        return super().poll(socket, events, seconds)

    def _could_wait(self, socket: Any, direction: Direction) -> bool:
        if direction is self.sending and get_option(socket, TYPE) in NEVER_WAIT_TO_SEND:
            return False
        return get_option(socket, direction.timeout_option) != 0

    def _warn_if_ready(self, socket: Any, events: int) -> None:
        """What is not ready is about to raise the error of which this would warn."""
        if self.waiters.check_events(socket) & events:
            warn_once()


def new_state(turn: float) -> SocketState:
    """The readiness of a socket that is made here and now."""
    return CheckedState(turn) if asyncio_debugs() else SocketState(turn)


def warn_once() -> None:
    """Warn where somebody else has made the call in which this is: once for each place and loop."""
    method, caller = _caller()
    place = (caller.f_code.co_filename, caller.f_lineno)
    loop = coroutine_loop()
    places: set[tuple[str, int]] = getattr(loop, WARNED, None) or set()
    setattr(loop, WARNED, places)
    if place not in places:
        places.add(place)
        warnings.warn_explicit(
            f"{method}() in a coroutine need not wait this time; when it has to, it is a BlockingCallError. "
            "Write: await greenzmq.asyncio.run(function, *args)",
            RuntimeWarning,
            *place,
            module=caller.f_globals.get("__name__"),
            registry=caller.f_globals.setdefault("__warningregistry__", {}),
        )


def _caller() -> tuple[str, FrameType]:
    """The function that somebody else has called, greenzmq's or pyzmq's, and the frame that has called it."""
    name, frame = "", sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        name, frame = frame.f_code.co_name, frame.f_back
    return name, frame


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("greenzmq", "zmq")
