"""The ends of awaitable sockets, close and the end of the context; and the turns of tasks that need not wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest
import zmq
from support.aio import a_pair, finished, on_loops, rounds, until_receiving, until_sending
from support.asyncio import loop_name
from support.inside import end_turn
from support.sockets import address

import greenzmq
import greenzmq.aio
import greenzmq.asyncio

__all__ = ["loop_name"]


# -- close -------------------------------------------------------------------------------------------------------------


@on_loops
async def test_close_wakes_all() -> None:
    """Those who wait get ENOTSOCK, whatever for, in tasks and by callbacks; what nobody waits for is cancelled."""
    async with a_pair(zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1) as (left, _):
        while left.send(b"fill").done():
            pass
        calls = [left.recv, left.recv_multipart, left.recv_json, left.poll, lambda: left.send(b"x")]
        tasks = [asyncio.ensure_future(finished(call())) for call in calls]
        poller = greenzmq.aio.Poller()
        poller.register(left, zmq.POLLIN)
        tasks.append(asyncio.ensure_future(finished(poller.poll())))
        by_callback = left.recv()
        by_callback.add_done_callback(lambda _: None)
        held = [left.recv(), left.poll()]
        await rounds()
        left.close()
        for outcome in await asyncio.gather(*tasks, by_callback, return_exceptions=True):
            assert isinstance(outcome, zmq.ZMQError)
            assert outcome.errno == zmq.ENOTSOCK
        assert all(future.cancelled() for future in held)
        for future in (left.recv(), left.send(b"x"), left.recv_string()):
            with pytest.raises(zmq.ZMQError):
                await future


@on_loops
async def test_a_cancellation_while_closing() -> None:
    """Whichever comes first, and in one round of the loop: the task ends once, and nothing is left."""
    for order in ("close, cancel", "cancel, close", "message, close, cancel", "message, cancel, close"):
        async with a_pair() as (push, pull):
            task = asyncio.ensure_future(finished(pull.recv()))
            await until_receiving(pull)
            for act in order.split(", "):
                {"close": pull.close, "cancel": task.cancel, "message": lambda push=push: push.send(b"x")}[act]()
            await asyncio.wait([task], timeout=5)
            assert task.cancelled(), order


@on_loops
async def test_cancelled_twice_and_more() -> None:
    """Each cancellation is one: caught, the task waits again, and the message that came meanwhile is there."""
    async with a_pair() as (push, pull):
        caught: list[str] = []

        async def stubborn() -> bytes:
            while True:
                try:
                    return await pull.recv()  # type: ignore[no-any-return]
                except asyncio.CancelledError as error:
                    caught.append(str(error))

        task = asyncio.ensure_future(stubborn())
        await until_receiving(pull)
        task.cancel("one")
        task.cancel("again")  # before the first was delivered: asyncio counts, and delivers one
        await until_receiving(pull)
        push.send(b"x")
        task.cancel("two")
        assert await task == b"x"
        assert len(caught) == 2


# -- the end of the context --------------------------------------------------------------------------------------------


@on_loops
async def test_term() -> None:
    """`term` begins when it is called. Those who wait get ETERM; ``await`` waits for the sockets' close."""
    context = greenzmq.aio.Context()
    pull = context.socket(zmq.PULL)
    pull.bind(address("inproc"))
    task = asyncio.ensure_future(finished(pull.recv()))
    await until_receiving(pull)
    ending = context.term()
    with pytest.raises(zmq.ContextTerminated):
        await task
    assert not ending.done()
    pull.close()
    await asyncio.wait_for(ending, 10)
    assert context.closed
    await context.term()
    await context.destroy()


@on_loops
async def test_term_that_is_not_awaited() -> None:
    """The end begins with the call, and comes without another; on an idle machine it has come by the return."""
    for end in ("term", "destroy"):
        context = greenzmq.aio.Context()
        pull = context.socket(zmq.PULL)
        if end == "term":
            pull.close()
        getattr(context, end)()
        assert pull.closed
        while not context.closed:
            await asyncio.sleep(0.001)


@on_loops
async def test_the_loop_goes_round_while_a_context_lingers() -> None:
    """``await term()`` waits for unsent messages in another thread. A cancellation ends the wait, not the end."""
    context = greenzmq.aio.Context()
    push = context.socket(zmq.PUSH)
    where = address("ipc")
    push.connect(where)
    await push.send(b"nobody gets it yet")
    push.close()
    ending = asyncio.ensure_future(finished(context.term()))
    await asyncio.sleep(0.01)
    assert not ending.done()
    ending.cancel()
    await asyncio.wait([ending])
    assert not context.closed
    with zmq.Context() as another, another.socket(zmq.PULL) as pull:
        pull.bind(where)
        await context.term()
    assert context.closed


@on_loops
async def test_async_with() -> None:
    """``async with`` closes the socket and ends the context; an open socket is told of, as by ``with``."""
    async with greenzmq.aio.Context() as context, context.socket(zmq.PULL) as pull:
        assert not pull.closed
    assert pull.closed
    assert context.closed
    with pytest.warns(ResourceWarning, match="unclosed socket"):
        async with greenzmq.aio.Context() as context:
            pull = context.socket(zmq.PULL)
    assert pull.closed
    with pytest.raises(LookupError):
        async with greenzmq.aio.Context():
            raise LookupError


def test_ends_without_a_loop() -> None:
    """`term` and ``with`` where no loop runs wait as those of a plain context."""
    context = greenzmq.aio.Context()
    context.socket(zmq.PULL).close()
    context.term()
    assert context.closed
    with greenzmq.aio.Context() as other:
        other.socket(zmq.PULL).close()
    assert other.closed


# -- turns -------------------------------------------------------------------------------------------------------------


@on_loops
async def test_a_hot_socket_lets_the_loop_go_round() -> None:
    """Every 2 ms a task whose calls need not wait lets others run, before its next call; a cancellation finds nothing
    half done."""
    async with a_pair(sndhwm=0, rcvhwm=0) as (push, pull):
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.ensure_future(tick())
        sent = got = 0
        ends = time.monotonic() + 0.1
        while time.monotonic() < ends:
            await push.send(b"%d" % sent)
            sent += 1
            assert await pull.recv() == b"%d" % got
            got += 1
        assert ticks >= 10
        ticker.cancel()


@pytest.mark.parametrize("call", ["recv", "recv_multipart", "poll", "send", "poller"])
@on_loops
async def test_the_yield_comes_before_the_call(call: str) -> None:
    """When the turn is over the call is made after the loop has gone round; cancelled there, it was not made."""
    async with a_pair() as (push, pull):
        push.send(b"x")
        poller = greenzmq.aio.Poller()
        poller.register(pull, zmq.POLLIN)
        make = {"poller": poller.poll, "send": lambda: push.send(b"y")}.get(call) or getattr(pull, call)
        for socket in (push, pull, poller):
            end_turn(socket)
        ran: list[int] = []
        asyncio.get_running_loop().call_soon(ran.append, 1)

        async def call_and_await() -> Any:
            return await make()

        task = asyncio.ensure_future(call_and_await())
        await asyncio.sleep(0)
        assert ran
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await rounds()
        assert await pull.recv() == b"x"
        assert await pull.poll(0) == 0


@on_loops
async def test_a_call_that_fails_when_the_turn_is_over() -> None:
    """A call that is an error is one after the yield, too. Seen to hang when it waited for ``EVENTS`` to promise it."""
    async with a_pair() as (push, _):
        for call in (push.recv, push.recv_multipart, push.recv_json):
            end_turn(push)
            for _ in range(2):
                with pytest.raises(zmq.ZMQError, match="not supported"):
                    await asyncio.wait_for(call(), 5)
            end_turn(push)
            assert call().done()


@on_loops
async def test_a_poll_that_cannot_wait_when_the_turn_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's error comes out, as it does before the turn is over. Seen to be an `AttributeError` in its place."""

    def refuse(*args: object) -> None:
        raise OSError("no more descriptors")

    loop = asyncio.get_running_loop()
    async with a_pair() as (_, pull):
        with greenzmq.aio.Poller() as poller:
            poller.register(pull, zmq.POLLIN)
            monkeypatch.setattr(loop, "add_reader", refuse)
            for over in (False, True):
                if over:
                    end_turn(poller)
                with pytest.raises(OSError, match="no more descriptors"):
                    await poller.poll()
        monkeypatch.undo()


@on_loops
async def test_a_loop_that_never_awaits_does_not_pile_up() -> None:
    """Sends that are not awaited go out at once, and in order, however long they go on."""
    async with a_pair(sndhwm=0, rcvhwm=0) as (push, pull):
        for number in range(2000):
            if number % 100 == 0:
                end_turn(push)
            push.send(b"%d" % number)
        await until_sending(push, 0)
        assert [int(await pull.recv()) for _ in range(2000)] == list(range(2000))


def test_a_forked_child(loop_name: str) -> None:
    """An inherited socket answers with an error at once, and the parent receives as before."""
    program = f"""
import asyncio, os, sys, {loop_name}, zmq, greenzmq.aio
async def main():
    context = greenzmq.aio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://x")
    pull.connect("inproc://x")
    task = asyncio.ensure_future(asyncio.wait_for(pull.recv(), 20))
    await asyncio.sleep(0.01)
    child = os.fork()
    if not child:
        code = 1
        try:
            await pull.recv()
        except zmq.ZMQError as error:
            code = 7 if error.errno == zmq.ENOTSOCK else 2
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    push.send(b"parent")
    print((await task).decode())
    await context.destroy(0)
loop = {loop_name}.new_event_loop()
loop.run_until_complete(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["7", "parent"], done.stderr
