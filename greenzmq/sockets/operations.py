"""One operation on a socket, from the first attempt to the last: *try, enter, park, try again, leave*.

`SocketState.perform` is the slow path of every operation, and can be read on one screen. What it needs to know of
ZMQ_FD, and whom it wakes, is in `greenzmq.sockets.waiters`. Besides:

- A message that is sent or received part by part belongs to one greenlet to its end (`greenzmq.sockets.messages`).
- After a bounded time without a switch the hub goes round before the next operation (`greenzmq.sockets.fairness`).
- A call that cannot wait where it is made, such as one in a hub callback, is tried, and refused only if that was in
  vain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import zmq
from greenlet import getcurrent

from .. import hubs
from ..errors import HubError, WrongHubError
from ..waiting.events import wake_anywhere
from ..waiting.reasons import POLL
from ..waiting.waiter import Waiter, refuse_to_wait
from .fairness import Turn
from .listeners import WaitingListener
from .spurious import SpuriousReadiness
from .timeouts import TimeoutCache
from .waiters import SocketWaiters, get_option

if TYPE_CHECKING:
    from ..hubs import Hub
    from .directions import Direction

__all__ = ["SocketState"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
DONTWAIT = int(zmq.DONTWAIT)
SNDMORE = int(zmq.SNDMORE)
RCVMORE = int(zmq.RCVMORE)
FD = int(zmq.FD)
ALTERNATING = (int(zmq.REQ), int(zmq.REP))
ONLY_RECEIVE = (int(zmq.PULL), int(zmq.SUB))
ONLY_SEND = (int(zmq.PUSH), int(zmq.PUB))
#: What a greenlet that was woken may meet, and waits on. EFSM: another one has changed the state of a REQ or REP.
NOT_NOW = (int(zmq.EAGAIN), int(zmq.EFSM))
#: In the place of a result: the operation was tried in vain, or not tried, since that would likely be in vain.
MUST_WAIT: Any = object()

Result = TypeVar("Result")
Call = Callable[..., Result]
Args = tuple[Any, ...]


class SocketState:
    """One libzmq socket, as its green objects see it. Shared by all that shadow the same socket.

    Attributes
    ----------
    waiters : SocketWaiters
        Who waits, and whom to wake.
    receiving, sending : Direction
        Its queues.
    turn : Turn
        How long a greenlet may go on with the socket.
    timeouts : TimeoutCache
        ``RCVTIMEO`` and ``SNDTIMEO``.
    alternates : bool
        It is a REQ or REP; see `SocketState._use_alternation`.
    lease : greenzmq.proxies.native.Lease or None
        While a native thread has the socket.
    """

    __slots__ = ("__weakref__", "alternates", "lease", "receiving", "sending", "timeouts", "turn", "waiters")

    def __init__(self, turn: float) -> None:
        self.turn = Turn(turn)
        self.waiters = SocketWaiters(self.turn)
        self.receiving = self.waiters.receiving
        self.sending = self.waiters.sending
        self.timeouts = TimeoutCache(self.waiters.wake_all)
        self.alternates = False
        self.lease: Any = None

    def use_type(self, socket_type: int) -> None:
        """Leave the fast path closed for directions that sockets of this type do not have, or use in turns."""
        if socket_type in ALTERNATING:
            self._use_alternation()
        elif socket_type in ONLY_RECEIVE:
            self.sending.never_fast()
        elif socket_type in ONLY_SEND:
            self.receiving.never_fast()

    def _use_alternation(self) -> None:
        """For a REQ or REP, which must alternate send and recv: a call out of order fails with EFSM and must not wait.

        ``EVENTS`` cannot tell "out of order" from "nothing yet". So `recv` trusts it only if a `send` has happened
        since the last `recv` (`Direction.used_since_refill`); else it tries.
        """
        self.alternates = True
        self.receiving.never_fast()

    def be_exclusive(self) -> None:
        """Only green objects know the socket: it is closed, and its options are set, by way of these."""
        self.waiters.fd_watch.be_exclusive()
        self.timeouts.keep()

    def expose(self) -> None:
        """The socket's address or descriptor is given away: others may watch it, set its options, and close it."""
        fd_watch = self.waiters.fd_watch
        if fd_watch.exclusive:
            self.timeouts.expose()
            fd_watch.expose(self.waiters.is_parked_on)

    def lend(self, lease: Any) -> None:
        """A native thread has the socket from now on; None gives it back."""
        self.lease = lease

    def is_of_another(self, fd: int) -> bool:
        """Whether this is of a socket that has ended, and not of the open one that has the descriptor `fd`."""
        fd_watch = self.waiters.fd_watch
        return self.waiters.closed or (fd_watch.watch is not None and fd_watch.fd != fd)

    def close(self) -> None:
        """The socket is about to be closed; `SocketWaiters.wake_all` is due after it."""
        self.timeouts.forget()
        self.waiters.close()

    def detach_after_fork(self) -> None:
        """In a forked child, where the socket is of no use."""
        self.timeouts.forget()
        self.waiters.detach_after_fork()

    # -- one operation ------------------------------------------------------------------------------------------------

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """``call(socket, flags, *args)``, waiting for as long as it takes: the slow path of every operation.

        `call` is all of the operation; it raises `zmq.Again` only if nothing was done. `zmq.DONTWAIT` among `flags`
        forbids to wait. `met_again`: the fast path has tried in vain.

        The greenlet parks in this frame, not in a helper: each extra frame costs a parked greenlet about 300 bytes.
        """
        known = self.timeouts.known[direction.index]
        if flags & DONTWAIT or known == 0:
            return self._within_no_time(socket, direction, call, flags, args, met_again)  # type: ignore[no-any-return]
        began_at = monotonic()
        if not met_again:
            result: Result = self._try(socket, direction, call, flags, args)
            if result is not MUST_WAIT:
                return result
        timeout = self.timeouts.get(socket, direction) if known is None else known
        if timeout == 0:
            return self._within_no_time(socket, direction, call, flags, args, met_again)  # type: ignore[no-any-return]
        try:
            waiter = self._new_waiter(socket, direction, timeout, began_at)
        except HubError as refusal:
            return self._try_where_no_wait_is_possible(refusal, socket, direction, call, flags, args)  # type: ignore[no-any-return]
        waiters = self.waiters
        try:
            waiters.enter(socket, waiter, direction)
            if waiter.woken and self.turn.is_over_after_one_more(False):
                self._yield_to_hub(socket, direction)
            while True:
                woken = waiter.park()
                result = self._try_again(socket, direction, call, flags | DONTWAIT, args, waiter, woken)
                if result is not MUST_WAIT:
                    return result
        finally:
            try:
                waiters.leave(socket, waiter, direction)
            except BaseException:  # of a signal handler, in the midst of it
                waiters.leave(socket, waiter, direction)
                raise

    def _try(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try without waiting; `MUST_WAIT` if that was in vain, or not done since it would likely be in vain.

        Where `flags` forbid to wait nothing is skipped, and what was in vain is `zmq.Again`.
        """
        if direction is self.receiving and direction.last_receiver() is not getcurrent():
            self._reserve_for_last_receiver(socket)
        if direction.mid_message is not None:
            inside = direction.mid_message.greenlet()
            if inside is getcurrent():
                return self._next_part(socket, direction, call, flags, args)
            if inside is not None:
                return _reserved(flags)
        if flags & DONTWAIT:
            return self._attempt(socket, direction, call, flags, args)
        # Where an attempt is likely to be in vain, and ``EVENTS`` can tell: a wait begins with a look at it.
        if direction.first is not None or direction.expect_eagain or (self.alternates and self._awaits(direction)):
            return MUST_WAIT
        exhausted = not (direction.fast_calls_left or self.waiters.has_waiters)
        if self.turn.is_over_after_one_more(exhausted) and not self._begin_turn(socket, direction):
            return MUST_WAIT
        result = self._attempt(socket, direction, call, flags, args)
        if result is not MUST_WAIT:
            direction.need_not_wait()
            self._open_fast_path(direction)
        return result

    def _awaits(self, direction: Direction) -> bool:
        """Of a REQ or REP: whether it has sent since it received last, so that ``EVENTS`` tells of the answer."""
        return direction is self.receiving and self.sending.used_since_refill()

    def _within_no_time(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, met_again: bool
    ) -> Any:
        """The operation under NOBLOCK, or a timeout of 0: at once, or `zmq.Again`."""
        if met_again:
            direction.close_fast_path()  # this call has not sent: see `_use_alternation`
            raise zmq.Again()
        result = self._try(socket, direction, call, flags | DONTWAIT, args)
        if not flags & DONTWAIT:
            self._open_fast_path(direction)
        return result

    def _try_where_no_wait_is_possible(
        self, refusal: HubError, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args
    ) -> Any:
        """The operation where to wait would be the error `refusal`: in a hub callback, a coroutine, another thread.

        A call that cannot wait cannot stand in a queue either: it goes past those who do, as under NOBLOCK. They have
        been promised nothing. A waiter that was woken tries, and waits on if there is nothing left.
        """
        try:
            result = MUST_WAIT
            if not direction.reserved_for_other():
                result = self._attempt(socket, direction, call, flags, args)
            if result is MUST_WAIT:
                raise refusal
            direction.need_not_wait()
            self._open_fast_path(direction)
            return result
        finally:
            del refusal  # whose traceback refers to this frame

    def _attempt(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try once, and recheck for others. `MUST_WAIT` if it would have to wait, unless `flags` forbid that anyway.

        EAGAIN is caught here, so that no exception is alive in the frames that then park: it costs 2 kB while it is
        handled, and a frame that has handled one costs 300 bytes more.
        """
        try:
            result = call(socket, flags | DONTWAIT, *args)
            self._note_message_end(socket, direction, flags)
        except zmq.Again:
            if flags & DONTWAIT:
                raise
            return MUST_WAIT
        finally:
            if self.waiters.has_waiters:
                self.waiters.recheck_for_others(socket)
        return result

    def _next_part(self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Go on with a message: past the queue, and it need not wait.

        EAGAIN means that the peer has gone, and the message with it. libzmq then drops the part, and those that follow,
        and a blocking send says nothing of it (lb.cpp).
        """
        result = self._attempt(socket, direction, call, flags, args)
        if result is not MUST_WAIT:
            return result
        if direction is self.receiving:
            raise zmq.Again()
        self._note_message_end(socket, direction, flags)
        return None  # nothing is in flight that a tracker could follow

    # -- the wait -----------------------------------------------------------------------------------------------------

    def bind_hub(self, socket: Any) -> Hub:
        """The hub of this greenlet, with the watch on it.

        Raises
        ------
        WrongHubError
            Greenlets of another hub wait on the socket.
        HubError
            This greenlet cannot wait.
        """
        hub = hubs.hub_to_wait_on(socket._greenzmq_choice, socket)
        refuse_to_wait(hub)
        fd_watch = self.waiters.fd_watch
        if hub is not fd_watch.hub and fd_watch.hub is not None and self.waiters.is_parked_on():
            raise WrongHubError(
                f"two hubs wait on {socket!r}: {fd_watch.hub!r} and {hub!r}; give each thread and hub its own socket"
            )
        fd_watch.bind(hub, get_option(socket, FD))
        return hub

    def _new_waiter(self, socket: Any, direction: Direction, timeout: int, began_at: float) -> Waiter:
        """`timeout` is in milliseconds, and counts from `began_at` on; a negative one waits for ever."""
        fd_watch = self.waiters.fd_watch
        hub = fd_watch.hub
        if hub is None or fd_watch.watch is None or hub.greenlet is not getcurrent().parent:
            hub = self.bind_hub(socket)
        elif direction.first is not None:
            hub.check_switch()
        if not (direction.expect_eagain or self.alternates):
            direction.begin_wait()
        if direction.mid_message is not None:
            direction.mid_message.watch_exit()
        return Waiter(hub, timeout / 1000 if timeout > 0 else None, began_at, socket)

    def _try_again(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: Waiter, woken: bool
    ) -> Any:
        """Try, once woken or when the time is over. `MUST_WAIT` if in vain, or `zmq.Again` if there is no time left."""
        waiters = self.waiters
        if direction.mid_message is not None or not woken:
            may_try = woken or direction.first is waiter
            if not waiters.closed and (direction.reserved_for_other() or not may_try):
                return _in_vain(waiter)  # a message was begun since; its end wakes the first
        if direction.first is not waiter and direction is self.sending and waiters.fd_watch.is_signalled():
            waiters.count_signal()  # what this attempt is going to process may be room for those who were refused
        try:
            result = call(socket, flags, *args)
        except zmq.ZMQError as error:
            if error.errno not in NOT_NOW:
                raise
            if not waiter.expired:
                self._after_false_promise(socket, direction, waiter)
            return _in_vain(waiter)
        self._note_message_end(socket, direction, flags)
        return result

    def _after_false_promise(self, socket: Any, direction: Direction, waiter: Waiter) -> None:
        """EAGAIN in spite of the promise: another greenlet was faster, or the promise was for another one."""
        waiters = self.waiters
        if direction is self.receiving:
            waiters.check_events_quietly(socket)  # a recv that finds nothing has processed commands, for whomever
            return
        spurious = waiter.spurious
        if spurious is None:
            spurious = waiter.remember(SpuriousReadiness())
        if waiters.fd_watch.is_signalled():  # unseen by the attempt, which was throttled: it counts, and once more
            spurious.refused_at(waiters.generation)
            waiters.count_signal()
        elif waiters.is_alone() or not spurious.has_to_try_again(waiters.generation):
            spurious.refused_at(waiters.generation)
            waiters.wake_ready(
                direction.event
            )  # the next one, by the same promise; a look could take this one's signal
            return
        waiters.wake_ready(waiters.read_events(socket))

    # -- messages part by part ----------------------------------------------------------------------------------------

    def _note_message_end(self, socket: Any, direction: Direction, flags: int) -> None:
        """Keep the direction for this greenlet until the last part of its message."""
        if direction is self.sending:
            inside = bool(flags & SNDMORE)
        else:
            current = getcurrent()
            if direction.last_receiver() is not current:
                direction.note_receiver()
            if self.alternates:
                self.sending.refill()
            # Where nobody else stands in the queue, the next caller asks for itself (`_reserve_for_last_receiver`).
            first = direction.first
            contended = first is not None and (first is not direction.last or first.greenlet is not current)
            inside = contended and not self.waiters.closed and bool(get_option(socket, RCVMORE))
        if inside:
            direction.begin_message(getcurrent(), self._message_abandoned)
            if direction.first is not None and direction.mid_message is not None:
                direction.mid_message.watch_exit()
        elif direction.mid_message is not None:
            direction.end_message()
            self._open_fast_path(direction, 0)

    def _reserve_for_last_receiver(self, socket: Any) -> None:
        """Let a message that another greenlet has begun to receive, part by part, be that one's to the end."""
        receiving = self.receiving
        last = receiving.last_receiver()
        if last is None or last.dead or last is getcurrent() or receiving.mid_message is not None:
            return
        if get_option(socket, RCVMORE):
            receiving.begin_message(last, self._message_abandoned)

    def _message_abandoned(self, _: object) -> None:
        """The greenlet in the middle of a message has ended: the next signal finds that out. In any thread."""
        hub = self.waiters.fd_watch.hub
        if self.waiters.socket is not None and hub is not None:
            hub.call_soon_threadsafe(self.waiters.on_readable)

    # -- the turn -----------------------------------------------------------------------------------------------------

    def _open_fast_path(self, direction: Direction, used: int = 1) -> None:
        """While nobody waits and the turn goes on."""
        if self.turn.calls_left > 0 and not self.waiters.has_waiters:
            direction.open_fast_path(used)

    def _begin_turn(self, socket: Any, direction: Direction) -> bool:
        """The last turn is over: yield, before the operation. Whether nobody has come meanwhile who is to be served."""
        if self.timeouts.get(socket, direction) == 0:
            return True
        self._yield_to_hub(socket, direction)
        if direction is self.receiving:
            self._reserve_for_last_receiver(socket)
        return direction.first is None and not direction.reserved_for_other()

    def _yield_to_hub(self, socket: Any, direction: Direction) -> None:
        """The turn is over: let others run, unless this is the middle of a message that this greenlet receives."""
        if direction is self.receiving:
            self._reserve_for_last_receiver(socket)
            if get_option(socket, RCVMORE) and not direction.reserved_for_other():
                self.turn.end_with_the_message()
                return
        self.turn.yield_to_others(socket._greenzmq_choice)

    # -- poll ---------------------------------------------------------------------------------------------------------

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """Wait until the socket can do one of `events`, for `seconds`; which, or 0."""
        began_at = monotonic()
        if events and seconds != 0 and self.turn.is_over_after_one_more(False):
            self._yield_to_hub(socket, self.receiving)
        waiters = self.waiters
        ready = waiters.check_events(socket) & events
        if ready or seconds == 0 or not events:
            return ready
        waiter = Waiter(self.bind_hub(socket), seconds, began_at, (POLL, socket, events))
        listener = WaitingListener(events, partial(wake_anywhere, waiter))
        try:
            waiters.enter(socket, waiter)
            while not (ready or waiter.expired):
                waiters.listen(listener)
                waiters.check_events_quietly(socket)  # after listening: a signal handler may have looked before
                waiter.park()
                ready = waiters.check_events(socket) & events
        finally:
            try:
                self._leave_poll(socket, listener, waiter)
            except BaseException:  # of a signal handler, in the midst of it
                self._leave_poll(socket, listener, waiter)
                raise
        return ready

    def _leave_poll(self, socket: Any, listener: WaitingListener, waiter: Waiter) -> None:
        self.waiters.forget(listener)
        self.waiters.leave(socket, waiter)


def _in_vain(waiter: Waiter) -> Any:
    """The outcome of an attempt in vain: to wait on, or `zmq.Again` if the time is over."""
    if waiter.expired:
        error = zmq.Again()
        error.is_timeout = True  # type: ignore[attr-defined]  # by this ``eventlet.is_timeout`` knows a time limit
        raise error from None
    return MUST_WAIT


def _reserved(flags: int) -> Any:
    """The outcome where another greenlet is in the middle of a message."""
    if flags & DONTWAIT:
        raise zmq.Again()
    return MUST_WAIT
