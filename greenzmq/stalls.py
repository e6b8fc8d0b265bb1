"""A watchdog that tells which greenlet keeps a hub from going round: for a program that stalls now and then.

A native thread asks each hub for a sign of life. A hub goes round in microseconds, unless a greenlet keeps its thread:
by ``time.sleep``, by a plain ``zmq`` socket, by a ``queue.Queue``, by a computation. The thread then writes where that
greenlet is, once for each stall.

A hub that nobody waits for may stand still: a main greenlet that computes, and has spawned nothing, harms nobody.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
import warnings
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from greenlet import greenlet

from .diagnostics import parked_waiters
from .hubs.base import HUB_ATTRIBUTE, live_hubs
from .process import unpatched
from .process.fork import register_after_fork
from .process.objects import objects_of
from .waiting.limits import as_limit
from .waiting.tasks import Task

if TYPE_CHECKING:
    from .hubs.base import Hub

__all__ = ["install_from_environment", "watchdog"]

#: The environment variable that says after how many seconds to tell.
ENVIRONMENT = "GREENZMQ_WATCHDOG"
#: How often in these seconds the hubs are looked at.
_LOOKS = 4


def watchdog(seconds: float | None, file: TextIO | None = None) -> None:
    """Have a native thread tell when a hub has not gone round for so long, and which greenlet keeps it.

    ``GREENZMQ_WATCHDOG=1.0`` in the environment does the same from the import of greenzmq on. A stall is told once,
    with the stack of the greenlet. On the hub of native threads a thread may block, as long as no other greenlet of its
    own waits for it. In a forked child the watchdog goes on.

    Parameters
    ----------
    seconds : float or None
        How long; None ends the watchdog.
    file : text file, optional
        Where to; None means standard error.

    Raises
    ------
    TypeError or ValueError
        `seconds` is no positive number.

    Notes
    -----
    Switches: never. It wakes each hub four times in `seconds`.
    """
    global _watchdog
    limit = as_limit(seconds, "watchdog()")
    if limit is not None and limit <= 0:
        raise ValueError("watchdog() takes a positive number of seconds, or None to end it")
    before, _watchdog = _watchdog, None if limit is None else _Watchdog(limit, file)
    if before is not None:
        before.end()
    if _watchdog is not None:
        _watchdog.start()


def install_from_environment() -> None:
    """Do what ``GREENZMQ_WATCHDOG`` asks for, if it is set. If that cannot be, a warning says why, and no more."""
    setting = os.environ.get(ENVIRONMENT, "")
    if not setting:
        return
    try:
        watchdog(float(setting))
    except ValueError as error:
        warnings.warn(f"{ENVIRONMENT}={setting} has no effect: {error}", RuntimeWarning, stacklevel=3)


class _Ping:
    """One sign of life that a hub was asked for."""

    def __init__(self) -> None:
        self.sent = monotonic()
        self.answered = self.told = False

    def answer(self) -> None:
        """Called in the hub."""
        self.answered = True


class _Watchdog:
    """The thread, and what it knows of each hub."""

    def __init__(self, seconds: float, file: TextIO | None) -> None:
        self._seconds = seconds
        self._file = file
        self._pings: weakref.WeakKeyDictionary[Hub, _Ping] = weakref.WeakKeyDictionary()
        self._failures: weakref.WeakKeyDictionary[Hub, int] = weakref.WeakKeyDictionary()
        self._ended = unpatched.allocate_lock()
        self._ended.acquire()
        register_after_fork(self)

    def start(self) -> None:
        unpatched.start_new_thread(self._run, ())

    def end(self) -> None:
        """Let the thread end."""
        self._ended.release()

    def _greenzmq_after_fork(self) -> None:
        if self is _watchdog:
            self._pings = weakref.WeakKeyDictionary()
            self.start()

    def _run(self) -> None:
        while not self._ended.acquire(timeout=self._seconds / _LOOKS):
            for hub in live_hubs():
                try:
                    self._check(hub)
                except Exception as error:  # of a hub that ends at this moment, or that somebody else has written
                    self._pings.pop(hub, None)
                    with suppress(Exception):  # where to write may be gone
                        self._tell_failure(hub, error)

    def _check(self, hub: Hub) -> None:
        if hub.inherited or hub.has_ended() or not hub.goes_by_itself:
            return
        ping = self._pings.get(hub)
        if ping is None or ping.answered:
            self._pings[hub] = ping = _Ping()
            hub.call_soon_threadsafe(ping.answer)
        elif not ping.told and monotonic() - ping.sent >= self._seconds:
            waiting = _waiting(hub)
            if waiting and not ping.answered:
                ping.told = True
                self._tell(hub, monotonic() - ping.sent, waiting)
            else:
                ping.sent = monotonic()  # nobody waits for it: ask again later

    def _tell(self, hub: Hub, seconds: float, waiting: str) -> None:
        frame = sys._current_frames().get(hub.thread_id)
        stack = "".join(traceback.format_stack(frame, 20)) if frame is not None else "  (its thread has ended)\n"
        text = (
            f"greenzmq: {hub!r} has not gone round for {seconds:.3g} s, and {waiting}. It is kept by {_culprit(hub)}:\n"
            f"{stack}"
            "A call that blocks belongs in hub.run_in_thread(function, *args); a computation has to call hub.sleep() "
            "now and then.\n"
        )
        self._write(text)

    def _tell_failure(self, hub: Hub, error: Exception) -> None:
        """Tell once that a hub is not watched. At the first failure it may just be ending."""
        failures = self._failures[hub] = self._failures.get(hub, 0) + 1
        if failures == 2:
            kind = type(hub)
            self._write(
                f"greenzmq: the watchdog cannot watch a hub of {kind.__module__}:{kind.__qualname__}, which it asks "
                f"for a sign of life: {type(error).__name__}: {error}\n"
            )

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)
            return
        with io.FileIO(2, "w", closefd=False) as file:  # sys.stderr may be locked by the greenlet that keeps the hub
            file.write(text.encode(errors="replace"))


def _waiting(hub: Hub) -> str:
    """Who waits for a hub, in words; empty if nobody does."""
    parked = sum(waiter.hub is hub for waiter in parked_waiters())
    if parked:
        return f"{parked} greenlet{'s wait' if parked != 1 else ' waits'} for it"
    if hub.runs_threads:
        return ""
    unbegun = sum(task.hub is hub and task._call is not None for task in _tasks())
    if unbegun:
        return f"{unbegun} task{'s have' if unbegun != 1 else ' has'} yet to begin"
    loop: Any = getattr(hub, "loop", None)
    return "its loop runs" if loop is not None and loop.is_running() else ""


def _culprit(hub: Hub) -> str:
    """The greenlet that runs in a hub's thread, for messages: the one that has no frame while it is alive."""
    for task in _tasks():
        current = task._greenlet
        if task.hub is hub and current and current.gr_frame is None:
            return repr(task)
    # Those that may be the hub's refer to its greenlet or, by their dict, to the hub; see `greenzmq.process.objects`.
    known: list[Any] = [hub, hub.greenlet]
    found = gc.get_referrers(*(each for each in known if each is not None))
    found += gc.get_referrers(*(each for each in found if type(each) is dict))
    for what in found:
        if issubclass(type(what), greenlet) and what and what.gr_frame is None:
            if what.parent is hub.greenlet or getattr(what, HUB_ATTRIBUTE, None) is hub:
                return repr(what)
    of_hub = hub.greenlet
    if of_hub and of_hub.gr_frame is None:
        return "a callback of the hub, or a coroutine"
    return "the main greenlet"


def _tasks() -> list[Task[Any]]:
    return [task for task in objects_of(Task) if getattr(task, "_greenlet", None) is not None]  # not: just being made


_watchdog: _Watchdog | None = None
