"""The process of one cell, or of its other side.

It reads one job, a line of JSON, from standard input: ``contender`` and ``setup``, the function ``module.name`` of this
package that makes the workload, with its ``parameters``; ``seconds`` and ``limit`` of `cells.measure.Repetitions`;
``directory``, for the sockets of ipc. It answers with one line of JSON, ``{"outcome": metrics}`` or
``{"error": message}``, and ends there and then, whatever still runs in it. A job with ``peer`` answers with the line
``ready``, and makes one repetition for each line ``go``.

Standard input stays open as long as the process that asked lives; when it ends, this one goes.
"""

from __future__ import annotations

import _thread
import importlib
import json
import os
import queue
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import job as jobs
from . import runtimes
from .contenders import contender
from .measure import Repetitions, measure, serve
from .peer import Peer

if TYPE_CHECKING:
    from .job import Job

__all__ = ["main"]

OPEN_FILES = 20_000
"""More than 10,000 sockets need."""


class Lines:
    """Standard input, read by a native thread, which ends the process when there is no more."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        _thread.start_new_thread(self._read, ())

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self.queue.put(line)
        os._exit(1)

    def next(self) -> bytes:
        return self.queue.get()


def main(command: Sequence[str]) -> None:
    """Do the job that standard input brings, and end the process.

    Parameters
    ----------
    command : sequence of str
        What starts such a process.
    """
    # What a library prints goes to standard error.
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    lines = Lines()
    status = 0
    try:
        job = json.loads(lines.next())
        jobs.directory = job["directory"]
        _allow_open_files()
        if job.get("peer"):
            _be_peer(job, lines, channel.write, channel.flush)
        else:
            channel.write(json.dumps({"outcome": _measure(job, command)}) + "\n")
    except BaseException as error:
        traceback.print_exc()
        channel.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        status = 1
    channel.flush()
    sys.stderr.flush()
    os._exit(status)


def _measure(job: dict[str, Any], command: Sequence[str]) -> dict[str, list[float]]:
    again = Repetitions(job["seconds"], job["limit"])
    one = contender(job["contender"])
    if job["setup"] == "scale.measure_hubs":
        from .scale import measure_hubs

        runtimes.make(one)  # imports belong into the main thread
        for counts in again:
            again.note(counts, measure_hubs(lambda: runtimes.make(one), **job["parameters"]))
        return again.metrics

    def start_peer(parameters: dict[str, Any]) -> Peer:
        return Peer(command, job | {"peer": True, "parameters": job["parameters"] | parameters})

    runtime = runtimes.make(one)
    return measure(runtime, lambda: _setup(job, runtime), start_peer, again)


def _be_peer(job: dict[str, Any], lines: Lines, write: Callable[[str], object], flush: Callable[[], object]) -> None:
    runtime = runtimes.make(contender(job["contender"]))

    def setup() -> Job:
        made = _setup(job, runtime)
        write("ready\n")
        flush()
        return made

    serve(runtime, setup, lambda: lines.next() == b"go\n")


def _setup(job: dict[str, Any], runtime: runtimes.Runtime) -> Job:
    module, _, function = job["setup"].rpartition(".")
    made: Job = getattr(importlib.import_module(f"{__package__}.{module}"), function)(runtime, **job["parameters"])
    return made


def _allow_open_files() -> None:
    """Raise this process's limit on open files, if it is too low, as far as it goes."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if resource.RLIM_INFINITY != soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
