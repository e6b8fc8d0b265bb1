"""Disturb a greenlet at its k-th switch, for every k: a systematic walk through the schedules of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import getcurrent

import greenzmq

__all__ = ["MOMENTS", "Disturbance", "Stop"]

#: The moments of a switch: just before the hub gets control; in the hub, while the greenlet is parked; and just after
#: the greenlet has been resumed.
MOMENTS = ("before", "parked", "resumed")


class Stop(BaseException):
    """Thrown into a greenlet. No other code catches it."""


class Disturbance:
    """Counts the switches of one greenlet, and acts at one of them.

    Parameters
    ----------
    hub : GreenHub
        The hub on which the greenlet runs.
    at : int
        The number of the switch, counted from 0.
    moment : str
        One of `MOMENTS`.
    act : callable, optional
        The disturbance; None throws `Stop` into the greenlet.
    """

    def __init__(self, hub: greenzmq.GreenHub, at: int, moment: str, act: Callable[[], object] | None = None) -> None:
        self.hub = hub.hub
        self.at, self.moment, self.act = at, moment, act
        self.target: Any = None
        self.switches = 0
        self.happened = False

    def watch(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` with this greenlet as the target. Returns None if `Stop` has ended it."""
        self.target = getcurrent()
        try:
            return function(*args)
        except Stop:
            return None
        finally:
            self.target = None

    @contextmanager
    def __call__(self) -> Iterator[Disturbance]:
        """Replace the hub's `switch` by the one below, for the time of the block."""
        self.hub.switch = self._switch  # type: ignore[method-assign]
        try:
            yield self
        finally:
            del self.hub.switch  # type: ignore[method-assign]

    def _switch(self) -> object:
        switch = type(self.hub).switch
        if getcurrent() is not self.target:
            return switch(self.hub)
        here = self.switches == self.at
        self.switches += 1
        if not here:
            return switch(self.hub)
        self.happened = True
        if self.moment == "before":
            self._act()
            return switch(self.hub)
        if self.moment == "parked":
            self.hub.call_soon(self._in_hub)
            return switch(self.hub)
        result = switch(self.hub)
        self._act()
        return result

    def _act(self) -> None:
        if self.act is None:
            raise Stop
        self.act()

    def _in_hub(self) -> None:
        if self.act is not None:
            self.act()
        elif self.target is not None:
            self.target.throw(Stop)
