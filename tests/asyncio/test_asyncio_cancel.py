"""What a cancellation costs: never a message, whenever it comes, and never itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zmq
from support import torture
from support.asyncio import loop_name, run_on
from support.races import CANCELS, OPERATIONS, ORDERS, RECEIVED, Greenzmq, Spawned, race

import greenzmq.asyncio
from greenzmq.asyncio import run

__all__ = ["loop_name"]

#: Trials of each race.
TRIALS = torture.scale(1_000, 5)


@pytest.mark.torture
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cancel", CANCELS)
def test_no_message_is_lost(loop_name: str, cancel: str, operation: str, order: str) -> None:
    """With the message and the cancellation in one turn of the loop, what was sent is what was returned or can be read.

    Seen to fail with zmq.asyncio in place of `Greenzmq` (``tests/peers/asyncio_cancel.py``), and when a cancelled task
    does not wait for its greenlet.
    """

    run_on(loop_name, lose_nothing(Greenzmq(), cancel, operation, order))


@pytest.mark.torture
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cancel", CANCELS)
def test_no_message_of_a_spawned_task_is_lost(loop_name: str, cancel: str, order: str) -> None:
    """The same where the call is made in a spawned task that another task awaits."""
    run_on(loop_name, lose_nothing(Spawned(), cancel, "recv", order))


async def lose_nothing(library: Any, cancel: str, operation: str, order: str) -> None:
    counts = await race(library, cancel, operation, order, TRIALS)
    await library.end()
    assert counts["lost"] == 0, counts
    assert counts["trials"] == TRIALS
    if order == RECEIVED:
        assert counts["returned"] == TRIALS or cancel == "wait_for"  # which a busy machine may end too early


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Any, Any]]:
    """A PUSH and a PULL socket, connected."""
    context = greenzmq.asyncio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://pair")
    pull.connect("inproc://pair")
    try:
        yield push, pull
    finally:
        await run(context.destroy, 0)


async def received_then_cancelled(push: Any, pull: Any) -> Any:
    """The message, in a task that was cancelled when the greenlet had just received it."""

    def receive() -> Any:
        message = pull.recv()
        task.cancel("too late")
        return message

    task: Any = asyncio.current_task()
    asyncio.get_running_loop().call_soon(push.send, b"x", zmq.NOBLOCK)
    return await run(receive)


def ends_cancelled(loop_name: str, main: Any) -> None:
    """Run ``main(push, pull, log)`` as a task, which has to end cancelled, with "reached" alone in its log."""

    async def outer() -> None:
        log: list[str] = []
        async with pair() as sockets:
            task = asyncio.ensure_future(main(*sockets, log))
            await asyncio.wait([task], timeout=10)
            assert task.cancelled()
            assert log == ["reached"]

    run_on(loop_name, outer())


def test_a_late_cancellation_comes_out_of_the_next_run(loop_name: str) -> None:
    """The message is returned, and the next `run` raises `CancelledError` before it calls anything."""

    async def main(push: Any, pull: Any, log: list[str]) -> None:
        assert await received_then_cancelled(push, pull) == b"x"
        log.append("reached")
        await run(log.append, "called")

    ends_cancelled(loop_name, main)


def test_a_late_cancellation_comes_out_of_the_next_wait(loop_name: str) -> None:
    """A task whose next wait is not ours is cancelled there. Seen to hang without `_cancel_again`."""

    async def main(push: Any, pull: Any, log: list[str]) -> None:
        assert await received_then_cancelled(push, pull) == b"x"
        log.append("reached")
        await asyncio.get_running_loop().create_future()

    ends_cancelled(loop_name, main)


def test_a_late_cancellation_comes_out_of_the_next_task(loop_name: str) -> None:
    """Awaiting a spawned task is a wait like any other."""

    async def main(push: Any, pull: Any, log: list[str]) -> None:
        other = greenzmq.asyncio.spawn(str)
        assert await received_then_cancelled(push, pull) == b"x"
        log.append("reached")
        await other

    ends_cancelled(loop_name, main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no uncancel")
def test_a_cancellation_that_was_taken_back_is_gone(loop_name: str) -> None:
    """After `Task.uncancel` the task goes on; also where an earlier one was never taken back."""

    async def main(stale: int) -> None:
        task: Any = asyncio.current_task()
        for _ in range(stale):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(0)
        async with pair() as (push, pull):
            assert await received_then_cancelled(push, pull) == b"x"
            assert task.uncancel() == stale
            assert await run(str, "on") == "on"
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    for stale in (0, 1):
        run_on(loop_name, main(stale))


def test_a_greenlet_may_catch_it_and_go_on(loop_name: str) -> None:
    """Code that catches `CancelledError` has dealt with it, as a coroutine that does; a second one reaches it again."""

    async def main() -> None:
        async with pair() as (push, pull):
            caught: list[str] = []

            def stubborn() -> Any:
                for _ in range(2):
                    try:
                        return pull.recv()
                    except asyncio.CancelledError as error:
                        caught.append(str(error))
                return pull.recv()

            async def goes_on() -> Any:
                message = await run(stubborn)
                await asyncio.sleep(0)
                return message

            task = asyncio.ensure_future(goes_on())
            for word in ("one", "two"):
                await asyncio.sleep(0)
                task.cancel(word)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await run(push.send, b"x")
            assert await task == b"x"
            assert caught == ["one", "two"]

    run_on(loop_name, main())


def test_cleaning_up_may_wait(loop_name: str) -> None:
    """A ``finally`` in the greenlet may make calls that wait, and one in the coroutine may call `run`."""

    async def main() -> None:
        async with pair() as (push, pull):
            log: list[Any] = []

            def work() -> None:
                try:
                    pull.recv()
                finally:
                    log.append(pull.recv())

            async def cancelled() -> None:
                try:
                    await run(work)
                finally:
                    await run(push.send, b"second")
                    log.append(await run(pull.recv))

            task = asyncio.ensure_future(cancelled())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
            await run(push.send, b"first")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert log == [b"first", b"second"]

    run_on(loop_name, main())


def test_another_exception_takes_its_place(loop_name: str) -> None:
    """What the greenlet raises instead of the `CancelledError` comes out, with that as its context."""

    async def main() -> None:
        async with pair() as (_, pull):

            def work() -> None:
                try:
                    pull.recv()
                finally:
                    raise LookupError("instead")

            task = asyncio.ensure_future(run(work))
            await asyncio.sleep(0)
            task.cancel("why")
            with pytest.raises(LookupError, match="instead") as raised:
                await task
            assert isinstance(raised.value.__context__, asyncio.CancelledError)

    run_on(loop_name, main())


def test_an_exception_before_a_late_cancellation_comes_out_first(loop_name: str) -> None:
    """A greenlet that failed before it could be cancelled gives its exception; the cancellation comes afterwards."""

    async def main(push: Any, pull: Any, log: list[str]) -> None:
        def fail() -> None:
            pull.recv()
            task.cancel()
            raise LookupError

        task: Any = asyncio.current_task()
        asyncio.get_running_loop().call_soon(push.send, b"x", zmq.NOBLOCK)
        with pytest.raises(LookupError):
            await run(fail)
        log.append("reached")
        await asyncio.get_running_loop().create_future()

    ends_cancelled(loop_name, main)


def test_cancelled_before_it_began(loop_name: str) -> None:
    """A spawned task that is cancelled in the same turn never begins."""

    async def main() -> None:
        called: list[int] = []
        spawned = greenzmq.asyncio.spawn(called.append, 1)
        spawned.kill(asyncio.CancelledError("never"), block=False)
        with pytest.raises(asyncio.CancelledError, match="never"):
            await spawned
        del spawned
        assert not called

    run_on(loop_name, main())
