"""A set of file descriptors that one watch stands for.

epoll and kqueue keep the set in the kernel and are descriptors themselves, readable while one of theirs is ready: asking
costs one system call however many there are, and a hub watches one descriptor instead of thousands. Where the system has
neither, the hub watches each.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from . import unpatched

if TYPE_CHECKING:
    from .hubs import Hub, Watch

__all__ = ["DescriptorSet"]

POLLIN, POLLOUT, POLLERR, POLLPRI = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.POLLERR), int(zmq.POLLPRI)
#: poll(2)'s names of the same; the same numbers everywhere that has epoll. All else is an error to zmq_poll (zmq.cpp).
_IN, _PRI, _OUT = 1, 2, 4


class DescriptorSet:
    """File descriptors and the events that are wanted of them, as ``zmq.POLLIN`` and so on."""

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}
        self._without_poll: dict[int, int] = {}  # files, which poll(2) calls ready at all times, and closed descriptors
        self._kernel: Any = unpatched.epoll() if unpatched.epoll is not None else unpatched.DefaultSelector()
        self._epoll = unpatched.epoll is not None

    def want(self, fd: int, events: int) -> None:
        """Ask for `events` of `fd`, and for its errors; 0 takes it out. What was under this number may be closed since."""
        self._without_poll.pop(fd, None)
        if not events:
            if self._wanted.pop(fd, 0):
                self._discard(fd)
            return
        self._wanted[fd] = events
        try:
            self._enter(fd, events)
        except (OSError, ValueError) as error:
            is_file = getattr(error, "errno", None) == errno.EPERM
            self._without_poll[fd] = events & (POLLIN | POLLOUT) if is_file else POLLERR

    def ready(self) -> list[tuple[int, int]]:
        """What is ready now, and for what."""
        found = list(self._without_poll.items())
        if self._epoll:
            return found + [(fd, _from_poll(mask)) for fd, mask in self._kernel.poll(0, max(1, len(self._wanted)))]
        return found + [(key.fd, mask & (POLLIN | POLLOUT)) for key, mask in self._kernel.select(0)]

    def watches(self, hub: Hub, callback: Callable[[], object]) -> list[Watch]:
        """Stopped watches that call back while anything is ready. Valid until the next `want`."""
        try:
            fds = {self._kernel.fileno(): POLLIN}
        except AttributeError:  # select() on Windows
            fds = self._wanted
        found = [hub.watch(fd, callback) for fd, events in fds.items() if events & ~POLLOUT]
        return found + [hub.watch(fd, callback, write=True) for fd, events in fds.items() if events & POLLOUT]

    def close(self) -> None:
        """Free the kernel's set."""
        self._kernel.close()

    def _enter(self, fd: int, events: int) -> None:
        mask = _to_poll(events) if self._epoll else events & (POLLIN | POLLOUT)
        try:
            self._kernel.modify(fd, mask)
        except (KeyError, FileNotFoundError):  # not in the set, or no more: the number is another file's now
            self._kernel.register(fd, mask)

    def _discard(self, fd: int) -> None:
        try:
            self._kernel.unregister(fd)
        except (KeyError, OSError, ValueError):
            return  # closed meanwhile: the kernel has forgotten it


def _to_poll(events: int) -> int:
    return (_IN if events & POLLIN else 0) | (_OUT if events & POLLOUT else 0) | (_PRI if events & POLLPRI else 0)


def _from_poll(mask: int) -> int:
    return (
        (POLLIN if mask & _IN else 0)
        | (POLLOUT if mask & _OUT else 0)
        | (POLLPRI if mask & _PRI else 0)
        | (POLLERR if mask & ~(_IN | _OUT | _PRI) else 0)
    )
