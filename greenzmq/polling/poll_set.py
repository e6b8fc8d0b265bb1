"""`PollSet`: one set with the descriptors of all Pollers of a thread, and one watch for it on the hub.

Pollers do not have sets of their own, because of a limit in Linux. At most 500 epoll sets that are themselves watched
by an event loop may have a descriptor in common (eventpoll.c, path_limits), and some loops abort the process at the
next one.

The members of a thread's set are:

- The ZMQ_FD of each green socket that a Poller of this thread has found without events. When it is signalled, the
  socket's listeners are woken. If it is ready twice while there is no listener, it leaves the set, and enters it again
  with the next listener. So a socket that nobody reads does not keep the loop busy, and the cost of asking the set
  grows only with what has changed since the last time. Once is usual: a Poller that was woken asks the set again before
  it reads the socket's ``EVENTS``, and that clears the signal.
- Plain descriptors, and the ZMQ_FD of plain sockets, from the first wait for them on. One that is ready leaves the set
  as well, if no greenlet has waited for it since it was reported last. They enter the set again before each wait, since
  their numbers may mean other files by then.

The set is kept alive by the thread's Pollers, and by the sockets in it.
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
from ..waiting.events import wake_anywhere
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
    """An entry of a Poller for a plain descriptor, as `PollSet` uses it.

    Attributes
    ----------
    fd : int
        The descriptor's number in the set. Written by `PollSet`; -1 before.
    """

    fd: int

    @property
    def fd_events(self) -> int:
        """The events to watch the descriptor for. Errors are reported in any case."""

    def wake(self) -> None:
        """Called when the descriptor has one of these events, or an error. Never switches."""


class PollSet:
    """The descriptors that the Pollers of one thread wait for.

    A socket is in the set of the thread that polled it last; see `SocketWaiters.poll_set`.

    Attributes
    ----------
    inherited : bool
        This is a forked child and the set is the parent's, which must not be used here.
    thread_id : int
        The thread's, as `threading.get_ident` counts. A later thread may get the number of one that has ended; it may
        use the set, too.
    """

    def __init__(self) -> None:
        self.inherited = False
        self._calls_on: Hub | None = None  # during a callback of the watch: its hub
        self._first_woken: Waiter | None = None  # and whom it has woken first
        self.thread_id = unpatched.get_ident()
        self._descriptors = FdSet()
        self._sockets: dict[int, SocketWaiters] = {}
        self._new: dict[int, SocketWaiters] = {}  # those of `_sockets` that are not in the kernel's set yet
        self._unheard: set[int] = set()  # those of `_sockets` that were ready once while nobody listened
        self._files: dict[int, dict[FileListener, bool]] = {}  # True for a listener that is to be woken
        self._hubs: dict[Hub, _OnHub] = {}  # nearly always a single one
        register_after_fork(self)

    @staticmethod
    def here() -> PollSet:
        """Return this thread's set; make it if there is none."""
        found: PollSet | None = getattr(_here, "reference", _nothing)()
        if found is None or found.inherited:
            found = PollSet()
            _here.reference = weakref.ref(found)
        return found

    # -- what is in it ------------------------------------------------------------------------------------------------

    def enter_socket(self, waiters: SocketWaiters, socket: Any) -> None:
        """Add a green socket, which has listeners already. They are woken at a signal. Does nothing if it is there."""
        if waiters.poll_set is self or self._sockets.get(waiters.fd) is waiters:
            return
        fd = get_option(socket, _FD)
        if waiters.poll_set is not None:
            # It is in another thread's set. Once it leaves that, no signal reaches the listeners there: wake them now.
            waiters.leave_poll_set()
            waiters.tell_all_listeners()
        before = self._sockets.get(fd)
        if before is not None:  # that socket was closed past greenzmq, and its number is this socket's now
            before.forget_poll_set(self)
            before.tell_all_listeners()
        waiters.enter_poll_set(self, fd)
        self._sockets[fd] = self._new[fd] = waiters

    def leave(self, waiters: SocketWaiters) -> None:
        """Undo `enter_socket`. Called in any thread: a context may be ended, and so its sockets closed, in another."""
        waiters.forget_poll_set(self)
        if self._sockets.get(waiters.fd) is waiters:
            self._forget_socket(waiters.fd)

    def enter_file(self, listener: FileListener, fd: int) -> None:
        """Wake `listener`, once, when `fd` has one of its events or an error. The number may mean a new file.

        The descriptor stays in the set after that, since most waits are followed by another one.
        """
        if listener.fd == fd and listener in self._files.get(fd, ()):
            self._files[fd][listener] = True
            self._descriptors.refresh(fd)
            return
        self.leave_file(listener)
        listener.fd = fd
        self._files.setdefault(fd, {})[listener] = True
        self._want(fd)

    def leave_file(self, listener: FileListener) -> None:
        """Undo `enter_file`. Does nothing if `listener` is not in the set."""
        listeners = self._files.get(listener.fd)
        if listeners is not None and listeners.pop(listener, None) is not None:
            if not listeners:
                del self._files[listener.fd]
            self._want(listener.fd)

    def _forget_socket(self, fd: int) -> None:
        waiters = self._sockets.pop(fd, None)
        if waiters is not None:
            waiters.forget_poll_set(self)
        self._unheard.discard(fd)
        is_new = self._new.pop(fd, None) is not None
        if fd in self._files or not is_new:
            self._want(fd)

    def _want(self, fd: int) -> None:
        """Update the kernel's set: the events of `fd` are those that any of its listeners waits for."""
        events = POLLIN if fd in self._sockets else 0
        for listener in list(self._files.get(fd, ())):  # a copy: a finalizer may drop a Poller meanwhile
            events |= listener.fd_events
        self._descriptors.want(fd, events)
        if not self._descriptors.keeps:
            self._close_watches()
            self._start_watches()

    def _flush(self) -> None:
        """Add the new sockets to the kernel's set. This is put off, since a Poller made for one poll may end before."""
        for fd in list(self._new):
            self._want(fd)
            self._new.pop(fd, None)
        emptied, self._new = self._new, {}  # a new dict: an emptied one keeps its memory
        self._new.update(emptied)  # sockets that a signal handler has added since the loop

    # -- who waits, and whom to tell ----------------------------------------------------------------------------------

    def join(self, waiter: Waiter) -> None:
        """Watch the set on the hub of `waiter` until `quit`. Called again each time before the waiter parks.

        Raises
        ------
        OSError
            The system has no room for another descriptor.
        """
        if self._new:
            self._flush()
        on_hub = self._hubs.get(waiter.hub)
        if on_hub is None:
            self._leave_idle_hubs()
            on_hub = self._hubs[waiter.hub] = _OnHub()
        on_hub.waiters[waiter] = None
        self._start_on(waiter.hub, on_hub)

    def quit(self, waiter: Waiter) -> None:
        """Undo `join`. Idempotent: if an exception interrupts it, the caller repeats it.

        When the last waiter leaves, the watch is only stopped lazily: to add a set to a loop again takes the kernel
        time for each member of the set.
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

    def wake(self, waiter: Waiter) -> None:
        """Wake a waiter, from any thread. Never switches.

        But the first one that the watch's callback wakes is switched to at the end of the callback. That spares it a
        round of the loop, as in `SocketWaiters.on_readable`.
        """
        is_called_back = waiter.hub is self._calls_on and unpatched.get_ident() == self.thread_id
        if is_called_back and waiter.parked and not waiter.woken and self._first_woken in (None, waiter):
            self._first_woken = waiter
        else:
            wake_anywhere(waiter)

    def call_back(self, hub: Hub) -> None:
        """What the watch on `hub` calls. Switches to the first waiter that is woken for it, as the last act."""
        first: Waiter | None = None
        self._calls_on = hub
        try:
            self._tell_of_signals()
            self._calls_on = None  # from here on `wake` chooses nobody any more
            first, self._first_woken = self._first_woken, None
            if first is not None:
                first.wake_now()
        except BaseException:  # raised by a signal handler, between any two steps; to wake twice does no harm
            self._calls_on = None
            first, self._first_woken = first or self._first_woken, None
            if first is not None:
                first.wake()
            raise

    def collect(self) -> None:
        """Wake the listeners of all descriptors that are ready. Raises as `join`."""
        if self._new:
            self._flush()
        self._tell_of_signals()

    def _tell_of_signals(self) -> None:
        found = self._descriptors.ready()
        if self._descriptors.outdated:
            found = self._renewed()
        for fd, events in found:
            if fd in self._files:
                self._tell_file_listeners(fd, events)
            waiters = self._sockets.get(fd)  # only now: a listener just woken may have changed it
            if waiters is not None and waiters.listeners:
                self._unheard.discard(fd)
                waiters.tell_all_listeners()
            elif waiters is not None and fd not in self._unheard:
                self._unheard.add(fd)
            elif waiters is not None or fd not in self._files:
                self._forget_socket(fd)

    def _tell_file_listeners(self, fd: int, events: int) -> None:
        listeners = self._files[fd]
        for listener, is_to_be_told in list(listeners.items()):
            if not events & (listener.fd_events | POLLERR):
                continue
            if is_to_be_told:
                listener.wake()
                listeners[listener] = False
            else:
                self.leave_file(listener)

    def _renewed(self) -> list[tuple[int, int]]:
        """Renew the kernel's set, and return what is ready in the new one."""
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
        while on_hub.watches is not watches:  # until no signal handler has polled meanwhile, and so made new watches
            if not on_hub.watches:
                on_hub.watches = self._descriptors.watches(hub, partial(_call_back, weakref.ref(self), hub))
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
        """Forget hubs on which nobody waits: the program may have changed loops, and the old one must not be kept."""
        for hub, on_hub in list(self._hubs.items()):
            if not on_hub.waiters:
                self._close_on(on_hub)
                del self._hubs[hub]

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: forget everything, and leave the kernel's set, which is the parent's too, as it is."""
        self.inherited = True
        for on_hub in self._hubs.values():
            for watch in on_hub.watches:
                watch.detach_after_fork(self._descriptors)
        for waiters in self._sockets.values():
            waiters.forget_poll_set(self)
        self._hubs, self._sockets, self._new, self._files = {}, {}, {}, {}
        self._unheard = set()

    def __del__(self) -> None:
        self._close_watches()
        if not self.inherited:  # else `detach_after_fork` keeps it open until the watches are closed
            self._descriptors.close()


class _OnHub:
    """The waiters on one hub, and the watches there, which are started exactly while there is a waiter.

    Without waiters the watches are closed or lazily stopped.
    """

    __slots__ = ("waiters", "watches")

    def __init__(self) -> None:
        self.waiters: dict[Waiter, None] = {}
        self.watches: list[Watch] = []


def _nothing() -> None:
    """Return None, as a weak reference to a set that is gone does."""


def _call_back(reference: weakref.ref[PollSet], hub: Hub) -> None:
    """The callback of the watches. The reference is weak, since a started watch must not keep its set alive."""
    found = reference()
    if found is not None:
        found.call_back(hub)
