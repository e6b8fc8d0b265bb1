"""epoll, or the best of `selectors`, behind one small interface, for the selector hub.

And `StandIn`, which libuv's loops watch in place of a descriptor that is not to be touched.
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
    """epoll without `selectors.EpollSelector`, whose `select` takes twice as long as the system call alone."""

    name = "EpollSelector"

    def __init__(self) -> None:
        epoll: Any = unpatched.epoll
        self._epoll = epoll()
        self.close = self._epoll.close
        self.fileno = self._epoll.fileno

    def register(self, fd: int, flags: int) -> None:
        try:
            self._epoll.register(fd, flags)
        except FileExistsError:  # an exception came between the last call and the note that it was made
            self._epoll.modify(fd, flags)

    def modify(self, fd: int, flags: int) -> None:
        try:
            self._epoll.modify(fd, flags)
        except FileNotFoundError:  # another file is under this number now
            self._epoll.register(fd, flags)

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):  # closed before, or no descriptor at all
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        """Wait, and return ``(fd, flags)`` of each ready descriptor. Errors are flags other than `IN` and `OUT`."""
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
        except (KeyError, ValueError):  # a `modify` that failed has done so; or no descriptor at all
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        return [(key.fd, mask & 1 | (mask & 2) << 1) for key, mask in super().select(seconds)]


def leave_to_parent(epoll_fd: int, keep: tuple[int, ...] = ()) -> None:
    """In a forked child: put a new epoll in the place of an inherited one, whose content is the parent's, too.

    What the child takes out of it from then on the parent still has.

    Parameters
    ----------
    epoll_fd : int
        The number of the inherited one.
    keep : tuple of int
        What the new one is to have in it, for reading.
    """
    epoll: Any = unpatched.epoll
    new = epoll()
    os.dup2(new.fileno(), epoll_fd, inheritable=False)
    for fd in keep:
        new.register(fd, IN)
    new.close()


class StandIn:
    """A descriptor of our own that is readable while another one is ready: an epoll, or its like, with that one in it.

    For libuv, which sets O_NONBLOCK on whatever it watches. That belongs to the open file, so it would hold for every
    process that has it: a shell whose standard input a child has watched reads EAGAIN.
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
        """One for `fd`; None if that does not block, so that there is nothing to change."""
        if sys.platform == "win32" or not os.get_blocking(fd):
            return None
        return cls(fd, OUT if write else IN)

    def close(self) -> None:
        """Free the descriptor, when it is watched no more."""
        self._selector.close()


def _translated(flags: int) -> int:
    """`IN` and `OUT` as `selectors.EVENT_READ` and `selectors.EVENT_WRITE`."""
    return flags & 1 | (flags & 4) >> 1
