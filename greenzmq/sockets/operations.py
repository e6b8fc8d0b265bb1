"""One operation on a socket, from the first attempt to the last: *try, enter, park, try again, leave*.

`SocketState.perform` is the slow path of every operation, and can be read on one screen. How ZMQ_FD works, and which
waiters an operation has to wake, is told in `greenzmq.sockets.waiters`. Three more rules are held here:

- A message that is sent or received part by part belongs to one greenlet to its end (`greenzmq.sockets.messages`).
- A greenlet that has gone on for a bounded time without a switch yields before its next operation
  (`greenzmq.sockets.fairness`).
- A call made where it cannot wait, such as in a hub callback, is tried once, and raises an error only if it would
  have to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import zmq
from greenlet import getcurrent

from .. import hubs
from ..errors import HubError, WrongHubError
from ..waiting.waiter import Waiter, refuse_to_wait
from .directions import POLLIN
from .event_wait import wait_for_events
from .fairness import FAST_CALLS, SocketTurn
from .messages import Party, has_ended
from .outcomes import MUST_WAIT, end_run, in_vain, reserved
from .spurious import SpuriousReadiness
from .timeouts import ask_timeout, forget_timeouts
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
ONLY_SEND = (int(zmq.PUSH), int(zmq.PUB))
#: Errors on which a woken greenlet waits on. It meets EFSM if another one has changed a REQ's or REP's state since.
NOT_NOW = (int(zmq.EAGAIN), int(zmq.EFSM))

Result = TypeVar("Result")
Call = Callable[..., Result]
Args = tuple[Any, ...]


class SocketState(SocketWaiters):
    """What greenzmq knows of one libzmq socket. Shared by all `Socket` objects that shadow the same one.

    It is one object, since each takes memory and time, in layers: whether the extension may use the socket
    (`CompiledPath`), its watch (`FdWatch`), who waits and whom to wake (`SocketWaiters`), and here the operations.

    Attributes
    ----------
    alternates : bool
        The socket is a REQ or REP; see `SocketState._use_alternation`.
    lease : greenzmq.proxies.native.Lease or None
        Set while a native proxy thread uses the socket.
    futures : greenzmq.sockets.unawaited.Unawaited or None
        The futures of an awaitable socket's calls that nobody waits for; None if there is no such socket.
    """

    __slots__ = ("__weakref__", "alternates", "futures", "lease")

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        self.alternates = False
        self.lease: Any = None
        self.futures: Any = None

    @property
    def turn(self) -> SocketTurn:
        """How long a greenlet may go on with the socket."""
        return self.begun_turn or self.first_turn()

    def use_type(self, socket_type: int) -> None:
        """Close the fast path for good where a socket of this type cannot use it.

        A PUSH or PUB does not receive; for REQ and REP see `_use_alternation`.
        """
        if socket_type in ALTERNATING:
            self._use_alternation()
        elif socket_type in ONLY_SEND:
            self.receiving.never_fast()

    def _use_alternation(self) -> None:
        """Prepare for a REQ or REP, which must alternate send and recv: a call out of order has to fail with EFSM.

        Such a call must not wait. But ``EVENTS`` reports the same for "out of order" and for "no message yet". So
        `recv` relies on ``EVENTS`` only if a `send` has happened since the last `recv`: then some of the fast calls of
        `sending` are used since its `refill`. Otherwise it makes the call, and libzmq raises EFSM if it has to.
        """
        self.alternates = True
        self.receiving.never_fast()

    def expose(self) -> None:
        """The program has got the socket's address or descriptor: others may watch it, set its options, or close it."""
        if self.exclusive:
            self.set_exclusive(False)
            forget_timeouts(self)
            self.expose_watch()

    def lend(self, lease: Any) -> None:
        """Lend the socket to a native thread; None takes it back."""
        self.lease = lease

    def keep_futures(self, futures: Any) -> None:
        """There is an awaitable socket: keep its futures that nobody waits for in this list."""
        self.futures = futures

    def is_of_another(self, fd: int) -> bool:
        """Whether this is the state of an older, closed socket, and not of the open one with the descriptor `fd`."""
        return bool(self.closed) or self.fd not in (-1, fd)

    def watch_anew(self) -> None:
        """Another object is made for the socket: watch its descriptor anew, wherever it is watched.

        For the socket may be a later one, which got both the address and the descriptor of an older one that was closed
        past greenzmq. What has watched the older one tells nothing of it.
        """
        self.expose_watch()
        if self.poll_set is not None:
            self.leave_poll_set()
            self.tell_all_listeners()

    def close(self) -> None:
        """Prepare for the close of the socket. The caller closes it, and then calls `wake_all`."""
        forget_timeouts(self)
        super().close()

    def detach_after_fork(self) -> None:
        """In a forked child, where libzmq refuses calls on the parent's socket: forget the parent's waiters."""
        forget_timeouts(self)
        super().detach_after_fork()

    # -- one operation ------------------------------------------------------------------------------------------------

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """Make ``call(socket, flags, *args)``, and wait for as long as it takes: the slow path of every operation.

        `call` is the whole operation, and raises `zmq.Again` only if it has done nothing. `zmq.DONTWAIT` among `flags`
        forbids it to wait. `met_again` says that the fast path has just made the call and met EAGAIN.

        The greenlet parks in this frame, not in a helper: each extra frame costs a parked greenlet about 300 bytes.
        """
        who = getcurrent()
        known = direction.timeout  # None if libzmq has to be asked
        if flags & DONTWAIT or known == 0:
            return self.within_no_time(who, socket, direction, call, flags, args, met_again)  # type: ignore[no-any-return]
        began_at = monotonic()
        if not met_again:
            result: Result = self.try_first(who, socket, direction, call, flags, args)
            if result is not MUST_WAIT:
                return result
        timeout = ask_timeout(self, socket, direction) if known is None else known
        if timeout == 0:
            return self.within_no_time(who, socket, direction, call, flags, args, met_again)  # type: ignore[no-any-return]
        try:
            waiter = self._new_waiter(socket, direction, timeout, began_at)
        except HubError as refusal:
            return self._try_where_no_wait_is_possible(refusal, who, socket, direction, call, flags, args)  # type: ignore[no-any-return]
        try:
            self.enter(socket, waiter, direction)
            if waiter.woken and self.turn.is_over_after_one_more(False):
                self._yield_to_hub(socket, direction)  # woken by `enter`, so `park` will not switch
            while True:
                woken = waiter.park()
                result = self.try_again(socket, direction, call, flags | DONTWAIT, args, waiter, woken)
                if result is not MUST_WAIT:
                    return result
        finally:
            try:
                self.leave(socket, waiter, direction)
            except BaseException:  # a signal handler has raised while `leave` ran: it is idempotent, so repeat it
                self.leave(socket, waiter, direction)
                raise

    def try_first(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Try without waiting. Returns the result, or `MUST_WAIT`: it met EAGAIN, or would probably meet it.

        If `flags` forbid to wait, the attempt is always made, and raises `zmq.Again`.
        """
        if direction is self.receiving and direction.last_receiver() is not who:
            self._reserve_for_last_receiver(socket, who)
        if direction.mid_message is not None:
            inside = direction.mid_message.living_owner()
            if inside is who:
                return self._next_part(who, socket, direction, call, flags, args)
            if inside is not None:
                return reserved(flags)
        if flags & DONTWAIT:
            return self._attempt(who, socket, direction, call, flags, args)
        # An attempt would probably meet EAGAIN, and a wait begins with a cheaper read of EVENTS: skip the attempt. If
        # others stand in the queue, this call has to go behind them anyway.
        if direction.first is not None or direction.expect_eagain:
            return MUST_WAIT
        if self.alternates and direction is self.receiving and 0 < self.sending.fast_calls_left < FAST_CALLS:
            return MUST_WAIT  # a send has come before this recv: see `_use_alternation`
        exhausted = direction.fast_calls_max > direction.fast_calls_left == 0 and not self.has_waiters
        turn = self.begun_turn
        if turn and turn.is_over_after_one_more(exhausted) and not self._begin_turn(who, socket, direction):
            return MUST_WAIT
        result = self._attempt(who, socket, direction, call, flags, args)
        if result is not MUST_WAIT:
            direction.need_not_wait()
            self._open_fast_path(direction)
        return result

    def within_no_time(
        self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, met_again: bool
    ) -> Any:
        """Make the call under NOBLOCK or with a timeout of 0: it succeeds at once, or raises `zmq.Again`."""
        if met_again:
            # The fast path has counted this call as a send, but it has not sent: see `_use_alternation`.
            direction.close_fast_path()
            raise zmq.Again()
        turn = self.begun_turn if direction is self.receiving else None
        if turn is not None and turn.run_calls < 0:
            turn = None  # no run to end
        if turn is not None and turn.run_is_over_after(1 if flags & DONTWAIT else FAST_CALLS):
            if end_run(self, who, socket):
                raise zmq.Again()
        try:
            result = self.try_first(who, socket, direction, call, flags | DONTWAIT, args)
        except zmq.Again:
            if turn is not None:
                turn.end_run()
            raise
        if not flags & DONTWAIT:
            self._open_fast_path(direction)
        return result

    def _try_where_no_wait_is_possible(
        self, refusal: HubError, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args
    ) -> Any:
        """Make the call where a wait would raise `refusal`: in a hub callback, a coroutine, or another thread.

        A call that cannot wait cannot stand in a queue either, so it overtakes those who do, as under NOBLOCK. That
        breaks no promise: a waiter that was woken tries again, and goes on waiting if nothing is left for it.
        """
        try:
            result = MUST_WAIT
            if not direction.reserved_for_other(who):
                result = self._attempt(who, socket, direction, call, flags, args)
            if result is MUST_WAIT:
                raise refusal
            direction.need_not_wait()
            self._open_fast_path(direction)
            return result
        finally:
            del refusal  # its traceback refers to this frame, and so would make a reference cycle

    def _attempt(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Make the call once, and recheck for others. On EAGAIN returns `MUST_WAIT`; raises it if `flags` forbid waits.

        EAGAIN is caught here, so that no exception is alive in the frame that then parks (`perform`). An exception that
        is being handled costs 2 kB, and a frame that has handled one stays 300 bytes larger.
        """
        try:
            result = call(socket, flags | DONTWAIT, *args)
            self._note_message_end(who, socket, direction, flags)
        except zmq.Again:
            if flags & DONTWAIT:
                raise
            return MUST_WAIT
        finally:
            if self.has_waiters:
                self.recheck_for_others(socket)
        return result

    def _next_part(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """Send or receive the next part of a message that this greenlet has begun. It goes ahead of the queue.

        It never has to wait, since libzmq moves whole messages. EAGAIN means that the peer has gone, and the message
        with it. libzmq's blocking send then drops the remaining parts without an error (lb.cpp), and so does this.
        """
        result = self._attempt(who, socket, direction, call, flags, args)
        if result is not MUST_WAIT:
            return result
        if direction is self.receiving:
            raise zmq.Again()
        self._note_message_end(who, socket, direction, flags)
        return None  # no tracker: nothing is being sent

    # -- the wait -----------------------------------------------------------------------------------------------------

    def bind_hub(self, socket: Any) -> Hub:
        """Return this greenlet's hub, after the socket's watch was put on it.

        Raises
        ------
        WrongHubError
            Greenlets of another hub wait on the socket.
        HubError
            This greenlet cannot wait.
        """
        hub = hubs.hub_to_wait_on(socket._greenzmq_choice, socket)
        refuse_to_wait(hub)
        self.bind_to(hub, socket)
        return hub

    def bind_to(self, hub: Hub, socket: Any) -> None:
        """Put the socket's watch on `hub`. Raises `WrongHubError` as `bind_hub`."""
        other = self.hub
        if hub is not other and other is not None and self.is_parked_on():
            if not other.has_ended():
                message = f"two hubs wait on {socket!r}: {other!r} and {hub!r}; give each thread and hub its own socket"
                raise WrongHubError(message)
            self.forget_queues()  # what waits on a loop that is closed is never resumed
        self.bind_watch(hub, get_option(socket, FD))

    def _new_waiter(self, socket: Any, direction: Direction, timeout: int, began_at: float) -> Waiter:
        """Make the waiter of a call that began at `began_at`. `timeout` is in milliseconds; negative waits for ever.

        Raises `HubError` where this greenlet cannot wait.
        """
        hub = self.hub
        if hub is None or self.watch is None or hub.greenlet is not getcurrent().parent:
            hub = self.bind_hub(socket)
        elif direction.first is not None:
            hub.check_switch()
        if not (direction.expect_eagain or self.alternates):  # `about_to_wait`, in line
            direction.begin_wait()
        if direction.mid_message is not None:
            direction.mid_message.watch_exit()
        return Waiter(hub, timeout / 1000 if timeout > 0 else None, began_at, socket)

    def about_to_wait(self, direction: Direction) -> None:
        """The call of a task is about to join the queue of `direction`."""
        if not (direction.expect_eagain or self.alternates):
            direction.begin_wait()
        if direction.mid_message is not None:
            direction.mid_message.watch_exit()

    def try_again(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: Waiter, woken: bool
    ) -> Any:
        """Make the call after a park. On EAGAIN returns `MUST_WAIT`, or raises `zmq.Again` if the time is over.

        `woken` is False if the time is over and nobody has woken this waiter. It then makes one last attempt if it is
        the first of the queue.
        """
        if direction.mid_message is not None or not woken:
            may_try = woken or direction.first is waiter
            if not self.closed and (direction.reserved_for_other(waiter.party) or not may_try):
                return in_vain(waiter)  # another greenlet has begun a message since; its end wakes the first waiter
        if direction.first is not waiter and direction is self.sending and self.is_signalled():
            # This call may consume a signal of room for the senders before this one, which were refused: let them try.
            self.count_signal()
        try:
            result = call(socket, flags, *args)
        except zmq.ZMQError as error:
            if error.errno not in NOT_NOW:
                raise
            if not waiter.expired:
                self._after_false_promise(socket, direction, waiter)
            return in_vain(waiter)
        self._note_message_end(waiter.party, socket, direction, flags)
        return result

    def _after_false_promise(self, socket: Any, direction: Direction, waiter: Waiter) -> None:
        """A waiter was woken because of ``EVENTS``, and met EAGAIN: wake the waiter that can use what is there.

        Either another greenlet was faster, or the room that ``EVENTS`` reported is that of a peer to which this sender
        does not send; see `greenzmq.sockets.spurious`.
        """
        if direction is self.receiving:
            self.check_events_quietly(socket)  # a recv that finds nothing has processed commands, also for others
            return
        spurious = waiter.spurious
        if spurious is None:
            spurious = waiter.remember(SpuriousReadiness())
        if self.is_signalled():
            # The attempt did not process these commands, since libzmq throttles that. They are a new observation, for
            # which this sender, too, has to try again.
            spurious.refused_at(self.generation)
            self.count_signal()
        elif self.is_alone() or not spurious.has_to_try_again(self.generation):
            spurious.refused_at(self.generation)
            # The sender behind this one, by the same observation. To read EVENTS here could consume a signal of room
            # for this sender, which does not try again before it parks.
            self.wake_ready(direction.event)
            return
        self.wake_ready(self.read_events(socket))

    # -- messages part by part ----------------------------------------------------------------------------------------

    def _note_message_end(self, who: Party, socket: Any, direction: Direction, flags: int) -> None:
        """After a part was sent or received: reserve the direction for `who` until the last part."""
        if direction is not self.receiving:
            inside = bool(flags & SNDMORE)
        else:
            last_receiver = direction.last_receiver  # a field, so this is quicker than `direction.last_receiver()`
            if last_receiver() is not who:
                direction.note_receiver(who)
            if self.alternates and self.sending.fast_calls_left:
                self.sending.refill()
            # RCVMORE is slow to read. If nobody else stands in the queue, `_reserve_for_last_receiver` does it later.
            first = direction.first
            contended = first is not None and (first is not direction.last or first.party is not who)
            inside = contended and not self.closed and bool(get_option(socket, RCVMORE))
        if inside:
            direction.begin_message(who, self._message_abandoned)
            if direction.first is not None and direction.mid_message is not None:
                direction.mid_message.watch_exit()
        elif direction.mid_message is not None:
            direction.end_message()
            self._open_fast_path(direction, 0)

    def _reserve_for_last_receiver(self, socket: Any, who: Party) -> None:
        """If the last receiver is not `who`, and its message has more parts, reserve them for it while it lives."""
        receiving = self.receiving
        last = receiving.last_receiver()
        if last is None or last is who or has_ended(last) or receiving.mid_message is not None:
            return
        if get_option(socket, RCVMORE):
            receiving.begin_message(last, self._message_abandoned)

    def _message_abandoned(self, _: object) -> None:
        """The greenlet in the middle of a message has ended: wake those who waited for it. Called in any thread."""
        hub = self.hub
        if self.socket is not None and hub is not None:
            # `on_readable` wakes whoever can go on, now that the direction is no longer reserved.
            hub.call_soon_threadsafe(self.on_readable)

    # -- the turn -----------------------------------------------------------------------------------------------------

    def _open_fast_path(self, direction: Direction, used: int = 1) -> None:
        """Open the fast path of `direction`, unless somebody waits or the turn is over."""
        turn = self.begun_turn or self.first_turn()
        if turn.calls_left > 0 and not self.has_waiters:
            direction.open_fast_path(used)

    def _begin_turn(self, who: Party, socket: Any, direction: Direction) -> bool:
        """The turn is over: yield before the operation. Returns whether this greenlet may then try at once.

        It may not if another greenlet has joined the queue, or begun a message, in the meantime. A task cannot yield
        here: it does so where it awaits.
        """
        if (direction.timeout or ask_timeout(self, socket, direction)) == 0:
            return True
        if who is not getcurrent():
            self.turn.put_off_its_end()
            return False
        self._yield_to_hub(socket, direction)
        if direction is self.receiving:
            self._reserve_for_last_receiver(socket, who)
        return direction.first is None and not direction.reserved_for_other(who)

    def _yield_to_hub(self, socket: Any, direction: Direction) -> None:
        """Yield to the hub, unless this greenlet is in the middle of receiving a message: its parts stay together."""
        if not self._is_receiving_message(getcurrent(), socket, direction):
            self.turn.yield_to_others(socket._greenzmq_choice)

    def _is_receiving_message(self, who: Party, socket: Any, direction: Direction) -> bool:
        """Whether `who` is in the middle of receiving a message. The end of the turn is then put off to its end."""
        if direction is self.receiving:
            self._reserve_for_last_receiver(socket, who)
            if get_option(socket, RCVMORE) and not direction.reserved_for_other(who):
                self.turn.put_off_its_end()
                return True
        return False

    def has_to_yield(self, who: Party, socket: Any, direction: Direction) -> bool:
        """For a task whose call need not wait: whether it has to let the loop go round before the call."""
        return self.turn.is_over_after_one_more(False) and not self._is_receiving_message(who, socket, direction)

    # -- poll ---------------------------------------------------------------------------------------------------------

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """Wait until the socket can do one of `events`, or for `seconds`. Returns the events it can do, or 0."""
        began_at = monotonic()
        if events and seconds != 0 and self.turn.is_over_after_one_more(False):
            self._yield_to_hub(socket, self.receiving)
        ready = self.check_events(socket) & events
        if seconds == 0 or not events:
            self.end_run()
            return ready
        if not ready:
            ready = wait_for_events(self, socket, events, self.bind_hub(socket), seconds, began_at)
        if ready & POLLIN:
            self.turn.begin_run()
        return ready
