"""Locks and semaphores for the greenlets of any hub, in any threads.

Names, signatures and errors are those of `threading`. What is different: greenlets are served first come, first served,
so a `Lock` that is released goes to the one that has waited for it longest. How they wait is in
`greenzmq.waiting.lines`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent

from ..errors import HubError
from .events import GreenEvent
from .limits import as_limit
from .lines import Permits

if TYPE_CHECKING:
    from greenlet import greenlet


__all__ = ["BoundedSemaphore", "Event", "Lock", "RLock", "Semaphore"]

#: The same under the name that `threading` has for it; `greenzmq.Event` is pyzmq's, for what a socket monitor reports.
Event = GreenEvent

T = TypeVar("T")


class _Permitted:
    """What locks and semaphores share: a greenlet takes a permit."""

    def __init__(self, count: int) -> None:
        self._permits = Permits(count)

    def __enter__(self) -> bool:
        taken: list[Any] = []
        try:
            self._permits.take(taken, None, self)
            self._note_taken(taken)
            return True
        except BaseException:
            self._permits.give_back(taken)
            raise

    def _acquire(self, limit: float | None) -> bool:
        taken: list[Any] = []
        try:
            if not self._permits.take(taken, limit, self):
                return False
            self._note_taken(taken)
            return True
        except BaseException:
            self._permits.give_back(taken)
            raise

    def _note_taken(self, taken: list[Any]) -> None:
        """Called when a permit was taken."""

    def _give_back(self, taken: list[Any]) -> None:
        try:
            self._permits.give_back(taken)
        except BaseException:  # a signal handler has raised meanwhile: it is idempotent, so repeat it
            self._permits.give_back(taken)
            raise

    def _waiting(self) -> str:
        """How many wait, for a repr."""
        count = len(self._permits.line)
        return f", {count} wait{'s' if count == 1 else ''}" if count else ""


class _Held(_Permitted):
    """What the two kinds of locks share: one permit, and who has it."""

    _holder: greenlet | None = None
    _count = 0  # how often the holder has taken it

    def __init__(self) -> None:
        super().__init__(1)
        # The list that has the permit. Empty if nobody has it; a new list each time the lock is taken.
        self._held: list[Any] = []

    def locked(self) -> bool:
        """Whether somebody has it."""
        return bool(self._held)

    def _note_taken(self, taken: list[Any]) -> None:
        self._count = 1
        self._holder = getcurrent()
        self._held = taken  # last: from now on the lock is this greenlet's

    def _free(self) -> None:
        held = self._held
        try:
            self._holder = None
            self._permits.give_back(held)
        except BaseException:  # as in `_give_back`
            self._permits.give_back(held)
            raise

    def _is_owned(self) -> bool:
        """Whether this greenlet may wait on, or notify, a condition with this lock."""
        raise NotImplementedError

    def _acquire_again(self, taken: list[Any], count: int) -> None:
        """Take the lock with `taken`, as often as it was taken, whatever is thrown into this greenlet meanwhile.

        What was thrown last is raised then. Idempotent.
        """
        thrown: BaseException | None = None
        while self._held is not taken:
            try:
                if not taken:
                    self._permits.take(taken, None, self)
                self._note_taken(taken)
            except HubError:  # no wait is possible here any more
                raise
            except BaseException as error:
                thrown = error
        self._count = count
        if thrown is not None:
            try:
                raise thrown
            finally:
                del thrown  # its traceback keeps this frame


class Lock(_Held):
    """A lock, as `threading.Lock` is. Not reentrant: if its holder takes it once more, it waits for itself.

    Any greenlet may release it. In a forked child it is as it was in the parent.

    Notes
    -----
    Switches: ``with lock:`` does when it has to wait.
    """

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock.

        Parameters
        ----------
        blocking : bool
            Wait until it is free. If false, it is taken only if it is free and nobody waits for it.
        timeout : float, optional
            Wait for this many seconds at most; -1 and None wait for ever.

        Returns
        -------
        bool
            Whether this greenlet has it now.

        Raises
        ------
        ValueError
            A timeout for a call that does not block, or a negative one.

        Notes
        -----
        Switches: when it has to wait.
        """
        return self._acquire(_lock_limit(blocking, timeout))

    def release(self) -> None:
        """Free the lock; the greenlet that has waited longest gets it. RuntimeError if nobody has it. Never switches.

        May be called in any greenlet, hub callback and signal handler, and in any thread.
        """
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._free()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held = self._held
        try:
            self.release()
        except BaseException:  # a signal handler has raised before it was released
            self._permits.give_back(held)
            raise

    def _is_owned(self) -> bool:
        return self.locked()

    def __repr__(self) -> str:
        holder = self._holder
        state = "unlocked" if not self._held else "locked" if holder is None else f"locked by {holder!r}"
        return f"<greenzmq.Lock {state}{self._waiting()}>"


class RLock(_Held):
    """A reentrant lock, as `threading.RLock` is: its holder may take it again, and has to release it as often.

    Notes
    -----
    Switches: ``with lock:`` does when it has to wait.
    """

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock, once more if this greenlet has it; see `Lock.acquire`. Switches: as that."""
        limit = _lock_limit(blocking, timeout)
        if self._is_owned():
            self._count += 1
            return True
        return self._acquire(limit)

    def __enter__(self) -> bool:
        if self._is_owned():
            self._count += 1
            return True
        return super().__enter__()

    def release(self) -> None:
        """Undo one `acquire`. RuntimeError if this greenlet does not have the lock. Never switches."""
        if not self._is_owned():
            raise RuntimeError(f"cannot release a lock that this greenlet does not have: {self!r}")
        if self._count > 1:
            self._count -= 1
        else:
            self._free()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        before, held = self._count, self._held
        try:
            self.release()
        except BaseException:
            if self._is_owned() and self._held is held:  # a signal handler has raised before it was released
                if before > 1:
                    self._count = before - 1
                else:
                    self._free()
            raise

    def _is_owned(self) -> bool:
        return self._holder is getcurrent() and bool(self._held)

    def __repr__(self) -> str:
        holder = self._holder
        state = "unlocked" if not self._held else f"locked {self._count} times by {holder!r}"
        return f"<greenzmq.RLock {state}{self._waiting()}>"


class Semaphore(_Permitted):
    """A number of permits, as `threading.Semaphore` is. Served first come, first served, whatever `release` adds.

    Parameters
    ----------
    value : int
        How many there are at first.
    bounded : bool
        Whether a `release` that would make them more than that is an error, as in `BoundedSemaphore`.

    Notes
    -----
    Switches: ``with semaphore:`` does when it has to wait.
    """

    def __init__(self, value: int = 1, *, bounded: bool = False) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__(value)
        self._bound = value if bounded else None

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit.

        Parameters
        ----------
        blocking : bool
            Wait until there is one. If false, it is taken only if there is one and nobody waits for it.
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever, 0 does not wait.

        Returns
        -------
        bool
            Whether one was taken.

        Raises
        ------
        ValueError
            A timeout for a call that does not block.

        Notes
        -----
        Switches: when it has to wait.
        """
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return self._acquire(as_limit(timeout, "Semaphore.acquire()") if blocking else 0)

    def release(self, n: int = 1) -> None:
        """Add `n` permits. ValueError if there would be more than a bounded semaphore had at first. Never switches.

        May be called in any greenlet, hub callback and signal handler, and in any thread.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        self._check_bound(n)
        self._give_back([True] * n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        given = [True]
        try:
            self._check_bound(1)
            self._give_back(given)
        except ValueError:
            raise
        except BaseException:  # a signal handler has raised before it was released
            self._permits.give_back(given)
            raise

    def _check_bound(self, n: int) -> None:
        if self._bound is not None and self._permits.count() + n > self._bound:
            raise ValueError("Semaphore released too many times")

    def locked(self) -> bool:
        """Whether `acquire` would have to wait."""
        return bool(self._permits.line) or not self._permits.available()

    @property
    def value(self) -> int:
        """How many permits there are to take."""
        return self._permits.count()

    def __repr__(self) -> str:
        bound = "" if self._bound is None else f" of {self._bound}"
        return f"<greenzmq.{type(self).__name__} {self.value}{bound} free{self._waiting()}>"


class BoundedSemaphore(Semaphore):
    """A `Semaphore` of which no more permits are released than were taken, as `threading.BoundedSemaphore` is."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value, bounded=True)


def _lock_limit(blocking: bool, timeout: float | None) -> float | None:
    """What `threading.Lock.acquire` makes of its arguments, as a limit."""
    if timeout is None or timeout == -1:
        return None if blocking else 0
    limit = as_limit(timeout, "Lock.acquire()")
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if limit is not None and limit < 0:
        raise ValueError("timeout value must be a non-negative number")
    return limit
