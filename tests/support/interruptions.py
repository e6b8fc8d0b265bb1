"""Interrupt a greenlet at the k-th bytecode that it runs in greenzmq, for every k.

Signal handlers and finalizers run between two bytecodes of other code. CPython runs them between some bytecodes only,
and which ones differs from release to release. `Interruption` can act before any of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from greenlet import getcurrent
from support import torture
from support.random import seeded_random

import greenzmq
from greenzmq.hubs import Hub

__all__ = ["Interruption", "at_each_bytecode", "interrupted_callback"]

_PACKAGE = str(Path(greenzmq.__file__).parent)


class Interruption:
    """Calls a function, and `act` before one of the bytecodes that it runs in greenzmq.

    Parameters
    ----------
    at : int
        The number of that bytecode, counted from 0.
    act : callable
        Stands for a signal handler.

    Attributes
    ----------
    task : Task
        For `act`: the task in which the function is called, if the test has said so.
    """

    task: Any = None

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.at, self.act = at, act
        self.count = 0
        self.happened = False
        self._target: Any = None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` with the interruption, and return its result."""
        self._target = getcurrent()
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return function(*args)
        finally:
            self._target = None
            sys.settrace(before)

    def follow(self) -> None:
        """From here on interrupt this greenlet, to its end: also in the functions that it returns to."""
        self._target = getcurrent()
        frame: FrameType | None = sys._getframe(1)
        sys.settrace(self._enter)
        while frame is not None:
            frame.f_trace = self._enter(frame, "call", None)
            frame = frame.f_back

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if getcurrent() is not self._target or not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode" and getcurrent() is self._target:
            if self.count == self.at:
                self.happened = True
                self.act()
            self.count += 1
        return self._step


def at_each_bytecode(scene: Callable[[int], bool], stride: int) -> None:
    """Call ``scene(at)`` for one bytecode after the other, until it returns False: there is no such bytecode any more.

    A normal run tries one of each `stride` bytecodes, a long one (see torture.py) all of them.
    """
    stride = 1 if torture.FACTOR else stride
    at = seeded_random().randrange(stride)
    while scene(at):
        at += stride


def interrupted_callback(patch: pytest.MonkeyPatch, poller: greenzmq.Poller, hub: Hub) -> None:
    """Run the callback of the watch on a Poller's set; `KeyboardInterrupt` comes after it has told the listeners."""
    poll_set: Any = poller._greenzmq_state.poll_set
    tells = type(poll_set)._tell_of_signals

    def tell(self: Any) -> None:
        tells(self)
        raise KeyboardInterrupt

    with patch.context() as only_now:
        only_now.setattr(type(poll_set), "_tell_of_signals", tell)
        with pytest.raises(KeyboardInterrupt):
            poll_set.call_back(hub)
