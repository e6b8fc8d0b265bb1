"""Latency under a load that does not wait for answers: ``python benchmarks/latency.py [--load 0.7] [--json]``.

A service on each contender, in a process of its own, sends each message that it receives back, over tcp. First its
capacity is measured, with 100 messages under way all the time. Then a load generator, the same for all, sends at 70 %
of that rate, at random intervals (a Poisson process), without waiting for answers. The latency of a message begins at
the time at which it was to be sent, so what is sent late, because somebody was slow, counts from then on ("no
coordinated omission"). The generator is pyzmq in one thread; "late" is how late it sent: a part of the latency that
is not the service's.

Everybody is measured at 70 % of his own capacity. ``--rate N`` gives all the same N messages a second instead, which
says more about one's own program. Rounds of all contenders alternate; what is shown is of all rounds together, in
histograms of the package hdrhistogram; the capacity and the rate are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from harness.cells.contenders import CONTENDERS, matching
from harness.cells.peer import Peer
from harness.open_loop import Generator, intervals

PERCENTILES = (50, 99, 99.9)
NEEDS_A_SERVICE = tuple(one.name for one in CONTENDERS if one.style != "bare")
"""`noblock` and `backend` cannot wait for a message."""

DIGITS, SHORTEST, LONGEST = 3, 1_000, 120_000_000_000
"""Of a histogram: significant digits, and the range in nanoseconds."""
WARM_UP, COUNT, WINDOW = 1_000, 10_000, 100
LIMIT = 60.0
"""Seconds that answers may take, beside all that was planned."""


class Row:
    """What is known of one contender."""

    def __init__(self, name: str) -> None:
        from hdrh.histogram import HdrHistogram

        self.name = name
        self.capacities: list[float] = []
        self.rates: list[float] = []
        self.latency = HdrHistogram(SHORTEST, LONGEST, DIGITS)
        self.lateness = HdrHistogram(SHORTEST, LONGEST, DIGITS)

    def figures(self) -> dict[str, Any]:
        """Rates in messages a second, times in microseconds."""
        percentiles = {f"p{share:g}": self.latency.get_value_at_percentile(share) / 1e3 for share in PERCENTILES}
        return {
            "capacity": statistics.median(self.capacities),
            "rate": statistics.median(self.rates),
            "messages": self.latency.get_total_count(),
            **percentiles,
            "late p99": self.lateness.get_value_at_percentile(99) / 1e3,
        }


def measure(row: Row, options: argparse.Namespace, seed: int) -> None:
    """One round of one contender."""
    from harness.runner import COMMAND

    generator = Generator()
    addresses = {"requests": generator.requests, "answers": generator.answers}
    job = {"contender": row.name, "setup": "round_trips.serve_for_ever", "parameters": addresses}
    try:
        peer = Peer(COMMAND, job | {"peer": True, "directory": ""})
        try:
            peer.go()
            generator.capacity(WARM_UP, WINDOW, LIMIT)
            capacity = generator.capacity(options.count, WINDOW, LIMIT)
            rate = options.rate or options.load * capacity
            passed = generator.run(list(intervals(rate, options.seconds, seed)), LIMIT)
        finally:
            peer.close()
    finally:
        generator.close()
    row.capacities.append(capacity)
    row.rates.append(rate)
    for histogram, times in ((row.latency, passed.latencies), (row.lateness, passed.lateness)):
        for nanoseconds in times:
            histogram.record_value(min(max(nanoseconds, SHORTEST), LONGEST))


def measure_all(names: Sequence[str], options: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """A row for each, and why there is none for some."""
    failures = {
        one.name: f"{one.missing} is not installed: python -m pip install {one.missing}"
        for one in CONTENDERS
        if one.name in names and one.missing
    }
    rows = {name: Row(name) for name in names if name not in failures}
    for number in range(options.rounds):
        for name, row in list(rows.items()):
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            try:
                measure(row, options, seed=number)
            except (TimeoutError, RuntimeError, OSError) as error:
                failures[name] = f"{type(error).__name__}: {error}"
                del rows[name]
    return list(rows.values()), failures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and show. Returns the exit status: 1 if one has failed, 2 if nothing can be measured."""
    from harness.machine import machine, versions

    from greenzmq.cli import table

    options = _parser().parse_args(argv)
    names = [name for pattern in options.contender or ["*"] for name in matching(NEEDS_A_SERVICE, pattern)]
    try:
        import hdrh.histogram as _  # noqa: F401
    except ImportError:
        return _complain("hdrhistogram is not installed: python -m pip install hdrhistogram")
    if not names:
        return _complain("there is no contender of that name: see python benchmarks --list")
    host, using = machine(), versions()
    rows, failures = measure_all(list(dict.fromkeys(names)), options)
    figures = {row.name: row.figures() for row in rows}
    if options.json:
        print(json.dumps({"machine": host, "versions": using, "latency": figures, "failures": failures}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in (host | using).items()))
        latencies = [f"p{share:g} us" for share in PERCENTILES]
        heads = ["contender", "capacity, 1/s", "rate, 1/s", "messages", *latencies, "late p99 us"]
        table.show(heads, [[name, *(f"{value:,.0f}" for value in found.values())] for name, found in figures.items()])
    for name, why in failures.items():
        _complain(f"{name}: {why}")
    return 1 if failures else 0


def _complain(what: str) -> int:
    print(f"latency.py: {what}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--contender", action="append", metavar="NAME", help="only this one, may hold * and ?; several times")
    add("--load", type=float, default=0.7, metavar="SHARE", help="of each one's capacity; 0.7 by default")
    add("--rate", type=float, metavar="N", help="messages a second, for all, instead of --load")
    add("--seconds", type=float, default=5, help="how long to send in each round; 5 by default")
    add("--rounds", type=int, default=3, help="of each contender; 3 by default")
    add("--count", type=int, default=COUNT, help=f"messages that measure the capacity; {COUNT} by default")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
