"""Which of many file descriptors are ready: asked once, or of a set that one watch stands for.

epoll and kqueue keep a set in the kernel and are descriptors themselves, readable while one of theirs is ready:
asking costs one system call however many there are, and a hub watches one descriptor instead of thousands. Where the
system has neither, the hub watches each.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from ..process import unpatched

if TYPE_CHECKING:
    from ..hubs import Hub, Watch

__all__ = ["POLLERR", "POLLIN", "POLLOUT", "FdSet", "ready_now"]

POLLIN, POLLOUT, POLLERR, POLLPRI = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.POLLERR), int(zmq.POLLPRI)
#: poll(2)'s names of the same; the same numbers everywhere that has epoll. All else is an error to zmq_poll (zmq.cpp).
_IN, _PRI, _OUT = 1, 2, 4


class FdSet:
    """File descriptors and the events that are wanted of them, as ``zmq.POLLIN`` and so on.

    Attributes
    ----------
    outdated : bool
        The last answer of `ready` has a file that was closed in this set but is open elsewhere. The kernel keeps such a
        file, a duplicate's or a forked child's, under the number that it had here, and cannot be told to forget it:
        `renew` is the cure.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}
        self._without_poll: dict[int, int] = {}  # files, which poll(2) calls ready at all times, and closed descriptors
        self._stray: set[int] = set()  # numbers under which the kernel may still report a file that was closed here
        self.outdated = False
        self._epoll = unpatched.epoll is not None
        self._kernel: Any = self._new_kernel_set()  # None when closed

    def want(self, fd: int, events: int) -> None:
        """Ask for `events` of `fd`, and for its errors; 0 takes it out. What was under this number may be closed since.

        Raises
        ------
        OSError
            The system has no room for another one.
        """
        had_poll = fd in self._wanted and fd not in self._without_poll
        self._without_poll.pop(fd, None)
        if not events:
            self._wanted.pop(fd, None)
            if had_poll:
                self._discard(fd)
            return
        self._wanted[fd] = events
        if fd < 0:  # poll(2) passes over these
            self._without_poll[fd] = 0
            return
        try:
            self._enter(fd, events, had_poll)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBADF, errno.EINVAL):
                raise  # EINVAL: it is closed, and this set itself has got its number
            if had_poll:
                self._stray.add(fd)
            self._without_poll[fd] = events & (POLLIN | POLLOUT) if error.errno == errno.EPERM else POLLERR

    def ready(self) -> list[tuple[int, int]]:
        """What is ready now, and for what."""
        found = self._ask_kernel()
        self.outdated = self._is_outdated(found)
        return [*self._without_poll.items(), *found]

    def watches(self, hub: Hub, callback: Callable[[], object]) -> list[Watch]:
        """Stopped watches that call back while anything is ready.

        Valid until the next `want`; where the kernel `keeps` the set, until `renew` or `close`.
        """
        if self._kernel is None:
            return []
        try:
            fds = {self._kernel.fileno(): POLLIN}
        except AttributeError:  # select() on Windows
            fds = self._wanted
        found = [hub.watch(fd, callback) for fd, events in fds.items() if events & ~POLLOUT]
        return found + [hub.watch(fd, callback, write=True) for fd, events in fds.items() if events & POLLOUT]

    @property
    def keeps(self) -> bool:
        """Whether the kernel keeps the set, so that one watch stands for whatever is in it."""
        return hasattr(self._kernel, "fileno")

    def renew(self) -> None:
        """Begin a new set with what is wanted. `watches` are to be closed before, and made anew."""
        wanted = dict(self._wanted)
        self.close()
        for fd, events in wanted.items():
            self.want(fd, events)

    def close(self) -> None:
        """Want nothing any more, and free the kernel's set until something is wanted again."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()
        self._wanted.clear()
        self._without_poll.clear()
        self._stray.clear()

    def _is_outdated(self, found: list[tuple[int, int]]) -> bool:
        """Whether the kernel has reported files that were closed here. Numbers in doubt are left out for a second look.

        To renew the set whenever such a number is ready would cost what is registered, not what is ready.
        """
        if any(fd not in self._wanted or fd in self._without_poll for fd, _ in found):
            return True
        doubtful = {fd for fd, _ in found if fd in self._stray} if self._stray else None
        if not doubtful:
            return False
        for fd in doubtful:
            self._discard(fd)
        outdated = any(fd in doubtful for fd, _ in self._ask_kernel())
        for fd in doubtful:
            self.want(fd, self._wanted[fd])
        return outdated

    def _ask_kernel(self) -> list[tuple[int, int]]:
        if self._kernel is None:
            return []
        if self._epoll:
            return [(fd, _from_poll(mask)) for fd, mask in self._kernel.poll(0, max(1, len(self._wanted)))]
        return [(key.fd, mask & (POLLIN | POLLOUT)) for key, mask in self._kernel.select(0)]

    def _new_kernel_set(self) -> Any:
        if unpatched.epoll is None:
            return unpatched.DefaultSelector()
        kernel = unpatched.epoll()
        os.set_blocking(kernel.fileno(), False)  # nobody reads it, and so no hub needs a stand-in for it
        return kernel

    def _enter(self, fd: int, events: int, known: bool) -> None:
        if self._kernel is None:
            self._kernel = self._new_kernel_set()
        if not self._epoll:
            self._enter_selector(fd, events & (POLLIN | POLLOUT))
            return
        mask = _to_poll(events)
        try:
            if known:
                self._kernel.modify(fd, mask)
            else:
                self._kernel.register(fd, mask)
        except FileNotFoundError:  # the number is another file's now
            self._stray.add(fd)
            self._kernel.register(fd, mask)
        except FileExistsError:  # a file that was closed here, and is open elsewhere, has got its number back
            self._kernel.modify(fd, mask)

    def _enter_selector(self, fd: int, events: int) -> None:
        """A selector does not notice that a number is another file's now, and takes no empty mask."""
        if fd in self._kernel.get_map():
            self._kernel.unregister(fd)
        if events:
            self._kernel.register(fd, events)

    def _discard(self, fd: int) -> None:
        try:
            self._kernel.unregister(fd)
        except (KeyError, OSError, ValueError):  # closed meanwhile: mostly the kernel has forgotten it
            self._stray.add(fd)


def ready_now(wanted: dict[int, int]) -> dict[int, int]:
    """What is ready of the events that are wanted of each descriptor, and what has failed; as zmq_poll has it.

    The numbers mean what they mean now. One that is closed has failed, and a negative one is passed over.
    """
    masks = {fd: _to_poll(events) for fd, events in wanted.items() if fd >= 0}
    return {fd: _from_poll(mask) for fd, mask in unpatched.poll(masks)}


def _to_poll(events: int) -> int:
    return (_IN if events & POLLIN else 0) | (_OUT if events & POLLOUT else 0) | (_PRI if events & POLLPRI else 0)


def _from_poll(mask: int) -> int:
    return (
        (POLLIN if mask & _IN else 0)
        | (POLLOUT if mask & _OUT else 0)
        | (POLLPRI if mask & _PRI else 0)
        | (POLLERR if mask & ~(_IN | _OUT | _PRI) else 0)
    )
