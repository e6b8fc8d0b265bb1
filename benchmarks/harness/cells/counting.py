"""The process that valgrind runs: each job in a fork of it, so that modules are imported once.

It reads one line of JSON from standard input: ``contender``, and ``jobs``, each ``[setup, parameters]``. It answers
with one line, ``{"outcome": {"pids": [...]}}``, the process of each job; valgrind writes how many instructions each
process has executed since this one began. The first process does nothing: what only the first fork costs is in it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from . import runtimes
from .contenders import Contender, contender
from .measure import Repetitions, measure

__all__ = ["main"]


def main() -> None:
    """Run the jobs that standard input brings."""
    wanted = json.loads(sys.stdin.readline())
    one = contender(wanted["contender"])
    for module in (one.module, *one.needs, one.loop or "asyncio", f"{__package__}.messages"):
        importlib.import_module(module)
    importlib.import_module(f"{__package__}.round_trips")
    _fork(one, None)
    try:
        answer: dict[str, Any] = {"outcome": {"pids": [_fork(one, job) for job in wanted["jobs"]]}}
    except RuntimeError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)


def _fork(one: Contender, job: tuple[str, dict[str, Any]] | None) -> int:
    pid = os.fork()
    if not pid:
        try:
            if job is not None:
                _run(one, *job)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"{job} ended with status {os.waitstatus_to_exitcode(status)}")
    return pid


def _run(one: Contender, setup: str, parameters: dict[str, Any]) -> None:
    runtime = runtimes.make(one)
    module, _, name = setup.rpartition(".")
    function = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    measure(runtime, lambda: function(runtime, **parameters), None, Repetitions(0, 1))  # type: ignore[arg-type]
