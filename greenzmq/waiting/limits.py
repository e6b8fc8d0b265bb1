"""Check the times that programs give, once, in the call that takes them.

Without this check a wrong time would fail inside the hub, far from its cause: a string in the arithmetic of a timer;
and NaN would put the heap of timers out of order, which delays everybody's timers.
"""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

__all__ = ["as_limit", "as_seconds"]


def as_seconds(value: float, what: str) -> float:
    """Return `value` if it is a number of seconds. Infinity and negative numbers are allowed.

    Parameters
    ----------
    value : float
        What the program has given. An int or float is returned as it is, another number as a float.
    what : str
        The call that takes the time, as the error's message names it, such as ``"hub.sleep()"``.

    Raises
    ------
    TypeError
        `value` is not a number.
    ValueError
        `value` is NaN.
    """
    if not isinstance(value, (int, float)):
        if not isinstance(value, (SupportsFloat, SupportsIndex)):
            cure = "; give its .total_seconds()" if hasattr(value, "total_seconds") else ""
            raise TypeError(f"{what} takes a number of seconds, not {value!r}{cure}")
        value = float(value)
    if value != value:
        raise ValueError(f"{what} takes a number of seconds, not NaN")
    return value


def as_limit(value: float | None, what: str) -> float | None:
    """`as_seconds`, or None, which means that there is no limit."""
    return None if value is None else as_seconds(value, what)
