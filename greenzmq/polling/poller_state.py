"""What a Poller knows and does. `greenzmq.polling.poller` has its face, a class that users make subclasses of.

The cost of a poll grows with what has changed, not with what is registered:

- A green socket whose last look showed none of its events *rests*: it is not looked at again until its descriptor
  signals, or until an operation on it may have taken the signal, of which its `SocketState` tells. All others are
  *awake* and looked at in every poll, since what was reported has to be reported again while it lasts.
- What is `Waitable` has no descriptor. It rests until it calls back, perhaps from another thread.
- Of operations on plain pyzmq sockets nobody tells, unless it is one of ours; and the number of a descriptor may mean
  another file at each poll. These are *unsteady*: they never rest, and are watched for one wait at a time.
- What is watched is in a set that all Pollers of a thread share (`greenzmq.polling.poll_set`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import hubs
from ..errors import WrongHubError
from ..sockets.fairness import Turn, default_turn
from ..sockets.socket import Socket
from ..waiting.events import wake_anywhere
from .entries import Entry, FileEntry, PlainSocketEntry, WaitableEntry, is_waitable, make_entry
from .fd_set import POLLERR, POLLIN, ready_now
from .poll_set import PollSet

if TYPE_CHECKING:
    from ..hubs import Choice, Hub
    from ..waiting.waiter import Waiter

__all__ = ["PollerState"]

Ready = list[tuple[Any, int]]

#: In place of two empty dicts for each Poller. Never changed.
_NO_ENTRIES: dict[FileEntry, None] = {}
_NO_WAITERS: dict[Waiter, None] = {}


class PollerState:
    """One Poller, without its face.

    Attributes
    ----------
    entries : dict
        What is registered, in the order of registration.
    active : dict
        The set of steady entries that the next poll looks at. The others rest.
    unsteady : dict
        The set of entries that every poll looks at.
    has_waitables : bool
        Whether any of them is no socket and no descriptor; other threads may mark those dirty.
    chooser : Entry or None
        The first green socket whose context says which hub to wait on.
    poll_set : PollSet
        Of the thread that polled last. The silent sockets are in it, and the unsteady ones once a greenlet has waited.
    waiters : dict
        The set of those who wait, all on one hub.
    dirty : bool
        Somebody told of an entry since the last poll began to look.
    checked : bool
        It warns of polls in coroutines that happen not to wait; see `greenzmq.sockets.coroutines`.
    turn : Turn
        How long greenlets may poll without a pause, and when the last one was.
    """

    __slots__ = (
        "active",
        "checked",
        "choice",
        "chooser",
        "dirty",
        "entries",
        "has_waitables",
        "order",
        "poll_set",
        "turn",
        "unsteady",
        "waiters",
    )

    def __init__(self, choice: Choice | None) -> None:
        self.choice = choice
        self.chooser: Entry | None = None
        self.entries: dict[Any, Entry] = {}
        self.active: dict[Entry, None] = {}
        self.unsteady = _NO_ENTRIES
        self.has_waitables = False
        self.order = 0
        self.poll_set = PollSet.here()
        self.waiters = _NO_WAITERS
        self.dirty = False
        # As long as that until a green socket says how long; in the past, so that a Poller for one poll yields at once.
        self.turn = Turn(default_turn(), began_at=0)
        self.checked = hubs.asyncio_debugs()  # see `coroutines`

    # -- what is polled -----------------------------------------------------------------------------------------------

    def register(self, what: Any, events: int) -> None:
        """See `Poller.register`; `events` are not 0."""
        if not events & POLLIN and is_waitable(what):
            raise ValueError(f"{what!r} can be polled for POLLIN only")
        entry = self.entries.get(what)
        if entry is not None:
            entry.ask_for(events)
        else:
            entry = make_entry(self, what, events, self.order)
            self.order += 1
            self.entries[what] = entry
            self.has_waitables = self.has_waitables or isinstance(entry, WaitableEntry)
            if isinstance(what, Socket):
                self.turn = Turn(what._greenzmq_state.turn.seconds, self.turn.began_at)
                if self.chooser is None and what._greenzmq_choice is not None:
                    self.chooser = entry
        if isinstance(entry, FileEntry):
            self.unsteady = self.unsteady or {}
            self.unsteady[entry] = None
        else:
            self.active[entry] = None
        self.wake_waiters()

    def unregister(self, what: Any) -> None:
        """See `Poller.unregister`."""
        entry = self.entries.pop(what)
        self.active.pop(entry, None)
        if isinstance(entry, FileEntry):
            self.unsteady.pop(entry, None)
            self.poll_set.leave_file(entry)
        if entry is self.chooser:
            with_hub_choice = (other for other in self.entries.values() if isinstance(other.what, Socket))
            self.chooser = next((other for other in with_hub_choice if other.what._greenzmq_choice is not None), None)
        entry.close()
        if not self.entries:  # those who wait would wait for ever
            self.wake_waiters()

    def clear(self) -> None:
        """Unregister everything."""
        for unsteady in self.unsteady:
            self.poll_set.leave_file(unsteady)
        entries, self.entries = self.entries, {}
        self.active.clear()
        self.unsteady = _NO_ENTRIES
        self.chooser = None
        self.wake_waiters()
        for entry in entries.values():
            entry.close()

    # -- one look -----------------------------------------------------------------------------------------------------

    def collect_ready(self) -> Ready:
        """All that is ready now, in the order of registration."""
        self.dirty = False
        self._enter_thread()
        if len(self.active) + len(self.unsteady) < len(self.entries):
            self.poll_set.collect()
        found: list[tuple[int, Any, int]] = []
        for entry in list(self.active):
            events = self._poll_entry(entry)
            if events:
                found.append((entry.order, entry.what, events))
        if not (self.active or self.has_waitables):
            self._free_active()
        if self.unsteady:
            found += self._poll_unsteady()
        found.sort(key=lambda row: row[0])
        return [(what, events) for _, what, events in found]

    def _poll_entry(self, entry: Entry) -> int:
        """The events of one that is awake. If it has none it rests from now on."""
        events = POLLERR
        try:
            self.active.pop(entry, None)  # before the look: another thread may wake a waitable while it is linked
            events = entry.poll_entry() if entry.owner is not None else 0
        finally:  # what raises will be asked again
            if events and entry.owner is not None:
                self.active[entry] = None
        return events

    def _free_active(self) -> None:
        """Free the memory of those that were awake: a dict does not do so. Some may be marked dirty in between."""
        emptied, self.active = self.active, {}
        self.active.update(emptied)

    def _poll_unsteady(self) -> list[tuple[int, Any, int]]:
        """Of these the descriptors are asked all at once, by the numbers that they have now."""
        found: list[tuple[int, Any, int]] = []
        files: list[tuple[FileEntry, int]] = []
        wanted: dict[int, int] = {}
        for entry in list(self.unsteady):
            if isinstance(entry, PlainSocketEntry):
                found.append((entry.order, entry.what, entry.poll_entry()))
            else:
                fd = entry.number()
                files.append((entry, fd))
                wanted[fd] = wanted.get(fd, 0) | entry.events
        ready = ready_now(wanted)
        for entry, fd in files:
            found.append((entry.order, fd, ready.get(fd, 0) & (entry.events | POLLERR)))
        return [row for row in found if row[2]]

    def _enter_thread(self) -> None:
        """In another thread than before, or in a forked child, nobody tells of what rests: look at all."""
        here = PollSet.here()
        before = self.poll_set
        if here is before:
            return
        if before.inherited:  # its greenlets are copies here, which nobody wakes
            self.waiters = _NO_WAITERS
            for entry in list(self.unsteady):
                if isinstance(entry, PlainSocketEntry):
                    entry.what._closed = True  # pyzmq would spin at it
        elif self.waiters:
            return
        self.poll_set = here
        self.active.update((entry, None) for entry in self.entries.values() if entry.is_steady)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def get_hub(self, poller: object) -> Hub:
        """The hub to wait on, for `poller`. Raises WrongHubError if somebody waits on another one."""
        chooser = poller if self.chooser is None or self.choice is not None else self.chooser.what
        hub = hubs.hub_to_wait_on(self._hub_choice(), chooser)
        other = next((waiter.hub for waiter in self.waiters if waiter.hub is not hub), None)
        if other is not None:
            raise WrongHubError(f"two hubs wait in one Poller: {other!r} and {hub!r}; give each its own")
        return hub

    def let_hub_go_round(self, now: float) -> None:
        """Let others run, if the turn is over and there can be others."""
        if self.turn.is_over(now):
            self.turn.yield_to_others(self._hub_choice())

    def join(self, waiter: Waiter) -> None:
        """Have `waiter` woken by what is told; see `watch`, too."""
        self.waiters = self.waiters or {}
        self.waiters[waiter] = None

    def watch(self, waiter: Waiter) -> None:
        """Have `waiter` woken by what is registered; each time before it parks."""
        for entry in list(self.unsteady):
            self.poll_set.enter_file(entry, entry.number())
        self.poll_set.join(waiter)

    def leave(self, waiter: Waiter) -> None:
        """`waiter` waits no more. What an exception has interrupted may be done again."""
        waiter.close()
        self.waiters.pop(waiter, None)
        self.poll_set.quit(waiter)
        self.turn.begin()

    def mark_dirty(self, entry: Entry) -> None:
        """Something may have come to `entry`. For a waitable, in any thread."""
        if entry.is_steady:
            self.active[entry] = None
        self.dirty = True
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Each looks for itself. In any thread."""
        for waiter in list(self.waiters):
            wake_anywhere(waiter)

    def _hub_choice(self) -> Choice | None:
        if self.choice is not None:
            return self.choice
        return None if self.chooser is None else self.chooser.what._greenzmq_choice
