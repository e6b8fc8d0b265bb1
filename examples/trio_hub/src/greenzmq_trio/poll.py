"""The descriptors that a hub watches, in an epoll or kqueue of its own.

Trio has no function that has a descriptor watched; it has `trio.lowlevel.wait_readable`, for which a task has to wait.
A task for each watch would be slow to start, it could not say at once that the system refuses a descriptor, and trio
refuses a descriptor for which other code waits. Therefore the hub has an epoll of its own. An epoll is a descriptor,
too: it is readable while a descriptor in it is ready. So one task that waits for the epoll serves all watches.
"""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable
from typing import Any

from greenzmq.errors import HubError

__all__ = ["IN", "OUT", "Descriptors"]

IN, OUT = selectors.EVENT_READ, selectors.EVENT_WRITE
#: Noted as the mask of a descriptor while it is not known which mask the system has.
_IN_DOUBT = -1


class Descriptors:
    """The descriptors of one hub.

    Parameters
    ----------
    wanted : callable
        ``wanted(fd)`` returns for what a descriptor is watched now: `IN`, `OUT`, both or 0.
    """

    def __init__(self, wanted: Callable[[int], int]) -> None:
        self._wanted = wanted
        self._masks: dict[int, int] = {}  # those that the system has
        self._system = _new_system()
        self.name: str = self._system.name

    def fileno(self) -> int:
        """The descriptor that is readable while one of these is ready."""
        number: int = self._system.fileno()
        return number

    def update(self, fd: int) -> None:
        """Tell the system for what `fd` is watched now.

        A signal handler may interrupt this, and start or stop a watch on the same descriptor. Therefore it looks again
        until what is wanted is what the system has.
        """
        while (wanted := self._wanted(fd)) != (mask := self._masks.get(fd, 0)):
            if not wanted:
                self.forget(fd)
                continue
            self._masks[fd] = _IN_DOUBT
            self._system.set(fd, wanted, mask != 0)
            self._masks[fd] = wanted

    def forget(self, fd: int) -> None:
        """Watch `fd` no more. It may be closed."""
        if fd in self._masks:
            self._system.remove(fd)
            self._masks.pop(fd, None)

    def ready(self) -> list[tuple[int, int]]:
        """Return ``(fd, mask)`` for each descriptor that is ready now. Both bits are set for one that has an error."""
        ready: list[tuple[int, int]] = self._system.ready()
        return ready

    def leave_to_parent(self) -> None:
        """In a forked child: have an empty epoll under the same number. The one that is there is the parent's, too."""
        old = self.fileno()
        new = _new_system()
        os.dup2(new.fileno(), old, inheritable=False)
        new.close()
        self._masks.clear()

    def close(self) -> None:
        """Free the epoll."""
        self._system.close()


def _new_system() -> Any:
    if hasattr(select, "epoll"):
        return _Epoll()
    if hasattr(selectors, "KqueueSelector"):
        return _Kqueue()
    raise HubError("the trio hub needs epoll or kqueue, of which this system has neither; choose another hub")


class _Epoll:
    """epoll itself: `selectors.EpollSelector` has a table besides, which an interrupted call may leave wrong."""

    name = "epoll"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno, self.close = self._epoll.fileno, self._epoll.close

    def set(self, fd: int, mask: int, known: bool) -> None:
        flags = (select.EPOLLIN if mask & IN else 0) | (select.EPOLLOUT if mask & OUT else 0)
        first, second = (self._epoll.modify, self._epoll.register)[:: 1 if known else -1]
        try:
            first(fd, flags)
        except (FileExistsError, FileNotFoundError):  # an interrupted call; or the number means another file by now
            second(fd, flags)

    def remove(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):  # closed already, or never a descriptor
            pass

    def ready(self) -> list[tuple[int, int]]:
        return [
            (fd, (IN if flags & ~select.EPOLLOUT else 0) | (OUT if flags & ~select.EPOLLIN else 0))
            for fd, flags in self._epoll.poll(0)
        ]


class _Kqueue:
    name = "kqueue"

    def __init__(self) -> None:
        self._selector: Any = vars(selectors)["KqueueSelector"]()
        self.fileno, self.close = self._selector.fileno, self._selector.close

    def set(self, fd: int, mask: int, known: bool) -> None:
        self.remove(fd)
        self._selector.register(fd, mask)

    def remove(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except (KeyError, OSError, ValueError):
            pass

    def ready(self) -> list[tuple[int, int]]:
        return [(key.fd, mask) for key, mask in self._selector.select(0)]
