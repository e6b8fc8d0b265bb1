"""The turn of a socket (`greenzmq.waiting.turns`), and where its end has to be found out under NOBLOCK.

A greenlet never yields inside a message, under NOBLOCK, or with a timeout of 0. But under NOBLOCK a common loop would
keep all others from running: `poll`, then ``recv(NOBLOCK)`` until `zmq.Again`. It has no end as long as peers send as
fast as it receives. So such a *run* ends with an `Again` when it has lasted for a turn, and the next `poll` yields.
`greenzmq.sockets.outcomes.end_run` says where it does not.
"""

from __future__ import annotations

from time import monotonic

from ..waiting import turns
from ..waiting.turns import ENVIRONMENT, TURN, Turn, default_turn, turn_in_seconds
from . import accelerator

__all__ = ["ENVIRONMENT", "FAST_CALLS", "TURN", "SocketTurn", "Turn", "default_turn", "turn_in_seconds"]

#: Calls on the fast path between two readings of the clock. The compiled one makes more in the same time, and counts
#: large messages as several.
FAST_CALLS = turns.FAST_CALLS if accelerator.extension is None else 250


class SocketTurn(Turn):
    """The turns of a socket, and the runs of calls that receive from it under NOBLOCK.

    Attributes
    ----------
    run_calls : int
        How many calls under NOBLOCK have received since a poll found the socket readable; negative if none has, or if
        one has met `zmq.Again` since.
    run_ends_at : float
        When such a run is over; known from its first `FAST_CALLS` calls on.
    """

    __slots__ = ("run_calls", "run_ends_at")

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.run_calls = -1
        self.run_ends_at = self.ends_at

    def begin_run(self) -> None:
        """A poll has found the socket readable: count the calls that receive under NOBLOCK from here on."""
        self.run_calls = 0

    def end_run(self) -> None:
        """Count no more: one of these calls meets `zmq.Again`, or the poll was one that did not wait."""
        self.run_calls = -1

    def run_is_over_after(self, calls: int) -> bool:
        """Count so many more calls of a run, and return whether it has gone on for the length of a turn.

        The clock is read once for `FAST_CALLS` of them, and the run is timed from then on. So its first call never ends
        it: a program that polls before each call need not expect an `Again`. A call with a timeout of 0 counts for the
        calls before it, too, which have taken the fast path.
        """
        before, self.run_calls = self.run_calls, self.run_calls + calls
        if self.run_calls // FAST_CALLS == before // FAST_CALLS:
            return False
        now = monotonic()
        if before < FAST_CALLS:
            self.run_ends_at = now + self.seconds
            return False
        return now >= self.run_ends_at
