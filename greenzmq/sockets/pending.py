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

import zmq
from greenlet import getcurrent

from ..hubs.asyncio import Future, current_task
from ..waiting.futures import PendingFuture, TaskWaiter, failed_future, finished_future
from ..waiting.reasons import POLL
from .calls import send_message
from .directions import POLLIN
from .event_wait import EventWait
from .operations import DONTWAIT
from .outcomes import MUST_WAIT
from .timeouts import ask_timeout

if TYPE_CHECKING:
    from ..hubs.asyncio import AsyncioHub
    from .directions import Direction
    from .operations import Args, Call, SocketState

__all__ = ["PendingCall", "PendingPoll", "PendingSend", "begin", "begin_poll"]


class _OfSocket(PendingFuture[Any]):
    """What pending calls and pending polls have in common.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop of the call.
    who : asyncio.Task or greenlet
        Who has made the call.
    socket : Socket
        The socket.
    seconds : float or None
        How long the call may wait from `began_at` on; None for ever.
    began_at : float
        When the call was made, as `time.monotonic` counts.
    """

    __slots__ = ("_began_at", "_seconds", "_socket", "_socket_state", "_who")
    takes = False

    def __init__(self, loop: Any, who: Any, socket: Any, seconds: float | None, began_at: float) -> None:
        super().__init__(loop)
        self._who = who
        self._socket = socket
        self._socket_state: SocketState = socket._greenzmq_state
        self._seconds = seconds
        self._began_at = began_at

    def _bind(self, hub: AsyncioHub) -> None:
        waiters = self._socket_state.waiters
        if hub is not waiters.hub or waiters.watch is None:
            self._socket_state.bind_to(hub, self._socket)

    def _is_late(self) -> bool:
        return self._seconds is not None and monotonic() >= self._began_at + self._seconds

    # -- while nobody waits for it -------------------------------------------------------------------------------------

    def is_unawaited(self) -> bool:
        """Whether it is not done, and nobody waits for it."""
        return self._waiter is None and not (self._awaited or PendingFuture.is_done(self))

    def work_now(self) -> bool:
        """Do the work if it is possible now. Returns whether the future is done."""
        try:
            self._work_in_turn()
        except Exception as error:
            self.fail(error)
        return PendingFuture.is_done(self)

    def _work_in_turn(self) -> None:
        """`_work_without_waiting`, where those before this one need not be asked."""
        raise NotImplementedError


class PendingCall(_OfSocket):
    """A `recv` that has to wait. Made by `begin`; for the parameters see `SocketState.perform`.

    `has_to_try` says that the call was not made only because the turn was over.
    """

    __slots__ = ("_args", "_call", "_direction", "_flags", "_has_to_try")
    takes = True

    def __init__(
        self,
        loop: Any,
        who: Any,
        socket: Any,
        seconds: float | None,
        began_at: float,
        direction: Direction,
        call: Call[Any],
        flags: int,
        args: Args,
        has_to_try: bool,
    ) -> None:
        Future.__init__(self, loop=loop)  # in line what two classes above do: every call that has to wait comes by here
        self._waiter = self._convert = None
        self._awaited = self._yields = False
        self._who = who
        self._socket = socket
        self._socket_state = socket._greenzmq_state
        self._seconds = seconds
        self._began_at = began_at
        self._direction = direction
        self._call = call
        self._flags = flags | DONTWAIT
        self._args = args
        self._has_to_try = has_to_try

    def _new_waiter(self, hub: AsyncioHub) -> TaskWaiter:
        state = self._socket_state
        waiters = state.waiters
        if hub is not waiters.hub or waiters.watch is None:
            state.bind_to(hub, self._socket)
        unawaited = state.futures
        if unawaited:
            if len(unawaited) == 1 and unawaited[0]() is self:  # in line: nearly always
                unawaited.clear()
            else:
                for before in unawaited.take_up_to(self):
                    before.enter_unawaited()
        if not self._has_to_try or self._direction.mid_message is not None:
            state.about_to_wait(self._direction)
        return TaskWaiter(self, hub, self._seconds, self._began_at, self._socket, self._who)

    def _enter(self, waiter: TaskWaiter) -> None:
        self._socket_state.waiters.enter(self._socket, waiter, self._direction)
        if self._has_to_try and self._direction.first is waiter:
            # The turn was over, so the call was not made. It may be one that fails, and then EVENTS never promises it.
            waiter.wake()
        if waiter.woken:
            self._yields = self._socket_state.has_to_yield(self._who, self._socket, self._direction)

    def _try(self, waiter: TaskWaiter) -> None:
        if PendingFuture.is_done(self):
            return
        try:
            result = self._socket_state.try_again(
                self._socket, self._direction, self._call, self._flags, self._args, waiter, waiter.take_wake_up()
            )
            if result is not MUST_WAIT:
                convert = self._convert
                self.set_result(result if convert is None else convert(result))
        except Exception as error:
            self.fail(error)

    def enter_unawaited(self) -> None:
        """Stand in the queue since somebody is about to wait behind; see `TaskWaiter.let_go`."""
        waiter = self._begin()
        if waiter is not None:
            waiter.let_go(self, partial(self._socket_state.waiters.leave, self._socket, waiter, self._direction))
            waiter.unattend()

    def _quit(self, waiter: TaskWaiter) -> None:
        leave = self._socket_state.waiters.leave
        try:
            leave(self._socket, waiter, self._direction)
        except BaseException:  # as in `PendingFuture._quit`
            leave(self._socket, waiter, self._direction)
            raise
        finally:
            self._waiter = None
        if self.takes and not PendingFuture.is_done(self) and self._socket_state.futures is not None:
            self._socket_state.futures.add(self)  # nobody waits for it any more

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
        if direction.first is None and (state.waiters.check_events(self._socket) & direction.event or self._has_to_try):
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

    def _enter(self, waiter: TaskWaiter) -> None:
        waiter.hub.note_unfinished(self)
        super()._enter(waiter)

    def end_with_loop(self) -> None:
        """The loop ends: make a last attempt. If there is no room, tell that this is not sent, and cancel it."""
        waiter = self._waiter
        if waiter is None or self._awaited or PendingFuture.is_done(self):
            return
        waiter.wake()
        self._try(waiter)
        if PendingFuture.is_done(self):
            self._quit(waiter)
        else:
            self._tell_unsent()
            self.cancel()

    def __del__(self) -> None:
        if PendingFuture.is_done(self):
            super().__del__()  # tells of an error that nobody has asked for
        elif not self._socket_state.waiters.inherited:
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

    def __init__(self, loop: Any, who: Any, socket: Any, seconds: float | None, began_at: float, events: int) -> None:
        super().__init__(loop, who, socket, seconds, began_at)
        self._events = events
        self._wait: Any = None

    def _new_waiter(self, hub: AsyncioHub) -> TaskWaiter:
        self._bind(hub)
        reason = (POLL, self._socket, self._events)
        waiter = TaskWaiter(self, hub, self._seconds, self._began_at, reason, self._who)
        self._wait = EventWait(self._socket_state.waiters, self._socket, self._events, waiter)
        return waiter

    def _enter(self, waiter: TaskWaiter) -> None:
        self._wait.enter()
        self._wait.listen()
        if waiter.woken:
            self._yields = self._socket_state.has_to_yield(self._who, self._socket, self._socket_state.receiving)

    def _leave(self, waiter: TaskWaiter) -> None:
        self._wait.leave()

    def _work(self, waiter: TaskWaiter) -> None:
        waiter.take_wake_up()
        ready = self._wait.ready()
        if ready or waiter.expired:
            if ready & POLLIN:
                self._socket_state.turn.begin_run()
            self.finish(ready)
        else:
            self._wait.listen()

    def _work_in_turn(self) -> None:
        ready = self._socket_state.waiters.check_events(self._socket) & self._events
        if ready or self._is_late():
            self.finish(ready)

    _work_without_waiting = _work_in_turn


def begin(
    loop: Any, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, met_again: bool = False
) -> Future[Any]:
    """`SocketState.perform` with a future for its result. Never waits: the future's owner does."""
    state: SocketState = socket._greenzmq_state
    who = current_task(loop) or getcurrent()
    try:
        known = direction.timeout
        if flags & DONTWAIT or known == 0:
            return finished_future(loop, state.within_no_time(who, socket, direction, call, flags, args, met_again))
        began_at = monotonic()
        takes = direction is state.receiving
        unawaited = state.futures
        if not met_again and (not (takes and unawaited) or unawaited.serve_before()):
            if not takes:
                _work_off(direction)
            result = state.try_first(who, socket, direction, call, flags, args)
            if result is not MUST_WAIT:
                return finished_future(loop, result)
        timeout = ask_timeout(state.waiters, socket, direction) if known is None else known
        if timeout == 0:
            return finished_future(loop, state.within_no_time(who, socket, direction, call, flags, args, met_again))
    except Exception as error:
        return failed_future(loop, error)
    seconds = timeout / 1000 if timeout > 0 else None
    turn = state.waiters.begun_turn
    has_to_try = not (met_again or turn is None or turn.calls_left)
    kind = PendingCall if takes else PendingSend
    future = kind(loop, who, socket, seconds, began_at, direction, call, flags, args, has_to_try)
    if not takes:
        future.begin_unawaited()
    elif unawaited is not None:
        unawaited.add(future)
    return future


def begin_poll(loop: Any, socket: Any, events: int, seconds: float | None) -> Future[Any]:
    """`SocketState.poll` with a future for its result."""
    state: SocketState = socket._greenzmq_state
    began_at = monotonic()
    try:
        if not (events and seconds != 0 and state.turn.is_over_after_one_more(False)):
            ready = state.waiters.check_events(socket) & events
            if ready or seconds == 0 or not events:
                if ready & POLLIN and seconds != 0:
                    state.turn.begin_run()
                else:
                    state.waiters.end_run()
                return finished_future(loop, ready)
        else:
            state.turn.put_off_its_end()
    except Exception as error:
        return failed_future(loop, error)
    future = PendingPoll(loop, current_task(loop) or getcurrent(), socket, seconds, began_at, events)
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
