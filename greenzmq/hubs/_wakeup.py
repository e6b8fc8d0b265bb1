"""A file descriptor that ends a loop's sleep, for runtimes that have no such thing of their own."""

from __future__ import annotations

import _socket
from collections.abc import Callable

from ..process import unpatched

__all__ = ["Wakeup"]


class _Sender:
    """The end that other threads write to. Closed when nobody uses it any more.

    A thread reads the number of the descriptor, gives up the GIL and writes. Were `close` to come in between, the byte
    would go to whatever got that number next. So nobody closes this end: it goes when its last reference does, and a
    thread that is writing holds one.
    """

    __slots__ = ("_socket",)

    def __init__(self, sender: _socket.socket) -> None:
        self._socket = sender

    def send(self) -> None:
        try:
            self._socket.send(b"\0")
        except OSError:  # full: the loop will wake anyway; broken: there is no loop any more
            pass

    def __del__(self) -> None:
        self._socket.close()


class Wakeup:
    """Wakes a loop that is asleep, from any thread and from a signal handler.

    The loop watches `fd` for reading and calls `drain` when it is readable.

    Parameters
    ----------
    on_wake : callable
        Called by `drain`, without arguments, once or more after each `notify`. What was done before `notify` is
        visible to it.
    """

    def __init__(self, on_wake: Callable[[], object]) -> None:
        self._on_wake = on_wake
        self._notified = False
        self._receiver, sender = unpatched.wakeup_pair()
        self._sender: _Sender | None = _Sender(sender)
        self.fd: int = self._receiver.fileno()

    def notify(self) -> None:
        """Make `fd` readable. Never blocks; costs a system call only if none is under way; nothing after `close`."""
        sender = self._sender
        if self._notified or sender is None:
            return
        try:
            self._notified = True
            sender.send()
        except BaseException:  # Ctrl-C: nothing was sent, and later calls must not rely on it
            self._notified = False
            raise

    def drain(self) -> None:
        """Make `fd` unreadable and call `on_wake`. For the loop's own thread."""
        # Emptied before the mark is taken back, and both before the work: in any other order a notify that comes in
        # between finds the mark set and sends nothing, and is neither read here nor seen by on_wake.
        try:
            while len(self._receiver.recv(64)) == 64:
                pass
        except OSError:
            pass
        self._notified = False
        self._on_wake()

    def close(self) -> None:
        """Free the descriptors. Later calls of `notify` do nothing."""
        self._sender = None
        self._receiver.close()
