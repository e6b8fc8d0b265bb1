"""What waiting costs: memory and time to set it up, and what happens while nothing does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import zmq

from .job import Job, listen
from .round_trips import wait_for_ever, wait_for_ever_async

if TYPE_CHECKING:
    from .runtimes import Runtime

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["idle", "waiters"]

SETTLED = 0.2
"""Seconds after which every task that was spawned waits."""


def resident() -> int:
    """Bytes of memory that this process holds."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: the peak, in bytes


def waiters(runtime: Runtime, *, sockets: int) -> Job:
    """`sockets` sockets, each with a task that waits for a message. Bare, nobody waits: what libzmq itself takes."""
    runtime.context.set(zmq.MAX_SOCKETS, sockets + 16)
    runtime.context.socket(zmq.PULL)  # with the first one libzmq starts its threads
    body = runtime.pick(wait_for_ever, wait_for_ever_async, id)
    kept: list[Any] = []
    seen: list[float] = []

    def steps() -> Iterator[float]:
        seen.extend((resident(), time.perf_counter()))
        for _ in range(sockets):
            socket, _ = listen(runtime, "PULL", "inproc")
            kept.append((socket, runtime.spawn(body, socket)))
        yield 0  # all tasks run up to where they wait
        seen.append(time.perf_counter())
        yield SETTLED
        seen.append(resident())

    def note() -> dict[str, float]:
        before, began, waiting, after = seen
        return {"KiB": (after - before) / sockets / 1024, "us": (waiting - began) / sockets * 1e6}

    return stepwise(runtime, steps, note)


def idle(runtime: Runtime, *, sockets: int, duration: float) -> Job:
    """`sockets` tasks that wait, and one more in a poller of as many; then nothing happens for `duration` seconds."""
    runtime.context.set(zmq.MAX_SOCKETS, 2 * sockets + 16)
    waiting = [listen(runtime, "PULL", "inproc")[0] for _ in range(sockets)]
    polled = [listen(runtime, "PULL", "inproc")[0] for _ in range(sockets)]
    body = runtime.pick(wait_for_ever, wait_for_ever_async)
    background: list[Any] = [(body, socket) for socket in waiting]
    if runtime.contender.name != "eventlet.green.zmq":  # it has no green Poller
        poller = runtime.zmq.Poller()
        for socket in polled:
            poller.register(socket, zmq.POLLIN)
        background.append((runtime.pick(poll_for_ever, poll_for_ever_async), poller))
    usage: list[Any] = []

    def steps() -> Iterator[float]:
        yield SETTLED
        usage.append(resource.getrusage(resource.RUSAGE_SELF))
        yield duration
        usage.append(resource.getrusage(resource.RUSAGE_SELF))

    def note() -> dict[str, float]:
        before, after = usage
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"wake-ups/s": (after.ru_nvcsw - before.ru_nvcsw - 1) / duration, "CPU ms/s": cpu / duration * 1e3}

    return stepwise(runtime, steps, note)._replace(background=background)


def poll_for_ever(poller: Any) -> None:
    poller.poll()


async def poll_for_ever_async(poller: Any) -> None:
    await poller.poll()


def stepwise(runtime: Runtime, steps: Any, note: Any) -> Job:
    """One task that goes through `steps` and sleeps for as long as each of them says."""

    def go() -> None:
        for seconds in steps():
            runtime.sleep(seconds)

    async def go_async() -> None:
        for seconds in steps():
            await runtime.sleep(seconds)

    return Job([(runtime.pick(go, go_async, go),)], lambda seconds: note())
