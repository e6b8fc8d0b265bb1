"""One object for each native thread, and a callback for the end of that thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from ..process import unpatched

__all__ = ["PerThread"]

T = TypeVar("T")


class PerThread(Generic[T]):
    """Holds an object for each native thread.

    The hub of a thread that has ended would never be freed by itself. The loop's greenlet is suspended, so the garbage
    collector does not see what its frame refers to; and gevent's hub is never collected if nobody destroys it. Thread
    locals are what Python drops when a thread ends. Therefore the object is held in one, and `on_end` frees it.

    Parameters
    ----------
    on_end : callable
        Called as ``on_end(held)``, in the thread of the object `held`, when that thread ends, or when `set` replaces
        the object. Not called at the interpreter's end. Not called in a forked child for the parent's other threads
        either: the child drops their locals in its only thread, before the callbacks of `greenzmq.process.fork` run.
    """

    def __init__(self, on_end: Callable[[T], object]) -> None:
        self._on_end = on_end
        self._local = unpatched.local()

    def get(self) -> T | None:
        """Return this thread's object, or None if it has none."""
        place: _Place[T] | None = getattr(self._local, "place", None)
        return None if place is None else place.held

    def set(self, held: T) -> T:
        """Hold an object for this thread, and return it."""
        self._local.place = _Place(held, self._on_end)
        return held


class _Place(Generic[T]):
    """The value of the thread local. Python drops it when the thread ends, and so calls `__del__` in that thread."""

    def __init__(self, held: T, on_end: Callable[[T], object]) -> None:
        self.held = held
        self._on_end = on_end
        self._thread_id = unpatched.get_ident()

    def __del__(self) -> None:
        # The second condition is false in a forked child that drops the objects of the parent's other threads.
        if not sys.is_finalizing() and self._thread_id == unpatched.get_ident():
            self._on_end(self.held)
