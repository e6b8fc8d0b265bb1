"""Blocking-style calls in coroutines that happen not to wait: in asyncio's debug mode they warn."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import greenlet
import pytest
import zmq
from support.asyncio import loop_name, run_on  # noqa: F401 - a fixture
from support.inside import state_of

import greenzmq
import greenzmq.asyncio
import greenzmq.selector
from greenzmq.sockets.coroutines import CheckedState
from greenzmq.sockets.operations import SocketState


def connected(context: Any, *kinds: int) -> list[Any]:
    first, second = (context.socket(kind) for kind in kinds)
    first.bind("inproc://debug")
    second.connect("inproc://debug")
    return [first, second]


def poll_both(pull: Any, push: Any) -> object:
    poller = greenzmq.Poller()
    poller.register(pull, zmq.POLLIN)
    return poller.poll()


CALLS: dict[str, Callable[[Any, Any], object]] = {
    "recv": lambda pull, push: pull.recv(),
    "recv_multipart": lambda pull, push: pull.recv_multipart(),
    "recv_into": lambda pull, push: pull.recv_into(bytearray(10)),
    "recv_json": lambda pull, push: pull.recv_json(),
    "recv_string": lambda pull, push: pull.recv_string(),
    "send": lambda pull, push: push.send(b"1"),
    "send_multipart": lambda pull, push: push.send_multipart([b"1"]),
    "send_json": lambda pull, push: push.send_json(1),
    "poll": lambda pull, push: pull.poll(),
    "poll, limited": lambda pull, push: pull.poll(1000),
    "Poller.poll": poll_both,
    "select": lambda pull, push: greenzmq.select([pull], [], []),
}
SILENT: dict[str, Callable[[Any, Any], object]] = {
    "recv, noblock": lambda pull, push: pull.recv(zmq.NOBLOCK),
    "recv, no time": lambda pull, push: (pull.set(zmq.RCVTIMEO, 0), pull.recv()),
    "send, noblock": lambda pull, push: push.send(b"1", zmq.NOBLOCK),
    "poll, no time": lambda pull, push: pull.poll(0),
    "options": lambda pull, push: (pull.get(zmq.EVENTS), pull.EVENTS, pull.fileno()),
    "Poller.poll, no time": lambda pull, push: greenzmq.zmq_poll([(pull, zmq.POLLIN)], 0),
    "in a thread": lambda pull, push: ThreadPoolExecutor(1).submit(poll_both, pull, push).result(),
}


def warned(loop: str, call: Callable[[Any, Any], object], debug: bool = True, namespace: Any = greenzmq) -> list[Any]:
    """The warnings of three calls on one line of a coroutine, with messages and room at hand."""

    async def main() -> list[Any]:
        context = namespace.Context()
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        for _ in range(5):
            push.send(b"1", zmq.NOBLOCK)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                call(pull, push)
        pull.close()
        push.close(0)
        await greenzmq.asyncio.run(zmq.Context.term, context)
        return [warning for warning in caught if warning.category is RuntimeWarning]

    found: list[Any] = run_on(loop, main(), debug=debug)
    return found


@pytest.mark.parametrize("call", CALLS)
def test_calls_that_happen_not_to_wait(loop_name: str, call: str) -> None:  # noqa: F811
    """One warning for each place, which names the call and what to write, and points to the caller.

    Seen to fail when a call that need not wait asked nobody, in debug mode as ever.
    """
    (warning,) = warned(loop_name, CALLS[call])
    method = call.partition(",")[0].rpartition(".")[2]
    assert str(warning.message).startswith(f"{method}() was called in a coroutine. It need not wait this time; ")
    assert "Write: await greenzmq.asyncio.run(function, *args)" in str(warning.message)
    assert warning.filename == __file__
    with open(__file__) as source:
        line = source.readlines()[warning.lineno - 1]
    assert f"{method}(" in line


def test_every_namespace(loop_name: str) -> None:  # noqa: F811
    """Whatever hub the socket is for."""
    for namespace in (greenzmq.asyncio, greenzmq.selector):
        assert len(warned(loop_name, CALLS["recv"], namespace=namespace)) == 1


@pytest.mark.parametrize("call", SILENT)
def test_calls_that_never_wait(loop_name: str, call: str) -> None:  # noqa: F811
    """They are right in a coroutine."""
    assert warned(loop_name, SILENT[call]) == []


@pytest.mark.parametrize("call", CALLS)
def test_without_debug_mode(loop_name: str, call: str) -> None:  # noqa: F811
    """Nothing is said, and nothing is asked: the sockets are those that know nothing of it."""
    kinds = []

    def look(pull: Any, push: Any) -> None:
        kinds.append(type(state_of(pull)))
        CALLS[call](pull, push)

    assert warned(loop_name, look, debug=False) == []
    assert {*kinds} == {SocketState}


def test_greenlets_of_ours(loop_name: str) -> None:  # noqa: F811
    """The same calls where they can wait are what is wanted, for longer than a turn; also those that do wait."""

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        assert type(state_of(pull)) is CheckedState

        def send() -> None:
            for number in range(1000):
                push.send(b"%d" % number)

        def receive() -> list[bytes]:
            return [pull.recv() for _ in range(1000)]

        received = greenzmq.asyncio.spawn(receive)
        await greenzmq.asyncio.run(send)
        assert await received == [b"%d" % number for number in range(1000)]
        await greenzmq.asyncio.run(context.destroy)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_on(loop_name, main(), debug=True)


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB, zmq.ROUTER])
def test_sends_that_never_wait(loop_name: str, kind: int) -> None:  # noqa: F811
    """A PUB drops what it cannot send, so its `send` is right anywhere."""

    async def main() -> None:
        context = greenzmq.Context()
        socket = context.socket(kind)
        socket.bind("inproc://drops")
        socket.send_multipart([b"nobody", b"hears"])
        socket.close()
        await greenzmq.asyncio.run(zmq.Context.term, context)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_on(loop_name, main(), debug=True)


def test_warnings_as_errors(loop_name: str) -> None:  # noqa: F811
    """The message is still there for one who makes the call where it belongs."""

    async def main() -> bytes:
        context = greenzmq.asyncio.Context()
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        push.send(b"kept", zmq.NOBLOCK)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning):
                pull.recv()
        message: bytes = await greenzmq.asyncio.run(pull.recv)
        await greenzmq.asyncio.run(context.destroy)
        return message

    assert run_on(loop_name, main(), debug=True) == b"kept"


def test_what_would_wait_is_the_error(loop_name: str) -> None:  # noqa: F811
    """Without a warning beside it."""

    async def main() -> None:
        context = greenzmq.Context()
        pull, _push = connected(context, zmq.PULL, zmq.PUSH)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(greenzmq.BlockingCallError):
                pull.recv()
            with pytest.raises(greenzmq.BlockingCallError):
                greenlet.greenlet(pull.poll).switch()
        await greenzmq.asyncio.run(context.destroy)

    run_on(loop_name, main(), debug=True)


def test_made_before_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment asks for debug mode, sockets made before any loop warn, too."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    context = greenzmq.Context()
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    push.send(b"no loop, no coroutine")

    async def main() -> bytes:
        with pytest.warns(RuntimeWarning, match=r"recv\(\) was called in a coroutine"):
            message: bytes = pull.recv()
        return message

    assert asyncio.run(main(), debug=True) == b"no loop, no coroutine"
    context.destroy()
