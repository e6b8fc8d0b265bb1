"""The timers of a hub, in one heap. Trio has a deadline for each cancel scope, so the hub hands it the first one."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Any

from greenzmq.hubs.base import Timer

__all__ = ["TrioTimer", "TrioTimers"]

#: Cancelled timers stay in the heap until they are due, unless they are more than this, and more than half of it.
MANY_CANCELLED = 100


class TrioTimer(Timer):
    """See `Timer`."""

    __slots__ = ("_args", "_callback", "_timers", "in_heap")

    def __init__(self, timers: TrioTimers, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._timers = timers
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self.in_heap = True

    @property
    def is_pending(self) -> bool:
        """Whether the call was neither made nor cancelled."""
        return self._callback is not None

    def run(self) -> None:
        """Make the call, unless it was cancelled."""
        callback, args = self._callback, self._args
        self._callback, self._args = None, ()
        if callback is not None:
            callback(*args)

    def cancel(self) -> None:
        """See `Timer.cancel`."""
        if self._callback is not None:
            self._callback, self._args = None, ()
            if self.in_heap:
                self._timers.note_cancelled()


class TrioTimers:
    """The heap. Timers of one deadline are due in the order in which they were made."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TrioTimer]] = []
        self._order = count()
        self._cancelled = 0

    def add(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> TrioTimer:
        """Make a timer that is due at `when`, on trio's clock."""
        timer = TrioTimer(self, callback, args)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def first_due(self) -> float:
        """When the first timer is due; infinity if there is none."""
        while self._heap and not self._heap[0][2].is_pending:
            self._pop()
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else math.inf

    def pop_due(self, now: float) -> list[TrioTimer]:
        """Remove and return the timers that are due at `now`, in order. To be called before any of them runs."""
        due = []
        while self.first_due() <= now:
            due.append(self._pop())
        return due

    def note_cancelled(self) -> None:
        """Count a timer that was cancelled, and remove all of these if they are too many."""
        self._cancelled += 1
        if self._cancelled > MANY_CANCELLED and self._cancelled > len(self._heap) / 2:
            self._heap[:] = [entry for entry in self._heap if entry[2].is_pending]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _pop(self) -> TrioTimer:
        timer = heapq.heappop(self._heap)[2]
        timer.in_heap = False
        return timer

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled
