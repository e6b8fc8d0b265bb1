"""The length of the long tests.

A test with the mark ``torture`` has a short form, which every run of the tests contains, and a long one, which takes
minutes: ``nox -s torture``, or ``GREENZMQ_TORTURE=1 pytest -m torture -o faulthandler_timeout=3600``. The variable is a
factor: 0.1 is a tenth of the long form, 10 ten times as long.
"""

from __future__ import annotations

import os

__all__ = ["FACTOR", "scale"]

#: The value of ``$GREENZMQ_TORTURE``; 0 in a normal run.
FACTOR = float(os.environ.get("GREENZMQ_TORTURE") or 0)


def scale(full: int, short: int) -> int:
    """Return `short` in a normal run, and `full` times the factor in a long one, but never less than `short`."""
    return max(short, int(full * FACTOR))
