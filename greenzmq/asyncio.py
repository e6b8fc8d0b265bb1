"""greenzmq on the running asyncio loop, the standard library's or uvloop, and the bridge to its coroutines.

::

    import greenzmq.asyncio as zmq

    async def main():
        message = await zmq.run(socket.recv)              # one call
        result = await zmq.run(function, *args)           # blocking-style code, unchanged
        task = zmq.spawn(function, *args)                 # goes on beside; await it, cancel it, or do neither

Code in the greenlet waits as on every other hub, and for a coroutine or future with `await_`. Cancelling what awaits
`run` raises `asyncio.CancelledError` in the greenlet, where it waits. The greenlet makes its calls itself, after it has
been woken: what it has not received is still there for the next one, and what it has received is returned.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent

import greenzmq as _greenzmq
from greenzmq import *  # noqa: F403
from greenzmq import Task
from greenzmq import context as _context
from greenzmq import green as _green
from greenzmq import poller as _poller
from greenzmq import proxies as _proxies
from greenzmq import socket as _socket
from greenzmq.decorators import Decorators as _Decorators
from greenzmq.hubs.asyncio import AsyncioHub, CancelledError, current_task, ensure_future
from greenzmq.waiting import Waiter as _Waiter

__all__ = [*_greenzmq.__all__, "AwaitableTask", "await_", "run", "spawn"]  # noqa: PLE0604

T = TypeVar("T")


class Socket(_socket.Socket):
    """`greenzmq.Socket` on asyncio."""

    _repr_cls = "greenzmq.asyncio.Socket"
    _default_hub = "asyncio"


class Context(_context.Context):
    """`greenzmq.Context` on asyncio."""

    _repr_cls = "greenzmq.asyncio.Context"
    _socket_class = Socket
    _default_hub = "asyncio"


class Poller(_poller.Poller):
    """`greenzmq.Poller` on asyncio."""

    _default_hub = "asyncio"


select = partial(_poller.select, poller=Poller)
zmq_poll = partial(_poller.zmq_poll, poller=Poller)
proxy = partial(_proxies.proxy, hub="asyncio")
proxy_steerable = partial(_proxies.proxy_steerable, hub="asyncio")
device = partial(_proxies.device, hub="asyncio")
SyncContext, SyncSocket = Context, Socket
decorators = _Decorators(Context)


class AwaitableTask(Task[T]):
    """A `greenzmq.Task` that coroutines can await.

    Awaiting it gives what its function returns or raises. Cancelling the awaiting task raises `asyncio.CancelledError`
    in the greenlet where it waits, and waits for its end. If the greenlet has ended meanwhile with a result, the result
    is returned, so that no message is lost; the cancellation then comes out of the awaiting task's next `run` or await
    of a task, unless it was taken back, as `asyncio.timeout` does.
    """

    _awaiting: tuple[Any, ...] = ()

    def _end(self) -> None:
        super()._end()
        for future in self._awaiting:
            if not future.done():
                future.set_result(None)

    def __await__(self) -> Generator[Any, None, T]:
        return self._finish().__await__()

    async def _finish(self) -> T:
        _raise_late_cancellation()
        cancelled: CancelledError | None = None
        while not self.done:
            ended = self._hub().loop.create_future()
            self._awaiting += (ended,)
            try:
                await ended
            except CancelledError as error:
                cancelled = error
                self.kill(CancelledError(*error.args), block=False)
        if cancelled is not None and self._error is None:
            _late.add(current_task())
        try:
            return self._result()
        finally:
            del cancelled

    def _hub(self) -> AsyncioHub:
        hub = self.hub
        if not isinstance(hub, AsyncioHub):
            raise _greenzmq.WrongHubError(f"{self!r} is not on asyncio and cannot be awaited; use task.get()")
        return hub


#: The asyncio tasks that were cancelled when a message had just been received for them.
_late: weakref.WeakSet[Any] = weakref.WeakSet()


def hub() -> _green.GreenHub:  # type: ignore[no-redef]
    """The hub of this thread's running loop; made if there is none yet."""
    return _green.hub("asyncio")


async def run(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run blocking-style code in a greenlet on this loop, and return its result or raise its exception.

    The code shares this coroutine's `contextvars` context, so both see what the other sets. Cancelling `run` raises
    `asyncio.CancelledError` in the greenlet where it waits, and waits for its end; see `AwaitableTask`.

    Parameters
    ----------
    function : callable
        What to run; with ``*args`` and ``**kwargs``.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    HubError
        No loop runs in this thread, or it cannot watch file descriptors.
    """
    task = AwaitableTask(AsyncioHub.get(), function, args, kwargs, context=getcurrent().gr_context)
    return await task


def spawn(function: Callable[..., T], *args: Any, **kwargs: Any) -> AwaitableTask[T]:
    """Run blocking-style code in a greenlet on this loop, beside the caller. Never switches.

    Returns
    -------
    AwaitableTask
        For coroutines to ``await``, for greenlets to ``get()``. The code sees a copy of the caller's context.
    """
    return AwaitableTask(AsyncioHub.get(), function, args, kwargs)


def await_(awaitable: Awaitable[T]) -> T:
    """Wait in a greenlet for a coroutine, a future, or anything else that can be awaited.

    An exception thrown into the greenlet meanwhile (a kill, a timeout, a cancellation) cancels what is awaited.

    Parameters
    ----------
    awaitable : awaitable
        It runs as an asyncio task of its own.

    Returns
    -------
    object
        Its result.

    Raises
    ------
    BlockingCallError
        In a coroutine, which can say ``await`` itself.

    Notes
    -----
    Switches: unless it is done already.
    """
    waiter = _Waiter(AsyncioHub.get())
    future = ensure_future(awaitable)
    future.add_done_callback(lambda _: waiter.wake())
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


def _raise_late_cancellation() -> None:
    """A cancellation that gave way to a message is due now, unless somebody has taken it back (`Task.uncancel`)."""
    task = current_task()
    if task in _late:
        _late.discard(task)
        if getattr(task, "cancelling", lambda: 1)():
            raise CancelledError()


def __getattr__(name: str) -> Any:
    return getattr(_greenzmq, name)
