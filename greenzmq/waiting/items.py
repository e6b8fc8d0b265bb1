"""What is in a queue, as a supply that greenlets take from: the items in their order, and the room for more.

See `greenzmq.waiting.lines` for the rules.
"""

from __future__ import annotations

import queue as _queue
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from ..process import unpatched
from .lines import Permits, Supply

__all__ = ["Heap", "Items", "Room", "ShutDown", "Stack"]

if TYPE_CHECKING:

    class ShutDown(Exception):  # noqa: N818
        """The queue was closed."""

else:
    ShutDown = getattr(_queue, "ShutDown", None) or type(
        "ShutDown", (Exception,), {"__doc__": "The queue was closed.", "__module__": __name__}
    )

_popleft: Callable[[deque[Any]], Any] = deque.popleft
_poplast: Callable[[deque[Any]], Any] = deque.pop
_pop: Callable[[list[Any]], Any] = list.pop


class Items(Supply):
    """The items of a queue, as a supply.

    Attributes
    ----------
    putting : dict
        The calls that are about to add an item. A closed queue has ended when there is none left, and no item.
    """

    __slots__ = ("closed", "items", "putting")
    _pop = staticmethod(_popleft)

    def __init__(self) -> None:
        super().__init__()
        self.items: Any = deque()
        self.putting: dict[object, None] = {}
        self.closed = False

    def available(self) -> bool:
        """See `Supply.available`."""
        return bool(self.items)

    def ended(self) -> bool:
        """See `Supply.ended`."""
        return self.closed and not self.putting and not self.items

    def move_to(self, taken: list[Any]) -> bool:
        """See `Supply.move_to`."""
        if self.items:
            try:
                taken.extend(map(self._pop, (self.items,)))
            except IndexError:  # another thread was quicker
                pass
        return bool(taken)

    def add(self, item: list[Any]) -> None:
        """Add the item that is in the list `item`, which is empty from then on. ShutDown if the queue is closed."""
        mark = object()
        try:
            self.putting[mark] = None
            if self.closed:
                raise ShutDown
            self.push(item)
        finally:
            self.putting.pop(mark, None)
            if self.closed:  # by another thread, meanwhile: those who wait have not heard of it while this was here
                self.line.wake_all()

    def push(self, item: list[Any]) -> None:
        """Move the item out of the list `item` to the others, in one C call."""
        self.items.extend(map(_pop, (item,)))

    def put_back(self, taken: list[Any]) -> None:
        """Put what a call has in `taken`, if anything, back to where it was. Idempotent."""
        if taken:
            self.items.extendleft(map(_pop, (taken,)))
        self.offer()

    def close(self) -> None:
        """Let nothing be added any more."""
        self.closed = True
        self.line.wake_all()


class Stack(Items):
    """The items of a `LifoQueue`."""

    __slots__ = ()
    _pop = staticmethod(_poplast)

    def put_back(self, taken: list[Any]) -> None:
        """See `Items.put_back`."""
        if taken:
            self.items.extend(map(_pop, (taken,)))
        self.offer()


class Heap(Items):
    """The items of a `PriorityQueue`, the smallest first.

    To compare items may run their own code, and with it other threads, signal handlers and greenlets. So whoever works
    on the heap holds a native lock; and whoever meets that lock in the same thread leaves the item in `_late`.
    """

    __slots__ = ("_guard", "_late")

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []
        self._late: deque[Any] = deque()
        self._guard = unpatched.RLock()

    def available(self) -> bool:
        """See `Supply.available`. In the midst of another call of this thread nothing is: that call offers it."""
        return bool(self.items or self._late) and not self._guard._is_owned()

    def ended(self) -> bool:
        """See `Supply.ended`."""
        return super().ended() and not self._late

    def move_to(self, taken: list[Any]) -> bool:
        """See `Supply.move_to`. In one C call, if items are compared by C code."""
        if self._guard._is_owned():
            return False
        with self._guard:
            self._take_over_late()
            if self.items:
                taken.extend(map(heappop, (self.items,)))
        return bool(taken)

    def push(self, item: list[Any]) -> None:
        """See `Items.push`. If items cannot be compared, the error is the caller's, and the item is not added."""
        if self._guard._is_owned():
            self._late.extend(map(_pop, (item,)))
            return
        with self._guard:
            self._insert(item)
            self._take_over_late()

    def put_back(self, taken: list[Any]) -> None:
        """See `Items.put_back`."""
        if taken:
            self._late.extend(map(_pop, (taken,)))
        self.offer()

    def _insert(self, item: list[Any]) -> None:
        try:
            heappush(self.items, item[0])
            item.clear()
        except BaseException:
            if item:
                self.items[:] = [other for other in self.items if other is not item[0]]
                heapify(self.items)
            raise

    def _take_over_late(self) -> None:
        while self._late:
            self._insert([self._late.popleft()])


class Room(Permits):
    """The room in a queue: a permit for each item that may be added."""

    __slots__ = ("closed",)

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.closed = False

    def ended(self) -> bool:
        """See `Supply.ended`."""
        return self.closed

    def close(self) -> None:
        """Let nobody wait for room any more."""
        self.closed = True
        self.line.wake_all()
