"""``python benchmarks``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from greenzmq.cli import progress, table
from greenzmq.cli.arguments import seconds, whole_number
from greenzmq.cli.console import complain, run_quietly, say

from . import floors, plots, tables
from .cells.contenders import CONTENDERS, Contender, matching
from .cells.workloads import WORKLOADS, Workload
from .results import Results, ResultsError
from .runner import COMMAND, LIMIT, Plan
from .runner import run as measure

__all__ = ["main"]

ROUNDS = 5
"""Of what the floors need."""
SHARE = 3
"""Everything else has so many times fewer rounds, but at least one."""

DESCRIPTION = """\
Measure greenzmq on each hub beside pyzmq with threads, pyzmq's NOBLOCK calls, zmq.green, eventlet.green.zmq and
zmq.asyncio. Each cell of the table is the median of its rounds; a round is a process of its own, in which the
workload is repeated. The rounds of all contenders alternate."""

EPILOG = """\
Names may hold * and ?, as in --workload 'one-way/*' --contender 'greenzmq-*' --contender zmq.green.
Nothing else should run on the machine. Everything takes about ten minutes, --quick less than two.

exit status: 0; 1 if a cell failed; 2 if there is nothing to measure, or the usage is wrong."""


class UsageError(Exception):
    """There is nothing to measure, or nothing to show."""


def main(argv: Sequence[str] | None = None, command: Sequence[str] = COMMAND) -> int:
    """Measure and show.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if None.
    command : sequence of str
        The program of a cell.

    Returns
    -------
    int
        The exit status.
    """
    return run_quietly(lambda options: _run(options, command), _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of what the floors need, with a fifth of the messages")
    add("--workload", action="append", metavar="NAME", help="only this one; may be given several times")
    add("--contender", action="append", metavar="NAME", help="only this one; may be given several times")
    add(
        "--rounds",
        type=whole_number,
        metavar="N",
        help=f"rounds of what the floors need; of all else a third (default: {ROUNDS})",
    )
    add("--limit", type=seconds, default=LIMIT, metavar="SECONDS", help=f"for one cell's process (default: {LIMIT:g})")
    add("--floors", action="store_true", help="show what has to be reached, and whether it is")
    add("--json", metavar="FILE", help="write everything that was measured; - for standard output")
    add("--markdown", metavar="FILE", help="write tables, between the marks that the file has, or at its end")
    add("--plots", metavar="DIR", help="draw plots, as SVG files; needs matplotlib")
    add("--from", dest="source", metavar="FILE", help="measure nothing, show what --json has written")
    add("--list", action="store_true", help="list workloads and contenders")
    return parser


def _run(options: argparse.Namespace, command: Sequence[str]) -> int:
    if options.list:
        return _list()
    try:
        _check(options)
        results = Results.load(options.source) if options.source else _measure(options, command)
    except (UsageError, ResultsError, plots.MissingError, OSError) as error:
        complain(str(error))
        return 2
    _show(results, options)
    _write(results, options)
    return 1 if any(results.failures()) else 0


def _check(options: argparse.Namespace) -> None:
    """What would fail at the end fails before ten minutes are spent."""
    if options.plots is not None:
        plots.check()
    for path in (options.json, options.markdown):
        if path and not Path(path).resolve().parent.is_dir():
            raise UsageError(f"cannot write {path}: there is no such directory")


def _list() -> int:
    table.show(("contender", "what it is"), [(one.name, one.about) for one in CONTENDERS], left=2)
    rows = [(one.name, ", ".join(f"{key}={value}" for key, value in one.parameters.items())) for one in WORKLOADS]
    table.show(("workload", "parameters"), rows, left=2)
    return 0


def _measure(options: argparse.Namespace, command: Sequence[str]) -> Results:
    contenders, left_out = _contenders(options.contender)
    workloads = _workloads(options)
    plan = Plan(workloads, contenders, _rounds(options, workloads), options.quick, options.limit)
    total = sum(1 for _ in plan.cells())
    if not total:
        raise UsageError("there is nothing to measure: none of these contenders can do any of these workloads")
    for name, why in left_out.items():
        complain(f"{name} is left out: {why}")
    with progress.bar("starting", total) as advance:
        results = measure(plan, advance, complain, command)
    results.document["options"] = {"quick": options.quick, "rounds": dict(plan.rounds)}
    results.document["left_out"] = left_out
    return results


def _contenders(patterns: Sequence[str] | None) -> tuple[list[Contender], dict[str, str]]:
    """Those that are asked for and installed, and why the others that are asked for are left out."""
    wanted = _choose([one.name for one in CONTENDERS], patterns, "contender")
    chosen = [one for one in CONTENDERS if one.name in wanted]
    left_out = {
        one.name: f"{one.missing} is not installed: python -m pip install {one.missing}"
        for one in chosen
        if one.missing
    }
    if chosen and len(left_out) == len(chosen):
        raise UsageError("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    return [one for one in chosen if not one.missing], left_out


def _workloads(options: argparse.Namespace) -> list[Workload]:
    if options.quick and not options.workload:
        wanted = floors.workloads()
    else:
        wanted = _choose([one.name for one in WORKLOADS], options.workload, "workload")
    return [one for one in WORKLOADS if one.name in wanted]


def _choose(names: Sequence[str], patterns: Sequence[str] | None, kind: str) -> list[str]:
    chosen = list(names) if not patterns else []
    for pattern in patterns or ():
        found = matching(names, pattern)
        if not found:
            raise UsageError(f"there is no {kind} {pattern!r}; --list shows those there are")
        chosen += found
    return chosen


def _rounds(options: argparse.Namespace, workloads: Sequence[Workload]) -> dict[str, int]:
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    thorough = floors.workloads()
    return {one.name: rounds if one.name in thorough else max(1, rounds // SHARE) for one in workloads}


def _show(results: Results, options: argparse.Namespace) -> None:
    if options.json == "-":
        return
    say(tables.headline(results))
    table.show(tables.headings(results, short=True), list(tables.rows(results, spread=False)))
    if any(name.startswith("greenzmq-") for name in results.contenders):
        say("g/... is greenzmq on that hub")
    for line in tables.reasons(results, [workload["name"] for workload in results.workloads]):
        say(f"- {line}")
    if options.floors:
        table.show(tables.FLOOR_HEADINGS, list(tables.floor_rows(list(floors.evaluate(results)))), left=2)


def _write(results: Results, options: argparse.Namespace) -> None:
    if options.json == "-":
        say(results.text().rstrip())
    elif options.json:
        _save(options.json, results.text())
    if options.plots is not None:
        for path in plots.draw(results, Path(options.plots)):
            complain(f"wrote {path.resolve()}")
    if options.markdown:
        path = Path(options.markdown)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        section = tables.markdown(results, list(floors.evaluate(results)))
        _save(options.markdown, tables.replace_marked(before, section))


def _save(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")
    complain(f"wrote {Path(path).resolve()}")
