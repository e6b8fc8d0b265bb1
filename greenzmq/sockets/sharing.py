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

import weakref
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .. import hubs
from ..errors import BlockingCallError
from ..hubs.base import HUB_ATTRIBUTE
from ..process import unpatched
from ..waiting.events import wake_anywhere
from ..waiting.waiter import Waiter, refuse_to_wait
from .directions import whom_to_wake
from .fairness import SocketTurn
from .operations import DONTWAIT, FD, Args, Call, Result, SocketState
from .waiters import SocketWaiters, get_option

if TYPE_CHECKING:
    from ..hubs import Hub, Watch
    from .directions import Direction, Sending
    from .fd_watch import SignalSource
    from .listeners import Listener
    from .messages import Party

__all__ = ["SharedState"]

#: Shared by all sockets that have nothing of their own to put into a dict, to save memory. Never changed.
_NONE: dict[Any, None] = {}


class SharedTurn(SocketTurn):
    """The turns of a shared socket. Threads that drain it need not make room for each other: the system does that."""

    __slots__ = ()

    def begin_run(self) -> None:
        """Count nothing. Several threads may poll and drain the socket, each at its own pace."""


class SharedWaiters(SocketWaiters):
    """Who waits on a shared socket, on whatever hubs.

    Attributes
    ----------
    lock : lock
        The socket's.
    announced : dict
        The set of waiters that were woken and have not tried again since: to wake them once more would tell them
        nothing, however many others look at the socket meanwhile.
    poll_sets : tuple
        Weak references to the sets of descriptors, one for each thread with a Poller, in which the socket is.
    """

    __slots__ = ("announced", "lock", "poll_sets")
    turn_class = SharedTurn

    def __init__(self, turn_seconds: float) -> None:
        self.lock = unpatched.new_rlock()
        self.announced: dict[Waiter, None] = _NONE
        self.poll_sets: tuple[weakref.ref[Any], ...] = ()
        super().__init__(turn_seconds)

    def waits_on(self, hub: Hub) -> bool:
        """Whether anybody is parked on the socket on `hub`."""
        return any(waiter.hub is hub for queue in self._queues() for waiter in queue)

    def _queues(self) -> tuple[Any, ...]:
        return (self.receiving, self.sending, self.polling)

    # -- the same under the lock --------------------------------------------------------------------------------------

    def enter(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """See `SocketWaiters.enter`. The first one's hub is the home of the watch."""
        with self.lock:
            if self.socket is None and not self.closed:
                self.bind_watch(waiter.hub, self.fd if self.fd >= 0 else get_option(socket, FD))
            super().enter(socket, waiter, direction)

    def leave(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """See `SocketWaiters.leave`. Moves the watch if its home has nobody left."""
        with self.lock:
            self.announced.pop(waiter, None)
            super().leave(socket, waiter, direction)
            if self.socket is not None and self.hub is waiter.hub and not self.waits_on(waiter.hub):
                self._move_watch()

    def _move_watch(self) -> None:
        if self.closed:  # all were woken for that, so none needs a watch
            self.close_watch()
        else:
            self._move_watch_to(self._next_home().hub)

    def _move_watch_to(self, hub: Hub) -> None:
        """Make `hub`, where somebody is parked, the home, and start the watch there."""
        self.close_watch()
        self.bind_watch(hub, self.fd)
        if self.is_foreign_thread():
            hub.call_soon_threadsafe(self._start_here, self.watch)
        else:
            self.start_watch()

    def _start_here(self, watch: Watch) -> None:
        """In the thread of the new home. The home may have changed meanwhile, or have nobody left."""
        with self.lock:
            if self.watch is watch and self.waits_on(watch.hub):
                self.start_watch()

    def expose_watch(self) -> None:
        """See `FdWatch.expose_watch`. Called with the lock held."""
        if self.hub is None or self.watch is None:
            return
        if self.is_parked_on():
            self._move_watch_to(self.hub)
        else:
            self.close_watch()

    def _next_home(self) -> Waiter:
        """The first waiter, which a signal then wakes most directly. If it is about to go anyway, the one that waits
        longest: the last.
        """
        queue = next(queue for queue in self._queues() if queue.first is not None)
        first: Waiter = queue.first
        return queue.last if first in self.announced else first

    def begin_sending(self) -> Sending:
        """See `SocketWaiters.begin_sending`."""
        with self.lock:
            return super().begin_sending()

    def listen(self, listener: Listener) -> None:
        """See `SocketWaiters.listen`."""
        with self.lock:
            super().listen(listener)

    def forget(self, listener: Listener) -> None:
        """See `SocketWaiters.forget`."""
        with self.lock:
            super().forget(listener)

    def read_events(self, socket: Any) -> int:
        """See `SocketWaiters.read_events`."""
        with self.lock:
            return super().read_events(socket)

    def check_events(self, socket: Any) -> int:
        """See `SocketWaiters.check_events`."""
        with self.lock:
            return super().check_events(socket)

    def check_events_for(self, listener: Listener, socket: Any) -> int:
        """See `SocketWaiters.check_events_for`."""
        with self.lock:
            return super().check_events_for(listener, socket)

    def check_events_quietly(self, socket: Any) -> int:
        """See `SocketWaiters.check_events_quietly`."""
        with self.lock:
            return super().check_events_quietly(socket)

    def recheck_for_others(self, socket: Any) -> None:
        """See `SocketWaiters.recheck_for_others`."""
        with self.lock:
            super().recheck_for_others(socket)

    def tell_all_listeners(self) -> None:
        """See `SocketWaiters.tell_all_listeners`."""
        with self.lock:
            super().tell_all_listeners()

    # -- whom to wake -------------------------------------------------------------------------------------------------

    def tries(self, waiter: Waiter) -> None:
        """The waiter has been woken, or its time is over, and it is about to try again."""
        self.announced.pop(waiter, None)

    def wake_ready(self, events: int) -> None:
        """See `SocketWaiters.wake_ready`."""
        for waiter in whom_to_wake(events, self.receiving, self.sending, self.generation):
            if waiter is not None:
                self._announce(waiter)
        if self.listeners:
            self._tell_listeners(events)

    def _announce(self, waiter: Waiter) -> None:
        if waiter not in self.announced:
            self.announced = self.announced or {}
            self.announced[waiter] = None
            if waiter.hub.thread_id == unpatched.get_ident():
                waiter.wake()
            else:  # the whole callback there, so it may switch at once: that spares that loop a round
                waiter.hub.call_soon_threadsafe(waiter.wake_now)

    def on_readable(self) -> None:
        """See `SocketWaiters.on_readable`. A waiter of this thread is switched to at once, without the lock."""
        here = unpatched.get_ident()
        with self.lock:
            chosen = self._whom_to_wake_now()
            at_once = next((waiter for waiter in chosen if waiter.hub.thread_id == here), None)
            for waiter in chosen:
                if waiter is not at_once:
                    self._announce(waiter)
        if at_once is not None:  # only this thread lets it park, or ends its wait
            at_once.wake_now()

    __call__ = on_readable

    def _whom_to_wake_now(self) -> list[Waiter]:
        if self.socket is None:
            return []
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
            return [first]  # its own recv processes the commands
        events = self.read_events(self.socket)
        if self.listeners:
            self._tell_listeners(events)
        chosen = whom_to_wake(events, receiving, self.sending, self.generation)
        return [waiter for waiter in chosen if waiter is not None]

    def after_abandoned_message(self, ended: object) -> None:
        """A greenlet has ended in the middle of a message: have those who wait for it looked after.

        Called in any thread, also by the garbage collector, and so in the middle of anything: without the lock. The
        hub of one who waits goes round; and if he leaves before that, he looks after the others himself.

        `ended` is the task, if it was one. Its greenlet may live for a moment longer, in its own thread.
        """
        for queue in self._queues():
            first = queue.first
            if first is not None:
                first.hub.call_soon_threadsafe(self._recheck_here, ended)

    def _recheck_here(self, ended: object) -> None:
        with self.lock:
            for direction in (self.receiving, self.sending):
                message = direction.mid_message
                owner = None if message is None else message.owner()
                if owner is not None and getattr(owner, "task", _nothing)() is ended:
                    direction.end_message()
            if self.socket is not None:
                self.check_events_quietly(self.socket)

    # -- the sets of the Pollers --------------------------------------------------------------------------------------

    def enter_poll_set(self, poll_set: SignalSource, fd: int) -> None:
        """See `SocketWaiters.enter_poll_set`. It stays in the sets of other threads."""
        with self.lock:
            self.poll_fd = fd
            living = tuple(reference for reference in self.poll_sets if reference() is not None)
            self.poll_sets = (*living, weakref.ref(poll_set))

    def forget_poll_set(self, poll_set: SignalSource) -> None:
        """See `SocketWaiters.forget_poll_set`."""
        with self.lock:
            self.poll_sets = tuple(reference for reference in self.poll_sets if reference() is not poll_set)

    def leave_poll_set(self) -> None:
        """Take the descriptor out of all sets. Called before the socket is closed."""
        for reference in self.poll_sets:
            poll_set = reference()
            if poll_set is not None:
                poll_set.leave(self)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """See `SocketWaiters.close`."""
        with self.lock:
            super().close()

    def wake_all(self) -> None:
        """See `SocketWaiters.wake_all`."""
        with self.lock:
            self.closed = True
            self._wake_queues()
            self._tell_listeners(-1)

    def _wake_queues(self) -> None:
        if self.all_woken:
            return
        for direction in (self.receiving, self.sending):
            for waiter in direction:
                wake_anywhere(waiter)
        self.all_woken = True

    def detach_after_fork(self) -> None:
        """See `SocketWaiters.detach_after_fork`. Another thread may have held the lock when the process forked."""
        self.lock = unpatched.new_rlock()
        self.announced = _NONE
        self.poll_sets = ()
        super().detach_after_fork()


class SharedState(SocketState):
    """See `SocketState`. Each step of an operation holds the lock, but for the waits."""

    __slots__ = ()
    waiters: SharedWaiters
    waiters_class = SharedWaiters

    @property
    def lock(self) -> Any:
        """The socket's lock."""
        return self.waiters.lock

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
            ready = self.waiters.check_events(socket) & events
            if ready or not events:
                return ready
            raise _in_the_middle(socket)
        return super().poll(socket, events, seconds)

    def try_first(self, who: Party, socket: Any, direction: Direction, call: Call[Any], flags: int, args: Args) -> Any:
        """See `SocketState.try_first`."""
        with self.lock:
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
            self.waiters.tries(waiter)
            return super().try_again(socket, direction, call, flags, args, waiter, woken)

    def _new_waiter(self, socket: Any, direction: Direction, timeout: int, began_at: float) -> Waiter:
        hub = _hub_of(socket)
        with self.lock:
            if not (direction.expect_eagain or self.alternates):
                direction.begin_wait()
            if direction.mid_message is not None:
                direction.mid_message.watch_exit()
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
        if held:
            self.lock.release()
        try:
            self.turn.yield_to_others(socket._greenzmq_choice)
        finally:
            if held:
                self.lock.acquire()

    def _message_abandoned(self, ended: object) -> None:
        self.waiters.after_abandoned_message(ended)

    def expose(self) -> None:
        """See `SocketState.expose`."""
        with self.lock:
            super().expose()

    def close(self) -> None:
        """See `SocketState.close`."""
        with self.lock:
            super().close()


def _nothing() -> None:
    """Return None, as a weak reference to a task that is gone does."""


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
