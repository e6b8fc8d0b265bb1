"""The bridge between an asyncio loop's coroutines and its greenlets: `run`, `spawn`, `await_`.

`greenzmq.asyncio` exports them; its docstring says how to use them.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import CoroutineType
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent

from ..errors import BlockingCallError, WrongHubError
from ..hubs.asyncio import AsyncioHub, CancelledError, Future, current_task, ensure_future, isfuture
from .tasks import Task, coroutine_error, name_of, plain_result, tell_of_failure
from .waiter import new_waiter

__all__ = ["AwaitableTask", "await_", "put_off_cancellation", "run", "run_beside", "spawn"]

T = TypeVar("T")

#: The tasks of `run_beside`. A loop keeps only weak references to its tasks.
_beside: set[Future[Any]] = set()


class _Completion:
    """What an asyncio task awaits while a greenlet works for it: those methods of a future that a task calls.

    It differs from a future in two ways. When a future is cancelled, it ends, and its task goes on. When this is
    cancelled, the exception is raised in the greenlet, and the task goes on only when the greenlet has ended. And a
    future's task goes on in the next round of the loop; here it goes on as soon as the greenlet is back in the loop.
    """

    _asyncio_future_blocking = False  # asyncio takes an object with this attribute for a future
    _error: BaseException | None = None
    _wakeup: Callable[[Any], object] | None = None
    _context: contextvars.Context | None = None
    _task: Any = None
    _missed = False  # a cancellation has not been raised in the greenlet yet
    _before = 0  # how many cancellations the task had before that one
    _message: tuple[Any, ...] = ()
    ended = False

    def __init__(self, hub: AsyncioHub) -> None:
        self._hub = hub

    def __await__(self) -> Generator[Any, None, None]:
        try:
            while not self.ended:
                self._asyncio_future_blocking = True
                try:
                    yield self
                except CancelledError as error:  # a task calls `cancel`; other code that drives a coroutine throws this
                    self.cancel(*error.args)
        except BaseException:  # the coroutine is closed, or collected: nobody awaits the greenlet any more
            self._wakeup = None
            self._drop()
            raise
        if self._missed and not isinstance(self._error, CancelledError):
            put_off_cancellation(self._hub, self._task, self._before, self._message)

    # The methods that a task calls:

    def get_loop(self) -> Any:
        return self._hub.loop

    def add_done_callback(self, wakeup: Callable[[Any], object], *, context: contextvars.Context | None = None) -> None:
        self._wakeup, self._context = wakeup, context

    def result(self) -> None:
        """Return nothing: the coroutine reads the outcome itself."""

    def cancel(self, msg: Any = None) -> bool:
        """Have `CancelledError` raised in the greenlet, since its task is cancelled.

        A further cancellation adds nothing until the first one has been raised in the greenlet.
        """
        if not self._missed:
            self._missed = True
            self._before = _cancellations(self._task) - 1
            self._message = () if msg is None else (msg,)
            self._pass_on(CancelledError(*self._message))
        return True

    # -- the work ------------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        """Called at the end of the work, in its greenlet: let the task go on."""
        self.ended = True
        if self._wakeup is not None:
            self._hub.call_on_return(self._wakeup, self, self._context)

    def _pass_on(self, error: BaseException) -> None:
        """Have `error` thrown into the greenlet, soon."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Called when the awaiting coroutine is dropped: nobody waits for the work any more."""


class _Call(_Completion):
    """One call of `run`."""

    _greenlet: Any = None
    _value: Any = None
    _dropped = False  # nobody will read the outcome

    def __init__(self, hub: AsyncioHub, call: Callable[[], Any]) -> None:
        self._hub = hub
        self._call = call

    def _run(self) -> None:
        """Call the function, and keep its result or exception. In the greenlet."""
        self._greenlet = getcurrent()
        try:
            self._value = plain_result(self._call, self._call())
        except GreenletExit as error:  # as `Task.get`
            self._value = error
        except BaseException as error:
            if self._dropped and not isinstance(error, CancelledError):
                tell_of_failure(f"<run of {name_of(self._call)} on {self._hub!r}, whose coroutine was dropped>", error)
            else:
                self._error = error
        finally:
            self._greenlet = None
            self._complete()

    def outcome(self) -> Any:
        """Return the function's result or raise its exception. To be called once."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error, self

    def _pass_on(self, error: BaseException) -> None:
        self._hub.call_soon(self._throw, error)

    def _drop(self) -> None:
        self._dropped = True
        self._hub.call_soon(self._throw, GreenletExit())

    def _throw(self, error: BaseException) -> None:
        # The greenlet has begun: if `AsyncioHub.begin` had to put that off, it was scheduled before this call was.
        if not self.ended:
            self._missed = False
            self._greenlet.throw(error)


class _TaskCompletion(_Completion):
    """One ``await`` of an `AwaitableTask`."""

    def __init__(self, hub: AsyncioHub, work: AwaitableTask[Any]) -> None:
        super().__init__(hub)
        self._work = work
        self._task = current_task(hub.loop)

    def _pass_on(self, error: BaseException) -> None:
        if self._work._call is None:
            self._hub.call_soon(self._throw, error)
        else:  # the task has not begun, so there is no greenlet to switch into: it ends at once
            self._throw(error)

    def _throw(self, error: BaseException) -> None:
        if not self._work.done:
            self._missed = False
            self._work._throw(error)


class AwaitableTask(Task[T]):
    """A `greenzmq.Task` that coroutines can await.

    ``await task`` returns the function's result or raises its exception. If the asyncio task that awaits is cancelled,
    `asyncio.CancelledError` is raised in the greenlet where it waits, and the await goes on until the greenlet has
    ended; see `run`.
    """

    _ends: tuple[_TaskCompletion, ...] = ()
    _quiet = (CancelledError,)  # as in asyncio

    def __await__(self) -> Generator[Any, None, T]:
        return self._finish().__await__()

    async def _finish(self) -> T:
        hub = AsyncioHub.get()
        if hub is not self.hub:
            raise WrongHubError(f"{self!r} is awaited on {hub!r}; call its get() in a greenlet there")
        if hub.deferred_cancellations:
            _raise_late_cancellation(hub)
        if not self.done:
            end = _TaskCompletion(hub, self)
            self._ends += (end,)
            await end
        return self._result()

    def _end(self) -> None:
        super()._end()
        ends, self._ends = self._ends, ()
        for end in ends:
            end._error = self._error
            end._complete()


async def run(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run blocking-style code in a greenlet on this loop, and return its result or raise its exception.

    The code begins at once. If it need not wait, it ends before the loop runs anything else. It shares this coroutine's
    `contextvars` context: each sees what the other sets.

    If the awaiting task is cancelled, `asyncio.CancelledError` is raised in the greenlet where it waits, and `run` goes
    on until the greenlet has ended. So code that catches the exception, or waits in a ``finally``, goes on as it would
    in a coroutine. If the greenlet ends before the exception could be raised in it, `run` returns its result all the
    same, so that no message is lost. The cancellation is then raised by the task's next `run`, or by whatever else the
    task awaits next, unless it is taken back before, as `asyncio.timeout` does.

    Parameters
    ----------
    function : callable
        The function to run, with ``*args`` and ``**kwargs``.

    Returns
    -------
    object
        The function's result.

    Raises
    ------
    HubError
        No loop runs in this thread, or it cannot watch file descriptors.
    TypeError
        The function is a coroutine function, or has returned a coroutine: await it instead.
    """
    if type(function) is CoroutineType:  # type: ignore[comparison-overlap]  # a mistake of the caller
        raise coroutine_error(function, function)
    hub = AsyncioHub.get()
    if hub.deferred_cancellations:
        _raise_late_cancellation(hub)
    call = _Call(hub, partial(function, *args, **kwargs) if args or kwargs else function)
    call._task = hub.begin(call._run)
    if not call.ended:
        await call
    result: T = call.outcome()
    return result


def run_beside(function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """An `asyncio.Task` of `run`, which goes on also if nobody awaits it. To cancel it cancels the greenlet's call."""
    task: Future[T] = ensure_future(run(function, *args, **kwargs))
    _beside.add(task)
    task.add_done_callback(_beside.discard)
    return task


def spawn(function: Callable[..., T], *args: Any, name: str | None = None, **kwargs: Any) -> AwaitableTask[T]:
    """Run blocking-style code in a greenlet on this loop, beside the caller; see `GreenHub.spawn`. Never switches.

    Returns
    -------
    AwaitableTask
        Coroutines ``await`` it, greenlets call its ``get()``. The code runs in a copy of the caller's context.
    """
    return AwaitableTask(AsyncioHub.get(), function, args, kwargs, name=name)


def await_(awaitable: Awaitable[T]) -> T:
    """Wait in a greenlet for a coroutine, a future, or anything else that can be awaited.

    An exception thrown into the greenlet meanwhile (a kill, a timeout, a cancellation) cancels what is awaited.

    Parameters
    ----------
    awaitable : awaitable
        A coroutine runs as an asyncio task of its own.

    Returns
    -------
    object
        Its result.

    Raises
    ------
    BlockingCallError
        The caller is a coroutine, which can ``await`` by itself. Not raised for a future that is done.

    Notes
    -----
    Switches: unless `awaitable` is a future that is done.
    """
    if isfuture(awaitable) and awaitable.done():
        return awaitable.result()  # type: ignore[no-any-return]
    try:
        hub = AsyncioHub.get()
        if getcurrent() is hub.greenlet:
            raise BlockingCallError(
                "await_() is for greenlets, this is a coroutine or a callback of the loop: write await instead, or, "
                "for code that cannot, await greenzmq.asyncio.run(function, *args)"
            )
        waiter = new_waiter(hub, reason=awaitable)
    except BaseException:
        if isinstance(awaitable, Coroutine):
            awaitable.close()  # else Python warns that it was never awaited
        raise
    future = ensure_future(awaitable)
    future.add_done_callback(lambda _: waiter.wake_now())
    try:
        while not future.done():
            waiter.park()
    except BaseException:
        future.cancel()
        raise
    finally:
        waiter.close()
    result: T = future.result()
    return result


def _cancellations(task: Any) -> int:
    """How many cancellations of the task have not been taken back. Always 1 on Python 3.10, which does not count."""
    count: int = task.cancelling() if hasattr(task, "cancelling") else 1
    return count


def put_off_cancellation(hub: AsyncioHub, task: Any, before: int | None, message: tuple[Any, ...]) -> None:
    """Have the task, which got a result in place of its cancellation, cancelled again when it has gone on.

    `before` is how many cancellations it had before that one; None if that one was the last.
    """
    hub.deferred_cancellations[task] = _cancellations(task) - 1 if before is None else before
    hub.call_soon(_cancel_again, hub, task, message)


def _is_due(hub: AsyncioHub, task: Any) -> bool:
    """Whether a cancellation of the task was put off, and has not been taken back since. Forgets it."""
    before = hub.deferred_cancellations.pop(task, None)
    return before is not None and _cancellations(task) > before


def _raise_late_cancellation(hub: AsyncioHub) -> None:
    if _is_due(hub, current_task(hub.loop)):
        raise CancelledError()


def _cancel_again(hub: AsyncioHub, task: Any, message: tuple[Any, ...]) -> None:
    if _is_due(hub, task):
        if hasattr(task, "uncancel"):
            task.uncancel()  # since `cancel` below counts it a second time
        task.cancel(*message)
