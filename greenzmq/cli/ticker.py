"""A task that wakes every millisecond, and measures by how much it came late."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..waiting.hub_api import GreenHub

__all__ = ["Ticker", "percentile"]

INTERVAL = 0.001


class Ticker:
    """Sleeps for a millisecond, again and again, beside other tasks, and notes how long they kept it from running."""

    def __init__(self, hub: GreenHub) -> None:
        self.hub = hub
        self.stall = 0.0
        """The longest time, in seconds, by which a tick came late."""

    def run(self) -> None:
        """Tick until killed. Switches: always."""
        last = time.perf_counter()
        while True:
            self.hub.sleep(INTERVAL)
            now = time.perf_counter()
            self.stall = max(self.stall, now - last - INTERVAL)
            last = now


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` such that at least `share` of all values are not larger. 0 if there are none.

    Examples
    --------
    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else 0
