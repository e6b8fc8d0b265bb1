"""The invariants of `greenzmq.sockets.operations`, checked after each step of the tests of queues and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import greenzmq
from greenzmq.testing import check_socket
from greenzmq.waiting.waiter import WaitQueue

__all__ = ["check", "checked", "idle", "length"]


def length(queue: WaitQueue) -> int:
    """How many wait in `queue`."""
    return sum(1 for _ in queue)


def check(*sockets: greenzmq.Socket) -> None:
    """`check_socket` for each."""
    for socket in sockets:
        check_socket(socket)


def idle(*sockets: greenzmq.Socket) -> None:
    """Nobody waits on the sockets, and nothing is left of those who did."""
    for socket in sockets:
        check_socket(socket, idle=True)


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
