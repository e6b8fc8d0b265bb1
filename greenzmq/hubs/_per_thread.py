"""One object for each native thread, with a callback for the end of its thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from ..process import unpatched

__all__ = ["PerThread"]

T = TypeVar("T")


class PerThread(Generic[T]):
    """Holds an object for each native thread.

    A thread's locals are the only thing that ends with it: a loop's suspended greenlet hides its frame from the garbage
    collector, and with it the hub and its descriptors; a gevent hub whose thread ends undestroyed is never collected.

    Parameters
    ----------
    on_end : callable
        Called as ``on_end(held)`` when the thread ends, or when another object takes the place of this one; in that
        thread. Not at the interpreter's end. Nor for the other threads of a process that forked: the child drops their
        locals in its one thread, before the callbacks of `greenzmq.process.fork` run.
    """

    def __init__(self, on_end: Callable[[T], object]) -> None:
        self._on_end = on_end
        self._local = unpatched.local()

    def get(self) -> T | None:
        """This thread's object; None if it has none."""
        place: _Place[T] | None = getattr(self._local, "place", None)
        return None if place is None else place.held

    def set(self, held: T) -> T:
        """Hold an object for this thread, and return it."""
        self._local.place = _Place(held, self._on_end)
        return held


class _Place(Generic[T]):
    """What a thread's locals hold: dropped with them."""

    def __init__(self, held: T, on_end: Callable[[T], object]) -> None:
        self.held = held
        self._on_end = on_end
        self._thread_id = unpatched.get_ident()

    def __del__(self) -> None:
        if not sys.is_finalizing() and self._thread_id == unpatched.get_ident():
            self._on_end(self.held)
