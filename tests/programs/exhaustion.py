"""The program of test_exhaustion.py: no descriptors, no sockets, no threads to be had, at each thing that needs some.

Each of `PLACES` is tried with none, one, … of them left. It may succeed, or raise an error of `DOCUMENTED`. After that
the program goes on: with the objects that it had, and with new ones. Prints the places at which an error was met.
"""

from __future__ import annotations

import _thread
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from programs.hostile import LONG, shake_hands
from support.hub_thread import new_descriptors, open_descriptors

import greenzmq
import greenzmq.auth
from greenzmq.process import unpatched

#: What may be raised: by libzmq, by the system, and by the start of a thread.
DOCUMENTED = (zmq.ZMQError, OSError, RuntimeError)
#: How many descriptors are left; at last as many as the most demanding of them needs, and some more.
LEFT = (0, 1, 2, 3, 5, 8, 13)
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
            for each in self.pair(context):
                each.close(0)
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
        pull = self.context.socket(zmq.PULL)
        try:
            pull.rcvtimeo = 5
            pull.recv()
        except zmq.Again:
            pass
        finally:
            pull.close(0)

    def poller(self, timeout: int = 5) -> None:
        with greenzmq.Poller() as poller:
            poller.register(self.left, zmq.POLLIN)
            poller.register(0, zmq.POLLERR)
            poller.poll(timeout)

    def poller_at_once(self) -> None:
        self.poller(0)

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
        pull = self.context.socket(zmq.PULL)
        try:
            with greenzmq.monitor_events(pull):
                pass
        finally:
            pull.close(0)


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
            met = {attempt(stage, place, few_descriptors(count)) for count in LEFT}
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


#: Where one allocation after the other fails. Not where greenlets are made or switch: greenlet itself ends the process
#: then. Nor where native threads take part: the allocation that fails may be theirs, such as one of pyzmq's collector.
ALLOCATING = ("new_socket", "poller_at_once", "monitor")
#: So many successful calls in a row mean that the allocation that should fail is none of theirs any more. A single one
#: means only that the failed allocation was one that the call could do without.
BEYOND = 20


def failed_allocations() -> None:
    """As if there were no memory for the k-th allocation of Python, for each k, until none is met any more."""
    import _testcapi

    stage = Stage()
    stage.goes_on()
    for place in ALLOCATING:
        while _thread._count() > 1:  # the threads of `goes_on` end after their results are there; the collector stays
            time.sleep(0.001)
        call = getattr(stage, place)
        call()
        met, at, good = set(), 0, 0
        while good < BEYOND:
            error = ""
            _testcapi.set_nomemory(at, at + 1)
            try:
                call()
            except BaseException as raised:
                _testcapi.remove_mem_hooks()  # first of all
                error = type(raised).__name__
            _testcapi.remove_mem_hooks()
            at, good = at + 1, 0 if error else good + 1
            met.add(error)
        stage.goes_on()
        print(place, *sorted(met - {""}), flush=True)
    stage.left.close(0)
    stage.right.close(0)


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    """As if the process might have so much more address space, and none beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def no_memory() -> None:
    """Messages of 300 MB where 100 are left: of our own, and of a peer."""
    stage = Stage()
    pull = stage.context.socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    big = bytes(300 << 20)
    with little_memory(100), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for send in (lambda: stage.right.send(big), lambda: stage.right.send_multipart([big, b"end"])):
            try:
                send()
            except zmq.ZMQError as error:
                print(error, flush=True)
        stage.right.send_multipart([b"begin", big])  # one that has begun is sent without a copy
        print([len(part) for part in stage.left.recv_multipart(copy=False)], flush=True)
        stage.hub.run_in_thread(shake_hands, connection, b"PUSH")
        connection.sendall(bytes([LONG]) + struct.pack(">Q", 400 << 20) + b"x" * 100)
        print(stage.hub.run_in_thread(connection.recv, 1), flush=True)
    stage.exchange()
    assert not pull.poll(0)
    for each in (stage.left, stage.right, pull):
        each.close(0)
