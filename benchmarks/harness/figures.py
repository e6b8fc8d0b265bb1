"""Medians, spreads and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Figure", "Ratio", "compact", "compare", "summarize"]


class Figure(NamedTuple):
    """Several rounds in two numbers."""

    median: float
    spread: float
    """Half of the distance from the smallest to the largest, as a share of the median."""

    def __str__(self) -> str:
        return f"{compact(self.median)} ±{self.spread:.0%}" if self.spread else compact(self.median)


class Ratio(NamedTuple):
    """How many times better one is than the other: 2 is twice the rate, or half of the time."""

    value: float
    """Of the medians."""
    low: float
    """Of the rounds, the worst."""
    high: float
    """Of the rounds, the best."""


def summarize(rounds: Sequence[float]) -> Figure:
    """The figure of the values of some rounds.

    Examples
    --------
    >>> summarize([10.0, 8.0, 11.0])
    Figure(median=10.0, spread=0.15)
    """
    median = statistics.median(rounds)
    return Figure(median, (max(rounds) - min(rounds)) / 2 / abs(median) if median else 0.0)


def compare(ours: Sequence[float], theirs: Sequence[float], *, more_is_better: bool) -> Ratio:
    """How many times better `ours` are. Rounds that were measured one after the other are compared with one another.

    Examples
    --------
    >>> compare([30.0, 20.0, 40.0], [10.0, 10.0, 10.0], more_is_better=True)
    Ratio(value=3.0, low=2.0, high=4.0)
    """

    def better(one: float, other: float) -> float:
        above, below = (one, other) if more_is_better else (other, one)
        return above / below if below else float("inf")

    rounds = [better(one, other) for one, other in zip(ours, theirs, strict=False)]
    return Ratio(better(statistics.median(ours), statistics.median(theirs)), min(rounds), max(rounds))


def compact(value: float) -> str:
    """A number in three digits.

    Examples
    --------
    >>> [compact(value) for value in (0.0, 0.1234, 12.34, 999.6, 12_340.0, 1_234_000.0)]
    ['0', '0.123', '12.3', '1.00k', '12.3k', '1.23M']
    """
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit * 0.9995:
            return f"{_digits(value / unit)}{name}"
    return _digits(value)


def _digits(value: float) -> str:
    if not value:
        return "0"
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals + (abs(value) < 0.9995)}f}"
