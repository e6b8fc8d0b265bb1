"""``python -m greenzmq demo``: a service over real sockets, with real files, on every hub. Every answer is checked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import HubError
from ..hubs import install_line
from . import names, progress, table
from .arguments import seconds, whole_number
from .child import COMMAND, Child, ChildError
from .console import complain, printable, say
from .inputs import InputError, Inputs, collect, collect_standard_library

if TYPE_CHECKING:
    from ..hubs import KnownHub

__all__ = ["add_parser", "run"]

SHOWN = 5
"""How many failures, or unreadable files, are shown by name. The rest is counted."""

GRACE = 15.0
"""Seconds, added to ``--timeout``, for which a hub's process may send nothing: it also has to start, and to end."""

HEADINGS = ("hub", "requests", "MB/s", "req/s", "p50 ms", "p99 ms", "stall ms")

DESCRIPTION = """\
Send every .py file of this interpreter's standard library through a ROUTER-DEALER service over tcp, and check that
each answer (the file's SHA-256 and number of lines) is right. Once on each hub that is installed."""

EPILOG = """\
The clients, the service and the workers are greenlets of one thread, in a process of its own for each hub; on the hub
threading each is a native thread.
"stall": beside them runs a task that wakes every millisecond; this is the longest time by which it came late.
All clients are busy all the time, so a stall is about one round of the loop: fewer clients, shorter stalls.
Times and rates differ from run to run. The demo shows that greenzmq works; it is no benchmark.

A hub that fails is reported in one line. With PYTHONDEVMODE=1 in the environment, its traceback is shown as well.

exit status: 0 if all answers are right; 1 if one is missing or wrong, or a hub failed; 2 if there is nothing to send,
or the usage is wrong."""


def add_parser(commands: Any) -> None:
    """Add the sub-command to an `argparse` parser's sub-commands."""
    known = ", ".join(hub.name for hub in names.known()).replace("%", "%%")
    parser = commands.add_parser(
        "demo",
        help="run a service on every hub and check each answer",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--hub",
        action="append",
        metavar="NAME",
        help=f"only this hub: {known}, or another's 'package.module:Class'; may be given several times",
    )
    parser.add_argument("--clients", type=whole_number, default=200, metavar="N", help="client tasks (default: 200)")
    parser.add_argument("--workers", type=whole_number, default=8, metavar="N", help="worker tasks (default: 8)")
    parser.add_argument("--dir", metavar="PATH", help="send every regular file below PATH instead, whatever its name")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="give a hub up if no answer comes for so long (default: 30)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: Sequence[str] = COMMAND) -> int:
    """Run the demo.

    Parameters
    ----------
    options : argparse.Namespace
        The options that `add_parser` defines.
    command : sequence of str
        The program that runs in the child process of each hub.

    Returns
    -------
    int
        The exit status.
    """
    known = names.known()
    try:
        for name in options.hub or ():
            names.check(name)
        inputs = _inputs(options.dir)
    except (HubError, InputError) as error:
        complain(str(error))
        return 2
    _report_skipped(inputs)
    if not options.json:
        say(_headline(options, inputs))
    chosen = options.hub or [hub.name for hub in known if hub.installed]
    outcomes = {name: _run_hub(name, options, inputs, command) for name in dict.fromkeys(chosen)}
    show = _show_json if options.json else _show
    show(inputs, outcomes, [] if options.hub else [hub for hub in known if not hub.installed])
    return 0 if all(map(_is_right, outcomes.values())) else 1


def _inputs(root: str | None) -> Inputs:
    with progress.bar("reading files", None) as advance:
        return collect_standard_library(advance) if root is None else collect(root, report=advance)


def _headline(options: argparse.Namespace, inputs: Inputs) -> str:
    return (
        f"{inputs.files:,} files, {inputs.size / 1e6:,.1f} MB, from {printable(inputs.root)}\n"
        f"{options.clients} clients -> ROUTER/DEALER -> {options.workers} workers, over tcp"
    )


def _run_hub(name: str, options: argparse.Namespace, inputs: Inputs, command: Sequence[str]) -> dict[str, Any]:
    """Run the demo on one hub, and return the outcome. If there is none, the dict has only the key ``error``."""
    demo = {
        "root": inputs.root,
        "requests": inputs.requests,
        "clients": options.clients,
        "workers": options.workers,
        "patience": options.timeout,
    }
    try:
        with Child({"hub": name, "demo": demo}, command) as child, progress.bar(name, len(inputs.requests)) as advance:
            for message in child.messages(options.timeout + GRACE):
                if "answered" in message:
                    advance(message["answered"])
    except ChildError as error:
        complain(f"{name}: {error}")
        return {"error": str(error)}
    outcome: dict[str, Any] = message["outcome"]
    _report_failures(name, outcome, len(inputs.requests))
    return outcome


def _is_right(outcome: dict[str, Any]) -> bool:
    return not (outcome.get("error") or outcome["wrong"] or outcome["missing"])


def _report_skipped(inputs: Inputs) -> None:
    if inputs.skipped:
        complain(f"{len(inputs.skipped)} files or directories cannot be read, and are left out:")
        _name_some(inputs.skipped)


def _report_failures(hub: str, outcome: dict[str, Any], total: int) -> None:
    for kind in "wrong", "missing":
        failures = outcome[kind]
        if failures:
            complain(f"{hub}: {len(failures)} of {total} answers {kind}:")
            _name_some(failures)


def _name_some(named: Sequence[tuple[str, str]]) -> None:
    for name, why in named[:SHOWN]:
        complain(f"  {printable(name)}: {printable(why)}")
    if len(named) > SHOWN:
        complain(f"  and {len(named) - SHOWN} more")


def _show(inputs: Inputs, outcomes: dict[str, dict[str, Any]], missing: Sequence[KnownHub]) -> None:
    table.show(HEADINGS, [_row(name, outcome, inputs) for name, outcome in outcomes.items()])
    for line in _closing(inputs, outcomes, missing):
        say(line)


def _row(name: str, outcome: dict[str, Any], inputs: Inputs) -> list[str]:
    if "error" in outcome:
        return [name, "failed", *["-"] * (len(HEADINGS) - 2)]
    seconds = outcome["seconds"] or float("inf")
    share = outcome["answered"] / len(inputs.requests)
    numbers = (share * inputs.size / 1e6 / seconds, outcome["answered"] / seconds)
    times = (f"{outcome[key] * 1e3:.1f}" for key in ("p50", "p99", "stall"))
    label = f"{name} ({outcome['variant']})"
    return [label, f"{outcome['answered']:,}", f"{numbers[0]:,.1f}", f"{numbers[1]:,.0f}", *times]


def _closing(inputs: Inputs, outcomes: dict[str, dict[str, Any]], missing: Sequence[KnownHub]) -> Iterator[str]:
    for hub in missing:
        why = f": {hub.fault}" if hub.fault else f", which is not installed: {install_line(hub.package)}"
        yield f"Skipped {hub.name}{why}"
    if all(map(_is_right, outcomes.values())):
        where = f" on each of the {len(outcomes)} hubs" if len(outcomes) > 1 else ""
        yield f"All {len(inputs.requests):,} answers are right{where}."


def _show_json(inputs: Inputs, outcomes: dict[str, dict[str, Any]], missing: Sequence[KnownHub]) -> None:
    document = {
        "root": inputs.root,
        "files": inputs.files,
        "requests": len(inputs.requests),
        "bytes": inputs.size,
        "unreadable": inputs.skipped,
        "hubs": outcomes,
        "not_installed": [hub.name for hub in missing],
    }
    say(json.dumps(document, indent=2))
