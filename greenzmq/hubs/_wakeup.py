"""A file descriptor by which other threads wake a sleeping loop, for runtimes that have no such thing of their own."""

from __future__ import annotations

import _socket
from collections.abc import Callable

from ..process import unpatched

__all__ = ["Wakeup"]


class _Sender:
    """The end of the socket pair that other threads write to. Closed when the last reference to it is gone.

    A thread that sends reads the number of the descriptor, releases the GIL, and writes. If `Wakeup.close` closed the
    descriptor in between, the byte would go to another file that has got the same number. Therefore no method closes
    this end: a thread that is writing refers to it, and so keeps it open.
    """

    __slots__ = ("_socket",)

    def __init__(self, sender: _socket.socket) -> None:
        self._socket = sender

    def send(self) -> None:
        try:
            self._socket.send(b"\0")
        except OSError:  # the buffer is full, so the loop wakes anyway; or the other end is closed, as the loop is
            pass

    def __del__(self) -> None:
        self._socket.close()


class Wakeup:
    """Wakes a sleeping loop, from any thread and from a signal handler.

    The loop watches `fd` for reading and calls `drain` when it is readable.

    Parameters
    ----------
    on_wake : callable
        Called by `drain`, without arguments, at least once after each `notify`. It sees everything that the caller of
        `notify` did before, such as an entry in a queue.
    """

    def __init__(self, on_wake: Callable[[], object]) -> None:
        self._on_wake = on_wake
        self._notified = False
        self._receiver, sender = unpatched.wakeup_pair()
        self._sender: _Sender | None = _Sender(sender)
        self.fd: int = self._receiver.fileno()

    def notify(self) -> None:
        """Make `fd` readable. Never blocks. Makes no system call if `fd` is readable already, or after `close`."""
        sender = self._sender
        if self._notified or sender is None:
            return
        try:
            self._notified = True
            sender.send()
        except BaseException:  # a KeyboardInterrupt: perhaps nothing was sent, so the next call has to send
            self._notified = False
            raise

    def drain(self) -> None:
        """Make `fd` unreadable and call `on_wake`. For the loop's own thread."""
        # The order matters: empty the socket, reset `_notified`, call `on_wake`. While `_notified` is set, a `notify`
        # of another thread sends nothing. If it were reset last, a `notify` between `on_wake` and the reset would be
        # lost. If it were reset first, the byte of the next `notify` could be read here, with `_notified` left set.
        try:
            while len(self._receiver.recv(64)) == 64:
                pass
        except OSError:
            pass
        self._notified = False
        self._on_wake()

    def close(self) -> None:
        """Free the descriptors. From then on `notify` does nothing."""
        self._sender = None
        self._receiver.close()
