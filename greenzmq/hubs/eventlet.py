"""The hub of eventlet, on each of its loops: epolls, poll, selects, kqueue, asyncio.

An eventlet hub lacks three things. It removes a descriptor when a listener's callback raises; it has no method that
other threads may call; and it goes on sleeping when a signal handler schedules something. The adapter here reports
exceptions itself, and has a `Wakeup` for the other two.

The tests of eventlet, and of its users, fail if a listener is left in the hub. So the adapter has its listeners there
only while they are needed: while a greenlet is parked by `EventletHub.switch`, or a task has not ended (`Hub.hold`).
When the last of these leaves, the listener of the wake-up and all lazily stopped watches are removed. A callback that
another thread schedules after that runs when the next greenlet parks or holds.
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
from .base import BY_CALL, Hub, Timer, Watch, main_greenlet

__all__ = ["EventletHub"]

#: Seconds, a day. A later timer is waited for in steps, since epoll cannot wait for more than 24 days at once.
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
        self._calling = False  # the hub runs a callback of ours, so it will see what is scheduled now
        self._closed = False
        self._hears_threads = False
        self._wakeup = Wakeup(self._take_from_threads)
        self._listener: Any = None
        self._needed = 0  # how many greenlets are parked or hold
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
        """See `Hub.greenlet`. It is replaced by another one if a `KeyboardInterrupt` has ended it."""
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
            if self._closed:  # meanwhile; what is dropped notices it
                self._from_threads.clear()

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
        self._needed += 1
        try:
            if self._listener is None:
                self._listen()
            return self._hub.switch()
        finally:
            self._needed -= 1
            if not self._needed:
                self._let_go()

    def has_ended(self) -> bool:
        return self._closed

    def hear_threads(self) -> None:
        if not self._hears_threads:
            self._hears_threads = True
            self.hold()

    def hold(self) -> None:
        self._needed += 1
        if self._listener is None:
            self._listen()

    def release(self) -> None:
        self._needed -= 1
        if not self._needed:
            self._let_go()

    def _let_go(self) -> None:
        """Leave nothing in eventlet's hub: nobody is parked, and nobody holds."""
        listener, self._listener = self._listener, None
        _remove(self._hub, listener)
        for watch in [watch for watch in (*self.readers.values(), *self.writers.values()) if watch.lazily_stopped]:
            watch.stop()

    def _is_interrupted(self) -> bool:
        """Whether the caller may be a signal handler that has interrupted the hub itself. (Or a callback of others.)

        If the handler has interrupted the hub's sleep, the sleep goes on after it (PEP 475). If it has interrupted the
        hub while that prepared its timers, a timer that it adds may get lost. So what it schedules has to go through
        the wake-up.
        """
        return not self._calling and getcurrent() is self._hub.greenlet

    def _schedule(self) -> None:
        # One eventlet timer runs all calls of a round. hub.abort() discards timers; after it, the hub's greenlet is
        # dead or another one, by which a lost timer is noticed here.
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
        """Run a callback for the loop. An exception is printed, as by eventlet.

        System exceptions are thrown into the main greenlet. Eventlet itself would let them end the hub's greenlet. On
        its asyncio loop, no new greenlet could then run the hub.
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
            stale = hub.listeners[hub.READ].get(self._wakeup.fd)
            if stale is not None:  # an exception of a signal handler came between the next line's `add` and its note
                hub.remove(stale)
            self._listener = hub.add(hub.READ, self._wakeup.fd, self._woken, _ignore, self._listen_again)
            # The listener holds the greenlet that has added it. Let that be the hub's, and not the current one, which
            # would be kept alive.
            self._listener.greenlet = hub.greenlet

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
        self._from_threads.clear()
        _remove(self._hub, self._listener)
        self._wakeup.close()

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: make a new epoll and a new wake-up. Eventlet would go on with those of the parent."""
        _renew_kernel_set(self._hub)
        if self.thread_id != unpatched.get_ident():  # the hub of another thread, which does not exist in the child
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
            listener = hub.add(kind, self.fd, self, _ignore, self._obsolete)
        except RuntimeError as error:  # a signal handler has added a listener since the check above
            raise WatchError(str(error)) from error
        listener.greenlet = hub.greenlet  # as in `_listen`: do not keep the greenlet that has called `start`
        if self.hub._is_interrupted():
            self.hub._wakeup.notify()

    def _check(self) -> None:
        # poll() and select() would find a bad descriptor only in the loop, where the error could not reach the caller.
        if not self._checked and sys.platform != "win32":
            os.fstat(self.fd)
            self._checked = True

    def _disarm(self) -> None:
        _remove(self.hub._hub, self._listener())

    def _listener(self) -> Any:
        """The hub's listener for this watch, also one that `add` left there when it failed. None if there is none."""
        hub = self.hub._hub
        listener = hub.listeners[hub.WRITE if self.write else hub.READ].get(self.fd)
        return listener if listener is not None and listener.cb is self else None

    def stop_lazily(self) -> None:
        """See `Watch.stop_lazily`. While no greenlet is parked or holds, it is `stop`, to leave nothing in the hub."""
        if self.hub._needed and self.can_stop_lazily:
            self.lazily_stopped = True
        else:
            self.stop()

    def _fire(self, *_: object) -> None:
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            self.can_stop_lazily = BY_CALL
            self.hub._run(self.callback)

    __call__ = _fire  # so that the hub keeps the watch itself: a bound method would take 64 bytes more

    def _obsolete(self) -> None:
        """Called by eventlet when a socket was opened with this number: eventlet takes the listener for outdated.

        Usually the descriptor was closed before the watch. But the new socket may be a second object for the same
        descriptor. Starting the watch again shows which it is.
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
    """Remove a listener. The hub may have dropped it already, and its descriptor may be closed."""
    if listener is not None and not listener.spent:
        try:
            hub.remove(listener)
        except (KeyError, OSError, RuntimeError, ValueError):
            pass


def _renew_kernel_set(hub: Any) -> None:
    """Replace the epoll of an eventlet hub, which is shared with the parent process, by one with the same members."""
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
