"""What the tests of `greenzmq.aio` share: tests that are coroutines, on each loop, and pairs of awaitable sockets."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import zmq
from support.asyncio import run_on
from support.inside import has_waiters, receivers_of, senders_of
from support.sockets import address

import greenzmq.aio

__all__ = ["a_pair", "finished", "on_loops", "rounds", "until_receiving", "until_sending", "until_waiting"]

Test = Callable[..., Coroutine[Any, Any, None]]


def on_loops(test: Test) -> Callable[..., None]:
    """Run a test that is a coroutine function on each loop; the module has to import the fixture `loop_name`."""

    @functools.wraps(test)
    def on_loop(loop_name: str, **arguments: Any) -> None:
        run_on(loop_name, asyncio.wait_for(test(**arguments), 20))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    on_loop.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*(p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()), loop]
    )
    del on_loop.__wrapped__  # type: ignore[attr-defined]  # or pytest would take it for a coroutine function
    return on_loop


@asynccontextmanager
async def a_pair(
    first: int = zmq.PUSH, second: int = zmq.PULL, transport: str = "inproc", **options: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """Two connected sockets, whose `options` were set before. At the end nobody waits on them."""
    context = greenzmq.aio.Context()
    sockets = context.socket(first), context.socket(second)
    for socket in sockets:
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
    sockets[0].bind(address(transport))
    sockets[1].connect(sockets[0].last_endpoint.decode())
    try:
        yield sockets
        for socket in sockets:
            assert socket.closed or not has_waiters(socket)
    finally:
        await context.destroy(0)


async def finished(future: Any) -> Any:
    """The outcome of a future, for a task that is to await it."""
    return await future


async def rounds(number: int = 5) -> None:
    """Let the loop go round."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until_waiting(condition: Callable[[], object]) -> None:
    """Let the loop go round until it is so."""
    while not condition():
        await asyncio.sleep(0)
    await rounds()  # a task whose turn is over yields for a few before it stops


async def until_receiving(socket: Any, number: int = 1) -> None:
    """Until so many wait to receive."""
    await until_waiting(lambda: len(receivers_of(socket)) == number)


async def until_sending(socket: Any, number: int = 1) -> None:
    """Until so many wait to send."""
    await until_waiting(lambda: len(senders_of(socket)) == number)
