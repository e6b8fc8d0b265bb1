"""A signal handler closes a watch, or raises, at any bytecode of its start and stop: nothing is left of it."""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest
from support.interruptions import Interruption, at_each_bytecode
from support.polling import IN, Fds, goes_on, pair, polling
from support.sockets import open_context

import greenzmq
from greenzmq.errors import WatchError
from greenzmq.hubs.base import Watch

#: Of how many bytecodes in a row a normal run takes one.
STRIDE = 11


class RaisedError(Exception):
    """The handler's own."""


pytestmark = pytest.mark.torture


@pytest.fixture(params=[False, True], ids=["", "blocks"])
def connection(request: pytest.FixtureRequest) -> Iterator[tuple[sockets.socket, sockets.socket]]:
    """A connection whose first end is readable and writable. libuv does not watch one that blocks itself."""
    ours, theirs = sockets.socketpair()
    ours.setblocking(request.param)
    theirs.send(b"x")
    yield ours, theirs
    ours.close()
    theirs.close()


def fires(hub: greenzmq.GreenHub, fd: int, write: bool) -> bool:
    """Whether a new watch on the descriptor calls back: nothing of another one stands in its way."""
    calls: list[bool] = []
    watch = hub.hub.watch(fd, partial(calls.append, True), write=write)
    watch.start()
    for _ in range(500):
        if not calls:
            hub.sleep(0.001)
    watch.close()
    return bool(calls)


def is_silent(hub: greenzmq.GreenHub, calls: list[bool]) -> bool:
    """Whether nothing calls back while the hub looks at its descriptors twice."""
    calls.clear()
    for _ in range(2):
        hub.sleep(0.002)
    return not calls


#: What is interrupted; and whether the watch is started before, has called back, and is lazily stopped.
ACTS: dict[str, tuple[Callable[[Watch], object], bool, bool, bool]] = {
    "start": (Watch.start, False, False, False),
    "stop": (Watch.stop, True, False, False),
    "stop, after a call": (Watch.stop, True, True, False),
    "stop lazily": (Watch.stop_lazily, True, True, False),
    "start again": (Watch.start, True, True, True),
    "close": (Watch.close, True, False, False),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_closed_in_the_midst(hub, connection, write, act):
    """A watch that a handler closes at the k-th bytecode of an act, for each k, is closed when the act is over: it does
    not call back, and the descriptor is free for the next watch, in both directions.

    Seen to fail when `Watch.start` did not look whether the watch was closed, when only a watch that is `started` was
    taken out of the table, and when gevent's watcher was started after its `close`.
    """
    fd = connection[0].fileno()
    call, started, called, stopped_lazily = ACTS[act]

    def scene(at: int) -> bool:
        calls: list[bool] = []
        watch = hub.hub.watch(fd, partial(calls.append, True), write=write)
        if started:
            watch.start()
        while called and not calls:
            hub.sleep(0.001)
        if stopped_lazily:
            watch.stop_lazily()
        interruption = Interruption(at, watch.close)
        try:
            interruption.call(getattr(watch, call.__name__))
        except WatchError:
            assert call is Watch.start, at  # which had yet to begin
        if interruption.happened:
            assert watch.closed
            assert not watch.started
            assert hub.hub.readers == hub.hub.writers == {}, at
            assert is_silent(hub, calls), at
        watch.close()
        assert fires(hub, fd, write=bool(at % 2)), at
        return interruption.happened

    at_each_bytecode(scene, STRIDE)


def test_closed_with_its_descriptor_in_the_midst(hub):
    """The handler closes the descriptor as well, as that of a socket: `start` says nothing of that.

    Seen to fail, by an OSError, when `Watch.start` raised whatever the system says of a descriptor that is closed.
    """

    def scene(at: int) -> bool:
        ours, theirs = sockets.socketpair()
        watch = hub.hub.watch(ours.fileno(), lambda: None)
        interruption = Interruption(at, lambda: (watch.close(), ours.close()))
        try:
            interruption.call(watch.start)
        except WatchError:
            assert interruption.happened  # before the start had begun
        watch.close()
        assert hub.hub.readers == hub.hub.writers == {}, at
        hub.sleep(0.001)
        for end in (ours, theirs):
            end.close()
        return interruption.happened

    at_each_bytecode(scene, STRIDE)


@pytest.mark.parametrize("act", ["start", "stop"])
@pytest.mark.parametrize("handler", ["closes", "starts another", "replaces"])
def test_another_watch(hub, handler, act):
    """Whatever comes in the midst of a start or a stop, another watch on the descriptor calls back: on the other
    direction, one that was there before the handler closed the first, and one that the handler has started; on the
    same, one that the handler has started after it closed the first.

    Seen to fail on the selector hub when it looked only once at what is wanted of a descriptor; on asyncio when the
    first watch took the place of the other in the loop; on eventlet when it took out whatever listener was there.
    """
    ours, theirs = sockets.socketpair()
    ours.setblocking(False)
    theirs.send(b"x")
    fd = ours.fileno()

    def scene(at: int) -> bool:
        calls: list[bool] = []
        other = hub.hub.watch(fd, partial(calls.append, True), write=True)
        watch = hub.hub.watch(fd, lambda: None, write=handler == "replaces")
        handle = {
            "closes": watch.close,
            "starts another": other.start,
            "replaces": lambda: (watch.close(), other.start()),
        }
        if handler == "closes":
            other.start()
        if act == "stop":
            watch.start()
        interruption = Interruption(at, handle[handler])
        try:
            interruption.call(getattr(watch, act))
        except WatchError:
            assert handler != "starts another"
        assert not (interruption.happened and is_silent(hub, calls)), at
        watch.close()
        other.close()
        return interruption.happened

    at_each_bytecode(scene, STRIDE)
    ours.close()
    theirs.close()


# -- those who use watches --------------------------------------------------------------------------------------------


class StartInterruption(Interruption):
    """An `Interruption` of `Watch.start` and of what that calls, at each line. What raises between two bytecodes of a
    line may leave CPython 3.11 with the keywords of a call that was not made.
    """

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        caller: FrameType | None = frame
        while caller is not None and caller.f_code is not Watch.start.__code__:
            caller = None if caller.f_code.co_name == "__del__" else caller.f_back
        step = super()._enter(frame, event, argument)
        if caller is None or step is None:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = False, True
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._step(frame, "opcode" if event == "line" else event, argument)
        return self._line


def test_an_exception_of_the_handler(hub, connection):
    """A handler closes the watch and raises: its exception comes out, and the watch is closed.

    Seen to fail when any exception was taken for that of a descriptor which is closed.
    """

    def close_and_raise() -> None:
        watch.close()
        raise RaisedError

    def scene(at: int) -> bool:
        nonlocal watch
        watch = hub.hub.watch(connection[0].fileno(), lambda: None)
        interruption = StartInterruption(at, close_and_raise)
        try:
            interruption.call(watch.start)
        except RaisedError:
            assert interruption.happened
        else:
            assert not interruption.happened, at
        watch.close()
        assert hub.hub.readers == hub.hub.writers == {}, at
        return interruption.happened

    watch: Watch
    at_each_bytecode(scene, 1)


def fail() -> None:
    raise RaisedError


def test_wait_fd_meets_an_exception(hub, connection):
    """A handler raises in the midst of `wait_fd`'s start of its watches: nothing is left, and the next call works.

    Seen to fail, by a watch that was left, when only a watch that is `started` was taken out of the hub's table.
    """
    fd = connection[0].fileno()
    connection[0].recv(1)

    def scene(at: int) -> bool:
        interruption = StartInterruption(at, fail)
        task = hub.spawn(interruption.call, partial(hub.wait_fd, fd, timeout=0.001))
        try:
            assert task.get() == 0
        except RaisedError:
            pass
        assert hub.hub.readers == hub.hub.writers == {}, at
        connection[1].send(b"x")
        assert hub.wait_fd(fd) == 1
        connection[0].recv(1)
        return interruption.happened

    at_each_bytecode(scene, 1)


def test_wait_fd_whose_watches_are_closed(hub, connection):
    """A handler closes whatever is watched, at any bytecode of `wait_fd`: that ends with its time.

    Seen to fail when a watch that was closed in the midst of its start was started all the same.
    """
    fd = connection[0].fileno()
    connection[0].recv(1)

    def close_all() -> None:
        for watch in [*hub.hub.readers.values(), *hub.hub.writers.values()]:
            watch.close()

    def scene(at: int) -> bool:
        interruption = Interruption(at, close_all)
        assert hub.spawn(interruption.call, partial(hub.wait_fd, fd, timeout=0.001)).get() == 0
        assert hub.hub.readers == hub.hub.writers == {}, at
        return interruption.happened

    at_each_bytecode(scene, STRIDE)


def test_a_poller_meets_an_exception(hub):
    """A handler raises in the midst of the start of a Poller's watch: the next poll waits, and is woken.

    Seen to fail, by a poll that was not woken, when only a watch that is `started` was taken out of the hub's table.
    """
    with Fds() as files:
        reader, writer = files.pipe()

        def scene(at: int) -> bool:
            poller = greenzmq.Poller()
            poller.register(reader, IN)
            interruption = StartInterruption(at, fail)
            task = hub.spawn(interruption.call, poller.poll, 1)
            try:
                assert task.get() == []
            except RaisedError:
                pass
            assert all(watch.lazily_stopped for watch in (*hub.hub.readers.values(), *hub.hub.writers.values())), at
            task = polling(hub, poller)
            os.write(writer, b"x")
            goes_on(hub, task)
            assert task.get() == [(reader, IN)]
            os.read(reader, 1)
            return interruption.happened

        at_each_bytecode(scene, 1)


def test_a_poller_whose_set_is_renewed(hub):
    """A handler polls in the midst of a poll, and finds that the set has to be renewed, so that its watch is closed:
    the interrupted poll waits with the new one.

    Seen to fail, by a WatchError, when the interrupted poll went on to start the watch that was closed.
    """
    with Fds() as files, open_context(hub) as context:
        reader, writer = files.pipe()
        socket, _ = pair(context)

        def scene(at: int) -> bool:
            stray, stray_writer = files.pipe()
            files.own(os.dup(stray))
            poller, others = greenzmq.Poller(), greenzmq.Poller()
            poller.register(reader, IN)
            for what in (socket, stray):
                others.register(what, IN)
            assert hub.spawn(others.poll, 1).get() == []

            def renew() -> None:
                os.close(stray)
                others.unregister(stray)
                os.write(stray_writer, b"nobody reads this")
                others.poll(0)

            interruption = StartInterruption(at, renew)
            task = hub.spawn(interruption.call, poller.poll)
            hub.sleep(0.002)
            assert not task.done
            os.write(writer, b"x")
            goes_on(hub, task)
            assert task.get() == [(reader, IN)], at
            os.read(reader, 1)
            return interruption.happened

        at_each_bytecode(scene, 1)
