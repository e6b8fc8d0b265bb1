"""Count how often a greenlet switches away. The counts come from greenlet's trace function, so none is missed."""

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
    """The switches away from one greenlet, during one block.

    Attributes
    ----------
    of : greenlet
        The greenlet.
    count : int
        How many switches there have been so far.
    """

    def __init__(self, of: greenlet) -> None:
        self.of = of
        self.count = 0


class _Counters(unpatched.local):  # type: ignore[misc]  # loaded, so mypy does not know it for a class
    """The blocks of this thread that are being counted. They share the thread's only trace function.

    Attributes
    ----------
    active : list of Switches
        One for each block. Blocks of several greenlets may overlap.
    before : callable or None
        The trace function that was set before the first of them. It is called as well.
    """

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
    """Assert that this greenlet switches exactly `n` times during the block, to the hub or to any other greenlet.

    Parameters
    ----------
    n : int
        The number of switches. A call that waits switches once, or more often if it is woken in vain.

    Yields
    ------
    Switches
        Its `count` can be read during the block.

    Raises
    ------
    AssertionError
        At the end of the block there were more switches, or fewer. An exception of the block comes out as it is.
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
    """Assert that the block does not switch: neither the hub nor another greenlet of this thread runs meanwhile.

    Raises
    ------
    AssertionError
        At the end of the block there was a switch. An exception of the block comes out as it is.
    """
    with assert_switches(0):
        yield
