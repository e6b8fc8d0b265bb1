"""A heap of timers, for loops that have no timers of their own, or only timers too coarse for the contract.

A loop sleeps until `TimerHeap.first_due`, and then runs the timers that `TimerHeap.pop_due` yields.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from .base import Timer

__all__ = ["HeapTimer", "TimerHeap"]

#: A cancelled timer stays in the heap until it is due. But once there are more cancelled timers than this, and they are
#: more than half of the heap, all of them are removed.
MANY_CANCELLED = 100


class TimerHeap:
    """The timers of one loop. Timers with the same deadline are due in the order in which they were made."""

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, HeapTimer]] = []
        self._order = count()
        self._cancelled = 0

    def add(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> HeapTimer:
        """Make a timer that is due at `when`, in seconds of the loop's own clock."""
        timer = HeapTimer(self, callback, args)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def first_due(self) -> float | None:
        """Return the time at which the first timer is due, or None if there is no timer."""
        heap = self._heap
        while heap:
            when, _, timer = heap[0]
            if timer.callback is not None:
                return when
            heapq.heappop(heap)
            self._cancelled -= 1
        return None

    def pop_due(self, now: float) -> Iterator[HeapTimer]:
        """Remove the timers that are due at `now`, and yield them in order."""
        while (when := self.first_due()) is not None and when <= now:
            timer = heapq.heappop(self._heap)[2]
            timer.pending = False
            yield timer

    def note_cancelled(self) -> None:
        """Count a cancelled timer, and remove all cancelled ones if they are too many."""
        self._cancelled += 1
        if self._cancelled > MANY_CANCELLED and self._cancelled > len(self._heap) / 2:
            self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def entries(self) -> list[Any]:
        """A list that is empty only if there is no timer. If it is not, there may be cancelled ones alone."""
        return self._heap

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled


class HeapTimer(Timer):
    """See `Timer`."""

    __slots__ = ("args", "callback", "heap", "pending")

    def __init__(self, heap: TimerHeap, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.heap = heap
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.pending = True  # in the heap

    def run(self) -> None:
        """Make the call, unless it was cancelled."""
        callback, args = self.callback, self.args
        if callback is not None:
            self.callback, self.args = None, ()
            callback(*args)

    def cancel(self) -> None:
        """See `Timer.cancel`."""
        if self.callback is not None:
            self.callback, self.args = None, ()
            if self.pending:
                self.heap.note_cancelled()
