"""The other side of a workload, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from typing import IO, Any, cast

__all__ = ["Peer"]


class Peer:
    """A process that makes one repetition whenever it is told to, and ends when this one does.

    Parameters
    ----------
    command : sequence of str
        What this process was started with, too.
    job : dict
        What it is to do; see `cells.one`.
    """

    def __init__(self, command: Sequence[str], job: dict[str, Any]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.stdin = cast("IO[bytes]", self.process.stdin)
        self._tell(json.dumps(job))
        if cast("IO[bytes]", self.process.stdout).readline() != b"ready\n":
            raise RuntimeError("the process of the other side has failed")

    def go(self) -> None:
        """Make it run once more."""
        self._tell("go")

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        self.process.kill()
        self.process.wait()
        for pipe in self.stdin, self.process.stdout:
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _tell(self, line: str) -> None:
        self.stdin.write(line.encode("ascii") + b"\n")
        self.stdin.flush()
