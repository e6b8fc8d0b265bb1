"""The program of the child process that the commands start for each hub: ``python -m greenzmq.cli.one_hub``.

It reads one job from standard input, a line of JSON: the name of the ``hub``, and what to do on it: the ``demo``, or a
``plain`` wait. If the job has neither, the program only makes the hub. It writes lines of JSON to standard output:
first any number of ``{"answered": n}``, then one ``{"outcome": ...}`` or ``{"error": ...}``.

An error is one line. With ``PYTHONDEVMODE=1`` in the environment, its traceback goes to standard error as well.

The parent keeps standard input open as long as it wants the answer. When standard input ends, so does this process.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import greenzmq

from .exchange import Exchange, answer
from .inputs import Request
from .names import run_on

if TYPE_CHECKING:
    from ..waiting.hub_api import GreenHub

__all__ = ["main"]

FDS_PER_SOCKET = 3
"""The socket's own descriptor, and the two ends of its connection."""


class LimitError(Exception):
    """The system's limits do not allow the job."""


def main(worker: Callable[[Any], object] = answer) -> int:
    """Do the job that is read from standard input.

    Parameters
    ----------
    worker : callable
        The function that each of the demo's workers calls with its socket.

    Returns
    -------
    int
        The process's exit status.
    """
    # The user has not chosen eventlet: the demo runs on every hub.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    job = json.loads(sys.stdin.buffer.readline())
    _thread.start_new_thread(_leave_with_parent, ())
    with _take_stdout() as channel:
        return _do(job, worker, channel)


def _do(job: dict[str, Any], worker: Callable[[Any], object], channel: TextIO) -> int:
    """Do the job, write the messages about it, and return the exit status."""

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    def work(hub: GreenHub) -> dict[str, Any]:
        outcome = _demo(hub, job["demo"], worker, tell) if "demo" in job else {}
        return {"variant": hub.hub.variant, **outcome}

    try:
        tell(outcome=_wait_plainly(job["hub"]) if "plain" in job else run_on(job["hub"], work))
    except Exception as error:
        if sys.flags.dev_mode:
            traceback.print_exc()
        tell(error=_words(error))
        return 1
    return 0


def _demo(
    hub: GreenHub, job: dict[str, Any], worker: Callable[[Any], object], tell: Callable[..., None]
) -> dict[str, Any]:
    _allow_open_files(FDS_PER_SOCKET * (job["clients"] + job["workers"]) + 50)
    job["requests"] = [Request(*request) for request in job["requests"]]
    outcome = Exchange(hub, worker=worker, **job).run(lambda answered: tell(answered=answered))
    return dict(outcome._asdict())


def _wait_plainly(hub: str | None) -> dict[str, Any]:
    """Wait in a call of a socket. Return the hub on which it has waited."""
    with greenzmq.Context(hub=hub) as context, context.socket(greenzmq.PULL) as socket:
        socket.poll(1)
        return {"hub": greenzmq.hub(hub).hub.name}


def _words(error: Exception) -> str:
    """Put an error into one line. The message of an error about hubs is enough; others are shown with their type."""
    said = " ".join(str(error).split())
    return said if isinstance(error, greenzmq.HubError | LimitError) else f"{type(error).__name__}: {said}"


def _leave_with_parent() -> None:
    """End this process when its standard input ends. Runs in a native thread, because the loop may hang."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _take_stdout() -> TextIO:
    """Return standard output for the messages alone. From now on, what anything else prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return channel


def _allow_open_files(wanted: int) -> None:
    """Raise this process's limit on open files to `wanted`, if it is lower.

    Raises
    ------
    LimitError
        The system does not allow so many.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        if limit < wanted:
            raise LimitError(
                f"so many tasks need {wanted} open files, but the limit is {limit}; use fewer --clients or --workers"
            )


if __name__ == "__main__":
    sys.exit(main())
