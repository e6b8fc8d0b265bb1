"""Tasks that await a call of `greenzmq.aio` are among those of whom `waiters` and `dump` tell."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import zmq
from support.aio import a_pair, finished, on_loops, rounds, until_receiving
from support.asyncio import loop_name

import greenzmq
import greenzmq.aio
import greenzmq.asyncio

__all__ = ["loop_name"]


async def worker(pull: Any) -> Any:
    return await pull.recv_multipart()


@on_loops
async def test_who_waits() -> None:
    """The call, the socket, the direction, the deadline and the place in the code, of tasks as of greenlets. Seen to
    raise AttributeError when it looked for a greenlet's frames."""
    async with a_pair(transport="tcp") as (_, pull):
        poller = greenzmq.aio.Poller()
        poller.register(pull, zmq.POLLIN)
        tasks = [
            asyncio.ensure_future(each)
            for each in (worker(pull), finished(pull.poll(5000)), finished(poller.poll(9000)))
        ]
        greenlet = greenzmq.asyncio.spawn(greenzmq.asyncio.Socket(pull).recv)
        await until_receiving(pull, 2)
        found = {(each.call, each.direction): each for each in greenzmq.waiters() if each.greenlet in tasks}
        receiving = found["recv", "in"]
        assert (receiving.socket, receiving.type, receiving.greenlet) == (pull, "PULL", tasks[0])
        assert receiving.place.endswith("in worker")
        assert receiving.deadline is None
        current = asyncio.current_task()  # it has made the other calls
        made_here = [each for each in greenzmq.waiters() if each.greenlet is current]
        assert [each.call for each in made_here] == ["poll", "poll"]
        assert all(each.deadline is not None for each in made_here)
        text = io.StringIO()
        greenzmq.dump(text)
        assert text.getvalue().startswith("4 greenlets wait")
        assert "in worker" in text.getvalue()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        greenlet.kill(block=False)
        await rounds()
        assert greenzmq.waiters() == []


@on_loops
async def test_behind_the_message_of_a_task() -> None:
    """Who waits for the end of a message that a task sends by hand is told where that task is."""
    async with a_pair(zmq.PAIR, zmq.PAIR) as (left, right):
        go_on = asyncio.Event()

        async def by_hand() -> None:
            await left.send(b"1", zmq.SNDMORE)
            await go_on.wait()
            await left.send(b"2")

        first = asyncio.ensure_future(by_hand())
        await rounds()
        second = greenzmq.asyncio.spawn(greenzmq.asyncio.Socket(left).send, b"3")
        await rounds()
        (waits,) = (each for each in greenzmq.waiters() if each.socket is not None)
        assert waits.behind is first
        assert "by_hand" in [frame.name for frame in waits.behind_stack]
        go_on.set()
        await first
        await second
        assert await right.recv_multipart() == [b"1", b"2"]
