"""The one watch on a socket's ZMQ_FD: started while greenlets are parked on the socket, dropped before it is closed.

Mostly a wait is followed by another one. So a watch that nobody needs rests, and is stopped only if the socket is
signalled meanwhile (`greenzmq.hubs.base.Watch`): to stop and start it would be a tenth of what a wait costs.

A signal handler may close the socket between any two bytecodes, also while the watch is being started or stopped. Then
whoever is doing that closes the watch when it is done.

A loop has one place for each number of a descriptor: asyncio's `add_reader` takes it from whoever has it, eventlet lets
no second one in. So once a socket's descriptor, or the socket itself, was given away, somebody else's watch may take
the place of ours. From then on ours is on a number of its own for the same file, a `Duplicate`.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..process import unpatched

if TYPE_CHECKING:
    from ..hubs import Hub, Watch

__all__ = ["Duplicate", "Watched"]


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


class Watched:
    """Something with a watch.

    Attributes
    ----------
    ended : bool
        The socket is closed or about to be, or its context has ended. Nobody parks, and no watch is started any more.
    fd : int
        The socket's ZMQ_FD, once it has a watch.
    hub : Hub or None
        Where the watch is.
    parked : int
        How many are parked on the socket.
    exclusive : bool
        Only green objects know the socket, so it is closed, and its options are set, by way of these; and nobody else
        knows its descriptor. Else the watch is on a `Duplicate` and does not rest, and each wait asks for its timeout.
    watch : Watch or None
        Started, and not resting, exactly while somebody is.
    """

    __slots__ = ("ended", "exclusive", "fd", "hub", "parked", "steering", "watch")

    def __init__(self) -> None:
        self.ended = False
        self.fd = -1
        self.hub: Hub | None = None
        self.parked = 0
        self.steering = False  # the watch is being started or stopped
        self.exclusive = False
        self.watch: Watch | None = None

    def start_watch(self) -> None:
        """For the first who parks, if it does not rest only. Nothing if the socket has ended."""
        watch = self.watch
        if watch is None or self.ended:
            return
        self.steering = True
        try:
            if self.watch is watch:
                watch.start()
        except OSError:
            if self.watch is watch:
                raise  # else its descriptor has been closed under it, of which the caller learns by ENOTSOCK
        finally:
            self._end_steering(watch)

    def stop_watch(self) -> None:
        """For the last who was parked, where the watch may not rest."""
        watch = self.watch
        if watch is None:
            return
        self.steering = True
        try:
            if self.watch is watch:
                watch.stop()
        finally:
            self._end_steering(watch)

    def _end_steering(self, watch: Watch) -> None:
        self.steering = False
        if self.watch is not watch:
            watch.close()

    def drop_watch(self) -> None:
        """Before the socket is closed, or when it has gone to another hub. Who waits is to be woken after a close."""
        watch, self.watch = self.watch, None
        if watch is None or self.steering:
            return
        if self.is_foreign_thread():
            watch.hub.call_soon_threadsafe(watch.close)
        else:
            watch.close()

    def is_foreign_thread(self) -> bool:
        """Whether this is not the thread of the hub; only the end of a context may come from such a one."""
        return self.hub is not None and self.hub.thread_id != unpatched.get_ident()

    def is_of_another(self, fd: int) -> bool:
        """Whether this is of a socket that has ended, and not of the open one that has the descriptor `fd`."""
        return self.ended or (self.watch is not None and self.fd != fd)

    def is_signalled(self) -> bool:
        """Whether commands lie unprocessed."""
        watch = self.watch
        return watch is None or unpatched.is_readable(watch.fd)
