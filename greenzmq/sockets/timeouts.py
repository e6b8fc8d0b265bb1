"""``RCVTIMEO`` and ``SNDTIMEO`` of one socket, remembered: to ask is 5 % of what a short wait costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from .waiters import get_option

if TYPE_CHECKING:
    from .directions import Direction

__all__ = ["TimeoutCache"]


class TimeoutCache:
    """What is known of a socket's timeouts, in milliseconds.

    Parameters
    ----------
    on_error : callable
        Called if libzmq refuses to answer: the context has ended, or the socket is closed.

    Attributes
    ----------
    known : list of int or None
        By `Direction.index`; None where it has to be asked.
    keeps : bool
        Whether an answer is kept: only green objects know the socket, so no option is set without a word.
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
            if self._version != version:  # a signal handler has set it after the look
                self.forget()
        return milliseconds

    def keep(self) -> None:
        """Answers may be kept from now on."""
        self.keeps = True

    def expose(self) -> None:
        """The socket is given away: somebody else may set its options without a word."""
        self.keeps = False
        self.forget()

    def forget(self) -> None:
        """An option was set, or the socket has ended: the next wait has to ask."""
        self._version += 1
        self.known[:] = None, None
