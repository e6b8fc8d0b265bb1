"""Check the invariants of sockets, after each step of the tests of queues and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import greenzmq
from greenzmq.testing import check_socket
from greenzmq.waiting.waiter import WaitQueue

__all__ = ["check", "checked", "idle", "length"]


def length(queue: WaitQueue) -> int:
    """How many waiters stand in `queue`."""
    return sum(1 for _ in queue)


def check(*sockets: greenzmq.Socket) -> None:
    """Call `check_socket` for each socket."""
    for socket in sockets:
        check_socket(socket)


def idle(*sockets: greenzmq.Socket) -> None:
    """Check that nobody waits on the sockets, and that nothing is left of earlier waits."""
    for socket in sockets:
        check_socket(socket, idle=True)


@contextmanager
def checked(hub: greenzmq.GreenHub, *sockets: greenzmq.Socket) -> Iterator[None]:
    """Call `check` in the hub, every millisecond of the block, and `idle` at its end."""
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
