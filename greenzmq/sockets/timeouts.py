"""``RCVTIMEO`` and ``SNDTIMEO`` of one socket, cached, since to read one from libzmq is 5 % of a short wait's cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from .waiters import get_option

if TYPE_CHECKING:
    from .directions import Direction

__all__ = ["TimeoutCache"]


class TimeoutCache:
    """A socket's two timeouts, in milliseconds.

    Parameters
    ----------
    on_error : callable
        Called if libzmq cannot read an option, because the context has ended or the socket is closed.

    Attributes
    ----------
    known : list of int or None
        The cached timeouts, by `Direction.index`; None where libzmq has to be asked.
    keeps : bool
        Whether timeouts are cached. Only while green objects alone know the socket: then no option is set past
        `Socket.set`, which calls `forget`.
    """

    __slots__ = ("_on_error", "_version", "keeps", "known")

    def __init__(self, on_error: Callable[[], object]) -> None:
        self._on_error = on_error
        self.keeps = False
        self.known: list[int | None] = [None, None]
        self._version = 0

    def get(self, socket: Any, direction: Direction) -> int:
        """The timeout of a direction, in milliseconds; negative waits for ever. Never switches."""
        known = self.known[direction.index]
        return self._ask(socket, direction) if known is None else known

    def _ask(self, socket: Any, direction: Direction) -> int:
        version = self._version
        try:
            milliseconds = get_option(socket, direction.timeout_option)
        except zmq.ZMQError:
            self._on_error()
            raise
        if self.keeps:
            self.known[direction.index] = milliseconds
            if self._version != version:  # a signal handler has set it after libzmq was asked
                self.forget()
        return milliseconds

    def keep(self) -> None:
        """Cache timeouts from now on."""
        self.keeps = True

    def expose(self) -> None:
        """Cache nothing any more: others have the socket's address, and may set its options unnoticed."""
        self.keeps = False
        self.forget()

    def forget(self) -> None:
        """Empty the cache, because an option was set or the socket has ended."""
        self._version += 1
        self.known[:] = None, None
