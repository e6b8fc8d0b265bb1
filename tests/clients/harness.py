"""What the programs of others are run with: processes that are always reaped, free ports, and waits with a limit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["RUN", "Case", "Failure", "Process", "free_port", "processes", "until", "write"]

#: The command that has a program patched.
RUN = ("-m", "greenzmq", "run")
#: Seconds for anything at all.
LIMIT = 60.0

Case = Callable[[Path], str]


class Failure(AssertionError):  # noqa: N818
    """What a program did wrong."""


class Process:
    """A Python process of a program, in a group of its own, which ends with it. Its output is kept in a file."""

    def __init__(self, folder: Path, name: str, *arguments: str, **environment: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def until_printed(self, text: str, seconds: float = LIMIT) -> None:
        """Wait until `text` is in its output."""
        until(lambda: text in self.output or self.ended() is not None, f"{self.name} prints {text!r}", seconds, self)
        if text not in self.output:
            raise Failure(f"{self.name} has ended with {self.ended()} before it printed {text!r}:\n{self.output}")

    def ended(self) -> int | None:
        """Its exit status, if it has ended."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = LIMIT) -> int:
        """Its exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end:\n{self.output[-3000:]}") from None

    def succeed(self, seconds: float = LIMIT) -> str:
        """Wait for its end, which has to be a good one; its output."""
        status = self.wait(seconds)
        if status:
            raise Failure(f"{self.name} has ended with {status}:\n{self.output[-4000:]}")
        return self.output

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Have it end by a signal."""
        self.send(number)
        return self.wait(seconds)

    def reap(self) -> None:
        """End it, and all that it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()


@contextmanager
def processes() -> Iterator[Callable[..., Process]]:
    """A function that starts processes, all of which are gone after the block; and the folder where they run."""
    started: list[Process] = []
    with tempfile.TemporaryDirectory(prefix="greenzmq-client-", ignore_cleanup_errors=True) as name:

        def start(label: str, *arguments: str, **environment: str) -> Process:
            started.append(Process(Path(name), label, *arguments, **environment))
            return started[-1]

        start.folder = Path(name)  # type: ignore[attr-defined]
        try:
            yield start
        finally:
            for process in reversed(started):
                process.reap()


def write(folder: Path, **programs: str) -> None:
    """Write programs as files: ``server="..."`` is ``server.py``."""
    for name, text in programs.items():
        (folder / f"{name}.py").write_text(text)


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], Any], what: str, seconds: float = LIMIT, *shown: Process) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(f"--- {process.name}:\n{process.output[-3000:]}" for process in shown)
            raise Failure(f"{what}: not within {seconds:g} s\n{logs}")
        time.sleep(0.02)
