"""Each cell, a workload on a contender, in a process of its own, one at a time, round after round."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from greenzmq.cli.child import Child, ChildError

from .machine import machine, versions
from .results import FORMAT, Results

if TYPE_CHECKING:
    from .cells.contenders import Contender
    from .cells.workloads import Workload

__all__ = ["COMMAND", "LIMIT", "Plan", "run"]

# Not ``-m``, which would import greenzmq: a process of a peer holds nothing of ours.
BOOT = """\
import sys
sys.path.insert(0, sys.argv[1])
from cells.one import main
sys.path.remove(sys.argv[1])
main([sys.executable, "-W", "ignore", "-c", sys.argv[2], *sys.argv[1:]])
"""
COMMAND = (sys.executable, "-W", "ignore", "-c", BOOT, str(Path(__file__).resolve().parent), BOOT)

LIMIT = 60.0
"""Seconds after which the process of a cell is ended."""

QUICK = 5
"""So many times less of everything under ``--quick``."""

Report = Callable[[int, str], object]
"""How many cells are done, and what is next."""


class Plan(NamedTuple):
    """What is measured, and how thoroughly."""

    workloads: Sequence[Workload]
    contenders: Sequence[Contender]
    rounds: Mapping[str, int]
    """By workload."""
    quick: bool = False
    limit: float = LIMIT

    def cells(self) -> Iterator[tuple[Workload, Contender]]:
        """In the order in which they run. Within a round the contenders of a workload follow one another."""
        for number in range(max(self.rounds.values(), default=0)):
            for workload in self.workloads:
                if number < self.rounds[workload.name]:
                    for contender in self.contenders:
                        if not workload.why_not(contender.name):
                            yield workload, contender


def run(plan: Plan, report: Report, complain: Callable[[str], object], command: Sequence[str] = COMMAND) -> Results:
    """Measure. Ends all it has started, whatever happens.

    Parameters
    ----------
    plan : Plan
        What.
    report : callable
        Called before each cell.
    complain : callable
        Called with a line about each cell that fails. Its later rounds are left out.
    command : sequence of str
        The program of a cell.

    Returns
    -------
    Results
        The document's ``options`` and ``left_out`` are empty.
    """
    began, start, host = datetime.now(timezone.utc), time.monotonic(), machine()
    table = {workload.name: _row(workload, plan.contenders) for workload in plan.workloads}
    with tempfile.TemporaryDirectory(prefix="greenzmq-") as directory:
        for done, (workload, contender) in enumerate(plan.cells()):
            cell = table[workload.name][contender.name]
            if "error" in cell:
                continue
            report(done, f"{workload.name} {contender.name}")
            try:
                said = _measure(workload, contender, plan, directory, command)
            except ChildError as error:
                complain(f"{workload.name} on {contender.name}: {error}")
                table[workload.name][contender.name] = {"error": str(error)}
                continue
            cell["rounds"].append(said)
    return Results(
        {
            "format": FORMAT,
            "began": began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - start, 1),
            "options": {},
            "machine": host,
            "versions": versions(),
            "left_out": {},
            "workloads": [_describe(workload) for workload in plan.workloads],
            "cells": table,
        }
    )


def _row(workload: Workload, contenders: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    reasons = {contender.name: workload.why_not(contender.name) for contender in contenders}
    return {name: {"without": why} if why else {"rounds": []} for name, why in reasons.items()}


def _measure(
    workload: Workload, contender: Contender, plan: Plan, directory: str, command: Sequence[str]
) -> dict[str, list[float]]:
    job = {
        "contender": contender.name,
        "setup": workload.setup,
        "parameters": _parameters(workload, plan.quick),
        "seconds": workload.seconds / (QUICK if plan.quick else 1),
        "limit": workload.limit,
        "directory": directory,
    }
    with Child(job, command) as child:
        return child.outcome(plan.limit)


def _parameters(workload: Workload, quick: bool) -> dict[str, Any]:
    parameters = dict(workload.parameters)
    if quick and "count" in parameters:
        parameters["count"] = max(10, parameters["count"] // QUICK)
    return parameters


def _describe(workload: Workload) -> dict[str, Any]:
    parameters = dict(workload.parameters)
    keys = ("name", "group", "metrics", "x")
    return {**{key: getattr(workload, key) for key in keys}, "parameters": parameters}
