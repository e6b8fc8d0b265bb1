"""The one watch on a socket's ZMQ_FD: started while greenlets are parked on the socket, dropped before it is closed.

Mostly a wait is followed by another one. So a watch that nobody needs rests, and is stopped only if the socket is
signalled meanwhile (`greenzmq.hubs.base.Watch`): to stop and start it would be a tenth of what a wait costs.

A signal handler may close the socket between any two bytecodes, also while the watch is being started or stopped. Then
whoever is doing that closes the watch when it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import unpatched

if TYPE_CHECKING:
    from .hubs import Hub, Watch

__all__ = ["Watched"]


class Watched:
    """Something with a watch.

    Attributes
    ----------
    ended : bool
        The socket is closed or about to be, or its context has ended. Nobody parks, and no watch is started any more.
    hub : Hub or None
        Where the watch is.
    parked : int
        How many are parked on the socket.
    unshared : bool
        Only green objects know the socket, so it is closed, and its options are set, by way of these. Else the watch
        does not rest, and each wait asks for its timeout.
    watch : Watch or None
        Started, and not resting, exactly while somebody is.
    """

    __slots__ = ("ended", "hub", "parked", "steering", "unshared", "watch")

    def __init__(self) -> None:
        self.ended = False
        self.hub: Hub | None = None
        self.parked = 0
        self.steering = False  # the watch is being started or stopped
        self.unshared = False
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
        if self.is_elsewhere():
            watch.hub.call_soon_threadsafe(watch.close)
        else:
            watch.close()

    def is_elsewhere(self) -> bool:
        """Whether this is not the thread of the hub; only the end of a context may come from such a one."""
        return self.hub is not None and self.hub.thread_id != unpatched.get_ident()

    def is_of_another(self, fd: int) -> bool:
        """Whether this is of a socket that has ended, and not of the open one that has the descriptor `fd`."""
        return self.ended or (self.watch is not None and self.watch.fd != fd)

    def is_signalled(self) -> bool:
        """Whether commands lie unprocessed."""
        watch = self.watch
        return watch is None or unpatched.is_readable(watch.fd)
