"""A native thread with a hub of its own, in whose greenlets tests run."""

from __future__ import annotations

import gc
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlet import getcurrent, greenlet
from support.variants import Variant

from greenzmq.hubs.base import Hub

#: Seconds that a dropped object may take to disappear: libzmq closes sockets in a thread of its own.
SETTLE = 10.0
#: Whether the descriptors of a process are links to their files.
LINUX = Path("/proc/self/fd").exists()
#: Tell the threads apart in messages: that of a failed test lives on.
_numbers = itertools.count(1)


class HubThread:
    """A native thread with a hub, which runs functions in greenlets of that hub. No other test uses the same one.

    Each of its calls waits for the thread, which takes the time of a short test: so there are few of them.

    Parameters
    ----------
    variant : Variant
        The runtime and loop of the hub.
    checked : bool
        Whether to note what the hub contains now, for `finish`.
    """

    hub: Hub

    def __init__(self, variant: Variant, *, checked: bool = False) -> None:
        self.variant = variant
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"tests on {variant.id} {next(_numbers)}", daemon=True)
        self._thread.start()
        self._before: dict[str, Any] = {}
        self.call_in_main(self._make_checked if checked else self._make)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call ``function()`` in a new greenlet of the hub. Return its result, or raise its exception."""
        __tracebackhide__ = True
        return self.call_in_main(lambda: self._run_in_greenlet(function))

    def call_in_main(self, function: Callable[[], Any]) -> Any:
        """Call ``function()`` in the thread's main greenlet. Return its result, or raise its exception."""
        __tracebackhide__ = True
        job = Job(function)
        self._jobs.put(job)
        job.ended.acquire()
        return job.outcome()

    def finish(self) -> str:
        """Return what the hub contains that was not in it at first, having waited a while for it to disappear.

        If that is nothing, destroy the hub and end the thread.
        """
        if leftovers := self.call_in_main(self._destroy_if_empty):
            return leftovers
        self.end()
        return ""

    def close(self) -> None:
        """Destroy the hub and end the thread."""
        self.call_in_main(self._destroy)
        self.end()

    def end(self) -> None:
        """End the thread, and let the hub end with it."""
        self._jobs.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job

    def _make(self) -> None:
        self._main = getcurrent()
        self.hub = self.variant.make()

    def _make_checked(self) -> None:
        self._make()
        self._before = self._run_in_greenlet(self._pending)

    def _destroy_if_empty(self) -> str:
        leftovers: str = self._run_in_greenlet(self._wait_for_nothing)
        if not leftovers:
            self._destroy()
        return leftovers

    def _destroy(self) -> None:
        self.variant.destroy(self.hub)
        del self.hub, self._main

    def _run_in_greenlet(self, function: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        job = Job(function)
        self.variant.drive(self.hub, job.run)
        return job.outcome()

    def _wait_for_nothing(self) -> str:
        end = time.monotonic() + SETTLE
        while True:
            gc.collect()  # each time: another thread that is about to end may be the last to let go of a cycle
            pending = self._pending()
            if pending == self._before:
                return ""
            if time.monotonic() > end:
                return f"{pending}; before: {self._before}"
            self.hub.call_later(0.005, getcurrent().switch)
            self.hub.switch()

    def _pending(self) -> dict[str, Any]:
        known = (getcurrent(), self._main, self.hub.greenlet)
        greenlets = [g for g in gc.get_objects() if issubclass(type(g), greenlet) and g and g not in known]
        return {
            "started watches": [*self.hub.readers.values(), *self.hub.writers.values()],
            "timers": self.variant.timers(self.hub),
            "parked greenlets": [g for g in greenlets if self._main in ancestors(g)],
        }


class Job:
    """A function that runs in another greenlet or thread, and its outcome."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function: Callable[[], Any] | None = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = threading.Lock()  # until then it is locked
        self.ended.acquire()

    def run(self) -> None:
        __tracebackhide__ = True
        try:
            self.result = self.function() if self.function else None
        except BaseException as error:  # the outcomes of pytest, such as a skip, are not subclasses of Exception
            self.error = error
        finally:
            self.function = None
            self.ended.release()

    def outcome(self) -> Any:
        __tracebackhide__ = True
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
            return self.result
        finally:
            del error


def ancestors(g: greenlet) -> list[greenlet]:
    found = []
    while (parent := g.parent) is not None:
        found.append(parent)
        g = parent
    return found


def open_descriptors() -> dict[int, str]:
    """Return the open file descriptors of this process, with the file that each one means."""
    found = {}
    for entry in os.listdir("/dev/fd"):
        try:
            found[int(entry)] = os.readlink(f"/dev/fd/{entry}") if LINUX else "?"
        except OSError:  # the descriptor of the listing itself, or one that libzmq has closed meanwhile
            continue
    return found


def new_descriptors(before: dict[int, str], spare: int = 0) -> list[str]:
    """Return the descriptors that are open and were not open `before`. First wait a while for them to disappear.

    Empty if no more descriptors are open than before, or at most so many more as are to `spare`.
    """
    end = time.monotonic() + SETTLE
    while True:
        gc.collect()
        now = open_descriptors()
        if len(now) <= len(before) + spare:
            return []
        if time.monotonic() > end:
            return [f"{fd}: {what}" for fd, what in now.items() if before.get(fd) != what]
        time.sleep(0.01)


def forget_native_hub() -> None:
    """Let this thread have no hub of native threads, which would be its hub by the rules."""
    module = sys.modules.get("greenzmq.hubs.threading")
    if module is not None:
        vars(module.ThreadingHub._of_threads._local).pop("place", None)
