"""Operations on a socket that give a future: try, enter, wait and try again, leave, by a task in a greenlet's place.

What an operation does is told in `greenzmq.sockets.operations`, and done by it; no algorithm is here. `begin` is
`SocketState.perform` up to the wait, and `PendingCall` is the wait: where `perform` parks the greenlet,
`PendingFuture.__await__` yields. Both stand in the same queues, first come, first served, and both make their calls by
`SocketState.try_again`.

A `recv` that nobody waits for yet is *unawaited* (`greenzmq.sockets.unawaited`). It has no place in the queue, so it
costs nobody anything. Once a later call of the same socket has to wait, those before it enter the queue ahead of it: so
futures get messages in the order of the calls, as those of `zmq.asyncio` do.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import ref

import zmq
from greenlet import getcurrent

from ..hubs.asyncio import HUB_OF_LOOP, Future, current_task
from ..waiting.futures import PendingFuture, TaskWaiter, awaiting, failed_future, finished_future
from ..waiting.reasons import POLL
from .calls import send_message
from .directions import POLLIN
from .event_wait import EventWait
from .fairness import FAST_CALLS
from .operations import DONTWAIT
from .outcomes import MUST_WAIT
from .timeouts import ask_timeout

if TYPE_CHECKING:
    from ..hubs.asyncio import AsyncioHub
    from .directions import Direction
    from .operations import Args, Call, SocketState

__all__ = ["PendingCall", "PendingPoll", "PendingSend", "begin", "begin_poll"]

_get_loop = Future.get_loop
_is_done = Future.done
_set_result = Future.set_result


class _OfSocket(PendingFuture[Any]):
    """What pending calls and pending polls have in common."""

    __slots__ = ("_began_at", "_seconds", "_socket", "_socket_state", "_who")
    takes = False
    _convert: Any
    _awaited: bool
    _yields: bool

    def _set_up(self, who: Any, socket: Any, seconds: float | None, began_at: float) -> None:
        """Complete the new future.

        Parameters
        ----------
        who : asyncio.Task or greenlet
            Who has made the call.
        socket : Socket
            The socket.
        seconds : float or None
            How long the call may wait from `began_at` on; None for ever.
        began_at : float
            When the call was made, as `time.monotonic` counts.
        """
        self.set_up_future()
        self._who = who
        self._socket = socket
        self._socket_state: SocketState = socket._greenzmq_state
        self._seconds = seconds
        self._began_at = began_at

    def _bind(self, hub: AsyncioHub) -> None:
        state = self._socket_state
        if hub is not state.hub or state.watch is None:
            self._socket_state.bind_to(hub, self._socket)

    def _is_late(self) -> bool:
        return self._seconds is not None and monotonic() >= self._began_at + self._seconds

    # -- while nobody waits for it -------------------------------------------------------------------------------------

    def is_unawaited(self) -> bool:
        """Whether it is not done, and nobody waits for it."""
        return self._waiter is None and not (self._awaited or _is_done(self))

    def work_now(self) -> bool:
        """Do the work if it is possible now. Returns whether the future is done."""
        try:
            self._work_in_turn()
        except Exception as error:
            self.fail(error)
        return _is_done(self)

    def _work_in_turn(self) -> None:
        """`_work_without_waiting`, where those before this one need not be asked."""
        raise NotImplementedError


class PendingCall(_OfSocket):
    """A `recv` that has to wait. Made, and completed, by `begin`."""

    __slots__ = ("_args", "_call", "_direction", "_flags", "_has_to_try")
    takes = True
    _direction: Direction
    _call: Call[Any]
    _flags: int
    _args: Args
    _has_to_try: bool  # the call was not made only because the turn was over

    def _begin(self) -> TaskWaiter | None:
        try:
            # `_hub`, in line, like all that every wait comes by.
            loop = _get_loop(self)
            hub = self._hub() if current_task(loop) is None else getattr(loop, HUB_OF_LOOP, None) or self._hub()
            state, socket, direction = self._socket_state, self._socket, self._direction
            if hub is not state.hub or state.watch is None:
                state.bind_to(hub, socket)
            unawaited = state.futures
            if unawaited:
                if len(unawaited) == 1 and unawaited[0]() is self:
                    unawaited.clear()
                else:
                    for before in unawaited.take_up_to(self):
                        before.enter_unawaited()
            if unawaited is not None and unawaited.loop is not loop:
                unawaited.note_loop(loop)
            if direction.mid_message is not None or not (
                self._has_to_try or direction.expect_eagain or state.alternates
            ):
                state.about_to_wait(direction)
            waiter = TaskWaiter()
            waiter.set_up(self, hub, self._seconds, self._began_at, socket, self._who)
            self._waiter = waiter
            state.enter(socket, waiter, direction)
            if self._has_to_try and waiter.previous is None:
                # The turn was over, so the call was not made. It may be one that fails: EVENTS never promises that.
                waiter.wake()
            if waiter.woken:
                self._yields = state.has_to_yield(self._who, socket, direction)
        except Exception as error:
            self.fail(error)
            self._end_wait()
        return self._waiter

    def _try(self, waiter: TaskWaiter, woken: bool) -> bool:
        try:
            if not _is_done(self):
                result = self._socket_state.try_again(
                    self._socket, self._direction, self._call, self._flags, self._args, waiter, woken
                )
                if result is MUST_WAIT:
                    return False
                convert = self._convert
                _set_result(self, result if convert is None else convert(result))
        except Exception as error:
            self.fail(error)
        return True

    def enter_unawaited(self) -> None:
        """Stand in the queue since somebody is about to wait behind; see `TaskWaiter.let_go`."""
        waiter = self._begin()
        if waiter is not None:
            waiter.let_go(self, partial(self._socket_state.leave, self._socket, waiter, self._direction))
            waiter.unattend()

    def _quit(self, waiter: TaskWaiter) -> None:
        state = self._socket_state
        try:
            state.leave(self._socket, waiter, self._direction)
        except BaseException:  # as in `PendingFuture._quit`
            state.leave(self._socket, waiter, self._direction)
            raise
        finally:
            self._waiter = None
        if not _is_done(self) and self.takes and self._socket_state.futures is not None:
            self._socket_state.futures.add(self)  # nobody waits for it any more

    __await__ = __iter__ = awaiting(_begin, _try, _quit)

    def _is_wanted(self) -> bool:
        waiter = self._waiter
        return super()._is_wanted() or (waiter is not None and waiter.next is not None)

    def _work_without_waiting(self) -> None:
        unawaited = self._socket_state.futures
        if unawaited is None or unawaited.serve_before(self):
            self._work_in_turn()
        elif self._is_late():
            raise zmq.Again()

    def _work_in_turn(self) -> None:
        state, direction = self._socket_state, self._direction
        # EVENTS first: an attempt in vain costs more. Those who stand in the queue come first.
        if direction.first is None and (state.check_events(self._socket) & direction.event or self._has_to_try):
            try:
                self.finish(
                    state.within_no_time(self._who, self._socket, direction, self._call, self._flags, self._args, False)
                )
                return
            except zmq.Again:
                pass
        if self._is_late():
            raise zmq.Again()


class PendingSend(PendingCall):
    """A `send` that has to wait. What is to be sent is sent, awaited or not; what cannot be sent any more is told."""

    __slots__ = ()
    is_eager = True
    takes = False

    def _begin(self) -> TaskWaiter | None:
        waiter = PendingCall._begin(self)
        if waiter is not None:
            waiter.hub.note_unfinished(self)
        return waiter

    __await__ = __iter__ = awaiting(_begin, PendingCall._try, PendingCall._quit)

    def end_with_loop(self) -> None:
        """The loop ends: make a last attempt. If there is no room, tell that this is not sent, and cancel it."""
        waiter = self._waiter
        if waiter is None or self._awaited or _is_done(self):
            return
        if self._try(waiter, True):
            self._quit(waiter)
        else:
            self._tell_unsent()
            self.cancel()

    def __del__(self) -> None:
        if _is_done(self):
            super().__del__()  # tells of an error that nobody has asked for
        elif not self._socket_state.inherited:
            self._tell_unsent()

    def _tell_unsent(self) -> None:
        """Tell the loop's exception handler, as asyncio does of a pending task that is destroyed.

        Not with the future itself: a handler that keeps it would bring back a socket that is being collected.
        """
        parts = len(self._args[0]) if self._call is send_message else 1
        traceback = getattr(self, "_source_traceback", None)
        self.get_loop().call_exception_handler(
            {
                "message": f"a send of {parts} part{'s' * (parts > 1)} still waited for room on {self._socket!r} when "
                "its loop ended, so it was not sent; await each send before the end, or cancel it",
                **({"source_traceback": traceback} if traceback else {}),
            }
        )


class PendingPoll(_OfSocket):
    """A `Socket.poll` that has to wait. It takes nothing, so it stands in no line with calls."""

    __slots__ = ("_events", "_wait")

    def set_up(self, who: Any, socket: Any, seconds: float | None, began_at: float, events: int) -> None:
        """Complete the new future; for the parameters see `_OfSocket`."""
        self._set_up(who, socket, seconds, began_at)
        self._events = events
        self._wait: Any = None

    def _enter(self, hub: AsyncioHub) -> None:
        self._bind(hub)
        reason = (POLL, self._socket, self._events)
        waiter = TaskWaiter()
        waiter.set_up(self, hub, self._seconds, self._began_at, reason, self._who)
        self._wait = EventWait(self._socket_state, self._socket, self._events, waiter)
        self._waiter = waiter
        self._wait.enter()
        self._wait.listen()
        if waiter.woken:
            self._yields = self._socket_state.has_to_yield(self._who, self._socket, self._socket_state.receiving)

    def _leave(self, waiter: TaskWaiter) -> None:
        self._wait.leave()

    def _work(self, waiter: TaskWaiter, woken: bool) -> None:
        ready = self._wait.ready()
        if ready or waiter.expired:
            if ready & POLLIN:
                self._socket_state.turn.begin_run()
            self.finish(ready)
        else:
            self._wait.listen()

    def _work_in_turn(self) -> None:
        ready = self._socket_state.check_events(self._socket) & self._events
        if ready or self._is_late():
            self.finish(ready)

    _work_without_waiting = _work_in_turn


def begin(
    loop: Any,
    socket: Any,
    state: SocketState,
    direction: Direction,
    call: Call[Any],
    flags: int,
    args: Args,
    met_again: bool = False,
) -> Future[Any]:
    """`SocketState.perform` with a future for its result. Never waits: the future's owner does."""
    who = current_task(loop) or getcurrent()
    try:
        takes, known = direction is state.receiving, direction.timeout
        if flags & DONTWAIT or known == 0:
            return finished_future(loop, state.within_no_time(who, socket, direction, call, flags, args, met_again))
        began_at = monotonic()
        unawaited, last_receiver = state.futures, direction.last_receiver
        # What `try_first` would find, in line: a `recv` nearly always has to wait by what is known already.
        is_usual = takes and not unawaited and last_receiver() is who and direction.mid_message is None
        asked = state.alternates and 0 < state.sending.fast_calls_left < FAST_CALLS
        must_wait = met_again or (is_usual and (direction.expect_eagain or asked))
        if not must_wait and (not (takes and unawaited) or unawaited.serve_before()):
            if not takes:
                _work_off(direction)
            result = state.try_first(who, socket, direction, call, flags, args)
            if result is not MUST_WAIT:
                return finished_future(loop, result)
        timeout = ask_timeout(state, socket, direction) if known is None else known
        if timeout == 0:
            return finished_future(loop, state.within_no_time(who, socket, direction, call, flags, args, met_again))
    except Exception as error:
        return failed_future(loop, error)
    future = PendingCall(loop=loop) if takes else PendingSend(loop=loop)
    future._waiter = future._convert = None  # `_set_up`, in line: every call that has to wait comes by here
    future._awaited = future._yields = False
    future._who = who
    future._socket = socket
    future._socket_state = state
    future._seconds = timeout / 1000 if timeout > 0 else None
    future._began_at = began_at
    future._direction = direction
    future._call = call
    future._flags = flags | DONTWAIT
    future._args = args
    turn = state.begun_turn
    future._has_to_try = not (met_again or turn is None or turn.calls_left)
    if not takes:
        future.begin_unawaited()
    elif unawaited:
        unawaited.add(future)
    elif unawaited is not None:
        unawaited.append(ref(future))  # `add`, in line
    return future


def begin_poll(loop: Any, socket: Any, events: int, seconds: float | None) -> Future[Any]:
    """`SocketState.poll` with a future for its result."""
    state: SocketState = socket._greenzmq_state
    began_at = monotonic()
    try:
        if not (events and seconds != 0 and state.turn.is_over_after_one_more(False)):
            ready = state.check_events(socket) & events
            if ready or seconds == 0 or not events:
                if ready & POLLIN and seconds != 0:
                    state.turn.begin_run()
                else:
                    state.end_run()
                return finished_future(loop, ready)
        else:
            state.turn.put_off_its_end()
    except Exception as error:
        return failed_future(loop, error)
    future = PendingPoll(loop=loop)
    future.set_up(current_task(loop) or getcurrent(), socket, seconds, began_at, events)
    if state.futures is not None:
        state.futures.add(future)
    return future


def _work_off(direction: Direction) -> None:
    """Make the sends at the head of the queue that only wait for the loop to go round.

    The caller is about to send, and has awaited none of them: it lets nobody run in between. Without this a loop that
    never awaits would fill the queue once its turn is over.
    """
    first = direction.first
    while isinstance(first, TaskWaiter) and first.work_off() and direction.first is not first:
        first = direction.first
