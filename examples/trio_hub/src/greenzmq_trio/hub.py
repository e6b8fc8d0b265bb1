"""The hub: greenlets on a trio loop.

One trio task, `TrioHub._serve`, runs all callbacks. In each round it runs what was scheduled, the timers that are due
and the watches whose descriptor is ready; then it lets trio run its other tasks, or sleep. A callback switches into a
greenlet, and goes on when the greenlet parks. Trio sees none of that: for trio the task is in a long step.

The loop runs in one of two places:

- in a trio program: `open_hub` starts the task on the loop that runs. The hub's greenlet is the one in which `trio.run`
  was called, and coroutines hand work to greenlets with `greenzmq_trio.run`.
- elsewhere: `TrioHub.get` makes a greenlet in which `trio.run` runs the task. The main greenlet can park as any other.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import trio
from greenlet import GreenletExit, getcurrent, greenlet

from greenzmq.errors import BlockingCallError, HubError
from greenzmq.hubs.base import Hub, Timer, Watch, main_greenlet

from .poll import IN, OUT, Descriptors
from .timers import TrioTimers

__all__ = ["TrioHub", "open_hub"]

_ALREADY = "this thread has {hub!r} already; one loop has one hub"


class _Clock(trio.abc.Clock):
    """Trio's clock on a loop of the hub's own: `time.monotonic`, which can be read before the loop runs, too."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.monotonic()


class _Place:
    """The value of the thread local. Python drops it when the thread ends."""

    def __init__(self, hub: TrioHub) -> None:
        self.hub = hub

    def __del__(self) -> None:
        if not sys.is_finalizing() and self.hub.thread_id == threading.get_ident():
            self.hub.abandon()


_here = threading.local()
#: The greenlets of loops that were left to the end of their thread. Trio has lost its thread locals by then, and cannot
#: end the loop any more. Nor can the greenlet be freed, since that would end it.
_abandoned: list[Any] = []


class TrioHub(Hub):
    """See `Hub`.

    Attributes
    ----------
    nursery : trio.Nursery or None
        Where `greenzmq_trio.await_` starts its tasks. None before the loop runs.
    """

    name = "trio"
    cure = "Do it in a greenlet: await greenzmq_trio.run(function, *args), or greenzmq.hub().spawn(function, *args)"
    greenlet: Any = None

    def __init__(self, clock: trio.abc.Clock | None = None) -> None:
        """Not for programs, which call `get` or `open_hub`. `clock` is that of a loop that runs already."""
        super().__init__()
        self._own_loop = clock is None
        self._clock = clock or _Clock()
        self._descriptors = Descriptors(self._wanted)
        self._timers = TrioTimers()
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._from_threads: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._parked: set[weakref.ref[greenlet]] = set()
        self._left: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()  # of the current sleep
        self._asleep = False  # about to sleep, or asleep: what is scheduled has to wake the loop
        self._woken = False
        self._in_round = False  # greenlets run only then: a callback has switched into them
        self._ends = False
        self._closed = False
        self._error: BaseException | None = None
        self.nursery: trio.Nursery | None = None
        if self._own_loop:
            self.greenlet = greenlet(self._run_loop, main_greenlet())
        _hubs.add(self)

    @classmethod
    def current(cls) -> TrioHub | None:
        place: _Place | None = getattr(_here, "place", None)
        return None if place is None or place.hub._closed else place.hub

    @classmethod
    def get(cls) -> TrioHub:
        hub = cls.current()
        if hub is None:
            if trio.lowlevel.in_trio_run():
                raise HubError("trio runs in this thread without a hub; write: async with greenzmq_trio.open_hub():")
            hub = cls._place(cls())
        if hub.inherited:
            raise HubError(
                f"{hub!r} belongs to the parent process, and trio cannot start a second loop in this one; "
                "start the child by another method than fork, or fork before the first wait"
            )
        return hub

    @staticmethod
    def _place(hub: TrioHub) -> TrioHub:
        _here.place = _Place(hub)
        return hub

    @property
    def variant(self) -> str:
        return f"{'a loop of its own' if self._own_loop else 'trio.run'}, {self._descriptors.name}"

    def has_ended(self) -> bool:
        return self._closed

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _TrioWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._ready.append((callback, args))
        if self._asleep:  # the caller is a trio task or a signal handler
            self._wake()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        if not self._closed:
            self._from_threads.append((callback, args))
            if self._asleep:
                self._wake()
            if self._closed:  # meanwhile
                self._from_threads.clear()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = self._timers.add(self._clock.current_time() + max(seconds, 0), callback, args)
        if self._asleep:
            self._wake()
        return timer

    def check_switch(self) -> None:
        if self._closed:
            raise HubError(f"the loop of {self!r} has ended, so no greenlet can wait on it")
        if self.inherited:
            raise HubError(f"{self!r} belongs to the parent process, so nothing can wait on it in this one")
        if self._token is not None and not self._in_round:
            # To switch to the hub's greenlet from here would leave a trio task in the middle of a step.
            raise BlockingCallError(
                f"a call that has to wait was made on {self!r} in a greenlet of another library. {self.cure}"
            )

    def switch(self) -> object:
        self.check_switch()
        reference = weakref.ref(getcurrent())
        self._parked.add(reference)
        try:
            return self.greenlet.switch()
        finally:
            self._parked.discard(reference)
            if self._left is not None:
                self._left.set()

    def close(self) -> None:
        """End a loop of the hub's own, and free its descriptors. To be called before the thread ends."""
        if self._closed or self.inherited or not self._own_loop:
            return
        self._ends = True
        if self.greenlet:
            here = getcurrent()
            if here is not self.greenlet.parent and self.greenlet is not here.parent:
                self.greenlet.parent = here
            self.greenlet.throw(GreenletExit)
        self._free()
        for reference in list(self._parked):
            self._end_parked(reference, parent=getcurrent())

    def abandon(self) -> None:
        """The thread has ended without `close`. Frees what it can, and warns."""
        if self._closed or self.inherited:
            return
        if not self.greenlet:  # the loop was never started, and so trio has nothing to end
            self.close()
            return
        _abandoned.append(self.greenlet)
        self._free()
        warnings.warn(
            f"{self!r} was not ended in its thread, and so trio's descriptors stay open; "
            "call greenzmq_trio.TrioHub.get().close() there",
            ResourceWarning,
            stacklevel=2,
        )

    # -- the loop ------------------------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        """The function of the hub's greenlet, if the loop is the hub's own."""
        replaced = self._take_interrupts()
        try:
            trio.run(self._own_main, clock=self._clock)
        finally:
            if replaced and signal.getsignal(signal.SIGINT) == self._on_interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            self._free()
        if self._error is not None:
            raise self._error

    async def _own_main(self) -> None:
        try:
            async with trio.open_nursery() as self.nursery:
                try:
                    await self._serve()
                except GreenletExit:  # by `close`, or because nothing refers to the greenlet any more
                    pass
                except BaseException as error:
                    self._error = error
                self.nursery.cancel_scope.cancel()
        finally:
            self.nursery = None

    @trio.lowlevel.enable_ki_protection  # type: ignore[untyped-decorator]
    async def _serve(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """The task that runs all callbacks."""
        self.greenlet = getcurrent()
        self._token = trio.lowlevel.current_trio_token()
        task_status.started()
        while not self._ends:
            self._in_round = True
            try:
                self._round()
            finally:
                self._in_round = False
            await self._sleep()

    def _round(self) -> None:
        self._asleep = self._woken = False
        # First, right after trio's own look at its descriptors. If it came after the callbacks below, other trio tasks
        # that wait for a descriptor would miss what a callback has written and a watch's callback has read.
        for fd, mask in self._descriptors.ready():
            for bit, watches in ((IN, self.readers), (OUT, self.writers)):
                watch = watches.get(fd) if mask & bit else None
                if watch is not None:  # else a callback of this round has stopped it
                    self._call(watch._fire)
        ready, others = self._ready, self._from_threads
        while others:
            ready.append(others.popleft())
        for _ in range(len(ready)):  # not those that are scheduled meanwhile, or watches would never be served
            callback, args = ready.popleft()
            self._call(callback, *args)
        for timer in self._timers.pop_due(self._clock.current_time()):
            self._call(timer.run)

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            sys.excepthook(*sys.exc_info())
        except GreenletExit:
            raise
        except BaseException as error:
            self._raise_in_main(error)

    def _raise_in_main(self, error: BaseException) -> None:
        """Raise `KeyboardInterrupt` or `SystemExit` where it belongs, by rule 4 of the contract.

        In a trio program the main greenlet runs the loop itself, so there it ends the block of `open_hub`.
        """
        if self._own_loop:
            main_greenlet().throw(error)
        elif self._error is None and self.nursery is not None:
            self._error = error
            self.nursery.cancel_scope.cancel()

    async def _sleep(self) -> None:
        """Let trio run its tasks until there is something to do here."""
        self._asleep = True  # before the look at the queues: what a handler or thread adds from here on wakes the loop
        due = self._timers.first_due()
        with trio.CancelScope(deadline=due, shield=True) as self._scope:
            if self._ready or self._from_threads or self._ends or due <= self._clock.current_time():
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._descriptors.fileno())

    def _wake(self) -> None:
        """End `_sleep`. In any thread, and in a signal handler."""
        if self._woken or self._token is None:
            return
        self._woken = True
        try:
            self._token.run_sync_soon(self._end_sleep)
        except trio.RunFinishedError:
            pass
        except BaseException:  # a KeyboardInterrupt: perhaps nothing was sent
            self._woken = False
            raise

    def _end_sleep(self) -> None:
        if self._asleep:
            self._scope.cancel()

    def _wanted(self, fd: int) -> int:
        return (IN if fd in self.readers else 0) | (OUT if fd in self.writers else 0)

    # -- Ctrl-C, on a loop of the hub's own ----------------------------------------------------------------------------

    def _take_interrupts(self) -> bool:
        """Handle SIGINT in place of trio, which would put it off as long as a greenlet runs."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        signal.signal(signal.SIGINT, self._on_interrupt)
        return True

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if getcurrent() is not self.greenlet:
            signal.default_int_handler(number, frame)
        self.call_soon(self._raise_in_main, KeyboardInterrupt())  # raised in trio's code, it would wreck the loop

    # -- the end -------------------------------------------------------------------------------------------------------

    async def end_greenlets(self) -> None:
        """Raise `GreenletExit` once in each greenlet that waits, and wait until they have left."""
        self._left = trio.Event()
        thrown: set[weakref.ref[greenlet]] = set()
        while self._parked:
            for reference in self._parked - thrown:
                self.call_soon(self._end_parked, reference)
            thrown |= self._parked
            await self._left.wait()
            self._left = trio.Event()

    def _end_parked(self, reference: weakref.ref[greenlet], parent: greenlet | None = None) -> None:
        parked = reference()
        if parked is None or parked is getcurrent() or reference not in self._parked:
            return
        try:
            if parent is not None:
                parked.parent = parent  # not the loop, which has ended
            parked.throw(GreenletExit)
        except BaseException:
            sys.excepthook(*sys.exc_info())

    def stop(self) -> None:
        """Have the task end after its round."""
        self._ends = True
        if self._asleep:
            self._wake()

    def _free(self) -> None:
        if not self._closed:
            self._closed = True
            self._from_threads.clear()
            self._ready.clear()
            self._descriptors.close()
            self.greenlet = greenlet(_ended)  # the next loop may run in the same greenlet as this one

    def leave_to_parent(self) -> None:
        """In a forked child: touch nothing that the parent has, too. Trio's loop cannot go on here."""
        self.inherited = True
        if not self._closed:
            self._descriptors.leave_to_parent()


def _ended() -> None:
    """The function of a greenlet that never runs."""


class _TrioWatch(Watch):
    __slots__ = ()
    hub: TrioHub

    def _arm(self) -> None:
        self.hub._descriptors.update(self.fd)

    def _disarm(self) -> None:
        if not (self.hub._closed or self.hub.inherited):
            try:
                self.hub._descriptors.update(self.fd)
            except OSError:  # the descriptor is closed, and its other direction is still watched
                self.hub._descriptors.forget(self.fd)


@asynccontextmanager
async def open_hub() -> AsyncIterator[TrioHub]:
    """Start a hub on the trio loop that runs, for the time of the block.

    At the end of the block `GreenletExit` is raised once in each greenlet that still waits, and the block waits for
    their end, as a nursery does for its tasks.

    Yields
    ------
    TrioHub
        The hub; ``hub="trio"`` finds it, too.

    Raises
    ------
    HubError
        This thread has one already.
    KeyboardInterrupt or SystemExit
        A greenlet or a callback has raised it.
    """
    if (other := TrioHub.current()) is not None:
        raise HubError(_ALREADY.format(hub=other))
    hub = TrioHub._place(TrioHub(trio.lowlevel.current_clock()))
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as hub.nursery:
            await hub.nursery.start(hub._serve)
            try:
                yield hub
            except BaseException as raised:  # raised below: a nursery would put it into a group
                error = raised
            with trio.CancelScope(shield=True):
                await hub.end_greenlets()
            hub.stop()
            hub.nursery.cancel_scope.cancel()
    finally:
        hub.nursery = None
        hub._free()
    if (error := hub._error or error) is not None:
        try:
            raise error
        finally:
            del error


_hubs: weakref.WeakSet[TrioHub] = weakref.WeakSet()


def _after_fork() -> None:
    for hub in list(_hubs):
        hub.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
