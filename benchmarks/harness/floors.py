"""What greenzmq has to reach, on every hub or on every loop: ratios of medians of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .cells.contenders import AWAITABLE, OURS

if TYPE_CHECKING:
    from .figures import Ratio
    from .results import Results

__all__ = ["FLOORS", "Floor", "Verdict", "evaluate", "workloads"]


class Floor(NamedTuple):
    """A line of the table."""

    workload: str
    metric: str
    than: str
    """A contender, on the same loop if it has one; or, behind ``=``, another workload of the same contender."""
    at_least: float
    """So many times better. 0: nothing was demanded, the ratio is shown."""
    words: str
    is_share: bool = False
    """It is shown as a share of the other's cost, not as how many times better it is."""
    of: tuple[str, ...] = OURS
    """Who has to reach it."""

    def other(self, ours: str) -> str:
        """The contender with which one of ours is compared."""
        if self.than.startswith("="):
            return ours
        return self.than + ("+uvloop" if self.of is AWAITABLE and ours.endswith("+uvloop") else "")

    @property
    def other_workload(self) -> str:
        return self.than.removeprefix("=") if self.than.startswith("=") else self.workload


class Verdict(NamedTuple):
    """A floor and one of those who have to reach it. `ratio` is None where one of the two was not measured."""

    floor: Floor
    contender: str
    ratio: Ratio | None

    @property
    def is_met(self) -> bool:
        return self.ratio is not None and self.ratio.value >= self.floor.at_least


FLOORS = (
    Floor("one-way/tcp/100B", "rate", "zmq.green", 12, "12 × zmq.green"),
    Floor("one-way/tcp/100B", "rate", "eventlet.green.zmq", 6, "6 × eventlet.green.zmq"),
    Floor("one-way/tcp/100B", "rate", "threads", 1, "1.0 × pyzmq in two threads"),
    Floor("ready", "rate", "noblock", 0.65, "0.65 × zmq.Socket's NOBLOCK calls"),
    Floor("ready", "rate", "backend", 0, "the backend class's NOBLOCK calls"),
    Floor("multipart/tcp/3x100B", "rate", "zmq.green", 5, "5 × zmq.green"),
    Floor("multipart/tcp/3x100B", "rate", "eventlet.green.zmq", 5, "5 × eventlet.green.zmq"),
    Floor("multipart/tcp/3x100B", "rate", "threads", 1.5, "1.5 × pyzmq in two threads"),
    Floor("round-trip/inproc", "rate", "zmq.green", 3, "3 × zmq.green"),
    Floor("round-trip/tcp/2-processes", "rate", "zmq.green", 1.5, "1.5 × zmq.green"),
    Floor("round-trip/tcp/2-processes", "rate", "threads", 0.8, "0.8 × blocking pyzmq"),
    Floor("clients/200", "rate", "zmq.green", 3, "3 × zmq.green"),
    Floor("clients/200", "rate", "threads", 2, "2 × pyzmq in threads"),
    Floor("ring/500", "rate", "zmq.green", 2, "2 × zmq.green"),
    Floor("poller/500", "us", "zmq.green", 20, "20 × zmq.green"),
    Floor("poller/10000", "us", "=poller/100", 1 / 1.5, "at most 1.5 × its time with 100 sockets", True),
    Floor("proxy/tcp/2x100B", "rate", "zmq.green", 4, "4 × zmq.green (its device)"),
    Floor("waiters/1000", "KiB", "zmq.green", 2, "at most 0.5 × zmq.green's", True),
    Floor("waiters/1000", "KiB", "noblock", 0, "the sockets alone, nobody waiting", True),
    Floor("ready", "recv ns", "zmq.asyncio", 8, "recv: 8 × zmq.asyncio", of=AWAITABLE),
    Floor("round-trip/inproc", "rate", "zmq.asyncio", 2.5, "2.5 × zmq.asyncio", of=AWAITABLE),
    Floor("one-way/tcp/100B", "rate", "zmq.asyncio", 6, "6 × zmq.asyncio", of=AWAITABLE),
    Floor("stall/ready", "stall ms", "zmq.asyncio", 20, "a twentieth of zmq.asyncio's", of=AWAITABLE),
    Floor("waiters/1000", "KiB", "zmq.asyncio", 0, "zmq.asyncio", True, of=AWAITABLE),
)


def workloads() -> list[str]:
    """What has to be measured to tell."""
    return list(dict.fromkeys(name for floor in FLOORS for name in (floor.other_workload, floor.workload)))


def evaluate(results: Results, floors: Sequence[Floor] = FLOORS) -> Iterator[Verdict]:
    """Each floor on each of ours that was measured."""
    for floor in floors:
        for ours in floor.of:
            if ours in results.contenders:
                theirs = (floor.other_workload, floor.other(ours))
                yield Verdict(floor, ours, results.ratio(floor.metric, (floor.workload, ours), theirs))
