"""The one place where a greenlet stops.

Everything in greenzmq that waits makes a `Waiter` and parks it; nothing else calls `Hub.switch`. The rules:

1.  Parking is a loop. Other libraries may switch into a parked greenlet, late and for reasons of their own. So whatever
    has switched into it, the greenlet goes on only if its waiter was woken or its time is over; else it switches back.
2.  Waking has two steps: `Waiter.wake` marks the waiter and schedules a resumption; later the hub runs that, and
    switches into the greenlet only if it is still parked. Between the two steps the greenlet may be killed or time out.
    The resumption then does nothing, or switches into a later `park` of the same waiter, where rule 1 applies.
3.  An exception thrown into a parked greenlet (a kill, a timeout of any library) comes out of `Waiter.park` as it is.
    Code that parks has a ``finally`` that removes the waiter wherever it was registered, and calls `Waiter.close`.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ..errors import BlockingCallError, HubError, WrongHubError
from ..hubs.detection import runs_elsewhere
from ..process import unpatched
from .reasons import NEXT_TURN, SLEEP, Reason

if TYPE_CHECKING:
    from greenlet import greenlet

    from ..hubs.base import Hub, Timer

__all__ = ["WaitQueue", "Waiter", "interrupt", "new_waiter", "yield_to_hub"]


class Waiter:
    """One greenlet that waits on one hub: this one, on `hub`. `new_waiter` makes one where a wait may be refused.

    Parameters
    ----------
    hub : Hub
        This thread's hub.
    timeout : float, optional
        Seconds from `since` on after which `park` returns False; None waits for ever.
    since : float, optional
        When the wait began, as `time.monotonic` counts; None means now.
    reason : object, optional
        What the wait is for; see `greenzmq.waiting.reasons`. A socket stands for the direction whose queue the waiter
        enters. `close` drops it.

    Attributes
    ----------
    party : greenlet
        Who waits.
    woken, expired : bool
        Why `park` returns.
    parked : bool
        Whether the greenlet is in `park` now.
    yielded : bool
        Whether it has ever given control to the hub.
    queue : WaitQueue or None
        The queue in which it stands.
    previous, next : Waiter or None
        The neighbours there. Not set before it enters a queue.
    spurious : object
        What a sender has met, that was promised room in vain; see `greenzmq.sockets.spurious`.
    """

    __slots__ = (
        "_limit",
        "expired",
        "hub",
        "next",
        "parked",
        "party",
        "previous",
        "queue",
        "reason",
        "since",
        "spurious",
        "woken",
        "yielded",
    )
    _limit: tuple[float, Timer] | None
    queue: WaitQueue | None
    previous: Waiter | None
    next: Waiter | None
    spurious: Any

    def __init__(
        self, hub: Hub, timeout: float | None = None, since: float | None = None, reason: Reason = None
    ) -> None:
        self.party: Any = getcurrent()
        self.hub = hub
        self.reason = reason
        self.woken = self.expired = self.parked = self.yielded = False
        self.queue = self._limit = self.spurious = None
        self.since = since = monotonic() if since is None else since
        if timeout is not None:
            self._limit = timeout, hub.call_later(timeout + since - monotonic(), self._expire)

    @property
    def timeout(self) -> float | None:
        """The limit in seconds; None if there is none, or once the wait has ended."""
        limit = self._limit  # which another thread may drop, if this one only describes the wait
        return None if limit is None else limit[0]

    def park(self) -> bool:
        """Give control to the hub until `wake` is called, or until the time is over. Switches, unless already woken.

        Returns whether it was woken. May be called again: the next call then waits for another wake-up.

        `greenzmq.diagnostics` finds the waiter of a parked greenlet by `self` in this frame.
        """
        # Before `woken` is read. A signal handler that calls `wake` between that and the switch schedules a resumption
        # only if it sees that the waiter is parked; else the greenlet would sleep on.
        self.parked = True
        try:
            while not (self.woken or self.expired):
                self.yielded = True
                self.hub.switch()
        finally:
            self.parked = False
        woken, self.woken = self.woken, False
        return woken

    def stand_for(self, party: Any) -> None:
        """It is another greenlet, of another thread, that waits: it parks when it finds this out."""
        self.party = party

    def remember(self, spurious: Any) -> Any:
        """Store `spurious`, and return it."""
        self.spurious = spurious
        return spurious

    def wake(self) -> None:
        """Let `park` return, soon. Never switches. To be called in the thread of the hub."""
        if not self.woken:
            if self.parked:
                self.hub.call_soon(self._resume)
            self.woken = True  # last: if a signal handler raises in between, the caller repeats this

    def wake_now(self) -> None:
        """`wake`, and switch into the greenlet at once.

        Only as the last act of a callback that the hub called: what follows in the callback runs after the greenlet has
        parked again.
        """
        self.woken = True
        if self.parked:
            self.party.switch()

    def wake_threadsafe(self) -> None:
        """`wake`, from any thread."""
        self.hub.call_soon_threadsafe(self.wake)

    def close(self) -> None:
        """Leave the queue, cancel the timer, and drop the greenlet and the reason. For a ``finally``.

        They are dropped because the traceback of an error may keep this waiter, and so would keep them.
        Idempotent: if a signal handler's exception interrupts this, the caller repeats it.
        """
        queue = self.queue
        if queue is None:
            pass
        elif queue.first is queue.last:  # it stands there alone, as most do
            queue.first = queue.last = self.queue = None
        else:
            before, after = self.previous, self.next
            if before is not None:
                before.next = after
            elif queue.first is self:
                queue.first = after
            if after is not None:
                after.previous = before
            elif queue.last is self:
                queue.last = before
            self.queue = self.previous = self.next = None
        if self._limit is not None:
            self._limit[1].cancel()
            self._limit = None
        self.party = self.reason = None  # nobody reads them any more

    def _expire(self) -> None:
        self.expired = True
        self._resume()

    def _resume(self) -> None:
        if self.parked:
            self.party.switch()


def new_waiter(hub: Hub, timeout: float | None = None, since: float | None = None, reason: Reason = None) -> Waiter:
    """Make a `Waiter` for this greenlet, if it may wait.

    Raises
    ------
    BlockingCallError
        This greenlet is the hub's own.
    WrongHubError
        The wait would stop another hub.
    """
    refuse_in_hub(hub)
    return Waiter(hub, timeout, since, reason)


def refuse_in_hub(hub: Hub) -> None:
    """Raise `BlockingCallError` in the hub's own greenlet, and `WrongHubError` where a wait would stop another hub."""
    current = getcurrent()
    if current is hub.greenlet:
        raise BlockingCallError(
            f"a call that has to wait was made in the hub's own greenlet ({hub!r}), as in a callback or a signal "
            f"handler; it would stop everything. {hub.cure}"
        )
    if current.parent is hub.greenlet:
        return
    if hub.thread_id != unpatched.get_ident():
        raise WrongHubError(
            f"{hub!r} was used in thread {unpatched.thread_name()}; there, ask for that thread's own: greenzmq.hub()"
        )
    if (other := runs_elsewhere(hub.name, hub)) is not None:
        raise WrongHubError(f"this would wait on {hub!r}, but {other.why}, which the wait would stop; wait on that one")


def refuse_to_wait(hub: Hub) -> None:
    """Raise the error that a wait would raise here. For a call that begins something which it could not undo then."""
    refuse_in_hub(hub)
    hub.check_switch()


def may_wait(hub: Hub) -> bool:
    """Whether a wait is possible here. For a call that need not wait, but yields to `hub` where it can."""
    try:
        refuse_to_wait(hub)
    except HubError:
        return False
    return True


class WaitQueue:
    """Waiters in the order of their arrival: a linked list, so that leaving is as cheap from any place in it."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: Waiter | None = None
        self.last: Waiter | None = None

    def join(self, waiter: Waiter) -> None:
        """Put `waiter` at the end. It leaves by `Waiter.close`."""
        last = self.last
        waiter.previous, waiter.next, waiter.queue = last, None, self
        if last is None:
            self.first = waiter
        else:
            last.next = waiter
        self.last = waiter

    def forget_all(self) -> None:
        """Remove all waiters without waking them, and cancel their timers."""
        for waiter in self:
            waiter.close()

    def __bool__(self) -> bool:
        return self.first is not None

    def __iter__(self) -> Iterator[Waiter]:
        waiter = self.first
        while waiter is not None:
            following = waiter.next
            yield waiter
            waiter = following


def yield_to_hub(hub: Hub, seconds: float = 0) -> None:
    """Let the hub run others for at least one round, and for `seconds`. Always switches."""
    waiter = new_waiter(hub, seconds, None, SLEEP) if seconds > 0 else new_waiter(hub, None, None, NEXT_TURN)
    try:
        if seconds <= 0:
            hub.call_next_round(waiter.wake_now)
        waiter.park()
    finally:
        waiter.close()


def interrupt(target: greenlet, error: BaseException) -> None:
    """Throw `error` into a parked greenlet. Only as the last act of a callback that the hub called."""
    if not target.dead:
        target.throw(error)
