"""A time limit for a block, the same on every hub."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from ..errors import TimeLimitExpired, Timeout
from .waiter import interrupt

if TYPE_CHECKING:
    from ..hubs.base import Hub, Timer

__all__ = ["TimeLimit"]

#: The attribute of a greenlet that holds the time limit of the innermost block that it has entered.
_LIMIT = "_greenzmq_time_limit"


class TimeLimit:
    """``with hub.timeout(seconds):`` raises `Timeout` at the end of the block, if the block takes longer.

    When the time is over, `TimeLimitExpired` is raised in the greenlet where it waits. If that exception leaves the
    block, `Timeout` is raised in its place. If the block catches it, or raises something else, that stands.

    Limits may be nested. If an outer limit has expired, and an inner one then expires in the cleanup that follows, the
    outer one's exception is what goes on.

    Parameters
    ----------
    hub : Hub
        The hub on which this greenlet waits.
    seconds : float or None
        The limit; None sets none.
    exception : exception, exception class, False or None
        What to raise instead of `Timeout`; False leaves the block silently.

    Examples
    --------
    ``with hub.timeout(1) as limit: ...`` binds the exception that will be raised, so that an outer limit can be told
    from an inner one: ``except greenzmq.Timeout as error: if error is not limit: raise``.
    """

    _unused = False  # for `__del__`, if `__init__` fails

    def __init__(
        self,
        hub: Hub,
        seconds: float | None,
        exception: BaseException | type[BaseException] | bool | None = None,
    ) -> None:
        self._hub = hub
        self._seconds = seconds
        self._exception = exception
        self._entered = self._struck = False
        self._outer: TimeLimit | None = None
        self._timer: Timer | None = None
        caller = sys._getframe(2)  # the caller of `GreenHub.timeout`, for messages
        self._file, self._line = caller.f_code.co_filename, caller.f_lineno
        self._unused = True

    def __enter__(self) -> BaseException:
        if self._entered:
            raise RuntimeError("this time limit is in use; give each block its own: with hub.timeout(seconds):")
        self._unused = self._struck = False
        self._outcome = self._make_outcome()
        self._expired = TimeLimitExpired(self._seconds or 0, f"{self._file}:{self._line}")
        current = getcurrent()
        if self._seconds is not None:
            self._timer = self._hub.call_later(self._seconds, self._strike, current)
        self._outer = _innermost(current)
        setattr(current, _LIMIT, self)
        self._entered = True
        return self._outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._entered = False
        current, outer = getcurrent(), self._outer
        setattr(current, _LIMIT, _innermost(current))
        if error is not self._expired:
            return False
        while outer is not None and not (outer._entered and outer._struck):
            outer = outer._outer
        if outer is None and self._exception is False:
            return True
        try:
            raise (self._outcome if outer is None else outer._expired) from error
        finally:
            del self, outer, error, traceback  # the traceback keeps this frame, which must not keep these

    def _strike(self, target: greenlet) -> None:
        self._struck = True
        interrupt(target, self._expired)

    def _make_outcome(self) -> BaseException:
        if self._exception is None or isinstance(self._exception, bool):
            return Timeout(self._seconds)
        return self._exception() if isinstance(self._exception, type) else self._exception

    def __del__(self) -> None:
        if self._unused:
            message = "hub.timeout(...) limits nothing by itself; write: with hub.timeout(seconds):"
            warnings.warn_explicit(message, RuntimeWarning, self._file, self._line)


def _innermost(current: greenlet) -> TimeLimit | None:
    """The last limit that this greenlet has entered and not left. Blocks in generators may be left in any order."""
    limit: TimeLimit | None = getattr(current, _LIMIT, None)
    while limit is not None and not limit._entered:
        limit = limit._outer
    return limit
