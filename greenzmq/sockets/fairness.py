"""The turn: how long a greenlet may go on with one socket before the hub goes round.

A call that need not wait does not switch, so a greenlet in a hot loop would keep all others from running. It pauses
when its turn is over: before an operation, never after one, where a kill would lose the message; never inside a
message, and never under NOBLOCK or with a timeout of 0. Who loops over many sockets has a turn on each.
"""

from __future__ import annotations

import math
import os
from time import monotonic

from .fd_watch import Watched

__all__ = ["ENVIRONMENT", "FAST_CALLS", "TURN", "TakesTurns", "default_turn", "turn_in_seconds"]

#: The environment variable with the process's turn, in milliseconds.
ENVIRONMENT = "GREENZMQ_TURN"
#: Milliseconds. A pause costs some microseconds, so what this takes from a hot loop's throughput cannot be measured.
TURN = 2.0
#: Operations on the fast path before the clock is looked at. Larger gains nothing that can be measured.
FAST_CALLS = 100


class TakesTurns(Watched):
    """A socket's turn.

    Attributes
    ----------
    turn : float
        How long it lasts, in seconds.
    turn_end : float
        When the one that runs is over.
    budget : int
        How many operations on the slow path may still come before the clock is looked at.
    """

    __slots__ = ("budget", "turn", "turn_end")

    def __init__(self, turn: float) -> None:
        super().__init__()
        self.turn = turn
        self.begin_turn()

    def begin_turn(self) -> None:
        """The hub has gone round."""
        self.turn_end = monotonic() + self.turn
        self.budget = FAST_CALLS

    def turn_is_over(self, exhausted: bool) -> bool:
        """Whether it is time to let the hub go round, before one more operation on the slow path.

        `exhausted` says that a direction has used its credit up, which stands for as many operations.
        """
        self.budget = 0 if exhausted else self.budget - 1
        if self.budget > 0:
            return False
        self.budget = FAST_CALLS
        return monotonic() >= self.turn_end


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
