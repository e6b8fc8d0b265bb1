"""Who waits on a socket that native threads share, on whatever hubs; see `greenzmq.sockets.sharing`."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import zmq

from ..process import unpatched
from ..waiting.events import wake_anywhere
from ..waiting.waiter import Waiter
from . import accelerator
from .directions import whom_to_wake
from .fairness import FAST_CALLS, SocketTurn
from .operations import FD, SocketState
from .waiters import ALL_WOKEN, CLOSED, get_option

if TYPE_CHECKING:
    from ..hubs import Hub, Watch
    from .directions import Direction, Sending
    from .fd_watch import SignalSource
    from .listeners import Listener
    from .messages import PartialMessage

__all__ = ["SharedWaiters"]

#: How many waits on a socket are made in the usual way after one in which another thread has used it.
PATIENCE = 32

#: Shared by all sockets that have nothing of their own to put into a dict, to save memory. Never changed.
_NONE: dict[Any, None] = {}


class SharedTurn(SocketTurn):
    """The turns of a shared socket. Threads that drain it need not make room for each other: the system does that."""

    __slots__ = ()

    def begin_run(self) -> None:
        """Count nothing. Several threads may poll and drain the socket, each at its own pace."""


class SharedWaiters(SocketState):
    """The part of `SharedState` that knows who waits on the socket, on whatever hubs.

    Attributes
    ----------
    lock : lock
        The socket's.
    has_compiled_lock : bool
        The lock is the extension's, which knows of threads that sleep by themselves; see `greenzmq.sockets.sleeping`.
    stops : bool
        The watch is to be really stopped after this wait.
    waits_left : int
        How many waits are to be made in the usual way before somebody may sleep by himself.
    announced : dict
        The set of waiters that were woken and have not tried again since: to wake them once more would tell them
        nothing, however many others look at the socket meanwhile.
    poll_sets : tuple
        Weak references to the sets of descriptors, one for each thread with a Poller, in which the socket is.
    """

    __slots__ = ("announced", "has_compiled_lock", "lock", "poll_sets", "stops", "waits_left")
    turn_class = SharedTurn

    def __init__(self, turn_seconds: float) -> None:
        self.lock: Any = unpatched.new_rlock()
        self.waits_left = 0
        self.stops = self.has_compiled_lock = False
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
                self.bind_watch(waiter.hub, self.descriptor(socket))
            if direction is self.receiving and direction.last_receiver() is not waiter.party:
                self._reserve_message(socket, waiter)
            super().enter(socket, waiter, direction)
            if direction is not None and direction.mid_message is not None:
                self._join_in_the_middle(waiter, direction.mid_message)

    def _reserve_message(self, socket: Any, waiter: Waiter) -> None:
        """A receiver joins the queue. Since it tried, another thread may have received a first part."""
        with suppress(zmq.ZMQError):  # of a closed socket, or an ended context: the receiver meets that error itself
            self._reserve_for_last_receiver(socket, waiter.party)

    def _join_in_the_middle(self, waiter: Waiter, message: PartialMessage) -> None:
        """A waiter has joined the queue while somebody is in the middle of `message`.

        If that is its own party, one that joined before has left it the rest, since it tried. Nobody else wakes it, as
        it has no need to wait: the next part is there.
        """
        message.watch_exit()
        if message.owner() is waiter.party:
            self._announce(waiter)

    def descriptor(self, socket: Any) -> int:
        """The socket's ZMQ_FD."""
        fd = self.fd
        return fd if fd >= 0 else get_option(socket, FD)

    def allow_sleep(self, sleeper: Any) -> None:
        """A thread may sleep by itself when it has to wait the next time."""
        self.lock.allow(sleeper.sends, sleeper)
        self.stop_after_wait()

    def may_allow_sleep(self) -> bool:
        """Count a wait, and return whether it has been long enough since another thread has used the socket in one."""
        self.waits_left = max(self.waits_left - 1, 0)
        return self.waits_left == 0

    def put_off_sleep(self) -> None:
        """The next waits on the socket are to be made in the usual way."""
        self.waits_left = PATIENCE

    def forbid_sleep(self) -> None:
        """Nobody begins to sleep by himself, until `allow_sleep`: for example, a time limit was set."""
        if self.has_compiled_lock:
            for sends in (False, True):
                self.lock.allow(sends, None)

    def stop_after_wait(self) -> None:
        """Really stop the watch after this wait: a lazily stopped one makes the hub's epoll ready, and ends sleeps."""
        self.stops = True

    def end_sleep(self, sleeper: Any, socket: Any) -> None:
        """The wait of one that was admitted, or is just being admitted, has ended. Idempotent."""
        with self.lock:
            waiter = sleeper.waiter
            if waiter is not None:
                self.leave(socket, waiter, self.sending if sleeper.sends else self.receiving)
                sleeper.waiter = None
            self.forbid_sleep()
            self.put_off_sleep()

    def use_compiled_lock(self, address: int, alternates: bool) -> None:
        """The socket is new, and the extension may use it, under a lock that knows of those who sleep."""
        extension: Any = accelerator.extension
        self.has_compiled_lock = True
        self.lock = extension.SharedLock(_admit, _end_sleep, address, FAST_CALLS, alternates)

    def admit(self, sleeper: Any) -> None:
        """Put a thread that sleeps on the socket by itself into its queue. The caller has just taken the lock.

        If a signal handler's exception interrupts this, whoever takes the lock next repeats it.
        """
        hub: Hub | None = sleeper.hub()
        socket: Any = sleeper.socket
        if hub is None or hub.has_ended():
            return
        direction = self.sending if sleeper.sends else self.receiving
        interrupted: Waiter | None = sleeper.waiter
        if interrupted is not None:  # its place is the last one still, since to enter takes the lock
            self.leave(socket, interrupted, direction)
        sleeper.waiter = waiter = Waiter(hub, None, None, socket)
        waiter.stand_for(sleeper.party())
        self.enter(socket, waiter, direction)
        hub.call_soon_threadsafe(_nothing)  # that it wakes up, and parks

    def leave(self, socket: Any, waiter: Waiter, direction: Direction | None = None) -> None:
        """See `SocketWaiters.leave`. Moves the watch if its home has nobody left."""
        with self.lock:
            self.announced.pop(waiter, None)
            super().leave(socket, waiter, direction)
            if self.stops and self.socket is None and self.watch is not None:
                self.watch.stop()
                self.stops = False
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
        self.start_watch()

    def start_watch(self) -> None:
        """See `FdWatch.start_watch`. From any thread."""
        hub, watch = self.hub, self.watch
        if hub is None or watch is None or not self.is_foreign_thread():
            super().start_watch()
        else:
            hub.call_soon_threadsafe(self._start_here, watch)

    def _start_here(self, watch: Watch) -> None:
        """In the thread of the new home. The home may have changed meanwhile, or have nobody left."""
        with self.lock:
            if self.watch is watch and self.waits_on(watch.hub):
                super().start_watch()

    def expose_watch(self) -> None:
        """See `FdWatch.expose_watch`. Called with the lock held."""
        if self.hub is None or self.watch is None:
            return
        if self.is_parked_on():
            self._move_watch_to(self.hub)
        else:
            self.close_watch()

    def watch_anew(self) -> None:
        """See `SocketState.watch_anew`."""
        with self.lock:
            super().watch_anew()
            if self.poll_sets:
                self.leave_poll_set()
                self.tell_all_listeners()

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
            self.fd = fd
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
        """See `SocketState.close`."""
        with self.lock:
            super().close()
            self.forbid_sleep()  # a sleeper has a descriptor of its own

    def wake_all(self) -> None:
        """See `SocketWaiters.wake_all`."""
        with self.lock:
            self.closed |= CLOSED
            self._wake_queues()
            self._tell_listeners(-1)

    def _wake_queues(self) -> None:
        if self.closed & ALL_WOKEN:
            return
        for direction in (self.receiving, self.sending):
            for waiter in direction:
                wake_anywhere(waiter)
        self.closed |= ALL_WOKEN

    def detach_after_fork(self) -> None:
        """See `SocketState.detach_after_fork`. Another thread may have held the lock when the process forked."""
        self.lock = unpatched.new_rlock()
        self.has_compiled_lock = False
        self.announced = _NONE
        self.poll_sets = ()
        super().detach_after_fork()


# What the lock calls: functions, since with methods of its owner the two would keep each other.


def _admit(sleeper: Any) -> None:
    """See `SharedWaiters.admit`."""
    if sleeper.socket is not None:
        sleeper.socket._greenzmq_state.admit(sleeper)


def _end_sleep(sleeper: Any, socket: Any) -> None:
    """See `SharedWaiters.end_sleep`."""
    socket._greenzmq_state.end_sleep(sleeper, socket)


def _nothing() -> None:
    """Return None, as a weak reference to a task that is gone does."""
