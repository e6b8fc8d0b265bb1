"""Something happens at the k-th bytecode of greenzmq that one greenlet runs, for every k.

Signal handlers and finalizers run between two bytecodes of whatever runs then. `Interruption` does so at each of them
in turn. CPython comes to handlers at some of them only, which differ from release to release: these are all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from greenlet import getcurrent
from support import torture
from support.random import seeded_random

import greenzmq

__all__ = ["Interruption", "at_each_bytecode"]

_PACKAGE = str(Path(greenzmq.__file__).parent)


class Interruption:
    """Calls a function, and `act` at one of the bytecodes of greenzmq in it.

    Parameters
    ----------
    at : int
        The number of the bytecode, from 0 on.
    act : callable
        What a signal handler would do.
    """

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.at, self.act = at, act
        self.count = 0
        self.happened = False
        self._target: Any = None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)``, interrupted."""
        self._target = getcurrent()
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return function(*args)
        finally:
            self._target = None
            sys.settrace(before)

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
    """Run `scene` for one bytecode after the other, as long as it says that it got as far as that.

    A normal run takes one of `stride` in a row, a long one (see torture.py) all of them.
    """
    stride = 1 if torture.FACTOR else stride
    at = seeded_random().randrange(stride)
    while scene(at):
        at += stride
