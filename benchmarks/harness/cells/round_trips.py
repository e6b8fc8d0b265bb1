"""Messages that are answered, and one that goes round."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import zmq

from .job import Job, Task, connect, listen, pair, pin_to_one_core

if TYPE_CHECKING:
    from .runtimes import Runtime

__all__ = ["beside", "clients", "ring", "round_trip", "serve_for_ever"]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least this share of them does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


# --- REQ and REP -----------------------------------------------------------------------------------------------------


def serve(socket: Any, count: int) -> None:
    for _ in range(count):
        socket.send(socket.recv())


def ask(socket: Any, message: bytes, count: int, times: list[float]) -> None:
    clock = time.perf_counter
    for _ in range(count):
        asked = clock()
        socket.send(message)
        socket.recv()
        times.append(clock() - asked)


async def serve_async(socket: Any, count: int) -> None:
    for _ in range(count):
        await socket.send(await socket.recv())


async def ask_async(socket: Any, message: bytes, count: int, times: list[float]) -> None:
    clock = time.perf_counter
    for _ in range(count):
        asked = clock()
        await socket.send(message)
        await socket.recv()
        times.append(clock() - asked)


def ask_oneself(req: Any, rep: Any, message: bytes, count: int, times: list[float]) -> None:
    """Both sides in turn, each trying until it succeeds."""
    clock, noblock = time.perf_counter, int(zmq.NOBLOCK)

    def insist(call: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return call(*args)
            except zmq.Again:
                pass

    for _ in range(count):
        asked = clock()
        insist(req.send, message, noblock)
        insist(rep.send, insist(rep.recv, noblock), noblock)
        insist(req.recv, noblock)
        times.append(clock() - asked)


def round_trip(
    runtime: Runtime,
    *,
    transport: str,
    count: int,
    size: int = 100,
    processes: int = 1,
    one_core: bool = False,
    address: str = "",
) -> Job:
    """`count` requests from a REQ to a REP, one after the other.

    With `one_core` both processes share a core. Else two processes have four threads, two of them libzmq's, and the
    figure says where the kernel puts these, not what a round trip costs.
    """
    if one_core:
        pin_to_one_core()
    body = runtime.pick(serve, serve_async, serve)
    if address:
        return Job([(body, connect(runtime, "REP", address), count)], lambda seconds: {})
    req, address = listen(runtime, "REQ", transport)
    message, times = bytes(size), list[float]()
    tasks: list[Task] = [(runtime.pick(ask, ask_async), req, message, count, times)] if processes == 2 else []
    if processes == 1:
        rep = connect(runtime, "REP", address)
        if runtime.contender.style == "bare":
            tasks = [(ask_oneself, req, rep, message, count, times)]
        else:
            tasks = [(body, rep, count), (runtime.pick(ask, ask_async), req, message, count, times)]

    def metrics(seconds: float) -> dict[str, float]:
        p50, p99 = (percentile(times, share) * 1e6 for share in (0.5, 0.99))
        times.clear()
        return {"rate": count / seconds, "p50 us": p50, "p99 us": p99}

    return Job(tasks, metrics, peer={"address": address} if processes == 2 else None)


# --- many ------------------------------------------------------------------------------------------------------------


def answer_all(socket: Any, count: int) -> None:
    for _ in range(count):
        socket.send_multipart(socket.recv_multipart())


def ask_often(socket: Any, message: bytes, count: int) -> None:
    for _ in range(count):
        socket.send(message)
        socket.recv()


async def answer_all_async(socket: Any, count: int) -> None:
    for _ in range(count):
        await socket.send_multipart(await socket.recv_multipart())


async def ask_often_async(socket: Any, message: bytes, count: int) -> None:
    for _ in range(count):
        await socket.send(message)
        await socket.recv()


def clients(runtime: Runtime, *, transport: str, clients: int, count: int, size: int = 100) -> Job:
    """`clients` tasks, each with a DEALER and one request under way, and one ROUTER that answers them all."""
    each = max(1, count // clients)
    router, address = listen(runtime, "ROUTER", transport, BACKLOG=clients)
    dealers = [connect(runtime, "DEALER", address) for _ in range(clients)]
    tasks: list[Task] = [(runtime.pick(answer_all, answer_all_async), router, each * clients)]
    body = runtime.pick(ask_often, ask_often_async)
    tasks += [(body, dealer, bytes(size), each) for dealer in dealers]
    return Job(tasks, lambda seconds: {"rate": each * clients / seconds})


def relay(source: Any, target: Any, count: int) -> None:
    for _ in range(count):
        target.send(source.recv())


async def relay_async(source: Any, target: Any, count: int) -> None:
    for _ in range(count):
        await target.send(await source.recv())


def start(source: Any, target: Any, token: bytes, count: int) -> None:
    for _ in range(count):
        target.send(token)
        source.recv()


async def start_async(source: Any, target: Any, token: bytes, count: int) -> None:
    for _ in range(count):
        await target.send(token)
        await source.recv()


def serve_for_ever(runtime: Runtime, *, requests: str, answers: str) -> Job:
    """Send each message that comes from one address to another: a service for a load generator in another process."""
    source = connect(runtime, "PULL", requests)
    target = connect(runtime, "PUSH", answers)
    return Job([(runtime.pick(relay, relay_async), source, target, sys.maxsize)], lambda seconds: {})


def ring(runtime: Runtime, *, tasks: int, count: int) -> Job:
    """One message goes round a ring of `tasks` tasks, inproc, until it has made `count` hops."""
    rounds = max(1, count // tasks)
    runtime.context.set(zmq.MAX_SOCKETS, 2 * tasks + 8)
    pairs = [pair(runtime, "PUSH", "PULL", "inproc") for _ in range(tasks)]
    sources = [pull for _, pull in pairs]
    targets = [push for push, _ in pairs[1:] + pairs[:1]]
    body = runtime.pick(relay, relay_async)
    hops: list[Task] = [(body, sources[i], targets[i], rounds) for i in range(1, tasks)]
    hops.append((runtime.pick(start, start_async), sources[0], targets[0], b"token", rounds))
    return Job(hops, lambda seconds: {"rate": rounds * tasks / seconds})


def wait_for_ever(socket: Any) -> None:
    socket.recv()


async def wait_for_ever_async(socket: Any) -> None:
    await socket.recv()


def beside(runtime: Runtime, *, waiting: int, count: int) -> Job:
    """A REQ and a REP, inproc, while tasks wait on `waiting` other sockets, for nothing."""
    runtime.context.set(zmq.MAX_SOCKETS, waiting + 16)
    job = round_trip(runtime, transport="inproc", count=count)
    body = runtime.pick(wait_for_ever, wait_for_ever_async)
    sockets = [listen(runtime, "PULL", "inproc")[0] for _ in range(waiting)]
    return job._replace(background=[(body, socket) for socket in sockets])
