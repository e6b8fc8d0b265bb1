"""A socket that several native threads use at once: one lock, and waiters on many hubs.

libzmq asks of those who share a socket that one call has ended before the next begins, and that a full fence lies
between the two. A lock gives both. So on the hub that runs threads each socket has one:

- It is held around each operation, a whole message, and around each read of ``EVENTS`` or change of an option. It is
  never held while its owner waits: an operation is tried under NOBLOCK, and its greenlet parks without the lock.
- It guards the queues as well. A waiter joins its queue and reads ``EVENTS`` under the lock, and whoever else consumes
  the signal rechecks for others under the lock. So nobody can clear the signal between the two.
- It may be taken again by its owner, since a signal handler may use a socket in the middle of an operation on it. But a
  wait there would be one with the lock held: that is an error.

The queues are those of `SocketWaiters`, and first come is first served, whatever thread somebody waits in. A waiter is
woken through its own hub. Only one hub at a time watches the descriptor: the *home* of the watch. These rules hold:

- While anybody is parked, the home is the hub of one of those who are, and so goes round; the watch is started there,
  or a call that starts it is on its way there. A level-triggered watch that is started late misses nothing.
- A waiter that leaves, and was the last one on the home, moves the watch to the hub of the first one that remains. It
  does so in its own thread, with the lock held, whatever has ended its wait; the end of its thread does, too, since
  that ends the waits of its greenlets first. If the first one is being woken already, it is the last one's hub.

A Poller waits by means of its thread's own set of descriptors, so each thread's set may watch the socket besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .. import hubs
from ..errors import BlockingCallError
from ..hubs.base import HUB_ATTRIBUTE
from ..waiting.waiter import Waiter, refuse_to_wait
from .operations import DONTWAIT, Args, Call, Result
from .sleeping import WaitAlone

if TYPE_CHECKING:
    from ..hubs import Hub
    from .directions import Direction
    from .messages import Party

__all__ = ["SharedState"]


class SharedState(WaitAlone):
    """See `SocketState`. Each step of an operation holds the lock, but for the waits."""

    __slots__ = ()

    def open_compiled_path(self, address: int) -> None:
        """See `CompiledPath.open_compiled_path`. The extension finds the address in the lock."""
        self.use_compiled_lock(address, self.alternates)
        if self.alternates:
            self.receiving.may_be_fast()  # the extension does what `_use_alternation` asks for
        super().open_compiled_path(self.lock)

    def close_compiled_path(self) -> None:
        """See `CompiledPath.close_compiled_path`. Without the lock, which may be nobody's in a forked child."""
        if getattr(self, "address", None) is not None:
            super().close_compiled_path()
            self.lock.disuse()
            if self.alternates:
                self.receiving.never_fast()

    def perform(
        self, socket: Any, direction: Direction, call: Call[Result], flags: int, args: Args, met_again: bool = False
    ) -> Result:
        """See `SocketState.perform`."""
        if self.lock._is_owned() and not flags & DONTWAIT:
            refusal = _in_the_middle(socket)
            return self._try_where_no_wait_is_possible(refusal, getcurrent(), socket, direction, call, flags, args)  # type: ignore[no-any-return]
        return super().perform(socket, direction, call, flags, args, met_again)

    def poll(self, socket: Any, events: int, seconds: float | None) -> int:
        """See `SocketState.poll`."""
        if self.lock._is_owned() and seconds != 0:
            ready = self.check_events(socket) & events
            if ready or not events:
                return ready
            raise _in_the_middle(socket)
        return super().poll(socket, events, seconds)

    def try_first(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """See `SocketState.try_first`."""
        with self.lock:
            if self.alternates and direction.is_exhausted() and not self.has_waiters:
                self.turn.put_off_its_end()  # a recv of a REQ or REP does not ask otherwise; see `_use_alternation`
            return super().try_first(who, socket, direction, call, flags, args)

    def within_no_time(
        self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, met_again: bool
    ) -> Any:
        """See `SocketState.within_no_time`."""
        with self.lock:
            return super().within_no_time(who, socket, direction, call, flags, args, met_again)

    def _try_where_no_wait_is_possible(
        self, refusal: Any, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args
    ) -> Any:
        with self.lock:
            return super()._try_where_no_wait_is_possible(refusal, who, socket, direction, call, flags, args)

    def try_again(
        self, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args, waiter: Waiter, woken: bool
    ) -> Any:
        """See `SocketState.try_again`."""
        with self.lock:
            self.tries(waiter)
            return super().try_again(socket, direction, call, flags, args, waiter, woken)

    def _new_waiter(self, socket: Any, direction: Direction, timeout: int, began_at: float) -> Waiter:
        hub = _hub_of(socket)
        with self.lock:
            if getattr(self, "address", None) is not None:  # there an attempt costs less than the look at EVENTS
                if timeout < 0:
                    self.may_sleep_next_time(socket, hub, direction)
            elif not (direction.expect_eagain or self.alternates):
                direction.begin_wait()
        return Waiter(hub, timeout / 1000 if timeout > 0 else None, began_at, socket)

    def bind_hub(self, socket: Any) -> Hub:
        """Return this greenlet's hub. There may be others besides; see `SharedWaiters.enter`."""
        return _hub_of(socket)

    def _yield_to_hub(self, socket: Any, direction: Direction) -> None:
        with self.lock:
            is_receiving = self._is_receiving_message(getcurrent(), socket, direction)
        if is_receiving:
            return
        held = self.lock._is_owned()  # once, by `try_first`: `perform` sees to that
        try:
            if held:
                self.lock.release()
            self.turn.yield_to_others(socket._greenzmq_choice)
        finally:
            if held:
                self._hold_again()

    def _hold_again(self) -> None:
        """Take the lock back, which the caller lets go of, also if a signal handler raises meanwhile."""
        try:
            if not self.lock._is_owned():
                self.lock.acquire()
        except BaseException:
            if not self.lock._is_owned():
                self.lock.acquire()
            raise

    def _message_abandoned(self, ended: object) -> None:
        self.after_abandoned_message(ended)

    def expose(self) -> None:
        """See `SocketState.expose`."""
        with self.lock:
            super().expose()


def _hub_of(socket: Any) -> Hub:
    """The hub on which this greenlet waits for `socket`. Raises `HubError` where it cannot wait."""
    current = getcurrent()
    here: Any = getattr(current, HUB_ATTRIBUTE, None)
    hub: Hub
    if here is not None and here.runs_threads and (here.greenlet is current.parent or here.main is current):
        hub = here
        return hub
    hub = hubs.hub_to_wait_on(socket._greenzmq_choice, socket)
    refuse_to_wait(hub)
    return hub


def _in_the_middle(socket: Any) -> BlockingCallError:
    return BlockingCallError(
        f"a call that has to wait was made in a signal handler, or a finalizer, which has interrupted an operation on "
        f"this very socket, {socket!r}: the wait would stop all threads that use it. Do it in a task"
    )
