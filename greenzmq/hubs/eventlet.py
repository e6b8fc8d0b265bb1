"""The hub of eventlet, on each of its loops: epolls, poll, selects, kqueue, asyncio.

An eventlet hub removes a descriptor when a listener's callback raises, has no call that other threads may make, and
sleeps on when a signal handler schedules something. The adapter adds what is missing: it reports exceptions by itself,
and it has a `Wakeup`.

eventlet's own tests, and those of its users, fail if a listener is left in the hub. So there is one of ours only while
somebody needs it: a greenlet that is parked by `EventletHub.switch`, or a task of ours that has not ended (`Hub.hold`).
When the last of them leaves, the wake-up and every lazily stopped watch are taken out. What other threads schedule
after that runs when the next greenlet comes; until then there is none that could notice.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import eventlet.hubs
from greenlet import getcurrent, greenlet

from ..errors import WatchError
from ..process import unpatched
from ..process.fork import register_after_fork
from ._per_thread import PerThread
from ._wakeup import Wakeup
from .base import Hub, Timer, Watch, main_greenlet

__all__ = ["EventletHub"]

#: Seconds, a day: a later timer is waited for in steps, since epoll takes no more than 24 days at once.
_LONGEST = 86400


class EventletHub(Hub):
    """See `Hub`. After ``eventlet.hubs.use_hub()`` the thread has a new hub, and a new object here."""

    name = "eventlet"

    def __init__(self, hub: Any) -> None:
        super().__init__()
        self._hub = hub
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._from_threads: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._scheduled_in: greenlet | None = None  # the hub greenlet that has a timer for _run_soon
        self._calling = False  # the hub runs a callback of ours, and goes round after it
        self._closed = False
        self._wakeup = Wakeup(self._take_from_threads)
        self._listener: Any = None
        self._needed = 0  # by how many greenlets
        register_after_fork(self, hub=True)

    @classmethod
    def current(cls) -> EventletHub | None:
        hub = getattr(eventlet.hubs._threadlocal, "hub", None)
        return None if hub is None else cls._of(hub)

    @classmethod
    def get(cls) -> EventletHub:
        return cls._of(eventlet.hubs.get_hub())

    @classmethod
    def _of(cls, hub: Any) -> EventletHub:
        adapter = _adapters.get()
        return adapter if adapter is not None and adapter._hub is hub else _adapters.set(cls(hub))

    @property
    def greenlet(self) -> greenlet:
        """See `Hub.greenlet`. Another one after the hub died of a `KeyboardInterrupt`."""
        return self._hub.greenlet  # type: ignore[no-any-return]

    @property
    def variant(self) -> str:
        return type(self._hub).__module__.rpartition(".")[2]

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _EventletWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._soon.append((callback, args))
        self._schedule()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        if not self._closed:
            self._from_threads.append((callback, args))
            self._wakeup.notify()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        handle = _EventletTimer()
        self._call_later(handle, seconds, callback, args)
        return handle

    def _call_later(
        self, handle: _EventletTimer, seconds: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        if seconds > _LONGEST:
            args = (handle, seconds - _LONGEST, callback, args)
            seconds, callback = _LONGEST, self._call_later
        timer = handle.timer = eventlet.hubs.timer.Timer(max(seconds, 0), self._run, callback, args)
        if self._is_interrupted():
            self.call_soon(self._hub.add_timer, timer)
        else:
            self._hub.add_timer(timer)

    def switch(self) -> object:
        self.hold()
        try:
            return self._hub.switch()
        finally:
            self.release()

    def hold(self) -> None:
        self._needed += 1
        if self._listener is None:
            self._listen()

    def release(self) -> None:
        self._needed -= 1
        if not self._needed:
            listener, self._listener = self._listener, None
            _remove(self._hub, listener)
            for watch in [watch for watch in self.watching.values() if watch.lazily_stopped]:
                watch.stop()

    def _is_interrupted(self) -> bool:
        """Whether this is a signal handler that interrupted the hub itself, asleep or not (or a foreign callback).

        A handler that ran in the hub's sleep is followed by more sleep (PEP 475), and one that ran while the hub
        prepared its timers has its own timer thrown away. What it schedules goes by way of the wake-up instead.
        """
        return not self._calling and getcurrent() is self._hub.greenlet

    def _schedule(self) -> None:
        # One eventlet timer runs all calls of a round. hub.abort() throws timers away, and then the hub's greenlet is
        # dead or another one.
        loop = self._hub.greenlet
        if not loop.dead and self._scheduled_in is loop:
            return
        if self._is_interrupted():
            self._wakeup.notify()
        else:
            self._scheduled_in = loop
            self._hub.schedule_call_global(0, self._run_soon)

    def _run_soon(self) -> None:
        soon = self._soon
        self._scheduled_in = None
        try:
            for _ in range(len(soon)):
                callback, args = soon.popleft()
                self._run(callback, args)
        finally:
            if soon:
                self._calling = True
                self._schedule()
                self._calling = False

    def _run(self, callback: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        """Run a callback for the loop. What is raised is printed, as eventlet does; system exceptions go to the main
        greenlet.

        Eventlet lets the latter through, which ends the hub's greenlet, and on its asyncio loop leaves it in a state in
        which no new one can run.
        """
        self._calling = True
        try:
            callback(*args)
        except self._hub.SYSTEM_EXCEPTIONS as error:
            main_greenlet().throw(error)
        except BaseException:
            self._hub.squelch_generic_exception(sys.exc_info())
        finally:
            self._calling = False

    def _listen(self) -> None:
        if self._needed and not self._closed:
            hub = self._hub
            self._listener = hub.add(hub.READ, self._wakeup.fd, self._woken, _ignore, self._listen_again)
            self._listener.greenlet = hub.greenlet  # the one that comes by here shall not live as long as the hub

    def _listen_again(self) -> None:
        self._listener = None
        self._hub.schedule_call_global(0, self._listen)

    def _woken(self, fd: int) -> None:
        self._run(self._wakeup.drain)

    def _take_from_threads(self) -> None:
        waiting = self._from_threads
        for _ in range(len(waiting)):
            self._soon.append(waiting.popleft())
        if self._soon:
            self._schedule()

    def _close(self) -> None:
        self._closed = True
        _remove(self._hub, self._listener)
        self._wakeup.close()

    def _greenzmq_after_fork(self) -> None:
        """Eventlet goes on with what it shares with the parent. Take new ones, leave the old as they are."""
        _renew_kernel_set(self._hub)
        if self.thread_id != unpatched.get_ident():  # another thread's, which is gone
            self._closed = True
            return
        _remove(self._hub, self._listener)
        self._wakeup.close()
        self._wakeup = Wakeup(self._take_from_threads)
        self._listen()


_adapters = PerThread(EventletHub._close)


class _EventletWatch(Watch):
    """See `Watch`."""

    __slots__ = ("_checked",)

    hub: EventletHub

    def __init__(self, hub: EventletHub, fd: int, callback: Callable[[], object], write: bool) -> None:
        super().__init__(hub, fd, callback, write)
        self._checked = False

    def _arm(self) -> None:
        hub = self.hub._hub
        kind = hub.WRITE if self.write else hub.READ
        if self.fd in hub.listeners[kind]:
            raise WatchError(
                f"file descriptor {self.fd} is already waited for in this eventlet hub, to {kind}, by "
                f"{hub.listeners[kind][self.fd]!r}; let one greenlet wait for it"
            )
        self._check()
        try:
            listener = hub.add(kind, self.fd, self._fire, _ignore, self._obsolete)
        except RuntimeError as error:  # a signal handler has added one since the question above
            raise WatchError(str(error)) from error
        listener.greenlet = hub.greenlet  # the one that called start() shall not live as long as the watch
        if self.hub._is_interrupted():
            self.hub._wakeup.notify()

    def _check(self) -> None:
        # poll() and select() find a bad descriptor only in the loop, where there is no caller to raise it to.
        if not self._checked and sys.platform != "win32":
            os.fstat(self.fd)
            self._checked = True

    def _disarm(self) -> None:
        _remove(self.hub._hub, self._listener())

    def _listener(self) -> Any:
        """What the hub has for this watch, be it that `add` has failed after it was noted; None if it has nothing."""
        hub = self.hub._hub
        listener = hub.listeners[hub.WRITE if self.write else hub.READ].get(self.fd)
        return listener if listener is not None and listener.cb == self._fire else None

    def stop_lazily(self) -> None:
        """See `Watch.stop_lazily`. While nobody is parked it is `stop`, to leave nothing in the hub."""
        if self.hub._needed:
            super().stop_lazily()
        else:
            self.stop()

    def _fire(self, *_: object) -> None:
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            self.can_stop_lazily = self.hub.supports_lazy_stop
            self.hub._run(self.callback)

    def _obsolete(self) -> None:
        """A socket of eventlet's was opened on this number. Mostly the watch outlived its descriptor; but it may be a
        second object for the same one. Starting the watch again shows which.
        """
        self.hub.call_soon(self._arm_again)

    def _arm_again(self) -> None:
        if self.started and self._listener() is None:
            wanted = not self.lazily_stopped
            self.stop()
            if wanted:
                self.start()


class _EventletTimer(Timer):
    __slots__ = ("timer",)

    def __init__(self) -> None:
        self.timer: Any = None

    def cancel(self) -> None:
        self.timer.cancel()


def _remove(hub: Any, listener: Any) -> None:
    """Remove a listener that the hub may have dropped by itself, of a descriptor that may be gone."""
    if listener is not None and not listener.spent:
        try:
            hub.remove(listener)
        except (KeyError, OSError, RuntimeError, ValueError):
            pass


def _renew_kernel_set(hub: Any) -> None:
    """Give an eventlet hub an epoll of its own, with all that is in the one it has."""
    loop: Any = getattr(hub, "loop", None)
    if hasattr(getattr(loop, "_selector", None), "get_map"):  # not uvloop's
        inherited, loop._selector = loop._selector, type(loop._selector)()
        for key in inherited.get_map().values():
            loop._selector.register(key.fd, key.events, key.data)
        inherited.close()
        loop._close_self_pipe()
        loop._make_self_pipe()
    elif hasattr(getattr(hub, "poll", None), "fileno"):
        hub.poll.close()
        hub.poll = type(hub.poll)()
        for fd in {*hub.listeners[hub.READ], *hub.listeners[hub.WRITE]}:
            hub.register(fd, new=True)


def _ignore(*_: object) -> None:
    pass
