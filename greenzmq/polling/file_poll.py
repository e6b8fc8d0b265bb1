"""`FilePoll`: one poll(2) for all plain descriptors of a Poller.

An object of poll(2) keeps numbers and not files: the kernel finds out at each call which files they mean. So it need
not be told when a number has come to mean another file, as a set of epoll must be, and a poll of a thousand descriptors
that are numbers takes no Python for those that are not ready.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..process import unpatched
from .fd_set import POLLERR, from_poll, to_poll

__all__ = ["FilePoll", "PolledFile"]


class PolledFile(Protocol):
    """An entry of a Poller for a plain descriptor, as `FilePoll` uses it.

    Attributes
    ----------
    events, order
        The events to poll it for, and its place in the order of registration.
    """

    events: int
    order: int

    @property
    def is_movable(self) -> bool:
        """Whether it may have another number at each poll."""

    def number(self) -> int:
        """The descriptor's number, now."""


class FilePoll:
    """The entries of one Poller for plain descriptors, and for objects with a ``fileno()``."""

    __slots__ = ("_entries", "_kernel", "_movable", "_numbers")

    def __init__(self) -> None:
        self._kernel: Any = unpatched.Poll()
        self._entries: dict[int, list[PolledFile]] = {}  # by the descriptor's number
        self._numbers: dict[PolledFile, int] = {}
        self._movable: dict[PolledFile, None] = {}  # their objects are asked for the number at each poll

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, entry: PolledFile) -> None:
        """Poll `entry` from now on, for the events that it has now."""
        fd = self._numbers.get(entry)
        if fd is not None:  # it was there already, with other events
            self._update(fd)
        elif entry.is_movable:
            self._movable[entry] = None
        else:
            self._place(entry, entry.number())

    def discard(self, entry: PolledFile) -> None:
        """Do not poll `entry` any more."""
        self._movable.pop(entry, None)
        fd = self._numbers.pop(entry, None)
        if fd is not None:
            self._entries[fd].remove(entry)
            self._update(fd)

    def ready(self) -> list[tuple[int, Any, int]]:
        """Ask the system once. Returns the order, the number and the events of each entry that is ready.

        As with zmq_poll, errors are always reported, a closed descriptor is an error, and a negative number is ignored.
        """
        for entry in list(self._movable):
            self._place(entry, entry.number())
        try:
            found = self._kernel.poll(0)
        except RuntimeError:  # another thread is asking at this moment, and the object takes one at a time
            found = unpatched.poll({fd: self._mask(fd) for fd in list(self._entries) if fd >= 0})
        return [
            (entry.order, fd, events)
            for fd, mask in found
            for entry in self._entries.get(fd, ())
            if (events := from_poll(mask) & (entry.events | POLLERR))
        ]

    def _place(self, entry: PolledFile, fd: int) -> None:
        """Note the number that `entry` has now."""
        before = self._numbers.get(entry)
        if before == fd:
            return
        if before is not None:
            self._entries[before].remove(entry)
            self._update(before)
        self._entries.setdefault(fd, []).append(entry)
        self._numbers[entry] = fd
        self._update(fd)

    def _update(self, fd: int) -> None:
        """Ask for the events of `fd` that any of its entries wants."""
        if self._entries[fd]:
            if fd >= 0:
                self._kernel.register(fd, self._mask(fd))
            return
        del self._entries[fd]
        if fd >= 0:
            self._kernel.unregister(fd)

    def _mask(self, fd: int) -> int:
        events = 0
        for entry in self._entries.get(fd, ()):
            events |= entry.events
        return to_poll(events)
