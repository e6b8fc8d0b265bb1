"""What greenzmq has to reach, on every hub or on every loop: ratios of medians of one run.

A floor has two numbers: one with the compiled fast path, one without. The results say which it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .cells.contenders import AWAITABLE, OURS
from .cells.workloads import METRICS
from .figures import Ratio, compare

if TYPE_CHECKING:
    from .results import Results

__all__ = ["FLOORS", "Floor", "Verdict", "evaluate", "workloads"]


class Floor(NamedTuple):
    """A line of the table."""

    workload: str
    metric: str
    than: str
    """A contender, on the same loop if it has one; behind ``=`` another workload of the same contender; or a number."""
    at_least: float
    """So many times better. 0: nothing was demanded, the ratio is shown."""
    words: str
    """In which ``{}`` stands for `at_least`."""
    pure: float | None = None
    """The same for greenzmq without its compiled fast path. None: it is no other."""
    is_share: bool = False
    """It is shown as a share of the other's cost, not as how many times better it is."""
    of: tuple[str, ...] = OURS
    """Who has to reach it."""

    def for_run(self, compiled: bool) -> Floor:
        """What holds for a run with the compiled fast path, or for one without it. The words have the number."""
        wanted = self.at_least if compiled or self.pure is None else self.pure
        words = self.words.format(f"{wanted:g}") if wanted else self.words.removeprefix("{} × ")
        return self._replace(at_least=wanted, words=words, pure=None)

    @property
    def limit(self) -> float | None:
        """The number that is not to be exceeded, if the other one is no contender."""
        return float(self.than) if self.than.isdigit() else None

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


GREEN, EVENTLET, THREADS, ASYNCIO = "zmq.green", "eventlet.green.zmq", "threads", "zmq.asyncio"
QUICK_TO_CALL = ("greenzmq-gevent", "greenzmq-selector")
"""Hubs whose loops take about 1 µs to call back for a descriptor."""
OTHERS = tuple(name for name in OURS if name not in QUICK_TO_CALL)

FLOORS = (
    Floor("one-way/tcp/100B", "rate", GREEN, 12, "{} × zmq.green", pure=7),
    Floor("one-way/tcp/100B", "rate", EVENTLET, 6, "{} × eventlet.green.zmq", pure=4),
    Floor("one-way/tcp/100B", "rate", THREADS, 1.5, "{} × pyzmq in two threads", pure=1),
    Floor("ready", "rate", "noblock", 1.7, "{} × zmq.Socket's NOBLOCK calls", pure=0.65),
    Floor("ready", "rate", "backend", 1.3, "{} × the backend class's NOBLOCK calls", pure=0),
    Floor("multipart/tcp/3x100B", "rate", GREEN, 12, "{} × zmq.green", pure=5),
    Floor("multipart/tcp/3x100B", "rate", EVENTLET, 5, "{} × eventlet.green.zmq"),
    Floor("multipart/tcp/3x100B", "rate", THREADS, 6, "{} × pyzmq in two threads", pure=1.5),
    Floor("round-trip/inproc", "rate", GREEN, 3, "{} × zmq.green", of=QUICK_TO_CALL),
    Floor("round-trip/inproc", "rate", GREEN, 2.3, "{} × zmq.green", of=OTHERS),
    Floor("round-trip/tcp/2-processes", "rate", GREEN, 1.7, "{} × zmq.green", pure=1.5),
    Floor("round-trip/tcp/2-processes", "rate", THREADS, 0, "blocking pyzmq"),
    Floor("clients/200", "rate", GREEN, 3, "{} × zmq.green"),
    Floor("clients/200", "rate", THREADS, 2, "{} × pyzmq in threads"),
    Floor("ring/500", "rate", GREEN, 2.5, "{} × zmq.green", pure=2),
    Floor("poller/500", "us", GREEN, 25, "{} × zmq.green", pure=20),
    Floor("poller/10000", "us", "=poller/100", 1 / 1.5, "at most 1.5 × its time with 100 sockets", is_share=True),
    Floor("descriptors/1000", "us", "noblock", 1 / 3, "at most 3 × pyzmq's time", is_share=True),
    Floor("proxy/tcp/2x100B", "rate", GREEN, 6, "{} × zmq.green (its device)", pure=4),
    Floor("proxy/tcp/2x100B", "rate", THREADS, 1, "{} × libzmq's own in C", pure=0),
    Floor("waiters/1000", "KiB", GREEN, 2, "at most 0.5 × zmq.green's", is_share=True),
    Floor("waiters/1000", "KiB", "noblock", 0, "the sockets alone, nobody waiting", is_share=True),
    Floor("ready", "recv ns", ASYNCIO, 8, "recv: {} × zmq.asyncio", of=AWAITABLE),
    Floor("round-trip/inproc", "rate", ASYNCIO, 2.5, "{} × zmq.asyncio", of=AWAITABLE),
    Floor("one-way/tcp/100B", "rate", ASYNCIO, 6, "{} × zmq.asyncio", of=AWAITABLE),
    Floor("stall/ready", "stall ms", "5", 1, "at most 5 ms, as a share of these", is_share=True, of=AWAITABLE),
    Floor("stall/ready", "stall ms", ASYNCIO, 20, "a twentieth of zmq.asyncio's", of=AWAITABLE),
    Floor("waiters/1000", "KiB", ASYNCIO, 0, "zmq.asyncio", is_share=True, of=AWAITABLE),
)


def workloads() -> list[str]:
    """What has to be measured to tell."""
    return list(dict.fromkeys(name for floor in FLOORS for name in (floor.other_workload, floor.workload)))


def evaluate(results: Results, floors: Sequence[Floor] = FLOORS) -> Iterator[Verdict]:
    """Each floor on each of ours that was measured, with the number for this run: with the fast path or without."""
    for floor in (one.for_run(results.compiled) for one in floors):
        for ours in floor.of:
            if ours in results.contenders:
                yield Verdict(floor, ours, _ratio(results, floor, ours))


def _ratio(results: Results, floor: Floor, ours: str) -> Ratio | None:
    if floor.limit is None:
        theirs = (floor.other_workload, floor.other(ours))
        return results.ratio(floor.metric, (floor.workload, ours), theirs)
    rounds = results.rounds(floor.workload, ours, floor.metric)
    better = METRICS[floor.metric].more_is_better
    return compare(rounds, [floor.limit] * len(rounds), more_is_better=better) if rounds else None
