"""The awaitable Poller: `zmq.asyncio.Poller` on the state of the green one."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ..hubs.asyncio import AsyncioHub, Future, current_task, running_loop
from ..sockets.awaitable import Socket
from ..waiting.bridge import run_beside
from ..waiting.futures import PendingFuture, TaskWaiter, failed_future, finished_future, loop_to_run
from . import poller
from . import wait as waiting

if TYPE_CHECKING:
    from .poller_state import PollerState

__all__ = ["Poller", "select", "wait", "zmq_poll"]


class Poller(poller.Poller):
    """A `zmq.asyncio.Poller`. It takes what `greenzmq.Poller` takes; several tasks may poll it at once."""

    _greenzmq_default_hub = "asyncio"

    def __init__(self) -> None:
        super().__init__()

    def poll(self, timeout: float | None = -1) -> Future[list[tuple[Any, int]]]:  # type: ignore[override]
        """Wait until something registered is ready; see `zmq.asyncio.Poller.poll`. `timeout` is in milliseconds."""
        loop = running_loop() or loop_to_run(self)
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        state = self._greenzmq_state
        entered = monotonic()
        has_to_yield = seconds != 0 and state.turn.is_over(entered)
        if not has_to_yield:
            try:
                ready = state.collect_ready()
            except Exception as error:
                return failed_future(loop, error)
            if ready or seconds == 0 or not state.entries:
                if ready and seconds == 0:
                    poller.end_runs(ready)
                return finished_future(loop, ready)
        future = _PendingPoll(loop=loop)
        who = current_task(loop) or getcurrent()
        future.set_up(who, state, self._greenzmq_reason or state, seconds, entered, has_to_yield)
        return future


class _PendingPoll(PendingFuture[list[tuple[Any, int]]]):
    """A poll that has to wait, or to let the loop go round; `greenzmq.polling.poller.Poller.poll` for a task."""

    __slots__ = ("_entered", "_has_to_yield", "_poller_state", "_reason", "_seconds", "_who")

    def set_up(
        self, who: Any, state: PollerState, reason: Any, seconds: float | None, entered: float, has_to_yield: bool
    ) -> None:
        """Complete the new future of a poll by `who`, which began at `entered`."""
        self.set_up_future()
        self._who = who
        self._poller_state = state
        self._reason = reason
        self._seconds = seconds
        self._entered = entered
        self._has_to_yield = has_to_yield

    def _enter(self, hub: AsyncioHub) -> None:
        state = self._poller_state
        state.refuse_other_hubs(hub)
        waiter = TaskWaiter()
        waiter.set_up(self, hub, self._seconds, self._entered, self._reason, self._who)
        self._waiter = waiter
        state.join(waiter)
        if self._has_to_yield or state.dirty or state.active or state.unsteady:
            # Nothing was collected yet, or that was some time ago: when the call was made, and not when it is awaited.
            waiter.wake()
        self._yields, self._has_to_yield = self._has_to_yield, False
        state.watch(waiter)

    def _leave(self, waiter: TaskWaiter) -> None:
        self._poller_state.leave(waiter)

    def _work(self, waiter: TaskWaiter, woken: bool) -> None:
        state = self._poller_state
        ready = state.collect_ready()
        if ready or waiter.expired or not state.entries:
            self.finish(ready)
        else:
            state.watch(waiter)

    def _work_without_waiting(self) -> None:
        ready = self._poller_state.collect_ready()
        late = self._seconds is not None and monotonic() >= self._entered + self._seconds
        if ready or late or not self._poller_state.entries:
            self.finish(ready)


class _GreenPoller(poller.Poller):
    """For the functions below, which poll in a greenlet."""

    _greenzmq_default_hub = "asyncio"


def zmq_poll(sockets: list[tuple[Any, int]], timeout: float = -1) -> Future[list[tuple[Any, int]]]:
    """Wait until one of `sockets` is ready; see `greenzmq.zmq_poll`. `timeout` is in milliseconds."""
    return run_beside(poller.zmq_poll, sockets, timeout, poller=_GreenPoller)


def select(
    rlist: list[Any], wlist: list[Any], xlist: list[Any], timeout: float | None = None
) -> Future[tuple[list[Any], list[Any], list[Any]]]:
    """Wait as `select.select` does, for sockets and descriptors; see `greenzmq.select`. `timeout` is in seconds."""
    return run_beside(poller.select, rlist, wlist, xlist, timeout, poller=_GreenPoller)


def wait(things: Iterable[Any], timeout: float | None = None) -> Future[list[Any]]:
    """Wait until one of `things` is ready; see `greenzmq.wait`. `timeout` is in seconds."""
    return run_beside(waiting.wait, list(things), timeout, poller=_GreenPoller)


Socket._poller_class = Poller
