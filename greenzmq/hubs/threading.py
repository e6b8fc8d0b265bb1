"""The hub of native threads: each thread has a selector loop of its own, and a task is a thread.

For programs with blocking calls around their sockets. Where one task blocks its thread, by a file, by ``time.sleep`` or
by a library that knows no hub, the others go on.

Whatever has to reach another thread's greenlet reaches it where that greenlet waits next: no exception can be raised
in a thread that computes, or that sits in a blocking call.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from greenlet import getcurrent, greenlet

from .base import main_greenlet
from .selector import SelectorHub

__all__ = ["ThreadingHub"]


class ThreadingHub(SelectorHub):
    """See `Hub`. There is one for each thread that waits.

    Attributes
    ----------
    main : greenlet
        The thread's main greenlet.
    spawner : ThreadingHub or None
        The hub of the task that has spawned this thread; None for a thread that is no task.
    """

    name = "threading"
    runs_threads = True
    cure = "Do it in a task, which is a thread: greenzmq.hub().spawn(function, *args)"

    def __init__(self) -> None:
        super().__init__()
        self.main: greenlet = main_greenlet()
        self.spawner: ThreadingHub | None = None
        # Each for whom, what, and whether it concerns the whole program.
        self._interrupts: deque[tuple[greenlet, BaseException, bool]] = deque()

    def has_spawner(self, spawner: Any) -> None:
        """Note whose task this thread is."""
        while spawner.spawner is not None and spawner.spawner.has_ended():
            spawner.spawner = spawner.spawner.spawner  # or tasks that spawn their successors would keep all before them
        self.spawner = spawner

    def interrupt(self, target: greenlet, error: BaseException, for_all: bool = False) -> None:
        """Raise `error` in a greenlet of this thread where it waits, or else at its next wait. From any thread.

        `for_all` says that it concerns the whole program: if this thread has ended, it goes on to the spawner.
        """
        self._interrupts.append((target, error, for_all))
        self.call_soon_threadsafe(self._deliver)
        if self._closed:
            self._pass_on_interrupts()

    def pass_on(self, error: BaseException) -> None:
        """Raise `error` in the main greenlet of the spawner. It concerns the whole program, and not this thread."""
        if self.spawner is not None:
            self.spawner.interrupt(self.spawner.main, error, for_all=True)

    def idle_means(self) -> tuple[int, tuple[Any, ...]] | None:
        """See `Hub.idle_means`. What comes from other threads, an interrupt too, makes the loop's epoll ready."""
        fileno, timers = getattr(self._selector, "fileno", None), self._timers
        return None if fileno is None else (fileno(), (self._parked, self._ready, (timers.entries(), timers)))

    def close(self) -> None:
        super().close()
        self._pass_on_interrupts()

    def _pass_on_interrupts(self) -> None:
        """Pass on what concerns the whole program, now that nobody waits here any more. The rest has come too late."""
        while self._interrupts:
            try:
                _, error, for_all = self._interrupts.popleft()
            except IndexError:  # `interrupt` and `close`, in two threads
                return
            if for_all:
                self.pass_on(error)

    def switch(self) -> object:
        if self._interrupts:  # of a call that came before this wait, so that the wait never begins
            self._raise_interrupt()
        return super().switch()

    def _raise_interrupt(self) -> None:
        current = getcurrent()
        for interrupt in list(self._interrupts):
            if interrupt[0] is current:
                self._interrupts.remove(interrupt)
                raise interrupt[1]

    def _deliver(self) -> None:
        """In the loop, while all greenlets of the thread wait: raise the first interrupt, unless `switch` has."""
        if self._interrupts:
            target, error, _ = self._interrupts.popleft()
            if not target.dead:
                target.throw(error)
