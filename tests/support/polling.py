"""What the tests of the Poller share: descriptors to poll, the result of pyzmq's Poller, and counters for its costs."""

from __future__ import annotations

import gc
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
#: Milliseconds: much longer than a poll takes that finds something.
LONG = 5000
#: In the tests with many sockets: how many are registered, and how many of those are ready.
MANY, FEW = 1000, 10


def pair(context: greenzmq.Context, **options: int) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """Make two connected DEALERs that have no unprocessed commands."""
    left, right = connected(context, zmq.DEALER, zmq.DEALER, **options)
    quiet(left, right)
    return left, right


def quiet(*green: greenzmq.Socket) -> None:
    """Process the commands of the connection itself, so that only messages and room are signalled from now on."""
    for socket in green:
        socket.get(zmq.EVENTS)


def pyzmq_poll(*registered: tuple[Any, int]) -> list[tuple[Any, int]]:
    """Return what pyzmq's own Poller finds now. Each green socket is polled through a plain one."""
    originals = {plain(what) if isinstance(what, greenzmq.Socket) else what: what for what, _ in registered}
    asked = zmq.Poller()
    for what, (_, events) in zip(originals, registered, strict=True):
        asked.register(what, events)
    return [(originals.get(what, what), events) for what, events in asked.poll(0)]


def goes_on(hub: greenzmq.GreenHub, *tasks: greenzmq.Task[Any], at_once: bool = False, after: str = "") -> None:
    """Assert that the tasks end: within `TURNS` rounds of the hub if `at_once`, else after the hub has polled.

    gevent runs up to fifty rounds of callbacks before it polls its descriptors.
    """
    for _ in range(TURNS if at_once else 500):
        if not all(task.done for task in tasks):
            hub.sleep(0 if at_once else 0.001)
    for task in tasks:
        assert task.done, f"{task} still waits {after and f'after {after}'}"


def polling(
    hub: greenzmq.GreenHub, poller: greenzmq.Poller, timeout: float | None = None
) -> greenzmq.Task[list[tuple[Any, int]]]:
    """Spawn ``poller.poll(timeout)``, and return the task when it has been parked for a few rounds of the hub."""
    waiting = polling_in(poller)
    task = hub.spawn(poller.poll, timeout)
    until(hub, lambda: polling_in(poller) > waiting or task.done)
    tick(hub, task)
    return task


def nobody_polls(*pollers: greenzmq.Poller) -> None:
    """Assert that no greenlet waits in these Pollers, and that the hub watches no descriptor for any Poller."""
    for poller in pollers:
        assert not polling_in(poller)
        assert not is_watched(poller)


class Fds(ExitStack):
    """Files that are closed at the end of the test, unless the test itself has closed them."""

    def pipe(self) -> tuple[int, int]:
        """Make a pipe. Return the end to read from, and the end to write to."""
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
        """Make the two ends of a connection over tcp, which has out-of-band data."""
        with sockets.create_server(("127.0.0.1", 0)) as server:
            client = self.enter_context(sockets.create_connection(server.getsockname()))
            return self.enter_context(server.accept()[0]), client


@contextmanager
def crowd(
    hub: greenzmq.GreenHub, many: int = MANY, few: int = FEW
) -> Iterator[tuple[greenzmq.Poller, list[greenzmq.Socket], list[greenzmq.Socket]]]:
    """Make a Poller with `many` PULLs, all polled before and now idle, and connect a PUSH to each of `few` of them."""
    with many_files(many + 500):
        context = greenzmq.Context(hub=hub)
        context.set(zmq.MAX_SOCKETS, many + few + 100)
        poller = greenzmq.Poller()  # first, for a descriptor with a small number: select() takes no others
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
    """Collect the sockets whose ``EVENTS`` greenzmq reads during the block, in order."""
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
    """Collect the calls in this thread during the block, of Python functions and of C functions.

    The garbage collector is off: it would run at any time, and call the finalizers of others.
    """
    calls: list[str] = []

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls.append(f"{frame.f_code.co_name} {getattr(argument, '__name__', '')}")

    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()


@contextmanager
def count_rounds(hub: greenzmq.GreenHub) -> Iterator[Callable[[], int]]:
    """Count the rounds of the loop during the block."""
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
            # The rounds of libuv's loops cannot be counted. But a loop that spins calls back again and again.
            count_signals(stack.enter_context(pytest.MonkeyPatch.context()), count)
        yield lambda: rounds


def is_open(fd: int) -> bool:
    """Whether this file descriptor is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """Allow this process to have `wanted` files open during the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(soft, wanted) if soft >= 0 else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def waiting(hub, event, *args):
    """Spawn ``event.wait(*args)``, and return the task when it has been parked for a few rounds of the hub."""
    links = links_of(event)
    task = hub.spawn(event.wait, *args)
    until(hub, lambda: links_of(event) > links)
    tick(hub, task)
    return task
