"""Who waits on a socket, and whom to wake: the half of `greenzmq.sockets.operations` that has no operations.

Greenlets wait in the queue of a direction, and take what comes. Listeners wait for events and take nothing: `poll`, and
Pollers. The reasons for all of this are in `greenzmq.sockets.operations`.

===============  =====================  =====================================================
method           reads ``EVENTS``       wakes
===============  =====================  =====================================================
`read_events`    yes                    nobody; everybody, instead of raising
`check_events`        yes, and may raise     who can go on
`check_events_for`    yes, and may raise     who can go on, but not the listener that asks
`check_events_quietly`           yes                    who can go on
`recheck_for_others`      if anybody waits       who can go on; listeners who have no need yet, in any case
`on_events`, `wake_ready`   no: they are told      who can go on; `on_events` counts as a new signal
`on_readable`      unless one waits       who can go on, the first at once
===============  =====================  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import zmq
from zmq.backend import Socket as BackendSocket

from .. import hubs
from ..errors import WrongHubError
from ..waiting.events import wake_anywhere
from ..waiting.waiter import refuse_to_wait
from .directions import POLLIN, POLLOUT, Listener, Listeners, Receiving, Sending, whom_to_wake
from .fairness import TakesTurns
from .fd_watch import Duplicate

if TYPE_CHECKING:
    from ..hubs import Hub, Watch
    from ..waiting.waiter import Waiter

__all__ = ["EVENTS", "SocketWaiters", "get_option"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
EVENTS = int(zmq.EVENTS)
FD = int(zmq.FD)

#: In place of an empty one for each socket. Never changed.
_NO_LISTENERS = Listeners()

#: Of the options asked for here and in `greenzmq.sockets.operations`, which are numbers.
get_option: Callable[[Any, int], int] = BackendSocket.get  # type: ignore[assignment]


class SignalSource(Protocol):
    """What tells listeners of a socket's signals: a `greenzmq.polling.poll_set.PollSet`, as far as the socket knows
    it.
    """

    def leave(self, state: SocketWaiters) -> None:
        """Tell of this one's no more."""


class SocketWaiters(TakesTurns):
    """Who waits on one libzmq socket.

    Invariants:

    - `has_waiters` is true exactly while a queue is not empty or `listeners` is not; then every credit is 0.
    - `socket` is set and the watch calls exactly while a greenlet is parked on the socket itself; else it rests, or is
      stopped.

    Attributes
    ----------
    all_woken : bool
        The socket has ended, and all who stand in the queues are woken.
    receiving, sending : Direction
        The queues.
    listeners : Listeners
        Those who wait for events and take nothing.
    socket : Socket or None
        A green object for the socket. The frame of a parked greenlet holds it, too: this keeps nothing alive.
    options_version : int
        How often an option was set.
    poll_set : PollSet or None
        The thread's set that has the socket's descriptor for the Pollers among its listeners; see
        `greenzmq.polling.poll_set`.
    poll_fd : int
        The number under which it is there.
    generation : int
        How often it has been looked at what the socket can do; the number of each look.
    """

    __slots__ = (
        "all_woken",
        "generation",
        "has_waiters",
        "listeners",
        "options_version",
        "poll_fd",
        "poll_set",
        "receiving",
        "sending",
        "socket",
    )

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        self.receiving = Receiving()
        self.sending = Sending()
        self.listeners = _NO_LISTENERS
        self.has_waiters = False
        self.all_woken = False
        self.socket: Any = None
        self.poll_set: SignalSource | None = None
        self.poll_fd = -1
        self.options_version = 0
        self.generation = 0

    # -- who waits ----------------------------------------------------------------------------------------------------

    def bind_hub(self, socket: Any) -> Hub:
        """The hub of this greenlet, with the watch on it."""
        hub = hubs.hub_to_wait_on(socket._greenzmq_choice, socket)
        refuse_to_wait(hub)
        if hub is not self.hub:
            if self.parked and self.hub is not None:
                raise WrongHubError(
                    f"two hubs wait on {socket!r}: {self.hub!r} and {hub!r}; give each thread and hub its own socket"
                )
            self.drop_watch()
            self.hub = hub
            # The old hub may be about to resume them, or would live as long as they do.
            self.receiving.spare = self.sending.spare = None
        if self.watch is None:
            self.fd = get_option(socket, FD)
            self.watch = self._new_watch(hub)
        return hub

    def _new_watch(self, hub: Hub) -> Watch:
        if self.exclusive:
            return hub.watch(self.fd, self.on_readable)
        duplicate = Duplicate(self.fd, self.on_readable)
        return hub.watch(duplicate.fd, duplicate)

    def enter(self, socket: Any, waiter: Waiter) -> None:
        """A greenlet is about to park on the socket itself; `leave` is due when it has left, in whatever way."""
        self.parked += 1
        waiter.is_counted = True
        self.socket = socket
        self.has_waiters = True
        self.receiving.fast_calls_left = self.sending.fast_calls_left = 0
        watch = self.watch
        if watch is not None and watch.lazily_stopped:
            watch.lazily_stopped = False
        elif self.parked == 1:
            self.start_watch()

    def leave(self, socket: Any, waiter: Waiter) -> None:
        """A greenlet has left, in whatever way. What an exception has interrupted may be done again."""
        if waiter.is_counted:
            self.parked -= 1
            waiter.is_counted = False
        if waiter.yielded:
            self.begin_turn()
        if not self.parked:
            self.socket = None
            watch = self.watch
            if watch is not None and watch.can_stop_lazily and self.exclusive:
                watch.stop_lazily()
            elif watch is not None:
                self.stop_watch()
            self._gate_fast_path()
        if self.has_waiters:
            self.recheck_for_others(socket)

    def _gate_fast_path(self) -> None:
        """Take all credit while somebody waits, and give it when nobody does, within the turn."""
        receiving, sending = self.receiving, self.sending
        if self.parked or self.listeners:
            self.has_waiters = True
            receiving.fast_calls_left = sending.fast_calls_left = 0
            return
        self.has_waiters = False
        if self.budget > 0:
            if not receiving.expect_eagain and receiving.mid_message is None:
                receiving.fast_calls_left = receiving.fast_calls_max
            if not sending.expect_eagain and sending.mid_message is None:
                sending.fast_calls_left = sending.fast_calls_max

    def listen(self, listener: Listener) -> None:
        """Tell `listener`, once, when its events may have come; a look at ``EVENTS`` is to follow."""
        if self.listeners is _NO_LISTENERS:
            self.listeners = Listeners()
        self.listeners.add(listener)
        self._gate_fast_path()
        if self.ended:
            self._tell_listeners(-1)

    def forget(self, listener: Listener) -> None:
        """Take `listen` back."""
        if self.listeners.discard(listener):
            self._gate_fast_path()

    def leave_poll_set(self) -> None:
        """Take the descriptor out of the Pollers' set; before the socket is closed."""
        if self.poll_set is not None:
            self.poll_set.leave(self)

    def expose(self) -> None:
        """Somebody asks for the socket's address or descriptor: from now on others may watch it, set its options, and
        close it.
        """
        if not self.exclusive:
            return
        self.exclusive = False
        self.forget_timeouts()
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._move_watch)
        else:
            self._move_watch()

    def _move_watch(self) -> None:
        """Go on with a `Duplicate`, also in the midst of a wait. In the thread of the hub."""
        if self.watch is None or self.hub is None:
            return
        watch = self._new_watch(self.hub)
        self.drop_watch()
        self.watch = watch
        if self.parked:
            self.start_watch()
        if self.ended:  # by a signal handler, in the midst of this
            self.drop_watch()

    def forget_timeouts(self) -> None:
        """An option was set, or may be without a word, or the socket has ended: the next wait has to ask."""
        self.options_version += 1
        self.receiving.timeout = self.sending.timeout = None

    # -- whom to wake -------------------------------------------------------------------------------------------------

    def check_events(self, socket: Any) -> int:
        """Read ``EVENTS`` and wake who can go on. Raises what libzmq answers, having told everybody. Never switches."""
        try:
            events: int = get_option(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            raise
        if self.has_waiters:
            self.on_events(events)
        return events

    def check_events_for(self, listener: Listener, socket: Any) -> int:
        """`check_events`, for a listener, which is told later if it has none of its events now.

        It listens before ``EVENTS`` is read: a signal handler that runs in between may take the signal of what follows.
        """
        has_waiters = self.has_waiters
        self.listen(listener)
        try:
            events: int = get_option(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            raise
        if events & listener.events:
            self.forget(listener)
        if has_waiters:
            self.on_events(events)
        return events

    def check_events_quietly(self, socket: Any) -> int:
        """`check_events`, for whoever may have taken a signal. An ended context or closed socket is ready for
        everything.
        """
        events = self.read_events(socket)
        if self.has_waiters:
            self.on_events(events)
        return events

    def recheck_for_others(self, socket: Any) -> None:
        """After a call that may have taken a signal: `check_events_quietly`, or let who has time to do so look later.
        Never switches.

        A Poller that rests looks once before it waits, and a loop of sends between two polls pays nothing.
        """
        if not self.parked:
            self._tell([listener for listener in list(self.listeners) if not listener.waits()])
        if self.has_waiters:
            self.check_events_quietly(socket)

    def on_events(self, events: int) -> None:
        """Wake who can go on, knowing ``EVENTS``."""
        self.generation += 1
        self.wake_ready(events)

    def wake_all(self) -> None:
        """The socket has ended: every waiter tries once more, to meet ``ETERM`` or ``ENOTSOCK``. Never switches.

        Each of them comes by here when it leaves. The first call wakes all, and nobody parks any more, so the others
        have nothing to do: n waiters cost n wake-ups.
        """
        self.ended = True
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._wake_queues)
        else:
            self._wake_queues()
        self._tell_listeners(-1)

    def _wake_queues(self) -> None:
        if self.all_woken:
            return
        for direction in (self.receiving, self.sending):
            for waiter in direction:
                waiter.wake()
        self.all_woken = True  # afterwards, since a signal handler's exception may come out of the above

    def detach_after_fork(self) -> None:
        """After a fork, in the child: the parent's greenlets are copies here, which nobody wakes any more."""
        self.receiving.forget_all()
        self.sending.forget_all()
        self.listeners.clear()
        self.forget_timeouts()
        self.receiving.spare = self.sending.spare = None
        if self.watch is not None:
            self.watch.detach_after_fork()
        self.socket = self.watch = self.hub = self.poll_set = None

    def read_events(self, socket: Any) -> int:
        """``EVENTS``; both, and everybody woken, if that raises: the context has ended, or the socket is closed."""
        try:
            return get_option(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            return POLLIN | POLLOUT

    def wake_ready(self, events: int) -> None:
        """Wake those whom `events` let go on: the first of each direction, and listeners."""
        for waiter in whom_to_wake(events, self.receiving, self.sending, self.generation):
            if waiter is not None:
                wake_anywhere(waiter)  # a call that need not wait may come from any thread
        if self.listeners:
            self._tell_listeners(events)

    def _tell_listeners(self, events: int) -> None:
        self._tell(self.listeners.of(events))

    def _tell(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            if self.listeners.discard(listener):
                listener.wake()
        if listeners:
            self._gate_fast_path()

    def tell_all_listeners(self) -> None:
        """Something may have come, or the descriptor is watched elsewhere from now on: each looks for itself."""
        self._tell(list(self.listeners))

    def on_readable(self) -> None:
        """The descriptor is readable; in the hub."""
        if self.socket is None:
            return
        self.generation += 1
        receiving = self.receiving
        first = receiving.first
        if first is not None and self.parked == 1 and receiving.mid_message is None and not self.listeners:
            first.wake_now()  # a receiver that is alone looks for itself: its recv processes the commands
            return
        events = self.read_events(self.socket)
        if self.listeners:
            self._tell_listeners(events)
        reader, writer = whom_to_wake(events, self.receiving, self.sending, self.generation)
        if reader is not None and writer is not None:
            writer.wake()
            reader.wake_now()
        elif reader is not None:
            reader.wake_now()
        elif writer is not None:
            writer.wake_now()
