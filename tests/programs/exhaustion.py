"""The program of test_exhaustion.py: no descriptors, no sockets, no threads to be had, at each thing that needs some.

Each `PLACE` is tried with 0, 1, 2, … descriptors left. It may succeed, or raise an error of `DOCUMENTED`. After it the
program goes on: with the objects that it had, and with new ones. Prints the places at which an error was met.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from support.hub_thread import new_descriptors, open_descriptors

import greenzmq
import greenzmq.auth
import greenzmq.devices
from greenzmq.process import unpatched

#: What may be raised: by libzmq, by the system, and by the start of a thread.
DOCUMENTED = (zmq.ZMQError, OSError, RuntimeError)
#: As many as the most demanding of them needs, and some more.
LEFT = 14
NO_THREAD = "can't start new thread"


class Stage:
    """What a program has before the resources are gone."""

    def __init__(self) -> None:
        self.hub = greenzmq.hub()
        self.context = greenzmq.Context()
        self.left, self.right = self.pair(self.context)
        self.hub.run_in_thread(time.sleep, 0)
        self.later: list[Callable[[], object]] = []
        self.exchange()

    @staticmethod
    def pair(context: Any) -> tuple[Any, Any]:
        left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        left.bind("inproc://pair")
        right.connect("inproc://pair")
        return left, right

    def exchange(self) -> None:
        """The old sockets, in a wait and in a Poller."""
        while self.left.poll(0):
            self.left.recv()
        poller = greenzmq.Poller()
        poller.register(self.left, zmq.POLLIN)
        for wait in (self.left.recv, lambda: poller.poll(5000) and self.left.recv()):
            sender = self.hub.spawn(lambda: (self.hub.sleep(), self.right.send(b"x")))
            assert wait() == b"x"
            sender.get()

    def goes_on(self) -> None:
        """The old ones, and new ones of each kind."""
        self.exchange()
        with greenzmq.Context() as context:
            for socket in self.pair(context):
                socket.close(0)
            greenzmq.auth.Authenticator(context).start()
            context.destroy(linger=0)
        tracker = self.right.send(bytearray(100_000), copy=False, track=True)
        while len(self.left.recv()) != 100_000:
            pass
        tracker.wait(5)
        self.hub.run_in_thread(time.sleep, 0)

    # -- the places ----------------------------------------------------------------------------------------------------

    def new_socket(self) -> None:
        self.context.socket(zmq.PULL).close(0)

    def new_context(self) -> None:
        with greenzmq.Context(2) as context:
            context.socket(zmq.PULL).close(0)

    def first_wait(self) -> None:
        socket = self.context.socket(zmq.PULL)
        try:
            socket.rcvtimeo = 5
            socket.recv()
        except zmq.Again:
            pass
        finally:
            socket.close(0)

    def poller(self) -> None:
        with greenzmq.Poller() as poller:
            poller.register(self.left, zmq.POLLIN)
            poller.register(0, zmq.POLLERR)
            poller.poll(5)

    def zero_copy(self) -> None:
        self.right.send(bytearray(100_000), copy=False, track=True)

    def term(self) -> None:
        context = greenzmq.Context()
        try:
            context.socket(zmq.PULL).close(0)
            context.term()
        finally:
            if not context.closed:
                self.later.append(context.term)

    def native_proxy(self) -> None:
        front, back = self.context.socket(zmq.PULL), self.context.socket(zmq.PUSH)
        task = self.hub.spawn(greenzmq.proxy, front, back, native=True)
        try:
            task.get(0.05)
        except greenzmq.Timeout:
            task.kill()
        finally:
            front.close(0)
            back.close(0)

    def authenticator(self) -> None:
        auth = greenzmq.auth.Authenticator(self.context)
        try:
            auth.start()
        finally:
            auth.stop()

    def thread(self) -> None:
        self.hub.run_in_thread(time.sleep, 0)

    def monitor(self) -> None:
        socket = self.context.socket(zmq.PULL)
        try:
            with greenzmq.monitor_events(socket):
                pass
        finally:
            socket.close(0)

    def device(self) -> None:
        device = greenzmq.devices.ThreadDevice(zmq.QUEUE, zmq.PULL, zmq.PUSH)
        device.context_factory = zmq.Context
        device.daemon = True
        device.start()  # it has no address, and ends with the process


PLACES = [
    *("new_socket", "new_context", "first_wait", "poller", "zero_copy", "term", "native_proxy", "authenticator"),
    *("thread", "monitor"),
]


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """As if the process might open so many more, and none beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
    try:
        while True:
            try:
                opened.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for _ in range(count):
            os.close(opened.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in opened:
            os.close(descriptor)


@contextmanager
def no_threads(_: int) -> Iterator[None]:
    """As if the system had no thread more. For libzmq's own threads it cannot be tried: without them it aborts."""

    def refuse(*args: object) -> None:
        raise RuntimeError(NO_THREAD)

    start, unpatched.start_new_thread = unpatched.start_new_thread, refuse
    try:
        yield
    finally:
        unpatched.start_new_thread = start


def attempt(stage: Stage, place: str, exhausted: Any) -> str:
    """The error that the place has met, if any; after it, nothing is left and all goes on."""
    before = open_descriptors()
    met = ""
    with exhausted:
        try:
            getattr(stage, place)()
        except DOCUMENTED as error:
            met = f"{type(error).__name__}: {error}"
    while stage.later:
        stage.later.pop()()
    stage.goes_on()
    assert new_descriptors(before) == [], f"{place}: descriptors are left"
    assert [parked for parked in greenzmq.waiters() if parked.call != "join"] == [], f"{place}: waiters are left"
    return met


def run(what: str) -> None:
    stage = Stage()
    stage.goes_on()  # the collector, and what the runtimes open once
    if what == "descriptors":
        for place in PLACES:
            met = {attempt(stage, place, few_descriptors(count)) for count in range(LEFT)}
            assert all("Too many open files" in error for error in met - {""}), met
            print(place, "" in met, len(met) > 1, flush=True)
    elif what == "threads":
        for place in ("thread", "native_proxy", "term"):
            print(place, attempt(stage, place, no_threads(0)), flush=True)
    stage.left.close(0)
    stage.right.close(0)


def zero_copy_without_thread() -> None:
    """Before the first zero-copy message there is no collector. Without a thread for it: an error, and another try."""
    stage = Stage()
    for exhausted in (no_threads(0), few_descriptors(4)):
        with exhausted:
            try:
                stage.zero_copy()
            except DOCUMENTED as error:
                print(type(error).__name__, error, flush=True)
    stage.goes_on()
    stage.left.close(0)
    stage.right.close(0)
