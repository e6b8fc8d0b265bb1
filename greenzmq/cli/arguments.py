"""What options take, as `argparse` types: an error says what is wrong, and not which function has found it."""

from __future__ import annotations

import argparse
import contextlib

__all__ = ["LONGEST", "seconds", "whole_number"]

LONGEST = 86400.0
"""Seconds that a time limit takes at most: a day, which every clock can count."""


def whole_number(text: str) -> int:
    """Read a number of things: 1 or more."""
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def seconds(text: str) -> float:
    """Read a time limit."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= LONGEST:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to {LONGEST:g}")
