"""What locks and queues are made of: greenlets that wait in a line, and things that they take one at a time.

The greenlets of a line may be on any hubs, in any threads. No native lock guards it: a signal handler, a finalizer or a
greenlet of the same thread might want that lock while its holder is interrupted, and would block the thread for good.
Instead, each step is one call of C code, which neither a switch of threads nor a signal handler can split:

1.  Everything that can be taken, a queue's item or a lock's permit, is at each moment in exactly one list: in that of
    its owner (`Supply.move_to`), or in that of the one call that has taken it. It is moved from one to the other by one
    C call. So whatever interrupts the call, and wherever, its ``except`` knows whether it has the thing, and gives it
    back.
2.  A greenlet joins the line, and then tries once more. Whoever adds a thing does so first, and then wakes the first of
    the line. So one of the two notices the other.
3.  The first of the line takes the thing itself, once it is woken: nobody else does so on its behalf. If it is killed,
    or its time is over, the thing is still there.
4.  Whoever leaves the line, for whatever reason, wakes the next if there is something to take.
5.  Nobody overtakes: while others stand in the line, a newcomer takes nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any

from .. import hubs
from ..process.fork import register_after_fork
from .events import wake_anywhere
from .waiter import new_waiter

if TYPE_CHECKING:
    from .reasons import Reason
    from .waiter import Waiter

__all__ = ["Counter", "Line", "Permits", "Supply"]

_popleft: Callable[[deque[Any]], Any] = deque.popleft
_pop: Callable[[list[Any]], Any] = list.pop

#: More than any program counts to.
_MANY = 2**62
#: In a forked child: the waiters of the parent. Were they let go of, their greenlets would be ended, and would run
#: their ``finally`` in the child.
_inherited: list[Any] = []


class Line:
    """Waiters in the order of their arrival."""

    __slots__ = ("__weakref__", "_registered", "_waiters")

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._registered = False

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, waiter: object) -> bool:
        return waiter in self._waiters

    def first(self) -> Waiter | None:
        """The waiter that has come first; None if nobody waits.

        One whose thread has ended never goes on. It is removed, so that nobody waits behind it.
        """
        while True:
            try:
                waiter = next(iter(self._waiters), None)
            except RuntimeError:  # another thread, or a signal handler, has changed it between the two calls
                continue
            if waiter is None or not waiter.hub.has_ended():
                return waiter
            self.leave(waiter)

    def join(self, waiter: Waiter) -> None:
        """Put `waiter` at the end."""
        if not self._registered:
            self._registered = True
            register_after_fork(self)
        self._waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove `waiter`, if it is there. Idempotent."""
        self._waiters.pop(waiter, None)

    def wake_first(self) -> None:
        """Wake the first, in whatever thread this is."""
        waiter = self.first()
        if waiter is not None:
            wake_anywhere(waiter)

    def wake_all(self) -> None:
        """Wake everybody, in whatever thread this is."""
        for waiter in self.all():
            wake_anywhere(waiter)

    def all(self) -> list[Waiter]:
        """Those who wait now, the first first."""
        while True:
            try:
                return list(self._waiters)
            except RuntimeError:
                continue

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: the parent's greenlets do not run here, and nobody waits."""
        _inherited.append(self._waiters)
        self._waiters = OrderedDict()


class Supply:
    """Things that greenlets take one at a time, first come, first served. See the head of this module.

    A subclass says how one thing is moved (`move_to`), whether there is any (`available`), and whether there never will
    be any more (`ended`).
    """

    __slots__ = ("line",)

    def __init__(self) -> None:
        self.line = Line()

    def move_to(self, taken: list[Any]) -> bool:
        """Move one thing to `taken`, in one C call. Returns False if there is none."""
        raise NotImplementedError

    def available(self) -> bool:
        """Whether there is something to take."""
        raise NotImplementedError

    def ended(self) -> bool:
        """Whether nothing will come any more: nobody waits for it then."""
        return False

    def offer(self) -> None:
        """Wake the first of the line, if there is something for it, and all if there never will be.

        To be called after something was added; and by those who leave the line, whose thing may have been the last.
        """
        if self.line._waiters:
            if self.available():
                self.line.wake_first()
            elif self.ended():
                self.line.wake_all()

    def take(self, taken: list[Any], limit: float | None, reason: Reason) -> bool:
        """Move one thing to `taken`, and wait for it if need be.

        Parameters
        ----------
        taken : list
            An empty list of the caller's. If an exception comes out of this call, the caller looks into it, and gives
            back what it finds.
        limit : float or None
            Seconds; None waits for ever, 0 or less does not wait.
        reason : object
            What the wait is for; see `greenzmq.waiting.reasons`.

        Returns
        -------
        bool
            False if the time is over, or if nothing will come any more.

        Notes
        -----
        Switches: when it has to wait.
        """
        if (not self.line._waiters or self.line.first() is None) and self.move_to(taken):
            return True
        if (limit is not None and limit <= 0) or self.ended():
            return False
        return self._take_in_line(taken, limit, reason)

    def _take_in_line(self, taken: list[Any], limit: float | None, reason: Reason) -> bool:
        line = self.line
        waiter = new_waiter(hubs.hub_to_wait_on(), limit, None, reason)
        try:
            line.join(waiter)
            while not (line.first() is waiter and self.move_to(taken)):
                if waiter.expired or self.ended():
                    return False
                waiter.park()
            return True
        finally:
            try:
                self._leave(waiter)
            except BaseException:  # a signal handler has raised while `_leave` ran: it is idempotent, so repeat it
                self._leave(waiter)
                raise

    def _leave(self, waiter: Waiter) -> None:
        self.line.leave(waiter)
        waiter.close()
        self.offer()


class Permits(Supply):
    """As many permits as were made, minus those that are taken.

    Those never taken so far stand in an iterator, the others in a deque: so a million of them cost nothing.
    """

    __slots__ = ("_fresh", "_returned")

    def __init__(self, count: int) -> None:
        super().__init__()
        self._fresh = repeat(True, count)
        self._returned: deque[bool] = deque()

    def available(self) -> bool:
        """See `Supply.available`."""
        return bool(self._returned) or length_hint(self._fresh) > 0

    def count(self) -> int:
        """How many there are to take."""
        return len(self._returned) + length_hint(self._fresh)

    def move_to(self, taken: list[Any]) -> bool:
        """See `Supply.move_to`."""
        if self._returned:
            try:
                taken.extend(map(_popleft, (self._returned,)))
            except IndexError:  # another thread was quicker
                pass
        if not taken:
            taken.extend(map(next, (self._fresh,)))
        return bool(taken)

    def give_back(self, taken: list[Any]) -> None:
        """Take back whatever a call has in `taken`, and wake the first of the line. Idempotent."""
        while taken:
            try:
                self._returned.extend(map(_pop, (taken,)))
            except IndexError:  # another thread was quicker
                break
        self.offer()


class Counter:
    """Counts up. Any thread, greenlet and signal handler may do so at any time: each step is one call of C code."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = repeat(None, _MANY)

    def increase(self) -> None:
        """Count one more."""
        next(self._left)

    @property
    def value(self) -> int:
        """How often `increase` was called."""
        return _MANY - length_hint(self._left)
