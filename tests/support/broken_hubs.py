"""Hubs of which each breaks one rule of the contract. `noticed_by` names the check that has to notice it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from greenlet import greenlet

from greenzmq.hubs.base import Timer
from greenzmq.hubs.selector import SelectorHub


class BrokenHub(SelectorHub):
    noticed_by: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.kept: deque[Any] = deque()


class Handle:
    """A watch or a timer that passes everything on to a real one. The hubs below change one method of it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class LastComeFirstServed(BrokenHub):
    noticed_by = "check_soon_order"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.kept.append(partial(callback, *args))
        super().call_soon(self.run_last)

    def run_last(self) -> None:
        self.kept.pop()()


class CallsAtOnce(BrokenHub):
    noticed_by = "check_soon_is_not_now"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        callback(*args)


class CallsInGreenlets(BrokenHub):
    noticed_by = "check_greenlet"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        super().call_soon(greenlet(callback, self.greenlet).switch, *args)


class Starves(BrokenHub):
    noticed_by = "check_soon_is_fair"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.kept.append(partial(callback, *args))
        super().call_soon(self.run_all)

    def run_all(self) -> None:
        while self.kept:
            self.kept.popleft()()


class LosesTheRest(BrokenHub):
    noticed_by = "check_soon_survives_exceptions"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.kept.append(partial(callback, *args))
        super().call_soon(self.run_all)

    def run_all(self) -> None:
        calls = [*self.kept]
        self.kept.clear()
        for call in calls:
            call()


class SwallowsCtrlC(BrokenHub):
    noticed_by = "check_system_exceptions"

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        def swallow() -> None:
            try:
                callback(*args)
            except BaseException:
                pass

        super().call_soon(swallow)


class MakesHubsEverywhere(BrokenHub):
    noticed_by = "check_current"

    getting = False

    @classmethod
    def current(cls) -> Any:
        hub = super().current()
        return SelectorHub.get() if hub is None and not cls.getting else hub

    @classmethod
    def get(cls) -> Any:
        cls.getting = True
        try:
            return super().get()
        finally:
            cls.getting = False


class IsEarly(BrokenHub):
    noticed_by = "check_later_is_not_early"

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return super().call_later(seconds - 0.0005, callback, *args)


class IsShortSighted(BrokenHub):
    noticed_by = "check_far_future"

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return super().call_later(int(seconds), callback, *args)


class KeepsCancelledCallbacks(BrokenHub):
    noticed_by = "check_cancel_frees"

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Any:
        timer = Handle(super().call_later(seconds, callback, *args))
        timer.callback = callback
        return timer


class CannotCancelWhatIsDue(BrokenHub):
    noticed_by = "check_cancel_in_the_same_round"

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return super().call_later(seconds, super().call_soon, callback, *args)


class DeafToThreads(BrokenHub):
    noticed_by = "check_thread_wakes"

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self.kept.append((callback, args))

    def switch(self) -> object:
        while self.kept:
            callback, args = self.kept.popleft()
            self.call_soon(callback, *args)
        return super().switch()


class EndsWhenIdle(BrokenHub):
    noticed_by = "check_thread_wakes_an_idle_loop"

    def switch(self) -> object:
        if not (self._ready or self._timers or self.readers or self.writers):
            raise RuntimeError("nothing to wait for")
        return super().switch()


class EdgeTriggered(BrokenHub):
    noticed_by = "check_watch_read"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        calls = [callback]

        def once() -> None:
            if calls:
                calls.pop()()

        return super().watch(fd, once, write=write)


class StopsLate(BrokenHub):
    noticed_by = "check_watch_stop_in_the_same_round"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        handle = Handle(super().watch(fd, callback, write=write))
        handle.stop = lambda: self.call_soon(handle.inner.stop)
        return handle


class EndsWatchesThatRaise(BrokenHub):
    noticed_by = "check_watch_survives_exceptions"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        def called() -> None:
            try:
                callback()
            except Exception:
                watch.close()
                raise

        watch = super().watch(fd, called, write=write)
        return watch


class KeepsWatches(BrokenHub):
    noticed_by = "check_watch_ownership"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        self.kept.append(super().watch(fd, callback, write=write))
        return self.kept[-1]


class FiresAtRest(BrokenHub):
    noticed_by = "check_watch_rest"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        handle = Handle(super().watch(fd, callback, write=write))
        handle.stop_lazily = lambda: None
        return handle


class ReplacesWatches(BrokenHub):
    noticed_by = "check_watch_is_alone"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        handle = Handle(super().watch(fd, callback, write=write))

        def start() -> None:
            watches = self.writers if write else self.readers
            if fd in watches:
                watches[fd].stop()
            handle.inner.start()

        handle.start = start
        return handle


class TakesBadDescriptors(BrokenHub):
    noticed_by = "check_watch_bad_descriptor"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        handle = Handle(super().watch(fd, callback, write=write))

        def start() -> None:
            try:
                handle.inner.start()
            except (OSError, ValueError):
                pass

        handle.start = start
        return handle


class LeavesFlags(BrokenHub):
    noticed_by = "check_watch_flags"

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Any:
        handle = Handle(super().watch(fd, callback, write=write))
        handle.start = lambda: (handle.inner.start(), os.set_blocking(fd, False))
        return handle


BROKEN_HUBS = BrokenHub.__subclasses__()
