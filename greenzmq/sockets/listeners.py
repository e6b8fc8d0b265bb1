"""Listeners: `Socket.poll` and Pollers, which wait for a socket's events and receive or send nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Listener", "Listeners", "WaitingListener"]

#: Up to this many listeners are searched one by one. Sorting them by events takes 400 bytes of dicts for each socket.
FEW = 8


class Listener(Protocol):
    """A greenlet in `Socket.poll`, or a Poller's entry for the socket: it waits for events and takes no message.

    Attributes
    ----------
    events : int
        The events that it waits for.
    """

    events: int

    def wake(self) -> object:
        """Called once, when one of the events may have come. Never switches."""

    def waits(self) -> bool:
        """Whether a greenlet waits for this listener now.

        If not, `wake` may be called without a read of ``EVENTS``: after any call that may have consumed a signal.
        """


class WaitingListener:
    """The `Listener` of a greenlet that waits in `Socket.poll`."""

    __slots__ = ("events", "wake")

    def __init__(self, events: int, wake: Callable[[], object]) -> None:
        self.events = events
        self.wake = wake

    def waits(self) -> bool:
        """Always true: it exists only during the wait."""
        return True


class Listeners(dict[Listener, None]):
    """The listeners of one socket: an ordered set, which above `FEW` listeners also sorts them by their events.

    A signal handler may run between any two steps here, and wake listeners. Two rules keep each of them from being
    missed or woken twice. `add` puts a listener into the set before it sorts it by its events. And a listener is woken
    only by the caller whose `discard` returned True, since `dict.pop` succeeds for one caller only.
    """

    __slots__ = ("_by_events",)

    def __init__(self) -> None:
        super().__init__()
        self._by_events: dict[int, dict[Listener, None]] | None = None

    def add(self, listener: Listener) -> None:
        """Add a listener. Does nothing if it is there."""
        self[listener] = None
        if self._by_events is not None:
            self._by_events.setdefault(listener.events, {})[listener] = None
        elif len(self) > FEW:
            self._sort()

    def discard(self, listener: Listener) -> bool:
        """Remove a listener. Returns whether it was there."""
        if self._by_events is not None:
            self._by_events.get(listener.events, {}).pop(listener, None)
        return self.pop(listener, self) is not self

    def of(self, events: int) -> list[Listener]:
        """The listeners that wait for one of `events`."""
        if self._by_events is None:
            return [listener for listener in list(self) if listener.events & events]
        return [
            listener for wanted, alike in list(self._by_events.items()) if wanted & events for listener in list(alike)
        ]

    def clear(self) -> None:
        """Remove all listeners."""
        super().clear()
        self._by_events = None

    def _sort(self) -> None:
        sorted_ones: dict[int, dict[Listener, None]] = {}
        for listener in list(self):
            sorted_ones.setdefault(listener.events, {})[listener] = None
        self._by_events = sorted_ones
        for listener in list(self):  # again: those that a signal handler added before `_by_events` was set
            sorted_ones.setdefault(listener.events, {})[listener] = None
