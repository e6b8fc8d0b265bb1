"""`greenzmq.aio`: every call of the awaitable socket, at once and after a wait, and what its futures promise."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import pytest
import zmq
from support.aio import a_pair, finished, on_loops, rounds, until_receiving
from support.asyncio import loop_name
from support.sockets import address

import greenzmq.aio

__all__ = ["loop_name"]

paths = pytest.mark.parametrize("waits", [False, True], ids=["ready", "waiting"])

#: For each way to receive: the send, its arguments, the receive, its arguments, the result.
MESSAGES: dict[str, tuple[str, tuple[Any, ...], str, tuple[Any, ...], Any]] = {
    "recv": ("send", (b"x",), "recv", (), b"x"),
    "recv_multipart": ("send_multipart", ([b"x", b"y"],), "recv_multipart", (), [b"x", b"y"]),
    "recv_string": ("send_string", ("ø",), "recv_string", (), "ø"),
    "recv_unicode": ("send_unicode", ("ø",), "recv_unicode", (), "ø"),
    "recv_json": ("send_json", ({"a": 5},), "recv_json", (), {"a": 5}),
    "recv_pyobj": ("send_pyobj", ({"a": 5},), "recv_pyobj", (), {"a": 5}),
    "recv_serialized": (
        "send_serialized",
        ({"a": 5}, lambda o: [b"json", json.dumps(o).encode()]),
        "recv_serialized",
        (lambda parts: json.loads(parts[1]),),
        {"a": 5},
    ),
}


@paths
@pytest.mark.parametrize("transport", ["inproc", "tcp"])
@pytest.mark.parametrize("what", MESSAGES)
@on_loops
async def test_every_receive(what: str, transport: str, waits: bool) -> None:
    """Each way to send and receive has its result, at once and after a wait; the future has it afterwards, too."""
    send, sent, receive, arguments, expected = MESSAGES[what]
    async with a_pair(transport=transport) as (push, pull):
        if waits:
            future = getattr(pull, receive)(*arguments)
            assert isinstance(future, asyncio.Future)
            waiting = asyncio.ensure_future(finished(future))
            await until_receiving(pull)
            assert await getattr(push, send)(*sent) is None
            assert await waiting == expected
        else:
            assert await getattr(push, send)(*sent) is None
            await pull.poll()
            future = getattr(pull, receive)(*arguments)
            assert future.done()
            assert await future == expected
        assert (future.done(), future.result(), await future) == (True, expected, expected)


@paths
@on_loops
async def test_recv_into(waits: bool) -> None:
    """It fills the buffer and gives the number of bytes that came."""
    buffer = bytearray(4)
    async with a_pair() as (push, pull):
        if not waits:
            push.send(b"hello")
        future = pull.recv_into(buffer, nbytes=3)
        if waits:
            asyncio.get_running_loop().call_soon(push.send, b"hello")
        assert await future == 5
        assert bytes(buffer) == b"hel\0"


@paths
@on_loops
async def test_frames_and_trackers(waits: bool) -> None:
    """``copy=False`` gives frames with their flags, ``track=True`` a tracker that is done when libzmq is."""
    async with a_pair() as (push, pull):
        future = pull.recv_multipart(copy=False) if waits else None
        tracker = await push.send_multipart([b"x" * 1000, b"y" * 1000], copy=False, track=True)
        assert isinstance(tracker, zmq.MessageTracker)
        frames = await (future or pull.recv_multipart(copy=False))
        assert [(frame.bytes[:1], frame.more) for frame in frames] == [(b"x", True), (b"y", False)]
        del frames
        while not tracker.done:
            await asyncio.sleep(0.001)


@on_loops
async def test_parts_by_hand() -> None:
    """A message sent and received part by part by one task is not mixed with those of others that do the same."""
    async with a_pair(zmq.PAIR, zmq.PAIR) as (left, right):

        async def send(name: bytes) -> None:
            for _ in range(20):
                for number in range(3):
                    await left.send(name + b"%d" % number, zmq.SNDMORE if number < 2 else 0)
                    await asyncio.sleep(0)

        async def receive() -> list[list[bytes]]:
            messages = []
            for _ in range(20):
                message = [await right.recv()]
                while right.get(zmq.RCVMORE):
                    await asyncio.sleep(0)
                    message.append(await right.recv())
                messages.append(message)
            return messages

        results = await asyncio.gather(receive(), receive(), *(send(name) for name in (b"a", b"b")))
        messages = [message for result in results if result for message in result]
        assert len(messages) == 40
        assert all(message == [message[0][:1] + b"%d" % number for number in range(3)] for message in messages)


@on_loops
async def test_a_task_that_ends_inside_a_message() -> None:
    """A task that has sent the first part of a message and ends does not hold up the others."""
    async with a_pair(zmq.PAIR, zmq.PAIR) as (left, right):

        async def half() -> None:
            await left.send(b"half", zmq.SNDMORE)

        await asyncio.ensure_future(half())
        await asyncio.wait_for(left.send(b"whole"), 5)
        assert await right.recv_multipart() == [b"half", b"whole"]


@on_loops
async def test_a_task_that_waits_for_the_end_of_anothers_message() -> None:
    """Who waits while another task is inside a message goes on when that one ends it, or ends itself."""
    async with a_pair(zmq.PAIR, zmq.PAIR) as (left, right):
        go_on = asyncio.Event()

        async def half(ends: bool) -> None:
            await left.send(b"1", zmq.SNDMORE)
            await go_on.wait()
            if ends:
                await left.send(b"2")

        for ends in (True, False):
            go_on.clear()
            first = asyncio.ensure_future(half(ends))
            await rounds()
            second = asyncio.ensure_future(finished(left.send(b"other")))
            await rounds()
            assert not second.done()
            go_on.set()
            await asyncio.wait_for(asyncio.gather(first, second), 5)
        assert await right.recv_multipart() == [b"1", b"2"]
        assert await right.recv_multipart() == [b"other"]
        assert await right.recv_multipart() == [b"1", b"other"]


# -- errors ------------------------------------------------------------------------------------------------------------


@on_loops
async def test_errors_come_out_of_the_future() -> None:
    """Of libzmq, of arguments, and of what makes an object of the message."""
    async with a_pair() as (push, pull):
        for future in (pull.recv(zmq.NOBLOCK), pull.recv_multipart(zmq.NOBLOCK), pull.recv_string(flags=zmq.NOBLOCK)):
            assert future.done()
            with pytest.raises(zmq.Again):
                await future
        for future in (push.send("text"), push.send_multipart([b"x", 5]), push.send(b"x", no_such=1)):
            with pytest.raises(TypeError):
                await future
        with pytest.raises(zmq.ZMQError, match="not supported"):
            await push.recv()
        push.send(b"{")
        with pytest.raises(json.JSONDecodeError):
            await pull.recv_json()
        future = pull.recv_pyobj()
        push.send(b"no pickle")
        with pytest.raises(pickle.UnpicklingError):
            await future
        with pytest.raises(TypeError):
            pull.recv(None)


@on_loops
async def test_timeouts() -> None:
    """RCVTIMEO and SNDTIMEO are libzmq's: counted from the call, 0 does not wait, and read when the call is made."""
    async with a_pair(rcvtimeo=20, sndtimeo=20, sndhwm=1, rcvhwm=1) as (push, pull):
        loop = asyncio.get_running_loop()
        began, future = loop.time(), pull.recv()
        pull.rcvtimeo = -1
        with pytest.raises(zmq.Again):
            await future
        assert 0.01 < loop.time() - began < 5
        pull.rcvtimeo = 20
        future = pull.recv()
        await asyncio.sleep(0.03)
        assert future.done()  # nobody has waited for it
        with pytest.raises(zmq.Again):
            await future
        future = pull.recv()
        await asyncio.sleep(0.03)
        push.send(b"late")
        assert await future == b"late"  # there is a message when it is asked for
        pull.rcvtimeo = 0
        with pytest.raises(zmq.Again):
            await pull.recv()
        for _ in range(2):
            await push.send(b"fill")
        with pytest.raises(zmq.Again):
            await push.send(b"no room")
        push.sndtimeo = 5000
        future = push.send(b"room")
        assert not future.done()
        assert [await pull.recv_multipart() for _ in range(2)] == [[b"fill"]] * 2
        await future


@on_loops
async def test_poll() -> None:
    """The events, 0 after the timeout; in ms, and for either direction."""
    async with a_pair(sndhwm=1, rcvhwm=1) as (push, pull):
        assert await pull.poll(0) == 0
        assert await pull.poll(5) == 0
        assert await push.poll(None, zmq.POLLOUT) == zmq.POLLOUT
        future = pull.poll()
        assert not future.done()
        push.send(b"x")
        assert future.done()
        assert future.result() == zmq.POLLIN
        tasks = [asyncio.ensure_future(finished(push.poll(5000, zmq.POLLIN | zmq.POLLOUT))) for _ in range(2)]
        push.send(b"fill")
        assert await asyncio.gather(*tasks) == [zmq.POLLOUT] * 2
        waiting = asyncio.ensure_future(finished(push.poll(5000, zmq.POLLOUT)))
        await rounds()
        assert not waiting.done()
        for _ in range(2):
            await pull.recv()
        assert await waiting == zmq.POLLOUT
        pull.close()
        with pytest.raises(zmq.ZMQError):
            pull.poll()


@on_loops
async def test_poller() -> None:
    """Awaitable, green and plain sockets, a descriptor; several tasks at once; a closed socket is an error."""
    async with a_pair() as (push, pull):
        poller = greenzmq.aio.Poller()
        plain = zmq.Socket.shadow(pull.underlying)
        assert isinstance(pull, greenzmq.Socket)
        poller.register(pull, zmq.POLLIN)
        poller.register(plain, zmq.POLLIN)
        assert await poller.poll(0) == await poller.poll(5) == []
        futures = [asyncio.ensure_future(finished(poller.poll(5000))) for _ in range(3)]
        held = poller.poll()
        await rounds()
        push.send(b"x")
        for future in (*futures, held):
            assert await future == [(pull, zmq.POLLIN), (plain, zmq.POLLIN)]
        assert dict(await poller.poll())[pull] == zmq.POLLIN
        await pull.recv()
        waiting = asyncio.ensure_future(finished(poller.poll()))
        await rounds()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        poller.unregister(plain)
        waiting = asyncio.ensure_future(finished(poller.poll()))
        await rounds()
        pull.close()
        with pytest.raises(zmq.ZMQError) as raised:
            await waiting
        assert raised.value.errno == zmq.ENOTSOCK


@on_loops
async def test_select_and_zmq_poll() -> None:
    """The functions give tasks with pyzmq's results."""
    async with a_pair() as (push, pull):
        assert await greenzmq.aio.select([pull], [push], [], 0.001) == ([], [push], [])
        future = greenzmq.aio.zmq_poll([(pull, zmq.POLLIN)])
        push.send(b"x")
        assert await future == [(pull, zmq.POLLIN)]


@on_loops
async def test_iteration() -> None:
    """``async for`` gives multipart messages until the socket is closed; ``async with`` closes it."""
    async with a_pair() as (push, pull):
        got = []

        async def receive() -> None:
            async with pull:
                got.extend([message async for message in pull])

        task = asyncio.ensure_future(receive())
        for number in range(3):
            await push.send_multipart([b"%d" % number, b"part"])
        await until_receiving(pull)
        pull.close()
        await task
        assert got == [[b"%d" % number, b"part"] for number in range(3)]
        assert pull.closed


@on_loops
async def test_monitor_events() -> None:
    """An asynchronous iterator over the events of green, plain and awaitable sockets; and pyzmq's own helper."""
    from zmq.utils.monitor import recv_monitor_message

    context = greenzmq.aio.Context()
    server = context.socket(zmq.REP)
    monitor = server.get_monitor_socket(zmq.EVENT_LISTENING | zmq.EVENT_ACCEPTED)
    assert isinstance(monitor, greenzmq.aio.Socket)
    server.bind("tcp://127.0.0.1:*")
    assert (await recv_monitor_message(monitor))["event"] == zmq.EVENT_LISTENING
    for green in (context, greenzmq.Context.shadow(context), zmq.Context.shadow(context.underlying)):
        client = green.socket(zmq.REQ)
        async with greenzmq.aio.monitor_events(client, zmq.EVENT_CONNECTED) as events:
            client.connect(server.last_endpoint.decode())
            async for event in events:
                assert event["event"] == zmq.EVENT_CONNECTED
                break
        client.close(0)
    events = greenzmq.aio.monitor_events(server)
    waiting = asyncio.ensure_future(_all(events))
    await rounds()
    events.close()
    await asyncio.wait_for(waiting, 5)
    await context.destroy(0)


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


@on_loops
async def test_proxy() -> None:
    """A proxy is a task: it passes messages on until it is cancelled."""
    context = greenzmq.aio.Context()
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    client, server = context.socket(zmq.REQ), context.socket(zmq.REP)
    frontend.bind(address("inproc"))
    backend.bind(address("inproc"))
    client.connect(frontend.last_endpoint.decode())
    server.connect(backend.last_endpoint.decode())
    task = greenzmq.aio.proxy(frontend, backend)
    for number in range(3):
        await client.send(b"%d" % number)
        question = await server.recv()
        await server.send(question + b"!")
        assert await client.recv() == b"%d!" % number
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await context.destroy(0)
