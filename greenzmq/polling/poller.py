"""Poller, select and zmq_poll: wait for many sockets and descriptors at once.

How a poll works is described in `greenzmq.polling.poller_state`.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import zmq
from zmq.backend import Socket as BackendSocket

from .. import hubs
from ..sockets.coroutines import warn_once
from ..sockets.plain import PlainPoller
from ..sockets.socket import Socket
from ..waiting.hub_api import GreenHub
from ..waiting.limits import as_limit
from ..waiting.waiter import new_waiter
from .entries import fileno, is_waitable
from .fd_set import POLLERR, POLLIN, POLLOUT
from .poller_state import PollerState

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ..hubs import Choice
    from ..waiting.reasons import Reason

__all__ = ["Poller", "select", "zmq_poll"]


class Poller(PlainPoller):
    """A `zmq.Poller` that parks the greenlet. Several greenlets may poll it at once, and use its sockets meanwhile.

    Takes green sockets, plain pyzmq sockets, file descriptors and objects with a ``fileno()``; and for ``POLLIN`` any
    `Waitable`, such as an event or a task. Results, their order and the unit of time (ms) are pyzmq's. A closed socket
    raises an error at the next poll, where pyzmq would poll standard input instead. Any number of Pollers may have a
    socket or descriptor in common.

    Parameters
    ----------
    hub : str, type, Hub or GreenHub, optional
        The hub to wait on. None takes the hub of the first green socket whose context names one; if there is none, the
        rules decide (`greenzmq.hubs.decide`).
    """

    _greenzmq_default_hub: ClassVar[Choice | None] = None
    _greenzmq_state: PollerState
    _greenzmq_reason: Reason = None  # what is told of who polls, if there is more to tell than what is registered

    def __init__(self, *, hub: Choice | GreenHub | None = None) -> None:
        choice = hub.choice if isinstance(hub, GreenHub) else hub
        if choice is not None:
            hubs.hub_class(choice)
        self._greenzmq_state = PollerState(choice or self._greenzmq_default_hub)

    def _greenzmq_serve(self, reason: Reason) -> None:
        """Have this told, as a `Waiter.reason`, of those who poll."""
        self._greenzmq_reason = reason

    # -- what is polled -----------------------------------------------------------------------------------------------

    @property
    def sockets(self) -> list[tuple[Any, int]]:  # type: ignore[override]
        """The registered objects and their events, in the order of registration."""
        return [(entry.what, entry.events) for entry in self._greenzmq_state.entries.values()]

    def __contains__(self, socket: Any) -> bool:
        return socket in self._greenzmq_state.entries

    def register(self, socket: Any, flags: int = zmq.POLLIN | zmq.POLLOUT) -> None:
        """Poll `socket` for `flags` from now on; 0 unregisters it. See `zmq.Poller.register`. Never switches."""
        if flags:
            self._greenzmq_state.register(socket, int(flags))
        elif socket in self:
            self.unregister(socket)

    def modify(self, socket: Any, flags: int = zmq.POLLIN | zmq.POLLOUT) -> None:
        """Change the events that `socket` is polled for; see `zmq.Poller.modify`. Never switches."""
        self.register(socket, flags)

    def unregister(self, socket: Any) -> None:
        """Stop polling `socket`; see `zmq.Poller.unregister`. KeyError if it is not registered. Never switches."""
        self._greenzmq_state.unregister(socket)

    def close(self) -> None:
        """Unregister everything. Never switches.

        Greenlets that wait in the Poller get an empty list. It may be used again. A Poller that is collected is closed
        first.
        """
        self._greenzmq_state.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        state: PollerState | None = getattr(self, "_greenzmq_state", None)
        if state is not None:  # None if `__init__` has failed
            state.clear()

    # -- polling ------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """Wait until something registered is ready; see `zmq.Poller.poll`.

        Parameters
        ----------
        timeout : int or float, optional
            Milliseconds; None or a negative number waits for ever, 0 does not wait.

        Returns
        -------
        list of (object, int)
            The objects that are ready, and their events. As in pyzmq, an object with a ``fileno()`` is returned as its
            number.

        Raises
        ------
        zmq.ZMQError
            ``ENOTSOCK``: a registered socket is closed. ``ETERM``: its context has ended.
        WrongHubError
            A greenlet of another hub waits in this Poller.

        Notes
        -----
        Switches: when nothing is ready, or when this greenlet's turn is over; never with a timeout of 0.
        """
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        state = self._greenzmq_state
        entered = monotonic()
        if seconds != 0 and state.turn.is_over(entered):
            state.let_hub_go_round()
        ready = state.collect_ready()
        if ready or seconds == 0 or not state.entries:
            if ready and seconds == 0:
                end_runs(ready)
            if state.checked and ready and seconds != 0 and hubs.is_debugged_coroutine():
                warn_once("poll")
            return ready
        waiter = new_waiter(state.get_hub(self), seconds, entered, self._greenzmq_reason or state)
        try:
            state.join(waiter)
            if state.dirty:  # marked after `collect_ready` and before `join`, so that no waiter was woken for it
                ready = state.collect_ready()
            while state.entries and not (ready or waiter.expired):
                state.watch(waiter)
                waiter.park()
                ready = state.collect_ready()
        finally:
            try:
                state.leave(waiter)
            except BaseException:  # a signal handler has raised while `leave` ran: it is idempotent, so repeat it
                state.leave(waiter)
                raise
        return ready


def end_runs(ready: list[tuple[Any, int]]) -> None:
    """After a poll that does not wait: the calls under NOBLOCK that follow are no run; see `greenzmq.sockets.fairness`.

    Who polls so may take what is there and never come back, and must not miss the last messages.
    """
    for what, _ in ready:
        if isinstance(what, Socket):
            what._greenzmq_state.end_run()


def zmq_poll(
    sockets: list[tuple[Any, int]], timeout: float = -1, *, poller: type[Poller] = Poller
) -> list[tuple[Any, int]]:
    """Wait until one of `sockets` is ready; see `zmq.zmq_poll`.

    Parameters
    ----------
    sockets : list of (object, int)
        The objects to poll, and their events. An object may be listed more than once.
    timeout : int
        Milliseconds; a negative number waits for ever.

    Returns
    -------
    list of (object, int)
        The objects that are ready, and their events.

    Notes
    -----
    Switches: as `Poller.poll`.
    """
    wanted: dict[Any, int] = {}
    for what, events in sockets:
        wanted[what] = wanted.get(what, 0) | int(events)
    polled = poller()
    for what, events in wanted.items():
        polled.register(what, events or POLLERR)
    ready: dict[Any, int] = {}
    for what, events in polled.poll(timeout):
        ready[what] = ready.get(what, 0) | events
    results = []
    for what, events in sockets:
        key = what if isinstance(what, (int, BackendSocket)) or is_waitable(what) else fileno(what)
        found = ready.get(key, 0) & (events | POLLERR)
        if found:
            results.append((key, found))
    return results


def select(
    rlist: list[Any], wlist: list[Any], xlist: list[Any], timeout: float | None = None, *, poller: type[Poller] = Poller
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait as `select.select` does, for sockets and descriptors; see `zmq.select`.

    Parameters
    ----------
    rlist, wlist, xlist : list
        The objects to poll for reading, for writing, and for errors.
    timeout : float, optional
        Seconds; None or a negative number waits for ever.

    Returns
    -------
    three lists
        The objects of each list that are ready.

    Notes
    -----
    Switches: as `Poller.poll`.
    """
    wanted: dict[Any, int] = {}
    for group, event in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, POLLERR)):
        for what in group:
            wanted[what] = wanted.get(what, 0) | event
    seconds = as_limit(timeout, "select()")
    milliseconds = -1 if seconds is None else int(seconds * 1000)
    ready = zmq_poll(list(wanted.items()), milliseconds, poller=poller)
    readable, writable, failed = (
        [what for what, events in ready if events & event] for event in (POLLIN, POLLOUT, POLLERR)
    )
    return readable, writable, failed
