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
from typing import TYPE_CHECKING, Protocol

from ..errors import WatchError
from ..process import unpatched

if TYPE_CHECKING:
    from ..hubs import Hub, Watch

__all__ = ["Duplicate", "FdWatch"]


class Duplicate:
    """A second number for a socket's descriptor, made by ``dup``. It is closed when the last reference to it is gone.

    It is the callback of the watch on it, so it lives as long as that watch.

    Parameters
    ----------
    original : int
        The socket's ZMQ_FD.
    callback : callable
        What it calls when the watch calls it.
    """

    __slots__ = ("_callback", "fd")

    def __init__(self, original: int, callback: Callable[[], object]) -> None:
        self.fd = -1  # for `__del__`, if dup fails
        self._callback = callback
        self.fd = _socket.dup(original)  # not os.dup, which cannot duplicate a socket on Windows

    def __call__(self) -> None:
        """Called by the watch."""
        self._callback()

    def __del__(self) -> None:
        if self.fd >= 0:
            _socket.close(self.fd)


class Owner(Protocol):
    """The part of `SocketWaiters` that is used here."""

    def on_readable(self) -> None:
        """The callback of the watch."""


class FdWatch:
    """The watch on one socket's ZMQ_FD.

    Parameters
    ----------
    owner : Owner
        Its `on_readable` is what the watch calls when the descriptor is readable.

    Attributes
    ----------
    exclusive : bool
        Only green objects know the socket: only they can close it, and nobody else knows its descriptor.
    fd : int
        The socket's ZMQ_FD, once it has a watch; -1 before.
    hub : Hub or None
        The hub of the watch.
    watch : Watch or None
        None before the first wait and after `close`.
    """

    __slots__ = ("_owner", "exclusive", "fd", "hub", "watch")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.exclusive = False
        self.fd = -1
        self.hub: Hub | None = None
        self.watch: Watch | None = None

    def bind(self, hub: Hub, fd: int) -> None:
        """Have a watch on `hub`, which is not started yet; one on another hub is closed."""
        if hub is not self.hub:
            self.close()
            self.hub = hub
        if self.watch is None:
            self.fd = fd
            self.watch = self._new_watch(hub)

    def _new_watch(self, hub: Hub) -> Watch:
        if self.exclusive:
            return hub.watch(self.fd, self._owner.on_readable)
        duplicate = Duplicate(self.fd, self._owner.on_readable)
        return hub.watch(duplicate.fd, duplicate)

    def start(self) -> None:
        """Call back from now on. Does nothing if the socket is closed, even by a signal handler during this call.

        Raises
        ------
        OSError or WatchError
            The hub cannot watch the descriptor.
        """
        watch = self.watch
        if watch is None:
            return
        try:
            watch.start()
        except (OSError, WatchError):
            if self.watch is watch:
                raise
            # Else a signal handler has closed the socket, and so the descriptor, during `start`. That is no error of
            # the hub: the caller's next attempt meets ENOTSOCK.

    def close(self) -> None:
        """Close the watch: before the socket is closed, or when it goes to another hub. Then wake its waiters."""
        watch, self.watch = self.watch, None  # first, since `start` and `expose` compare it after an interruption
        if watch is None:
            return
        if self.is_foreign_thread():
            watch.hub.call_soon_threadsafe(watch.close)
        else:
            watch.close()

    def be_exclusive(self) -> None:
        """The socket is new: only its green object knows it."""
        self.exclusive = True

    def expose(self, is_needed: Callable[[], bool]) -> None:
        """The program has got the socket's address or descriptor: move the watch to a `Duplicate`.

        `is_needed` says whether the watch has to be started there, because somebody waits.
        """
        self.exclusive = False
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._move_to_duplicate, is_needed)
        else:
            self._move_to_duplicate(is_needed)

    def _move_to_duplicate(self, is_needed: Callable[[], bool]) -> None:
        """In the thread of the hub, also while greenlets wait."""
        before = self.watch
        if before is None or self.hub is None:
            return
        moved = self._new_watch(self.hub)
        if self.watch is not before:  # a signal handler has closed it meanwhile
            return
        self.watch = moved
        before.close()
        if is_needed():
            self.start()

    def is_foreign_thread(self) -> bool:
        """Whether the caller is in another thread than the hub. Calls that need not wait may be made in any thread."""
        return self.hub is not None and self.hub.thread_id != unpatched.get_ident()

    def is_signalled(self) -> bool:
        """Whether unprocessed commands lie in the socket's mailbox. True if there is no watch to ask."""
        watch = self.watch
        return watch is None or unpatched.is_readable(watch.fd)

    def detach_after_fork(self) -> None:
        """In a forked child: forget the watch, without a change to what the parent watches."""
        watch, self.watch, self.hub = self.watch, None, None
        if watch is not None:
            watch.detach_after_fork()
