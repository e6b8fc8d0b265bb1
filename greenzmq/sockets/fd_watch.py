"""The one watch on a socket's ZMQ_FD: on which hub it is, and which file descriptor it watches.

Most waits are followed by another wait. So when a wait ends, its watch is only stopped lazily: it stays with the loop,
and is really stopped only if the socket is signalled before the next wait (`greenzmq.hubs.base.Watch`). To stop and
start it each time would add a tenth to the cost of a wait.

A loop accepts one watch for each number of a descriptor: asyncio's `add_reader` replaces the one that is there, and
eventlet refuses a second one. Once the program has got the socket's descriptor or address from us, it may watch that
number itself, and collide with our watch. From then on our watch is on a number of its own for the same file, a
`Duplicate`, and is not stopped lazily.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import WatchError
from ..process import unpatched
from .accelerator import CompiledPath

if TYPE_CHECKING:
    from ..hubs import Hub, Watch

__all__ = ["Duplicate", "FdWatch"]


class Duplicate:
    """A second number for a socket's descriptor, made by ``dup``. It is closed when the last reference to it is gone.

    It is the callback of the watch on it, so it lives as long as that watch. It refers to what it calls only while the
    watch is started. For the state of a socket that is dropped, but open still, has to go with its last object: a later
    socket may get the same address and descriptor, and would find a state that watches another file.

    Parameters
    ----------
    original : int
        The socket's ZMQ_FD.
    """

    __slots__ = ("_callback", "fd")

    def __init__(self, original: int) -> None:
        self.fd = -1  # for `__del__`, if dup fails
        self._callback: Callable[[], object] | None = None
        self.fd = _socket.dup(original)  # not os.dup, which cannot duplicate a socket on Windows

    def calls(self, callback: Callable[[], object] | None) -> None:
        """Call this when the watch calls; None while it is stopped."""
        self._callback = callback

    def __call__(self) -> None:
        """Called by the watch."""
        callback = self._callback
        if callback is not None:  # else another thread has stopped the watch just now
            callback()

    def __del__(self) -> None:
        if self.fd >= 0:
            _socket.close(self.fd)


class SignalSource(Protocol):
    """The part of `greenzmq.polling.poll_set.PollSet` that is used here: it wakes a socket's listeners at a signal."""

    def leave(self, waiters: Any) -> None:
        """Take the socket's descriptor out of the set."""


class FdWatch(CompiledPath):
    """The part of `SocketState` that has the watch on the socket's ZMQ_FD.

    The object itself is what the watch calls back: a bound method would take 64 bytes more.

    Attributes
    ----------
    exclusive : bool
        Only green objects know the socket: only they can close it, and nobody else knows its descriptor.
    fd : int
        The socket's ZMQ_FD, once it has a watch or is in the set of the Pollers; -1 before.
    hub : Hub or None
        The hub of the watch.
    watch : Watch or None
        None before the first wait and after `close_watch`.
    poll_set : PollSet or None
        The set of descriptors in which Pollers watch the socket, if they do.
    """

    __slots__ = ("exclusive", "fd", "hub", "poll_set", "watch")

    def __init__(self) -> None:
        self.exclusive = False
        self.fd = -1
        self.hub: Hub | None = None
        self.watch: Watch | None = None
        self.poll_set: SignalSource | None = None

    def is_parked_on(self) -> bool:
        """Whether the watch has to call back."""
        raise NotImplementedError

    def __call__(self) -> None:
        """The callback of the watch: the descriptor is readable."""
        raise NotImplementedError

    def bind_watch(self, hub: Hub, fd: int) -> None:
        """Have a watch on `hub`, which is not started yet; one on another hub is closed."""
        if hub is not self.hub:
            self.close_watch()
            self.hub = hub
        if self.watch is None:
            self.fd = fd
            self.watch = self._new_watch(hub)

    def _new_watch(self, hub: Hub) -> Watch:
        if self.exclusive:
            return hub.watch(self.fd, self)
        duplicate = Duplicate(self.fd)
        return hub.watch(duplicate.fd, duplicate)

    def start_watch(self) -> None:
        """Call back from now on. Does nothing if the socket is closed, even by a signal handler during this call.

        Raises
        ------
        OSError or WatchError
            The hub cannot watch the descriptor.
        """
        watch = self.watch
        if watch is None:
            return
        if watch.lazily_stopped:  # start it, in line, since nearly every wait comes by here
            watch.lazily_stopped = False
            return
        if isinstance(watch.callback, Duplicate):
            watch.callback.calls(self)
        try:
            watch.start()
        except (OSError, WatchError):
            if self.watch is watch:
                raise
            # Else a signal handler has closed the socket, and so the descriptor, during `start`. That is no error of
            # the hub: the caller's next attempt meets ENOTSOCK.

    def stop_watch(self, watch: Watch) -> None:
        """Call back no more: nobody is parked here."""
        if self.exclusive:  # nobody else can watch the same descriptor
            watch.stop_lazily()
        else:
            watch.stop()
            if isinstance(watch.callback, Duplicate):
                watch.callback.calls(None)

    def close_watch(self) -> None:
        """Close the watch: before the socket is closed, or when it goes to another hub. Then wake its waiters."""
        watch, self.watch = self.watch, None  # first, since the methods around compare it after an interruption
        if watch is None:
            return
        if self.is_foreign_thread():
            watch.hub.call_soon_threadsafe(watch.close)
        else:
            watch.close()

    def set_exclusive(self, exclusive: bool) -> None:
        """The socket is new, and only its green object knows it; or the program has got its address or descriptor."""
        self.exclusive = exclusive

    def expose_watch(self) -> None:
        """The socket is not exclusive any more: move the watch to a `Duplicate`."""
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._move_to_duplicate)
        else:
            self._move_to_duplicate()

    def _move_to_duplicate(self) -> None:
        """In the thread of the hub, also while greenlets wait. Not on a hub that has ended: the next wait leaves it."""
        before = self.watch
        if before is None or self.hub is None or self.hub.has_ended():
            return
        moved = self._new_watch(self.hub)
        if self.watch is not before:  # a signal handler has closed it meanwhile
            return
        self.watch = moved
        before.close()
        if self.is_parked_on():
            self.start_watch()

    def is_foreign_thread(self) -> bool:
        """Whether the caller is in another thread than the hub. Calls that need not wait may be made in any thread."""
        return self.hub is not None and self.hub.thread_id != unpatched.get_ident()

    def is_signalled(self) -> bool:
        """Whether unprocessed commands lie in the socket's mailbox. True if there is no watch to ask."""
        watch = self.watch
        return watch is None or unpatched.is_readable(watch.fd)

    def detach_watch(self) -> None:
        """In a forked child: forget the watch, without a change to what the parent watches."""
        watch, self.watch, self.hub, self.poll_set = self.watch, None, None, None
        if watch is not None:
            watch.detach_after_fork()

    # -- the set of the Pollers ---------------------------------------------------------------------------------------

    def enter_poll_set(self, poll_set: SignalSource, fd: int) -> None:
        """`poll_set` wakes the listeners at a signal from now on; the socket's ZMQ_FD is `fd`."""
        self.poll_set, self.fd = poll_set, fd

    def forget_poll_set(self, poll_set: SignalSource) -> None:
        """Undo `enter_poll_set`. The descriptor is no longer in the set."""
        self.poll_set = None

    def leave_poll_set(self) -> None:
        """Take the descriptor out of the Pollers' set. Called before the socket is closed."""
        if self.poll_set is not None:
            self.poll_set.leave(self)
