"""Poller, select and zmq_poll: wait for many sockets and descriptors at once.

The cost of a poll grows with what has changed, not with what is registered:

- Each Poller has a `DescriptorSet` of its own with the ZMQ_FD of every registered socket, and the plain descriptors.
  Asking it is one system call, and it names those that have a signal. While a greenlet waits, the hub watches the set.
- A socket whose last look showed none of its events *rests*: it is not looked at again until its descriptor signals, or
  until an operation on it may have taken the signal, of which its `Readiness` tells. All others are *awake* and looked
  at in every poll, since what was reported has to be reported again while it lasts.
- Of operations on plain pyzmq sockets nobody tells, unless it is one of ours. They never rest.
- What is `Waitable` has no descriptor. It rests until it calls back, perhaps from another thread.
"""

from __future__ import annotations

import weakref
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import zmq
from zmq.backend import Socket as BackendSocket

from . import hubs, unpatched
from .coroutines import warn_once
from .descriptors import POLLERR, POLLIN, POLLOUT, DescriptorSet
from .entries import Entry, fileno, is_waitable
from .errors import WrongHubError
from .events import wake_anywhere
from .forks import tell_after_fork
from .green import GreenHub
from .socket import Socket
from .turns import default_turn
from .waiting import Waiter, may_wait, pause

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .hubs import Choice, Hub, Watch

__all__ = ["Poller", "select", "zmq_poll"]

_FD = int(zmq.FD)
_get = BackendSocket.get


class Poller(zmq.Poller):
    """A `zmq.Poller` that parks the greenlet. Several may poll it at once, and use its sockets meanwhile.

    Takes green sockets, plain pyzmq sockets, file descriptors and objects with a ``fileno()``, and for ``POLLIN``
    whatever is `Waitable`: events, tasks. Results, their order and the unit of time (ms) are pyzmq's. A closed socket
    is an error at the next poll; pyzmq polls standard input instead.

    Parameters
    ----------
    hub : str, type, Hub or GreenHub, optional
        The hub to wait on; None takes it from the first green socket's context, or else leaves it to the rules.
    """

    _greenzmq_default_hub: ClassVar[Choice | None] = None

    def __init__(self, *, hub: Choice | GreenHub | None = None) -> None:
        choice = hub.hub if isinstance(hub, GreenHub) else hub
        if choice is not None:
            hubs.hub_class(choice)
        self._choice = choice or self._greenzmq_default_hub
        self._entries: dict[Any, Entry] = {}
        self._new: dict[Entry, None] = {}
        self._awake: dict[Entry, None] = {}
        self._plain: dict[Entry, None] = {}  # descriptors: their numbers may mean other files at each poll
        self._by_fd: dict[int, list[Entry]] = {}
        self._choosers: dict[Entry, None] = {}  # green sockets that say which hub to wait on
        self._order = count()
        self._descriptors = DescriptorSet()
        self._waiters: dict[Waiter, None] = {}
        self._watches: list[Watch] = []
        self._turn = default_turn()  # until a green socket says how long
        self._stirred = False
        self._checked = hubs.asyncio_debugs()  # see `coroutines`
        self._turn_began = 0.0  # long ago: who makes one for each poll has no turn of its own
        tell_after_fork(self)

    # -- what is polled -----------------------------------------------------------------------------------------------

    @property
    def sockets(self) -> list[tuple[Any, int]]:  # type: ignore[override]
        """What is registered, and for which events, in the order of registration."""
        return [(entry.what, entry.events) for entry in self._entries.values()]

    def __contains__(self, socket: Any) -> bool:
        return socket in self._entries

    def register(self, socket: Any, flags: int = zmq.POLLIN | zmq.POLLOUT) -> None:
        """Poll `socket` for `flags`, from now on; 0 unregisters it. See `zmq.Poller.register`. Never switches."""
        if flags and not flags & POLLIN and is_waitable(socket):
            raise ValueError(f"{socket!r} can be polled for POLLIN only")
        entry = self._entries.get(socket)
        if entry is None and flags:
            entry = self._entries[socket] = Entry(self, socket, int(flags), next(self._order))
            if isinstance(socket, Socket):
                self._turn = socket._greenzmq_state.turn
            if isinstance(socket, Socket) and socket._greenzmq_choice is not None:
                self._choosers[entry] = None
        elif entry is not None and flags:
            entry.forget()
            self._leave_set(entry)
            entry.ask(int(flags))
        elif entry is not None:
            self.unregister(socket)
        if entry is not None and flags:
            self._new[entry] = None
            self._wake_waiters()

    def modify(self, socket: Any, flags: int = zmq.POLLIN | zmq.POLLOUT) -> None:
        """Change the events of what is registered; see `zmq.Poller.modify`. Never switches."""
        self.register(socket, flags)

    def unregister(self, socket: Any) -> None:
        """Poll `socket` no more; see `zmq.Poller.unregister`. KeyError if it is not registered. Never switches."""
        entry = self._entries.pop(socket)
        for group in (self._new, self._awake, self._plain):
            group.pop(entry, None)
        self._choosers.pop(entry, None)
        self._leave_set(entry)
        entry.retire()
        if not self._entries:  # those who wait would wait for ever
            self._wake_waiters()

    def close(self) -> None:
        """Unregister everything, and free the one descriptor that a Poller has. Never switches.

        Dropping the Poller does the same. Who waits in it gets an empty list. It may be used again.
        """
        entries, self._entries = self._entries, {}
        for group in (self._new, self._awake, self._plain, self._choosers, self._by_fd):
            group.clear()
        self._close_watches()
        self._descriptors.close()
        self._wake_waiters()
        for entry in entries.values():
            entry.retire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- polling ------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """Wait until something registered is ready; see `zmq.Poller.poll`.

        Parameters
        ----------
        timeout : int or float, optional
            Milliseconds; None or a negative number waits for ever, 0 looks only.

        Returns
        -------
        list of (object, int)
            What is ready, and its events. As in pyzmq, a number stands for an object with a ``fileno()``.

        Raises
        ------
        zmq.ZMQError
            ``ENOTSOCK``: a registered socket is closed. ``ETERM``: its context has ended.
        WrongHubError
            A greenlet of another hub waits in this Poller.

        Notes
        -----
        Switches: when nothing is ready, or when this greenlet's turn is over; never with a timeout of 0.
        """
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        entered = monotonic()
        if seconds != 0:
            self._let_hub_go_round(entered)
        ready = self._ready()
        if ready or seconds == 0 or not self._entries:
            if self._checked and ready and seconds != 0 and hubs.is_debugged_coroutine():
                warn_once()
            return ready
        chooser = self if self._choice is not None else next((entry.what for entry in self._choosers), None)
        hub = hubs.hub_to_wait_on(self._hub_choice(), chooser)
        self._check_hub(hub)
        waiter = Waiter(hub, seconds, entered)
        self._waiters[waiter] = None
        try:
            if self._stirred:  # when there was no waiter to wake yet
                ready = self._ready()
            while self._entries and not (ready or waiter.expired):
                self._watch_on(waiter.hub)
                waiter.park()
                waiter.woken = False
                ready = self._ready()
        finally:
            waiter.close()
            del self._waiters[waiter]
            if not self._waiters:
                self._rest_watches()
            self._turn_began = monotonic()
        return ready

    def _ready(self) -> list[tuple[Any, int]]:
        """All that is ready now, in the order of registration."""
        self._stirred = False
        self._enter_set()
        found: list[tuple[int, Any, int]] = []
        for fd, events in self._signals():
            for entry in self._by_fd.get(fd, ()):
                if entry not in self._plain:
                    self._awake[entry] = None
                elif events & (entry.events | POLLERR):
                    found.append((entry.order, fd, events & (entry.events | POLLERR)))
        for entry in list(self._awake):
            events = self._look(entry)
            if events:
                found.append((entry.order, entry.what, events))
        found.sort(key=lambda row: row[0])
        return [(what, events) for _, what, events in found]

    def _look(self, entry: Entry) -> int:
        """The events of one that is awake. If it has none it rests from now on."""
        self._awake.pop(entry, None)  # before the look: another thread may stir a waitable while it is linked
        if not entry.registered:
            return 0
        events = POLLERR
        try:
            events = entry.look()
        finally:  # what raises will be asked again
            if (events or not entry.rests) and entry.registered:
                self._awake[entry] = None
        return events

    def _signals(self) -> list[tuple[int, int]]:
        """Which descriptors are ready, and for what."""
        found = self._descriptors.ready()
        if self._descriptors.outdated:
            self._close_watches()
            self._descriptors.renew()
            self._wake_waiters()  # to watch the new set
            found = self._descriptors.ready()
        return found

    # -- the set of descriptors ---------------------------------------------------------------------------------------

    def _enter_set(self) -> None:
        """Put new entries into the set, and look again which file a plain descriptor's number means."""
        for entry in {**self._new, **self._plain}:
            if entry.waitable:
                self._awake[entry] = None
            else:
                self._enter_one(entry)
            self._new.pop(entry, None)

    def _enter_one(self, entry: Entry) -> None:
        is_socket = entry.readiness is not None
        fd = int(_get(entry.what, _FD)) if is_socket else fileno(entry.what)
        if entry not in self._by_fd.get(fd, ()):
            self._leave_set(entry)
            entry.fd = fd
            self._by_fd.setdefault(fd, []).append(entry)
        self._descriptors.want(fd, self._wanted(fd))
        (self._awake if is_socket else self._plain)[entry] = None

    def _leave_set(self, entry: Entry) -> None:
        sharers = self._by_fd.get(entry.fd, [])
        if entry in sharers:
            sharers.remove(entry)
            self._descriptors.want(entry.fd, self._wanted(entry.fd))
        if not sharers:
            self._by_fd.pop(entry.fd, None)

    def _wanted(self, fd: int) -> int:
        """A socket's descriptor signals by being readable, whatever the events."""
        events = 0
        for entry in self._by_fd.get(fd, ()):
            events |= POLLIN if isinstance(entry.what, BackendSocket) else entry.events
        return events

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _hub_choice(self) -> Choice | None:
        if self._choice is not None:
            return self._choice
        return next((entry.what._greenzmq_choice for entry in self._choosers), None)

    def _let_hub_go_round(self, now: float) -> None:
        if now - self._turn_began < self._turn:
            return
        hub = hubs.current_hub(self._hub_choice())
        if hub is not None and may_wait(hub):
            pause(hub)
        self._turn_began = monotonic()

    def _check_hub(self, hub: Hub) -> None:
        other = next((waiter.hub for waiter in self._waiters if waiter.hub is not hub), None)
        if other is not None:
            raise WrongHubError(f"two hubs wait in one Poller: {other!r} and {hub!r}; give each its own")

    def _watch_on(self, hub: Hub) -> None:
        if self._watches and self._watches[0].hub is not hub:
            self._close_watches()
        if not self._watches:
            self._watches = self._descriptors.watches(hub, partial(_tell, weakref.ref(self)))
        for watch in self._watches:
            watch.start()

    def _signalled(self) -> None:
        """Something in the set is ready; in the hub. Whoever waits looks, then starts the watches again."""
        for watch in self._watches:
            watch.rest()
        self._wake_waiters()

    def _rest_watches(self) -> None:
        """Nobody waits any more. The watch stays with the hub: the kernel goes through all of a set that is added."""
        if not self._descriptors.keeps:
            self._close_watches()
        for watch in self._watches:
            watch.rest()

    def _close_watches(self) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            if watch.hub.thread_id == unpatched.get_ident():
                watch.close()
            else:
                watch.hub.call_soon_threadsafe(watch.close)

    def _stir(self, entry: Entry) -> None:
        self._awake[entry] = None
        self._stirred = True
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in list(self._waiters):
            wake_anywhere(waiter)

    def _greenzmq_after_fork(self) -> None:
        """The kernel's set is shared with the parent: leave it alone, and begin a new one."""
        for watch in self._watches:
            watch.disown(self._descriptors)
        self._watches = []
        self._waiters = {}
        self._descriptors = DescriptorSet()  # the old one is freed with its last reference
        self._by_fd.clear()
        self._plain.clear()
        self._new = dict.fromkeys(self._entries.values())
        for entry in self._entries.values():
            if entry.readiness is not None and not isinstance(entry.what, Socket):
                entry.what._closed = True  # a plain socket, at which pyzmq would spin

    def __del__(self) -> None:
        if "_turn_began" in self.__dict__:
            self.close()


def _tell(reference: weakref.ref[Poller]) -> None:
    """For a watch, which does not keep its Poller alive."""
    poller = reference()
    if poller is not None:
        poller._signalled()


def zmq_poll(
    sockets: list[tuple[Any, int]], timeout: float = -1, *, poller: type[Poller] = Poller
) -> list[tuple[Any, int]]:
    """Wait until one of `sockets` is ready; see `zmq.zmq_poll`.

    Parameters
    ----------
    sockets : list of (object, int)
        What to poll, and for which events. One object may stand in it more than once.
    timeout : int
        Milliseconds; a negative number waits for ever.

    Returns
    -------
    list of (object, int)
        What is ready, and its events.

    Notes
    -----
    Switches: as `Poller.poll`.
    """
    wanted: dict[Any, int] = {}
    for what, events in sockets:
        wanted[what] = wanted.get(what, 0) | int(events)
    polled = poller()
    for what, events in wanted.items():
        polled.register(what, events or POLLERR)
    ready: dict[Any, int] = {}
    for what, events in polled.poll(timeout):
        ready[what] = ready.get(what, 0) | events
    results = []
    for what, events in sockets:
        key = what if isinstance(what, (int, BackendSocket)) or is_waitable(what) else fileno(what)
        found = ready.get(key, 0) & (events | POLLERR)
        if found:
            results.append((key, found))
    return results


def select(
    rlist: list[Any], wlist: list[Any], xlist: list[Any], timeout: float | None = None, *, poller: type[Poller] = Poller
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait as `select.select` does, for sockets and descriptors; see `zmq.select`.

    Parameters
    ----------
    rlist, wlist, xlist : list
        What to poll for something to read, for room to write, for errors.
    timeout : float, optional
        Seconds; None or a negative number waits for ever.

    Returns
    -------
    three lists
        What is ready, of each.

    Notes
    -----
    Switches: as `Poller.poll`.
    """
    wanted: dict[Any, int] = {}
    for group, event in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, POLLERR)):
        for what in group:
            wanted[what] = wanted.get(what, 0) | event
    milliseconds = -1 if timeout is None else int(timeout * 1000)
    ready = zmq_poll(list(wanted.items()), milliseconds, poller=poller)
    readable, writable, failed = (
        [what for what, events in ready if events & event] for event in (POLLIN, POLLOUT, POLLERR)
    )
    return readable, writable, failed
