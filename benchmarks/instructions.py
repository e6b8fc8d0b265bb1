"""How many instructions single operations take: ``python benchmarks/instructions.py [--contender NAME] [--json]``.

With ``--lines`` how many cache lines they read or write that are not in a second-level cache of 1 MiB.

valgrind (``cachegrind --cache-sim=no``) counts what a process executes outside of the kernel, all of its threads
together. That hardly depends on what else the machine does. Each operation is made N times in one process and 2 N times
in another; the difference, divided by N, is what one takes, without start, imports and set-up. Everything is inproc, so
that libzmq's I/O thread has no part in it.

With ``--lines`` it simulates caches (``--cache-sim=yes``), and what is counted are their "LLd misses". A switch of
greenlets among many sockets waits for these longer than for its instructions.

Under valgrind everything takes some 50 times as long, so greenzmq's turn, which is a time, is made 50 times as long,
too. System calls count as nothing here: the times of ``python benchmarks`` have these.

Printed are the instructions, or lines, and in parentheses their share of those of the peer: of zmq.green's, or, for
awaitable sockets, of those of zmq.asyncio on the same loop.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cells.contenders import AWAITABLE, CONTENDERS, contender, matching

OPERATIONS: dict[str, tuple[str, dict[str, Any], int]] = {
    "ready send + recv": ("messages.ready", {"size": 100}, 1000),
    "waiting round trip": ("round_trips.round_trip", {"transport": "inproc"}, 200),
    "one way, 100 B": ("messages.one_way", {"transport": "inproc", "size": 100, "hwm": 100}, 1000),
    "3 frames": ("messages.multipart", {"transport": "inproc", "frames": 3, "size": 100, "hwm": 100}, 600),
    "hop in a ring of 500": ("round_trips.ring", {"tasks": 500}, 2000),
}
"""What each does, and N. With the low high-water mark both sides have to wait, as in a stream that does not end."""
OF_TASKS = {"hop in a ring of 500"}
"""What only those do that have tasks: one thread cannot, and valgrind does not run so many."""
FLOOR = ("waiting round trip", "greenzmq-gevent", 0.25, 0.27)
"""The largest share of zmq.green's instructions: with the compiled fast path, and without."""
TURN = 100
"""Milliseconds."""
LIMIT = 300.0
"""Seconds for all operations of one contender, on a machine that has other things to do."""

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from cells.counting import main; sys.path.remove(sys.argv[1]); main()"
)
VALGRIND = ("valgrind", "--tool=cachegrind", "--cachegrind-out-file=/dev/null")
INSTRUCTIONS, LINES = "instructions", "lines"
"""What is counted. The second-level cache of the simulation is its last one."""
SIMULATION = {
    INSTRUCTIONS: ("--cache-sim=no",),
    LINES: ("--cache-sim=yes", "--D1=32768,8,64", "--LL=1048576,16,64"),
}
SAYS = {INSTRUCTIONS: r"I\s+refs:", LINES: r"LLd\s+misses:"}
"""What stands before the number in cachegrind's log."""

Counts = dict[str, dict[str, float]]
"""By contender and operation."""


def count(name: str, operations: Sequence[str], scale: float = 1, what: str = INSTRUCTIONS) -> dict[str, float]:
    """The instructions, or lines, of each operation on one contender, `scale` times as often as usual."""
    from greenzmq.cli.child import Child

    has_tasks = contender(name).runtime not in ("Bare", "Threads")
    operations = [one for one in operations if has_tasks or one not in OF_TASKS]
    jobs: list[tuple[str, dict[str, Any]]] = []
    for operation in operations:
        setup, parameters, number = OPERATIONS[operation]
        jobs += [(setup, parameters | {"count": times * _number(number, scale)}) for times in (1, 2)]
    with tempfile.TemporaryDirectory(prefix="greenzmq-") as directory:
        valgrind = [*VALGRIND, *SIMULATION[what], f"--log-file={directory}/%p"]
        command = [*valgrind, sys.executable, "-W", "ignore", "-c", BOOT, str(Path(__file__).parent / "harness")]
        with Child({"contender": name, "jobs": jobs}, command) as child:
            pids = child.outcome(LIMIT)["pids"]
        totals = [number_in(Path(directory, str(pid)).read_text(encoding="utf-8"), what) for pid in pids]
    return {
        operation: (totals[2 * at + 1] - totals[2 * at]) / _number(OPERATIONS[operation][2], scale)
        for at, operation in enumerate(operations)
    }


def _number(number: int, scale: float) -> int:
    return max(1, int(number * scale))


def number_in(log: str, what: str) -> int:
    """What cachegrind says at the end of its log."""
    found = re.search(SAYS[what] + r"\s+([\d,]+)", log)
    if found is None:
        raise ValueError(f"valgrind does not say how many {what} there were: {log!r}")
    return int(found[1].replace(",", ""))


def peer(name: str) -> str:
    """With whom a contender is compared."""
    if name in AWAITABLE:
        return "zmq.asyncio" + "+uvloop" * name.endswith("+uvloop")
    return "zmq.green"


def cell(counts: Counts, name: str, operation: str) -> str:
    value, other = counts[name].get(operation), counts.get(peer(name), {}).get(operation)
    if value is None:
        return "-"
    share = f" ({value / other:.2f})" if other and other >= 1 and peer(name) != name else ""
    return f"{value:,.0f}{share}"


def verdict(counts: Mapping[str, Mapping[str, float]], compiled: bool) -> str:
    """Whether the floor is met; nothing if what it takes was not measured."""
    operation, name, with_it, without = FLOOR
    ours, theirs = (counts.get(one, {}).get(operation) for one in (name, peer(name)))
    if ours is None or theirs is None:
        return ""
    wanted = with_it if compiled else without
    met = "met" if ours / theirs <= wanted else "missed"
    return f"{operation} on {name}: at most {wanted:g} of {peer(name)}'s, {ours / theirs:.3f} is {met}"


def measure(names: Sequence[str], operations: Sequence[str], scale: float, what: str) -> tuple[Counts, dict[str, str]]:
    """What each takes, and why there is nothing for some. What is being done goes to standard error."""
    from greenzmq.cli.child import ChildError

    counts: Counts = {}
    failures: dict[str, str] = {}
    for one in CONTENDERS:
        if one.name not in names:
            continue
        if one.missing:
            failures[one.name] = f"{one.missing} is not installed: python -m pip install {one.missing}"
            continue
        print(one.name, file=sys.stderr, flush=True)
        try:
            counts[one.name] = count(one.name, operations, scale, what)
        except (ChildError, ValueError) as error:
            failures[one.name] = str(error)
    return counts, failures


def main(argv: Sequence[str] | None = None) -> int:
    """Count, and show. Returns the exit status: 1 if one has failed, 2 if nothing can be counted."""
    from harness.machine import COMPILED, FAST_PATH, versions

    from greenzmq.cli import table

    options = _parser().parse_args(argv)
    known = [one.name for one in CONTENDERS]
    names = [name for pattern in options.contender or ["*"] for name in matching(known, pattern)]
    if not names or shutil.which(VALGRIND[0]) is None:
        what = "no contender of that name: see python benchmarks --list" if not names else "valgrind is not installed"
        print(f"instructions.py: {what}", file=sys.stderr)
        return 2
    # Hashes of strings, which differ from process to process otherwise, decide how long searches in a dict take.
    os.environ |= {"PYTHONHASHSEED": "0", "GREENZMQ_TURN": str(TURN)}
    operations = options.operation or list(OPERATIONS)
    what = LINES if options.lines else INSTRUCTIONS
    counts, failures = measure(names, operations, options.scale, what)
    using = versions()
    if options.json:
        print(json.dumps({"versions": using, what: counts, "failures": failures}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in using.items()))
        rows = [[name, *(cell(counts, name, operation) for operation in operations)] for name in counts]
        table.show(["contender", *operations], rows)
        if what == INSTRUCTIONS and (said := verdict(counts, using[FAST_PATH] == COMPILED)):
            print(said)
    for name, why in failures.items():
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--contender", action="append", metavar="NAME", help="only this one, may hold * and ?; several times")
    add("--operation", action="append", choices=OPERATIONS, help="only this one; several times")
    add("--scale", type=float, default=1, metavar="X", help="so many times more of each operation; 1 by default")
    add("--lines", action="store_true", help="count the cache lines from beyond 1 MiB, in place of the instructions")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
