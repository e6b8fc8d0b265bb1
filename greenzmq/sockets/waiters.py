"""Who waits on a socket, and whom to wake.

ZMQ_FD in four facts (libzmq 4.3.5; places are in its ``src/``):

1.  The descriptor is readable exactly while commands from other threads lie unprocessed in the socket's mailbox
    (mailbox.cpp, signaler.cpp). It says nothing of messages. One command announces any number of messages, or room
    for any number.
2.  Whoever processes commands takes the signal from everybody else: reading ``EVENTS``, `bind`, `connect`, `unbind` and
    `disconnect` always do, a `recv` that finds nothing does, any `recv` or `send` may (socket_base.cpp,
    process_commands and its callers). `bind` and `connect` over inproc, and a REP's own `recv`, even change what the
    socket can do with no signal at all.
3.  After EAGAIN, or after ``EVENTS`` has said no, every change is announced by a new command. So a level-triggered
    watch started then, with no other call on the socket in between, misses nothing.
4.  ``EVENTS`` can promise room that a `send` does not find: see `greenzmq.sockets.spurious`.

A timeline. Two receivers wait on one socket, A before B, and the watch is started. A peer sends two messages; a third
greenlet, the rival, polls the socket in between::

    peer sends m1, m2    one command, one signal for both (fact 1): the descriptor is readable
    rival: poll(0)       reads EVENTS, which processes the command: the descriptor is not readable any more (fact 2).
                         If nothing else happened, A and B would sleep on two messages. But every call that may have
                         processed commands goes on to `recheck_for_others`: EVENTS says POLLIN, so A is woken
    hub resumes A        A makes the call itself and takes m1. m2 has no signal of its own (fact 1)
    A: leave             whoever leaves a queue, in whatever way, rechecks: EVENTS says POLLIN, so B is woken
    hub resumes B        B takes m2
    B: leave             the last one out: the watch is stopped, and the fast path is open again

If A had been killed between its wake-up and its turn in the hub, `leave` would have woken B all the same. That is why a
callback never receives on another's behalf, and why every wait ends in `leave`.

What follows, and is held here:

- Waiting greenlets stand in a queue for each direction. One is woken at a time; it makes the call itself, so that
  killing it loses nothing. Whoever leaves the queue rechecks and wakes the next.
- Every call that may process commands is followed by `recheck_for_others` if anybody waits. If nobody does it costs
  nothing: `Direction.fast_calls_left` is above 0 only while nobody waits on the socket.
- A signal handler may run between any two bytecodes: close the socket, send, or look. So a greenlet stands in its
  queue, or a listener is entered, before `closed` and ``EVENTS`` are read.

Greenlets wait in the queue of a direction, and take what comes. Listeners wait for events and take nothing: `poll`, and
Pollers.

======================  =====================  ======================================================
method                  reads ``EVENTS``       wakes
======================  =====================  ======================================================
`read_events`           yes                    nobody; everybody, instead of raising
`check_events`          yes, and may raise     the waiters that can go on
`check_events_for`      yes, and may raise     the same, but not the listener that asks
`check_events_quietly`  yes                    the waiters that can go on
`recheck_for_others`    if anybody waits       the same; and listeners that are not waiting, in any case
`on_events`             no: it is told         the waiters that can go on; counts as a new observation
`wake_ready`            no: it is told         the waiters that can go on
`on_readable`           unless one waits       the waiters that can go on, the first at once
======================  =====================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import zmq
from zmq.backend import Socket as BackendSocket

from ..waiting.events import wake_anywhere
from ..waiting.waiter import WaitQueue
from .directions import POLLIN, POLLOUT, Direction, Receiving, Sending, whom_to_wake
from .fd_watch import FdWatch
from .inherited import inherited_message
from .listeners import Listener, Listeners

if TYPE_CHECKING:
    from ..waiting.waiter import Waiter
    from .fairness import Turn

__all__ = ["EVENTS", "SocketWaiters", "get_option"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
EVENTS = int(zmq.EVENTS)

#: In place of empty ones for each socket. Never changed.
_NO_LISTENERS = Listeners()
_NO_QUEUE = WaitQueue()

#: Of the options asked for here and in `greenzmq.sockets.operations`, which are numbers.
get_option: Callable[[Any, int], int] = BackendSocket.get  # type: ignore[assignment]


class SignalSource(Protocol):
    """What tells listeners of a socket's signals: a `greenzmq.polling.poll_set.PollSet`, as far as it is known here."""

    def leave(self, waiters: SocketWaiters) -> None:
        """Tell of this one's no more."""


class SocketWaiters:
    """Who waits on one libzmq socket.

    Invariants, between any two calls of these methods:

    - `has_waiters` is true exactly while a queue is not empty or `listeners` is not; then no call takes the fast path.
    - `socket` is set and the watch calls back exactly while a greenlet is parked on the socket itself, which is while a
      queue is not empty; else the watch is stopped, or lazily stopped.

    Parameters
    ----------
    turn : Turn
        The socket's turn, which begins anew when a greenlet has waited.

    Attributes
    ----------
    receiving, sending : Direction
        The queues.
    listeners : Listeners
        Those who wait for events and take nothing.
    has_waiters : bool
        Whether anybody waits, in a queue or among the listeners.
    polling : WaitQueue
        The greenlets in `poll`: they are parked on the socket, and take nothing.
    socket : Socket or None
        A green object for the socket. The frame of a parked greenlet holds it, too: this keeps nothing alive.
    fd_watch : FdWatch
        The watch on the socket's ZMQ_FD.
    poll_set : PollSet or None
        The thread's set that has the socket's descriptor for the Pollers among its listeners.
    poll_fd : int
        The number under which it is there.
    generation : int
        Incremented at each observation of ``EVENTS``, and for each signal.
    closed : bool
        The socket is closed or about to be, or its context has ended. Nobody parks, and no watch is started any more.
    all_woken : bool
        The socket is closed, and all who stand in the queues are woken.
    inherited : bool
        It is the parent process's socket.
    """

    __slots__ = (
        "all_woken",
        "closed",
        "fd_watch",
        "generation",
        "has_waiters",
        "inherited",
        "listeners",
        "poll_fd",
        "poll_set",
        "polling",
        "receiving",
        "sending",
        "socket",
        "turn",
    )

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.receiving = Receiving()
        self.sending = Sending()
        self.listeners = _NO_LISTENERS
        self.has_waiters = False
        self.polling = _NO_QUEUE
        self.socket: Any = None
        self.fd_watch = FdWatch(self.on_readable)
        self.poll_set: SignalSource | None = None
        self.poll_fd = -1
        self.generation = 0
        self.closed = False
        self.all_woken = False
        self.inherited = False

    # -- who waits ----------------------------------------------------------------------------------------------------

    def enter(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """A greenlet is about to park, in the queue of `direction`, or to poll; `leave` has to follow in any case.

        Reads ``EVENTS`` for one in a direction, which may wake it at once: a `send` that met EAGAIN may have left
        commands unprocessed, and a signal handler may have looked since.
        """
        receiving, sending = self.receiving, self.sending
        is_first = self.socket is None
        if direction is not None:
            direction.join(waiter)
        else:
            if self.polling is _NO_QUEUE:
                self.polling = WaitQueue()
            self.polling.join(waiter)
        self.socket = socket
        self.has_waiters = True
        if receiving.fast_calls_left:
            receiving.close_fast_path()
        if sending.fast_calls_left:
            sending.close_fast_path()
        if self.closed:
            waiter.wake()  # what closes the socket from now on wakes it, since it stands in a queue
        elif is_first:
            self.fd_watch.start()
        if direction is not None:
            try:
                events = get_option(socket, EVENTS)
            except zmq.ZMQError:  # as `read_events`
                self.wake_all()
                events = POLLIN | POLLOUT
            if events & direction.event or not is_first or self.listeners:
                self.on_events(events)

    def leave(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """A greenlet has left, in whatever way: let the next one go on. Idempotent: cleanup may be interrupted."""
        waiter.close()
        if waiter.yielded:
            self.turn.begin()
        elif direction is not None:
            direction.need_not_wait()
        receiving, sending = self.receiving, self.sending
        if receiving.first is None and sending.first is None and self.polling.first is None:
            self.socket = None
            self.fd_watch.stop()
            if not self.listeners:
                self.has_waiters = False
                if self.turn.calls_left > 0:
                    if not receiving.expect_eagain:
                        receiving.open_fast_path()
                    if sending.fast_calls_max and not sending.expect_eagain:
                        sending.open_fast_path()
                return
        self.recheck_for_others(socket)

    def is_parked_on(self) -> bool:
        """Whether a greenlet is parked on the socket itself."""
        return not (self.receiving.first is None and self.sending.first is None and self.polling.first is None)

    def is_alone(self) -> bool:
        """Whether at most one greenlet is parked on the socket, and nobody listens."""
        queues = [queue for queue in (self.receiving, self.sending, self.polling) if queue.first is not None]
        return not self.listeners and (not queues or (len(queues) == 1 and queues[0].first is queues[0].last))

    def _gate_fast_path(self) -> None:
        """Close the fast path while somebody waits, and open it when nobody does, within the turn."""
        if self.listeners or self.is_parked_on():
            self.has_waiters = True
            self.receiving.close_fast_path()
            self.sending.close_fast_path()
            return
        self.has_waiters = False
        if self.turn.calls_left > 0:
            self.receiving.open_fast_path()
            self.sending.open_fast_path()

    def listen(self, listener: Listener) -> None:
        """Tell `listener`, once, when its events may have come; a look at ``EVENTS`` is to follow."""
        if self.listeners is _NO_LISTENERS:
            self.listeners = Listeners()
        self.listeners.add(listener)
        self._gate_fast_path()
        if self.closed:
            self._tell_listeners(-1)

    def forget(self, listener: Listener) -> None:
        """Take `listen` back."""
        if self.listeners.discard(listener):
            self._gate_fast_path()

    # -- the set of the Pollers ---------------------------------------------------------------------------------------

    def enter_poll_set(self, poll_set: SignalSource, fd: int) -> None:
        """`poll_set` tells the listeners of signals from now on; it has the descriptor as `fd`."""
        self.poll_set, self.poll_fd = poll_set, fd

    def forget_poll_set(self) -> None:
        """It does so no more."""
        self.poll_set = None

    def leave_poll_set(self) -> None:
        """Take the descriptor out of the Pollers' set; before the socket is closed."""
        if self.poll_set is not None:
            self.poll_set.leave(self)

    # -- whom to wake -------------------------------------------------------------------------------------------------

    def read_events(self, socket: Any) -> int:
        """``EVENTS``; both, and everybody woken, if that raises: the context has ended, or the socket is closed."""
        try:
            return get_option(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            return POLLIN | POLLOUT

    def check_events(self, socket: Any) -> int:
        """Read ``EVENTS``, wake the waiters that it lets go on, and return it. Never switches.

        If the read fails, wake everybody, so that each meets the error itself, then raise.
        """
        try:
            events: int = get_option(socket, EVENTS)
        except zmq.ZMQError:
            self._meet_the_end()
            raise
        if self.has_waiters:
            self.on_events(events)
        return events

    def check_events_for(self, listener: Listener, socket: Any) -> int:
        """`check_events`, for a listener, which is told later if it has none of its events now.

        It listens before ``EVENTS`` is read: a signal handler that runs in between may take the signal of what follows.
        """
        had_waiters = self.has_waiters
        self.listen(listener)
        try:
            events: int = get_option(socket, EVENTS)
        except zmq.ZMQError:
            self._meet_the_end()
            raise
        if events & listener.events:
            self.forget(listener)
        if had_waiters:
            self.on_events(events)
        return events

    def check_events_quietly(self, socket: Any) -> int:
        """`check_events`, for a call that may have taken a signal. A closed socket is ready for everything."""
        events = self.read_events(socket)
        if self.has_waiters:
            self.on_events(events)
        return events

    def recheck_for_others(self, socket: Any) -> None:
        """Call after anything that may have consumed the signal. Never switches.

        If a greenlet is parked, read ``EVENTS`` again now. A Poller in which nobody waits is only told, and looks at
        its next poll: so a loop of sends between two polls pays nothing.
        """
        if not self.is_parked_on():
            self._tell([listener for listener in list(self.listeners) if not listener.waits()])
        if self.has_waiters:
            self.check_events_quietly(socket)

    def on_events(self, events: int) -> None:
        """``EVENTS`` has been read: wake the waiters that it lets go on."""
        self.generation += 1
        self.wake_ready(events)

    def count_signal(self) -> None:
        """A signal has come, or is about to be taken: what it announces counts for everybody."""
        self.generation += 1

    def wake_ready(self, events: int) -> None:
        """Wake those whom `events` let go on: the first of each direction, and listeners."""
        for waiter in whom_to_wake(events, self.receiving, self.sending, self.generation):
            if waiter is not None:
                wake_anywhere(waiter)  # a call that need not wait may come from any thread
        if self.listeners:
            self._tell_listeners(events)

    def on_readable(self) -> None:
        """The descriptor is readable; in the hub."""
        if self.socket is None:
            return
        self.generation += 1
        receiving = self.receiving
        first = receiving.first
        if (
            first is not None
            and first is receiving.last
            and self.sending.first is None
            and self.polling.first is None
            and receiving.mid_message is None
            and not self.listeners
        ):
            first.wake_now()  # a receiver that is alone looks for itself: its recv processes the commands
            return
        events = self.read_events(self.socket)
        if self.listeners:
            self._tell_listeners(events)
        reader, writer = whom_to_wake(events, receiving, self.sending, self.generation)
        if reader is not None and writer is not None:
            writer.wake()
            reader.wake_now()
        elif reader is not None:
            reader.wake_now()
        elif writer is not None:
            writer.wake_now()

    def tell_all_listeners(self) -> None:
        """Something may have come, or the descriptor is watched elsewhere from now on: each looks for itself."""
        self._tell(list(self.listeners))

    def _tell_listeners(self, events: int) -> None:
        self._tell(self.listeners.of(events))

    def _tell(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            if self.listeners.discard(listener):
                listener.wake()
        if listeners:
            self._gate_fast_path()

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The socket is about to be closed: park nobody any more, and watch nothing. `wake_all` is due after it."""
        self.closed = True
        self.fd_watch.close()  # libzmq frees the descriptor at any time from now on
        self.leave_poll_set()

    def wake_all(self) -> None:
        """The socket has ended: every waiter tries once more, to meet ``ETERM`` or ``ENOTSOCK``. Never switches.

        Each of them comes by here when it leaves. The first call wakes all, and nobody parks any more, so the others
        have nothing to do: n waiters cost n wake-ups.
        """
        self.closed = True
        if self.fd_watch.hub is not None and self.fd_watch.is_foreign_thread():
            self.fd_watch.hub.call_soon_threadsafe(self._wake_queues)
        else:
            self._wake_queues()
        self._tell_listeners(-1)

    def _meet_the_end(self) -> None:
        """The socket has ended: wake all; and say so if that is since a fork."""
        self.wake_all()
        if self.inherited:
            raise zmq.ZMQError(zmq.ENOTSOCK, inherited_message("socket"))

    def _wake_queues(self) -> None:
        if self.all_woken:
            return
        for direction in (self.receiving, self.sending):
            for waiter in direction:
                waiter.wake()
        self.all_woken = True  # afterwards, since a signal handler's exception may come out of the above

    def detach_after_fork(self) -> None:
        """In a forked child: the parent's greenlets are copies here, which nobody wakes any more."""
        self.receiving.forget_all()
        self.sending.forget_all()
        self.polling.forget_all()
        self.listeners.clear()
        self.fd_watch.detach_after_fork()
        self.socket = self.poll_set = None
        self.inherited = True
