"""The turn: how long a greenlet may go on with one thing before it has to let the hub run others.

A call that need not wait does not switch, so a greenlet in a hot loop would keep all others from running. The greenlet
therefore yields when its turn is over. It yields before an operation and never after one: an exception thrown into it
after a `recv`, or a `get`, would lose what was taken. It never yields where it must not wait.

Each socket, Poller, proxy and queue has a `Turn` of its own, so a loop over n of them may run for n turns in a row.
"""

from __future__ import annotations

import math
import os
from time import monotonic
from typing import TYPE_CHECKING

from .. import hubs
from .waiter import may_wait, yield_to_hub

if TYPE_CHECKING:
    from ..hubs import Choice

__all__ = ["ENVIRONMENT", "FAST_CALLS", "TURN", "Turn", "default_turn", "turn_in_seconds"]

#: The environment variable with the process's turn, in milliseconds.
ENVIRONMENT = "GREENZMQ_TURN"
#: Milliseconds. A yield costs some microseconds, so one every 2 ms does not measurably slow a hot loop.
TURN = 2.0
#: Operations on the fast path between two readings of the clock. A larger number gains nothing that can be measured.
FAST_CALLS = 100


class Turn:
    """One turn after another, each of the same length.

    Parameters
    ----------
    seconds : float
        How long each lasts.
    began_at : float, optional
        When the first one began, as `time.monotonic` counts; None means now.

    Attributes
    ----------
    seconds : float
        How long each lasts; infinity if it has no end.
    began_at, ends_at : float
        When the current turn began, and when it is over.
    calls_left : int
        How many more calls on the slow path may be made before the clock is read. Without this count, the first call
        after a pause would always find the turn over, and yield although it has kept nobody waiting.
    """

    __slots__ = ("began_at", "calls_left", "ends_at", "seconds")

    def __init__(self, seconds: float, began_at: float | None = None) -> None:
        self.seconds = seconds
        self.began_at = monotonic() if began_at is None else began_at
        # Without an addition for a Poller's first turn, which began at 0: that would make another float, of 24 bytes.
        self.ends_at = self.began_at + seconds if self.began_at else seconds
        self.calls_left = FAST_CALLS

    def begin(self) -> None:
        """Begin a new turn, since the hub has run others."""
        self.began_at = now = monotonic()
        self.ends_at = now + self.seconds
        self.calls_left = FAST_CALLS

    def is_over_after_one_more(self, exhausted: bool) -> bool:
        """Count one more call on the slow path, and return whether the greenlet has to yield before making it.

        `exhausted` says that a direction has used up its fast calls; these count as if made on the slow path.
        """
        self.calls_left = 0 if exhausted else self.calls_left - 1
        if self.calls_left > 0:
            return False
        self.calls_left = FAST_CALLS
        return monotonic() >= self.ends_at

    def put_off_its_end(self) -> None:
        """The turn is over, but who makes the call cannot yield here: read the clock again before the next call."""
        self.calls_left = 0

    def is_over(self, now: float | None = None) -> bool:
        """Whether the greenlet has to yield. A caller that has just read the clock passes `now`."""
        return (monotonic() if now is None else now) >= self.ends_at

    def yield_to_others(self, choice: Choice | None, steered: bool = True) -> None:
        """Yield to the hub, if there is one and this greenlet can park on it. In any case begin a new turn.

        If `steered` is false, not on a hub that a test steers: there no clock may decide what runs when.

        Notes
        -----
        Switches: if there is a hub on which this greenlet can park.
        """
        hub = hubs.current_hub(choice)
        if hub is not None and (steered or hub.goes_by_itself) and may_wait(hub):
            yield_to_hub(hub)
        self.begin()


def default_turn() -> float:
    """The turn, in seconds, of contexts that are made without one.

    Raises
    ------
    ValueError
        ``$GREENZMQ_TURN`` is not a number of milliseconds.
    """
    said = os.environ.get(ENVIRONMENT)
    if not said:
        return TURN / 1000
    try:
        return turn_in_seconds(float(said))
    except ValueError:
        raise ValueError(
            f"${ENVIRONMENT} is {said!r}; it takes milliseconds, such as {TURN:g}, or 0 for turns without an end"
        ) from None


def turn_in_seconds(milliseconds: float) -> float:
    """Convert a turn from the milliseconds that programs give into seconds. 0 becomes infinity: it never ends.

    Raises
    ------
    TypeError
        It is not a number.
    ValueError
        It is negative, or NaN.
    """
    if not isinstance(milliseconds, (int, float)):
        raise TypeError(f"a turn lasts for milliseconds, such as {TURN:g} or 0.5, not {milliseconds!r}")
    if not milliseconds >= 0:
        raise ValueError(f"a turn lasts for 0 or more milliseconds, not {milliseconds!r}; 0 never ends it")
    return milliseconds / 1000 or math.inf
