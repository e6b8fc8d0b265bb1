"""`PollerState`: what a Poller knows and does. The class for users, `greenzmq.polling.poller.Poller`, has one of these.

The cost of a poll grows with what has changed, and not with what is registered:

- A green socket that had none of its events when it was polled last is *idle*: it is not polled again before its
  descriptor is signalled, or an operation on it may have consumed the signal (`SocketWaiters.recheck_for_others` wakes
  the entry then). All other entries are *active*, and are polled in every poll: an event that was reported has to be
  reported again as long as it lasts.
- A `Waitable` has no descriptor. It is idle until it calls back, perhaps in another thread.
- An operation on a plain pyzmq socket does not recheck for others; and the number of a plain descriptor may mean
  another file at each poll. Such entries are *unsteady*: they are polled in every poll, and enter the set of
  descriptors before each wait.
- All Pollers of a thread share one set of descriptors (`greenzmq.polling.poll_set`).
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .. import hubs
from ..errors import WrongHubError
from ..process import unpatched
from ..sockets.fairness import Turn, default_turn
from ..sockets.socket import Socket
from .entries import Entry, FileEntry, PlainSocketEntry, is_waitable, make_entry
from .fd_set import POLLERR, POLLIN
from .file_poll import FilePoll
from .poll_set import PollSet

if TYPE_CHECKING:
    from ..hubs import Choice, Hub
    from ..waiting.waiter import Waiter

__all__ = ["PollerState"]

Ready = list[tuple[Any, int]]

#: Shared by all Pollers that need none of their own, to save memory. Never changed.
_NO_ENTRIES: dict[FileEntry, None] = {}
_NO_WAITERS: dict[Waiter, None] = {}


class PollerState:
    """The state of one Poller.

    Attributes
    ----------
    entries : dict
        The registered objects and their entries, in the order of registration.
    active : dict
        The set of steady entries that the next poll polls. The other steady ones are idle.
    unsteady : dict
        The set of entries that every poll polls: those in `files`, and those of plain sockets.
    files : FilePoll or None
        The entries of plain descriptors, if there were any.
    marked_by_threads : bool
        Whether a `Waitable`, or a socket that threads share, was ever registered; other threads may mark it dirty.
    chooser : Entry or None
        The first green socket whose context says which hub to wait on.
    poll_set : PollSet
        That of the thread that polled last. The idle sockets are in it; so are the unsteady ones, once a greenlet has
        waited for them.
    waiters : dict
        The set of waiters, all on one hub.
    dirty : bool
        `mark_dirty` was called since the last poll began.
    checked : bool
        Warn of polls in coroutines that happen not to wait; see `greenzmq.sockets.coroutines`.
    turn : Turn
        How long greenlets may poll before they have to yield.
    hub : Hub or None
        The hub of the last wait. A greenlet that runs on it waits on it again.
    """

    __slots__ = (
        "active",
        "checked",
        "choice",
        "chooser",
        "dirty",
        "entries",
        "files",
        "hub",
        "marked_by_threads",
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
        self.files: FilePoll | None = None
        self.marked_by_threads = False
        self.order = 0
        self.poll_set = PollSet.here()
        self.hub: Hub | None = None
        self.waiters = _NO_WAITERS
        self.dirty = False
        # The first green socket to be registered brings its own length. It has begun in the past: so a Poller that is
        # made for one poll yields, too, and a loop that makes one each time does not keep others from running.
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
            self.marked_by_threads = self.marked_by_threads or entry.is_marked_by_threads()
            if isinstance(what, Socket):
                self.turn = Turn(what._greenzmq_state.turn_seconds, self.turn.began_at)
                if self.chooser is None and what._greenzmq_choice is not None:
                    self.chooser = entry
                    self.hub = None
        if isinstance(entry, FileEntry):
            self.unsteady = self.unsteady or {}
            self.unsteady[entry] = None
            self.poll_set.leave_file(entry)  # it enters anew, with these events, before the next wait
            if not isinstance(entry, PlainSocketEntry):
                if self.files is None:
                    self.files = FilePoll()
                self.files.add(entry)
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
            if self.files is not None:
                self.files.discard(entry)
        if entry is self.chooser:
            self.hub = None
            with_hub_choice = (other for other in self.entries.values() if isinstance(other.what, Socket))
            self.chooser = next((other for other in with_hub_choice if other.what._greenzmq_choice is not None), None)
        entry.close()
        if not self.entries:  # or the greenlets that wait would wait for ever
            self.wake_waiters()

    def clear(self) -> None:
        """Unregister everything."""
        for unsteady in self.unsteady:
            self.poll_set.leave_file(unsteady)
        entries, self.entries = self.entries, {}
        self.active.clear()
        self.unsteady = _NO_ENTRIES
        self.files = None
        self.chooser = self.hub = None
        self.wake_waiters()
        for entry in entries.values():
            entry.close()

    # -- one poll, without a wait -------------------------------------------------------------------------------------

    def collect_ready(self) -> Ready:
        """Return the objects that are ready now, with their events, in the order of registration."""
        self.dirty = False  # first: what is marked from here on may be missed below
        poll_set = self.poll_set
        if poll_set.thread_id != unpatched.get_ident() or poll_set.inherited:
            self._enter_thread()
        if len(self.active) + len(self.unsteady) < len(self.entries):
            self.poll_set.collect()
        found: list[tuple[int, Any, int]] = []
        for entry in list(self.active):
            events = self._poll_entry(entry)
            if events:
                found.append((entry.order, entry.what, events))
        if not (self.active or self.marked_by_threads):
            self._free_active()
        if self.unsteady:
            found += self._poll_unsteady()
        if len(found) > 1:
            found.sort(key=itemgetter(0))
        return [row[1:] for row in found] if found else []

    def _poll_entry(self, entry: Entry) -> int:
        """Poll an active entry and return its events. If it has none, it is idle from now on."""
        events = POLLERR  # stays if `poll_entry` raises, so that the next poll polls the entry again
        try:
            # Before it is polled: from then on `wake`, perhaps in another thread, may make it active again.
            self.active.pop(entry, None)
            events = entry.poll_entry() if entry.owner is not None else 0
        finally:
            if events and entry.owner is not None:
                self.active[entry] = None
        return events

    def _free_active(self) -> None:
        """Replace `active`, which is empty: the old dict keeps the memory that it had when it was full."""
        emptied, self.active = self.active, {}
        self.active.update(emptied)  # entries that a signal handler has marked dirty meanwhile

    def _poll_unsteady(self) -> list[tuple[int, Any, int]]:
        """Poll the unsteady entries: the descriptors in one system call, by the numbers that they have now."""
        found = [] if self.files is None else self.files.ready()
        if self.files is None or len(self.files) < len(self.unsteady):
            for entry in list(self.unsteady):
                if isinstance(entry, PlainSocketEntry):
                    events = entry.poll_entry()
                    if events:
                        found.append((entry.order, entry.what, events))
        return found

    def _enter_thread(self) -> None:
        """This is another thread than at the last poll, or a forked child: take its `PollSet`.

        No signal reaches idle entries there any more, so all entries become active.
        """
        before = self.poll_set
        if before.inherited:  # a forked child: the waiters are copies of the parent's, and never run
            self.waiters = _NO_WAITERS
            for entry in list(self.unsteady):
                if isinstance(entry, PlainSocketEntry):
                    entry.what._closed = True  # a call on it would make pyzmq spin
        elif self.waiters:  # greenlets of the other thread wait in this Poller
            return
        self.poll_set = PollSet.here()
        self.active.update((entry, None) for entry in self.entries.values() if entry.is_steady)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def get_hub(self, poller: object) -> Hub:
        """The hub to wait on, for `poller`. Raises WrongHubError if a greenlet of another hub waits in it."""
        hub = self.hub
        if hub is not None and hub.greenlet is getcurrent().parent and not self.waiters:
            return hub
        chooser = poller if self.chooser is None or self.choice is not None else self.chooser.what
        hub = hubs.hub_to_wait_on(self._hub_choice(), chooser)
        self.refuse_other_hubs(hub)
        self.hub = hub
        return hub

    def refuse_other_hubs(self, hub: Hub) -> None:
        """Raise `WrongHubError` if somebody waits in the Poller on another hub than `hub`."""
        other = next((waiter.hub for waiter in self.waiters if waiter.hub is not hub), None)
        if other is not None:
            raise WrongHubError(f"two hubs wait in one Poller: {other!r} and {hub!r}; give each hub its own Poller")

    def let_hub_go_round(self) -> None:
        """The turn is over: yield to the hub, if there is one."""
        self.turn.yield_to_others(self._hub_choice())

    def join(self, waiter: Waiter) -> None:
        """Have `waiter` woken by `mark_dirty`. That is not enough before it parks: see `watch`."""
        self.waiters = self.waiters or {}
        self.waiters[waiter] = None

    def watch(self, waiter: Waiter) -> None:
        """Have `waiter` woken when a descriptor is ready. Called each time before it parks."""
        for entry in list(self.unsteady):
            self.poll_set.enter_file(entry, entry.number())
        self.poll_set.join(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Undo `join` and `watch`. Idempotent: if an exception interrupts it, the caller repeats it."""
        waiter.close()
        self.waiters.pop(waiter, None)
        self.poll_set.quit(waiter)
        self.turn.begin()

    def mark_dirty(self, entry: Entry) -> None:
        """An event may have come for `entry`: poll it in the next poll. For a `Waitable`, called in any thread."""
        if entry.is_steady:
            self.active[entry] = None
        self.dirty = True
        if self.waiters:
            self.wake_waiters()

    def wake_waiters(self) -> None:
        """Wake every waiter, in any thread. Each polls again."""
        for waiter in list(self.waiters):
            self.poll_set.wake(waiter)

    def _hub_choice(self) -> Choice | None:
        if self.choice is not None:
            return self.choice
        return None if self.chooser is None else self.chooser.what._greenzmq_choice
