"""The hub of gevent, on each of its loops: libev-cext, libev-cffi, libuv-cffi.

All three loops stop a watcher whose callback has raised; the two cffi loops also throw the exception into the main
greenlet. Therefore every function here that a loop calls catches exceptions and reports them itself (`GeventHub._run`).
"""

from __future__ import annotations

import math
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists

from ..process import unpatched
from ..process.fork import register_after_fork
from ._epoll import StandIn
from ._per_thread import PerThread
from .base import BY_CALL, BY_FLAG, Hub, Timer, Watch

__all__ = ["GeventHub"]

_READ, _WRITE = 1, 2  # gevent.core.READ and WRITE have these values on every loop
#: Seconds, 30 years: the longest time for a timer on libuv, whose integers would overflow.
_NEVER = 1e9


class GeventHub(Hub):
    """See `Hub`. Once the gevent hub is destroyed, `call_soon` and `call_later` raise; the rest does nothing."""

    name = "gevent"
    greenlet: Any = None  # an attribute and no property, since each wait reads it

    def __init__(self, hub: Any) -> None:
        super().__init__()
        self._hub = self.greenlet = hub
        self._loop = hub.loop
        kind = type(self._loop).__module__
        self._coarse = "libuv" in kind
        # On libuv a watcher that is still started makes gevent's destroy() of the loop hang, and keeps the loop running
        # when nothing else does.
        self.supports_lazy_stop = not self._coarse
        runtime = "libuv-cffi" if self._coarse else "libev-cext" if kind.endswith("corecext") else "libev-cffi"
        self._variant = f"{runtime}, {self._loop.backend}"
        self._parked = 0
        self._closed = False
        self._from_threads: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        # An async watcher, because loop.run_callback_threadsafe changes a list of the libuv loop without a lock. With a
        # weak reference, because libev-cext keeps a started watcher for ever if its loop is destroyed.
        self._wakeup = self._loop.async_(ref=False)
        self._wakeup.start(_take_from_threads, weakref.ref(self))
        register_after_fork(self, hub=True)

    @classmethod
    def current(cls) -> GeventHub | None:
        hub = get_hub_if_exists()
        return None if hub is None or hub.loop is None else cls._of(hub)

    @classmethod
    def get(cls) -> GeventHub:
        return cls._of(gevent.get_hub())

    @classmethod
    def _of(cls, hub: Any) -> GeventHub:
        adapter = _adapters.get()
        return adapter if adapter is not None and adapter._hub is hub else _adapters.set(cls(hub))

    @property
    def variant(self) -> str:
        return self._variant

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return (_LibuvWatch if self._coarse else _GeventWatch)(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._loop.run_callback(callback, *args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self._from_threads.append((callback, args))
        try:
            self._wakeup.send()
        except Exception:  # after the loop was destroyed; each kind of loop raises another exception
            if self._loop.ptr and not self._closed:
                raise
            self._from_threads.clear()

    def has_ended(self) -> bool:
        return self._closed or not self._loop.ptr

    def call_next_round(self, callback: Callable[..., object], *args: Any) -> None:
        # By the async watcher, since gevent's loops run up to 1,000 callbacks, and also those that are scheduled
        # meanwhile, before they serve watchers.
        self.call_soon_threadsafe(callback, *args)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return _GeventTimer(self, seconds, callback, args)

    def switch(self) -> object:
        # A gevent loop that has nothing to wait for ends with LoopExit. It does not know that another thread may call
        # us, so while a greenlet is parked here the wake-up counts as something to wait for (`ref`). Otherwise it must
        # not count: gevent.wait() and hub.join() return only when the loop ends.
        if not self._parked:
            self._wakeup.ref = True
        self._parked += 1
        try:
            return self._hub.switch()
        finally:
            self._parked -= 1
            if not self._parked and self._loop.ptr and not self._closed:
                self._wakeup.ref = False

    def _run(self, callback: Callable[..., object], args: tuple[Any, ...], context: object) -> None:
        """Run a callback for the loop. An exception is reported in gevent's way.

        That is: it is printed, or thrown into the main greenlet if it is a system error.
        """
        try:
            callback(*args)
        except BaseException:
            self._report(context)

    def _report(self, context: object) -> None:
        self._hub.handle_error(context, *sys.exc_info())

    def _schedule_from_threads(self) -> None:
        waiting = self._from_threads
        try:
            for _ in range(len(waiting)):
                callback, args = waiting.popleft()
                self._loop.run_callback(callback, *args)
        finally:
            if waiting:
                self._wakeup.send()

    def _close(self) -> None:
        self._closed = True
        self._from_threads.clear()
        if self._loop.ptr:
            self._wakeup.close()

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: have the loop make a new epoll.

        Without this, libuv would stop the parent's watchers, since the epoll is shared, even in a child that does
        nothing but end. gevent's own `os.fork` does the same a second time, which does no harm.
        """
        if self._loop.ptr:
            self._loop.reinit()


_adapters = PerThread(GeventHub._close)


def _take_from_threads(adapter: weakref.ref[GeventHub]) -> None:
    hub = adapter()
    if hub is not None:
        hub._schedule_from_threads()


class _GeventWatch(Watch):
    """See `Watch`. The loop's watcher is made at the first start and kept."""

    __slots__ = ("_io",)

    hub: GeventHub

    def __init__(self, hub: GeventHub, fd: int, callback: Callable[[], object], write: bool) -> None:
        super().__init__(hub, fd, callback, write)
        self._io: Any = None

    def _arm(self) -> None:
        io = self._io
        if io is None:
            if sys.platform != "win32":
                os.fstat(self.fd)  # raises for a bad descriptor; some releases of gevent do not, and loop for ever
            io = self._io = self._new_io()
        try:
            io.start(self)
        except (AttributeError, TypeError):  # raised by cffi if a signal handler has closed it
            if self._io is io:
                raise
        finally:
            if self._io is not io:  # a signal handler has closed this watch, but `io` may have been started after that
                io.close()

    def _new_io(self) -> Any:
        return self.hub._loop.io(self.fd, _WRITE if self.write else _READ)

    def _disarm(self) -> None:
        io = self._io
        if io is not None and self.hub._loop.ptr:
            io.stop()
        if self.closed:
            self._close_io()

    def _close_io(self) -> None:
        io, self._io = self._io, None
        if io is not None and self.hub._loop.ptr:
            io.close()

    def _fire(self, *_: object) -> None:
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            if not self.can_stop_lazily and self.hub.supports_lazy_stop:
                self.can_stop_lazily = BY_CALL
            callback = self.callback
            try:
                callback()
            except BaseException:
                self.hub._report(self)

    __call__ = _fire  # so that the loop keeps the watch itself: a bound method would take 64 bytes more

    def stop_lazily(self) -> None:
        """See `Watch.stop_lazily`.

        Besides, the watcher no longer keeps the loop running (`ref`), from the first time on. While a greenlet is
        parked, the wake-up does that (`GeventHub.switch`).
        """
        if self.can_stop_lazily:
            self.lazily_stopped = True
            try:
                self._io.ref = False
                self.can_stop_lazily = BY_FLAG
            except (AttributeError, TypeError):  # a signal handler has closed it
                if not self.closed:
                    raise
        else:
            self.stop()

    def close(self) -> None:
        super().close()
        self._close_io()

    def detach_after_fork(self, keep: object = None) -> None:
        # Later, in the loop: libuv stops a watcher in its epoll at once, and that is shared with the parent until
        # gevent.reinit(). `keep` keeps the file open until then, since libuv would abort if it were closed before.
        self.hub._loop.run_callback(_close_disowned, self, keep)

    def __del__(self) -> None:
        # A watcher that is not closed stays with libuv, which would return it to the next watch on this number. The
        # garbage collector may call this in any thread, but a loop may be touched in its own thread only.
        io = self._io
        if io is None or not self.hub._loop.ptr:
            return
        if self.hub.thread_id == unpatched.get_ident():
            io.close()
        else:
            self.hub.call_soon_threadsafe(io.close)


class _LibuvWatch(_GeventWatch):
    """See `Watch`. The watcher of a descriptor that libuv does not take is one for a `StandIn`, made at each start."""

    __slots__ = ("_stand_in",)

    def __init__(self, hub: GeventHub, fd: int, callback: Callable[[], object], write: bool) -> None:
        super().__init__(hub, fd, callback, write)
        self._stand_in: StandIn | None = None

    def _new_io(self) -> Any:
        stand_in = self._stand_in = StandIn.if_needed(self.fd, self.write)
        return super()._new_io() if stand_in is None else self.hub._loop.io(stand_in.fd, _READ)

    def _disarm(self) -> None:
        super()._disarm()
        if self._stand_in is not None:  # it is for one file, and `fd` may be another one next time
            self._close_io()

    def _close_io(self) -> None:
        stand_in, self._stand_in = self._stand_in, None
        super()._close_io()
        if stand_in is not None:
            stand_in.close()


def _close_disowned(watch: Watch, _: object) -> None:
    watch.close()


class _GeventTimer(Timer):
    __slots__ = ("_args", "_callback", "_hub", "_watcher")

    def __init__(self, hub: GeventHub, seconds: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._hub = hub
        self._callback: Callable[..., object] | None = callback
        self._args = args
        if seconds <= 0:
            self._watcher = hub._loop.run_callback(self._fire)
            return
        if hub._coarse:
            # libuv rounds both its clock and the delay down to milliseconds. So compute the delay in whole milliseconds
            # here, rounded up: no timer is early then, and timers stay in order. The half prevents a loss by rounding.
            now = monotonic()
            seconds = (math.ceil((now + min(seconds, _NEVER)) * 1000) - math.floor(now * 1000) + 0.5) / 1000
        self._watcher = hub._loop.timer(seconds)
        self._watcher.start(self._fire, update=True)

    def _fire(self) -> None:
        callback, args = self._callback, self._args
        self.cancel()
        if callback is not None:
            self._hub._run(callback, args, self)

    def cancel(self) -> None:
        watcher, self._watcher = self._watcher, None
        self._callback, self._args = None, ()
        if watcher is not None and self._hub._loop.ptr:
            watcher.close()
