"""The end of contexts and sockets in coroutines: at once where nothing is to be waited for, and with ``async with``."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zmq
from support.asyncio import loop_name, run_on
from support.sockets import address

import greenzmq
import greenzmq.asyncio
import greenzmq.selector
from greenzmq.asyncio import run, spawn

__all__ = ["loop_name"]

CONTEXTS = [greenzmq.Context, greenzmq.asyncio.Context]
either = pytest.mark.parametrize("cls", CONTEXTS, ids=["greenzmq", "greenzmq.asyncio"])


async def exchange(context: Any, linger: int = -1) -> tuple[Any, Any]:
    """Two sockets that have sent and received."""
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.linger = right.linger = linger
    left.bind(address("tcp"))
    right.connect(left.last_endpoint.decode())
    await run(left.send, b"x")
    assert await run(right.recv) == b"x"
    return left, right


def send_to_nobody(context: Any) -> str:
    """Leave a message in a closed socket. The address where it can be taken."""
    where = address("ipc")
    context.reconnect_ivl = 1
    with context.socket(zmq.PUSH) as push:
        push.connect(where)
        push.send(b"x")
    return where


async def take_from(where: str) -> bytes:
    async with greenzmq.asyncio.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(where)
        message: bytes = await run(pull.recv)
        return message


@either
def test_a_context_ends_in_a_coroutine(loop_name: str, cls: Any) -> None:
    """`term`, `destroy` and ``with`` end a context whose sockets are closed; `destroy` and ``with`` close the others.

    Seen to fail with a `BlockingCallError`.
    """

    async def main() -> None:
        with cls() as context:
            for socket in await exchange(context):
                socket.close()
        assert context.closed
        for end in (cls.term, cls.destroy, lambda context: context.destroy(linger=0)):
            context = cls()
            for socket in await exchange(context):
                socket.close()
            end(context)
            assert context.closed
        context = cls()
        sockets = await exchange(context, linger=0)
        waiting = spawn(sockets[0].recv)
        await asyncio.sleep(0)
        context.destroy()
        assert context.closed
        with pytest.raises(zmq.ZMQError):
            await waiting

    run_on(loop_name, main())


@either
def test_a_context_with_open_sockets_in_a_coroutine(loop_name: str, cls: Any) -> None:
    """`term` would wait for open sockets: an error that shows the way, and nothing has begun."""

    async def main() -> None:
        context = cls()
        sockets = await exchange(context)
        with pytest.raises(greenzmq.BlockingCallError, match=r"open sockets.*await greenzmq\.asyncio\.run\("):
            context.term()
        await run(sockets[0].send, b"y")
        assert await run(sockets[1].recv) == b"y"
        await run(context.destroy)

    run_on(loop_name, main())


@either
def test_the_error_of_a_block_in_a_coroutine(loop_name: str, cls: Any) -> None:
    """The error that ends a ``with`` block, a cancellation too, comes out of it, whatever becomes of the context."""

    async def fail(error: BaseException) -> None:
        with cls() as context:
            opened = await exchange(context, linger=0)
            try:
                raise error
            finally:
                assert not any(socket.closed for socket in opened)

    async def main() -> None:
        for error in (ValueError("the real problem"), asyncio.CancelledError("so be it")):
            with pytest.warns(ResourceWarning, match="unclosed"), pytest.raises(type(error)) as raised:
                await fail(error)
            assert raised.value is error

    run_on(loop_name, main())


def test_unsent_messages_in_a_coroutine(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`term` stops the loop for a moment only; then it is an error, and ``await run(context.term)`` waits for the end.

    The block's own error is not replaced by that one.
    """
    monkeypatch.setattr(greenzmq.sockets.context, "PATIENCE", 0.01)

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        where = send_to_nobody(context)
        with pytest.raises(greenzmq.BlockingCallError, match=r"LINGER.*await greenzmq\.asyncio\.run\("):
            context.term()
        with (
            pytest.warns(RuntimeWarning, match="is ending"),
            pytest.raises(ValueError, match="the real problem"),
            context,
        ):
            raise ValueError("the real problem")
        ending = asyncio.ensure_future(run(context.term))
        await asyncio.sleep(0)
        assert not ending.done()
        assert await take_from(where) == b"x"
        await asyncio.wait_for(ending, 10)
        assert context.closed

    run_on(loop_name, main())


def test_a_context_ends_without_a_loop(loop_name: str) -> None:
    """After its loop a context of `greenzmq.asyncio` ends in a plain call, which waits for unsent messages.

    Seen to fail with a `HubError`.
    """
    with greenzmq.asyncio.Context() as unused:
        pass
    context = greenzmq.asyncio.Context()
    where = run_on(loop_name, asyncio.wait_for(asyncio.sleep(0, send_to_nobody(context)), 10))
    with ThreadPoolExecutor(1) as executor:
        taking = executor.submit(take, where)
        context.term()
        assert taking.result() == b"x"
    assert context.closed
    assert unused.closed


def take(where: str) -> bytes:
    with greenzmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(where)
        message: bytes = pull.recv()
        return message


# -- async with --------------------------------------------------------------------------------------------------------


def test_async_with(loop_name: str) -> None:
    """``async with`` closes sockets, and ends contexts while the loop goes round, when their messages are sent."""

    async def use(where: list[str]) -> None:
        async with greenzmq.asyncio.Context() as context:
            async with context.socket(zmq.PAIR) as socket:
                assert isinstance(socket, greenzmq.asyncio.Socket)
            assert socket.closed
            where.append(send_to_nobody(context))
        assert context.closed

    async def main() -> None:
        where: list[str] = []
        using = asyncio.ensure_future(use(where))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not using.done()
        assert await take_from(*where) == b"x"
        await asyncio.wait_for(using, 10)

    run_on(loop_name, main())


def test_the_error_of_an_async_block(loop_name: str) -> None:
    """What ends the block comes out of it; a socket that is left open is closed with pyzmq's warning."""

    async def fail(context: Any, error: Exception) -> None:
        async with context, context.socket(zmq.PUSH) as closed:
            opened.append(context.socket(zmq.PULL))
            opened.append(closed)
            raise error

    opened: list[Any] = []

    async def main() -> None:
        context, error = greenzmq.asyncio.Context(), ValueError("the real problem")
        with pytest.warns(ResourceWarning, match="unclosed.*PULL"), pytest.raises(ValueError, match="real") as raised:
            await fail(context, error)
        assert raised.value is error
        assert context.closed
        assert all(socket.closed for socket in opened)

    run_on(loop_name, main())


def is_usable(context: Any) -> bool:
    try:
        context.socket(zmq.PULL).close()
    except zmq.ZMQError:
        return False
    return True


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_cancelled_async_with(loop_name: str, when: str) -> None:
    """A cancellation ends the wait for the context's end, which begins and goes on nevertheless."""

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        where = send_to_nobody(context)
        entered = asyncio.Event()
        leave = asyncio.Event()

        async def use() -> None:
            async with context:
                entered.set()
                await leave.wait()

        using = asyncio.ensure_future(use())
        await entered.wait()
        if when == "meanwhile":
            leave.set()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not using.done()
        using.cancel()
        done, _ = await asyncio.wait([using], timeout=0.05)
        if when == "before":  # the block's own end, and then the wait
            assert not done
            using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        while is_usable(context):
            await asyncio.sleep(0)
        assert await take_from(where) == b"x"
        await run(context.term)

    run_on(loop_name, main())


def test_only_where_it_makes_sense() -> None:
    """Other namespaces have no ``async with``."""
    for module in (greenzmq, greenzmq.selector):
        for cls in (module.Context, module.Socket):
            assert not hasattr(cls, "__aexit__")
