"""One small interface to epoll, or to the best of `selectors` where there is no epoll, for the selector hub.

Also `StandIn`, a descriptor that libuv's loops watch in place of one whose flags they must not change.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ..process import unpatched

__all__ = ["IN", "OUT", "StandIn", "leave_to_parent", "new_selector"]

IN, OUT = 1, 4  # select.EPOLLIN, select.EPOLLOUT


def new_selector() -> Any:
    """Return an `_Epoll` where there is epoll, else a `_Portable`."""
    return _Portable() if unpatched.epoll is None else _Epoll()


class _Epoll:
    """epoll itself. The `select` of `selectors.EpollSelector` takes twice as long as the system call alone."""

    name = "EpollSelector"

    def __init__(self) -> None:
        epoll: Any = unpatched.epoll
        self._epoll = epoll()
        self.close = self._epoll.close
        self.fileno = self._epoll.fileno

    def register(self, fd: int, flags: int) -> None:
        try:
            self._epoll.register(fd, flags)
        except FileExistsError:  # registered before, but an exception kept the caller from noting that
            self._epoll.modify(fd, flags)

    def modify(self, fd: int, flags: int) -> None:
        try:
            self._epoll.modify(fd, flags)
        except FileNotFoundError:  # the descriptor was closed, and its number means another file now
            self._epoll.register(fd, flags)

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):  # closed already, or never a descriptor
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        """Wait, and return ``(fd, flags)`` for each ready descriptor. An error sets flags other than `IN` and `OUT`."""
        events: list[tuple[int, int]] = self._epoll.poll(seconds)
        return events


class _Portable(unpatched.DefaultSelector):  # type: ignore[misc]
    """`selectors.DefaultSelector`, with the flags of epoll."""

    name = unpatched.DefaultSelector.__name__

    def register(self, fd: int, flags: int) -> None:
        super().register(fd, _translated(flags))

    def modify(self, fd: int, flags: int) -> None:
        super().modify(fd, _translated(flags))

    def unregister(self, fd: int) -> None:
        try:
            super().unregister(fd)
        except (KeyError, ValueError):  # a failed `modify` has unregistered it already; or it never was a descriptor
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        return [(key.fd, mask & 1 | (mask & 2) << 1) for key, mask in super().select(seconds)]


def leave_to_parent(epoll_fd: int, keep: tuple[int, ...] = ()) -> None:
    """In a forked child: put a new epoll in the place of an inherited one, under the same number.

    The inherited epoll is shared: a descriptor that the child removes from it would be gone from the parent's, too.

    Parameters
    ----------
    epoll_fd : int
        The number of the inherited epoll.
    keep : tuple of int
        The descriptors that the new epoll watches for reading.
    """
    epoll: Any = unpatched.epoll
    new = epoll()
    os.dup2(new.fileno(), epoll_fd, inheritable=False)
    for fd in keep:
        new.register(fd, IN)
    new.close()


class StandIn:
    """A descriptor that is readable while another one is ready: an epoll, or its like, that has that one in it.

    It is for libuv, which sets O_NONBLOCK on every descriptor that it watches. This flag belongs to the open file, and
    so to every process that has the file open. For example, after a program has watched its standard input, the shell
    that started the program would read EAGAIN.
    """

    __slots__ = ("_selector", "fd")

    def __init__(self, fd: int, flags: int) -> None:
        self._selector: Any = new_selector()
        try:
            self._selector.register(fd, flags)
        except BaseException:
            self._selector.close()
            raise
        self.fd: int = self._selector.fileno()

    @classmethod
    def if_needed(cls, fd: int, write: bool) -> StandIn | None:
        """Make one for `fd`. None if `fd` does not block, so that libuv has nothing to change."""
        if sys.platform == "win32" or not os.get_blocking(fd):
            return None
        return cls(fd, OUT if write else IN)

    def close(self) -> None:
        """Free the descriptor. To be called when no loop watches it any more."""
        self._selector.close()


def _translated(flags: int) -> int:
    """Translate `IN` and `OUT` to `selectors.EVENT_READ` and `selectors.EVENT_WRITE`."""
    return flags & 1 | (flags & 4) >> 1
