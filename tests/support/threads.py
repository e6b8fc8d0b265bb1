"""What the tests of native threads share. A thread is told to go on by an event of `threading`, which blocks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import greenzmq

from .inside import receivers_of, sleeps_alone

__all__ = ["Gate", "blocked", "eventually", "on_threads", "parked_in_order", "receives_asleep"]

#: Seconds after which something is taken for lost.
LOST = 30.0


class Gate:
    """A thread waits in `pass_`, natively, until `open`."""

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()

    def pass_(self) -> None:
        self._reached.set()
        assert self._open.wait(LOST)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(LOST)

    def open(self) -> None:
        self._open.set()


def eventually(condition: Callable[[], object]) -> None:
    """Wait, natively, until `condition` holds: other threads bring it about."""
    until = time.monotonic() + LOST
    while not condition():
        assert time.monotonic() < until, f"{condition} does not come true"
        time.sleep(0.0005)


@contextmanager
def blocked(task: greenzmq.Task[Any]) -> Iterator[None]:
    """The task's thread is parked, and its hub stands still, so that it notices nothing of what is done meanwhile."""
    gate = Gate()
    task.hub.call_soon_threadsafe(gate.pass_)
    gate.wait_until_reached()
    try:
        yield
    finally:
        gate.open()


def parked_in_order(
    hub: greenzmq.GreenHub, queue: Callable[[Any], list[Any]], calls: list[Callable[[], Any]], socket: Any
) -> list[greenzmq.Task[Any]]:
    """A thread for each of `calls`, each parked in the `queue` of `socket` before the next begins."""
    tasks = []
    for number, call in enumerate(calls):
        tasks.append(hub.spawn(call, name=f"parked {number}"))
        eventually(lambda number=number: len(queue(socket)) == number + 1)
        waiter = queue(socket)[-1]
        eventually(lambda waiter=waiter: waiter.parked)
    return tasks


def on_threads(hub: greenzmq.GreenHub, number: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """What ``function(n, *args)`` returns in each of so many threads, all at once."""
    tasks = [hub.spawn(function, n, *args, name=f"thread {n}") for n in range(number)]
    return [task.get(LOST * 10) for task in tasks]


def receives_asleep(thread: threading.Thread, one: Any, other: Any) -> None:
    """Run a thread that receives three messages from `one`: for the first it waits in the usual way, then it sleeps."""
    thread.start()
    eventually(lambda: receivers_of(one))
    for number in range(3):
        other.send(b"%d" % number)
        eventually(lambda number=number: sleeps_alone(one) or number == 2)
    thread.join(LOST)
