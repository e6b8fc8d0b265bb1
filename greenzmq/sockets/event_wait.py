"""The wait of `Socket.poll`: parked on the socket as those who send and receive, woken as a listener."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..waiting.events import wake_anywhere
from ..waiting.reasons import POLL
from ..waiting.waiter import Waiter
from .listeners import WaitingListener

if TYPE_CHECKING:
    from ..hubs import Hub
    from .waiters import SocketWaiters

__all__ = ["EventWait", "wait_for_events"]


class EventWait:
    """One wait for events of a socket, with a `Waiter` of any kind: enter; listen, wait, read the events; leave.

    Parameters
    ----------
    waiters : SocketWaiters
        Who waits on the socket.
    socket : Socket
        The socket.
    events : int
        What to wait for.
    waiter : Waiter
        Who waits.
    """

    __slots__ = ("_events", "_listener", "_socket", "_waiter", "_waiters")

    def __init__(self, waiters: SocketWaiters, socket: Any, events: int, waiter: Waiter) -> None:
        self._waiters = waiters
        self._socket = socket
        self._events = events
        self._waiter = waiter
        self._listener = WaitingListener(events, partial(wake_anywhere, waiter))

    def enter(self) -> None:
        """Begin to wait. The caller has to call `leave` afterwards, whatever happens."""
        self._waiters.enter(self._socket, self._waiter)

    def listen(self) -> None:
        """Have the waiter woken once. Called each time before it waits."""
        self._waiters.listen(self._listener)
        # Again, since only now the listener is there: a signal handler may have cleared the signal before.
        self._waiters.check_events_quietly(self._socket)

    def ready(self) -> int:
        """The events that the socket can do now, of those waited for."""
        return self._waiters.check_events(self._socket) & self._events

    def leave(self) -> None:
        """Wait no more. Idempotent."""
        self._waiters.forget(self._listener)
        self._waiters.leave(self._socket, self._waiter)


def wait_for_events(
    waiters: SocketWaiters, socket: Any, events: int, hub: Hub, seconds: float | None, began_at: float
) -> int:
    """Park until the socket can do one of `events`, or for `seconds` from `began_at` on. Returns the events, or 0."""
    waiter = Waiter(hub, seconds, began_at, (POLL, socket, events))
    wait = EventWait(waiters, socket, events, waiter)
    ready = 0
    try:
        wait.enter()
        while not (ready or waiter.expired):
            wait.listen()
            waiter.park()
            ready = wait.ready()
    finally:
        try:
            wait.leave()
        except BaseException:  # as in `SocketState.perform`
            wait.leave()
            raise
    return ready
