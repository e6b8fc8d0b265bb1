"""Races between a message and a cancellation in one round of an asyncio loop, for greenzmq and for zmq.asyncio.

A task waits in one call of a socket. Then a callback of the loop makes the other side's call, over inproc, and waits
until the socket's descriptor is readable: so the message has arrived. The same callback cancels the task, so that the
loop's next round finds both. An asyncio loop first runs the callbacks that are scheduled, then those of ready
descriptors, then those of due timers. `SOON` puts the cancellation before the signal, `LATER` behind it. (uvloop runs
timers first.)

Whatever happens, no message may be lost: each message that was sent was returned, or can be read afterwards.

A task that is to stay (`race`) waits for ever after it has got its message. So only the cancellation ends it, and it
hangs if that was swallowed.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import select
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import zmq
from support.inside import has_waiters

import greenzmq.asyncio
from greenzmq.sockets.socket import address_of

__all__ = [
    "CANCELS",
    "LATER",
    "OPERATIONS",
    "ORDERS",
    "RECEIVED",
    "SOON",
    "AwaitableSockets",
    "Greenzmq",
    "Spawned",
    "ZmqAsyncio",
    "race",
]

SOON, LATER, RECEIVED = ORDERS = ("cancel, signal", "signal, cancel", "received, cancel")
#: Seconds that `asyncio.wait_for` gives the call: enough for it to begin, unless the machine is busy. Then the trial is
#: an ordinary timeout.
LIMIT = 0.005
_numbers = itertools.count()

OPERATIONS = ("recv", "recv_multipart", "recv_string", "recv_pyobj", "send", "poll")


class Greenzmq:
    """The calls of greenzmq, by `greenzmq.asyncio.run`."""

    name = "greenzmq"

    def __init__(self) -> None:
        self.context: Any = greenzmq.asyncio.Context()

    def call(
        self, socket: Any, operation: str, *args: Any, then: Callable[[], object] = lambda: None
    ) -> Awaitable[Any]:
        """Make the call, and right after it, in the same greenlet, call `then`."""

        def blocking_style() -> Any:
            result = getattr(socket, operation)(*args)
            then()
            return result

        return self._bridge(blocking_style)

    _bridge: Callable[..., Awaitable[Any]] = staticmethod(greenzmq.asyncio.run)

    @staticmethod
    def waits(socket: Any) -> bool:
        return bool(has_waiters(socket))

    async def end(self) -> None:
        await greenzmq.asyncio.run(self.context.term)


class Spawned(Greenzmq):
    """The calls of greenzmq, in tasks that are spawned and then awaited."""

    name = "greenzmq.spawn"
    _bridge = staticmethod(greenzmq.asyncio.spawn)


class ZmqAsyncio:
    """The calls of pyzmq's own zmq.asyncio."""

    name = "zmq.asyncio"

    def __init__(self) -> None:
        import zmq.asyncio

        self.context: Any = zmq.asyncio.Context()

    async def call(self, socket: Any, operation: str, *args: Any, then: Callable[[], object] = lambda: None) -> Any:
        result = await getattr(socket, operation)(*args)
        then()
        return result

    @staticmethod
    def waits(socket: Any) -> bool:
        return True

    async def end(self) -> None:
        self.context.term()  # its sockets are closed


class AwaitableSockets(ZmqAsyncio):
    """The awaitable calls of greenzmq.aio."""

    name = "greenzmq.aio"
    waits = staticmethod(Greenzmq.waits)

    def __init__(self) -> None:
        import greenzmq.aio

        self.context: Any = greenzmq.aio.Context()

    async def end(self) -> None:
        await self.context.term()


class Race:
    """One trial."""

    def __init__(self, library: Any, operation: str, order: str, stays: bool = False) -> None:
        self.library = library
        self.stays = stays
        self.operation = operation
        self.order = order
        self.loop = asyncio.get_running_loop()
        self.push, self.pull = library.context.socket(zmq.PUSH), library.context.socket(zmq.PULL)
        self.plain_push, self.plain_pull = (
            zmq.Socket.shadow(address_of(self.push)),
            zmq.Socket.shadow(address_of(self.pull)),
        )
        for socket in (self.push, self.pull):
            socket.linger, socket.hwm = 0, 1
        self.push.bind(f"inproc://race-{next(_numbers)}")
        self.pull.connect(self.push.last_endpoint.decode())
        self.frame = pickle.dumps("text") if operation == "recv_pyobj" else b"text"
        self.outcome: list[Any] = []
        self.sent = self.read = 0
        if operation == "send":
            while self.plain_push.poll(0, zmq.POLLOUT):
                self._send()

    # -- the two that meet ------------------------------------------------------------------------------------------

    async def wait(self, then: Callable[[], object] = lambda: None) -> None:
        """Make the call, and note its outcome. This is the task that is cancelled."""
        socket, args = (self.push, (self.frame,)) if self.operation == "send" else (self.pull, ())
        self.outcome.append(await self.library.call(socket, self.operation, *args, then=then))
        if self.stays:
            await self.loop.create_future()

    async def until_waiting(self) -> None:
        for _ in range(10):  # rounds; it takes two
            if self.library.waits(self.push if self.operation == "send" else self.pull):
                break
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not self.outcome

    def arrive(self) -> None:
        """Make the other side's call. When this returns, the socket's descriptor is readable."""
        if self.operation == "send":
            while self._read():
                pass
        else:
            self._send()
        poll = select.poll()
        poll.register((self.plain_push if self.operation == "send" else self.plain_pull).get(zmq.FD), select.POLLIN)
        poll.poll(1000)  # a second at most: zmq.asyncio may have cleared the signal; it has other ways to notice

    # -- the balance --------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        self.plain_push.send(self.frame, zmq.NOBLOCK)
        self.sent += 1

    def _read(self) -> bool:
        try:
            self.plain_pull.recv(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.read += 1
        return True

    def lost(self) -> int:
        """Return how many messages are lost. Below 0: how many were sent by a call that did not return."""
        while self._read():
            pass
        if self.operation == "send":
            self.sent += len(self.outcome)
        elif self.operation != "poll":
            self.read += len(self.outcome)
        for socket in (self.push, self.pull):
            socket.close(0)
        return self.sent - self.read


# Each of these functions makes one race, and cancels the task in its own way.


async def by_cancel(race: Race) -> None:
    task: Any = asyncio.ensure_future(race.wait(lambda: task.cancel() if race.order == RECEIVED else None))
    await race.until_waiting()

    def meet() -> None:
        race.arrive()
        if race.order == LATER:
            race.loop.call_later(0, task.cancel)
        elif race.order == SOON:
            task.cancel()

    race.loop.call_soon(meet)
    await asyncio.wait([task])


async def by_wait_for(race: Race) -> None:
    """Cancel by `asyncio.wait_for`. Its timer comes before the signal only if it is due when the callback returns."""
    end = time.monotonic() + LIMIT
    task = asyncio.ensure_future(
        asyncio.wait_for(race.wait(lambda: past(end) if race.order == RECEIVED else None), 0.002)
    )
    await race.until_waiting()

    def meet() -> None:
        race.arrive()
        if race.order != RECEIVED:
            past(end)

    race.loop.call_soon(meet)
    await asyncio.wait([task])
    ended(task, asyncio.TimeoutError)


async def by_timeout(race: Race) -> None:
    limit: Any = None

    def expire() -> None:
        limit.reschedule(race.loop.time() + (1e-6 if race.order == LATER else -1))

    async def limited() -> None:
        nonlocal limit
        async with asyncio.timeout(None) as limit:
            await race.wait(expire if race.order == RECEIVED else lambda: None)

    task = asyncio.ensure_future(limited())
    await race.until_waiting()

    def meet() -> None:
        race.arrive()
        if race.order != RECEIVED:
            expire()

    race.loop.call_soon(meet)
    await asyncio.wait([task])
    ended(task, TimeoutError)


async def by_task_group(race: Race) -> None:
    """Cancel by a TaskGroup, which cancels the task one round after another task of the group has failed."""
    fail = race.loop.create_future()

    async def failing() -> None:
        await fail
        if race.order == SOON:
            race.arrive()
        raise BoomError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(race.wait(lambda: fail.set_result(None) if race.order == RECEIVED else None))
            tasks.create_task(failing())

    task = asyncio.ensure_future(group())
    await race.until_waiting()

    def meet() -> None:
        if race.order != SOON:
            race.arrive()
        if race.order != RECEIVED:
            fail.set_result(None)

    race.loop.call_soon(meet)
    await asyncio.wait([task])
    assert isinstance(task.exception(), BaseExceptionGroup)  # noqa: F821  # this is for Python 3.11 on


class BoomError(Exception):
    """Makes the TaskGroup cancel its tasks."""


def past(end: float) -> None:
    """Block the loop until its clock has passed `end`, as a slow callback does."""
    while time.monotonic() < end + 0.001:
        pass


def ended(task: asyncio.Task[Any], error: type[BaseException]) -> None:
    assert task.exception() is None or isinstance(task.exception(), error)


CANCELS: dict[str, Callable[[Race], Awaitable[None]]] = {"task.cancel": by_cancel, "wait_for": by_wait_for}
if sys.version_info >= (3, 11):
    CANCELS |= {"asyncio.timeout": by_timeout, "TaskGroup": by_task_group}


async def race(library: Any, cancel: str, operation: str, order: str, trials: int, stays: bool = False) -> Counter[str]:
    """Make `trials` races. Count how many calls returned and were cancelled, and how many messages were lost."""
    counts: Counter[str] = Counter()
    for _ in range(trials):
        trial = Race(library, operation, order, stays)
        try:
            await asyncio.wait_for(asyncio.shield(run := asyncio.ensure_future(CANCELS[cancel](trial))), 10)
        except asyncio.TimeoutError:
            counts["swallowed"] += 1
            run.cancel()
        counts["returned" if trial.outcome else "cancelled"] += 1
        counts["lost"] += trial.lost()
        counts["trials"] += 1
    return counts
