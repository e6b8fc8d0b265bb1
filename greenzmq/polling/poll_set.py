"""Where the descriptors of all of a thread's Pollers are watched: one set, with one watch on the hub.

Linux allows at most 500 sets that are themselves in an event loop to have a descriptor in common (eventpoll.c,
path_limits), and some loops abort the process at the next one. So Pollers do not have sets of their own. In the
thread's set are:

- The ZMQ_FD of every green socket that a Poller of this thread has found idle. A signal is told to the listeners of the
  socket, and is not asked for again: a descriptor that is ready while nobody listens leaves the set, and comes back
  with the next listener. So what Pollers leave unread keeps no loop awake, and to ask the set costs what has changed
  since somebody asked last.
- Plain descriptors, and those of sockets that are not green, from the first wait for them on. One that is ready leaves
  the set as well, if nobody has waited for it since it was told last. What the numbers mean is found out at each wait.

The set lives as long as a Poller of the thread, or a socket that is in it.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from ..errors import WatchError
from ..process import unpatched
from ..process.fork import register_after_fork
from ..sockets.waiters import get_option
from .fd_set import POLLERR, POLLIN, FdSet

if TYPE_CHECKING:
    from ..hubs import Hub, Watch
    from ..sockets.waiters import SocketWaiters
    from ..waiting.waiter import Waiter

__all__ = ["FileListener", "PollSet"]

_FD = int(zmq.FD)

#: A weak reference to this thread's set.
_here = unpatched.local()


class FileListener(Protocol):
    """What waits for a plain descriptor.

    Attributes
    ----------
    fd : int
        Its number in the set; kept by `PollSet`, -1 before.
    """

    fd: int

    @property
    def fd_events(self) -> int:
        """What to watch the descriptor for. Its errors are told in any case."""

    def wake(self) -> None:
        """It has one of these. Never switches."""


class PollSet:
    """What the Pollers of one thread wait for.

    A socket is in the set of the thread that polled it last; its `poll_set` and `poll_fd` say where.

    Attributes
    ----------
    inherited : bool
        This is a forked child and the set is the parent's, of no use here.
    """

    def __init__(self) -> None:
        self.inherited = False
        self._descriptors = FdSet()
        self._sockets: dict[int, SocketWaiters] = {}
        self._new: dict[int, SocketWaiters] = {}  # those of them that the kernel has not been told of
        self._files: dict[int, dict[FileListener, bool]] = {}  # True for those that are to be told
        self._hubs: dict[Hub, _OnHub] = {}  # nearly always one
        register_after_fork(self)

    @staticmethod
    def here() -> PollSet:
        """This thread's; a new one where there is none."""
        found: PollSet | None = getattr(_here, "reference", _nothing)()
        if found is None or found.inherited:
            found = PollSet()
            _here.reference = weakref.ref(found)
        return found

    # -- what is in it ------------------------------------------------------------------------------------------------

    def enter_socket(self, waiters: SocketWaiters, socket: Any) -> None:
        """Tell the listeners of `socket` of signals. They listen already. Nothing if it is in this set."""
        if waiters.poll_set is self:
            return
        fd = get_option(socket, _FD)
        if waiters.poll_set is not None:  # another thread's; who listens there would not hear of signals any more
            waiters.leave_poll_set()
            waiters.tell_all_listeners()
        before = self._sockets.get(fd)
        if before is not None:  # closed by somebody who knows nothing of this; the number is another socket's now
            before.forget_poll_set()
            before.tell_all_listeners()
        waiters.enter_poll_set(self, fd)
        self._sockets[fd] = self._new[fd] = waiters

    def leave(self, waiters: SocketWaiters) -> None:
        """Take `enter_socket` back. In any thread: a context may be ended in another one."""
        waiters.forget_poll_set()
        if self._sockets.get(waiters.poll_fd) is waiters:
            self._forget_socket(waiters.poll_fd)

    def enter_file(self, listener: FileListener, fd: int) -> None:
        """Tell `listener`, once, when `fd` has its events or has failed. What the number means is found out anew.

        It stays in the set when it has been told: mostly there will be another wait.
        """
        if listener.fd != fd:
            self.leave_file(listener)
        listener.fd = fd
        self._files.setdefault(fd, {})[listener] = True
        self._want(fd)

    def leave_file(self, listener: FileListener) -> None:
        """Take `enter_file` back; nothing if there is nothing to take back."""
        listeners = self._files.get(listener.fd)
        if listeners is not None and listeners.pop(listener, None) is not None:
            if not listeners:
                del self._files[listener.fd]
            self._want(listener.fd)

    def _forget_socket(self, fd: int) -> None:
        waiters = self._sockets.pop(fd, None)
        if waiters is not None:
            waiters.forget_poll_set()
        is_new = self._new.pop(fd, None) is not None
        if fd in self._files or not is_new:
            self._want(fd)

    def _want(self, fd: int) -> None:
        """Tell the kernel what is wanted of `fd` now."""
        events = POLLIN if fd in self._sockets else 0
        for listener in list(self._files.get(fd, ())):  # a finalizer may drop a Poller meanwhile
            events |= listener.fd_events
        self._descriptors.want(fd, events)
        if not self._descriptors.keeps:
            self._close_watches()
            self._start_watches()

    def _flush(self) -> None:
        """Tell the kernel of new sockets. Most Pollers that are made for one poll come to an end before."""
        if self._new:
            for fd in list(self._new):
                self._want(fd)
                self._new.pop(fd, None)
            emptied, self._new = self._new, {}  # a dict does not free its memory
            self._new.update(emptied)  # what a signal handler has entered in between

    # -- who waits, and whom to tell ----------------------------------------------------------------------------------

    def join(self, waiter: Waiter) -> None:
        """Watch the set on the hub of `waiter` until it quits. To be repeated whenever it is about to park.

        Raises
        ------
        OSError
            The system has no room for another descriptor.
        """
        self._flush()
        on_hub = self._hubs.get(waiter.hub)
        if on_hub is None:
            self._leave_idle_hubs()
            on_hub = self._hubs[waiter.hub] = _OnHub()
        on_hub.waiters[waiter] = None
        self._start_on(waiter.hub, on_hub)

    def quit(self, waiter: Waiter) -> None:
        """`waiter` waits no more; nothing if it does not wait. What an exception has interrupted may be done again.

        The last one leaves the watch with the hub: the kernel goes through all of a set that is added.
        """
        on_hub = self._hubs.get(waiter.hub)
        if on_hub is None:
            return
        on_hub.waiters.pop(waiter, None)
        if not on_hub.waiters:
            if not self._descriptors.keeps:
                self._close_on(on_hub)
            for watch in on_hub.watches:
                watch.stop_lazily()

    def collect(self) -> None:
        """Tell of all signals that have come. Raises as `join`."""
        self._flush()
        self._tell_of_signals()

    def _tell_of_signals(self) -> None:
        for fd, events in self._ready():
            self._tell_file_listeners(fd, events)
            waiters = self._sockets.get(fd)
            if waiters is not None and waiters.listeners:
                waiters.tell_all_listeners()
            elif waiters is not None or fd not in self._files:
                self._forget_socket(fd)

    def _tell_file_listeners(self, fd: int, events: int) -> None:
        listeners = self._files.get(fd, {})
        for listener, is_to_be_told in list(listeners.items()):
            if not events & (listener.fd_events | POLLERR):
                continue
            if is_to_be_told:
                listener.wake()
                listeners[listener] = False
            else:
                self.leave_file(listener)

    def _ready(self) -> list[tuple[int, int]]:
        found = self._descriptors.ready()
        if self._descriptors.outdated:
            self._close_watches()
            self._descriptors.renew()
            found = self._descriptors.ready()
            self._start_watches()
        return found

    # -- watches ------------------------------------------------------------------------------------------------------

    def _start_watches(self) -> None:
        for hub, on_hub in list(self._hubs.items()):
            if on_hub.waiters:
                self._start_on(hub, on_hub)

    def _start_on(self, hub: Hub, on_hub: _OnHub) -> None:
        watches: list[Watch] | None = None
        while on_hub.watches is not watches:  # the first time, or a signal handler has polled and renewed them
            if not on_hub.watches:
                on_hub.watches = self._descriptors.watches(hub, partial(_tell, weakref.ref(self)))
            watches = on_hub.watches
            try:
                for watch in watches:
                    watch.start()
            except WatchError:
                if on_hub.watches is watches:
                    raise

    def _close_watches(self) -> None:
        for on_hub in list(self._hubs.values()):
            self._close_on(on_hub)

    def _close_on(self, on_hub: _OnHub) -> None:
        watches, on_hub.watches = on_hub.watches, []
        for watch in watches:
            if watch.hub.thread_id == unpatched.get_ident():
                watch.close()
            else:
                watch.hub.call_soon_threadsafe(watch.close)

    def _leave_idle_hubs(self) -> None:
        """The program has gone on to another loop: do not keep the one before alive."""
        for hub, on_hub in list(self._hubs.items()):
            if not on_hub.waiters:
                self._close_on(on_hub)
                del self._hubs[hub]

    def _greenzmq_after_fork(self) -> None:
        """The kernel's set is shared with the parent: leave it alone."""
        self.inherited = True
        for on_hub in self._hubs.values():
            for watch in on_hub.watches:
                watch.detach_after_fork(self._descriptors)
        for waiters in self._sockets.values():
            waiters.forget_poll_set()
        self._hubs, self._sockets, self._new, self._files = {}, {}, {}, {}

    def __del__(self) -> None:
        self._close_watches()
        if not self.inherited:  # else its watches keep it open until they are closed
            self._descriptors.close()


class _OnHub:
    """Who waits on one hub, and the watches there: started, and not lazily stopped, exactly while somebody does."""

    __slots__ = ("waiters", "watches")

    def __init__(self) -> None:
        self.waiters: dict[Waiter, None] = {}
        self.watches: list[Watch] = []


def _nothing() -> None:
    """A reference to no set."""


def _tell(reference: weakref.ref[PollSet]) -> None:
    """For a watch, which does not keep its set alive."""
    found = reference()
    if found is not None:
        found._tell_of_signals()
