"""Pooled greenlets: each makes one call after another, for coroutines that await these calls.

To start a greenlet costs more than all the rest of a call that need not wait: since Python 3.11 each start maps memory.
So a `Worker` whose call has ended goes into its hub's pool (`AsyncioHub.idle`), and makes the next call.

Other code may want to know when the greenlet of a call ends, and so have a weak reference to it with a callback:
greenlet-locals work like this. For such code the greenlet has to end with its call, so a worker that has such a
reference ends and does not go into the pool. `weakref.getweakrefcount` shows it: all weak references without a callback
are one and the same object, which the worker itself holds, so any count above 1 means a callback. Code that knows of
pooled greenlets calls `greenzmq.hubs.base.at_call_end` instead, and the worker lives on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from .base import CALL_END_CALLBACKS, HUB_ATTRIBUTE

__all__ = ["IDLE", "Worker"]

#: How many idle greenlets a hub keeps; each takes about 20 kB.
IDLE = 32


class Worker(greenlet):
    """A greenlet of the pool. While it is idle it keeps nothing alive, neither its hub nor itself.

    Attributes
    ----------
    job : callable or None
        The next call. The worker sets it to None when it begins the call. If somebody switches into a worker that has
        no job, the worker ends.
    reference : weak reference
        The one without a callback, to itself; see the head of this module.
    """

    job: Callable[[], None] | None = None

    def __init__(self, parent: greenlet) -> None:
        super().__init__(_work, parent)
        setattr(self, CALL_END_CALLBACKS, [])
        self.reference = weakref.ref(self)


def _work() -> None:
    """Run the jobs of this greenlet, a `Worker`, one after the other.

    A function and no method: a method's frame would refer to the worker, and the garbage collector cannot break a cycle
    through the frame of a suspended greenlet.
    """
    while True:
        worker: Any = getcurrent()
        job, worker.job = worker.job, None
        if job is None:  # not `AsyncioHub.begin` has switched into it, but other code that had a reference to it
            return
        job()
        at_end = getattr(worker, CALL_END_CALLBACKS)
        while at_end:
            at_end.pop()()
        idle = getattr(worker, HUB_ATTRIBUTE).idle
        if weakref.getweakrefcount(worker) > 1 or len(idle) >= IDLE:
            return
        idle.append(worker)
        setattr(worker, HUB_ATTRIBUTE, None)
        worker.gr_context = None
        switch = worker.parent.switch
        del worker, job, at_end, idle  # or this frame would keep them alive while the worker is idle
        switch()
