"""Counts of what is done with sockets: messages, reads of ``EVENTS``, and the waits (`greenzmq.waiting.counting`).

A socket pays nothing for that until somebody counts. While somebody does, its fast path is closed, and its
`SocketState` has a class of the same layout in which a few methods count before they go on. Afterwards it has its own
again.
"""

from __future__ import annotations

import weakref
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import zmq
from greenlet import getcurrent

from ..process import unpatched
from ..waiting import counting as waits
from ..waiting.counting import Counts, changing
from ..waiting.reasons import NEXT_TURN, POLL
from .directions import POLLIN, POLLOUT
from .operations import RCVMORE, SNDMORE, SocketState
from .plain import PlainSocket
from .registry import living_states
from .sharing import SharedState
from .waiters import get_option

if TYPE_CHECKING:
    from greenlet import greenlet

    from ..hubs import Hub
    from ..waiting.waiter import Waiter
    from .directions import Direction
    from .messages import Party
    from .operations import Args, Call

__all__ = ["HubCounts", "SocketCounts", "begin", "count_new", "end"]


class SocketCounts(Counts):
    """What is counted of one socket.

    Attributes
    ----------
    state : SocketState
        The socket's.
    """

    def __init__(self, state: SocketState) -> None:
        super().__init__()
        self.state = state

    def concerns(self, waiter: Waiter) -> bool:
        """See `Counts.concerns`: a call or poll of the socket, or a yield at the end of its turn."""
        reason: Any = waiter.reason
        if reason is NEXT_TURN:
            return _yielding.get(getcurrent()) is self.state
        if type(reason) is tuple and reason[0] is POLL:
            reason = reason[1]
        return isinstance(reason, PlainSocket) and getattr(reason, "_greenzmq_state", None) is self.state

    def concerns_call(self) -> bool:
        """Whether to count what is done with the socket right here."""
        return True

    def concerns_state(self, state: SocketState) -> bool:
        """Whether to count what is done with a socket."""
        return state is self.state

    def parked_on(self) -> int:
        """The descriptor on which somebody is parked, to look for signals; -1 if nobody is."""
        return -1 if self.state.socket is None else self.state.fd


class HubCounts(Counts):
    """What is counted of one hub, or of all hubs that run threads: of all sockets that are used in its thread.

    Attributes
    ----------
    hub : Hub or None
        The hub; None stands for all of its kind, which runs threads.
    """

    def __init__(self, hub: Hub | None, kind: type[Hub]) -> None:
        super().__init__()
        self.hub = hub
        self._kind = kind
        self.of_waits = kind.runs_threads  # else a native thread asks the hub

    def concerns(self, waiter: Waiter) -> bool:
        """See `Counts.concerns`: any wait on the hub."""
        return isinstance(waiter.hub, self._kind) if self.hub is None else waiter.hub is self.hub

    def concerns_call(self) -> bool:
        """See `SocketCounts.concerns_call`."""
        return self.hub is None or self.hub.thread_id == unpatched.get_ident()

    def concerns_state(self, state: SocketState) -> bool:
        """See `SocketCounts.concerns_state`: threads have sockets of their own kind."""
        return isinstance(state, SharedState) is self._kind.runs_threads


class _Counted:
    """Who counts a socket, and what its directions were before.

    Attributes
    ----------
    by : tuple of counts
        Who counts it.
    of : weak reference to a SocketState
        The state, as another may have the same `id` later.
    """

    def __init__(self, state: SocketState) -> None:
        self.by: tuple[Any, ...] = ()
        self.of = weakref.ref(state)
        self._class: Any = type(state)
        self._most = (0, 0)

    def add(self, counts: Any, state: SocketState) -> None:
        """`counts` counts it, too."""
        self.by = (*self.by, counts)
        if len(self.by) == 1:
            self._most = (state.receiving.count_calls(), state.begin_sending().count_calls())
            state.__class__ = _counting(self._class)

    def remove(self, counts: Any, state: SocketState) -> None:
        """Undo `add`."""
        before, self.by = self.by, tuple(other for other in self.by if other is not counts)
        if before and not self.by:
            state.__class__ = self._class
            state.receiving.stop_counting(self._most[0])
            state.sending.stop_counting(self._most[1])


#: By the `id` of a state.
_counted: dict[int, _Counted] = {}
#: The states for whose turns greenlets yield right now.
_yielding: dict[greenlet, SocketState] = {}


@cache
def _counting(cls: type[Any]) -> type[Any]:
    """The subclass of a class that counts. With the same layout, so that an object may change to it and back."""
    return type(cls.__name__, (CountedState, cls), {"__slots__": (), "__module__": cls.__module__})


def begin(counts: SocketCounts | HubCounts) -> None:
    """Count from now on."""
    waits.begin(counts)
    for state in living_states():
        _count(state, counts)


def end(counts: SocketCounts | HubCounts) -> None:
    """Undo `begin`. Does nothing after the first time."""
    waits.end(counts)
    with changing.lock:
        states = {id(state): state for state in living_states()}
        if isinstance(counts, SocketCounts):  # it may be closed
            states[id(counts.state)] = counts.state
        for key, state in states.items():
            counted = _counted.get(key)
            if counted is not None and counted.of() is state:
                with _locked(state):
                    counted.remove(counts, state)
                if not counted.by:
                    _forget(key)


def count_new(state: SocketState) -> None:
    """There is a new socket, or another view of one: count it, too, for those who count its hub."""
    for counts in waits.active():
        if isinstance(counts, HubCounts):
            _count(state, counts)


def _count(state: SocketState, counts: SocketCounts | HubCounts) -> None:
    if not counts.concerns_state(state):
        return
    with changing.lock:
        counted = _counted.get(id(state))
        if counted is None or counted.of() is not state:
            counted = _counted[id(state)] = _Counted(state)
            weakref.finalize(state, _forget, id(state)).atexit = False
        if counts not in counted.by:
            with _locked(state):
                counted.add(counts, state)


def _forget(key: int) -> None:
    _counted.pop(key, None)


def _locked(state: SocketState) -> Any:
    """The lock of a socket that threads share; with others nothing is to be locked."""
    return state.lock if isinstance(state, SharedState) else changing.lock


def _counts_of(state: object) -> list[SocketCounts | HubCounts]:
    counted = _counted.get(id(state))
    return [] if counted is None else [counts for counts in counted.by if counts.concerns_call()]


class CountedState(SocketState if TYPE_CHECKING else object):  # type: ignore[misc]
    """See `SocketState`; messages, turns, and each read of ``EVENTS`` are counted.

    Another thread, or a signal handler, may end the counting during any of these methods: then the object has its own
    class again. So they use neither `super` nor methods of this class, but `_own`.
    """

    __slots__ = ()

    def _attempt(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        call = partial(_make, self, direction, call)
        return _own(self)._attempt(self, who, socket, direction, call, flags, args)

    def try_again(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: Waiter, woken: bool
    ) -> Any:
        """See `SocketState.try_again`."""
        call = partial(_make, self, direction, call)
        return _own(self).try_again(self, socket, direction, call, flags, args, waiter, woken)

    def _yield_to_hub(self, socket: Any, direction: Direction) -> None:
        here = getcurrent()
        _yielding[here] = self
        try:
            _own(self)._yield_to_hub(self, socket, direction)
        finally:
            _yielding.pop(here, None)

    def enter(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """See `SocketWaiters.enter`."""
        if direction is not None:
            _add(self, "events_reads")
        _own(self).enter(self, socket, waiter, direction)

    def leave(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """See `SocketWaiters.leave`. The signal that has been seen is used."""
        _own(self).leave(self, socket, waiter, direction)
        _forget_signal(self)

    def read_events(self, socket: Any) -> int:
        """See `SocketWaiters.read_events`."""
        _add(self, "events_reads")
        events: int = _own(self).read_events(self, socket)
        is_for_somebody = (events & POLLIN and self.receiving.first) or (events & POLLOUT and self.sending.first)
        if not (is_for_somebody or self.listeners):
            _forget_signal(self)
        return events

    def check_events(self, socket: Any) -> int:
        """See `SocketWaiters.check_events`."""
        _add(self, "events_reads")
        events: int = _own(self).check_events(self, socket)
        return events

    def check_events_for(self, listener: Any, socket: Any) -> int:
        """See `SocketWaiters.check_events_for`."""
        _add(self, "events_reads")
        events: int = _own(self).check_events_for(self, listener, socket)
        return events


def _own(state: SocketState) -> Any:
    """The class of a state when nobody counts it."""
    cls = type(state)
    return cls.__bases__[1] if issubclass(cls, CountedState) else cls


def _make(state: SocketState, direction: Direction, call: Call[Any], socket: Any, flags: int, *args: Any) -> Any:
    """Make a call, and count the message if this was its end."""
    result = call(socket, flags, *args)
    if direction is state.sending:
        if not flags & SNDMORE:
            _add(state, "sent")
    elif not _has_more(socket):
        _add(state, "received")
    return result


def _forget_signal(state: SocketState) -> None:
    for counts in _counts_of(state):
        if isinstance(counts, SocketCounts):
            counts.see_signal(False)


def _add(state: object, field: str) -> None:
    for counts in _counts_of(state):
        counts.add(field)


def _has_more(socket: Any) -> bool:
    """Whether the message that was received has more parts."""
    try:
        return bool(get_option(socket, RCVMORE))
    except zmq.ZMQError:  # closed meanwhile
        return False
