"""What the futures of `greenzmq.aio` promise: calls begin when they are made, and nobody receives for another."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from support.aio import a_pair, finished, on_loops, rounds, until_receiving, until_sending
from support.asyncio import loop_name
from support.inside import receivers_of, senders_of, unawaited_of

__all__ = ["loop_name"]


@on_loops
async def test_an_unawaited_send_is_sent() -> None:
    """Also where it has to wait for room, and the future is dropped."""
    async with a_pair(sndhwm=1, rcvhwm=1) as (push, pull):
        for number in range(10):
            push.send(b"%d" % number)
        gc.collect()
        assert [await pull.recv() for _ in range(10)] == [b"%d" % number for number in range(10)]


@on_loops
async def test_each_send_has_a_future_of_its_own() -> None:
    """The future of a send is used again only once nobody has it. Seen to fail where references were not counted."""
    async with a_pair() as (push, pull):
        dropped = id(push.send(b"0"))
        kept = [push.send(b"%d" % number) for number in range(1, 4)]
        assert len({id(future) for future in kept}) == 3
        assert {future.result() for future in kept} == {None}
        assert await asyncio.gather(push.send(b"4"), push.send(b"5")) == [None, None]
        assert len((await asyncio.wait([push.send(b"6"), push.send(b"7")]))[0]) == 2
        assert id(kept[0]) == dropped
        assert [await pull.recv() for _ in range(8)] == [b"%d" % number for number in range(8)]


@on_loops
async def test_what_is_sent_is_what_it_was_when_the_call_was_made() -> None:
    """A buffer or list that is changed after the call, which waits for room, was sent as it was before."""
    async with a_pair(sndhwm=1, rcvhwm=1) as (push, pull):
        for _ in range(2):
            push.send(b"fill")
        data, parts = bytearray(b"first"), [bytearray(b"second"), b"third"]
        push.send(data)
        push.send_multipart(parts)
        data[:], parts[0][:] = b"wrong", b"wrong!"
        parts.clear()
        assert [await pull.recv_multipart() for _ in range(4)][2:] == [[b"first"], [b"second", b"third"]]


@on_loops
async def test_futures_get_messages_in_the_order_of_the_calls() -> None:
    """Whichever is awaited first; also where the first one is awaited last, or never."""
    async with a_pair() as (push, pull):
        futures = [pull.recv() for _ in range(4)]
        for number in range(4):
            push.send(b"%d" % number)
        assert [await future for future in reversed(futures)] == [b"3", b"2", b"1", b"0"]
        first = pull.recv()
        push.send(b"4")
        push.send(b"5")
        assert await pull.recv() == b"5"
        assert first.result() == b"4"


@on_loops
async def test_done_looks() -> None:
    """A future that nobody waits for takes its message when it is asked for `done`, in the order of the calls."""
    async with a_pair() as (push, pull):
        first, second = pull.recv(), pull.recv()
        assert not first.done()
        push.send(b"1")
        assert not second.done()
        assert first.result() == b"1"
        with pytest.raises(asyncio.InvalidStateError):
            second.result()
        push.send(b"2")
        assert second.exception() is None
        assert second.result() == b"2"


@on_loops
async def test_a_dropped_future_takes_nothing() -> None:
    """Dropped before the message comes, also while another one waits behind it."""
    async with a_pair() as (push, pull):
        pull.recv()
        dropped = pull.recv()
        waiting = asyncio.ensure_future(finished(pull.recv()))
        await until_receiving(pull, 2)
        del dropped
        gc.collect()
        push.send(b"1")
        assert await waiting == b"1"
        for _ in range(100):
            pull.recv()
        push.send(b"2")
        await rounds()
        assert await pull.recv() == b"2"


@on_loops
async def test_a_future_that_others_waited_behind_is_idle_again() -> None:
    """When the one behind it is cancelled, a held future takes nothing by itself; what it gets is not lost with it."""
    async with a_pair() as (push, pull):
        held = pull.recv()
        waiting = asyncio.ensure_future(finished(pull.recv()))
        await until_receiving(pull, 2)
        waiting.cancel()
        await rounds()
        push.send(b"1")
        await rounds()
        del held
        gc.collect()
        assert await asyncio.wait_for(pull.recv(), 5) == b"1"


@on_loops
async def test_callbacks() -> None:
    """A future with a callback takes its message when it comes; one whose callbacks are removed takes none."""
    async with a_pair() as (push, pull):
        called: list[Any] = []
        pull.recv().add_done_callback(called.append)
        gc.collect()
        push.send(b"1")
        while not called:
            await asyncio.sleep(0)
        assert called.pop().result() == b"1"
        future = pull.recv()
        future.add_done_callback(called.append)
        assert receivers_of(pull)
        assert future.remove_done_callback(called.append) == 1
        assert not receivers_of(pull)
        push.send(b"2")
        await rounds()
        assert not called
        assert future.result() == b"2"


@on_loops
async def test_gather_wait_and_shield() -> None:
    """What asyncio makes of futures works: gather, wait, as_completed, shield, wait_for, and a timeout that passes."""
    async with a_pair() as (push, pull):
        for send in (False, True):
            if send:
                asyncio.get_running_loop().call_later(0.005, lambda: [push.send(b"%d" % n) for n in range(5)])
            else:
                for number in range(5):
                    await push.send(b"%d" % number)
            assert await asyncio.gather(pull.recv(), pull.recv_string()) == [b"0", "1"]
            done, pending = await asyncio.wait([pull.recv()])
            assert [future.result() for future in done] == [b"2"]
            assert not pending
            assert await asyncio.shield(pull.recv()) == b"3"
            for future in asyncio.as_completed([pull.recv()]):
                assert await future == b"4"
        done, pending = await asyncio.wait([pull.recv()], timeout=0.001)
        assert not done
        for future in pending:
            future.cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pull.recv(), 0.001)
        push.send(b"last")
        assert await asyncio.wait_for(pull.recv(), 5) == b"last"


@on_loops
async def test_awaited_by_two_tasks() -> None:
    """Both get the result; if one of them is cancelled the future is, as any future."""
    async with a_pair() as (push, pull):
        future = pull.recv()
        tasks = [asyncio.ensure_future(finished(future)) for _ in range(3)]
        await until_receiving(pull)
        await rounds()
        push.send(b"x")
        assert await asyncio.gather(*tasks) == [b"x"] * 3
        for cancelled in range(2):
            future = pull.recv()
            tasks = [asyncio.ensure_future(finished(future)) for _ in range(2)]
            await rounds()
            tasks[cancelled].cancel()
            await asyncio.wait(tasks)
            assert future.cancelled()
            assert all(task.cancelled() for task in tasks)
        push.send(b"y")
        assert await pull.recv() == b"y"


@on_loops
async def test_cancel_of_a_future() -> None:
    """`cancel` wakes the task that awaits it, and the message is the next one's. What is done is not cancelled."""
    async with a_pair() as (push, pull):
        future = pull.recv()
        task = asyncio.ensure_future(finished(future))
        await until_receiving(pull)
        push.send(b"x")
        assert future.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not future.cancel()
        future = pull.recv()
        assert await future == b"x"
        assert not future.cancel()
        idle = pull.recv()
        assert idle.cancel()
        with pytest.raises(asyncio.CancelledError):
            await idle


@on_loops
async def test_a_ready_await_takes_no_round_of_the_loop() -> None:
    """Nothing else runs between two awaits of calls that need not wait."""
    async with a_pair() as (push, pull):
        ran: list[int] = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        for _ in range(50):
            await push.send(b"x")
            assert await pull.recv() == b"x"
        assert not ran


@on_loops
async def test_calls_that_have_ended_leave_the_fast_path_open() -> None:
    """A poll that had to wait, and futures that were dropped or asked, slow no later call down.

    Seen to fail: after such a poll every `recv` that need not wait took the slow path.
    """
    async with a_pair() as (push, pull):
        asked = pull.recv()
        pull.recv()
        asyncio.get_running_loop().call_soon(push.send, b"x")
        assert await pull.poll(5000)
        assert asked.result() == b"x"
        push.send(b"y")
        assert await pull.recv() == b"y"
        assert unawaited_of(pull) == []


@on_loops
async def test_unawaited_sends_beside_awaited_ones_keep_their_order() -> None:
    """Whoever awaits, what was sent first comes first, at the high-water mark as well."""
    async with a_pair(sndhwm=2, rcvhwm=2) as (push, pull):

        async def send() -> None:
            for number in range(60):
                future = push.send(b"%d" % number)
                if number % 3 == 0:
                    await future

        task = asyncio.ensure_future(send())
        assert [await pull.recv() for _ in range(60)] == [b"%d" % number for number in range(60)]
        await task
        assert not senders_of(push)
        await until_sending(push, 0)
