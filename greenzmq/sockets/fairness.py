"""The turn: how long a greenlet may go on with one thing before the hub goes round.

A call that need not wait does not switch, so a greenlet in a hot loop would keep all others from running. It yields
when its turn is over: before an operation, never after one, where a kill would lose the message; never inside a
message, and never under NOBLOCK or with a timeout of 0. Turns are per socket: a loop over n sockets may run n turns in
a row. Sockets, Pollers and proxies each have a `Turn`.
"""

from __future__ import annotations

import math
import os
from time import monotonic
from typing import TYPE_CHECKING

from .. import hubs
from ..waiting.waiter import may_wait, yield_to_hub

if TYPE_CHECKING:
    from ..hubs import Choice

__all__ = ["ENVIRONMENT", "FAST_CALLS", "TURN", "Turn", "default_turn", "turn_in_seconds"]

#: The environment variable with the process's turn, in milliseconds.
ENVIRONMENT = "GREENZMQ_TURN"
#: Milliseconds. To yield costs some microseconds, so what this takes from a hot loop's throughput cannot be measured.
TURN = 2.0
#: Operations on the fast path before the clock is looked at. Larger gains nothing that can be measured.
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
        When the turn that runs began, and when it is over.
    calls_left : int
        How many calls on the slow path may come before the clock is looked at. Without it, each first call after a
        while without any would let the hub go round for nobody.
    """

    __slots__ = ("began_at", "calls_left", "ends_at", "seconds")

    def __init__(self, seconds: float, began_at: float | None = None) -> None:
        self.seconds = seconds
        self.began_at = monotonic() if began_at is None else began_at
        self.ends_at = self.began_at + seconds
        self.calls_left = FAST_CALLS

    def begin(self) -> None:
        """The hub has gone round: a new turn begins."""
        self.began_at = monotonic()
        self.ends_at = self.began_at + self.seconds
        self.calls_left = FAST_CALLS

    def is_over_after_one_more(self, exhausted: bool) -> bool:
        """Count one more call on the slow path. Whether it is time to let the hub go round before that one.

        `exhausted` says that a direction has used its fast calls up, which stands for as many calls.
        """
        self.calls_left = 0 if exhausted else self.calls_left - 1
        if self.calls_left > 0:
            return False
        self.calls_left = FAST_CALLS
        return monotonic() >= self.ends_at

    def end_with_the_message(self) -> None:
        """The turn is over, but this is the middle of a message: ask again before each call until its end."""
        self.calls_left = 0

    def is_over(self, now: float | None = None) -> bool:
        """Whether it is time to let the hub go round. `now` saves a look at the clock."""
        return (monotonic() if now is None else now) >= self.ends_at

    def yield_to_others(self, choice: Choice | None) -> None:
        """Let the hub go round, where there is one and this greenlet can park on it; then a new turn begins.

        Notes
        -----
        Switches: where that is possible.
        """
        hub = hubs.current_hub(choice)
        if hub is not None and may_wait(hub):
            yield_to_hub(hub)
        self.begin()


def default_turn() -> float:
    """The turn of contexts that say nothing of it, in seconds.

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
    """A turn as programs give it, in the seconds of the clock. 0 has no end.

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
