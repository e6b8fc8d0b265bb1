"""A socket's descriptor that was given away: what others do with it on the same loop costs no greenlet its wake-up.

ZMQStream is such a one, and whoever hands a socket to asyncio's `add_reader` or to eventlet's `trampoline`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from support.inside import is_exclusive, loop_of, watch_of
from support.invariants import idle
from support.sockets import connected, descriptor, each, open_context, parked, receives, until

import greenzmq


def on_asyncio(hub: Any, fd: int, callback: Callable[[], object]) -> Callable[[], object]:
    hub.loop.add_reader(fd, callback)
    return lambda: hub.loop.remove_reader(fd)


def on_eventlet(hub: Any, fd: int, callback: Callable[[], object]) -> Callable[[], object]:
    loop = loop_of(hub)
    listener = loop.add(loop.READ, fd, lambda _: callback(), int, int)
    return lambda: loop.remove(listener)


def on_gevent(hub: Any, fd: int, callback: Callable[[], object]) -> Callable[[], object]:
    io = hub._loop.io(fd, 1)
    io.start(callback)
    return lambda: (io.stop(), io.close())


def on_selector(hub: Any, fd: int, callback: Callable[[], object]) -> Callable[[], object]:
    watch = hub.watch(fd, callback)
    watch.start()
    return watch.close


def on_trio(hub: Any, fd: int, callback: Callable[[], object]) -> Callable[[], object]:
    import trio

    scope = trio.CancelScope()
    begun: list[bool] = []

    async def watch() -> None:
        with scope:
            while True:
                begun.append(True)
                await trio.lowlevel.wait_readable(fd)
                callback()

    hub.nursery.start_soon(watch)
    until(greenzmq.hub(hub), lambda: begun)
    return scope.cancel


#: How somebody who knows nothing of greenzmq watches a descriptor on its loop; gives what ends that.
STRANGERS = {"asyncio": on_asyncio, "eventlet": on_eventlet, "gevent": on_gevent, "selector": on_selector}
STRANGERS |= {"threading": on_selector, "trio": on_trio}

#: How a socket's descriptor is asked for.
WAYS: dict[str, Callable[[Any], int]] = {
    "FD": lambda socket: socket.FD,
    "fd": lambda socket: socket.fd,
    "fileno": lambda socket: socket.fileno(),
    "get": lambda socket: socket.get(zmq.FD),
    "getsockopt": lambda socket: socket.getsockopt(zmq.FD),
    "the address": lambda socket: zmq.Socket.shadow(socket.underlying).FD,  # type: ignore[arg-type]
}


@contextmanager
def stranger(hub: greenzmq.GreenHub, fd: int) -> Iterator[list[bool]]:
    """Somebody else watches `fd`, and is told."""
    told: list[bool] = []
    end = STRANGERS[hub.name](hub.hub, fd, lambda: told.append(True))
    try:
        yield told
    finally:
        end()


def wait_once(hub: greenzmq.GreenHub, pull: greenzmq.Socket, push: greenzmq.Socket) -> None:
    task = parked(hub, receives, pull.recv)
    push.send(b"waited for")
    with hub.timeout(5):
        assert task.get() == b"waited for"


@pytest.mark.parametrize("way", WAYS)
def test_watched_by_another_between_waits(hub, push_pull, way):
    """Somebody watches it for a while, when the socket's own watch rests; the waits that come later wake up.

    Seen to hang on asyncio, uvloop and eventlet when the watch rested on the number that was given away.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    with stranger(hub, WAYS[way](pull)):
        hub.sleep()
    for _ in range(2):
        wait_once(hub, pull, push)
    idle(pull)


@pytest.mark.parametrize("way", WAYS)
def test_watched_by_another_in_the_midst_of_a_wait(hub, push_pull, way):
    """Somebody watches it while a greenlet is parked: both are told, in the same wait, in one that begins beside it,
    and in one that goes on when the other has left.

    Seen to hang on asyncio and uvloop when the other took the watch's place, and to be refused on eventlet and the
    selector hub.
    """
    push, pull = push_pull
    task = parked(hub, receives, pull.recv)
    with stranger(hub, WAYS[way](pull)) as told:
        zmq.Socket.shadow(push.underlying).send(b"message")  # type: ignore[arg-type]
        with hub.timeout(5):
            assert task.get() == b"message"
        until(hub, lambda: told or not pull.poll(0))
        hub.sleep(0)  # trio runs the tasks of a round in any order
        assert told
        wait_once(hub, pull, push)
        task = parked(hub, receives, pull.recv)
    push.send(b"after that")
    with hub.timeout(5):
        assert task.get() == b"after that"
    idle(pull)


def test_asked_for_in_another_thread(hub, push_pull):
    """The loop is touched in its own thread, and the greenlet that is parked is woken all the same."""
    push, pull = push_pull
    task = parked(hub, receives, pull.recv)
    asked: list[int] = []
    thread = threading.Thread(target=lambda: asked.append(pull.FD))
    thread.start()
    thread.join()
    until(hub, lambda: watch_of(pull).fd != descriptor(pull) and descriptor(pull) not in hub.hub.readers)
    with stranger(hub, asked[0]):
        hub.sleep()
    push.send(b"message")
    with hub.timeout(5):
        assert task.get() == b"message"
    idle(pull)


@each("way", WAYS)
def test_closed_while_it_is_watched_twice(hub, way):
    """The number that is the socket's own and ours are free again after a close, and who was parked has been told.

    Seen to fail when our number was closed with the socket only: the test finds it open.
    """
    with open_context(hub) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH)
        WAYS[way](pull)

        def receive() -> int | None:
            try:
                pull.recv()
            except zmq.ZMQError as error:
                return error.errno
            return None

        task = hub.spawn(receive)
        until(hub, lambda: receives(pull))
        assert watch_of(pull).fd != descriptor(pull)
        pull.close()
        assert task.get() == zmq.ENOTSOCK


def test_what_greenzmq_asks_for_itself_gives_nothing_away(hub, push_pull):
    """Waits, polls and Pollers leave the socket to itself: its watch still rests between waits."""
    push, pull = push_pull
    with greenzmq.Poller(hub=hub) as poller:
        poller.register(pull, zmq.POLLIN)
        assert (poller.poll(1), pull.poll(1), greenzmq.select([pull], [], [], 0)[0]) == ([], 0, [])
        for _ in range(2):
            wait_once(hub, pull, push)
        repr(pull)
        greenzmq.waiters()
    assert is_exclusive(pull)
    assert watch_of(pull).lazily_stopped == hub.hub.supports_lazy_stop
