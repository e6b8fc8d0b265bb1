"""The one watch on a socket's ZMQ_FD: on which hub it is, and on which number of the descriptor.

Mostly a wait is followed by another one. So a watch that nobody needs is stopped lazily, and really only if the socket
is signalled meanwhile (`greenzmq.hubs.base.Watch`): to stop and start it would be a tenth of what a wait costs.

A loop has one place for each number of a descriptor: asyncio's `add_reader` takes it from whoever has it, eventlet lets
no second one in. So once a socket's descriptor, or the socket itself, was given away, somebody else's watch may take
the place of ours. From then on ours is on a number of its own for the same file, a `Duplicate`, and is not stopped
lazily.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import WatchError
from ..process import unpatched

if TYPE_CHECKING:
    from ..hubs import Hub, Watch

__all__ = ["Duplicate", "FdWatch"]


class Duplicate:
    """A number of our own for a socket's descriptor, and a watch's callback. Closed when that watch is gone.

    Parameters
    ----------
    original : int
        The number that libzmq has given it.
    callback : callable
        What the watch is to call.
    """

    __slots__ = ("_callback", "fd")

    def __init__(self, original: int, callback: Callable[[], object]) -> None:
        self.fd = -1
        self._callback = callback
        self.fd = _socket.dup(original)  # which can do it on Windows, too

    def __call__(self) -> None:
        """For the watch."""
        self._callback()

    def __del__(self) -> None:
        if self.fd >= 0:
            _socket.close(self.fd)


class FdWatch:
    """The watch on one socket's ZMQ_FD.

    Parameters
    ----------
    callback : callable
        What the watch calls when the descriptor is readable.

    Attributes
    ----------
    exclusive : bool
        Only green objects know the socket, so it is closed by way of these, and nobody else knows its descriptor.
    fd : int
        The socket's ZMQ_FD, once it has a watch; -1 before.
    hub : Hub or None
        Where the watch is.
    watch : Watch or None
        None before the first wait and after `close`.
    """

    __slots__ = ("_callback", "exclusive", "fd", "hub", "watch")

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self.exclusive = False
        self.fd = -1
        self.hub: Hub | None = None
        self.watch: Watch | None = None

    def bind(self, hub: Hub, fd: int) -> None:
        """Be on `hub` from now on."""
        if hub is not self.hub:
            self.close()
            self.hub = hub
        if self.watch is None:
            self.fd = fd
            self.watch = self._new_watch(hub)

    def _new_watch(self, hub: Hub) -> Watch:
        if self.exclusive:
            return hub.watch(self.fd, self._callback)
        duplicate = Duplicate(self.fd, self._callback)
        return hub.watch(duplicate.fd, duplicate)

    def start(self) -> None:
        """Call back from now on. Nothing if the socket is closed, or closed by a signal handler in the midst of this.

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
                raise  # else its descriptor has been closed under it, of which the caller learns by ENOTSOCK

    def stop(self) -> None:
        """Call back no more: lazily, where nobody else may take the watch's place."""
        watch = self.watch
        if watch is None:
            return
        if self.exclusive:
            watch.stop_lazily()
        else:
            watch.stop()

    def close(self) -> None:
        """Before the socket is closed, or when it has gone to another hub. The waiters are to be woken after it."""
        watch, self.watch = self.watch, None
        if watch is None:
            return
        if self.is_foreign_thread():
            watch.hub.call_soon_threadsafe(watch.close)
        else:
            watch.close()

    def be_exclusive(self) -> None:
        """Nobody else knows the socket yet."""
        self.exclusive = True

    def expose(self, is_needed: Callable[[], bool]) -> None:
        """The socket's address or descriptor is given away; `is_needed` says whether the watch has to call back now."""
        self.exclusive = False
        if self.hub is not None and self.is_foreign_thread():
            self.hub.call_soon_threadsafe(self._move_to_duplicate, is_needed)
        else:
            self._move_to_duplicate(is_needed)

    def _move_to_duplicate(self, is_needed: Callable[[], bool]) -> None:
        """Also in the midst of a wait. In the thread of the hub."""
        before = self.watch
        if before is None or self.hub is None:
            return
        moved = self._new_watch(self.hub)
        if self.watch is not before:  # closed by a signal handler, in the midst of this
            return
        self.watch = moved
        before.close()
        if is_needed():
            self.start()

    def is_foreign_thread(self) -> bool:
        """Whether this is not the thread of the hub. Calls that need not wait may come from any."""
        return self.hub is not None and self.hub.thread_id != unpatched.get_ident()

    def is_signalled(self) -> bool:
        """Whether commands lie unprocessed in the socket's mailbox."""
        watch = self.watch
        return watch is None or unpatched.is_readable(watch.fd)

    def detach_after_fork(self) -> None:
        """In a forked child: forget the watch, and leave the parent's to it."""
        watch, self.watch, self.hub = self.watch, None, None
        if watch is not None:
            watch.detach_after_fork()
