"""The cost of single operations, measured by pyperf: ``python benchmarks/operations.py -o operations.json``.

All of pyperf's options are there, and ``python -m pyperf compare_to`` compares two such files. ``--contender`` and
``--operation``, each of which may be given several times, choose; ``python benchmarks --list`` shows the names
of the contenders. Each contender is measured in processes of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pyperf

# As in the processes of the harness: those of the peers hold nothing of greenzmq.
sys.path.insert(0, str(Path(__file__).with_name("harness")))
from cells import measure, runtimes
from cells.contenders import CONTENDERS, contender
from cells.messages import ready
from cells.polling import poll_ready
from cells.round_trips import round_trip

OPERATIONS = {
    "send": (ready, {"size": 100}, "send ns", 1e-9),
    "recv": (ready, {"size": 100}, "recv ns", 1e-9),
    "round-trip": (round_trip, {"transport": "inproc"}, "p50 us", 1e-6),
    "poll": (poll_ready, {"sockets": 100}, "us", 1e-6),
}
"""What each does, and which metric it is, in what unit of seconds."""


def spend(loops: int, name: str, operation: str) -> float:
    """The seconds that so many operations take."""
    setup, parameters, metric, unit = OPERATIONS[operation]
    runtime = runtimes.make(contender(name))
    again = measure.Repetitions(0, 1)
    said = measure.measure(runtime, lambda: setup(runtime, count=loops, **parameters), None, again)
    return said[metric][0] * unit * loops


def pass_on(command: list[str], options: argparse.Namespace) -> None:
    """To the processes that pyperf starts."""
    for option in ("contender", "operation"):
        for value in getattr(options, option) or ():
            command += [f"--{option}", value]


def main() -> None:
    runner: Any = pyperf.Runner(processes=5, add_cmdline_args=pass_on)
    names = [one.name for one in CONTENDERS if not one.missing]
    runner.argparser.add_argument("--contender", action="append", choices=names)
    runner.argparser.add_argument("--operation", action="append", choices=OPERATIONS)
    options = runner.parse_args()
    for operation in options.operation or OPERATIONS:
        for name in options.contender or names:
            runner.bench_time_func(f"{operation} {name}", spend, name, operation)


if __name__ == "__main__":
    main()
