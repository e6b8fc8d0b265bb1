"""Queues for the greenlets of any hub, in any threads.

Names, signatures and errors are those of `queue`; `Empty` and `Full` are its own, and so is `ShutDown` where it has one
(Python 3.13). What is different: greenlets are served first come, first served; a queue that is closed ends a ``for``
loop over it; and a Poller takes a queue for ``POLLIN``. How greenlets wait is in `greenzmq.waiting.lines`, how
the items are kept in `greenzmq.waiting.items`.
"""

from __future__ import annotations

import queue as _queue
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import hubs
from .events import Linkable
from .items import Heap, Items, Room, ShutDown, Stack
from .limits import as_limit
from .lines import Counter
from .turns import Turn, default_turn

if TYPE_CHECKING:
    from .reasons import Reason

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown"]

Empty, Full = _queue.Empty, _queue.Full

T = TypeVar("T")


class _AllDone(Linkable):
    """Whether all items of a queue are done with, as something to wait for."""

    def __init__(self, put: Counter, done: Counter) -> None:
        super().__init__()
        self._put, self._done = put, done

    def ready(self) -> bool:
        """See `Waitable.ready`."""
        return self.unfinished() <= 0

    def unfinished(self) -> int:
        """How many were put, and not yet done with."""
        return self._put.value - self._done.value

    def check(self) -> None:
        """Wake those who wait, if all are done with."""
        if self._links and self.ready():
            self._announce()

    def join(self, limit: float | None, reason: Reason) -> bool:
        """Wait; see `Queue.join`."""
        if self.ready() or (limit is not None and limit <= 0):
            return self.ready()
        return self._wait(hubs.hub_to_wait_on(), limit, reason)


class Queue(Linkable, Generic[T]):
    """A queue, first in, first out, as `queue.Queue` is.

    A Poller takes it for ``POLLIN``: it is ready while there is an item, and once it is closed.

    A greenlet in a hot loop of `get` or `put` that never has to wait lets the others run every 2 ms, as with a socket;
    ``$GREENZMQ_TURN`` sets how often.

    Parameters
    ----------
    maxsize : int
        How many items there may be before `put` waits; 0 or less sets no limit.

    Attributes
    ----------
    maxsize : int
        As above.

    Examples
    --------
    >>> import greenzmq
    >>> items = greenzmq.Queue()
    >>> for number in range(3):
    ...     items.put(number)
    >>> items.close()
    >>> list(items)
    [0, 1, 2]
    """

    _kind: type[Items] = Items

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__()
        self.maxsize = maxsize
        self._items = self._kind()
        self._room = Room(maxsize) if maxsize > 0 else None
        self._put = Counter()
        self._done = Counter()
        self._all_done = _AllDone(self._put, self._done)
        self._turn = Turn(default_turn())

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Parameters
        ----------
        item : object
            The item.
        block : bool
            Wait for room. If false, the item is added only if there is room and nobody else waits for it.
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever.

        Raises
        ------
        queue.Full
            There was no room, or not in time.
        ShutDown
            The queue is closed.
        ValueError
            A negative timeout.

        Notes
        -----
        Switches: when it has to wait for room, or when this greenlet's turn is over.
        """
        limit = self._limit(block, timeout)
        room = self._room
        permit: list[Any] = []
        added: list[Any] = [item]
        try:
            if room is not None:
                self._take_room(room, permit, limit)
            self._add(added)
        finally:
            if room is not None and added:  # it was not added
                room.give_back(permit)

    def put_nowait(self, item: T) -> None:
        """``put(item, block=False)``. Never switches; may be called in hub callbacks and signal handlers, too."""
        self.put(item, False)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item.

        Parameters
        ----------
        block : bool
            Wait for an item. If false, one is taken only if there is one and nobody else waits for it.
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever.

        Returns
        -------
        object
            The item.

        Raises
        ------
        queue.Empty
            There was none, or not in time.
        ShutDown
            The queue is closed, and there is none left.
        ValueError
            A negative timeout.

        Notes
        -----
        Switches: when it has to wait, or when this greenlet's turn is over.
        """
        limit = self._limit(block, timeout)
        items = self._items
        taken: list[Any] = []
        try:
            try:
                if not items.take(taken, limit, self):
                    raise ShutDown if items.ended() else Empty
            except BaseException:
                items.put_back(taken)
                raise
            item: T = taken[0]
            return item
        finally:
            if taken and self._room is not None:
                permit = [True]
                try:
                    self._room.give_back(permit)
                except BaseException:  # a signal handler has raised meanwhile: it is idempotent, so repeat it
                    self._room.give_back(permit)
                    raise
            self._tell_links()

    def get_nowait(self) -> T:
        """``get(block=False)``. Never switches."""
        return self.get(False)

    def qsize(self) -> int:
        """How many items there are."""
        return len(self._items.items)

    def empty(self) -> bool:
        """Whether there is no item."""
        return not self._items.items

    def full(self) -> bool:
        """Whether there is no room."""
        return self._room is not None and self.qsize() >= self.maxsize

    def __len__(self) -> int:
        return self.qsize()

    def __bool__(self) -> bool:
        return True  # a queue, empty or not

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let nothing be added any more: `shutdown` in one word. What is there can still be taken.

        Whoever waits in `put` gets `ShutDown`; a ``for`` loop over the queue ends when it is empty.
        """
        self.shutdown()

    def shutdown(self, immediate: bool = False) -> None:
        """Close the queue, as `queue.Queue.shutdown` does. Never switches.

        Parameters
        ----------
        immediate : bool
            Drop the items that are there, and let `join` return.
        """
        self._items.close()
        if self._room is not None:
            self._room.close()
        if immediate:
            self._drop_all()
        self._announce()

    @property
    def is_shutdown(self) -> bool:
        """Whether it is closed."""
        return self._items.closed

    def __iter__(self) -> Iterator[T]:
        """Take items until the queue is closed and empty. Several greenlets may do so at once."""
        return _Iterator(self)

    # -- what is done with the items ----------------------------------------------------------------------------------

    def task_done(self) -> None:
        """Say that an item that was taken is done with. ValueError if there were not so many. Never switches."""
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self._done.increase()
        self._all_done.check()

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put, and not yet done with."""
        return max(self._all_done.unfinished(), 0)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all items are done with: `task_done` was called for each.

        Parameters
        ----------
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever.

        Returns
        -------
        bool
            False if the time is over.

        Notes
        -----
        Switches: when it has to wait.
        """
        return self._all_done.join(as_limit(timeout, "Queue.join()"), self)

    # -- inside -------------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether `get` need not wait: there is an item that nobody waits for, or it is closed. For a Poller."""
        return (self._items.available() and not self._items.line) or self._items.closed

    def _limit(self, block: bool, timeout: float | None) -> float | None:
        """Check the arguments of `get` and `put`, and yield if the turn is over. Returns how long to wait."""
        if not block:
            return 0
        limit = None if timeout is None else as_limit(timeout, "the timeout of a queue's get() and put()")
        if limit is not None and limit < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if limit != 0 and self._turn.is_over_after_one_more(False):
            began_at = monotonic()
            self._turn.yield_to_others(None, steered=False)
            if limit is not None:
                limit = max(limit - (monotonic() - began_at), 0)
        return limit

    def _take_room(self, room: Room, permit: list[Any], limit: float | None) -> None:
        if room.closed:
            raise ShutDown
        if not room.take(permit, limit, self):
            raise ShutDown if room.ended() else Full

    def _add(self, item: list[Any]) -> None:
        self._put.increase()
        try:
            self._items.add(item)
        finally:
            if item:
                self._done.increase()
                self._all_done.check()
        self._items.offer()
        self._tell_links()

    def _tell_links(self) -> None:
        """Tell Pollers that there is something to take for those who do not stand in the line."""
        if self._links and self.ready():
            self._announce()

    def _drop_all(self) -> None:
        taken: list[Any] = []
        while self._items.move_to(taken):
            taken.clear()
            self._done.increase()
        self._all_done.check()

    def __repr__(self) -> str:
        bound = f" of {self.maxsize}" if self._room is not None else ""
        closed = " closed," if self._items.closed else ""
        return f"<greenzmq.{type(self).__name__}{closed} {self.qsize()}{bound} items>"


class LifoQueue(Queue[T]):
    """A queue that gives the item first that was added last, as `queue.LifoQueue` does."""

    _kind = Stack


class PriorityQueue(Queue[T]):
    """A queue that gives the smallest item first, as `queue.PriorityQueue` does. Equal ones in any order.

    An item that cannot be compared with the others is an error of its `put`.
    """

    _kind = Heap


class _Iterator(Generic[T]):
    """Takes items out of a queue. Not a generator, which a time limit that is raised in it would end."""

    def __init__(self, queue: Queue[T]) -> None:
        self._queue = queue

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return self._queue.get()
        except ShutDown:
            raise StopIteration from None
