"""Awaitable sockets of the types that are special: REQ and REP, a ROUTER that refuses, a user's own class."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zmq
from support.aio import a_pair, finished, on_loops, rounds, until_receiving
from support.asyncio import loop_name
from support.sockets import address

import greenzmq
import greenzmq.aio
from greenzmq.waiting.futures import TaskWaiter

__all__ = ["loop_name"]


@on_loops
async def test_req_and_rep() -> None:
    """A call out of turn is EFSM at once; a REP that has answered lets the next task receive."""
    async with a_pair(zmq.REP, zmq.REQ) as (rep, req):
        for call in (req.recv, req.recv):
            with pytest.raises(zmq.ZMQError) as raised:
                await call()
            assert raised.value.errno == zmq.EFSM
        await req.send(b"question")
        with pytest.raises(zmq.ZMQError) as raised:
            await req.send(b"another")
        assert raised.value.errno == zmq.EFSM
        for _ in range(3):
            assert await rep.recv() == b"question"
            waiting = asyncio.ensure_future(finished(rep.recv()))
            await rounds()
            assert waiting.done()  # it is EFSM before the answer
            assert waiting.exception().errno == zmq.EFSM  # type: ignore[union-attr]
            await rep.send(b"answer")
            assert await req.recv() == b"answer"
            waiting = asyncio.ensure_future(finished(rep.recv()))
            await until_receiving(rep)
            await req.send(b"question")
            assert await waiting == b"question"
            await rep.send(b"answer")
            assert await req.recv() == b"answer"
            await req.send(b"question")


@on_loops
async def test_a_router_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send to a full peer of a ROUTER_MANDATORY waits, though ``EVENTS`` says that it is writable: it does not spin,
    and goes on when there is room."""
    context = greenzmq.aio.Context()
    router, peer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    router.router_mandatory, router.sndhwm = 1, 1
    router.bind(address("inproc"))
    peer.routing_id, peer.rcvhwm = b"peer", 1
    peer.connect(router.last_endpoint.decode())
    await router.poll(0)
    while True:
        task = asyncio.ensure_future(finished(router.send_multipart([b"peer", b"x"])))
        await rounds()
        if not task.done():
            break
    resumed: list[TaskWaiter] = []
    resume = TaskWaiter._resume
    monkeypatch.setattr(TaskWaiter, "_resume", lambda waiter: (resumed.append(waiter), resume(waiter))[1])
    await rounds(50)
    assert len(resumed) < 5
    while not task.done():
        await peer.recv_multipart()
        await rounds()
    await context.destroy(0)


@on_loops
async def test_a_class_of_ones_own() -> None:
    """A subclass whose `recv` is a coroutine function: what pyzmq composes of it works."""

    class Own(greenzmq.aio.Socket):
        async def recv(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            return (await super().recv(*args, **kwargs)).replace(b"1", b"2")

    context = greenzmq.aio.Context()
    push = context.socket(zmq.PUSH)
    push.bind(address("inproc"))
    with Own(context, zmq.PULL) as own:
        own.connect(push.last_endpoint.decode())
        await push.send(b"[1]")
        assert await own.recv_json() == [2]
        waiting = asyncio.ensure_future(own.recv_json())
        await rounds()
        await push.send(b"[1]")
        assert await waiting == [2]
    await context.destroy(0)


@on_loops
async def test_timeouts_of_futures_with_callbacks() -> None:
    """RCVTIMEO ends the wait of a future that no task awaits, too."""
    async with a_pair(rcvtimeo=20) as (_, pull):
        outcomes = await asyncio.gather(pull.recv(), pull.recv_json(), pull.poll(10), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [zmq.Again, zmq.Again, int]


@on_loops
async def test_a_poller_of_an_event() -> None:
    """What else a green Poller takes, an awaitable one takes."""
    event, poller = greenzmq.GreenEvent(), greenzmq.aio.Poller()
    poller.register(event, zmq.POLLIN)
    future = poller.poll(10_000)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await future == [(event, zmq.POLLIN)]
