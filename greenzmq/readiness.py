"""What a socket can do now, who waits for it, and whom to wake.

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
4.  ``EVENTS`` can promise room that a `send` does not find: a ROUTER_MANDATORY asks all its peers, not the one
    addressed (router.cpp, xhas_out). To loop on the promise would spin.

What follows from them, and is held here:

- Waiting greenlets stand in a queue for each direction. One is woken at a time; it makes the call itself, so that
  killing it loses nothing. Whoever leaves the queue, in whatever way, looks at ``EVENTS`` and wakes the next (`_gone`).
- Every call that may process commands is followed by such a look if anybody else waits (`make_good`). If nobody does it
  costs nothing: a direction's `credit` is above 0 only while nobody waits on the socket, and then the fast path of
  `greenzmq.socket` asks for nothing else.
- A sender that meets EAGAIN in spite of a promise is not woken by that promise again, only the one behind it is
  (`refused`). The next signal counts for everybody, also one that an attempt of theirs is going to take.
- A message that is sent or received part by part belongs to one greenlet to its end (`Direction.owner`).
- A signal handler may run between any two bytecodes: close the socket, send, or look. Who parks stands in a queue, or
  among `listeners`, before it looks at `ended` and at ``EVENTS``.
- After a bounded time without a pause the hub goes round before the next operation; `greenzmq.turns` says when it may.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from . import hubs
from .directions import POLLIN, POLLOUT, Direction, Listener, Receiving, Sending, SocketWaiter, whom_to_wake
from .errors import WrongHubError
from .turns import CREDIT, TakesTurns
from .waiting import Waiter, pause

if TYPE_CHECKING:
    from .hubs import Hub

__all__ = ["Readiness"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
DONTWAIT = int(zmq.DONTWAIT)
SNDMORE = int(zmq.SNDMORE)
RCVMORE = int(zmq.RCVMORE)
EVENTS = int(zmq.EVENTS)
#: What a greenlet that was woken may meet, and waits on. EFSM: another one has changed the state of a REQ or REP.
NOT_NOW = (int(zmq.EAGAIN), int(zmq.EFSM))
#: The outcome of an attempt that met EAGAIN.
_MET_AGAIN: Any = object()
#: In place of an empty dict for each socket. Never changed.
_NO_LISTENERS: dict[Listener, None] = {}

Result = TypeVar("Result")
Call = Callable[..., Result]
Args = tuple[Any, ...]
_get: Callable[[Any, int], int] = BackendSocket.get  # type: ignore[assignment]  # of the options asked for here


class Readiness(TakesTurns):
    """One libzmq socket's waiting greenlets. Shared by all green objects that shadow the same socket.

    Invariants:

    - `attended` is true exactly while a queue is not empty or `listeners` is not; then every credit is 0.
    - `socket` is set and the watch is started exactly while a greenlet is parked on the socket itself.
    """

    __slots__ = (
        "__weakref__",
        "attended",
        "listeners",
        "loan",
        "lockstep",
        "receiving",
        "sending",
        "signals",
        "since",
        "socket",
    )

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        self.receiving = Receiving()
        self.sending = Sending()
        self.listeners = _NO_LISTENERS
        self.attended = False
        self.lockstep = False
        # A green socket. The frame of a parked greenlet holds it, too: this keeps nothing alive.
        self.socket: Any = None
        self.loan: Any = None  # `native_proxies.Loan`, while a native thread has the socket
        self.signals = 0
        self.since: float | None = None  # when the operation began that is about to wait, if it has paused since

    def keep_turns(self) -> None:
        """For a REQ or REP: what is out of turn is an error (EFSM), and no wait. ``EVENTS`` does not tell these apart.

        So a `recv` asks it first only if a `send` since the last one has left its mark on the credit; else it tries.
        """
        self.lockstep = True
        self.receiving.credit = 0

    def _asks_first(self, direction: Direction) -> bool:
        """Whether an attempt is likely to be in vain, and ``EVENTS`` can tell: who is about to wait asks it anyway."""
        in_turn = direction is self.receiving and 0 < self.sending.credit < CREDIT
        return in_turn if self.lockstep else direction.dry

    # -- one operation ------------------------------------------------------------------------------------------------

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """``call(socket, flags, *args)``, waiting for as long as it takes: the slow path of every operation.

        `call` is all of the operation; it raises `zmq.Again` only if nothing was done. `zmq.DONTWAIT` among `flags`
        forbids to wait. `met_again`: it has been tried already. A greenlet that waits keeps its stack, 300 bytes or
        more for each frame: so it waits in this one.
        """
        if not met_again:
            result: Result = self._without_waiting(socket, direction, call, flags, args)
            if result is not _MET_AGAIN:
                return result
        waiter = self._new_waiter(socket, direction)
        try:
            direction.join(waiter)
            self._park_here(socket)
            # A send's EAGAIN may leave commands unprocessed; and a signal handler may have looked since.
            self.look(socket)
            if waiter.woken and self.turn_is_over(False):
                self._let_hub_go_round(socket, direction)
            while True:
                if not self.ended:
                    waiter.park()
                result = self._attempt_in_queue(socket, direction, call, flags | DONTWAIT, args, waiter)
                if result is not _MET_AGAIN:
                    direction.dry = direction.dry and waiter.paused
                    return result
                if waiter.expired:
                    raise zmq.Again()
        finally:
            direction.queue.leave(waiter)
            waiter.close()
            self._gone(socket, waiter.paused)

    def _without_waiting(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """The operation, if it need not wait or must not; else `_MET_AGAIN`."""
        since = None
        if direction is self.receiving and direction.last() is not getcurrent():
            self._respect_last_receiver(socket)
        taken = direction.taken()
        if direction.owner is not None and not taken and direction.holder() is not None:
            return self._next_part(socket, direction, call, flags, args)
        if flags & DONTWAIT:
            if taken:
                raise zmq.Again()
            return self._attempt(socket, direction, call, flags, args)
        if not (taken or direction.queue or self._asks_first(direction)):
            exhausted = not (direction.credit or self.attended or direction.dry)
            if self.turn_is_over(exhausted) and _get(socket, direction.timeout_option) != 0:
                since = monotonic()
                self._let_hub_go_round(socket, direction)
                if direction is self.receiving:
                    self._respect_last_receiver(socket)
            if not (direction.queue or direction.taken()):
                result = self._attempt(socket, direction, call, flags, args)
                if result is not _MET_AGAIN:
                    direction.dry = False
                    self._grant_credit(direction, 1)
                    return result
        self.since = since
        return _MET_AGAIN

    def _attempt(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try once, and look after others. `_MET_AGAIN` if it would have to wait, unless that is forbidden anyway.

        A frame that has seen an exception costs 300 bytes as long as it goes on, and an exception that is being
        handled 2 kB. So those that are going to wait are not among them.
        """
        try:
            result = call(socket, flags | DONTWAIT, *args)
            self._note_message_end(socket, direction, flags)
        except zmq.Again:
            if flags & DONTWAIT:
                raise
            return _MET_AGAIN
        finally:
            if self.attended:
                self.make_good(socket)
        return result

    def _next_part(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Go on with a message: past the queue, and it need not wait.

        EAGAIN means that the peer has gone, and the message with it. libzmq then drops the part, and those that follow,
        and a blocking send says nothing of it (lb.cpp).
        """
        result = self._attempt(socket, direction, call, flags, args)
        if result is not _MET_AGAIN:
            return result
        if direction is self.receiving:
            raise zmq.Again()
        self._note_message_end(socket, direction, flags)
        return None  # nothing is in flight that a tracker could follow

    def _new_waiter(self, socket: Any, direction: Direction) -> SocketWaiter:
        """Its time counts from `since`, else from now."""
        since, self.since = self.since, None
        milliseconds = _get(socket, direction.timeout_option)
        if milliseconds == 0:
            direction.credit = 0  # it has not sent: see `keep_turns`
            raise zmq.Again()
        waiter = SocketWaiter(self._bind(socket), milliseconds / 1000 if milliseconds > 0 else None, since)
        direction.dry = not self.lockstep
        if direction.owner is not None:
            direction.mind_owner(self._owner_gone)
        return waiter

    def _attempt_in_queue(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: SocketWaiter
    ) -> Any:
        """Try, once woken or when the time is over; `_MET_AGAIN` if in vain."""
        woken, waiter.woken = waiter.woken, False
        if not self.ended and (direction.taken() or not (woken or direction.queue.first is waiter)):
            return _MET_AGAIN  # somebody has begun a message since; its end wakes the first
        if direction is self.sending and direction.queue.first is not waiter and self.is_signalled():
            self.signals += 1  # what this attempt is going to process may be room for those who were refused
        try:
            result = call(socket, flags, *args)
        except zmq.ZMQError as error:
            if error.errno not in NOT_NOW:
                raise
            if not waiter.expired:
                self._look_after_refusal(socket, direction, waiter)
            return _MET_AGAIN
        self._note_message_end(socket, direction, flags)
        return result

    def _look_after_refusal(self, socket: Any, direction: Direction, waiter: SocketWaiter) -> None:
        """EAGAIN in spite of the promise: somebody else was faster, or the promise was for another."""
        if direction is self.receiving:
            self.look(socket)  # a recv that finds nothing has processed commands, for whomever
            return
        alone = self.parked == 1 and not self.listeners
        if self.is_signalled():  # unseen by the attempt, which was throttled: it counts for everybody, and once more
            waiter.refused = self.signals
            self.signals += 1
        elif alone or not waiter.has_to_try_again(self.signals):
            waiter.refused = self.signals
            self._wake(direction.event)  # the next one, by the same promise; a look could take the signal of this one
            return
        self._wake(self._read_events(socket))

    def _note_message_end(self, socket: Any, direction: Direction, flags: int) -> None:
        """Keep the direction for this greenlet until the last part of its message."""
        if direction is self.sending:
            inside = bool(flags & SNDMORE)
        else:
            if direction.last() is not getcurrent():
                direction.note_receiver()
            if self.lockstep and self.sending.credit:
                self.sending.credit = CREDIT
            # Where nobody stands in the queue, who comes asks for itself (`_respect_last_receiver`).
            contended = direction.queue.first is not None and direction.contended()
            inside = contended and not self.ended and bool(_get(socket, RCVMORE))
        if inside:
            direction.owner = weakref.ref(getcurrent(), self._owner_gone)
            direction.credit = 0
            if direction.queue:
                direction.mind_owner(self._owner_gone)
        elif direction.owner is not None:
            direction.end_message(self._owner_gone)
            self._grant_credit(direction)

    def _respect_last_receiver(self, socket: Any) -> None:
        """Let a message that another greenlet has begun to receive, part by part, be that one's to the end."""
        last = self.receiving.last()
        if last is None or last.dead or last is getcurrent() or self.receiving.owner is not None:
            return
        if _get(socket, RCVMORE):
            self.receiving.owner = weakref.ref(last, self._owner_gone)
            self.receiving.credit = 0

    def _owner_gone(self, _: object) -> None:
        if self.socket is not None and self.hub is not None:
            self.hub.call_soon_threadsafe(self._signalled)

    # -- the turn -----------------------------------------------------------------------------------------------------

    def _grant_credit(self, direction: Direction, used: int = 0) -> None:
        # Without budget the turn is over, and ends with the message that this greenlet is in.
        if not (self.attended or direction.owner is not None or direction.dry) and self.budget > 0:
            if not (self.lockstep and direction is self.receiving):
                direction.credit = CREDIT - used

    def _let_hub_go_round(self, socket: Any, direction: Direction) -> None:
        """The turn is over: let others run, where there can be others and this is not the middle of a message."""
        hub = hubs.current_hub(socket.hub_choice)
        if hub is not None and hub.greenlet is not getcurrent():
            if direction is self.receiving:
                self._respect_last_receiver(socket)
                if _get(socket, RCVMORE) and not direction.taken():
                    self.budget = 0
                    return
            pause(hub)
        self.begin_turn()

    # -- who waits ----------------------------------------------------------------------------------------------------

    def _bind(self, socket: Any) -> Hub:
        """The hub of this greenlet, with the watch on it."""
        hub = self.hub
        parent = getcurrent().parent
        if hub is None or parent is None or hub.greenlet is not parent:
            hub = hubs.get_hub(socket.hub_choice)
        if hub is not self.hub:
            if self.parked and self.hub is not None:
                raise WrongHubError(
                    f"two hubs wait on {socket!r}: {self.hub!r} and {hub!r}; give each thread and hub its own socket"
                )
            self.drop_watch()
            self.hub = hub
        if self.watch is None:
            self.watch = hub.watch(_get(socket, zmq.FD), self._signalled)
        return hub

    def _park_here(self, socket: Any) -> None:
        """A greenlet is about to park on the socket itself; `_gone` is due when it has left, in whatever way."""
        self.parked += 1
        self.socket = socket
        if not self.attended:
            self._attend()
        self.steer_watch()

    def _gone(self, socket: Any, paused: bool) -> None:
        self.parked -= 1
        if paused:
            self.begin_turn()
        if not self.parked:
            self.socket = None
            self.steer_watch()
            self._attend()
        if self.attended:
            self.make_good(socket)

    def _attend(self) -> None:
        self.attended = bool(self.parked or self.listeners)
        if self.attended:
            self.receiving.credit = self.sending.credit = 0
        else:
            self._grant_credit(self.receiving)
            self._grant_credit(self.sending)

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """Wait until the socket can do one of `events`, for `seconds`; which, or 0."""
        self.budget -= 1
        entered = monotonic()
        if events and seconds != 0 and self.budget <= 0 and entered >= self.turn_end:
            self._let_hub_go_round(socket, self.receiving)
        ready = self.examine(socket) & events
        if ready or seconds == 0 or not events:
            return ready
        waiter = Waiter(self._bind(socket), seconds, entered)
        listener = Listener(events, waiter.wake)
        try:
            self._park_here(socket)
            while not (ready or waiter.expired):
                waiter.woken = False
                self.listen(listener)
                self.look(socket)  # see `perform`
                waiter.park()
                ready = self.examine(socket) & events
        finally:
            waiter.close()
            self.listeners.pop(listener, None)
            self._gone(socket, waiter.paused)
        return ready

    def listen(self, listener: Listener) -> None:
        """Tell `listener`, once, when its events may have come; right after ``EVENTS`` has shown none of them."""
        if self.listeners is _NO_LISTENERS:
            self.listeners = {}
        self.listeners[listener] = None
        self._attend()
        if self.ended:
            self._tell_listeners(-1)

    def forget(self, listener: Listener) -> None:
        """Take `listen` back."""
        if self.listeners.pop(listener, self) is not self:
            self._attend()

    # -- whom to wake -------------------------------------------------------------------------------------------------

    def examine(self, socket: Any) -> int:
        """Read ``EVENTS`` and wake who can go on. Raises what libzmq answers, having told everybody. Never switches."""
        try:
            events: int = _get(socket, EVENTS)
        except zmq.ZMQError:
            self.wake_all()
            raise
        if self.attended:
            self.heed(events)
        return events

    def look(self, socket: Any) -> int:
        """`examine`, for whoever may have taken a signal. An ended context or closed socket is ready for everything."""
        events = self._read_events(socket)
        if self.attended:
            self.heed(events)
        return events

    def make_good(self, socket: Any) -> None:
        """After a call that may have taken a signal: `look`, or let who has time to do so look later. Never switches.

        A Poller that rests looks once before it waits, and a loop of sends between two polls pays nothing.
        """
        if not self.parked:
            self._tell([listener for listener in list(self.listeners) if not listener.waits()])
        if self.attended:
            self.look(socket)

    def heed(self, events: int) -> None:
        """Wake who can go on, knowing ``EVENTS``."""
        self.signals += 1
        self._wake(events)

    def wake_all(self) -> None:
        """Every waiter tries once more, to meet what there is to meet: ``ETERM``, ``ENOTSOCK``. Never switches."""
        for direction in (self.receiving, self.sending):
            for waiter in direction.queue:
                waiter.wake_threadsafe() if self.is_elsewhere() else waiter.wake()
        self._tell_listeners(-1)

    def disown(self) -> None:
        """After a fork, in the child: the parent's greenlets are copies here, which nobody wakes any more."""
        self.receiving.queue.forget_all()
        self.sending.queue.forget_all()
        self.listeners.clear()
        if self.watch is not None:
            self.watch.disown()
        self.socket = self.watch = self.hub = None

    def _read_events(self, socket: Any) -> int:
        try:
            return _get(socket, EVENTS)
        except zmq.ZMQError:  # the context has ended or the socket is closed: so learns everybody
            self.wake_all()
            return POLLIN | POLLOUT

    def _wake(self, events: int) -> None:
        reader, writer = whom_to_wake(events, self.receiving, self.sending, self.signals)
        if reader is not None:
            reader.wake()
        if writer is not None:
            writer.wake()
        if self.listeners:
            self._tell_listeners(events)

    def _tell_listeners(self, events: int) -> None:
        self._tell([listener for listener in list(self.listeners) if listener.events & events])

    def _tell(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            if self.listeners.pop(listener, self) is not self:
                listener.wake()
        if listeners:
            self._attend()

    def _signalled(self) -> None:
        """The descriptor is readable; in the hub."""
        if self.socket is None:
            return
        self.signals += 1
        first = self.receiving.queue.first
        if first is not None and self.parked == 1 and not (self.listeners or self.receiving.owner):
            first.wake_now()  # a receiver that is alone looks for itself: its recv processes the commands
            return
        events = self._read_events(self.socket)
        if self.listeners:
            self._tell_listeners(events)
        reader, writer = whom_to_wake(events, self.receiving, self.sending, self.signals)
        if reader is not None and writer is not None:
            writer.wake()
            reader.wake_now()
        elif reader is not None:
            reader.wake_now()
        elif writer is not None:
            writer.wake_now()
