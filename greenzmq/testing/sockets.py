"""Test the invariants of a green socket that `greenzmq.sockets.waiters` and `greenzmq.sockets.directions` state."""

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
    """Test a socket's invariants. They hold between any two steps of a program.

    Parameters
    ----------
    socket : Socket
        A green socket, open or closed.
    idle : bool
        Test also that nobody waits on the socket, and that nothing is left of earlier waits.

    Raises
    ------
    ContractError
        An invariant is broken; the message says which. A subclass of `AssertionError`.

    Notes
    -----
    Switches: never. May be called in any greenlet or callback of the socket's thread. Not in a signal handler: that may
    interrupt greenzmq's own code in the middle of a change.
    """
    waiters = socket._greenzmq_state
    _check_waiters(waiters)
    for direction in (waiters.receiving, waiters.sending):
        _check_queue(direction, waiters)
        _check_fast_path(direction, waiters)
    _check_queue(waiters.polling, waiters)
    if idle:
        require(not waiters.is_parked_on(), f"greenlets wait on {socket!r}")
        require(not waiters.listeners, f"{len(waiters.listeners)} listeners wait for {socket!r}")
        watch = waiters.watch
        require(watch is None or watch.lazily_stopped or not watch.started, f"{socket!r} is watched, but nobody waits")


def _check_waiters(waiters: SocketWaiters) -> None:
    parked = waiters.is_parked_on()
    has_waiters = parked or bool(waiters.listeners)
    require(waiters.has_waiters == has_waiters, "`has_waiters` is true exactly while somebody waits")
    require((waiters.socket is not None) == parked, "`socket` is set exactly while a greenlet is parked")
    watch = waiters.watch
    if watch is None or waiters.closed:
        return  # nobody has waited yet; or the socket is closed, and its waiters, woken by that, have yet to leave
    require((watch.started and not watch.lazily_stopped) == parked, "a watch calls back while a greenlet is parked")
    require(watch.hub is waiters.hub, "the watch is on the hub on which greenlets wait")
    known = watch.hub.readers.get(watch.fd) is watch
    require(known or not watch.started, "a started watch is in hub.readers")


def _check_queue(queue: WaitQueue, waiters: SocketWaiters) -> None:
    seen: list[Any] = []
    for waiter in queue:
        require(waiter not in seen, "each waiter stands in the queue once")
        require(waiter.previous is (seen[-1] if seen else None), "`previous` is the waiter before it in the queue")
        require(waiter.hub is waiters.hub, "every greenlet waits on the socket's hub")
        require(not has_ended(waiter.party), "a greenlet that has ended does not stand in a queue")
        seen.append(waiter)
    require(queue.last is (seen[-1] if seen else None), "`last` is the last waiter in the queue")
    require((queue.first is None) == (not seen), "`first` is the first waiter in the queue")


def _check_fast_path(direction: Direction, waiters: SocketWaiters) -> None:
    if waiters.has_waiters or direction.mid_message is not None:
        require(direction.fast_calls_left == 0, "the fast path is closed while anybody waits, and inside a message")
    require(direction.fast_calls_left >= 0, "`fast_calls_left` is never below 0")
