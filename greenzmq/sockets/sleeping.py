"""A thread that alone waits on a socket sleeps on its descriptor itself, and not by way of its hub.

This is for sockets that threads may share, with the compiled fast path. The usual program has one task for each thread,
so nothing else happens in the thread while the task waits. Then the compiled part (``_shared.c``) sleeps in ``poll`` on
ZMQ_FD, and on what the hub would sleep on; so a kill, or whatever else is for the hub, ends the sleep. When ZMQ_FD is
readable, the sleeper receives, or tries to send again. So for such a wait no Python code runs at all.

Whatever is not so simple waits as on other hubs, in `SocketState.perform`: with a time limit, with timers, callbacks or
other greenlets in the thread, after a signal of the system, or where somebody else waits on the socket.

Another thread may use the socket meanwhile. As soon as it takes the lock, the sleeper is *admitted*: it gets a `Waiter`
in the queue, as if it had waited there from the beginning. Its thread is woken, and parks. As that is more work than
the usual wait, the next `shared_waiters.PATIENCE` waits on the socket are made in the usual way.

A greenlet may sleep only where it has waited before in the usual way, which finds out whether it may wait there at all.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from ..hubs.base import HUB_ATTRIBUTE, live_hubs
from ..hubs.detection import is_plain
from . import accelerator, fast_methods
from .calls import receive_message, send_message, send_part
from .operations import DONTWAIT
from .outcomes import MUST_WAIT
from .shared_waiters import SharedWaiters

if TYPE_CHECKING:
    from ..waiting.waiter import Waiter
    from .directions import Direction
    from .operations import Args, Call

__all__ = ["GOES_ON", "SleepingThread", "WaitAlone", "sleeping_threads"]

_recv = BackendSocket.recv


class WaitAlone(SharedWaiters):
    """The part of `SharedState` by which threads may sleep."""

    __slots__ = ()

    def wait_alone(self, socket: Any, direction: Direction, call: Call[Any], args: Args) -> Any:
        """Go on with a call that has met EAGAIN in the compiled fast path, and does not sleep, or sleeps no more."""
        waiter = self._admitted(direction)
        if waiter is None:
            return self.perform(socket, direction, call, 0, args, True)
        while True:
            woken = waiter.park()
            result = self.try_again(socket, direction, call, DONTWAIT, args, waiter, woken)
            if result is not MUST_WAIT:
                return result  # the compiled part calls `SharedWaiters.end_sleep`, whatever happens here

    def _admitted(self, direction: Direction) -> Waiter | None:
        """The waiter that stands in the queue for this greenlet; None if it does not sleep.

        In a frame of its own: a traceback may keep the caller's, and a sleeper has a descriptor.
        """
        sleeper = self.lock.allowed(direction is not self.receiving)
        if sleeper is None or sleeper.party() is not getcurrent():
            return None
        if not sleeper.waits:
            if sleeper.spoiled:
                self.stop_after_wait()
            return None
        with self.lock:  # whoever has admitted it has done so by now
            waiter: Waiter | None = sleeper.waiter
        return waiter

    def may_sleep_next_time(self, socket: Any, hub: Any, direction: Direction) -> None:
        """This greenlet is about to wait on `hub` in the usual way, and without a limit. The next time it may sleep."""
        party: Any = getcurrent()
        sends = direction is not self.receiving
        allowed = self.lock.allowed(sends)
        if allowed is not None:
            if allowed.party() is not party:
                self.forbid_sleep()  # several wait on it, in turn
                self.put_off_sleep()
            return
        is_task = hasattr(party, HUB_ATTRIBUTE)
        extension: Any = accelerator.extension  # None if it has stepped aside since the socket was made
        means = None if extension is None else hub.idle_means()
        # Where the socket does not say which hub it waits on, that of a thread which is no task may change.
        if means is not None and (is_task or socket._greenzmq_choice is not None) and self.may_allow_sleep():
            fds = self.descriptor(socket), means[0]
            known = weakref.ref(hub), weakref.ref(party)
            check = None if is_task else is_plain
            self.allow_sleep(extension.Sleeper(self.lock, *known, check, means[1], sends, *fds))


class SleepingThread:
    """What `greenzmq.diagnostics` reads of a `Waiter`, for a thread that sleeps by itself and has none."""

    def __init__(self, sleeper: Any, socket: Any) -> None:
        self.hub: Any = sleeper.hub()
        self.party: Any = sleeper.party()
        self.reason = socket
        state = socket._greenzmq_state
        self.queue: Direction = state.sending if sleeper.sends else state.receiving
        self.since: float = sleeper.since
        self.timeout = None
        self.parked = True

    def admit(self) -> None:
        """Have the thread wait in the usual way, with a `Waiter`."""
        with self.reason._greenzmq_state.lock:
            pass


def sleeping_threads() -> list[SleepingThread]:
    """The threads that sleep by themselves now, as far as the garbage collector knows."""
    extension: Any = accelerator.extension
    # Each refers to the weak reference to its hub, of which there is one; see `greenzmq.process.objects`.
    referrers = () if extension is None else gc.get_referrers(*map(weakref.ref, live_hubs()))
    sleepers: list[Any] = [what for what in referrers if type(what) is extension.Sleeper]
    found = [(sleeper, sleeper.socket) for sleeper in sleepers if sleeper.waiter is None]
    threads = [SleepingThread(sleeper, socket) for sleeper, socket in found if socket is not None]
    return [thread for thread in threads if thread.hub is not None]


# What goes on with the methods of a shared socket; see `greenzmq.sockets.fast_methods`.


def send(socket: Any, data: bytes, sent: int, errno: int) -> Any:
    """Go on with a `Socket.send` that has met EAGAIN, and so has sent nothing."""
    return socket._greenzmq_state.wait_alone(socket, socket._greenzmq_sending, send_part, (data, True, False))


def recv(socket: Any) -> Any:
    """Go on with a `Socket.recv` that has met EAGAIN."""
    return socket._greenzmq_state.wait_alone(socket, socket._greenzmq_receiving, _recv, (True, False))


def send_multipart(socket: Any, parts: Any, sent: int, errno: int) -> Any:
    """Go on with a `Socket.send_multipart` that has met an error after `sent` parts; with none sent, it was EAGAIN."""
    if sent:
        return fast_methods.send_multipart(socket, parts, sent, errno)
    return socket._greenzmq_state.wait_alone(socket, socket._greenzmq_sending, send_message, (parts, True, False))


def recv_multipart(socket: Any) -> Any:
    """Go on with a `Socket.recv_multipart` that has met EAGAIN."""
    receiving = socket._greenzmq_receiving
    return socket._greenzmq_state.wait_alone(socket, receiving, receive_message, (True, False))


GOES_ON = {function.__name__: function for function in (send, recv, send_multipart, recv_multipart)}
