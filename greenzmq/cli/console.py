"""The only place where the commands print."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

__all__ = ["can_draw", "complain", "printable", "rich", "run_quietly", "say", "width"]

T = TypeVar("T")


def say(text: str = "") -> None:
    """Print a line to standard output."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print an error, as one line, to standard error."""
    _write(sys.stderr, f"greenzmq: {text}")


def printable(text: str) -> str:
    r"""Escape all characters of `text` that are not printable. The name of a file, for example, may contain any.

    Examples
    --------
    >>> printable("a\x1b[2J.py")
    'a\\x1b[2J.py'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def can_draw(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that takes escape codes, and ``NO_COLOR`` is not set in the environment."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Return the number of columns of standard output, from ``COLUMNS`` or the terminal. None if there is neither."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def rich(module: str) -> Any:
    """Return the module ``rich.<module>``, or None if the extra ``cli`` is not installed."""
    try:
        return importlib.import_module(f"rich.{module}")
    except ImportError:
        return None


def run_quietly(command: Callable[[T], int], options: T) -> int:
    """Run a command. If Ctrl-C ends it, or the reader of its output has gone (as `head` does), print no traceback.

    Returns
    -------
    int
        The exit status: the command's own; 130 after Ctrl-C; 1 if the reader of the output has gone.
    """
    try:
        return command(options)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
