"""The thread in which pyzmq frees zero-copy buffers is a native thread, whatever was imported or patched first.

Fact: pyzmq keeps each object whose memory libzmq sends. Its *collector*, a `threading.Thread`, sits in a blocking
`recv`, and drops an object when libzmq is done with it. Consequence: where `threading` is patched, the collector is a
greenlet, and its blocking `recv` stops the whole thread at the first zero-copy message. (Not so if gevent patched
before pyzmq was imported: then pyzmq gives the collector a `zmq.green` context.) Choice: the collector's own method
runs in a native thread, which nobody can patch, and with a plain context. It starts when it is first needed, and again
in a forked child, as pyzmq's does. A collector that runs already is left as it is.
"""

from __future__ import annotations

import os
from typing import Any

import zmq
from zmq.utils import garbage

from ..process import unpatched
from ..process.descriptors import refuse_without_room
from ..waiting.locks import ParkingLock

__all__ = ["use_native_thread"]

#: What the collector's context and its two sockets open: where libzmq cannot, it ends the process (epoll.cpp).
DESCRIPTORS = 8

_work: Any = garbage.GarbageCollectorThread.run


class _Ready:
    """The part of `threading.Event` that pyzmq uses: it is set once, and one thread waits for it."""

    def __init__(self) -> None:
        self._unset = unpatched.allocate_lock()
        self._unset.acquire()
        self.set, self.wait = self._unset.release, self._unset.acquire


class _Collector:
    """Stands in for `garbage.GarbageCollectorThread`."""

    def __init__(self, gc: garbage.GarbageCollector) -> None:
        self.gc = gc
        self.pid = os.getpid()
        self.ready = _Ready()
        self._running = unpatched.allocate_lock()
        self.is_alive = self._running.locked

    def start(self) -> None:
        try:
            refuse_without_room(DESCRIPTORS)
        except OSError as error:  # pyzmq tries again at the next message
            raise zmq.ZMQError(error.errno) from None
        self._running.acquire()
        try:
            unpatched.start_new_thread(self._run, ())
        except BaseException:  # the system allows no more threads; pyzmq tries again at the next message
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
    """Have pyzmq's collector run in a native thread from its next start on. Does nothing if called before."""
    module: Any = garbage
    if module.GarbageCollectorThread is not _Collector:
        module.GarbageCollectorThread = _Collector
        module.Thread = _Collector  # pyzmq chooses a `zmq.green` context if this class comes from gevent
        # pyzmq holds this lock while Python code runs, in which a finalizer or a signal handler may switch.
        module.gc._lock = ParkingLock("the start of pyzmq's collector")
