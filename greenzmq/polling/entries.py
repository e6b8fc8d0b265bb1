"""What is registered in a Poller: an entry for each object, which looks, and which has the Poller told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import zmq
from zmq.backend import Socket as BackendSocket

from ..sockets.fairness import default_turn
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
    """The Poller, as far as its entries know it."""

    poll_set: PollSet
    waiters: Any

    def mark_dirty(self, entry: Entry) -> None:
        """Something may have come to `entry`."""


class Entry:
    """One registered object; also the `Listener` that a socket tells of its events.

    Attributes
    ----------
    what, events, order
        The object, what is asked of it, and its place in the order of registration.
    owner : Owner or None
        The Poller; None when it is unregistered.
    is_steady : bool
        It tells when to look at it again. Else it is looked at in each poll, and put into the thread's `PollSet` before
        each wait.
    """

    __slots__ = ("events", "order", "owner", "what")
    is_steady = True

    def __init__(self, owner: PollerProtocol, what: Any, events: int, order: int) -> None:
        self.owner: PollerProtocol | None = owner
        self.what = what
        self.events = events
        self.order = order

    def ask_for(self, events: int) -> None:
        """Be told of these from now on, in place of those before; the next poll looks at it."""
        self.forget()
        self.events = events

    def wake(self, _: object = None) -> None:
        """Look at this one in the next poll, and at once if a greenlet waits in one. For a waitable, in any thread."""
        owner = self.owner
        if owner is not None:
            owner.mark_dirty(self)

    def waits(self) -> bool:
        """Whether a greenlet waits in the Poller."""
        owner = self.owner
        return owner is not None and bool(owner.waiters)

    def poll_entry(self) -> int:
        """Which of its events it has. With none it tells when it may have some, if it is steady."""
        raise NotImplementedError

    def forget(self) -> None:
        """Be told no more."""
        raise NotImplementedError

    def close(self) -> None:
        """`forget`, for good. Another thread may be about to wake a waitable all the same."""
        self.owner = None
        self.forget()


class SocketEntry(Entry):
    """A green socket."""

    __slots__ = ()

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        state = self.what._greenzmq_state
        events: int = state.waiters.check_events_for(self, self.what) & self.events
        owner = self.owner
        if not events and owner is not None:
            owner.poll_set.enter_socket(state.waiters, self.what)
        return events

    def forget(self) -> None:
        """See `Entry.forget`."""
        state = self.what._greenzmq_state
        state.waiters.forget(self)
        if not (state.waiters.fd_watch.exclusive or state.waiters.listeners):  # it may be closed without a word now
            state.waiters.leave_poll_set()


class WaitableEntry(Entry):
    """A `Waitable`."""

    __slots__ = ()

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        return POLLIN if self.what.ready() or self._link() else 0

    def _link(self) -> bool:
        """Have it call `wake`; whether it became ready before."""
        self.what.unlink(self.wake)
        self.what.rawlink(self.wake)
        return bool(self.what.ready())

    def forget(self) -> None:
        """See `Entry.forget`."""
        self.what.unlink(self.wake)


class FileEntry(Entry):
    """A plain descriptor, or an object with a ``fileno()``, which may mean another one at each poll.

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
    def fd_events(self) -> int:
        """What to watch its descriptor for."""
        return self.events

    def number(self) -> int:
        """The number of its descriptor."""
        return fileno(self.what)

    def forget(self) -> None:
        """Nothing: the Poller takes it out of the `PollSet`."""


class PlainSocketEntry(FileEntry):
    """A socket that is not green: of what is done to it, nobody tells but green objects for the same.

    Attributes
    ----------
    state : SocketState
        Shared with these: what polls find there, they hear of.
    """

    __slots__ = ("state",)

    def __init__(self, owner: PollerProtocol, what: Any, events: int, order: int) -> None:
        super().__init__(owner, what, events, order)
        self.state = shared_state(what, default_turn())

    @property
    def fd_events(self) -> int:
        """It signals by being readable, whatever the events."""
        return POLLIN

    def number(self) -> int:
        """See `FileEntry.number`."""
        return get_option(self.what, _FD)

    def poll_entry(self) -> int:
        """See `Entry.poll_entry`."""
        return self.state.waiters.check_events_for(self, self.what) & self.events

    def forget(self) -> None:
        """See `Entry.forget`."""
        self.state.waiters.forget(self)


def make_entry(owner: PollerProtocol, what: Any, events: int, order: int) -> Entry:
    """The entry for one object, of the kind that it needs."""
    kind: type[Entry] = FileEntry
    if isinstance(what, Socket):
        kind = SocketEntry
    elif isinstance(what, BackendSocket):
        kind = PlainSocketEntry
    elif is_waitable(what):
        kind = WaitableEntry
    return kind(owner, what, events, order)


def is_waitable(what: Any) -> bool:
    """Whether it is polled by the protocol of `Waitable`."""
    if isinstance(what, (int, BackendSocket)) or hasattr(what, "fileno"):
        return False
    return isinstance(what, Waitable)


def fileno(what: Any) -> int:
    """The number of a descriptor, or pyzmq's error for what has none."""
    if isinstance(what, int):
        return what
    if not hasattr(what, "fileno"):
        raise TypeError(f"Socket must be a 0MQ socket, an integer fd or have a fileno() method: {what!r}")
    try:
        return int(what.fileno())
    except Exception as error:
        raise ValueError("fileno() must return a valid integer fd") from error
