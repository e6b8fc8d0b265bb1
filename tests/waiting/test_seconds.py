"""What may be given as a time, and what is told of everything else."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from greenzmq.waiting.limits import as_limit, as_seconds


@pytest.mark.parametrize("value", [0, 1, -1, 0.5, True, 10**30, math.inf, -math.inf])
def test_ints_and_floats_come_back_as_they_are(value: float) -> None:
    """So `Timeout(1)` shows the 1 that was given, and no number is too large."""
    assert as_seconds(value, "sleep()") is value


@pytest.mark.parametrize("value", [Decimal("0.5"), Fraction(1, 2)])
def test_other_numbers_become_floats(value: Any) -> None:
    """A Decimal cannot be added to what the clock says."""
    seconds = as_seconds(value, "sleep()")
    assert type(seconds) is float
    assert seconds == 0.5


@pytest.mark.parametrize("value", ["1", b"2", None, [1], 1j, object])
def test_what_is_no_number_is_a_type_error(value: Any) -> None:
    """It names what takes seconds, and what it was given."""
    with pytest.raises(TypeError) as caught:
        as_seconds(value, "hub.sleep()")
    assert str(caught.value) == f"hub.sleep() takes a number of seconds, not {value!r}"


def test_a_timedelta_is_told_its_seconds() -> None:
    """The one mistake with a cure of its own."""
    with pytest.raises(TypeError, match=r"give its \.total_seconds\(\)"):
        as_seconds(timedelta(seconds=1), "hub.sleep()")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN")])
def test_nan_is_a_value_error(value: Any) -> None:
    """NaN is neither later nor earlier than anything: among the timers it would put all others out of order."""
    with pytest.raises(ValueError, match=r"^hub\.sleep\(\) takes a number of seconds, not NaN$"):
        as_seconds(value, "hub.sleep()")


def test_none_is_no_limit() -> None:
    """Where a limit may be left out; the rest is as above."""
    assert as_limit(None, "timeout") is None
    assert as_limit(2, "timeout") == 2
    with pytest.raises(TypeError, match="timeout takes a number of seconds"):
        as_limit("2", "timeout")  # type: ignore[arg-type]
