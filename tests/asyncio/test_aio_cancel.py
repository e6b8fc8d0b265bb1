"""Cancellations of tasks that await `greenzmq.aio`: none costs a message, and none is swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import zmq
from support import torture
from support.aio import a_pair, finished, on_loops, rounds, until_receiving
from support.asyncio import loop_name, run_on
from support.races import CANCELS, OPERATIONS, ORDERS, RECEIVED, AwaitableSockets, race

__all__ = ["loop_name"]

#: Trials of each race.
TRIALS = torture.scale(1_000, 5)


@pytest.mark.torture
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cancel", CANCELS)
def test_no_message_is_lost_and_no_cancellation(loop_name: str, cancel: str, operation: str, order: str) -> None:
    """With the message and the cancellation in one turn of the loop, what was sent is what was returned or can be read.

    The task waits for ever after its message, so a cancellation that came too late comes out of that wait. Seen to fail
    with zmq.asyncio in place of `AwaitableSockets` (``tests/peers/asyncio_cancel.py``).
    """
    run_on(loop_name, lose_nothing(AwaitableSockets(), cancel, operation, order))


async def lose_nothing(library: Any, cancel: str, operation: str, order: str) -> None:
    counts = await race(library, cancel, operation, order, TRIALS, stays=True)
    await library.end()
    assert (counts["lost"], counts["swallowed"]) == (0, 0), counts
    assert counts["trials"] == TRIALS
    if order == RECEIVED:
        assert counts["returned"] == TRIALS or cancel == "wait_for"  # which a busy machine may end too early


# -- anyio -------------------------------------------------------------------------------------------------------------


def later(after: int, act: Callable[[], object]) -> None:
    """Call ``act()`` after so many rounds of the loop."""
    if after:
        asyncio.get_running_loop().call_soon(later, after - 1, act)
    else:
        act()


async def move_on_after(pull: Any, got: list[bytes], meet: Callable[[], object], after: int) -> None:
    """A limit that is over soon after the message has come."""
    with anyio.move_on_after(30) as scope:
        later(1, lambda: (meet(), later(after, lambda: setattr(scope, "deadline", -1))))
        got.append(await pull.recv())
        await asyncio.sleep(30)
    assert scope.cancelled_caught


async def cancel_scope(pull: Any, got: list[bytes], meet: Callable[[], object], after: int) -> None:
    """A scope that is cancelled then."""
    with anyio.CancelScope() as scope:
        later(1, lambda: (meet(), later(after, scope.cancel)))
        got.append(await pull.recv())
        await asyncio.sleep(30)
    assert scope.cancelled_caught


async def task_group(pull: Any, got: list[bytes], meet: Callable[[], object], after: int) -> None:
    """A task group that another task's failure ends then."""

    async def receive() -> None:
        got.append(await pull.recv())
        await asyncio.sleep(30)

    async def fail() -> None:
        await rounds(2)
        meet()
        await rounds(after)
        raise LookupError

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            group.start_soon(fail)

    with pytest.raises(BaseException, match="TaskGroup"):  # an ExceptionGroup, which Python 3.10 has not
        await both()


@pytest.mark.torture
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("scope", [move_on_after, cancel_scope, task_group])
@on_loops
async def test_anyio(scope: Callable[..., Awaitable[None]], after: int) -> None:
    """Scopes and groups of anyio lose no message and swallow no cancellation.

    anyio cancels a task again and again until it has left the scope. zmq.asyncio loses none here either: anyio does not
    cancel a task whose future is done. What our tasks await is no future, so they are cancelled, which is safe.
    """
    async with a_pair() as (push, pull):
        got: list[bytes] = []
        for number in range(TRIALS):
            await asyncio.wait_for(scope(pull, got, lambda number=number: push.send(b"%d" % number), after), 10)
            while await pull.poll(0):
                got.append(await pull.recv())
            assert got == [b"%d" % each for each in range(number + 1)]


# -- futures with callbacks --------------------------------------------------------------------------------------------


@pytest.mark.torture
@pytest.mark.parametrize("receive", ["recv", "recv_multipart", "recv_json"])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
@on_loops
async def test_wait_for_a_future(receive: str, after: int) -> None:
    """`asyncio.wait_for` of the call itself, cancelled so many rounds after the message: neither of both is lost.

    Before Python 3.12 `wait_for` puts a callback on the future; and where both come in one round it returns the result,
    and swallows the cancellation. Seen to fail there before `PendingFuture.result` put that off.
    """
    async with a_pair() as (push, pull):
        for number in range(TRIALS):
            got: list[Any] = []

            async def main(got: list[Any] = got) -> None:
                got.append(await asyncio.wait_for(getattr(pull, receive)(), 30))
                await asyncio.sleep(30)

            task = asyncio.ensure_future(main())
            await until_receiving(pull)
            push.send(b"%d" % number)
            await rounds(after)
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.cancelled()
            while await pull.poll(0):
                got.append(await getattr(pull, receive)())
            assert got == [{"recv": b"%d" % number, "recv_multipart": [b"%d" % number], "recv_json": number}[receive]]


@on_loops
async def test_a_cancellation_before_the_first_step() -> None:
    """A task that is cancelled before it has begun to wait: the call that it would have made was not made."""
    async with a_pair() as (push, pull):
        task = asyncio.ensure_future(finished(pull.recv()))
        push.send(b"x")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pull.recv(zmq.NOBLOCK) == b"x"
