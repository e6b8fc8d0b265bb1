"""In asyncio's debug mode: a warning about a blocking-style call in a coroutine that happens not to have to wait.

Such a call works in tests, where the message has arrived already. In production, where it has not, the same call raises
`BlockingCallError`. So in debug mode the calls of sockets and Pollers warn, once for each place in the code.

A socket that warns never opens its fast path: every call takes the slow path, where `CheckedState` checks it. All other
sockets pay nothing for this. Whether a socket or a Poller warns is decided when it is made. These do:

- those made while a loop in debug mode runs in the thread;
- in Python's development mode or with ``$PYTHONASYNCIODEBUG``: also those made while no loop runs.

A socket that was made before the program has switched its loop to debug mode does not warn.
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

__all__ = ["CheckedState", "state_class", "warn_once"]

TYPE = int(zmq.TYPE)
#: The attribute of a loop that holds the places in the code for which the warning was given.
WARNED = "_greenzmq_warned"
#: These sockets drop a message that they cannot send. Some can be made to wait instead, but by an option that cannot be
#: read back, so no warning is given for any of them.
NEVER_WAIT_TO_SEND = (int(zmq.PUB), int(zmq.XPUB), int(zmq.ROUTER))


class CheckedState(SocketState):
    """See `SocketState`. It warns before the call is made, so that no message is lost where warnings are errors."""

    __slots__ = ()

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        for direction in (self.receiving, self.begin_sending()):
            direction.never_fast()

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """See `SocketState.perform`."""
        if not flags & DONTWAIT and is_debugged_coroutine() and self._could_wait(socket, direction):
            self._warn_if_ready(socket, direction.event, "recv" if direction is self.receiving else "send")
        return super().perform(socket, direction, call, flags, args, met_again)

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """See `SocketState.poll`."""
        if seconds != 0 and is_debugged_coroutine():
            self._warn_if_ready(socket, events, "poll")
        return super().poll(socket, events, seconds)

    def _could_wait(self, socket: Any, direction: Direction) -> bool:
        """Whether a call in this direction can wait at all, by the socket's type and its timeout."""
        if direction is self.sending and get_option(socket, TYPE) in NEVER_WAIT_TO_SEND:
            return False
        return get_option(socket, direction.timeout_option) != 0

    def _warn_if_ready(self, socket: Any, events: int, call: str) -> None:
        """Warn if the socket is ready. If it is not, the call is about to raise the error itself."""
        if self.check_events(socket) & events:
            warn_once(call)


def state_class(otherwise: bool | None) -> type[SocketState]:
    """The class of a new socket's state: one that warns if asyncio's debug mode is on here and now.

    `otherwise` is what holds where no loop runs; None asks the environment.
    """
    return CheckedState if asyncio_debugs(otherwise) else SocketState


def warn_once(call: str) -> None:
    """Warn, once for each loop, about the place in the program's code that has called greenzmq.

    `call` is what it has called, unless its frame says more: calls of the compiled fast path have none of their own.
    """
    outermost, caller = _caller()
    method = call if outermost == SocketState.perform.__name__ else outermost
    place = (caller.f_code.co_filename, caller.f_lineno)
    loop = coroutine_loop()
    places: set[tuple[str, int]] = getattr(loop, WARNED, None) or set()
    setattr(loop, WARNED, places)
    if place not in places:
        places.add(place)
        warnings.warn_explicit(
            f"{method}() was called in a coroutine. It need not wait this time; when it has to, it raises "
            "BlockingCallError. Write: await greenzmq.asyncio.run(function, *args); or await sockets of greenzmq.aio",
            RuntimeWarning,
            *place,
            module=caller.f_globals.get("__name__"),
            registry=caller.f_globals.setdefault("__warningregistry__", {}),
        )


def _caller() -> tuple[str, FrameType]:
    """Return the name of the function of greenzmq or pyzmq that the program has called, and the program's frame."""
    name, frame = "", sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        name, frame = frame.f_code.co_name, frame.f_back
    return name, frame


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("greenzmq", "zmq")
