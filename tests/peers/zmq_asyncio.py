"""What `zmq.asyncio` does where `greenzmq.aio` does something else, both measured in the same way.

    python tests/peers/zmq_asyncio.py [asyncio | uvloop]

``tests/peers/asyncio_cancel.py`` shows what a cancellation costs, this program the rest of what docs/differences.md
says of `zmq.asyncio`. Each fact is found in a loop of its own.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import zmq
from support.asyncio import run_on
from support.sockets import address

#: Seconds after which who waits is given up.
PATIENCE = 1.0


def pair(library: Any, first: int = zmq.PUSH, second: int = zmq.PULL, transport: str = "inproc") -> tuple[Any, ...]:
    """A context and two connected sockets."""
    context = library.Context()
    sockets = context.socket(first), context.socket(second)
    for socket in sockets:
        socket.linger, socket.hwm = 0, 0
    sockets[0].bind(address(transport))
    sockets[1].connect(sockets[0].last_endpoint.decode())
    return context, *sockets


async def finished(future: Any) -> Any:
    return await future


async def parts(library: Any) -> str:
    """A task has received one part of a message, and does something else: what another task's recv gets."""
    _, push, pull = pair(library)
    await push.send_multipart([b"1", b"2"])
    await push.send_multipart([b"3"])
    got = {}

    async def by_hand() -> None:
        got["first"] = [await pull.recv()]
        await asyncio.sleep(0.01)
        while pull.get(zmq.RCVMORE):
            got["first"].append(await pull.recv())

    async def other() -> None:
        await asyncio.sleep(0.005)
        got["other"] = await pull.recv()

    await asyncio.wait([asyncio.ensure_future(by_hand()), asyncio.ensure_future(other())], timeout=PATIENCE)
    return "the next part" if got.get("other") == b"2" else "the next message"


async def wake_up(library: Any, rival: Callable[[Any], object]) -> str:
    """How long a task waits whose signal a rival's call has taken."""
    _, push, pull = pair(library, zmq.DEALER, zmq.DEALER, "tcp")
    task = asyncio.ensure_future(finished(pull.recv()))
    await asyncio.sleep(0.05)
    zmq.Socket.shadow(push.underlying).send(b"x")
    poll = select.poll()
    poll.register(zmq.Socket.shadow(pull.underlying).get(zmq.FD), select.POLLIN)
    poll.poll(1000)
    rival(pull)
    began = time.monotonic()
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    return f"{(time.monotonic() - began) * 1000:.1f} ms" if done else "never"


async def term(library: Any) -> str:
    """How long the loop stands still while a context ends whose message nobody takes (LINGER 300 ms)."""
    context = library.Context()
    push = context.socket(zmq.PUSH)
    push.linger = 300
    push.connect("tcp://127.0.0.1:1")
    await push.send(b"x")
    push.close()
    return await stall(lambda: finished_or_not(context.term()))


async def finished_or_not(ending: Any) -> None:
    if ending is not None:
        await ending


async def hot(library: Any) -> str:
    """How late a ticker comes, at worst, that wants to run each ms beside a task whose recv need not wait."""
    _, push, pull = pair(library)
    for _ in range(100_000):
        push.send(b"x")

    async def receive() -> None:
        for _ in range(100_000):
            await pull.recv()

    return await stall(receive)


async def stall(work: Callable[[], Any]) -> str:
    worst, last = 0.0, time.perf_counter()

    async def tick() -> None:
        nonlocal worst, last
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            worst, last = max(worst, now - last), now

    ticker = asyncio.ensure_future(tick())
    await asyncio.sleep(0.01)
    await work()
    await asyncio.sleep(0.005)
    ticker.cancel()
    return f"{worst * 1000:.0f} ms"


async def fork(library: Any) -> str:
    """What a forked child meets that receives from an inherited socket, within a second."""
    _, _, pull = pair(library)
    child = os.fork()
    if not child:
        signal.alarm(1)  # ends it
        try:
            await pull.recv()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return "spins, or waits for ever" if os.WIFSIGNALED(status) else "an error"


FACTS: dict[str, Callable[[Any], Any]] = {
    "another task's recv, inside a message, gets": parts,
    "a waiter, after a rival's get(EVENTS), wakes after": lambda z: wake_up(z, lambda s: s.get(zmq.EVENTS)),
    "... getsockopt(EVENTS)": lambda z: wake_up(z, lambda s: s.getsockopt(zmq.EVENTS)),
    "... bind": lambda z: wake_up(z, lambda s: s.bind(address("inproc"))),
    "... connect": lambda z: wake_up(z, lambda s: s.connect(address("inproc"))),
    "... unbind that fails": lambda z: wake_up(z, lambda s: fails(s.unbind, "tcp://127.0.0.1:2")),
    "the loop stands still while a context lingers": term,
    "a 1 ms ticker beside a hot recv comes late by": hot,
    "a forked child's recv": fork,
}


def fails(call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except zmq.ZMQError:
        pass


def main() -> None:
    import zmq.asyncio

    import greenzmq.aio

    warnings.simplefilter("ignore")
    loop = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    print(f"{'':52} {'zmq.asyncio':26} greenzmq.aio")
    for words, fact in FACTS.items():
        found = [run_on(loop, fact(library)) for library in (zmq.asyncio, greenzmq.aio)]
        print(f"{words:52} {found[0]:26} {found[1]}", flush=True)
    os._exit(0)  # what zmq.asyncio leaves would hold up the end


if __name__ == "__main__":
    main()
