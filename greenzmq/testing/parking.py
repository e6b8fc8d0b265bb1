"""Wait until all other greenlets are parked, for tests that have to begin in that state."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .. import hubs
from ..diagnostics import ParkedGreenlet, describe, report, waiter_of
from ..hubs.base import Hub
from ..process.objects import objects_of
from ..sockets.sleeping import sleeping_threads
from ..waiting.hub_api import GreenHub
from ..waiting.tasks import Task
from ..waiting.waiter import yield_to_hub
from .contract.support import PATIENCE

if TYPE_CHECKING:
    from greenlet import greenlet

    from ..waiting.waiter import Waiter

__all__ = ["wait_all_parked"]

#: In so many observations in a row the same waiters have to be parked, the observations being so many seconds apart.
#: They are made by a timer, because some loops run many rounds of callbacks before they look at descriptors, but no
#: loop does so when a timer is due.
_QUIET = 2
_APART = 0.001


def wait_all_parked(
    whom: GreenHub | Hub | Iterable[Task[Any] | greenlet], seconds: float = PATIENCE
) -> list[ParkedGreenlet]:
    """Yield to the hub until each of `whom` has ended or is parked, that is, waits in a call of greenzmq.

    A greenlet that has been woken, and only waits for the hub to resume it, does not count as parked.

    Parameters
    ----------
    whom : GreenHub or Hub, or iterable of Task or greenlet
        A hub stands for all of its tasks except this one, and also for tasks that are spawned during the call.
    seconds : float
        How long the call may take, in real time.

    Returns
    -------
    list of ParkedGreenlet
        Those that are parked.

    Raises
    ------
    AssertionError
        The time is over. The message tells what each of them does.

    Notes
    -----
    Switches: always.

    A greenlet that sleeps is parked. One that only yields (``hub.sleep(0)``) is not, nor is one that waits in a call of
    its runtime, such as ``gevent.sleep``. Over ``tcp`` and ``ipc`` a message may still be on its way in libzmq's own
    threads, and wake a parked greenlet later: this call cannot know of it.
    """
    hub = hubs.get_hub()
    known = whom if isinstance(whom, (GreenHub, Hub)) else list(whom)
    deadline = monotonic() + seconds
    before: list[Waiter | None] = []
    quiet = 0
    while True:
        now = [_waiter(each) for each in _living(known)]
        settled = None not in now and all(waiter is earlier for waiter, earlier in zip(now, before, strict=False))
        quiet = quiet + 1 if settled and len(now) == len(before) else 0
        if quiet >= _QUIET:
            return [parked for waiter in now if waiter is not None and (parked := describe(waiter)) is not None]
        if monotonic() >= deadline:
            raise AssertionError(f"not all wait, after {seconds:g} s: {_living(known)!r}\n{report()}")
        before = now
        yield_to_hub(hub, 0 if None in now else _APART)


def _living(known: Any) -> list[Task[Any] | greenlet]:
    if isinstance(known, (GreenHub, Hub)):
        hub = known.hub if isinstance(known, GreenHub) else known
        # A task that another thread is just making has no hub yet.
        ours = [task for task in objects_of(Task) if getattr(task, "hub", None) is hub]
        known = [task for task in ours if task._greenlet is not getcurrent()]
    return [each for each in known if not (each.done if isinstance(each, Task) else each.dead)]


def _waiter(each: Task[Any] | greenlet) -> Waiter | None:
    """Return the waiter with which a greenlet is parked. None if it runs, has not begun, or has been woken."""
    it = each._greenlet if isinstance(each, Task) else each
    waiter = None if it is None else waiter_of(it)
    if waiter is None:
        for thread in sleeping_threads():
            if thread.party is it:
                thread.admit()  # it is seen to be parked the next time
    return None if waiter is None or waiter.woken or waiter.expired else waiter
