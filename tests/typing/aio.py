# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A program on `greenzmq.aio` under mypy --strict and pyright: what a call gives once it is awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq as pyzmq
import zmq.asyncio
from typing_extensions import assert_type

import greenzmq
import greenzmq.aio as zmq_aio
from greenzmq import aio

# --- contexts and sockets ---------------------------------------------------------------------------------------------


async def contexts() -> None:
    context = aio.Context()
    assert_type(context, aio.Context)
    assert_type(aio.Context(4, turn=1.5), aio.Context)
    assert_type(aio.Context(shadow=context), aio.Context)
    assert_type(aio.Context.shadow(pyzmq.Context()), aio.Context)
    assert_type(aio.Context.instance(), aio.Context)
    assert_type(context.socket(aio.PULL), aio.Socket)
    assert_type(aio.Context.instance().socket(aio.SocketType.REQ), aio.Socket)
    async with aio.Context() as inner, inner.socket(aio.PAIR) as pair:
        assert_type(inner, aio.Context)
        assert_type(pair, aio.Socket)
    assert_type(await context.term(), None)
    assert_type(await context.destroy(linger=0), None)


async def views(green: greenzmq.Socket, plain: pyzmq.Socket[bytes], context: aio.Context) -> None:
    """An awaitable socket of a green or plain one; it goes wherever greenzmq's or pyzmq's own is expected."""
    assert_type(aio.Socket(green), aio.Socket)
    assert_type(aio.Socket(context, aio.PULL), aio.Socket)
    assert_type(aio.Socket.from_socket(plain), aio.Socket)
    assert_type(aio.Socket.shadow(plain), aio.Socket)
    seen: greenzmq.Socket[Any] = aio.Socket(green)
    theirs: pyzmq.Socket[Any] = aio.Socket(green)
    print(seen, theirs)


class Bus(aio.Socket):
    """A subclass, as of a message bus."""


async def subclass(context: aio.Context) -> None:
    assert_type(Bus(context, aio.PUSH), Bus)
    assert_type(await Bus.shadow(Bus(context, aio.PUSH)).recv(), bytes)


def annotated(context: zmq_aio.Context, poller: zmq_aio.Poller) -> zmq_aio.Socket:
    """The natural annotations need no parameters."""
    socket: zmq_aio.Socket = context.socket(zmq_aio.PULL)
    monitor: zmq_aio.Socket = socket.get_monitor_socket()
    poller.register(monitor, zmq_aio.POLLIN)
    with socket.bind("tcp://127.0.0.1:5555") as bound:
        assert_type(bound, zmq_aio.Socket)
    return socket


# --- receiving --------------------------------------------------------------------------------------------------------


def length(frames: list[bytes]) -> int:
    return len(frames)


async def receive(sock: aio.Socket, copy: bool) -> None:
    assert_type(sock.recv(), "asyncio.Future[bytes]")
    assert_type(await sock.recv(), bytes)
    assert_type(await sock.recv(aio.NOBLOCK), bytes)
    assert_type(await sock.recv(aio.NOBLOCK, copy=True), bytes)
    assert_type(await sock.recv(copy=False), aio.Frame)
    assert_type(await sock.recv(0, False, track=True), aio.Frame)
    assert_type(await sock.recv(copy=copy), "bytes | aio.Frame")
    assert_type(await sock.recv_multipart(), list[bytes])
    assert_type(await sock.recv_multipart(aio.NOBLOCK, copy=True), list[bytes])
    assert_type(await sock.recv_multipart(copy=False), list[aio.Frame])
    assert_type(await sock.recv_multipart(0, False), list[aio.Frame])
    assert_type(await sock.recv_multipart(copy=copy), "list[bytes] | list[aio.Frame]")
    assert_type(await sock.recv_into(bytearray(10)), int)
    assert_type(await sock.recv_into(bytearray(10), nbytes=5, flags=aio.NOBLOCK), int)
    assert_type(await sock.recv_string(), str)
    assert_type(await sock.recv_string(aio.NOBLOCK, encoding="latin-1"), str)
    assert_type(await sock.recv_json(), Any)
    assert_type(await sock.recv_json(object_hook=dict), Any)
    assert_type(await sock.recv_pyobj(), Any)
    assert_type(await sock.recv_serialized(length), int)
    assert_type(await asyncio.wait_for(sock.recv(), 1), bytes)
    assert_type(await asyncio.gather(sock.recv(), sock.recv_string()), tuple[bytes, str])
    async for message in sock:
        assert_type(message, list[bytes])


# --- sending ----------------------------------------------------------------------------------------------------------


def frames_of(number: int) -> list[bytes]:
    return [b"%d" % number]


async def send(sock: aio.Socket, copy: bool) -> None:
    assert_type(sock.send(b"one frame"), "asyncio.Future[None]")
    sock.send(memoryview(b"one frame"), aio.SNDMORE)
    assert_type(await sock.send(b"", copy=False, track=True), aio.MessageTracker)
    assert_type(await sock.send(b"", 0, False), aio.MessageTracker)
    assert_type(await sock.send(b"", copy=copy), "aio.MessageTracker | None")
    assert_type(await sock.send(aio.Frame(b""), routing_id=1, group="g"), aio.MessageTracker)
    sent = await sock.send_multipart([b"a", memoryview(b"b"), aio.Frame(b"c")], aio.NOBLOCK)
    assert_type(sent, "aio.MessageTracker | None")
    await sock.send_multipart([b"a"], routing_id=1)
    assert_type(await sock.send_string("text", copy=False), "aio.MessageTracker | None")
    assert_type(await sock.send_json({"a": 1}, aio.NOBLOCK, sort_keys=True), "aio.MessageTracker | None")
    assert_type(await sock.send_pyobj({"a": 1}, protocol=4), "aio.MessageTracker | None")
    assert_type(await sock.send_serialized(1, frames_of), "aio.MessageTracker | None")


# --- events, polling, proxies -----------------------------------------------------------------------------------------


async def poll(sock: aio.Socket) -> None:
    assert_type(await sock.poll(), int)
    assert_type(await sock.poll(100, aio.POLLOUT), int)
    poller = aio.Poller()
    assert_type(poller, aio.Poller)
    poller.register(sock, aio.POLLIN)
    assert_type(await poller.poll(100), list[tuple[Any, int]])
    assert_type(await aio.zmq_poll([(sock, aio.POLLIN)], 100), list[tuple[Any, int]])
    assert_type(await aio.select([sock], [], [], 1), tuple[list[Any], list[Any], list[Any]])
    assert_type(await aio.wait([sock, asyncio.Event()], timeout=1), list[Any])
    assert_type(sock.get(aio.TYPE), Any)
    async with aio.monitor_events(sock, aio.EVENT_CONNECTED) as events:
        assert_type(events, aio.AsyncMonitorEvents)
        async for _event in events:
            break


async def barriers(sock: aio.Socket) -> None:
    assert_type(await sock.wait_connected(2, timeout=1), None)
    assert_type(await sock.wait_subscribed("topic"), list[bytes])
    assert_type(await sock.wait_drained(), None)


async def proxies(sock: aio.Socket) -> None:
    assert_type(await aio.proxy(sock, sock, native=True), int)
    assert_type(await aio.proxy_steerable(sock, sock, None, sock), int)
    assert_type(await aio.device(aio.QUEUE, sock, sock), int)


# --- blocking-style code beside coroutines ----------------------------------------------------------------------------


def size(text: str, *, factor: int = 1) -> int:
    return len(text) * factor


def in_a_greenlet(sock: aio.Socket) -> None:
    assert_type(aio.await_(sock.recv()), bytes)


async def beside(sock: aio.Socket) -> None:
    assert_type(await aio.run(size, "abc", factor=2), int)
    task = aio.spawn(size, "abc")
    assert_type(task, aio.AwaitableTask[int])
    assert_type(await task, int)
    await aio.run(in_a_greenlet, sock)
    assert_type(aio.hub(), greenzmq.GreenHub)


# --- what has to be refused: a line without the error named is an "unused ignore", which is an error too --------------


async def refused(sock: aio.Socket) -> None:
    sock.recv("NOBLOCK")  # type: ignore[call-overload]
    await sock.send("text")  # type: ignore[call-overload]
    text: str = await sock.recv()  # type: ignore[assignment]
    size(sock.recv_string())  # type: ignore[arg-type]
    annotated(zmq.asyncio.Context(), aio.Poller())  # type: ignore[arg-type]
    print(text, aio.PUHS)  # type: ignore[attr-defined]
