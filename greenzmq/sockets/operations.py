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
  killing it loses nothing. Whoever leaves the queue, in whatever way, looks at ``EVENTS`` and wakes the next
  (`SocketWaiters.leave`).
- Every call that may process commands is followed by such a look if anybody else waits (`recheck_for_others`). If
  nobody does it costs nothing: a direction's `fast_calls_left` is above 0 only while nobody waits on the socket, and
  then the fast path of `greenzmq.sockets.socket` asks for nothing else.
- A sender that meets EAGAIN in spite of a promise is not woken by that promise again, only the one behind it is
  (`refused`). The next signal counts for everybody, also one that an attempt of theirs is going to take.
- A message that is sent or received part by part belongs to one greenlet to its end (`Direction.mid_message`).
- A signal handler may run between any two bytecodes: close the socket, send, or look. Who parks stands in a queue, or
  among `listeners`, before it looks at `ended` and at ``EVENTS``.
- After a bounded time without a pause the hub goes round before the next operation; `greenzmq.sockets.fairness` says
  when it may.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import zmq
from greenlet import getcurrent

from .. import hubs
from ..errors import HubError
from ..waiting.events import wake_anywhere
from ..waiting.waiter import Waiter, may_wait, yield_to_hub
from .directions import Direction, Listener, SpuriousReadiness, WaitingListener
from .fairness import FAST_CALLS
from .waiters import SocketWaiters, get_option

__all__ = ["SocketState"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
DONTWAIT = int(zmq.DONTWAIT)
SNDMORE = int(zmq.SNDMORE)
RCVMORE = int(zmq.RCVMORE)
#: What a greenlet that was woken may meet, and waits on. EFSM: another one has changed the state of a REQ or REP.
NOT_NOW = (int(zmq.EAGAIN), int(zmq.EFSM))
#: The outcome of an attempt that met EAGAIN.
_MET_AGAIN: Any = object()
#: The outcome where no attempt was made, since it would probably be in vain.
_UNTRIED: Any = object()

Result = TypeVar("Result")
Call = Callable[..., Result]
Args = tuple[Any, ...]


def _time_is_over() -> zmq.Again:
    """What libzmq raises, with the mark by which ``eventlet.is_timeout`` knows a time limit."""
    error = zmq.Again()
    error.is_timeout = True  # type: ignore[attr-defined]
    return error


class SocketState(SocketWaiters):
    """One libzmq socket, as its waiting greenlets see it. Shared by all green objects that shadow the same socket.

    Attributes
    ----------
    alternates : bool
        It is a REQ or REP; see `use_alternation`.
    lease : native_proxies.Loan or None
        While a native thread has the socket.
    since : float or None
        When the operation began that is about to wait, if it has paused since.
    """

    __slots__ = ("__weakref__", "alternates", "lease", "since")

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        self.alternates = False
        self.lease: Any = None
        self.since: float | None = None

    def use_alternation(self) -> None:
        """For a REQ or REP: what is out of turn is an error (EFSM), and no wait. ``EVENTS`` does not tell these apart.

        So a `recv` asks it first only if a `send` since the last one has left its mark on the credit; else it tries.
        """
        self.alternates = True
        self.receiving.fast_calls_max = self.receiving.fast_calls_left = 0

    # -- one operation ------------------------------------------------------------------------------------------------

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """``call(socket, flags, *args)``, waiting for as long as it takes: the slow path of every operation.

        `call` is all of the operation; it raises `zmq.Again` only if nothing was done. `zmq.DONTWAIT` among `flags`
        forbids to wait. `met_again`: it has been tried already. A greenlet that waits keeps its stack, 300 bytes or
        more for each frame: so it waits in this one.
        """
        result: Result = _MET_AGAIN if met_again else self._without_waiting(socket, direction, call, flags, args)
        if result is not _UNTRIED and result is not _MET_AGAIN:
            return result
        try:
            waiter = self._new_waiter(socket, direction)
        except HubError as refusal:
            return self._without_place(result, refusal, socket, direction, call, flags, args)  # type: ignore[no-any-return]
        if waiter is None:
            return self._without_time(result, socket, direction, call, flags, args)  # type: ignore[no-any-return]
        try:
            direction.join(waiter)
            self.enter(socket, waiter)
            # A send's EAGAIN may leave commands unprocessed; and a signal handler may have looked since.
            events = self.read_events(socket)
            if events & direction.event or self.parked > 1 or self.listeners:
                self.on_events(events)
            if waiter.woken and self.turn_is_over(False):
                self._yield_to_hub(socket, direction)
            while True:
                if not self.ended:
                    waiter.park()
                result = self._attempt_in_queue(socket, direction, call, flags | DONTWAIT, args, waiter)
                if result is not _MET_AGAIN:
                    direction.expect_eagain = direction.expect_eagain and waiter.yielded
                    return result
        finally:
            try:
                self._end_wait(socket, direction, waiter)
            except BaseException:  # of a signal handler, in the midst of it
                self._end_wait(socket, direction, waiter)
                raise

    def _without_time(
        self, result: Any, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args
    ) -> Any:
        """The operation under a timeout of 0, unless it has been tried."""
        if result is _MET_AGAIN:
            raise zmq.Again()
        return self._without_waiting(socket, direction, call, flags | DONTWAIT, args)

    def _without_place(
        self, result: Any, refusal: HubError, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args
    ) -> Any:
        """The operation where to wait would be the error `refusal`, unless it has been tried.

        A call that cannot wait cannot stand in a queue either: it goes past those who do, as under NOBLOCK. They have
        been promised nothing. A waiter that was woken tries, and waits on if there is nothing left.
        """
        try:
            if result is _UNTRIED:
                result = self._try_now(socket, direction, call, flags, args)
            if result is _UNTRIED or result is _MET_AGAIN:
                raise refusal
            return result
        finally:
            del refusal  # whose traceback refers to this frame

    def _without_waiting(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """The operation, if it need not wait or must not; else `_MET_AGAIN`, or `_UNTRIED`."""
        if direction is self.receiving and direction.last_receiver() is not getcurrent():
            self._respect_last_receiver(socket)
        taken = False
        if direction.mid_message is not None:
            taken = direction.reserved_for_other()
            if not taken and direction.greenlet_inside() is not None:
                return self._next_part(socket, direction, call, flags, args)
        if flags & DONTWAIT:
            if taken:
                raise zmq.Again()
            return self._attempt(socket, direction, call, flags, args)
        # Where an attempt is likely to be in vain and ``EVENTS`` can tell: who is about to wait asks it anyway.
        asks_first = direction.expect_eagain
        if self.alternates and direction is self.receiving:
            asks_first = 0 < self.sending.fast_calls_left < FAST_CALLS  # see `use_alternation`
        if asks_first or taken or direction.first is not None:
            return _UNTRIED
        return self._try_first(socket, direction, call, flags, args)

    def _try_first(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try, in a new turn if the last one is over; `_MET_AGAIN` if in vain, `_UNTRIED` if others came meanwhile."""
        since = None
        exhausted = not (direction.fast_calls_left or self.has_waiters)
        if self.turn_is_over(exhausted) and get_option(socket, direction.timeout_option) != 0:
            since = monotonic()
            self._yield_to_hub(socket, direction)
            if direction is self.receiving:
                self._respect_last_receiver(socket)
        result = _UNTRIED
        if direction.first is None:
            result = self._try_now(socket, direction, call, flags, args)
        if result is _UNTRIED or result is _MET_AGAIN:
            self.since = since
        return result

    def _try_now(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try, whoever waits; `_MET_AGAIN` if in vain, `_UNTRIED` while another greenlet is inside a message."""
        if direction.reserved_for_other():
            return _UNTRIED
        result = self._attempt(socket, direction, call, flags, args)
        if result is not _MET_AGAIN:
            direction.expect_eagain = False
            self._open_fast_path(direction, 1)
        return result

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
            if self.has_waiters:
                self.recheck_for_others(socket)
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

    def _new_waiter(self, socket: Any, direction: Direction) -> Waiter | None:
        """Its time counts from `since`, else from now. None if there is no time: a timeout of 0."""
        since, self.since = self.since, None
        milliseconds = direction.timeout
        if milliseconds is None:
            milliseconds = self._ask_timeout(socket, direction)
        if milliseconds == 0:
            direction.fast_calls_left = 0  # it has not sent: see `use_alternation`
            return None
        hub = self.hub
        if hub is None or self.watch is None or hub.greenlet is not getcurrent().parent:
            hub = self.bind_hub(socket)
        elif direction.first is not None:
            hub.check_switch()
        timeout = milliseconds / 1000 if milliseconds > 0 else None
        waiter, direction.spare = direction.spare, None
        if waiter is None:
            waiter = Waiter(hub, timeout, since)
        else:
            waiter.begin(hub, timeout, since)
        direction.expect_eagain = not self.alternates
        if direction.mid_message is not None:
            direction.watch_exit(self._message_abandoned)
        return waiter

    def _ask_timeout(self, socket: Any, direction: Direction) -> int:
        """In milliseconds; kept for the next wait if that could not miss a change."""
        settings = self.options_version
        milliseconds = get_option(socket, direction.timeout_option)
        if self.exclusive:
            direction.timeout = milliseconds
            if self.options_version != settings:  # a signal handler has set it after the look
                direction.timeout = None
        return milliseconds

    def _end_wait(self, socket: Any, direction: Direction, waiter: Waiter) -> None:
        direction.leave(waiter)
        waiter.close()
        self.leave(socket, waiter)
        direction.spare = waiter

    def _attempt_in_queue(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: Waiter
    ) -> Any:
        """Try, once woken or when the time is over. `_MET_AGAIN` if in vain, or that error if there is no time left."""
        woken, waiter.woken = waiter.woken, False
        if direction.mid_message is not None or not woken:
            if not self.ended and (direction.reserved_for_other() or not (woken or direction.first is waiter)):
                return _again(waiter)  # somebody has begun a message since; its end wakes the first
        if direction.first is not waiter and direction is self.sending and self.is_signalled():
            self.generation += 1  # what this attempt is going to process may be room for those who were refused
        try:
            result = call(socket, flags, *args)
        except zmq.ZMQError as error:
            if error.errno not in NOT_NOW:
                raise
            if not waiter.expired:
                self._look_after_refusal(socket, direction, waiter)
            return _again(waiter)
        self._note_message_end(socket, direction, flags)
        return result

    def _look_after_refusal(self, socket: Any, direction: Direction, waiter: Waiter) -> None:
        """EAGAIN in spite of the promise: somebody else was faster, or the promise was for another."""
        if direction is self.receiving:
            self.check_events_quietly(socket)  # a recv that finds nothing has processed commands, for whomever
            return
        alone = self.parked == 1 and not self.listeners
        if waiter.spurious is None:
            waiter.spurious = SpuriousReadiness()
        if self.is_signalled():  # unseen by the attempt, which was throttled: it counts for everybody, and once more
            waiter.spurious.signal = self.generation
            self.generation += 1
        elif alone or not waiter.spurious.has_to_try_again(self.generation):
            waiter.spurious.signal = self.generation
            self.wake_ready(
                direction.event
            )  # the next one, by the same promise; a look could take the signal of this one
            return
        self.wake_ready(self.read_events(socket))

    def _note_message_end(self, socket: Any, direction: Direction, flags: int) -> None:
        """Keep the direction for this greenlet until the last part of its message."""
        if direction is self.sending:
            inside = bool(flags & SNDMORE)
        else:
            current = getcurrent()
            if direction.last_receiver() is not current:
                direction.note_receiver()
            if self.alternates and self.sending.fast_calls_left:
                self.sending.fast_calls_left = FAST_CALLS
            # Where nobody else stands in the queue, who comes asks for itself (`_respect_last_receiver`).
            first = direction.first
            contended = first is not None and (first is not direction.last or first.greenlet is not current)
            inside = contended and not self.ended and bool(get_option(socket, RCVMORE))
        if inside:
            direction.mid_message = weakref.ref(getcurrent(), self._message_abandoned)
            direction.fast_calls_left = 0
            if direction.first is not None:
                direction.watch_exit(self._message_abandoned)
        elif direction.mid_message is not None:
            direction.end_message(self._message_abandoned)
            self._open_fast_path(direction)

    def _respect_last_receiver(self, socket: Any) -> None:
        """Let a message that another greenlet has begun to receive, part by part, be that one's to the end."""
        last = self.receiving.last_receiver()
        if last is None or last.dead or last is getcurrent() or self.receiving.mid_message is not None:
            return
        if get_option(socket, RCVMORE):
            self.receiving.mid_message = weakref.ref(last, self._message_abandoned)
            self.receiving.fast_calls_left = 0

    def _message_abandoned(self, _: object) -> None:
        if self.socket is not None and self.hub is not None:
            self.hub.call_soon_threadsafe(self.on_readable)

    # -- the turn -----------------------------------------------------------------------------------------------------

    def _open_fast_path(self, direction: Direction, used: int = 0) -> None:
        # Without budget the turn is over, and ends with the message that this greenlet is in.
        if self.budget > 0 and not (self.has_waiters or direction.expect_eagain) and direction.mid_message is None:
            direction.fast_calls_left = direction.fast_calls_max and direction.fast_calls_max - used

    def _yield_to_hub(self, socket: Any, direction: Direction) -> None:
        """The turn is over: let others run, where there can be others and this is not the middle of a message."""
        hub = hubs.current_hub(socket._greenzmq_choice)
        if hub is not None and may_wait(hub):
            if direction is self.receiving:
                self._respect_last_receiver(socket)
                if get_option(socket, RCVMORE) and not direction.reserved_for_other():
                    self.budget = 0
                    return
            yield_to_hub(hub)
        self.begin_turn()

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """Wait until the socket can do one of `events`, for `seconds`; which, or 0."""
        self.budget -= 1
        entered = monotonic()
        if events and seconds != 0 and self.budget <= 0 and entered >= self.turn_end:
            self._yield_to_hub(socket, self.receiving)
        ready = self.check_events(socket) & events
        if ready or seconds == 0 or not events:
            return ready
        waiter = Waiter(self.bind_hub(socket), seconds, entered)
        listener = WaitingListener(events, partial(wake_anywhere, waiter))
        try:
            self.enter(socket, waiter)
            while not (ready or waiter.expired):
                waiter.woken = False
                self.listen(listener)
                self.check_events_quietly(socket)  # see `perform`
                waiter.park()
                ready = self.check_events(socket) & events
        finally:
            try:
                self._end_poll(socket, listener, waiter)
            except BaseException:  # see `perform`
                self._end_poll(socket, listener, waiter)
                raise
        return ready

    def _end_poll(self, socket: Any, listener: Listener, waiter: Waiter) -> None:
        waiter.close()
        self.listeners.discard(listener)
        self.leave(socket, waiter)


def _again(waiter: Waiter) -> Any:
    """What an attempt in vain comes to."""
    if waiter.expired:
        raise _time_is_over() from None
    return _MET_AGAIN
