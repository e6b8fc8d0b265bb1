"""What the tests of the Poller share: descriptors to poll, pyzmq's own answer, and counters of what a poll costs."""

from __future__ import annotations

import os
import resource
import socket as sockets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
import zmq
from support.inside import count_signals, is_watched, links_of, loop_of, polling_in, replace_get
from support.sockets import address, connected, tick, until
from support.waiters import TURNS, plain

import greenzmq

__all__ = [
    "FEW",
    "IN",
    "LONG",
    "MANY",
    "OUT",
    "Fds",
    "count_calls",
    "count_reads",
    "count_rounds",
    "crowd",
    "goes_on",
    "is_open",
    "many_files",
    "nobody_polls",
    "pair",
    "polling",
]
__all__ += ["pyzmq_poll", "quiet", "waiting"]

IN, OUT = int(zmq.POLLIN), int(zmq.POLLOUT)
#: Milliseconds that a poll which has something to find never takes.
LONG = 5000
#: Sockets that are registered, and those of them that are ready, where many are polled.
MANY, FEW = 1000, 10


def pair(context: greenzmq.Context, **options: int) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """Two connected DEALERs that have nothing left to process."""
    left, right = connected(context, zmq.DEALER, zmq.DEALER, **options)
    quiet(left, right)
    return left, right


def quiet(*green: greenzmq.Socket) -> None:
    """Take the signals of the connection itself."""
    for socket in green:
        socket.get(zmq.EVENTS)


def pyzmq_poll(*registered: tuple[Any, int]) -> list[tuple[Any, int]]:
    """What pyzmq's own Poller finds now; green sockets are asked through a plain one."""
    originals = {plain(what) if isinstance(what, greenzmq.Socket) else what: what for what, _ in registered}
    asked = zmq.Poller()
    for what, (_, events) in zip(originals, registered, strict=True):
        asked.register(what, events)
    return [(originals.get(what, what), events) for what, events in asked.poll(0)]


def goes_on(hub: greenzmq.GreenHub, *tasks: greenzmq.Task[Any], at_once: bool = False, after: str = "") -> None:
    """The tasks end: `at_once`, in `TURNS` rounds of the hub, or once the hub has looked at its descriptors.

    gevent runs up to fifty rounds of callbacks before it does that.
    """
    for _ in range(TURNS if at_once else 500):
        if not all(task.done for task in tasks):
            hub.sleep(0 if at_once else 0.001)
    for task in tasks:
        assert task.done, f"{task} still waits {after and f'after {after}'}"


def polling(
    hub: greenzmq.GreenHub, poller: greenzmq.Poller, timeout: float | None = None
) -> greenzmq.Task[list[tuple[Any, int]]]:
    """A greenlet that is parked in ``poller.poll(timeout)``, and has been for a few rounds of the hub."""
    waiting = polling_in(poller)
    task = hub.spawn(poller.poll, timeout)
    until(hub, lambda: polling_in(poller) > waiting or task.done)
    tick(hub, task)
    return task


def nobody_polls(*pollers: greenzmq.Poller) -> None:
    """No greenlet waits in these Pollers, nor is the hub kept busy for one in any other."""
    for poller in pollers:
        assert not polling_in(poller)
        assert not is_watched(poller)


class Fds(ExitStack):
    """Files that end with the test, whatever it has closed of them."""

    def pipe(self) -> tuple[int, int]:
        """The ends of a pipe, to read and to write."""
        return self.own(*os.pipe())

    def own(self, *fds: int) -> Any:
        for fd in fds:
            self.callback(self.close_fd, fd, os.fstat(fd))
        return fds

    def close_fd(self, fd: int, was: os.stat_result) -> None:
        try:
            if os.path.samestat(os.fstat(fd), was):
                os.close(fd)
        except OSError:
            return  # closed by the test

    def socketpair(self) -> tuple[sockets.socket, sockets.socket]:
        left, right = sockets.socketpair()
        return self.enter_context(left), self.enter_context(right)

    def tcp_pair(self) -> tuple[sockets.socket, sockets.socket]:
        """Two ends of a connection over tcp, which has out-of-band data."""
        with sockets.create_server(("127.0.0.1", 0)) as server:
            client = self.enter_context(sockets.create_connection(server.getsockname()))
            return self.enter_context(server.accept()[0]), client


@contextmanager
def crowd(
    hub: greenzmq.GreenHub, many: int = MANY, few: int = FEW
) -> Iterator[tuple[greenzmq.Poller, list[greenzmq.Socket], list[greenzmq.Socket]]]:
    """A Poller with `many` PULLs, all looked at, and a PUSH for each of `few` of them."""
    with many_files(many + 500):
        context = greenzmq.Context(hub=hub)
        context.set(zmq.MAX_SOCKETS, many + few + 100)
        poller = greenzmq.Poller()  # the first of the descriptors: select() takes small numbers only
        pulls = [context.socket(zmq.PULL) for _ in range(many)]
        pushes = [context.socket(zmq.PUSH) for _ in range(few)]
        chosen = pulls[:: many // few][:few]
        for pull, push in zip(chosen, pushes, strict=True):
            pull.bind(address("inproc"))
            push.connect(pull.last_endpoint)
        for pull in pulls:
            poller.register(pull, IN)
        assert poller.poll(0) == poller.poll(0) == []
        try:
            yield poller, chosen, pushes
        finally:
            context.destroy(linger=0)


@contextmanager
def count_reads() -> Iterator[list[Any]]:
    """The sockets whose ``EVENTS`` greenzmq reads during the block, in order."""
    reads: list[Any] = []

    def noted(get: Callable[..., int], socket: Any, option: int) -> int:
        if option == zmq.EVENTS:
            reads.append(socket)
        return get(socket, option)

    with pytest.MonkeyPatch.context() as patch:
        replace_get(patch, noted)
        yield reads


@contextmanager
def count_calls() -> Iterator[list[str]]:
    """The calls that Python makes in this thread during the block, of its own functions and of C's."""
    calls: list[str] = []

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls.append(f"{frame.f_code.co_name} {getattr(argument, '__name__', '')}")

    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@contextmanager
def count_rounds(hub: greenzmq.GreenHub) -> Iterator[Callable[[], int]]:
    """How often the loop goes round during the block."""
    rounds = 0

    def count(*_: Any) -> None:
        nonlocal rounds
        rounds += 1

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: (count(), method(*args))[1]

    with ExitStack() as stack:
        loop: Any = hub.hub
        if hub.name == "gevent" and "libuv" not in hub.hub.variant:
            watcher = stack.enter_context(loop.greenlet.loop.prepare(ref=False))
            watcher.start(count)
        elif hub.name == "eventlet":
            stack.enter_context(mock.patch.object(loop_of(loop), "sleep_until", counted(loop_of(loop).sleep_until)))
        elif hub.name == "selector":
            stack.enter_context(mock.patch.object(loop, "_round", counted(loop._round)))
        else:
            # libuv's loops do not let their rounds be counted; but one that spins calls back.
            count_signals(stack.enter_context(pytest.MonkeyPatch.context()), count)
        yield lambda: rounds


def is_open(fd: int) -> bool:
    """Whether this number means a file."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """This process may have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(soft, wanted) if soft >= 0 else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def waiting(hub, event, *args):
    """A greenlet that is parked in ``event.wait``."""
    links = links_of(event)
    task = hub.spawn(event.wait, *args)
    until(hub, lambda: links_of(event) > links)
    tick(hub, task)
    return task
