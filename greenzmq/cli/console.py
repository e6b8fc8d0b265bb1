"""The one place where the commands print."""

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
    """Print a line that tells of an error to standard error."""
    _write(sys.stderr, f"greenzmq: {text}")


def printable(text: str) -> str:
    r"""`text`, such as the name of a file, with everything escaped that a terminal would not show as it is.

    Examples
    --------
    >>> printable("a\x1b[2J.py")
    'a\\x1b[2J.py'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def can_draw(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that takes escape codes. ``NO_COLOR`` in the environment forbids all of them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """How many columns a line of standard output has, by ``COLUMNS`` or the terminal; None if there is neither."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def rich(module: str) -> Any:
    """The module ``rich.<module>``, or None where the extra ``cli`` is not installed."""
    try:
        return importlib.import_module(f"rich.{module}")
    except ImportError:
        return None


def run_quietly(command: Callable[[T], int], options: T) -> int:
    """Run a command. Ctrl-C ends it without a traceback, and so does the end of what reads its output, such as `head`.

    Returns
    -------
    int
        The exit status: the command's own, 130 after Ctrl-C, 1 if nobody reads.
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
