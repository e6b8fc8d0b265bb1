"""The invariants of `greenzmq.readiness`, as code: `check` is called after each step of the tests of queues and
schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import greenzmq
from greenzmq.readiness import Direction, Readiness
from greenzmq.waiting import WaitQueue

__all__ = ["check", "checked", "idle", "length"]


def length(queue: WaitQueue) -> int:
    """How many wait in `queue`."""
    return sum(1 for _ in queue)


def check(*sockets: greenzmq.Socket) -> None:
    """The readiness of each socket holds what the docstrings of `Readiness`, `Direction` and `WaitQueue` promise."""
    for socket in sockets:
        readiness = socket._readiness
        _check_attendance(readiness)
        for direction in (readiness.receiving, readiness.sending):
            _check_queue(direction.queue, readiness)
            _check_credit(direction, readiness)


def idle(*sockets: greenzmq.Socket) -> None:
    """Nobody waits on the sockets, and nothing is left of those who did."""
    check(*sockets)
    for socket in sockets:
        readiness = socket._readiness
        assert not readiness.attended
        assert not readiness.parked
        assert not readiness.listeners
        assert readiness.watch is None or not readiness.watch.started


@contextmanager
def checked(hub: greenzmq.GreenHub, *sockets: greenzmq.Socket) -> Iterator[None]:
    """`check` every millisecond of the block, in the hub, and `idle` at its end."""
    failed: list[AssertionError] = []

    def again() -> None:
        try:
            check(*sockets)
        except AssertionError as error:
            failed.append(error)
        timer[0] = hub.hub.call_later(0.001, again)

    timer = [hub.hub.call_later(0, again)]
    try:
        yield
    finally:
        timer[0].cancel()
    if failed:
        raise failed[0]
    idle(*sockets)


def _check_attendance(readiness: Readiness) -> None:
    waiting = length(readiness.receiving.queue) + length(readiness.sending.queue)
    assert readiness.parked >= waiting
    assert readiness.attended == bool(readiness.parked or readiness.listeners)
    assert (readiness.socket is not None) == bool(readiness.parked)
    watch = readiness.watch
    if watch is None:
        return  # nobody has waited yet, or the socket is closed and those who waited are on their way out
    assert watch.started == bool(readiness.parked)
    assert watch.hub is readiness.hub
    if watch.started:
        assert watch.hub.watching[watch.fd, False] is watch


def _check_queue(queue: WaitQueue, readiness: Readiness) -> None:
    seen: list[Any] = []
    for waiter in queue:
        assert waiter not in seen
        assert waiter.previous is (seen[-1] if seen else None)
        assert waiter.hub is readiness.hub
        assert not waiter.greenlet.dead
        seen.append(waiter)
    assert queue.last is (seen[-1] if seen else None)
    assert (queue.first is None) == (not seen)


def _check_credit(direction: Direction, readiness: Readiness) -> None:
    if readiness.attended or direction.owner is not None:
        assert direction.credit == 0
    assert direction.credit >= 0
