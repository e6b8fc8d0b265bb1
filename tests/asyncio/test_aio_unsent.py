"""A send that nobody awaits, and that can no longer be sent, is told to the loop's exception handler: once."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from support.aio import finished, on_loops, rounds, until_sending
from support.asyncio import loop_name, run_on
from support.inside import senders_of

import greenzmq.aio

__all__ = ["loop_name"]

#: What is tested here is collected, sockets as well.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed socket:ResourceWarning")

Told = list[dict[str, Any]]


@pytest.fixture
def context() -> Iterator[Any]:
    """A context whose sockets may outlive a loop."""
    context = greenzmq.aio.Context()
    yield context
    context.destroy(0)


def full(context: Any) -> Any:
    """A socket without a peer: a send has to wait for room."""
    socket = context.socket(zmq.PUSH)
    socket.linger = 0
    return socket


def listen() -> Told:
    """What the running loop's exception handler is told from now on."""
    told: Told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    return told


def test_at_the_end_of_the_loop(loop_name: str, context: Any) -> None:
    """Told while `asyncio.run` ends, although the program still has the socket, and the futures; and not again."""

    async def main() -> tuple[Told, list[Any]]:
        futures = [socket.send(b"x"), socket.send_multipart([b"x"] * 3), socket.send_string("x", zmq.SNDMORE)]
        return listen(), futures

    socket = full(context)
    told, futures = run_on(loop_name, main())
    texts = [what["message"] for what in told]
    assert all(repr(socket) in text and "await" in text for text in texts)
    assert [text.partition(" still")[0].rpartition(" of ")[2] for text in texts] == ["1 part", "3 parts", "1 part"]
    assert all(future.cancelled() for future in futures)
    assert not senders_of(socket)
    del futures
    told.clear()
    gc.collect()
    assert not told


def test_what_has_room_is_sent_at_the_end_of_the_loop(loop_name: str, context: Any) -> None:
    """What only waits for the loop to go round is sent, all of it, and in order; and nobody is told."""

    async def main() -> Told:
        push.bind("inproc://unsent")
        pull.connect("inproc://unsent")
        for number in range(500):
            push.send(b"%d" % number)
        return listen()

    hot = greenzmq.aio.Context(turn=0.000_001)
    push, pull = hot.socket(zmq.PUSH), hot.socket(zmq.PULL)
    try:
        assert run_on(loop_name, main()) == []
        plain = zmq.Socket.shadow(pull.underlying)
        assert [plain.recv(zmq.NOBLOCK) for _ in range(500)] == [b"%d" % number for number in range(500)]
    finally:
        hot.destroy(0)


def test_room_that_comes_at_the_end_of_the_loop(loop_name: str, context: Any) -> None:
    """The end makes a last attempt: what has room by then is sent, in the order of the calls, and the rest is told."""

    async def main() -> Told:
        for socket in (push, pull):
            socket.hwm = 1
        push.bind("inproc://unsent")
        pull.connect("inproc://unsent")
        while push.send(b"fill").done():
            pass
        push.send(b"1")
        push.send(b"2")
        told = listen()
        await rounds()
        plain = zmq.Socket.shadow(pull.underlying)
        while plain.poll(0):
            received.append(plain.recv())
        return told

    push, pull = full(context), context.socket(zmq.PULL)
    received: list[bytes] = []
    told = run_on(loop_name, main())
    plain = zmq.Socket.shadow(pull.underlying)
    while plain.poll(0):
        received.append(plain.recv())
    assert [each for each in received if each != b"fill"] == [b"1", b"2"][: 2 - len(told)]
    assert received


async def send_two(socket: Any) -> None:
    socket.send(b"x")
    socket.send_multipart([b"x", b"y"])
    await until_sending(socket, 2)


async def send_in_vain(socket: Any) -> None:
    socket.sndtimeo = 1
    with pytest.raises(zmq.Again):
        await socket.send(b"again")


@pytest.mark.parametrize("how", ["collected", "used again"])
def test_a_loop_that_is_closed_and_no_more(loop_name: str, context: Any, how: str) -> None:
    """Without `shutdown_asyncgens`: told when the futures are gone, be it since another loop uses the socket."""
    told: Told = []
    loop = importlib.import_module(loop_name).new_event_loop()
    loop.set_exception_handler(lambda _, what: told.append(what))
    socket = full(context)
    loop.run_until_complete(send_two(socket))
    loop.close()
    if how == "used again":
        run_on(loop_name, send_in_vain(socket))
        assert len(told) == 2
    del socket, loop
    gc.collect()
    texts = [what["message"] for what in told]  # in whatever order they were collected
    assert sorted(("2 parts" in text, "zmq.PUSH" in text) for text in texts) == [(False, True), (True, True)]


@pytest.mark.filterwarnings("ignore:no asyncio loop is running")
def test_a_loop_that_never_runs(loop_name: str, context: Any) -> None:
    """A call before the loop, which then does not come."""
    told: Told = []
    loop = importlib.import_module(loop_name).new_event_loop()
    loop.set_exception_handler(lambda _, what: told.append(what))
    asyncio.set_event_loop(loop)
    try:
        full(context).send(b"x")
        loop.close()
        del loop
        asyncio.set_event_loop(None)
        gc.collect()
        assert len(told) == 1
    finally:
        asyncio.set_event_loop(None)


async def cancelled(socket: Any) -> None:
    socket.send(b"x").cancel()


async def awaited(socket: Any) -> None:
    tasks.append(asyncio.ensure_future(finished(socket.send(b"x"))))
    await until_sending(socket)


async def closed(socket: Any) -> None:
    socket.send(b"x").add_done_callback(lambda future: future.exception())
    socket.close()
    await rounds()


async def refused(socket: Any) -> None:
    with pytest.raises(zmq.Again):
        socket.send(b"x", zmq.NOBLOCK).result()
    socket.sndtimeo = 1
    with pytest.raises(zmq.Again):
        await socket.send(b"x")


async def received(socket: Any) -> None:
    pull = socket.context.socket(zmq.PULL)
    socket.send(b"x")
    socket.bind("inproc://unsent")
    pull.connect("inproc://unsent")
    assert await pull.recv() == b"x"


async def receiving(socket: Any) -> None:
    pull = socket.context.socket(zmq.PULL)
    futures = [pull.recv(), pull.recv(), pull.poll()]
    futures[1].add_done_callback(lambda _: None)
    await rounds()
    del futures


tasks: list[Any] = []


@pytest.mark.parametrize("scene", [cancelled, awaited, closed, refused, received, receiving])
def test_of_others_nothing_is_told(loop_name: str, context: Any, scene: Callable[[Any], Any]) -> None:
    """Of what was cancelled, sent or refused, of what a task has awaited, and of what was to receive."""

    async def main() -> Told:
        told = listen()
        await scene(full(context))
        gc.collect()
        return told

    told = run_on(loop_name, main())
    tasks.clear()
    gc.collect()
    assert told == []


@pytest.mark.filterwarnings(r"ignore:.*fork\(\):DeprecationWarning")  # eventlet's, if a test before has imported it
@on_loops
async def test_a_forked_child_tells_nothing() -> None:
    """The send is the parent's, which goes on."""
    context = greenzmq.aio.Context()
    socket = full(context)
    told = listen()
    socket.send(b"x")
    await until_sending(socket)
    child = os.fork()
    if not child:
        try:
            gc.collect()
        finally:
            os._exit(len(told))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(senders_of(socket)) == 1
    await context.destroy(0)
    assert told == []
