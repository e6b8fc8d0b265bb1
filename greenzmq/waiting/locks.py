"""A lock for what is done once in a process, in code that may give control up.

A native lock will not do there. Its owner switches away, the next greenlet of the same thread asks for the lock, and
the thread stops, the owner with it. And a lock of one runtime's own is no good for greenlets of another, or threads.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenlet import getcurrent

from ..errors import HubError
from ..process import unpatched
from .events import Linkable, hub_here

if TYPE_CHECKING:
    from greenlet import greenlet

__all__ = ["ParkingLock"]


class ParkingLock(Linkable):
    """A `threading.Lock` in a ``with`` statement. Greenlets park for it on whatever hub they run, in any threads.

    A greenlet that asks for what it has is told so, instead of waiting for itself. In a forked child the lock is free,
    whoever had it in the parent.

    Parameters
    ----------
    guarded : str
        What is done under the lock, for messages.
    """

    def __init__(self, guarded: str) -> None:
        super().__init__()
        self._guarded = guarded
        self._owners: dict[int, tuple[greenlet, int]] = {}  # the owner and its thread, by process

    def ready(self) -> bool:
        """Whether nobody has it."""
        return os.getpid() not in self._owners

    def __enter__(self) -> None:
        mine = (getcurrent(), unpatched.get_ident())
        try:
            while (owner := self._owners.setdefault(os.getpid(), mine)) is not mine:
                self._wait_for(*owner)
        except BaseException:
            if self._owners.get(os.getpid()) is mine:  # a signal handler's, raised when the lock was taken
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._owners.pop(os.getpid(), None)
        self._announce()

    def _wait_for(self, owner: greenlet, thread: int) -> None:
        if owner is getcurrent():
            raise RuntimeError(
                f"{self._guarded} was called once more from its own midst, by an __init__, a finalizer or a signal "
                "handler, and would wait for itself"
            )
        try:
            hub = hub_here()
        except HubError:
            if thread == unpatched.get_ident():
                raise
            self._block()  # as pyzmq does, for what is short; the other thread goes on meanwhile
        else:
            self._wait(hub, None)

    def __repr__(self) -> str:
        return f"<ParkingLock of {self._guarded}>"
