"""The invariants of a green socket, as `greenzmq.sockets.operations` and `greenzmq.sockets.directions` promise them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sockets.messages import has_ended
from .contract.support import require

if TYPE_CHECKING:
    from ..sockets.directions import Direction
    from ..sockets.socket import Socket
    from ..sockets.waiters import SocketWaiters
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
    waiters = socket._greenzmq_state.waiters
    _check_waiters(waiters)
    for direction in (waiters.receiving, waiters.sending):
        _check_queue(direction, waiters)
        _check_fast_path(direction, waiters)
    _check_queue(waiters.polling, waiters)
    if idle:
        require(not waiters.is_parked_on(), f"greenlets wait on {socket!r}")
        require(not waiters.listeners, f"{len(waiters.listeners)} listeners wait for {socket!r}")
        watch = waiters.fd_watch.watch
        require(watch is None or watch.lazily_stopped or not watch.started, f"{socket!r} is watched for nobody")


def _check_waiters(waiters: SocketWaiters) -> None:
    parked = waiters.is_parked_on()
    has_waiters = parked or bool(waiters.listeners)
    require(waiters.has_waiters == has_waiters, "`has_waiters` is true exactly while somebody waits")
    require((waiters.socket is not None) == parked, "`socket` is set exactly while a greenlet is parked")
    watch = waiters.fd_watch.watch
    if watch is None or waiters.closed:
        return  # nobody has waited yet, or the socket has ended and those who waited are on their way out
    require((watch.started and not watch.lazily_stopped) == parked, "the watch calls exactly while one is parked")
    require(watch.hub is waiters.fd_watch.hub, "the watch is on the hub on which greenlets wait")
    known = watch.hub.watching.get((watch.fd, False)) is watch
    require(known or not watch.started, "a started watch is in hub.watching")


def _check_queue(queue: WaitQueue, waiters: SocketWaiters) -> None:
    seen: list[Any] = []
    for waiter in queue:
        require(waiter not in seen, "each waiter stands in the queue once")
        require(waiter.previous is (seen[-1] if seen else None), "each waiter knows the one before it")
        require(waiter.hub is waiters.fd_watch.hub, "all who wait do so on the socket's hub")
        require(not has_ended(waiter.party), "a greenlet that has ended does not stand in a queue")
        seen.append(waiter)
    require(queue.last is (seen[-1] if seen else None), "`last` is the last in the queue")
    require((queue.first is None) == (not seen), "`first` is the first in the queue")


def _check_fast_path(direction: Direction, waiters: SocketWaiters) -> None:
    if waiters.has_waiters or direction.mid_message is not None:
        require(direction.fast_calls_left == 0, "there is no fast path while others wait, nor inside a message")
    require(direction.fast_calls_left >= 0, "`fast_calls_left` is never below 0")
