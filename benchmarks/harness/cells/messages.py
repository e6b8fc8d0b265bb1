"""Messages that go one way, from one task to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from .job import HWM, Job, Task, connect, listen, pair

if TYPE_CHECKING:
    from .runtimes import Runtime

__all__ = ["multipart", "one_way", "proxied", "ready", "receivers"]


def send_all(socket: Any, message: Any, count: int, copy: bool = True) -> None:
    for _ in range(count):
        socket.send(message, copy=copy)


def receive_all(socket: Any, count: int, copy: bool = True) -> None:
    for _ in range(count):
        socket.recv(copy=copy)


async def send_all_async(socket: Any, message: Any, count: int, copy: bool = True) -> None:
    for _ in range(count):
        await socket.send(message, copy=copy)


async def receive_all_async(socket: Any, count: int, copy: bool = True) -> None:
    for _ in range(count):
        await socket.recv(copy=copy)


def wait_for_either(push: Any, pull: Any, room: bool) -> None:
    """Until there is a message or, if wanted, room for one. libzmq's poll sees what NOBLOCK calls have not yet seen."""
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    if room:
        poller.register(push, zmq.POLLOUT)
    poller.poll()


def alternate(push: Any, pull: Any, message: Any, count: int, noblock: int, copy: bool = True) -> None:
    """Send as long as there is room, receive as long as there is something; wait only when neither is so."""
    sent = received = 0
    while received < count:
        try:
            for _ in range(count - sent):
                push.send(message, noblock, copy)
                sent += 1
        except zmq.Again:
            pass
        before = received
        try:
            for _ in range(count - received):
                pull.recv(noblock, copy)
                received += 1
        except zmq.Again:
            if received == before:
                wait_for_either(push, pull, sent < count)


def one_way(
    runtime: Runtime,
    *,
    transport: str,
    size: int,
    count: int,
    copy: bool = True,
    hwm: int = HWM,
    processes: int = 1,
    address: str = "",
) -> Job:
    """`count` messages of `size` bytes from a PUSH to a PULL."""
    tasks: list[Task]
    message = bytes(size)
    if address:
        push = connect(runtime, "PUSH", address, hwm=hwm)
        return Job([(runtime.pick(send_all, send_all_async), push, message, count, copy)], lambda seconds: {})
    if processes == 2:
        pull, address = listen(runtime, "PULL", transport, hwm=hwm)
        peer = {"address": address}
        tasks = [(runtime.pick(receive_all, receive_all_async), pull, count, copy)]
    else:
        peer = None
        push, pull = pair(runtime, "PUSH", "PULL", transport, hwm=hwm)
        if runtime.contender.style == "bare":
            tasks = [(alternate, push, pull, message, count, int(zmq.NOBLOCK), copy)]
        else:
            tasks = [
                (runtime.pick(send_all, send_all_async), push, message, count, copy),
                (runtime.pick(receive_all, receive_all_async), pull, count, copy),
            ]
    return Job(tasks, lambda seconds: {"rate": count / seconds, "MB/s": count * size / seconds / 1e6}, peer=peer)


def send_parts(socket: Any, parts: Sequence[bytes], count: int) -> None:
    for _ in range(count):
        socket.send_multipart(parts)


def receive_parts(socket: Any, count: int) -> None:
    for _ in range(count):
        socket.recv_multipart()


async def send_parts_async(socket: Any, parts: Sequence[bytes], count: int) -> None:
    for _ in range(count):
        await socket.send_multipart(parts)


async def receive_parts_async(socket: Any, count: int) -> None:
    for _ in range(count):
        await socket.recv_multipart()


def alternate_parts(push: Any, pull: Any, parts: Sequence[bytes], count: int, noblock: int) -> None:
    sent = received = 0
    while received < count:
        try:
            for _ in range(count - sent):
                push.send_multipart(parts, noblock)
                sent += 1
        except zmq.Again:
            pass
        before = received
        try:
            for _ in range(count - received):
                pull.recv_multipart(noblock)
                received += 1
        except zmq.Again:
            if received == before:
                wait_for_either(push, pull, sent < count)


def multipart(runtime: Runtime, *, transport: str, frames: int, size: int, count: int, hwm: int = HWM) -> Job:
    """`count` messages of `frames` frames from a PUSH to a PULL, by the methods for whole messages."""
    push, pull = pair(runtime, "PUSH", "PULL", transport, hwm=hwm)
    parts = [bytes(size)] * frames
    tasks: list[Task]
    if runtime.contender.style == "bare":
        tasks = [(alternate_parts, push, pull, parts, count, int(zmq.NOBLOCK))]
    else:
        tasks = [
            (runtime.pick(send_parts, send_parts_async), push, parts, count),
            (runtime.pick(receive_parts, receive_parts_async), pull, count),
        ]
    return Job(tasks, lambda seconds: {"rate": count / seconds})


def proxied(runtime: Runtime, *, transport: str, frames: int, size: int, count: int) -> Job:
    """The same through a proxy between two pairs."""
    push, front = pair(runtime, "PUSH", "PULL", transport)
    back, pull = pair(runtime, "PUSH", "PULL", transport)
    parts = [bytes(size)] * frames
    tasks = [
        (runtime.pick(send_parts, send_parts_async), push, parts, count),
        (runtime.pick(receive_parts, receive_parts_async), pull, count),
    ]
    return Job(tasks, lambda seconds: {"rate": count / seconds}, [(runtime.proxy, front, back)])


def receive_until_stop(socket: Any, stop: bytes) -> None:
    while socket.recv() != stop:
        pass


async def receive_until_stop_async(socket: Any, stop: bytes) -> None:
    while await socket.recv() != stop:
        pass


def send_and_stop(socket: Any, message: bytes, count: int, stop: bytes, receivers: int) -> None:
    send_all(socket, message, count)
    send_all(socket, stop, receivers)


async def send_and_stop_async(socket: Any, message: bytes, count: int, stop: bytes, receivers: int) -> None:
    await send_all_async(socket, message, count)
    await send_all_async(socket, stop, receivers)


def receivers(runtime: Runtime, *, transport: str, receivers: int, size: int, count: int) -> Job:
    """`count` messages to one socket that many tasks receive from; each of them takes one message more and ends."""
    push, pull = pair(runtime, "PUSH", "PULL", transport)
    receive = (runtime.pick(receive_until_stop, receive_until_stop_async), pull, b"stop")
    send = (runtime.pick(send_and_stop, send_and_stop_async), push, bytes(size), count, b"stop", receivers)
    return Job([*[receive] * receivers, send], lambda seconds: {"rate": (count + receivers) / seconds})


# --- operations that need not wait -----------------------------------------------------------------------------------

BURST = 200
"""Messages that are sent before they are received."""

ROOM = 10_000
"""The high-water mark. A NOBLOCK send processes commands once a millisecond: at 1000 it would not see in time that the
receiver has made room, and fail."""


def operate(send: Any, receive: Any, message: bytes, bursts: int, spent: list[float]) -> None:
    clock = time.perf_counter
    for _ in range(bursts):
        began = clock()
        for _ in range(BURST):
            send(message)
        sent = clock()
        for _ in range(BURST):
            receive()
        spent[0] += sent - began
        spent[1] += clock() - sent


async def operate_async(send: Any, receive: Any, message: bytes, bursts: int, spent: list[float]) -> None:
    clock = time.perf_counter
    for _ in range(bursts):
        began = clock()
        for _ in range(BURST):
            await send(message)
        sent = clock()
        for _ in range(BURST):
            await receive()
        spent[0] += sent - began
        spent[1] += clock() - sent


def operate_noblock(send: Any, receive: Any, message: bytes, bursts: int, spent: list[float], noblock: int) -> None:
    clock = time.perf_counter
    for _ in range(bursts):
        began = clock()
        for _ in range(BURST):
            send(message, noblock)
        sent = clock()
        for _ in range(BURST):
            receive(noblock)
        spent[0] += sent - began
        spent[1] += clock() - sent


def ready(runtime: Runtime, *, size: int, count: int) -> Job:
    """`count` sends that find room, and as many receives that find a message, in one task."""
    push, pull = pair(runtime, "PUSH", "PULL", "inproc", hwm=ROOM)
    send, receive = push.send, pull.recv
    if runtime.contender.name == "backend":
        send, receive = super(type(push), push).send, super(type(pull), pull).recv
    bursts = max(1, count // BURST)
    spent = [0.0, 0.0]
    flags = (int(zmq.NOBLOCK),) if runtime.contender.style == "bare" else ()
    body = runtime.pick(operate, operate_async, operate_noblock)

    def metrics(seconds: float) -> dict[str, float]:
        operations = bursts * BURST
        send_ns, recv_ns = (part / operations * 1e9 for part in spent)
        spent[:] = 0.0, 0.0
        return {"rate": 1e9 / (send_ns + recv_ns), "send ns": send_ns, "recv ns": recv_ns}

    return Job([(body, send, receive, bytes(size), bursts, spent, *flags)], metrics)
