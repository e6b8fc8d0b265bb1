"""Whom the selector hub asks which descriptors are ready: epoll itself, or what `selectors` has for the system."""

from __future__ import annotations

from typing import Any

from .. import unpatched

__all__ = ["IN", "OUT", "new_selector"]

IN, OUT = 1, 4  # select.EPOLLIN, select.EPOLLOUT


def new_selector() -> Any:
    """One of the two below."""
    return _Portable() if unpatched.epoll is None else _Epoll()


class _Epoll:
    """What the loop needs of `selectors.EpollSelector`, whose `select` takes as long again as the system call."""

    name = "EpollSelector"

    def __init__(self) -> None:
        epoll: Any = unpatched.epoll
        self._epoll = epoll()
        self.close = self._epoll.close

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
        except OSError:  # closed before
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        """What is ready, by descriptor; errors as flags that are neither `IN` nor `OUT`."""
        events: list[tuple[int, int]] = self._epoll.poll(seconds)
        return events


class _Portable(unpatched.DefaultSelector):  # type: ignore[misc]
    """The one of `selectors` that suits the system, with the numbers of epoll."""

    name = unpatched.DefaultSelector.__name__

    def register(self, fd: int, flags: int) -> None:
        super().register(fd, _translated(flags))

    def modify(self, fd: int, flags: int) -> None:
        super().modify(fd, _translated(flags))

    def unregister(self, fd: int) -> None:
        try:
            super().unregister(fd)
        except KeyError:  # a `modify` that failed has done so
            pass

    def select(self, seconds: float | None) -> list[tuple[int, int]]:
        return [(key.fd, mask & 1 | (mask & 2) << 1) for key, mask in super().select(seconds)]


def _translated(flags: int) -> int:
    """`IN` and `OUT` as `selectors.EVENT_READ` and `selectors.EVENT_WRITE`."""
    return flags & 1 | (flags & 4) >> 1
