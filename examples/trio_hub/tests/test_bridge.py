"""`run` and `await_`: results, errors, cancellations and the end of the block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import greenzmq_trio
import pytest
import trio
import trio.testing
from greenlet import GreenletExit

import greenzmq


def in_program(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a coroutine function returns in a trio program with a hub."""

    async def main() -> Any:
        async with greenzmq_trio.open_hub():
            return await function(*args)

    return trio.run(main, **options)


class Pair:
    """A connected PUSH and PULL."""

    def __init__(self) -> None:
        self.context = greenzmq.Context(hub="trio")
        self.push, self.pull = self.context.socket(greenzmq.PUSH), self.context.socket(greenzmq.PULL)
        self.pull.bind("inproc://bridge")
        self.push.connect("inproc://bridge")

    def close(self) -> None:
        self.context.destroy(0)


def test_results_and_errors() -> None:
    """Each way gives what the function gives, also one in the other."""

    async def double(number: int) -> int:
        await trio.sleep(0.001)
        return 2 * number

    async def fail() -> None:
        raise KeyError("deliberate")

    async def both() -> None:
        assert await greenzmq_trio.run(divmod, 7, 2) == (3, 1)
        assert await greenzmq_trio.run(lambda: greenzmq_trio.await_(double, 21)) == 42
        with pytest.raises(KeyError, match="deliberate"):
            await greenzmq_trio.run(greenzmq_trio.await_, fail)

    in_program(both)


def test_await_without_a_trio_program() -> None:
    """`await_` starts the loop where none runs, and its greenlet can be the main one."""

    async def double(number: int) -> int:
        await trio.sleep(0.001)
        return 2 * number

    assert greenzmq_trio.await_(double, 21) == 42
    with greenzmq.hub("trio").timeout(0.01, False):
        greenzmq_trio.await_(trio.sleep_forever)
    greenzmq_trio.TrioHub.get().close()


def test_a_cancellation_loses_no_message() -> None:
    """A cancelled `run` of a `recv`: the message that comes then is the next one's."""

    async def use() -> None:
        with closing(Pair()) as pair:
            for number in range(20):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(greenzmq_trio.run, pair.pull.recv)
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
                assert scope.cancelled_caught
                pair.push.send(b"%d" % number)
                assert await greenzmq_trio.run(pair.pull.recv) == b"%d" % number

    in_program(use)


def test_a_cancellation_that_meets_its_message() -> None:
    """The two in one round: either the message is the result, or it is still there."""

    async def use() -> None:
        got: list[bytes] = []

        async def receive(pair: Pair) -> None:
            got.append(await greenzmq_trio.run(pair.pull.recv))

        with closing(Pair()) as pair:
            for number in range(50):
                got.clear()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(receive, pair)
                        await trio.testing.wait_all_tasks_blocked()
                        pair.push.send(b"%d" % number)
                        for _ in range(number % 4):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                if not got:
                    await receive(pair)
                assert got == [b"%d" % number]

    in_program(use)


def test_cancelled_before_it_begins() -> None:
    """A function whose task is cancelled before its greenlet has begun does not run."""
    ran: list[bool] = []

    async def use() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(greenzmq_trio.run, ran.append, True)
                nursery.start_soon(greenzmq_trio.run, scope.cancel)
                scope.cancel()

    in_program(use)
    assert ran == []


def test_the_end_of_the_block() -> None:
    """Greenlets that still wait get `GreenletExit`, once, and the block waits for them. It raises its own error."""
    left: list[str] = []

    def wait() -> None:
        try:
            greenzmq.hub().sleep(60)
        except GreenletExit:
            greenzmq.hub().sleep(0.001)
            left.append("cleaned up")

    async def main() -> None:
        async with greenzmq_trio.open_hub():
            greenzmq.hub("trio").spawn(wait)
            await greenzmq_trio.run(greenzmq.hub("trio").sleep, 0.001)
            raise KeyError("the block's own")

    with pytest.raises(KeyError, match="the block's own"):
        trio.run(main)
    assert left == ["cleaned up"]


def test_exit_in_a_greenlet() -> None:
    """`SystemExit` of a task ends the block, and comes out of `trio.run`."""

    def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        async with greenzmq_trio.open_hub() as hub:
            hub.call_soon(leave)
            await trio.sleep_forever()

    with pytest.raises(SystemExit) as raised:
        trio.run(main)
    assert raised.value.code == 3


def test_on_a_mock_clock() -> None:
    """The hub's timers are by trio's clock: half an hour passes at once (greenzmq's own part of it by the real one)."""

    async def sleep() -> float:
        await greenzmq_trio.run(greenzmq.hub("trio").sleep, 1800)
        return trio.current_time()

    assert in_program(sleep, clock=trio.testing.MockClock(autojump_threshold=0.01)) > 1799
