"""`FdSet`: which of many file descriptors are ready.

epoll and kqueue keep the set in the kernel. To ask it is one system call, however many descriptors are in it. The set
is a descriptor itself, which is readable while one of its members is ready: so a hub watches one descriptor instead of
thousands. Where the system has neither, the hub watches each member.
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

__all__ = ["POLLERR", "POLLIN", "POLLOUT", "FdSet", "from_poll", "to_poll"]

POLLIN, POLLOUT, POLLERR, POLLPRI = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.POLLERR), int(zmq.POLLPRI)
#: The flags of poll(2) and epoll for the same events. Any other flag is an error to zmq_poll (zmq.cpp).
_IN, _PRI, _OUT = 1, 2, 4


class FdSet:
    """File descriptors and the events to watch them for, as ``zmq.POLLIN`` and so on.

    Attributes
    ----------
    outdated : bool
        The last answer of `ready` contained a stale file, and the set has to be renewed (`renew`). A file is stale if
        this process closed its descriptor while the set still had it, and a duplicate or a forked child keeps the file
        open. The kernel goes on reporting it under its old number, and cannot be told to forget it.
    keeps : bool
        Whether the kernel keeps the set, so that one watch is enough for all its members.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}
        # Members that the kernel does not take, with what to report of them: plain files, which are always ready, and
        # closed descriptors, which are an error.
        self._without_poll: dict[int, int] = {}
        self._stray: set[int] = set()  # numbers under which the kernel may still report a stale file
        self.outdated = False
        self._epoll = unpatched.epoll is not None
        self._kernel: Any = self._new_kernel_set()  # None when closed
        self.keeps = hasattr(self._kernel, "fileno")

    def want(self, fd: int, events: int) -> None:
        """Watch `fd` for `events`, and for errors; 0 takes it out of the set.

        The number may mean another file than at the last call for it: the earlier one may have been closed since.

        Raises
        ------
        OSError
            The system has no room for another member.
        """
        had_poll = fd in self._wanted and fd not in self._without_poll
        self._without_poll.pop(fd, None)
        if not events:
            self._wanted.pop(fd, None)
            if had_poll:
                self._discard(fd)
            return
        self._wanted[fd] = events
        if fd < 0:  # poll(2) ignores negative numbers
            self._without_poll[fd] = 0
            return
        try:
            self._enter(fd, events, had_poll)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBADF, errno.EINVAL):
                raise
            # EPERM: a plain file. EBADF: closed. EINVAL: closed, and the kernel's set itself has got its number.
            if had_poll:
                self._stray.add(fd)
            self._without_poll[fd] = events & (POLLIN | POLLOUT) if error.errno == errno.EPERM else POLLERR

    def refresh(self, fd: int) -> None:
        """`want` for the same events as before: the number may mean another file by now. Raises as `want`."""
        events = self._wanted.get(fd, 0)
        if self._epoll and events and fd not in self._without_poll:
            try:
                self._kernel.modify(fd, to_poll(events))
            except OSError:  # it does
                self.want(fd, events)
        else:
            self.want(fd, events)

    def ready(self) -> list[tuple[int, int]]:
        """The members that are ready now, with their events. Sets `outdated`."""
        found = self._ask_kernel()
        self.outdated = bool(found) and self._is_outdated(found)
        return [*self._without_poll.items(), *found] if self._without_poll else found

    def watches(self, hub: Hub, callback: Callable[[], object]) -> list[Watch]:
        """Make watches, not started, that call back while any member is ready.

        They are valid until the next `want`; where the kernel `keeps` the set, until `renew` or `close`.
        """
        if self._kernel is None:
            return []
        try:
            fds = {self._kernel.fileno(): POLLIN}
        except AttributeError:  # select() on Windows
            fds = self._wanted
        found = [hub.watch(fd, callback) for fd, events in fds.items() if events & ~POLLOUT]
        return found + [hub.watch(fd, callback, write=True) for fd, events in fds.items() if events & POLLOUT]

    def renew(self) -> None:
        """Replace the kernel's set by a new one with the same members. The caller closes the `watches` before."""
        wanted = dict(self._wanted)
        self.close()
        for fd, events in wanted.items():
            self.want(fd, events)

    def close(self) -> None:
        """Take all members out, and free the kernel's set. The next `want` makes a new one."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()
        self._wanted.clear()
        self._without_poll.clear()
        self._stray.clear()

    def _is_outdated(self, found: list[tuple[int, int]]) -> bool:
        """Whether the kernel has reported a stale file.

        It has for certain if the number is no member. If the number is a member that is in `_stray`, the report may be
        for the member or for a stale file. Then the member is taken out for a moment: what the kernel still reports
        under this number is stale. To renew the set without this test would cost time for each member, and not only for
        those that are ready.
        """
        for fd, _ in found:
            if fd not in self._wanted or fd in self._without_poll:
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
            found = self._kernel.poll(0, len(self._wanted) or 1)
            return [(fd, from_poll(mask)) for fd, mask in found] if found else found
        return [(key.fd, mask & (POLLIN | POLLOUT)) for key, mask in self._kernel.select(0)]

    def _new_kernel_set(self) -> Any:
        if unpatched.epoll is None:
            return unpatched.DefaultSelector()
        kernel = unpatched.epoll()
        os.set_blocking(kernel.fileno(), False)  # harmless, as nobody reads it; spares hubs on libuv a `StandIn`
        return kernel

    def _enter(self, fd: int, events: int, known: bool) -> None:
        if self._kernel is None:
            self._kernel = self._new_kernel_set()
        if not self._epoll:
            self._enter_selector(fd, events & (POLLIN | POLLOUT))
            return
        mask = to_poll(events)
        while True:  # more than twice only if a finalizer, as of another Poller, enters it or takes it out meanwhile
            try:
                if known:
                    self._kernel.modify(fd, mask)
                else:
                    self._kernel.register(fd, mask)
            except FileNotFoundError:  # the number means another file now; the earlier one may be stale
                self._stray.add(fd)
                known = False
            except FileExistsError:  # a stale file is under its old number again, as after dup2
                known = True
            else:
                return

    def _enter_selector(self, fd: int, events: int) -> None:
        """Register `fd` anew. A selector does not notice if the number means another file, and takes no empty mask."""
        if fd in self._kernel.get_map():
            self._kernel.unregister(fd)
        if events:
            self._kernel.register(fd, events)

    def _discard(self, fd: int) -> None:
        kernel = self._kernel
        if kernel is None:  # another thread closes the set, or has closed it
            return
        try:
            kernel.unregister(fd)
        except (KeyError, OSError, ValueError):  # closed; the kernel has forgotten it, unless it is stale
            self._stray.add(fd)


def to_poll(events: int) -> int:
    """The flags of poll(2) and epoll for `zmq.POLLIN` and so on."""
    return (_IN if events & POLLIN else 0) | (_OUT if events & POLLOUT else 0) | (_PRI if events & POLLPRI else 0)


def from_poll(mask: int) -> int:
    """Undo `to_poll`. Any flag that is not one of its is an error: `zmq.POLLERR`."""
    return (
        (POLLIN if mask & _IN else 0)
        | (POLLOUT if mask & _OUT else 0)
        | (POLLPRI if mask & _PRI else 0)
        | (POLLERR if mask & ~(_IN | _OUT | _PRI) else 0)
    )
