"""Who waits on a socket, and whom to wake.

ZMQ_FD in four facts (libzmq 4.3.5; places are in its ``src/``):

1.  A *command* is what one of libzmq's threads, or another socket, puts into a socket's mailbox: "a pipe has messages",
    "the peer has made room". The descriptor is readable exactly while commands lie unprocessed in the mailbox
    (mailbox.cpp, signaler.cpp): that is the *signal*. It does not say how many messages there are. One command
    announces any number of messages, or room for any number.
2.  A call that processes the commands clears the signal, for everybody. Reading ``EVENTS``, `bind`, `connect`, `unbind`
    and `disconnect` always process them, so does a `recv` that finds nothing, and any other `recv` or `send` may
    (socket_base.cpp, process_commands and its callers). `bind` and `connect` over inproc, and a REP's own `recv` and
    `send`, even change what the socket can do with no signal at all.
3.  After a call met EAGAIN, or ``EVENTS`` has said no, the next change is always announced: a new command makes the
    descriptor readable, or an unprocessed one has left it so. A level-triggered watch started then, with no other call
    on the socket in between, misses nothing.
4.  ``EVENTS`` can promise room that a `send` does not find: see `greenzmq.sockets.spurious`.

A timeline. Two receivers, A before B, are parked on one socket, and the watch is started. A peer sends two messages. A
third greenlet, the rival, polls the socket before the hub has seen the signal::

    what happens         mailbox     fd         queue   why
    ------------------   ---------   --------   -----   ------------------------------------------------------------
    peer sends m1, m2    1 command   readable   A, B    one command announces both messages (fact 1)
    rival: poll(0)       empty       silent     A, B    to read EVENTS processes the command, and clears the signal
                                                        (fact 2). The hub sees nothing: A and B would sleep for ever
                                                        beside two messages. Therefore `check_events` wakes waiters
                                                        by what it has read: EVENTS says POLLIN, so A is woken
    hub resumes A        empty       silent     A, B    A itself calls recv, and gets m1. No command announces m2:
                                                        the one that announced it is processed
    A: leave             empty       silent     B       somebody still waits, so `leave` reads EVENTS again. It says
                                                        POLLIN, since m2 is there: B is woken
    hub resumes B        empty       silent     B       B gets m2
    B: leave             empty       silent     -       nobody waits: the watch is stopped, and the fast path may open

If an exception is thrown into A after its wake-up and before it runs, A's ``finally`` calls `leave` all the same, and
that wakes B. So a greenlet that is woken and killed passes the wake-up on. This is also why no callback of the watch
receives a message on behalf of a greenlet: it would have to give the message to one that may be dead by then.

The rules that follow from this, which the methods here implement:

- Waiting greenlets stand in a queue for each direction. Only the first is woken. It makes the call itself, so killing
  it loses no message. When it leaves the queue, it reads ``EVENTS`` again and wakes the next one.
- Every call that may process commands is followed by `recheck_for_others`, or reads ``EVENTS`` itself, if anybody
  waits. If nobody waits, the check costs nothing: `Direction.fast_calls_left` is above 0 only then.
- A signal handler may run between any two bytecodes, and may close the socket, send on it, or read ``EVENTS``. So
  first a greenlet joins its queue, or a listener is added, and only then `closed` and ``EVENTS`` are read. In the other
  order, a handler between the two would clear the signal and find nobody to wake.

Greenlets in a queue take a message, or send one. Listeners (`Socket.poll` and Pollers) only wait for events.

======================  =====================  ======================================================
method                  reads ``EVENTS``       wakes
======================  =====================  ======================================================
`read_events`           yes                    nobody; if the read fails, everybody
`check_events`          yes, and may raise     the waiters that can go on
`check_events_for`      yes, and may raise     the same, but not the listener that it is called for
`check_events_quietly`  yes                    the waiters that can go on
`recheck_for_others`    if anybody waits       the same; if no greenlet is parked on the socket itself, first
                                               the listeners of Pollers in which nobody waits
`on_events`             no: an argument        the waiters that can go on; counts as a new observation
`wake_ready`            no: an argument        the waiters that can go on
`on_readable`           not for one receiver   the waiters that can go on, and switches to the first at once
======================  =====================  ======================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import zmq

from ..hubs.base import BY_FLAG
from ..waiting.events import wake_anywhere
from ..waiting.waiter import WaitQueue
from .accelerator import get_option
from .directions import POLLIN, POLLOUT, Direction, Receiving, Sending, whom_to_wake
from .fairness import SocketTurn
from .fd_watch import FdWatch
from .inherited import inherited_message
from .listeners import Listener, Listeners

if TYPE_CHECKING:
    from ..waiting.waiter import Waiter

__all__ = ["EVENTS", "SocketWaiters", "get_option"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
EVENTS = int(zmq.EVENTS)

#: What `SocketWaiters.closed` is made of.
CLOSED, ALL_WOKEN, INHERITED = 1, 2, 4

#: Shared by all sockets that have none of their own, to save memory. Never changed.
_NO_LISTENERS = Listeners()
_NO_QUEUE = WaitQueue()
_NO_SENDS = Sending()
_NO_SENDS.never_fast()
#: By the `id` of waiters: the direction that some call is about to give them. They are kept here, too, since a signal
#: handler's exception may leave this behind, and another object that gets their `id` must not find it.
_being_made: dict[int, tuple[object, Sending]] = {}


class SocketWaiters(FdWatch):
    """The part of `SocketState` that knows who waits on the socket, and whom to wake.

    Invariants, between any two calls of these methods:

    - `has_waiters` is true exactly while a queue is not empty or `listeners` is not; then no call takes the fast path.
    - `socket` is set and the watch calls back exactly while one of the three queues is not empty, that is, while a
      greenlet is parked on the socket itself. Otherwise the watch is stopped, or lazily stopped.

    Parameters
    ----------
    turn_seconds : float
        How long a turn of the socket lasts.

    Attributes
    ----------
    receiving, sending : Direction
        The queues of greenlets that receive and that send. That of the senders is made by `begin_sending`, for the
        first send; before, it is one that all sockets share, which stays empty.
    begun_turn : SocketTurn or None
        The socket's turn, which begins anew when a greenlet has waited. The first one begins with the first call that
        need not wait: a socket whose calls all wait has none.
    listeners : Listeners
        Each `Socket.poll` and each Poller that waits for events of the socket.
    has_waiters : bool
        Whether anybody waits, in a queue or among the listeners.
    polling : WaitQueue
        The greenlets in `Socket.poll`. They are parked on the socket, and are woken as listeners.
    socket : Socket or None
        The green object through which `on_readable` reads ``EVENTS``. This reference does not prolong its life: the
        frame of a parked greenlet refers to it as well.
    generation : int
        Incremented at each observation of ``EVENTS``, and for each signal; see `greenzmq.sockets.spurious`.
    closed : int
        0 while the socket can be used. Else no greenlet parks and no watch is started, and it is made of `CLOSED`: the
        socket is closed or about to be, or its context has ended; `ALL_WOKEN`: every waiter in the queues has been
        woken for that; and `INHERITED`: it is the parent process's socket.
    """

    __slots__ = (
        "begun_turn",
        "closed",
        "generation",
        "has_waiters",
        "listeners",
        "polling",
        "receiving",
        "sending",
        "socket",
        "turn_seconds",
    )
    turn_class: ClassVar[type[SocketTurn]] = SocketTurn

    def __init__(self, turn_seconds: float) -> None:
        super().__init__()
        self.turn_seconds = turn_seconds
        self.begun_turn: SocketTurn | None = None
        self.receiving = Receiving()
        self.sending = _NO_SENDS
        self.listeners = _NO_LISTENERS
        self.has_waiters = False
        self.polling = _NO_QUEUE
        self.socket: Any = None
        self.generation = 0
        self.closed = 0

    @property
    def inherited(self) -> bool:
        """It is the parent process's socket."""
        return bool(self.closed & INHERITED)

    # -- who waits ----------------------------------------------------------------------------------------------------

    def enter(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """Put the waiter of a greenlet that is about to park into a queue: of `direction`, or of those in `poll`.

        The caller has to call `leave` afterwards, whatever happens.

        For a `direction`, reads ``EVENTS`` before the park, which may wake the waiter at once. There are three reasons:
        the caller may not have tried at all (`Direction.expect_eagain`); a signal handler may have cleared the signal
        since it tried; and a `send` that met EAGAIN may have left commands unprocessed.
        """
        receiving, sending = self.receiving, self.sending
        is_first = self.socket is None
        # The waiter joins its queue before `closed` and EVENTS are read: see the rules above.
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
            waiter.wake()  # closed before it joined; a close from now on finds it in the queue
        elif is_first:
            self.start_watch()
        if direction is not None:
            try:  # `read_events`, in line: every wait comes by here
                events = get_option(socket, EVENTS)
            except zmq.ZMQError:
                self.wake_all()
                events = POLLIN | POLLOUT
            if events & (POLLIN if direction is receiving else POLLOUT) or not is_first or self.listeners:
                self.on_events(events)

    def leave(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """Take a waiter out of its queue, however its wait has ended, and wake the next waiter that can go on.

        Idempotent: if a signal handler's exception interrupts this call, the caller repeats it.
        """
        waiter.close()
        turn = self.begun_turn
        if turn is not None and waiter.yielded:
            turn.begin()  # the hub has run others meanwhile
        elif direction is not None and not waiter.yielded:
            direction.need_not_wait()
        receiving, sending = self.receiving, self.sending
        if receiving.first is None and sending.first is None and self.polling.first is None:
            self.socket = None
            watch = self.watch
            if watch is not None:
                if watch.can_stop_lazily == BY_FLAG and self.exclusive:  # in line, since nearly every wait ends here
                    watch.lazily_stopped = True
                else:
                    self.stop_watch(watch)
            if not self.listeners:
                self.has_waiters = False
                if turn is None or turn.calls_left > 0:
                    if receiving.fast_calls_max and not receiving.expect_eagain:
                        receiving.open_fast_path()
                    if sending.fast_calls_max and not sending.expect_eagain:
                        sending.open_fast_path()
                return
        # Others wait. This waiter may have consumed the signal, or have been woken by it and not used it.
        self.recheck_for_others(socket)

    def begin_sending(self) -> Sending:
        """Return the direction of the senders, which is made by the first call."""
        if self.sending is not _NO_SENDS:
            return self.sending
        # Another thread, or a signal handler, may call this between any two steps. Only one direction is ever used: the
        # one that is in the dict while it is given, or that was given before.
        made = Sending()
        made.close_fast_path()
        _, made = _being_made.setdefault(id(self), (self, made))
        if self.sending is _NO_SENDS:
            self.sending = made
            self._gate_fast_path()
        _being_made.pop(id(self), None)
        return self.sending

    def first_turn(self) -> SocketTurn:
        """Begin the socket's first turn."""
        self.begun_turn = turn = self.turn_class(self.turn_seconds)
        return turn

    def end_run(self) -> None:
        """Count no more calls of a run under NOBLOCK; see `SocketTurn.end_run`."""
        if self.begun_turn is not None:
            self.begun_turn.end_run()

    def is_parked_on(self) -> bool:
        """Whether a greenlet is parked on the socket itself."""
        return not (self.receiving.first is None and self.sending.first is None and self.polling.first is None)

    def forget_queues(self) -> None:
        """Forget who is parked on the socket, without waking anybody. For a hub whose loop is closed."""
        for queue in (self.receiving, self.sending, self.polling):
            queue.forget_all()
        self.socket = None
        self._gate_fast_path()

    def is_alone(self) -> bool:
        """Whether at most one greenlet is parked on the socket, and there are no listeners."""
        queues = [queue for queue in (self.receiving, self.sending, self.polling) if queue.first is not None]
        return not self.listeners and (not queues or (len(queues) == 1 and queues[0].first is queues[0].last))

    def _gate_fast_path(self) -> None:
        """Close the fast path if somebody waits. If nobody does, open it, unless the turn is over."""
        receiving, sending = self.receiving, self.sending
        if self.listeners or not (receiving.first is None and sending.first is None and self.polling.first is None):
            self.has_waiters = True
            if receiving.fast_calls_left:
                receiving.close_fast_path()
            if sending.fast_calls_left:
                sending.close_fast_path()
            return
        self.has_waiters = False
        if self.begun_turn is None or self.begun_turn.calls_left > 0:
            if receiving.fast_calls_max:
                receiving.open_fast_path()
            if sending.fast_calls_max:
                sending.open_fast_path()

    def listen(self, listener: Listener) -> None:
        """Have `listener` woken, once, when one of its events may have come.

        The caller reads ``EVENTS`` afterwards: an event that is there already is not announced again.
        """
        if self.listeners is _NO_LISTENERS:
            self.listeners = Listeners()
        self.listeners.add(listener)
        self._gate_fast_path()
        if self.closed:
            self._tell_listeners(-1)

    def forget(self, listener: Listener) -> None:
        """Undo `listen`."""
        if self.listeners.discard(listener):
            self._gate_fast_path()

    # -- whom to wake -------------------------------------------------------------------------------------------------

    def read_events(self, socket: Any) -> int:
        """Read ``EVENTS`` and return it. Never raises.

        If the read fails, the context has ended or the socket is closed. Then everybody is woken, and the answer is
        "readable and writable": the next operation meets the error.
        """
        try:
            return get_option(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            return POLLIN | POLLOUT

    def check_events(self, socket: Any) -> int:
        """Read ``EVENTS``, wake the waiters that can go on, and return it. Never switches.

        If the read fails, everybody is woken, so that each meets the error itself; then the error is raised.
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
        """`check_events` on behalf of a listener. If none of its events is there, it is woken when one comes.

        The listener is added before ``EVENTS`` is read. In the other order, a signal handler that ran in between could
        clear the signal of a later event, and find no listener to wake.
        """
        had_waiters = self.has_waiters
        if listener not in self.listeners:
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
        """`check_events` that never raises: a closed socket is ready for everything, see `read_events`."""
        events = self.read_events(socket)
        if self.has_waiters:
            self.on_events(events)
        return events

    def recheck_for_others(self, socket: Any) -> None:
        """Make good for a call that may have consumed the signal. Never switches.

        If a greenlet is parked here or waits in a Poller, read ``EVENTS`` again now. A Poller in which nobody waits
        only notes that it has to check the socket at its next poll. It then is no listener any more, so in a loop of
        sends between two polls only the first send pays for this.
        """
        if not self.is_parked_on():
            self._tell([listener for listener in list(self.listeners) if not listener.waits()])
        if self.has_waiters:
            self.check_events_quietly(socket)

    def on_events(self, events: int) -> None:
        """The caller has just read `events`: wake the waiters that can go on."""
        self.generation += 1
        self.wake_ready(events)

    def count_signal(self) -> None:
        """There is a signal, or a call is about to consume it: senders that were refused before may try again."""
        self.generation += 1

    def wake_ready(self, events: int) -> None:
        """Wake the waiters that can go on with `events`: the first of each direction, and listeners."""
        for waiter in whom_to_wake(events, self.receiving, self.sending, self.generation):
            if waiter is not None:
                wake_anywhere(waiter)  # since a call that need not wait may be made in any thread
        if self.listeners:
            self._tell_listeners(events)

    def on_readable(self) -> None:
        """The callback of the watch, in the hub: the descriptor is readable.

        Has to process the commands, or have a greenlet do so: the descriptor stays readable until then.
        """
        if self.socket is None:  # nobody is parked any more
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
            # For a receiver that is alone, EVENTS need not be read: its own recv processes the commands.
            first.wake_now()
            return
        events = self.read_events(self.socket)
        if self.listeners:
            self._tell_listeners(events)
        reader, writer = whom_to_wake(events, receiving, self.sending, self.generation)
        if reader is not None and writer is not None:
            writer.wake()  # only scheduled: `wake_now` has to be the last act of a callback, so it is for one of them
        if reader is not None:
            reader.wake_now()
        elif writer is not None:
            writer.wake_now()

    __call__ = on_readable

    def tell_all_listeners(self) -> None:
        """Wake all listeners: an event may have come, or the descriptor is not watched any more where it was.

        Each of them reads ``EVENTS`` itself.
        """
        self._tell(list(self.listeners))

    def _tell_listeners(self, events: int) -> None:
        self._tell(self.listeners.of(events))

    def _tell(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            if self.listeners.discard(listener):  # else a signal handler has woken it meanwhile
                listener.wake()
        if listeners:
            self._gate_fast_path()

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Prepare for the close of the socket: nobody parks here any more, and nothing is watched.

        The caller closes the socket and then calls `wake_all`.
        """
        self.closed |= CLOSED  # first: a greenlet that a signal handler makes wait here must not park
        self.close_watch()  # libzmq frees the descriptor at any time from now on
        self.leave_poll_set()

    def wake_all(self) -> None:
        """Wake every waiter of a socket that has ended. Each tries once more, and meets ETERM or ENOTSOCK.

        Never switches. Each woken waiter calls this again when it leaves, since its read of ``EVENTS`` fails. Only the
        first call wakes the queues (`ALL_WOKEN`), so that n waiters cost n wake-ups and not n².
        """
        self.closed |= CLOSED
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._wake_queues)
        else:
            self._wake_queues()
        self._tell_listeners(-1)

    def _meet_the_end(self) -> None:
        """Wake everybody, since ``EVENTS`` could not be read. In a forked child, raise the error that explains why."""
        self.wake_all()
        if self.inherited:
            raise zmq.ZMQError(zmq.ENOTSOCK, inherited_message("socket"))

    def _wake_queues(self) -> None:
        if self.closed & ALL_WOKEN:
            return
        for direction in (self.receiving, self.sending):
            for waiter in direction:
                waiter.wake()
        self.closed |= ALL_WOKEN  # only now: if a signal handler's exception interrupts the loop, the next call repeats

    def detach_after_fork(self) -> None:
        """In a forked child: forget all waiters. They are copies of the parent's greenlets, which never run here."""
        self.closed |= INHERITED  # first: a send that is forgotten here is no loss, the parent makes it
        for queue in (self.receiving, self.sending, self.polling):
            queue.forget_all()
        self.listeners.clear()
        self.detach_watch()
        self.socket = None
