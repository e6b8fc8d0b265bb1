"""Greenlets and tasks on one socket: one queue for both, and no wake-up that is lost between them.

The lost wake-ups are those of ``tests/sockets/test_lost_wakeups.py``, with a task that waits, and a rival that makes
its call on the awaitable socket itself or on a green view of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import zmq
from sockets.test_lost_wakeups import LOOKS, PREPARE, again
from support.aio import a_pair, finished, on_loops, rounds, until_receiving, until_sending
from support.asyncio import loop_name
from support.inside import has_waiters, keep_turn
from support.invariants import idle
from support.random import seeded_random
from support.waiters import await_signal, drain, handshake

import greenzmq.aio
import greenzmq.asyncio
from greenzmq.asyncio import run, spawn

__all__ = ["loop_name"]

views = pytest.mark.parametrize("view", ["awaitable", "green"])

#: What a rival does that may take the signal of a receiver. On an awaitable socket these give futures.
SENDS: dict[str, Callable[[Any], object]] = {
    "send": lambda s: s.send(b"answer"),
    "send-noblock": lambda s: s.send(b"answer", zmq.NOBLOCK),
    "send-copy": lambda s: s.send(b"answer", copy=False),
    "send-parts": lambda s: (s.send(b"an", zmq.SNDMORE), s.send(b"swer")),
    "send_multipart": lambda s: s.send_multipart([b"an", b"swer"]),
}
RECEIVES: dict[str, Callable[[Any], object]] = {
    "recv-noblock": lambda s: s.recv(zmq.NOBLOCK),
    "recv_into-noblock": lambda s: s.recv_into(bytearray(8), flags=zmq.NOBLOCK),
    "recv_multipart-noblock": lambda s: s.recv_multipart(zmq.NOBLOCK),
}
#: Those that a view of the other kind has not: the names, and what it makes of a socket.
ONLY_GREEN = {"poller-0", "select-0", "zmq_poll-0"}


def rival_of(socket: Any, view: str) -> Any:
    """The object on which the rival makes its call."""
    return socket if view == "awaitable" else greenzmq.asyncio.Socket(socket)


def make(call: Callable[[Any], object], socket: Any) -> None:
    """The rival's call, without a round of the loop. What a future has come to is asked, so that it is retrieved."""
    keep_turn(socket)
    made = call(socket)
    for future in made if isinstance(made, tuple) else (made,):
        if isinstance(future, asyncio.Future):
            assert future.done()
            future.exception()


async def must_finish(task: asyncio.Task[Any], socket: Any) -> Any:
    """The task goes on within two rounds of the loop: with no signal, it was woken when the signal was taken."""
    await rounds(3)
    assert task.done(), "a lost wake-up"
    return task.result()


async def fill(socket: Any, message: bytes) -> asyncio.Task[Any]:
    """Send until there is no room. The task that waits for room."""
    while True:
        task = asyncio.ensure_future(finished(socket.send(message)))
        await rounds()
        if not task.done():
            return task


@views
@pytest.mark.parametrize("transport", ["tcp", "inproc"])
@pytest.mark.parametrize("rival_call", [*LOOKS, *SENDS])
@on_loops
async def test_receiver_goes_on(rival_call: str, transport: str, view: str) -> None:
    """A task that waits to receive, and whose signal was taken by any such call, goes on at once."""
    async with a_pair(zmq.DEALER, zmq.DEALER, transport) as (socket, peer):
        plain = greenzmq.asyncio.Socket(peer)
        PREPARE.get(rival_call, lambda s: None)(socket)
        handshake(greenzmq.asyncio.Socket(socket), plain)
        rival = rival_of(socket, view)
        task = asyncio.ensure_future(finished(socket.recv_multipart()))
        await until_receiving(socket)
        plain.send(b"m")
        await_signal(socket)
        make((LOOKS | SENDS)[rival_call], rival)
        assert await must_finish(task, socket) == [b"m"]
        idle(socket)


@views
@pytest.mark.parametrize("rival_call", RECEIVES)
@on_loops
async def test_receiver_goes_on_with_the_next(rival_call: str, view: str) -> None:
    """A rival takes the message together with its signal; the task goes on with the next one."""
    async with a_pair(zmq.DEALER, zmq.DEALER) as (socket, peer):
        rival = rival_of(socket, view)
        task = asyncio.ensure_future(finished(socket.recv()))
        await until_receiving(socket)
        for message in (b"1", b"2"):
            await peer.send(message)
        await_signal(socket)
        make(RECEIVES[rival_call], rival)
        assert await must_finish(task, socket) == b"2"
        idle(socket)


@views
@pytest.mark.parametrize("rival_call", [*sorted({*LOOKS} - {"disconnect"}), *RECEIVES])
@on_loops
async def test_sender_goes_on(rival_call: str, view: str) -> None:
    """A task that waits for room, and whose signal was taken by any such call, goes on at once."""
    async with a_pair(zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1) as (socket, peer):
        PREPARE.get(rival_call, lambda s: None)(socket)
        task = await fill(socket, b"waiter")
        rival = rival_of(socket, view)
        drain(peer)
        await_signal(socket)
        call = LOOKS.get(rival_call)
        if call is None:
            received = RECEIVES[rival_call]
            call = received if view == "awaitable" else lambda s: again(received, s)
        make(call, rival)
        await must_finish(task, socket)
        idle(socket)


# -- greenlets and tasks -----------------------------------------------------------------------------------------------


@on_loops
async def test_first_come_first_served() -> None:
    """Tasks and greenlets stand in one queue, and are served in the order in which they came; both ways."""
    async with a_pair(zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1) as (left, right):
        green = greenzmq.asyncio.Socket(right)
        served: list[tuple[int, bytes]] = []

        async def by_task(number: int) -> None:
            served.append((number, await right.recv()))

        def by_greenlet(number: int) -> None:
            served.append((number, green.recv()))

        waiting: list[Any] = []
        for number in range(12):
            if number % 3 == 0:
                waiting.append(spawn(by_greenlet, number))
            else:
                waiting.append(asyncio.ensure_future(by_task(number)))
            await until_receiving(right, number + 1)
        for number in range(12):
            await left.send(b"%d" % number)
        for each in waiting:
            await each
        assert served == [(number, b"%d" % number) for number in range(12)]

        waits = await fill(left, b"fill")
        green = greenzmq.asyncio.Socket(left)
        senders = []
        for number in range(3):
            is_task = number == 1
            senders.append(left.send(b"%d" % number) if is_task else spawn(green.send, b"%d" % number))
            await until_sending(left, number + 2)
        got = [await right.recv() for _ in range(1)]
        while got[-1] != b"2":
            got.append(await right.recv())
        assert got[-4:] == [b"fill", b"0", b"1", b"2"]
        for each in (waits, *senders):
            await each


@on_loops
async def test_kills_and_cancellations_beside_each_other() -> None:
    """Who was woken and is killed, or cancelled, passes the wake-up on, to whichever kind stands behind."""
    async with a_pair() as (push, pull):
        green = greenzmq.asyncio.Socket(pull)
        for first_is_task in (True, False):
            for second_is_task in (True, False):
                first, second = (
                    asyncio.ensure_future(finished(pull.recv()) if is_task else run(green.recv))
                    for is_task in (first_is_task, second_is_task)
                )
                await until_receiving(pull, 2)
                push.send(b"x")
                assert pull.get(zmq.EVENTS) & zmq.POLLIN  # wakes the first; the signal is gone
                first.cancel()
                await asyncio.wait([first], timeout=5)
                got = []
                if not first.cancelled():  # `run` returns what its greenlet had received before
                    got.append(first.result())
                    push.send(b"x")
                got.append(await asyncio.wait_for(second, 5))
                assert got == [b"x"] * len(got)


@on_loops
async def test_views_of_one_socket() -> None:
    """A green socket as awaitable and back, a plain one as awaitable: they share one state, and one close."""
    context = greenzmq.asyncio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://views")
    pull.connect("inproc://views")
    makers = (greenzmq.aio.Socket, greenzmq.aio.Socket.from_socket, greenzmq.aio.Socket.shadow)
    awaitable = [make(pull) for make in makers]
    assert all(type(view) is greenzmq.aio.Socket for view in awaitable)
    tasks = [asyncio.ensure_future(finished(view.recv())) for view in awaitable]
    await until_receiving(pull, 3)
    assert has_waiters(awaitable[0])
    back = greenzmq.asyncio.Socket(awaitable[0])
    greenlet = spawn(back.recv)
    await until_receiving(pull, 4)
    for number in range(4):
        await run(push.send, b"%d" % number)
    assert [*await asyncio.gather(*tasks), await greenlet] == [b"0", b"1", b"2", b"3"]
    task = asyncio.ensure_future(finished(awaitable[0].recv()))
    await until_receiving(pull)
    pull.close()
    with pytest.raises(zmq.ZMQError) as raised:
        await task
    assert raised.value.errno == zmq.ENOTSOCK
    plain = zmq.Context()
    with plain.socket(zmq.PULL) as other, plain.socket(zmq.PUSH) as sender:
        other.bind("inproc://plain")
        sender.connect("inproc://plain")
        view = greenzmq.aio.Socket(other)
        task = asyncio.ensure_future(finished(view.recv()))
        await until_receiving(view)
        sender.send(b"x")
        assert await task == b"x"
    del view
    plain.term()
    await run(context.destroy, 0)


@on_loops
async def test_a_greenlet_inside_a_message_and_a_task() -> None:
    """A message that a greenlet receives part by part is its own until the end; a task waits meanwhile. And the other
    way round."""
    async with a_pair() as (push, pull):
        green = greenzmq.asyncio.Socket(pull)
        hub = greenzmq.asyncio.hub()

        def by_greenlet() -> list[bytes]:
            parts = [green.recv()]
            while green.rcvmore:
                hub.sleep(0.002)
                parts.append(green.recv())
            return parts

        async def by_task() -> list[bytes]:
            parts = [await pull.recv()]
            while pull.rcvmore:
                await asyncio.sleep(0.002)
                parts.append(await pull.recv())
            return parts

        receivers = [asyncio.ensure_future(run(by_greenlet) if number % 2 else by_task()) for number in range(6)]
        await until_receiving(pull, 6)
        for number in range(6):
            await push.send_multipart([b"%d" % number, b"%d" % number, b"%d" % number])
        got = await asyncio.wait_for(asyncio.gather(*receivers), 10)
        assert sorted(got) == [[b"%d" % number] * 3 for number in range(6)]


class Receiver:
    """Receives in one of many ways, over and over."""

    def __init__(self, pull: Any, random: Random, got: list[int]) -> None:
        self.pull, self.random, self.got = pull, random, got
        self.green = greenzmq.asyncio.Socket(pull)
        self.poller = greenzmq.aio.Poller()
        self.poller.register(pull, zmq.POLLIN)

    async def run(self, total: int) -> None:
        try:
            while len(self.got) < total:
                ways = [self.wait, self.wait, self.by_greenlet, self.limited, self.poll, self.try_now]
                await self.random.choice(ways)()
        finally:
            self.poller.unregister(self.pull)  # its last poll may have left it a listener of the socket

    async def wait(self) -> None:
        self.got.append(int(await self.pull.recv()))

    async def by_greenlet(self) -> None:
        self.got.append(int(await run(self.green.recv)))

    async def limited(self) -> None:
        with suppress(asyncio.TimeoutError):
            self.got.append(int(await asyncio.wait_for(self.pull.recv(), 0.001)))

    async def poll(self) -> None:
        await self.poller.poll(1)

    async def try_now(self) -> None:
        with suppress(zmq.Again):
            self.got.append(int(await self.pull.recv(zmq.NOBLOCK)))
        await asyncio.sleep(0)


@on_loops
async def test_many_tasks_and_greenlets_in_any_order() -> None:
    """With waits, cancellations, polls and rivals mixed, what was sent arrives exactly once."""
    random, got, total = seeded_random(), [], 600
    async with a_pair() as (push, pull):
        receivers = [asyncio.ensure_future(Receiver(pull, random, got).run(total)) for _ in range(8)]
        for number in range(total):
            await push.send(b"%d" % number)
            if random.random() < 0.3:
                await asyncio.sleep(0)
        while len(got) < total:
            await asyncio.sleep(0.001)
        for receiver in receivers:
            receiver.cancel()
        await asyncio.wait(receivers)
        assert sorted(got) == list(range(total))
