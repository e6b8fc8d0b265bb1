"""The one place where the commands print."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from typing import Any, TextIO

__all__ = ["can_draw", "complain", "printable", "rich", "say", "width"]


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


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
