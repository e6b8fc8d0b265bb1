"""The entries of a Poller, one for each registered object. An entry polls its object, and marks the Poller dirty.

"Dirty" means that an event may have come for an entry since the last poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import zmq
from zmq.backend import Socket as BackendSocket

from ..sockets.fairness import default_turn
from ..sockets.locked import LockedCalls
from ..sockets.registry import shared_state
from ..sockets.socket import Socket
from ..sockets.waiters import get_option
from ..waiting.events import Waitable
from .fd_set import POLLIN

if TYPE_CHECKING:
    from .poll_set import PollSet

__all__ = [
    "Entry",
    "FileEntry",
    "PlainSocketEntry",
    "PollerProtocol",
    "WaitableEntry",
    "fileno",
    "is_waitable",
    "make_entry",
]

_FD = int(zmq.FD)


class PollerProtocol(Protocol):
    """The part of a Poller (`PollerState`) that its entries use."""

    poll_set: PollSet
    waiters: Any

    def mark_dirty(self, entry: Entry) -> None:
        """An event may have come for `entry`: poll it in the next poll, and wake the greenlets that wait."""


class Entry:
    """One registered object. For a socket, the entry is also the `Listener` that the socket wakes.

    Attributes
    ----------
    what, events, order
        The object, the events to poll it for, and its place in the order of registration.
    owner : PollerProtocol or None
        The Poller; None once the object is unregistered.
    is_steady : bool
        The object calls `wake` when it may have become ready, so it need not be polled before. One that is not steady
        is polled in each poll, and put into the thread's `PollSet` before each wait.
    """

    __slots__ = ("events", "order", "owner", "what")
    is_steady = True

    def __init__(self, owner: PollerProtocol, what: Any, events: int, order: int) -> None:
        self.owner: PollerProtocol | None = owner
        self.what = what
        self.events = events
        self.order = order

    def ask_for(self, events: int) -> None:
        """Replace the events that it is polled for. The caller has it polled in the next poll."""
        self.forget()
        self.events = events

    def wake(self, _: object = None) -> None:
        """The object may be ready: have it polled, at once if a greenlet waits in the Poller.

        A `Waitable` calls this in any thread.
        """
        owner = self.owner
        if owner is not None:
            owner.mark_dirty(self)

    def waits(self) -> bool:
        """Whether a greenlet waits in the Poller."""
        owner = self.owner
        return owner is not None and bool(owner.waiters)

    def is_marked_by_threads(self) -> bool:
        """Whether other threads than that of the Poller may call `wake`."""
        return False

    def poll_entry(self) -> int:
        """Return the events for which the object is ready.

        If there are none and the entry is steady, the object will call `wake` when there may be some.
        """
        raise NotImplementedError

    def forget(self) -> None:
        """Undo what `poll_entry` has arranged: the object does not call `wake` any more."""
        raise NotImplementedError

    def close(self) -> None:
        """`forget`, for good."""
        self.owner = None  # first: another thread may be about to call `wake`
        self.forget()


class SocketEntry(Entry):
    """A green socket."""

    __slots__ = ()

    def is_marked_by_threads(self) -> bool:
        """See `Entry.is_marked_by_threads`."""
        return isinstance(self.what, LockedCalls)

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        state = self.what._greenzmq_state
        events: int = state.check_events_for(self, self.what) & self.events
        owner = self.owner
        if events & POLLIN:
            state.turn.begin_run()
        if not events and owner is not None:
            owner.poll_set.enter_socket(state, self.what)
        return events

    def forget(self) -> None:
        """See `Entry.forget`."""
        state = self.what._greenzmq_state
        state.forget(self)
        # A socket that is not exclusive may be closed without our notice, and must not stay in the set for nothing.
        if not (state.exclusive or state.listeners):
            state.leave_poll_set()


class WaitableEntry(Entry):
    """A `Waitable`."""

    __slots__ = ()

    def is_marked_by_threads(self) -> bool:
        """See `Entry.is_marked_by_threads`."""
        return True

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        return POLLIN if self.what.ready() or self._link() else 0

    def _link(self) -> bool:
        """Link `wake`. Returns whether the object had become ready before: then the link may never be called."""
        self.what.unlink(self.wake)
        self.what.rawlink(self.wake)
        return bool(self.what.ready())

    def forget(self) -> None:
        """See `Entry.forget`."""
        self.what.unlink(self.wake)


class FileEntry(Entry):
    """A plain descriptor, or an object with a ``fileno()``. The number may mean another file at each poll.

    Attributes
    ----------
    fd : int
        Its number in the `PollSet`; -1 if it never was in one.
    """

    __slots__ = ("fd",)
    is_steady = False

    def __init__(self, owner: PollerProtocol, what: Any, events: int, order: int) -> None:
        super().__init__(owner, what, events, order)
        self.fd = -1

    @property
    def is_movable(self) -> bool:
        """Whether its object may give another number at each poll."""
        return not isinstance(self.what, int)

    @property
    def fd_events(self) -> int:
        """The events to watch its descriptor for."""
        return self.events

    def number(self) -> int:
        """The descriptor's number, now."""
        return fileno(self.what)

    def forget(self) -> None:
        """Do nothing: the Poller itself takes the entry out of the `PollSet`."""


class PlainSocketEntry(FileEntry):
    """A plain pyzmq socket. Operations on it do not recheck for others, so it is not steady.

    Attributes
    ----------
    state : SocketState
        Shared with green objects that shadow the same socket: a read of ``EVENTS`` here wakes their waiters, too.
    """

    __slots__ = ("state",)

    def __init__(self, owner: PollerProtocol, what: Any, events: int, order: int) -> None:
        super().__init__(owner, what, events, order)
        self.state = shared_state(what, default_turn())

    @property
    def fd_events(self) -> int:
        """Always ``POLLIN``: ZMQ_FD becomes readable whichever event comes."""
        return POLLIN

    def number(self) -> int:
        """See `FileEntry.number`."""
        return get_option(self.what, _FD)

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        return self.state.check_events_for(self, self.what) & self.events

    def forget(self) -> None:
        """See `Entry.forget`."""
        self.state.forget(self)


def make_entry(owner: PollerProtocol, what: Any, events: int, order: int) -> Entry:
    """Make the entry for an object, of the class that fits it."""
    kind: type[Entry] = FileEntry
    if isinstance(what, Socket):
        kind = SocketEntry
    elif isinstance(what, BackendSocket):
        kind = PlainSocketEntry
    elif is_waitable(what):
        kind = WaitableEntry
    return kind(owner, what, events, order)


def is_waitable(what: Any) -> bool:
    """Whether an object is polled as a `Waitable`. One that is also a socket or has a ``fileno()`` is not."""
    if isinstance(what, (int, BackendSocket)) or hasattr(what, "fileno"):
        return False
    return isinstance(what, Waitable)


def fileno(what: Any) -> int:
    """The number of a descriptor. Raises pyzmq's error for an object that has none."""
    if isinstance(what, int):
        return what
    if not hasattr(what, "fileno"):
        raise TypeError(f"Socket must be a 0MQ socket, an integer fd or have a fileno() method: {what!r}")
    try:
        return int(what.fileno())
    except Exception as error:
        raise ValueError("fileno() must return a valid integer fd") from error
