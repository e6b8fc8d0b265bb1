"""One seed, which is printed, for everything that a test chooses at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

import hypothesis
from support.torture import scale

__all__ = ["examples", "seeded", "seeded_random"]

Test = TypeVar("Test", bound=Callable[..., Any])


def seeded(test: Test) -> Test:
    """Have hypothesis use the seed ``$GREENZMQ_TEST_SEED``; or 0 if ``$CI`` is set; or any. A failure shows which."""
    return hypothesis.seed(_seed())(test)


def seeded_random() -> random.Random:
    """Return random numbers from the same seed, for use without hypothesis."""
    return random.Random(_seed())


def _seed() -> int:
    chosen = os.environ.get("GREENZMQ_TEST_SEED") or (0 if os.environ.get("CI") else random.randrange(2**32))
    print(f"GREENZMQ_TEST_SEED={chosen}")
    return int(chosen)


def examples(short: int, full: int, **more: Any) -> hypothesis.settings:
    """Return settings for `short` examples on each hub, or `full` in the long form of a test.

    A failing example is made smaller only if the seed was given, because that may take minutes: run it with
    ``-o faulthandler_timeout=0``.
    """
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if "GREENZMQ_TEST_SEED" in os.environ else [])]
    return hypothesis.settings(
        phases=phases,
        max_examples=scale(full, short),
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        **more,
    )
