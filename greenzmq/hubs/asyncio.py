"""The hub of asyncio: greenlets on the running loop, be it the standard library's or uvloop.

The loop runs in an ordinary greenlet, usually the thread's main one. Greenlets spawned here have that greenlet as their
parent: a callback of the loop switches into one of them, and goes on when that one parks. The loop's own greenlet runs
all coroutines and callbacks. It cannot park, since that would stop the loop. A coroutine calls greenlet code by
``await greenzmq.asyncio.run(...)``.

``asyncio.run`` ends by cancelling the tasks, and then closing the asynchronous generators. Greenlets are no tasks, so
``all_tasks()`` does not contain them. The hub therefore has an asynchronous generator of its own. When the loop closes
it, it ends the greenlets that still wait (`LoopEnded`).
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from asyncio import CancelledError, Future, ensure_future, isfuture
from collections.abc import AsyncGenerator, Callable
from time import monotonic
from types import CodeType, FrameType
from typing import Any, cast

from greenlet import GreenletExit, getcurrent, greenlet

from ..errors import BlockingCallError, HubError
from ..process import unpatched
from ..process.fork import register_after_fork
from ._epoll import StandIn, leave_to_parent
from ._timers import TimerHeap
from .base import BY_FLAG, HUB_ATTRIBUTE, Hub, Timer, Watch
from .workers import Worker

__all__ = ["HUB_OF_LOOP", "AsyncioHub", "CancelledError", "Future", "LoopEnded", "current_loop", "current_task"]
__all__ += ["ensure_future", "isfuture", "running_loop", "running_tasks", "swallowing_code"]

_get_running_loop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop
current_task: Callable[[asyncio.AbstractEventLoop], asyncio.Task[Any] | None] = asyncio.current_task
if sys.version_info < (3, 12):  # there asyncio.current_task is written in Python, and slower than this
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]

#: The task that runs on each loop, in whatever thread; empty where it would not make `running_loop` faster.
running_tasks: dict[Any, Any] = {}
if sys.version_info >= (3, 12):
    running_loop = _get_running_loop
else:
    # There asyncio makes a system call (getpid) each time, which takes as long as a recv.
    class _Here(threading.local):
        loop: Callable[[], Any] = staticmethod(lambda: None)

    _here = _Here()
    running_tasks = asyncio.tasks._current_tasks  # type: ignore[attr-defined]

    def running_loop() -> asyncio.AbstractEventLoop | None:
        """The running loop of this thread, or None. Faster where a task runs on the loop of the last call."""
        loop = _here.loop()
        if loop not in running_tasks:
            loop = _get_running_loop()
            if loop is not None:
                _here.loop = weakref.ref(loop)
        return loop  # type: ignore[no-any-return]


#: The code of `asyncio.wait_for`, where that returns a future's result and swallows a cancellation that came with it.
swallowing_code: CodeType | None = asyncio.wait_for.__code__ if sys.version_info < (3, 12) else None


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that was set for this thread, running or not, or None. Makes none, as `asyncio.get_event_loop` may."""
    if sys.version_info >= (3, 14):
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            return None
    place = getattr(asyncio.get_event_loop_policy(), "_local", None)  # uvloop's policy is derived from asyncio's
    loop: asyncio.AbstractEventLoop | None = getattr(place, "_loop", None)
    return loop


#: The loop's attribute for its hub, so that the two are collected together.
HUB_OF_LOOP = "_greenzmq_hub"


class LoopEnded(CancelledError, GreenletExit):  # noqa: N818  # neither is what it is made of
    """Raised in greenlets that still wait when ``asyncio.run`` ends, as `asyncio.CancelledError` is in its tasks.

    It is a `GreenletExit`, too: that ends a greenlet whose code knows nothing of asyncio, without a report.
    """


class AsyncioHub(Hub):
    """See `Hub`. It lives as long as its loop, so each ``asyncio.run`` has a new one.

    Attributes
    ----------
    loop : asyncio.AbstractEventLoop
        The loop.
    call_soon_of_loop : function
        Its `call_soon`: one bound method for all watches.
    stepping : asyncio.Task, optional
        The asyncio task that was running when the current greenlet was switched into, if any: by `begin`, or because
        the greenlet was collected.
    idle : list
        Greenlets for `begin` to use again.
    on_libuv : bool
        Whether this is uvloop; see `StandIn`.
    in_watch_callback : bool
        Whether the loop is in a watch's callback, and so runs. Control comes back to that when the running greenlet
        stops.
    on_return : tuple, optional
        What the callback calls then; see `call_on_return`.
    timers : TimerHeap
        The pending timers. The loop itself has a single handle for all of them.
    deferred_cancellations : dict
        The tasks whose cancellation was put off in favour of a result; written by `greenzmq.waiting.bridge`.
    """

    name = "asyncio"
    cure = "Write: await greenzmq.asyncio.run(function, *args); or await sockets of greenzmq.aio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.call_soon_of_loop = loop.call_soon
        package = type(loop).__module__.partition(".")[0]
        self._variant = type(getattr(loop, "_selector", None)).__name__ if package == "asyncio" else package
        self.on_libuv = package == "uvloop"
        self.stepping: asyncio.Task[Any] | None = None
        self.idle: list[Worker] = []
        self.deferred_cancellations: dict[Any, int] = {}
        self._unfinished: dict[weakref.ref[Any], None] = {}
        self.in_watch_callback = False
        self.on_return: tuple[Any, ...] | None = None
        self.timers = TimerHeap()
        self._timer_handle: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._greenlet = getcurrent()
        self._loop_greenlet: greenlet | None = None  # until a callback has run in it, see _note_greenlet
        self._nowhere = greenlet()
        self._parked: set[weakref.ref[Any]] = set()
        self._left: asyncio.Event | None = None
        self._hears_signals = package == "asyncio" and unpatched.is_main_thread()
        register_after_fork(self, hub=True)
        self._end = self._end_with_loop()
        self._start_end()

    @classmethod
    def current(cls) -> AsyncioHub | None:
        loop = running_loop()
        return getattr(loop, HUB_OF_LOOP, None)

    @staticmethod
    def is_loop_running() -> bool:
        """Whether an asyncio loop runs in this thread, with or without a hub."""
        return running_loop() is not None

    @classmethod
    def get(cls) -> AsyncioHub:
        loop = running_loop()
        if loop is None:
            bridge = "await greenzmq.asyncio.run(function, *args)"
            cure = f"start one: asyncio.run(main()), and in main() write {bridge}"
            if not unpatched.is_main_thread():
                cure = (
                    f"leave the thread out: {bridge}; or make a context for threads: greenzmq.Context(hub='selector')"
                )
            raise HubError(f"no asyncio loop is running in this thread; {cure}")
        hub: AsyncioHub | None = getattr(loop, HUB_OF_LOOP, None)
        if hub is None:
            if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
                raise HubError(
                    f"{type(loop).__name__} cannot watch file descriptors, which greenzmq needs; on Windows run "
                    "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
                )
            hub = cls(loop)
            setattr(loop, HUB_OF_LOOP, hub)
            loop.call_soon(hub._note_greenlet)
        elif hub._greenlet is not (current := getcurrent()) and not hub._is_ours(current):
            loop.call_soon(hub._note_greenlet)
        return hub

    @property
    def greenlet(self) -> greenlet:
        # Loops that run one after another in a thread have the same greenlet. A socket compares this greenlet to see
        # whether it is still on the same hub, so a hub whose loop does not run returns one that never equals it.
        return self._greenlet if self.in_watch_callback or running_loop() is self.loop else self._nowhere

    @property
    def variant(self) -> str:
        return self._variant

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _AsyncioWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        if not self.loop.is_closed():  # a socket may be closed after its loop; then no greenlet is left to resume
            self.loop.call_soon(callback, *args)
            self._wake_from_handler()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def has_ended(self) -> bool:
        return self.loop.is_closed()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        self.check_open()
        when = monotonic() + max(seconds, 0)
        timer = self.timers.add(when, callback, args)
        if self._timer_handle is None or when < self._timer_due:
            self._set_timer_handle(when, max(seconds, 0))
            self._wake_from_handler()
        return timer

    def _wake_from_handler(self) -> None:
        """Wake the loop if it sleeps in select(): then the caller is a signal handler.

        After a signal handler has returned, select() goes on sleeping (PEP 475), and the loop would not see what the
        handler has scheduled.
        """
        if self._hears_signals and getcurrent() is self._loop_greenlet and _is_asleep():
            self.loop.call_soon_threadsafe(int)

    def _set_timer_handle(self, when: float, seconds: float) -> None:
        """Have the loop call `_run_due_timers` at `when`, in `seconds`.

        The handle is kept when its timers are cancelled: the next wait's timer is usually not earlier, and then needs
        no new handle.
        """
        if self._timer_handle is not None:
            self._timer_handle.cancel()
        self._timer_handle, self._timer_due = self.loop.call_later(seconds, self._run_due_timers), when

    def _run_due_timers(self) -> None:
        """Run the timers that are due. There may be none: uvloop rounds to milliseconds, and may call too early."""
        self._timer_handle = None
        try:
            for timer in self.timers.pop_due(monotonic()):
                try:
                    timer.run()
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.loop.call_exception_handler(
                        {"message": f"Exception in a timer of {self!r}", "exception": error}
                    )
        finally:
            when = self.timers.first_due()
            if when is not None and not self.loop.is_closed():
                self._set_timer_handle(when, max(when - monotonic(), 0.001))

    def call_on_return(self, callback: Callable[[Any], object], argument: Any, context: Any) -> None:
        """Call ``callback(argument)`` in the loop once the running greenlet has stopped.

        If a watch's callback has switched into the greenlet, the call is made when control returns to that callback, in
        the same round of the loop. Otherwise it is made in the next round. A round is half of a short wait's cost.
        """
        if self.in_watch_callback and self.on_return is None:
            self.on_return = (context, callback, argument)
        elif not self.loop.is_closed():
            self.loop.call_soon(callback, argument, context=context)

    def check_switch(self) -> None:
        if not (self.in_watch_callback or running_loop() is self.loop):
            self.check_open()
        current, task = getcurrent(), current_task(self.loop)
        ours = getattr(current, HUB_ATTRIBUTE, None) is self or self._is_ours(current)
        if not ours or (task is not None and task is not self.stepping):
            # A library such as SQLAlchemy, which runs code in a greenlet of its own, would take the switch for one of
            # its own: for something to await. And if a task's eager start called this, the loop would go on believing
            # that this task runs.
            raise BlockingCallError(
                f"a call that has to wait was made on {self!r} in a greenlet of another library, or in a coroutine's "
                f"eager start. {self.cure}"
            )

    def switch(self) -> object:
        self.check_switch()
        current = getcurrent()
        reference = None if isinstance(current, Worker) else weakref.ref(current)
        del current  # a parked greenlet to which nothing else refers has to be collected, so this frame must not
        if reference is not None:
            self._parked.add(reference)
        try:
            return self._greenlet.switch()
        finally:
            self.stepping = current_task(self.loop)
            if reference is not None:
                self._parked.discard(reference)
                if self._left is not None:
                    self._left.set()

    def begin(self, job: Callable[[], None]) -> asyncio.Task[Any] | None:
        """Run ``job()`` in a greenlet, for a coroutine whose `contextvars` context it shares. It must not raise.

        Switches: into that greenlet, until it parks or ends. If the coroutine runs in another library's greenlet, the
        job begins in the next round of the loop: a greenlet that parks switches to the loop's greenlet, not to that.

        Returns
        -------
        asyncio.Task or None
            The task whose coroutine this is.
        """
        worker = self.idle.pop() if self.idle else Worker(self.greenlet)
        if worker.dead:  # other code has kept a reference to it, and has thrown an exception into it
            worker = Worker(self.greenlet)
        setattr(worker, HUB_ATTRIBUTE, self)
        worker.job = job
        current, task = getcurrent(), current_task(self.loop)
        worker.gr_context = current.gr_context
        if current is self._loop_greenlet:
            self.stepping = task
            worker.switch()
        else:
            self.call_soon(self._begin_later, worker)
        return task

    def _begin_later(self, worker: Worker) -> None:
        worker.parent = self.greenlet
        worker.switch()

    def check_open(self) -> None:
        """Raise `HubError` if the loop is closed, or another process's."""
        if self.loop.is_closed():
            raise HubError(
                f"the loop of {self!r} is closed, so no greenlet can wait on it; start another: asyncio.run(main())"
            )
        if self.inherited:
            raise HubError(f"{self!r} belongs to the parent process; start a loop in this one: asyncio.run(main())")

    def _is_ours(self, current: Any) -> bool:
        while current is not None and getattr(current, HUB_ATTRIBUTE, None) is not self:
            current = current.parent
        return current is not None

    def _note_greenlet(self) -> None:
        """Remember the loop's greenlet. Called by the loop: a coroutine may run in another library's greenlet."""
        current = getcurrent()
        if current is not self._loop_greenlet:
            self.idle.clear()
            self._greenlet = self._loop_greenlet = current

    def _greenzmq_after_fork(self) -> None:
        """In a forked child, where the loop only ends, by `asyncio.run`: protect the parent's loop from that.

        The epoll, and the sockets by which threads wake the loop, are shared with the parent. So their numbers get new
        files here.
        """
        self.inherited, self.in_watch_callback = True, False
        if unpatched.epoll is None or self.loop.is_closed():
            return
        loop: Any = self.loop
        selector: Any = getattr(loop, "_selector", None)
        if hasattr(loop, "_get_backend_id"):
            leave_to_parent(loop._get_backend_id())
        elif hasattr(selector, "fileno"):
            for inherited, new in zip((loop._ssock, loop._csock), unpatched.wakeup_pair(), strict=True):
                os.dup2(new.fileno(), inherited.fileno(), inheritable=False)
                new.close()
            leave_to_parent(selector.fileno(), (loop._ssock.fileno(),))

    # -- the end of the loop ------------------------------------------------------------------------------------------

    def _start_end(self) -> None:
        """Register `_end` with the loop, which closes it at its end.

        Without the loop's finalizer for generators: that would only print an error if the loop is never closed.
        """
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=None)
        try:
            self._end.__anext__().send(None)
        except StopIteration:
            pass
        finally:
            sys.set_asyncgen_hooks(*hooks)

    async def _end_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self.loop.is_running():  # else the generator is being collected together with the loop
                await self._end_greenlets()

    async def _end_greenlets(self) -> None:
        """Raise `LoopEnded` once in each greenlet that waits, and wait until they have cleaned up."""
        self._left = asyncio.Event()
        ended: set[object] = set()
        await asyncio.sleep(0)  # let greenlets begin that are scheduled
        while self._parked:
            for reference in self._parked - ended:
                self.loop.call_soon(self._throw_loop_ended, reference)
            ended |= self._parked
            self._left.clear()
            await self._left.wait()
        self._left = None
        self.idle.clear()
        for reference in [*self._unfinished]:
            if (unfinished := reference()) is not None:
                unfinished.end_with_loop()
        self._unfinished.clear()

    def note_unfinished(self, unfinished: Any) -> None:
        """Have ``unfinished.end_with_loop()`` called when the loop ends, if it still exists then."""
        self._unfinished[weakref.ref(unfinished, self._unfinished.__delitem__)] = None

    def _throw_loop_ended(self, reference: weakref.ref[Any]) -> None:
        target = reference()
        if target is not None and reference in self._parked:
            target.throw(
                LoopEnded("the asyncio loop ends, so this greenlet, which no coroutine awaits, has to end, too")
            )


def _is_asleep() -> bool:
    """Whether the loop's greenlet was interrupted where asyncio waits for descriptors, and not in a callback."""
    name, frame = "", cast("FrameType | None", sys._getframe(1))
    while frame is not None and frame.f_code.co_name != "_run_once":
        name, frame = frame.f_code.co_name, frame.f_back
    return frame is not None and name == "select"


class _AsyncioWatch(Watch):
    """See `Watch`. In its callback `AsyncioHub.call_on_return` works."""

    __slots__ = ("_stand_in",)
    hub: AsyncioHub

    def __init__(self, hub: AsyncioHub, fd: int, callback: Callable[[], object], write: bool) -> None:
        super().__init__(hub, fd, callback, write)
        self._stand_in: StandIn | None = None

    def _arm(self) -> None:
        hub = self.hub
        hub.check_open()
        stand_in = self._stand_in = StandIn.if_needed(self.fd, self.write) if hub.on_libuv else None
        # Fact: while libuv's uv__io_poll calls back, its loop points to a list on the C stack, which it searches
        # whenever a descriptor is closed or watched no more (linux.c, uv__platform_invalidate_fd). Consequence: a
        # greenlet that is switched to from there, and whose stack lies where the loop's was, sends libuv into its own
        # frames, and the process crashes. Choice: there libuv's callback is `call_soon`, so that `_fire` is called
        # outside of the poll, but still in this round.
        fire: tuple[Any, ...] = (hub.call_soon_of_loop, self) if hub.on_libuv else (self,)
        if stand_in is None:
            (hub.loop.add_writer if self.write else hub.loop.add_reader)(self.fd, *fire)
            return
        try:
            hub.loop.add_reader(stand_in.fd, *fire)
        finally:
            if self._stand_in is not stand_in:  # a signal handler has closed this watch, before `add_reader` worked
                hub.loop.remove_reader(stand_in.fd)

    def _disarm(self) -> None:
        loop, stand_in = self.hub.loop, self._stand_in
        self._stand_in = None
        if not (loop.is_closed() or self.hub.inherited):
            try:
                if stand_in is not None:
                    loop.remove_reader(stand_in.fd)
                else:
                    (loop.remove_writer if self.write else loop.remove_reader)(self.fd)
                    other = (self.hub.writers if self.write else self.hub.readers).get(self.fd)
                    # A signal handler has closed this watch and started another one. The loop has one place for each
                    # descriptor, so the line above has removed the other one: register that again.
                    if other is not None:
                        other._arm()
            except (KeyError, OSError, RuntimeError, ValueError):  # closed, or a transport's by now
                pass
        if stand_in is not None:
            stand_in.close()

    def _fire(self, *_: object) -> None:
        if self.lazily_stopped:
            self.stop()
        if not self.started:
            return
        hub, callback = self.hub, self.callback
        self.can_stop_lazily = BY_FLAG
        hub.in_watch_callback = True
        try:
            callback()
        finally:
            hub.in_watch_callback = False
            if hub.on_return is not None:
                (context, callback, argument), hub.on_return = hub.on_return, None
                context.run(callback, argument)

    __call__ = _fire  # so that the loop keeps the watch itself: a bound method would take 64 bytes more
