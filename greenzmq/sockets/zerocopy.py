"""The thread that frees zero-copy buffers for pyzmq is a native one, whatever was imported or patched first.

Fact: pyzmq keeps the objects whose memory libzmq sends, and drops them in a `threading.Thread` that sits in a blocking
`recv`. Consequence: where `threading` is patched that thread is a greenlet, and all stops at the first zero-copy
message (unless gevent's `Thread` came first, with a `zmq.green` context). Choice: pyzmq's own method, in a thread that
nobody can patch and with a plain context; started when it is first needed, and again in a forked child, as before. A
collector that runs already is left as it is.
"""

from __future__ import annotations

import os
from typing import Any

from zmq.utils import garbage

from ..process import unpatched
from ..waiting.locks import ParkingLock

__all__ = ["use_native_thread"]

_work: Any = garbage.GarbageCollectorThread.run


class _Ready:
    """As much of `threading.Event` as pyzmq needs: set once, waited for by one thread."""

    def __init__(self) -> None:
        self._unset = unpatched.allocate_lock()
        self._unset.acquire()
        self.set, self.wait = self._unset.release, self._unset.acquire


class _Collector:
    """In place of `garbage.GarbageCollectorThread`."""

    def __init__(self, gc: garbage.GarbageCollector) -> None:
        self.gc = gc
        self.pid = os.getpid()
        self.ready = _Ready()
        self._running = unpatched.allocate_lock()
        self.is_alive = self._running.locked

    def start(self) -> None:
        self._running.acquire()
        try:
            unpatched.start_new_thread(self._run, ())
        except BaseException:  # there can be no more threads; pyzmq is to try again at the next message
            self._running.release()
            raise

    def join(self) -> None:
        with self._running:
            pass

    def _run(self) -> None:
        try:
            _work(self)
        finally:
            self._running.release()


def use_native_thread() -> None:
    """Have pyzmq's collector run in a native thread from its next start on. Nothing if called before."""
    module: Any = garbage
    if module.GarbageCollectorThread is not _Collector:
        module.GarbageCollectorThread = _Collector
        module.Thread = _Collector  # pyzmq looks where this class is from, to choose its context
        # Under this lock runs Python code, in which a finalizer or a signal handler may switch.
        module.gc._lock = ParkingLock("the start of pyzmq's collector")
