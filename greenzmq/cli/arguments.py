"""Types for the values of options in `argparse`. Their errors tell the user what is wrong with the value."""

from __future__ import annotations

import argparse
import contextlib

__all__ = ["LONGEST", "seconds", "whole_number"]

LONGEST = 86400.0
"""Seconds: a day. The longest time limit that is accepted; no system's timers overflow at this length."""


def whole_number(text: str) -> int:
    """Read a whole number of at least 1."""
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def seconds(text: str) -> float:
    """Read a time limit in seconds."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= LONGEST:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to {LONGEST:g}")
