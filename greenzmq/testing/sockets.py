"""The invariants of a green socket, as `greenzmq.sockets.operations` and `greenzmq.sockets.directions` promise them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .contract.support import require

if TYPE_CHECKING:
    from ..sockets.directions import Direction
    from ..sockets.operations import SocketState
    from ..sockets.socket import Socket
    from ..waiting.waiter import WaitQueue

__all__ = ["check_socket"]


def check_socket(socket: Socket, *, idle: bool = False) -> None:
    """Hold a socket to its invariants: between any two steps of a program they are true.

    Parameters
    ----------
    socket : Socket
        Green; open or closed.
    idle : bool
        Nobody waits on it either, and nothing is left of those who did.

    Raises
    ------
    ContractError
        An `AssertionError` that says which one is broken.

    Notes
    -----
    Switches: never. From any greenlet or callback of the socket's thread; not from a signal handler, nor from within
    greenzmq's own code, where something may be half done.
    """
    readiness = socket._greenzmq_state
    _check_attendance(readiness)
    for direction in (readiness.receiving, readiness.sending):
        _check_queue(direction, readiness)
        _check_credit(direction, readiness)
    if idle:
        require(not readiness.parked, f"{readiness.parked} greenlets wait on {socket!r}")
        require(not readiness.listeners, f"{len(readiness.listeners)} listeners wait for {socket!r}")
        watch = readiness.watch
        require(watch is None or watch.lazily_stopped or not watch.started, f"{socket!r} is watched for nobody")


def _check_attendance(readiness: SocketState) -> None:
    waiting = sum(1 for direction in (readiness.receiving, readiness.sending) for _ in direction)
    require(readiness.parked >= waiting, "`parked` counts those in the queues, and those who poll")
    has_waiters = bool(readiness.parked or readiness.listeners)
    require(readiness.has_waiters == has_waiters, "`has_waiters` is true exactly while somebody waits")
    parked = bool(readiness.parked)
    require((readiness.socket is not None) == parked, "`socket` is set exactly while a greenlet is parked")
    watch = readiness.watch
    if watch is None or readiness.ended:
        return  # nobody has waited yet, or the socket has ended and those who waited are on their way out
    require(
        (watch.started and not watch.lazily_stopped) == parked, "the watch calls exactly while a greenlet is parked"
    )
    require(watch.hub is readiness.hub, "the watch is on the hub on which greenlets wait")
    known = watch.hub.watching.get((watch.fd, False)) is watch
    require(known or not watch.started, "a started watch is in hub.watching")


def _check_queue(queue: WaitQueue, readiness: SocketState) -> None:
    seen: list[Any] = []
    for waiter in queue:
        require(waiter not in seen, "each waiter stands in the queue once")
        require(waiter.previous is (seen[-1] if seen else None), "each waiter knows the one before it")
        require(waiter.hub is readiness.hub, "all who wait do so on the socket's hub")
        require(not waiter.greenlet.dead, "a greenlet that has ended does not stand in a queue")
        seen.append(waiter)
    require(queue.last is (seen[-1] if seen else None), "`last` is the last in the queue")
    require((queue.first is None) == (not seen), "`first` is the first in the queue")


def _check_credit(direction: Direction, readiness: SocketState) -> None:
    if readiness.has_waiters or direction.mid_message is not None:
        require(direction.fast_calls_left == 0, "there is no fast path while others wait, nor inside a message")
    require(direction.fast_calls_left >= 0, "credit is never below 0")
