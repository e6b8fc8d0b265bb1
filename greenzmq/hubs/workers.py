"""Pooled greenlets: each makes one call after another, for coroutines that await them.

To begin a greenlet costs more than all else in a call that need not wait: since Python 3.11 it maps memory. So a
`Worker` whose call has ended goes into its hub's pool (`AsyncioHub.idle`), and makes the next call.

But code may still refer to the greenlet as to one that has ended, by a weak reference: a socket that waits for the end
of its message, the owner of a greenlet-local. Python makes one weak reference without a callback for everybody, and the
worker holds that one itself; any further one has a callback, and means that somebody is told of this greenlet's end.
Such a worker ends. Code that knows of pooled greenlets uses `greenzmq.hubs.base.at_call_end`, and does not end them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from .base import CALL_END_CALLBACKS, HUB_ATTRIBUTE

__all__ = ["IDLE", "Worker"]

#: How many idle greenlets a hub keeps; each has some 20 kB.
IDLE = 32


class Worker(greenlet):
    """A greenlet of the pool. While it is idle it keeps nothing alive, neither its hub nor itself.

    Attributes
    ----------
    job : callable, optional
        The next call; taken at its beginning. A worker that is switched into without one ends.
    reference : weak reference
        To itself; see above.
    """

    job: Callable[[], None] | None = None

    def __init__(self, parent: greenlet) -> None:
        super().__init__(_work, parent)
        setattr(self, CALL_END_CALLBACKS, [])
        self.reference = weakref.ref(self)


def _work() -> None:
    """What a `Worker` runs. Not a method: its frame would hold it, and a greenlet that has begun is no garbage."""
    while True:
        worker: Any = getcurrent()
        job, worker.job = worker.job, None
        if job is None:  # not `AsyncioHub.begin`, but somebody who had a reference, has switched into it
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
        del worker, job, at_end, idle  # what this frame refers to lives while the worker is idle
        switch()
