"""Calls that other native threads have a hub make: `GreenHub.submit` and `GreenHub.call_from_thread`.

The future is one of `concurrent.futures`, but for two things. Its condition is a native one: where `threading` is
patched, a thread's wait on the patched one would never end, or stop a hub. And a greenlet that asks for the result
parks.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import GreenletExit

from .. import hubs
from ..errors import HubError
from ..hubs.detection import detect
from ..process import unpatched
from .events import Linkable
from .limits import as_limit
from .scope import Scope
from .tasks import Task, name_of, plain_result, refuse_coroutine, tell_of_failure
from .threads import task_class

if TYPE_CHECKING:
    from types import TracebackType

    from ..hubs import Hub

__all__ = ["HubFuture", "submit"]

T = TypeVar("T")


class _NativeCondition:
    """As much of `threading.Condition` as `concurrent.futures` needs, of native locks."""

    def __init__(self) -> None:
        self._rlock = unpatched.new_rlock()
        self.acquire, self.release = self._rlock.acquire, self._rlock.release
        self._waiters: deque[Any] = deque()

    def __enter__(self) -> bool:
        entered: bool = self._rlock.__enter__()
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rlock.release()

    def wait(self, timeout: float | None = None) -> bool:
        waiter = unpatched.allocate_lock()
        waiter.acquire()
        self._waiters.append(waiter)
        held = self._rlock._release_save()
        try:
            notified: bool = waiter.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        finally:
            self._rlock._acquire_restore(held)
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return notified

    def notify_all(self) -> None:
        while self._waiters:
            self._waiters.popleft().release()


class _Done(Linkable):
    """Becomes ready when a future is done."""

    def __init__(self, future: HubFuture[Any]) -> None:
        super().__init__()
        self._future = future
        future.add_done_callback(lambda _: self._announce())

    def ready(self) -> bool:
        return self._future.done()

    def __repr__(self) -> str:
        return repr(self._future)


class HubFuture(futures.Future[T]):
    """The result of a function that a hub runs for a thread. Made by `GreenHub.submit`.

    It is a `concurrent.futures.Future`, for `concurrent.futures.wait`, `asyncio.wrap_future` and the like. `cancel`
    works while the function runs, too: it kills the task. `result` and `exception` park a greenlet, and block a plain
    thread. An exception for which nobody has asked is reported when the future is collected, as a task's is.

    Parameters
    ----------
    hub : Hub
        Where the function runs.
    name : str
        The function's name, for messages.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        super().__init__()
        self._condition = _NativeCondition()  # type: ignore[assignment]
        self._greenzmq_hub = hub
        self._greenzmq_name = name
        self._greenzmq_task: Task[None] | None = None
        self._greenzmq_asked = False

    def running(self) -> bool:
        """Whether the function has begun and not ended."""
        return self._greenzmq_task is not None and not self.done()

    def cancel(self) -> bool:
        """Kill the function's task, or do not begin it. False if it has ended. Never switches."""
        if not super().cancel():
            return False
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()
        task = self._greenzmq_task
        if task is not None:
            task.kill(block=False)
        return True

    def result(self, timeout: float | None = None) -> T:
        """Wait, then return what the function has returned or raise what it has raised.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever.

        Raises
        ------
        concurrent.futures.TimeoutError
            It has not ended in time.
        concurrent.futures.CancelledError
            It was cancelled, or its task was killed.
        HubError
            The hub has ended before the function began; or a wait here would stop a hub.

        Notes
        -----
        Switches: in a greenlet, when it has to wait.
        """
        self._greenzmq_asked = True
        return super().result(self._greenzmq_wait(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `result`, but return the exception, or None."""
        self._greenzmq_asked = True
        return super().exception(self._greenzmq_wait(timeout))

    def _greenzmq_wait(self, timeout: float | None) -> float | None:
        """Park, if this is a greenlet of a hub. Returns the time that is left to block for."""
        limit = as_limit(timeout, "the timeout of a future's result()")
        if self.done() or (limit is not None and limit <= 0):
            return 0
        here = hubs.current_hub(detect().name)
        if here is None:  # a plain thread
            return limit
        _Done(self)._wait(here, limit)
        return 0

    def _greenzmq_end(self, value: Any = None, error: BaseException | None = None) -> None:
        """Set the outcome, unless it was cancelled before."""
        with self._condition:
            if self.done():
                return
            self.set_running_or_notify_cancel()
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)

    def _greenzmq_task_ended(self, _: object) -> None:
        """Called when the task has ended: it may have been killed, or not even have begun."""
        if not self.done():
            super().cancel()
            with self._condition:
                if self._state == "CANCELLED":
                    self.set_running_or_notify_cancel()

    def __repr__(self) -> str:
        state = "running" if self.running() else self._state.lower()
        return f"<HubFuture of {self._greenzmq_name} {state} on {self._greenzmq_hub!r}>"

    def __del__(self) -> None:
        error = None if self._greenzmq_asked or self.cancelled() else getattr(self, "_exception", None)
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            tell_of_failure(repr(self), error)


class _Start:
    """What a thread gives to the hub: the call that begins the task.

    If the loop ends first and drops it, the future gets an error: its thread would wait for ever.
    """

    __slots__ = ("_call", "_context", "_future")

    def __init__(self, future: HubFuture[Any], call: Callable[[], Any]) -> None:
        self._future: HubFuture[Any] | None = future
        self._call = call
        self._context = contextvars.copy_context()

    def __call__(self) -> None:
        future, self._future = self._future, None
        if future is None or future.done():
            return
        hub, call = future._greenzmq_hub, self._call
        kind = task_class(hub)
        task: Task[None] = kind(hub, _run, (future, call), name=future._greenzmq_name, context=self._context)
        scope: Scope | None = hub.local.get(Scope)
        if scope is not None:
            scope.add_task(task)  # so that it ends with the `main` that runs here
        task.rawlink(future._greenzmq_task_ended)
        future._greenzmq_task = task
        if future.cancelled():  # by the thread, since the look above
            task.kill(block=False)
        if task.done:  # a native thread may have been faster than the link
            future._greenzmq_task_ended(task)

    def __del__(self) -> None:
        future = self._future
        if future is not None:
            future._greenzmq_end(error=HubError(f"{future._greenzmq_hub!r} has ended before it could begin {future!r}"))


def _run(future: HubFuture[Any], call: Callable[[], Any]) -> None:
    """The function of the task."""
    try:
        value = plain_result(call, call())
    except GreenletExit:
        raise  # the task was killed
    except (KeyboardInterrupt, SystemExit) as error:
        future._greenzmq_end(error=error)
        raise  # these belong to the whole program, too
    except BaseException as error:
        future._greenzmq_end(error=error)
    else:
        future._greenzmq_end(value)
    finally:
        del future, call


def submit(hub: Hub, call: Callable[[], T]) -> HubFuture[T]:
    """See `GreenHub.submit`; `call` has its arguments."""
    refuse_coroutine(call)
    future: HubFuture[T] = HubFuture(hub, name_of(call))
    if hub.has_ended() or hub.inherited:
        raise HubError(f"{hub!r} has ended: it runs nothing any more")
    start = _Start(future, call)
    if hub.runs_threads:  # whatever thread asks for it: the function has one of its own
        start()
    else:
        hub.call_soon_threadsafe(start)
    return future
