"""Start a child process for each hub, so that hubs do not disturb each other, and a crash ends only one of them."""

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

# If $GREENZMQ_DUMP_SIGNAL is wrong, the parent process has already warned; the child does not repeat it.
COMMAND = (sys.executable, "-W", "ignore:GREENZMQ_DUMP_SIGNAL:RuntimeWarning", "-m", "greenzmq.cli.one_hub")

LAST_WORDS = 10
"""Seconds that a child may take to end after it has closed its output."""


class ChildError(Exception):
    """The child has reported an error, has ended without an outcome, or sends nothing any more."""


class Child:
    """A child process that does one job. A context manager: at the end of the block the process is gone.

    The child has a session of its own. So Ctrl-C reaches only this process, which then ends the child. If this process
    is killed, the child finds the end of its standard input, and ends.

    Parameters
    ----------
    job : dict
        What the child has to do; see `greenzmq.cli.one_hub`.
    command : sequence of str
        The program and its arguments.
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
        """Kill the child, and the processes that it has started, except those in sessions of their own."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def _carry(self) -> None:
        """Write the job to the child, then read its lines. Runs in a thread, since the child may block both."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(json.dumps(self.job).encode("ascii") + b"\n")
            self.stdin.flush()
        for line in self.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def messages(self, silence: float) -> Iterator[dict[str, Any]]:
        """Yield the child's messages. The last one has the outcome.

        Parameters
        ----------
        silence : float
            Seconds that the child may take from one message to the next.

        Raises
        ------
        ChildError
            There will be no outcome; the message says why.
        """
        while True:
            try:
                line = self.lines.get(timeout=silence)
            except queue.Empty:
                raise ChildError(f"its process hangs: it has sent nothing for {silence:g} seconds") from None
            if not line.endswith(b"\n"):
                raise ChildError(f"its process {self._fate()} before it had answered")
            message = json.loads(line)
            if "error" in message:
                raise ChildError(message["error"])
            yield message
            if "outcome" in message:
                return

    def outcome(self, silence: float) -> dict[str, Any]:
        """Wait for the outcome, and return it. Raises as `messages` does."""
        *_, last = self.messages(silence)
        return dict(last["outcome"])

    def _fate(self) -> str:
        """Tell in words how the child has ended."""
        try:
            status = self.process.wait(timeout=LAST_WORDS)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if status >= 0:
            return f"ended with exit status {status}"
        return f"was ended by {signal.Signals(-status).name}"


@contextlib.contextmanager
def _interrupts_held() -> Iterator[list[Any]]:
    """Only note each Ctrl-C during the block.

    A `KeyboardInterrupt` in the middle of `subprocess.Popen` would leave a child that nobody knows of and ends.
    """
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
