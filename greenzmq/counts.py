"""What a program asks by `greenzmq.stats`: counts of messages, waits, switches, reads of ``EVENTS``, and the lag.

The lag needs a native thread while something is counted. Fact: a hub that a greenlet keeps sees a signal only when it
goes round, so what the hub sees cannot tell how long the signal has waited for that. Choice: a hundred times a second
the thread looks whether a counted socket has a signal for those who are parked on it, and asks each counted hub for a
sign of life. Cost: what is shorter than 10 ms is counted from the moment when the hub, or a call, has seen the signal.
"""

from __future__ import annotations

import warnings
import weakref
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from .hubs.base import Hub
from .process import unpatched
from .process.fork import register_after_fork
from .sockets import counting
from .sockets.counting import HubCounts, SocketCounts
from .sockets.plain import PlainSocket
from .sockets.socket import Socket
from .waiting.counting import active, changing
from .waiting.hub_api import GreenHub

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Lag", "Stats", "stats"]

#: Seconds between two looks of the thread.
_LOOK = 0.01
_READABLE = 1


class Lag(NamedTuple):
    """From a signal to the resumption of the greenlet that it is for: how often, and how long, in seconds.

    Attributes
    ----------
    count : int
        How many there were.
    mean, max : float
        The mean and the longest, in seconds; 0.0 if there were none.
    """

    count: int  # type: ignore[assignment]  # in the place of the method of tuples
    mean: float
    max: float


class Stats:
    """What is counted of a socket or a hub, live. Made by `greenzmq.stats`.

    Counting ends by `stop`, at the end of a ``with`` block, or when this object is gone. Several may count the same.

    Attributes
    ----------
    sent, received : int
        Messages, whole ones: a message of several parts is counted with its last part.
    waits : int
        Calls that had to wait and have ended, a yield at the end of a turn among them. A wait that began before the
        counting is not counted.
    switches : int
        How often greenlets, or tasks, gave control to the hub in these calls.
    events_reads : int
        How often the socket option ``EVENTS`` was read.
    lag : Lag
        From the signal to the resumption of the greenlet.
    seconds : float
        For how long it counts, since it began or since `reset`.
    is_counting : bool
        Whether it still does.
    """

    __slots__ = ("__weakref__", "_counts", "_end", "_ended_at", "_of")

    def __init__(self, counts: SocketCounts | HubCounts, of: str) -> None:
        self._counts = counts
        self._of = of
        self._ended_at: float | None = None
        # The collector may be at work in the middle of anything, so that it leaves the end to the thread.
        self._end = weakref.finalize(self, _clock.end_later, counts)
        self._end.atexit = False
        counting.begin(counts)
        _clock.start()

    @property
    def sent(self) -> int:
        """Messages that were sent."""
        return self._counts.sent

    @property
    def received(self) -> int:
        """Messages that were received."""
        return self._counts.received

    @property
    def waits(self) -> int:
        """Calls that had to wait."""
        return self._counts.waits

    @property
    def switches(self) -> int:
        """How often they gave control to the hub."""
        return self._counts.switches

    @property
    def events_reads(self) -> int:
        """How often ``EVENTS`` was read."""
        return self._counts.events_reads

    @property
    def lag(self) -> Lag:
        """From the signal to the resumption. A `RuntimeWarning` says so if the hub refuses to be asked."""
        fault = _clock.fault(self._counts)
        if fault:
            warnings.warn(f"there is no lag of {self._of}: its {fault}", RuntimeWarning, stacklevel=2)
        return self._lag()

    def _lag(self) -> Lag:
        counts = self._counts
        return Lag(counts.lags, counts.lag_total / counts.lags if counts.lags else 0.0, counts.lag_max)

    @property
    def seconds(self) -> float:
        """For how long it counts."""
        return (monotonic() if self._ended_at is None else self._ended_at) - self._counts.began_at

    @property
    def is_counting(self) -> bool:
        """Whether it still does."""
        return self._ended_at is None

    def reset(self) -> None:
        """Set all counts to 0. Switches: never."""
        self._counts.reset()
        if self._ended_at is not None:
            self._ended_at = self._counts.began_at

    def stop(self) -> None:
        """Count no more; what has been counted stays. Does nothing after the first time. Switches: never."""
        if self._ended_at is None:
            counting.end(self._counts)
            _clock.end_asking(self._counts)
            self._ended_at = monotonic()
            self._end.detach()

    def as_dict(self) -> dict[str, float]:
        """The counts by their names, and the lag as ``lag_count``, ``lag_mean`` and ``lag_max``. Switches: never."""
        counts: dict[str, float] = {name: getattr(self, name) for name in (*_NAMES, "seconds")}
        return counts | {f"lag_{name}": value for name, value in self.lag._asdict().items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """`stop`."""
        self.stop()

    def __repr__(self) -> str:
        counts = ", ".join(f"{getattr(self, name)} {word}" for name, word in _NAMES.items())
        count, mean, longest = self._lag()
        lag = f"lag {_short(mean)} mean, {_short(longest)} max" if count else "no lag"
        fault = _clock.fault(self._counts)
        if fault:
            lag += f" ({fault})"
        state = "for" if self.is_counting else "stopped after"
        return f"<Stats of {self._of} {state} {self.seconds:.3g} s: {counts}, {lag}>"


#: The names of the plain counts, and their words.
_NAMES = {
    "sent": "sent",
    "received": "received",
    "waits": "waits",
    "switches": "switches",
    "events_reads": "reads of EVENTS",
}


def _short(seconds: float) -> str:
    """A time in words that are easy to compare."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def stats(what: Socket[Any] | GreenHub | Hub) -> Stats:
    """Begin to count what is done with a socket, or on a hub: messages, waits, switches, reads of ``EVENTS``, the lag.

    ``with greenzmq.stats(socket) as counted:`` counts in the block. Nothing is counted, and nothing is paid for it,
    unless somebody asks. While a socket is counted its calls take the slow path, and a native thread runs.

    Parameters
    ----------
    what : Socket or GreenHub or Hub
        A green or awaitable socket: all that is done with it, by whatever greenlets and threads. A hub: all waits on
        it, and the messages of all sockets that are used in its thread, those made later included. The hub of native
        threads (`greenzmq.threading.hub`) stands for all of its threads.

    Returns
    -------
    Stats
        The counts, live, with ``sent``, ``received``, ``waits``, ``switches``, ``events_reads`` and ``lag``.

    Raises
    ------
    TypeError
        It is neither; a plain `zmq.Socket` cannot be counted.
    zmq.ZMQError
        The socket is closed.

    Notes
    -----
    Switches: never.

    The lag of a socket is that of each greenlet that went on with it: from the signal, or from the end of its time, to
    its resumption. The lag of a hub is how long it takes to answer when a native thread asks it, a hundred times a
    second: a greenlet that keeps the hub shows there. On native threads, where a thread may block, it is that of the
    waits, from the moment when each was woken.

    Messages that a proxy with ``native=True`` passes on are libzmq's own, and not counted.
    """
    if isinstance(what, Socket):
        if what.closed:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        return Stats(SocketCounts(what._greenzmq_state), repr(what))
    if isinstance(what, GreenHub):
        hub = what.hub
        if hub.runs_threads:
            return Stats(HubCounts(None, type(hub)), f"all hubs of {hub.name}")
        what = hub
    if isinstance(what, Hub):
        if what.thread_id == unpatched.get_ident():
            what.hear_threads()  # one asks it
        return Stats(HubCounts(what, type(what)), repr(what))
    plain = "; a plain zmq.Socket has no counts: make it by greenzmq.Context" if isinstance(what, PlainSocket) else ""
    raise TypeError(f"stats() takes a green or awaitable socket, or a hub, not {what!r}{plain}")


class _Ping:
    """One sign of life that a hub was asked for."""

    def __init__(self, counts: HubCounts) -> None:
        self._counts = counts
        self.sent_at = monotonic()
        self.is_answered = False

    def answer(self) -> None:
        """Called in the hub. Or at the end of the counting: the lag is that long at least."""
        if not self.is_answered:
            self.is_answered = True
            self._counts.add_lag(monotonic() - self.sent_at)


class _Clock:
    """The native thread that looks after signals, while something is counted."""

    def __init__(self) -> None:
        self._is_running = False
        self._pings: weakref.WeakKeyDictionary[SocketCounts | HubCounts, _Ping] = weakref.WeakKeyDictionary()
        self._faults: weakref.WeakKeyDictionary[SocketCounts | HubCounts, str] = weakref.WeakKeyDictionary()
        self._to_end: deque[SocketCounts | HubCounts] = deque()
        register_after_fork(self)

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with changing.lock:
            if not self._is_running:
                unpatched.start_new_thread(self._run, ())
                self._is_running = True

    def end_later(self, counts: SocketCounts | HubCounts) -> None:
        """Have the thread end the counting."""
        self._to_end.append(counts)

    def end_asking(self, counts: SocketCounts | HubCounts) -> None:
        """If a hub has not answered yet, count for how long."""
        ping = self._pings.pop(counts, None)
        if ping is not None:
            ping.answer()

    def fault(self, counts: SocketCounts | HubCounts) -> str:
        """Why there is no lag; empty if there is one. A hub that has just ended is not a reason for long."""
        return self._faults.get(counts, "")

    def _greenzmq_after_fork(self) -> None:
        self._pings = weakref.WeakKeyDictionary()
        self._is_running = bool(active())
        if self._is_running:
            unpatched.start_new_thread(self._run, ())

    def _run(self) -> None:
        pause = unpatched.allocate_lock()
        pause.acquire()
        while True:
            while self._to_end:
                counting.end(self._to_end.popleft())
            with changing.lock:
                if not active():
                    self._is_running = False
                    return
            self._look()
            pause.acquire(timeout=_LOOK)

    def _look(self) -> None:
        sockets: list[tuple[int, SocketCounts]] = []
        for counts in active():
            if isinstance(counts, SocketCounts):
                sockets.append((counts.parked_on(), counts))
            elif isinstance(counts, HubCounts) and counts.hub is not None:
                self._ask(counts, counts.hub)
        masks = {fd: _READABLE for fd, _ in sockets if fd >= 0}
        readable = {fd for fd, flags in unpatched.poll(masks) if flags & _READABLE} if masks else ()
        for fd, of_socket in sockets:
            of_socket.see_signal(fd in readable)

    def _ask(self, counts: HubCounts, hub: Hub) -> None:
        try:
            self._ping(counts, hub)
        except Exception as error:  # of a hub that ends at this moment, or that somebody else has written
            self._pings.pop(counts, None)
            self._faults[counts] = f"hub cannot be asked for a sign of life: {type(error).__name__}: {error}"
        else:
            self._faults.pop(counts, None)

    def _ping(self, counts: HubCounts, hub: Hub) -> None:
        if hub.runs_threads or hub.inherited or hub.has_ended() or not hub.goes_by_itself:
            return
        ping = self._pings.get(counts)
        if ping is None or ping.is_answered:
            self._pings[counts] = ping = _Ping(counts)
            hub.call_soon_threadsafe(ping.answer)


_clock = _Clock()
