"""The hub of gevent, on each of its loops: libev-cext, libev-cffi, libuv-cffi.

All of them stop a watcher whose callback raised, and the two cffi loops throw the exception into the main greenlet
besides. So what the loop calls here reports by itself (`GeventHub._run`), and the loop never sees an exception.
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
from .base import Hub, Timer, Watch

__all__ = ["GeventHub"]

_READ, _WRITE = 1, 2  # gevent.core.READ, gevent.core.WRITE: of the default loop, but all have these
#: Seconds, 30 years: libuv's numbers do not go on for ever.
_NEVER = 1e9


class GeventHub(Hub):
    """See `Hub`. Once the gevent hub is destroyed, `call_soon` and `call_later` raise; the rest does nothing."""

    name = "gevent"
    greenlet: Any = None  # no property: each wait reads it

    def __init__(self, hub: Any) -> None:
        super().__init__()
        self._hub = self.greenlet = hub
        self._loop = hub.loop
        kind = type(self._loop).__module__
        self._coarse = "libuv" in kind
        # gevent's own destroy() of a libuv loop hangs over what is still watched, and such a loop goes on for it.
        self.supports_lazy_stop = not self._coarse
        runtime = "libuv-cffi" if self._coarse else "libev-cext" if kind.endswith("corecext") else "libev-cffi"
        self._variant = f"{runtime}, {self._loop.backend}"
        self._parked = 0
        self._closed = False
        self._from_threads: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        # loop.run_callback_threadsafe changes a list of libuv's without a lock; an async watcher does not. libev-cext
        # never lets go of a watcher that was started when its loop is destroyed, hence the weak reference.
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
        return _GeventWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._loop.run_callback(callback, *args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self._from_threads.append((callback, args))
        try:
            self._wakeup.send()
        except Exception:  # each loop raises another one when it has been destroyed
            if self._loop.ptr and not self._closed:
                raise
            self._from_threads.clear()

    def call_next_round(self, callback: Callable[..., object], *args: Any) -> None:
        # gevent's loops run up to 1,000 callbacks, those that come meanwhile too, before they look at anything else.
        self.call_soon_threadsafe(callback, *args)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return _GeventTimer(self, seconds, callback, args)

    def switch(self) -> object:
        # A loop without anything to wait for ends with LoopExit, and calls from threads are nothing that it knows of.
        # So it waits for the wake-up while somebody is parked here, and only then: gevent.wait() and hub.join() return
        # when the loop ends.
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
        """Call for the loop. What is raised goes gevent's way: printed, system errors into the main greenlet."""
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
        if self._loop.ptr:
            self._wakeup.close()

    def _greenzmq_after_fork(self) -> None:
        """Have the loop take a new epoll. Else libuv, even in a child that only ends, stops its watchers in the epoll
        that it shares with the parent. gevent's own `os.fork` does this once more, which does no harm.
        """
        if self._loop.ptr:
            self._loop.reinit()


_adapters = PerThread(GeventHub._close)


def _take_from_threads(adapter: weakref.ref[GeventHub]) -> None:
    hub = adapter()
    if hub is not None:
        hub._schedule_from_threads()


class _GeventWatch(Watch):
    """See `Watch`. The watcher of libev or libuv is made at the first start and kept, but for that of a `StandIn`."""

    __slots__ = ("_io", "_stand_in")

    hub: GeventHub

    def __init__(self, hub: GeventHub, fd: int, callback: Callable[[], object], write: bool) -> None:
        super().__init__(hub, fd, callback, write)
        self._io: Any = None
        self._stand_in: StandIn | None = None

    def _arm(self) -> None:
        io = self._io
        if io is None:
            fd, events = self.fd, _WRITE if self.write else _READ
            if sys.platform != "win32":
                os.fstat(fd)  # not every release of gevent raises for a bad descriptor, and some loop over it
            stand_in = self._stand_in = StandIn.if_needed(fd, self.write) if self.hub._coarse else None
            if stand_in is not None:
                fd, events = stand_in.fd, _READ
            io = self._io = self.hub._loop.io(fd, events)
        try:
            io.start(self._fire)
        except (AttributeError, TypeError):  # of cffi: a signal handler has closed it
            if self._io is io:
                raise
        finally:
            if self._io is not io:  # closed by a signal handler, and it may have been started after that
                io.close()

    def _disarm(self) -> None:
        io = self._io
        if io is not None and self.hub._loop.ptr:
            io.stop()
        if self.closed or self._stand_in is not None:  # the next start may find another file under this number
            self._close_io()

    def _close_io(self) -> None:
        io, self._io = self._io, None
        stand_in, self._stand_in = self._stand_in, None
        if io is not None and self.hub._loop.ptr:
            io.close()
        if stand_in is not None:
            stand_in.close()

    def _fire(self, *_: object) -> None:
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            self.can_stop_lazily = self.hub.supports_lazy_stop
            try:
                self.callback()
            except BaseException:
                self.hub._report(self)

    def stop_lazily(self) -> None:
        """See `Watch.stop_lazily`. The watcher no longer keeps the loop going; parked greenlets do
        (`GeventHub.switch`).
        """
        if self.can_stop_lazily:
            self.lazily_stopped = True
            try:
                self._io.ref = False
            except (AttributeError, TypeError):  # a signal handler has closed it
                if not self.closed:
                    raise
        else:
            self.stop()

    def close(self) -> None:
        super().close()
        self._close_io()

    def detach_after_fork(self, keep: object = None) -> None:
        # To stop a watcher libuv goes to its epoll at once, which is the parent's, too, until gevent.reinit(). And of a
        # watcher whose file was closed before it would abort.
        self.hub._loop.run_callback(_close_disowned, self, keep)

    def __del__(self) -> None:
        # libuv holds what is not closed, and the next watch on this number would get it. Any thread's collector may
        # come here, and a loop is touched in its own thread only.
        io = self._io
        if io is None or not self.hub._loop.ptr:
            return
        if self.hub.thread_id == unpatched.get_ident():
            io.close()
        else:
            self.hub.call_soon_threadsafe(io.close)


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
            # libuv cuts both its clock and the delay down to milliseconds: count in these from the start, so that
            # none is early and those that are due in turn stay in turn. The half guards against rounding.
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
