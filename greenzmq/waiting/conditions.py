"""Condition variables for the greenlets of any hub, in any threads: `Condition`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .. import hubs
from ..errors import HubError
from .events import wake_anywhere
from .limits import as_limit
from .lines import Line
from .sync import Lock, RLock
from .waiter import new_waiter

if TYPE_CHECKING:
    from .waiter import Waiter

__all__ = ["Condition"]

T = TypeVar("T")


class Condition:
    """A condition variable, as `threading.Condition` is.

    If a greenlet that was notified is killed, or its time is over, before it goes on, another one is notified in its
    place. Whatever ends `wait`, the lock is this greenlet's again when it does: a kill in the meantime is raised then.

    Parameters
    ----------
    lock : Lock or RLock, optional
        The lock to be held around `wait` and `notify`. `threading` makes an RLock if there is none; so does this.
    """

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        if lock is not None and not isinstance(lock, (Lock, RLock)):
            raise TypeError(f"a Condition of greenzmq takes a Lock or RLock of greenzmq, not {lock!r}")
        self._mutex: Lock | RLock = RLock() if lock is None else lock
        self._line = Line()
        self.acquire = self._mutex.acquire
        self.release = self._mutex.release

    def __enter__(self) -> bool:
        return self._mutex.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mutex.__exit__(kind, error, traceback)

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait until notified, and take the lock again.

        Parameters
        ----------
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever. To get the lock again may take longer.

        Returns
        -------
        bool
            Whether it was notified.

        Raises
        ------
        RuntimeError
            The lock is not held.

        Notes
        -----
        Switches: always, but for a timeout of 0 when the lock is free again at once.
        """
        limit = as_limit(timeout, "Condition.wait()")
        self._check_owned("wait on")
        waiter = new_waiter(hubs.hub_to_wait_on(), limit, None, self)
        lock = self._mutex
        held, count = lock._held, lock._count  # the list is empty when the lock has been freed
        try:
            self._line.join(waiter)
            lock._free()
            while waiter in self._line:
                if waiter.expired or (limit is not None and limit <= 0):
                    return False
                waiter.park()
            return True
        except BaseException:
            if not held and waiter not in self._line:  # notified, and not to go on: so somebody else does
                self._notify(1)
            raise
        finally:
            try:
                self._leave(waiter)
            except BaseException:  # a signal handler has raised meanwhile: it is idempotent, so repeat it
                self._leave(waiter)
                raise
            finally:
                if not held:
                    taken: list[Any] = []
                    try:
                        lock._acquire_again(taken, count)
                    except HubError:
                        raise
                    except BaseException:  # thrown while it waited; or by a signal handler before: then once more
                        lock._acquire_again(taken, count)
                        raise

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """`wait` until ``predicate()`` is true, or the time is over. Returns what it returned last.

        Parameters
        ----------
        predicate : callable
            Called without arguments, first at once and then after each wake-up, with the lock held.
        timeout : float, optional
            Seconds; None waits for ever.

        Notes
        -----
        Switches: when it is not true at once.
        """
        limit = as_limit(timeout, "Condition.wait_for()")
        end = None if limit is None else monotonic() + limit
        result = predicate()
        while not result:
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the `n` greenlets that have waited longest. RuntimeError if the lock is not held. Never switches."""
        self._check_owned("notify on")
        self._notify(n)

    def notify_all(self) -> None:
        """Wake all. RuntimeError if the lock is not held. Never switches."""
        self.notify(len(self._line))

    def _notify(self, count: int) -> None:
        for _ in range(count):
            waiter = self._line.first()
            if waiter is None:
                return
            self._wake(waiter)

    def _wake(self, waiter: Waiter) -> None:
        # Out of the line first: that is what the waiter looks for once it is woken.
        try:
            self._line.leave(waiter)
            wake_anywhere(waiter)
        except BaseException:  # a signal handler has raised in between
            self._line.leave(waiter)
            wake_anywhere(waiter)
            raise

    def _leave(self, waiter: Waiter) -> None:
        self._line.leave(waiter)
        waiter.close()

    def _check_owned(self, what: str) -> None:
        if not self._mutex._is_owned():
            raise RuntimeError(f"cannot {what} un-acquired lock")

    def __repr__(self) -> str:
        return f"<greenzmq.Condition({self._mutex!r}), {len(self._line)} waiting>"
