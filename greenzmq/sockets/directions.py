"""The two directions of a socket, who waits in them, and which of those an event lets go on."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import zmq
from greenlet import getcurrent

from ..hubs.base import CALL_END_CALLBACKS
from ..waiting.waiter import Waiter, WaitQueue
from .fairness import FAST_CALLS

if TYPE_CHECKING:
    from greenlet import greenlet


__all__ = [
    "Direction",
    "Listener",
    "Listeners",
    "Receiving",
    "Sending",
    "SpuriousReadiness",
    "WaitingListener",
    "whom_to_wake",
]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
POLLIN = int(zmq.POLLIN)
POLLOUT = int(zmq.POLLOUT)

#: Seconds within which libzmq processes commands in one `send` only: 3,000,000 ticks of the processor (config.hpp).
SOON = 0.0005
#: Listeners that are not known by their events: dicts for these would be 400 bytes for each socket in a Poller.
FEW = 8


def _nobody() -> None:
    """A reference to no greenlet."""


class Direction(WaitQueue):
    """`Receiving`, or `Sending`, on one socket: the queue of those who wait, and what they have to know of each other.

    Attributes
    ----------
    event : int
        ``POLLIN`` or ``POLLOUT``.
    timeout_option : int
        ``RCVTIMEO`` or ``SNDTIMEO``.
    timeout : int, optional
        What it is, in milliseconds; None if that has to be asked. To ask is 5 % of what a short wait costs.
    fast_calls_left : int
        How many operations may still take the fast path. Above 0 only while nobody waits on the socket, nobody is
        inside a message of this direction, and the last operation did not have to wait.
    expect_eagain : bool
        The last operation had to wait. The next one does not try first, since to try in vain costs more (an exception,
        3–5 µs) than the look at ``EVENTS`` that is due in any wait (1 µs).
    last_receiver : weak reference to a greenlet
        Who received last. Nobody else takes the fast path: the message may have more parts, which are that greenlet's.
    mid_message : weak reference to a greenlet, or None
        Who is inside a multipart message, part by part; the others stand back until its end.
    fast_calls_max : int
        What `fast_calls_left` is when all of it is there: 0 for the receiving of a REQ or REP.
    exit_watched : weak reference to a greenlet, or None
        The owner that is going to tell of its own end; see `watch_exit`.
    spare : Waiter or None
        One whose wait on this hub is over, for the next wait: to make one costs twice as much as to begin again. Who
        wakes it late, for its last wait, does no harm: whoever is woken looks for itself.
    """

    __slots__ = (
        "exit_watched",
        "expect_eagain",
        "fast_calls_left",
        "fast_calls_max",
        "last_receiver",
        "mid_message",
        "spare",
        "timeout",
    )
    event: ClassVar[int]
    timeout_option: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.fast_calls_left = self.fast_calls_max = FAST_CALLS
        self.expect_eagain = False
        self.last_receiver: Callable[[], greenlet | None] = _nobody
        self.mid_message: weakref.ref[greenlet] | None = None
        self.exit_watched: weakref.ref[greenlet] | None = None
        self.spare: Waiter | None = None
        self.timeout: int | None = None

    def note_receiver(self) -> None:
        """This greenlet has received last, and is not the one that did before."""
        current = getcurrent()
        self.last_receiver = weakref.ref(current)
        at_end = getattr(current, CALL_END_CALLBACKS, None)
        if at_end is not None:
            at_end.append(self._forget_receiver)

    def _forget_receiver(self) -> None:
        if self.last_receiver() is getcurrent():
            self.last_receiver = _nobody

    def greenlet_inside(self) -> greenlet | None:
        """The living greenlet that is inside a message, if any."""
        owner = None if self.mid_message is None else self.mid_message()
        return None if owner is None or owner.dead else owner

    def reserved_for_other(self) -> bool:
        """Whether another greenlet is inside a message."""
        if self.mid_message is None:
            return False
        holder = self.greenlet_inside()
        return holder is not None and holder is not getcurrent()

    def watch_exit(self, callback: Callable[[Any], object]) -> None:
        """Have ``callback(mid_message)`` called when the owner's greenlet ends in the midst of its message; for who
        waits.

        Tasks tell of their end, and gevent's and eventlet's greenlets do. Of any other one its collection is noticed,
        and that it is dead at the next signal.
        """
        owner: Any = self.greenlet_inside()
        link = getattr(owner, "rawlink", None) or getattr(owner, "link", None)
        if link is not None and (self.exit_watched is None or self.exit_watched() is not owner):
            link(callback)
            self.exit_watched = weakref.ref(owner)

    def end_message(self, callback: Callable[[Any], object]) -> None:
        """The owner has come to the end of its message. Takes `watch_exit` back."""
        exit_watched: Any = None if self.exit_watched is None else self.exit_watched()
        self.mid_message = self.exit_watched = None
        if exit_watched is not None:
            exit_watched.unlink(callback)


class Receiving(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLIN
    timeout_option = int(zmq.RCVTIMEO)


class Sending(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLOUT
    timeout_option = int(zmq.SNDTIMEO)


class SpuriousReadiness:
    """What a sender remembers, as its waiter's `spurious`, that was promised room and met EAGAIN.

    Attributes
    ----------
    signal : int
        The number of the signal that was the promise.
    """

    __slots__ = ("_looked", "_looked_at", "signal")

    def __init__(self) -> None:
        self.signal = -1
        self._looked = -1
        self._looked_at = 0.0

    def has_to_try_again(self, signals: int) -> bool:
        """Whether the sender has to try once more after the look at ``EVENTS`` that follows.

        The look may take the signal of room that comes just then, and only the attempt tells. That one takes no signal
        from the others: it is throttled, so soon after the first. If it did not come soon, all is to be done again.
        """
        now = monotonic()
        if self._looked == signals and now - self._looked_at < SOON:
            return False
        self._looked, self._looked_at = signals, now
        return True


class Listener(Protocol):
    """Somebody who waits for events and takes nothing: a `Socket.poll`, or what a Poller has registered.

    Attributes
    ----------
    events : int
        The events that matter.
    """

    events: int

    def wake(self) -> object:
        """Called once, when one of the events may have come. Never switches."""

    def waits(self) -> bool:
        """Whether it matters now. If not, `wake` may be called for less: any call that may have taken a signal."""


class WaitingListener:
    """The `Listener` of a greenlet that waits."""

    __slots__ = ("events", "wake")

    def __init__(self, events: int, wake: Callable[[], object]) -> None:
        self.events = events
        self.wake = wake

    def waits(self) -> bool:
        """It always does."""
        return True


class Listeners(dict[Listener, None]):
    """The listeners of one socket: a set that knows them by their events, too, where it would take long to ask each.

    A signal handler may come at any moment, and tell listeners. So `add` enters a listener here before it can be found
    by its events, and only who takes it out of here, in one step, tells it.
    """

    __slots__ = ("_by_events",)

    def __init__(self) -> None:
        super().__init__()
        self._by_events: dict[int, dict[Listener, None]] | None = None

    def add(self, listener: Listener) -> None:
        """Have it among them; nothing if it is."""
        self[listener] = None
        if self._by_events is not None:
            self._by_events.setdefault(listener.events, {})[listener] = None
        elif len(self) > FEW:
            self._sort()

    def discard(self, listener: Listener) -> bool:
        """Have it among them no more. Whether it was."""
        if self._by_events is not None:
            self._by_events.get(listener.events, {}).pop(listener, None)
        return self.pop(listener, self) is not self

    def of(self, events: int) -> list[Listener]:
        """Those to whom one of `events` matters."""
        if self._by_events is None:
            return [listener for listener in list(self) if listener.events & events]
        return [
            listener for wanted, alike in list(self._by_events.items()) if wanted & events for listener in list(alike)
        ]

    def clear(self) -> None:
        """Have none."""
        super().clear()
        self._by_events = None

    def _sort(self) -> None:
        sorted_ones: dict[int, dict[Listener, None]] = {}
        for listener in list(self):
            sorted_ones.setdefault(listener.events, {})[listener] = None
        self._by_events = sorted_ones
        for listener in list(self):  # a signal handler may have added some to the one and not to the other
            sorted_ones.setdefault(listener.events, {})[listener] = None


def whom_to_wake(
    events: int, receiving: Direction, sending: Direction, signals: int
) -> tuple[Waiter | None, Waiter | None]:
    """The receiver and the sender that an ``EVENTS`` mask lets go on; None where there is none. Changes nothing.

    Parameters
    ----------
    events : int
        What the socket can do, as libzmq says.
    receiving, sending : Direction
        Who waits.
    generation : int
        The number of the signal behind `events`: a sender that was refused since is passed over.
    """
    reader = receiving.first if events & POLLIN and receiving.greenlet_inside() is None else None
    writer = sending.first if events & POLLOUT and sending.greenlet_inside() is None else None
    while writer is not None and writer.spurious is not None and writer.spurious.signal == signals:
        writer = writer.next
    return reader, writer
