"""``RCVTIMEO`` and ``SNDTIMEO`` of one socket, cached, since to read one from libzmq is 5 % of a short wait's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from .waiters import get_option

if TYPE_CHECKING:
    from .directions import Direction
    from .waiters import SocketWaiters

__all__ = ["TimeoutCache"]


#: Both timeouts where libzmq has to be asked for them.
UNKNOWN: tuple[int | None, int | None] = (None, None)


class TimeoutCache:
    """A socket's two timeouts, in milliseconds.

    Parameters
    ----------
    waiters : SocketWaiters
        The socket's waiters: all are woken if libzmq cannot read an option, because the context has ended or the socket
        is closed.

    Attributes
    ----------
    known : tuple of two int or None
        The cached timeouts, by `Direction.index`; None where libzmq has to be asked.
    keeps : bool
        Whether timeouts are cached. Only while green objects alone know the socket: then no option is set past
        `Socket.set`, which calls `forget`.
    """

    __slots__ = ("_version", "_waiters", "keeps", "known")

    def __init__(self, waiters: SocketWaiters) -> None:
        self._waiters = waiters
        self.keeps = False
        self.known = UNKNOWN
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
            self._waiters.wake_all()
            raise
        if self.keeps:
            receiving, sending = self.known
            self.known = (receiving, milliseconds) if direction.index else (milliseconds, sending)
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
        self.known = UNKNOWN
