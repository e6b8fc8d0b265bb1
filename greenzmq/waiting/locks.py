"""A lock around something that is done once in a process, by code that may switch.

A native lock cannot be used there. If its owner switches while it holds the lock, and another greenlet of the same
thread asks for the lock, then the whole thread blocks, the owner included. And the lock of one green runtime does not
work for the greenlets of another, or between threads.
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
    """A lock for a ``with`` statement. Greenlets park for it on the hub on which they run, in any thread.

    If a greenlet asks for the lock that it already holds, that is an error: it would wait for itself. In a forked child
    the lock is free, whether or not it was held in the parent.

    Parameters
    ----------
    guarded : str
        What is done under the lock, for messages.
    """

    def __init__(self, guarded: str) -> None:
        super().__init__()
        self._guarded = guarded
        # Process id -> the owner and its thread. By process, so that a forked child finds the lock free. Taken by
        # `dict.setdefault`, which is atomic.
        self._owners: dict[int, tuple[greenlet, int]] = {}

    def ready(self) -> bool:
        """Whether nobody holds it."""
        return os.getpid() not in self._owners

    def __enter__(self) -> None:
        mine = (getcurrent(), unpatched.get_ident())
        try:
            while (owner := self._owners.setdefault(os.getpid(), mine)) is not mine:
                self._wait_for(*owner)
        except BaseException:
            if self._owners.get(os.getpid()) is mine:  # a signal handler has raised just after the lock was taken
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._owners.pop(os.getpid(), None)
        self._announce()

    def _wait_for(self, owner: greenlet, thread: int) -> None:
        if owner is getcurrent():
            raise RuntimeError(
                f"{self._guarded} was called again before it had ended, by an __init__, a finalizer or a signal "
                "handler in the same greenlet; the second call would wait for the first for ever"
            )
        try:
            hub = hub_here()
        except HubError:
            if thread == unpatched.get_ident():
                raise
            self._block()  # as pyzmq's own lock does; the owner is in another thread, and does not hold it for long
        else:
            self._wait(hub, None)

    def __repr__(self) -> str:
        return f"<ParkingLock of {self._guarded}>"
