"""Counts of waits: how many there are, how often they give control to the hub, and how late they go on.

A wait costs nothing for that until somebody counts. The first `begin` puts a function that counts in the place of each
``__init__`` of `Waiter` and its subclasses, and the last `end` takes it away. It gives a waiter that concerns somebody
another class, of the same layout, in which each write to one of four fields is seen: `Waiter.park` and whoever wakes
remain as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..process.fork import ForkSafeLock
from .reasons import NEXT_TURN
from .waiter import Waiter

if TYPE_CHECKING:
    from .reasons import Reason

__all__ = ["Counts", "active", "begin", "changing", "end"]


class Counts:
    """What is counted of one thing, since it was begun or set to 0. Threads may count at once.

    Attributes
    ----------
    sent, received : int
        Messages.
    waits : int
        Waits that have ended, in which the greenlet gave control to the hub.
    switches : int
        How often it did.
    events_reads : int
        How often ``EVENTS`` was read.
    lags : int
        How many lags, from a signal to the resumption for it, there are.
    lag_total, lag_max : float
        The sum of them, and the longest, in seconds.
    began_at : float
        When that began, as `time.monotonic` counts.
    signalled_at : float or None
        For a native thread that looks after signals: since when it has seen one that nobody has used yet.
    of_waits : bool
        The lags are those of the waits; else they come from elsewhere.
    """

    def __init__(self) -> None:
        self._adding = ForkSafeLock()
        self.signalled_at: float | None = None
        self.of_waits = True
        self.reset()

    def reset(self) -> None:
        """Set all counts to 0."""
        with self._adding.lock:
            self.sent = self.received = self.waits = self.switches = self.events_reads = self.lags = 0
            self.lag_total = self.lag_max = 0.0
            self.began_at = monotonic()

    def add(self, field: str) -> None:
        """Add 1 to a count."""
        with self._adding.lock:
            setattr(self, field, getattr(self, field) + 1)

    def add_lag(self, seconds: float) -> None:
        """Add one lag."""
        with self._adding.lock:
            self.lags += 1
            self.lag_total += seconds
            self.lag_max = max(self.lag_max, seconds)

    def see_signal(self, is_there: bool) -> None:
        """There is a signal that nobody has used yet, or there is none."""
        if not is_there:
            self.signalled_at = None
        elif self.signalled_at is None:
            self.signalled_at = monotonic()

    def concerns(self, waiter: Waiter) -> bool:
        """Whether to count this wait, which is about to begin."""
        raise NotImplementedError


#: The lock of those who begin and end counting.
changing = ForkSafeLock()
_active: tuple[Counts, ...] = ()
#: Each class of waiters whose ``__init__``, or `set_up`, is replaced, and how to put it back.
_inits: list[tuple[Any, str, Any]] = []


def active() -> tuple[Counts, ...]:
    """All that is being counted."""
    return _active


def begin(counts: Counts) -> None:
    """Count the waits that begin from now on, as far as they concern `counts`."""
    global _active
    with changing.lock:
        _active = (*_active, counts)
        if not _inits:
            setattr(Waiter, "__init_subclass__", classmethod(_hook))  # noqa: B010  # for what is imported meanwhile
            kinds: list[Any] = [Waiter]
            for kind in kinds:
                kinds += kind.__subclasses__()
                _hook(kind)


def end(counts: Counts) -> None:
    """Undo `begin`. Does nothing after the first time."""
    global _active
    with changing.lock:
        _active = tuple(other for other in _active if other is not counts)
        if _inits and not _active:
            delattr(Waiter, "__init_subclass__")
            while _inits:
                setattr(*_inits.pop())


def _hook(kind: Any) -> None:
    """Let a class of waiters count, if it has a method of its own that completes them: `TaskWaiter` has `set_up`."""
    name = "set_up" if "set_up" in vars(kind) else "__init__"
    init = vars(kind).get(name)
    if init is None:
        return

    def init_and_count(self: Waiter, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if not isinstance(self, _CountedWaiter):  # by the class's base already
            _count(self)

    _inits.append((kind, name, init))
    setattr(kind, name, init_and_count)


def _count(waiter: Waiter) -> None:
    """Count what this waiter does, which was made just now, if it concerns anybody."""
    concerned = tuple(counts for counts in _active if counts.concerns(waiter))
    if concerned:
        seen = _Seen(waiter.reason, concerned)
        kind: Any = type(waiter)
        waiter.__class__ = _counting(kind)
        _reason.__set__(waiter, seen)


@cache
def _counting(cls: type[Waiter]) -> type[Waiter]:
    """The subclass of a class of waiters that counts."""
    return type(cls.__name__, (_CountedWaiter, cls), {"__slots__": (), "__module__": cls.__module__})


class _Seen:
    """What was seen of a waiter; it stands in the place of its reason.

    Attributes
    ----------
    has_switched : bool
        It has given control to the hub since it was resumed last.
    signalled_at : float or None
        When the signal came for which it is to go on.
    """

    __slots__ = ("counts", "has_switched", "reason", "signalled_at")

    def __init__(self, reason: Reason, counts: tuple[Counts, ...]) -> None:
        self.reason = reason
        self.counts = counts
        self.has_switched = False
        self.signalled_at: float | None = None

    def signal(self, at: float) -> None:
        """It is to go on, for something that came at this time or before."""
        if self.signalled_at is None:
            known = (counts.signalled_at for counts in self.counts)
            self.signalled_at = min([at, *(earlier for earlier in known if earlier is not None)])

    def switch(self) -> None:
        """It is about to give control to the hub."""
        self.has_switched = True
        for counts in self.counts:
            counts.add("switches")

    def resume(self) -> None:
        """It goes on. A yield has no signal, and so no lag; nor has a wait that something else has ended."""
        at, self.signalled_at = self.signalled_at, None
        has_switched, self.has_switched = self.has_switched, False
        if has_switched and at is not None and self.reason is not NEXT_TURN:
            lag = max(monotonic() - at, 0.0)
            for counts in self.counts:
                if counts.of_waits:
                    counts.add_lag(lag)


#: The slot of `Waiter` by itself, past the property below.
_reason: Any = Waiter.__dict__["reason"]


def _seen(waiter: Any) -> _Seen | None:
    """What was seen of it; None once it is closed."""
    found = _reason.__get__(waiter)
    return found if type(found) is _Seen else None


def _watched(field: str, see: Callable[[Any, _Seen, bool], None]) -> Any:
    """A property in the place of a slot of `Waiter`: before a value is written, `see` is called with it."""
    slot: Any = Waiter.__dict__[field]

    def write(waiter: Any, value: bool) -> None:
        seen = _seen(waiter)
        if seen is not None:
            see(waiter, seen, value)
        slot.__set__(waiter, value)

    return property(slot.__get__, write)


def _see_woken(waiter: Waiter, seen: _Seen, woken: bool) -> None:
    if woken:
        seen.signal(monotonic())


def _see_expired(waiter: Any, seen: _Seen, expired: bool) -> None:
    seen.signal(waiter.since + waiter.timeout)


def _see_parked(waiter: Waiter, seen: _Seen, parked: bool) -> None:
    if not parked and (waiter.woken or waiter.expired):
        seen.resume()


def _see_yielded(waiter: Waiter, seen: _Seen, yielded: bool) -> None:
    seen.switch()


class _CountedWaiter(Waiter if TYPE_CHECKING else object):  # type: ignore[misc]
    """A waiter that is counted: writes to its fields are seen on their way into the slots."""

    __slots__ = ()
    woken = _watched("woken", _see_woken)
    expired = _watched("expired", _see_expired)
    parked = _watched("parked", _see_parked)
    yielded = _watched("yielded", _see_yielded)

    @property
    def reason(self) -> Reason:
        seen = _seen(self)
        return None if seen is None else seen.reason

    @reason.setter
    def reason(self, reason: Reason) -> None:
        _reason.__set__(self, reason)

    def close(self) -> None:
        """See `Waiter.close`. The wait has ended."""
        seen = _seen(self)
        _reason.__set__(self, None)  # so that a second call counts nothing
        if seen is not None and self.yielded:
            for counts in seen.counts:
                counts.add("waits")
        super().close()
