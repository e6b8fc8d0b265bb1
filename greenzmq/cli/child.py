"""A process of its own for each hub: none sees what another leaves behind, and one that crashes is only one."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["COMMAND", "Child", "ChildError"]

# What is wrong with $GREENZMQ_DUMP_SIGNAL has been said by the process that starts this one.
COMMAND = (sys.executable, "-W", "ignore:GREENZMQ_DUMP_SIGNAL:RuntimeWarning", "-m", "greenzmq.cli.one_hub")

LAST_WORDS = 10
"""Seconds that a process may take to end once it has closed its output."""


class ChildError(Exception):
    """The process has reported an error, ended without an outcome, or fallen silent."""


class Child:
    """A process that does one job. A context manager: when the block is left, the process is gone.

    It is in a session of its own, so that Ctrl-C reaches only this process, which then ends the child; should this one
    be killed, the child sees its standard input end.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    job : dict
        What it is to do; see `greenzmq.cli.one_hub`.
    """

    def __init__(self, job: dict[str, Any], command: Sequence[str] = COMMAND) -> None:
        self.job = job
        self.command = command
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        with _interrupts_held() as interrupts:
            self._start()
        if interrupts:
            self.__exit__(None, None, None)
            signal.raise_signal(signal.SIGINT)
        return self

    def _start(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, start_new_session=True)
        self.stdin = cast("IO[bytes]", self.process.stdin)
        self.stdout = cast("IO[bytes]", self.process.stdout)
        self.courier = threading.Thread(target=self._carry, daemon=True)
        self.courier.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._kill()
        self.process.wait()
        self.courier.join()
        for pipe in self.stdin, self.stdout:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _kill(self) -> None:
        """It and all that it has started and has not put into a session of its own."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def _carry(self) -> None:
        """In a thread, so that nobody but it can be held up by the child: bring the job, fetch the answers."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(json.dumps(self.job).encode("ascii") + b"\n")
            self.stdin.flush()
        for line in self.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def messages(self, silence: float) -> Iterator[dict[str, Any]]:
        """What the child tells, the outcome last.

        Parameters
        ----------
        silence : float
            How many seconds it may take from one message to the next.

        Raises
        ------
        ChildError
            There will be no outcome.
        """
        while True:
            try:
                line = self.lines.get(timeout=silence)
            except queue.Empty:
                raise ChildError(f"its process has hung: no sign of life for {silence:g} seconds") from None
            if not line.endswith(b"\n"):
                raise ChildError(f"its process {self._fate()} before it had answered")
            message = json.loads(line)
            if "error" in message:
                raise ChildError(message["error"])
            yield message
            if "outcome" in message:
                return

    def outcome(self, silence: float) -> dict[str, Any]:
        """The outcome, for jobs that tell nothing before it. Raises as `messages` does."""
        *_, last = self.messages(silence)
        return dict(last["outcome"])

    def _fate(self) -> str:
        try:
            status = self.process.wait(timeout=LAST_WORDS)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if status >= 0:
            return f"ended with exit status {status}"
        return f"was ended by {signal.Signals(-status).name}"


@contextlib.contextmanager
def _interrupts_held() -> Iterator[list[Any]]:
    """Note each Ctrl-C of the block, and do no more: a process that is just being started would stay, unknown."""
    interrupts: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    signal.signal(signal.SIGINT, lambda *said: interrupts.append(said))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
