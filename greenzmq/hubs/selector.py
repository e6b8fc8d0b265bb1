"""The hub of plain Python: a greenlet that loops over epoll, or over what `selectors` has for the system.

In a program without a green runtime this is what waits: the main greenlet parks, the loop's greenlet sleeps in
``epoll`` or ``kqueue``, and to the caller it is an ordinary blocking call that Ctrl-C ends. Greenlets spawned on it run
meanwhile. One round of the loop: the callbacks that were scheduled before the round, the timers that are due, the
descriptors that are ready.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from ..process.fork import register_after_fork
from ._epoll import IN, OUT, new_selector
from ._per_thread import PerThread
from ._timers import TimerHeap
from ._wakeup import Wakeup
from .base import Hub, Timer, Watch, main_greenlet

__all__ = ["SelectorHub"]

#: Seconds that the loop sleeps at most: epoll takes no more than 24 days.
_LONGEST = 86400
#: The mask of a descriptor while it is not known which one the selector has.
_IN_DOUBT = -1


class SelectorHub(Hub):
    """See `Hub`."""

    name = "selector"
    greenlet: Any = None  # no property: each wait reads it

    def __init__(self) -> None:
        super().__init__()
        self._selector: Any = new_selector()
        self._registered: dict[int, int] = {}  # fd -> the mask that the selector has
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._timers = TimerHeap()
        self._asleep = False
        self._closed = False
        self._parked: set[weakref.ref[greenlet]] = set()
        self._from_threads: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._wakeup = Wakeup(self._take_from_threads)
        self._selector.register(self._wakeup.fd, IN)
        self.greenlet = greenlet(self._run, main_greenlet())
        register_after_fork(self, hub=True)

    @classmethod
    def current(cls) -> SelectorHub | None:
        return _hubs.get()

    @classmethod
    def get(cls) -> SelectorHub:
        return cls.current() or _hubs.set(cls())

    def has_work(self) -> bool:
        """Whether a greenlet waits here, a timer runs, or a call is due."""
        return bool(self._parked or self._timers or self._ready)

    @property
    def variant(self) -> str:
        name: str = self._selector.name
        return name

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _SelectorWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._ready.append((callback, args))
        self._wake_from_handler()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        if not self._closed:
            self._from_threads.append((callback, args))
            self._wakeup.notify()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = self._timers.add(monotonic() + max(seconds, 0), callback, args)
        self._wake_from_handler()
        return timer

    def switch(self) -> object:
        reference = weakref.ref(getcurrent())
        self._parked.add(reference)
        try:
            return self.greenlet.switch()
        finally:
            self._parked.discard(reference)

    def close(self) -> None:
        """End the loop and free its descriptors; for the end of the thread."""
        if not self._closed:
            self._closed = True
            if self.greenlet:
                self.greenlet.throw(GreenletExit)
            self._end_parked()
            self._wakeup.close()
            self._selector.close()

    def _end_parked(self) -> None:
        """End what is parked here, as Python does when the last reference to a greenlet goes.

        Nobody can resume it any more, nor can it be collected: its frames, which only this thread could unwind, hold
        what holds it.
        """
        here = getcurrent()
        for reference in list(self._parked):
            parked = reference()
            if parked is None or parked is here:
                continue
            try:
                parked.parent = here  # not the loop, which has ended
                parked.throw(GreenletExit)
            except BaseException:
                _report()

    def _wake_from_handler(self) -> None:
        """While the loop is in select() only a signal handler runs, after which select() goes on sleeping (PEP 475)."""
        if self._asleep:
            self._wakeup.notify()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._round()
            except GreenletExit:
                return
            except BaseException as error:
                # KeyboardInterrupt and SystemExit are the main greenlet's, by rule 4 of base.py. So is what keeps the
                # loop from asking the system; to report that and go round would have no end.
                main_greenlet().throw(error)

    def _round(self) -> None:
        ready = self._ready
        for _ in range(len(ready)):
            callback, args = ready.popleft()
            try:
                callback(*args)
            except Exception:
                _report()
        del ready
        self._wait(self._due())

    def _due(self) -> float | None:
        """Move the timers that are due to the ready callbacks; return how long the loop may sleep, in seconds."""
        when = self._timers.first_due()
        if when is None:
            return 0 if self._ready else None
        now = monotonic()
        if when <= now:
            # They have waited longer than what is ready by now.
            self._ready.extendleft((timer.run, ()) for timer in reversed(list(self._timers.pop_due(now))))
        return 0 if self._ready else min(max(when - now, 0), _LONGEST)

    def _wait(self, seconds: float | None) -> None:
        self._asleep = True
        try:
            # A signal handler that ran before _asleep was set has left its callback in _ready.
            events = self._selector.select(0 if self._ready else seconds)
        finally:
            self._asleep = False
        for fd, flags in events:
            if flags & ~OUT:
                self._fire(fd, False)
            if flags & ~IN:
                self._fire(fd, True)

    def _fire(self, fd: int, write: bool) -> None:
        watch = self.watching.get((fd, write))
        if watch is None:
            if fd == self._wakeup.fd:
                self._wakeup.drain()
            return  # else it was stopped since
        try:
            watch._fire()
        except Exception:
            _report()

    def _register(self, fd: int) -> None:
        """Bring the selector up to date with the watches on `fd`, and with those that a signal handler adds meanwhile.

        While a change is under way its descriptor is noted as `_IN_DOUBT`, and so it stays if an exception comes: the
        next change is made whatever it is.
        """
        while (wanted := self._wanted(fd)) != (registered := self._registered.get(fd, 0)):
            if not wanted:
                self._forget(fd)
                continue
            self._registered[fd] = _IN_DOUBT
            change = self._selector.modify if registered else self._selector.register
            change(fd, wanted)
            self._registered[fd] = wanted

    def _wanted(self, fd: int) -> int:
        return (IN if (fd, False) in self.watching else 0) | (OUT if (fd, True) in self.watching else 0)

    def _forget(self, fd: int) -> None:
        if fd in self._registered:
            self._selector.unregister(fd)
            self._registered.pop(fd, None)

    def _take_from_threads(self) -> None:
        waiting = self._from_threads
        while waiting:
            self._ready.append(waiting.popleft())

    def _greenzmq_after_fork(self) -> None:
        """The selector and the wake-up sockets are shared with the parent: take new ones, leave the old as they are."""
        self._selector.close()
        self._wakeup.close()
        if SelectorHub.current() is not self:  # another thread's, which is gone
            self._closed = True
            return
        self._selector = new_selector()
        self._wakeup = Wakeup(self._take_from_threads)
        self._selector.register(self._wakeup.fd, IN)
        self._registered.clear()
        for fd, _ in list(self.watching):
            self._register(fd)


class _SelectorWatch(Watch):
    __slots__ = ()
    hub: SelectorHub

    def _arm(self) -> None:
        self.hub._register(self.fd)

    def _disarm(self) -> None:
        if not self.hub._closed:
            try:
                self.hub._register(self.fd)
            except OSError:  # of a descriptor that is gone one direction is watched still
                self.hub._forget(self.fd)


_hubs = PerThread(SelectorHub.close)


def _report() -> None:
    sys.excepthook(*sys.exc_info())
