"""How often a greenlet gives up control, counted by greenlet itself, whoever makes it switch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, gettrace, settrace

from ..process import unpatched

if TYPE_CHECKING:
    from greenlet import greenlet

__all__ = ["Switches", "assert_no_switch", "assert_switches"]


class Switches:
    """The switches away from one greenlet, in a block.

    Attributes
    ----------
    count : int
        How many there were, up to now.
    """

    def __init__(self, of: greenlet) -> None:
        self.of = of
        self.count = 0


class _Counters(unpatched.local):  # type: ignore[misc]  # loaded, so mypy does not know it for a class
    """Those of this thread: a thread has one trace function, and blocks of several greenlets overlap."""

    def __init__(self) -> None:
        self.active: list[Switches] = []
        self.before: Any = None


_here = _Counters()


def _trace(event: str, args: tuple[greenlet, greenlet]) -> None:
    for switches in _here.active:
        if switches.of is args[0]:
            switches.count += 1
    if _here.before is not None:
        _here.before(event, args)


@contextmanager
def assert_switches(n: int) -> Iterator[Switches]:
    """The block makes this greenlet give up control exactly `n` times: to the hub, or to any other greenlet.

    Parameters
    ----------
    n : int
        How often. A call that waits makes one switch, or more if it is woken in vain.

    Yields
    ------
    Switches
        The count so far.

    Raises
    ------
    AssertionError
        At the end of the block, if there were more or fewer. What the block raises comes out as it is.
    """
    switches = Switches(getcurrent())
    if not _here.active:
        _here.before = gettrace()
        settrace(_trace)
    _here.active.append(switches)
    try:
        yield switches
    finally:
        _here.active.remove(switches)
        if not _here.active:
            settrace(_here.before)
            _here.before = None
    if switches.count != n:
        raise AssertionError(f"this greenlet gave up control {switches.count} times, not {n} times")


@contextmanager
def assert_no_switch() -> Iterator[None]:
    """The block does not switch: no other greenlet of this thread runs meanwhile, nor does the hub.

    Raises
    ------
    AssertionError
        At the end of the block, if there was a switch. What the block raises comes out as it is.
    """
    with assert_switches(0):
        yield
