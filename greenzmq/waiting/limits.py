"""Times as programs give them, checked once where they come in.

A wrong one would fail far from its cause, inside the hub: a string in the arithmetic of a timer, NaN in the heap of all
timers, which it puts out of order for everybody.
"""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

__all__ = ["as_limit", "as_seconds"]


def as_seconds(value: float, what: str) -> float:
    """`value`, if it is a number of seconds. Infinity is one, and so is a negative number.

    Parameters
    ----------
    value : float
        Whatever the program has given: an int or float comes back as it is, another number as a float.
    what : str
        What takes the time, as the message of an error names it, such as ``"hub.sleep()"``.

    Raises
    ------
    TypeError
        It is not a number.
    ValueError
        It is NaN.
    """
    if not isinstance(value, (int, float)):
        if not isinstance(value, (SupportsFloat, SupportsIndex)):
            cure = "; give its .total_seconds()" if hasattr(value, "total_seconds") else ""
            raise TypeError(f"{what} takes a number of seconds, not {value!r}{cure}")
        value = float(value)
    if value != value:
        raise ValueError(f"{what} takes a number of seconds, and {value!r} is none")
    return value


def as_limit(value: float | None, what: str) -> float | None:
    """`as_seconds`, where None stands for no limit."""
    return None if value is None else as_seconds(value, what)
