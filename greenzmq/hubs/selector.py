"""The hub of plain Python: a greenlet that runs a loop over epoll, or over what `selectors` offers on the system.

It is used in programs without a green runtime. When the main greenlet makes a call that has to wait, it parks, and the
loop's greenlet sleeps in ``epoll`` or ``kqueue``. To the program this looks like an ordinary blocking call, which
Ctrl-C ends; but greenlets spawned on the hub run meanwhile.

A round of the loop runs the callbacks that were scheduled before it, then finds the timers that are due, whose
callbacks come first in the next round, and then calls the watches of the descriptors that are ready.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import GreenletExit, getcurrent, greenlet

from ..process.fork import register_after_fork
from ._epoll import IN, OUT, new_selector
from ._per_thread import PerThread
from ._timers import TimerHeap
from ._wakeup import Wakeup
from .base import Hub, Timer, Watch, main_greenlet

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SelectorHub"]

#: Seconds that the loop sleeps at most: epoll cannot wait for more than 24 days at once.
_LONGEST = 86400
#: Noted as the mask of a descriptor while it is not known which mask the selector has.
_IN_DOUBT = -1


class SelectorHub(Hub):
    """See `Hub`."""

    name = "selector"
    _of_threads: ClassVar[PerThread[Any]]  # a subclass has hubs of its own

    def __init_subclass__(cls) -> None:
        cls._of_threads = PerThread(cls.close)

    greenlet: Any = None  # an attribute and no property, since each wait reads it

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
    def current(cls) -> Self | None:
        return cls._of_threads.get()

    @classmethod
    def get(cls) -> Self:
        return cls.current() or cls._of_threads.set(cls())

    def has_work(self) -> bool:
        """Whether a greenlet waits here, or a timer or a callback is pending."""
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
            if self._closed:  # meanwhile; what is dropped notices it
                self._from_threads.clear()

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

    def has_ended(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the loop and free its descriptors. Called at the end of the thread."""
        if not self._closed:
            self._closed = True
            if self.greenlet:
                self.greenlet.throw(GreenletExit)
            self._end_parked()
            self._from_threads.clear()
            for watch in (*self.readers.values(), *self.writers.values()):  # lazily stopped: these would keep sockets
                watch.stop()
            self._wakeup.close()
            self._selector.close()

    def _end_parked(self) -> None:
        """Raise `GreenletExit` in each parked greenlet, as Python does when the last reference to one goes.

        Nothing can resume them after the loop's end. They could not be collected either: their frames, which only this
        thread can unwind, refer to the objects that refer to them.
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
        """Wake the loop if it sleeps in select(): then the caller is a signal handler.

        After a signal handler has returned, select() goes on sleeping (PEP 475), and the loop would not see what the
        handler has scheduled.
        """
        if self._asleep:
            self._wakeup.notify()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._round()
            except GreenletExit:
                return
            except BaseException as error:
                # KeyboardInterrupt and SystemExit go to the main greenlet, by rule 4 of base.py. So does an error of
                # select() itself: if the loop reported it and went on, it would meet it again in every round.
                main_greenlet().throw(error)

    def _round(self) -> None:
        ready = self._ready
        for _ in range(len(ready)):  # not those that are scheduled meanwhile, or watches would never be served
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
            # In front: they were due before the callbacks that are ready now were scheduled.
            self._ready.extendleft((timer.run, ()) for timer in reversed(list(self._timers.pop_due(now))))
        return 0 if self._ready else min(max(when - now, 0), _LONGEST)

    def _wait(self, seconds: float | None) -> None:
        self._asleep = True
        try:
            # Read `_ready` after `_asleep` is set: a signal handler that ran before that has not woken the loop, but
            # its callback is in `_ready`.
            events = self._selector.select(0 if self._ready else seconds)
        finally:
            self._asleep = False
        for fd, flags in events:
            if flags & ~OUT:
                self._fire(fd, False)
            if flags & ~IN:
                self._fire(fd, True)

    def _fire(self, fd: int, write: bool) -> None:
        watch = (self.writers if write else self.readers).get(fd)
        if watch is None:
            if fd == self._wakeup.fd:
                self._wakeup.drain()
            return  # or the watch was stopped by a callback of this round
        try:
            watch._fire()
        except Exception:
            _report()

    def _register(self, fd: int) -> None:
        """Update the selector to the watches that are started on `fd`, also to those a signal handler starts meanwhile.

        During a change the descriptor's mask is noted as `_IN_DOUBT`. If an exception interrupts the change, it stays
        so. Then it differs from any mask that is wanted, and the next call makes the change.
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
        return (IN if fd in self.readers else 0) | (OUT if fd in self.writers else 0)

    def _forget(self, fd: int) -> None:
        if fd in self._registered:
            self._selector.unregister(fd)
            self._registered.pop(fd, None)

    def _take_from_threads(self) -> None:
        waiting = self._from_threads
        while waiting:
            self._ready.append(waiting.popleft())

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: make a new selector and new wake-up sockets, since the old ones are the parent's, too.

        To close the old ones here has no effect on the parent.
        """
        self._selector.close()
        self._wakeup.close()
        if self.current() is not self:  # the hub of another thread, which does not exist in the child
            self._closed = True
            return
        self._selector = new_selector()
        self._wakeup = Wakeup(self._take_from_threads)
        self._selector.register(self._wakeup.fd, IN)
        self._registered.clear()
        for fd in {*self.readers, *self.writers}:
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
            except OSError:  # the descriptor is closed, and its other direction is still watched
                self.hub._forget(self.fd)


SelectorHub._of_threads = PerThread(SelectorHub.close)


def _report() -> None:
    sys.excepthook(*sys.exc_info())
