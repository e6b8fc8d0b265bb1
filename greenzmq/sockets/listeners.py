"""Listeners: those who wait for a socket's events and take nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Listener", "Listeners", "WaitingListener"]

#: Listeners that are not known by their events: dicts for these would be 400 bytes for each socket in a Poller.
FEW = 8


class Listener(Protocol):
    """Somebody who waits for events and takes nothing: a `Socket.poll`, or what a Poller has registered.

    Attributes
    ----------
    events : int
        The events that matter.
    """

    events: int

    def wake(self) -> object:
        """Called once, when one of the events may have come. Never switches."""

    def waits(self) -> bool:
        """Whether it matters now. If not, `wake` may be called for less: any call that may have taken a signal."""


class WaitingListener:
    """The `Listener` of a greenlet that waits."""

    __slots__ = ("events", "wake")

    def __init__(self, events: int, wake: Callable[[], object]) -> None:
        self.events = events
        self.wake = wake

    def waits(self) -> bool:
        """It always does."""
        return True


class Listeners(dict[Listener, None]):
    """The listeners of one socket: a set that knows them by their events, too, where it would take long to ask each.

    A signal handler may come at any moment, and tell listeners. So `add` enters a listener here before it can be found
    by its events, and only who takes it out of here, in one step, tells it.
    """

    __slots__ = ("_by_events",)

    def __init__(self) -> None:
        super().__init__()
        self._by_events: dict[int, dict[Listener, None]] | None = None

    def add(self, listener: Listener) -> None:
        """Have it among them; nothing if it is."""
        self[listener] = None
        if self._by_events is not None:
            self._by_events.setdefault(listener.events, {})[listener] = None
        elif len(self) > FEW:
            self._sort()

    def discard(self, listener: Listener) -> bool:
        """Have it among them no more. Whether it was."""
        if self._by_events is not None:
            self._by_events.get(listener.events, {}).pop(listener, None)
        return self.pop(listener, self) is not self

    def of(self, events: int) -> list[Listener]:
        """Those to whom one of `events` matters."""
        if self._by_events is None:
            return [listener for listener in list(self) if listener.events & events]
        return [
            listener for wanted, alike in list(self._by_events.items()) if wanted & events for listener in list(alike)
        ]

    def clear(self) -> None:
        """Have none."""
        super().clear()
        self._by_events = None

    def _sort(self) -> None:
        sorted_ones: dict[int, dict[Listener, None]] = {}
        for listener in list(self):
            sorted_ones.setdefault(listener.events, {})[listener] = None
        self._by_events = sorted_ones
        for listener in list(self):  # a signal handler may have added some to the one and not to the other
            sorted_ones.setdefault(listener.events, {})[listener] = None
