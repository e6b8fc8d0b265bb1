"""Wrong use: each has an error of its own whose message names the cure, and the hub and the sockets work afterwards."""

from __future__ import annotations

import errno
import os
import socket as stdlib_socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import greenlet
import pytest
import zmq
from support.sockets import connected, fill, in_hub, parked, receives, sends, until

import greenzmq
import greenzmq.asyncio
from greenzmq import GreenHub
from greenzmq.waiting.tasks import refuse_coroutine


def check_refused(hub: GreenHub, error: object) -> None:
    """It is the error of one who would block the hub, and says where to do it instead."""
    assert isinstance(error, greenzmq.BlockingCallError)
    assert ("await greenzmq.asyncio.run(" if hub.name == "asyncio" else "greenzmq.hub().spawn(") in str(error)


def check_works(hub: GreenHub, pull: greenzmq.Socket, push: greenzmq.Socket) -> None:
    """A receiver that has to wait gets what is sent then, and the hub has its other duties done."""
    task = parked(hub, receives, pull.recv)
    push.send(b"afterwards")
    assert task.get() == b"afterwards"
    hub.sleep(0.001)
    assert hub.run_in_thread(str, 5) == "5"


# -- in the hub's own greenlet -----------------------------------------------------------------------------------------

EMPTY: dict[str, Callable[[greenzmq.Socket], object]] = {
    "recv": lambda pull: pull.recv(),
    "recv, limited": lambda pull: (pull.set(zmq.RCVTIMEO, 1000), pull.recv()),
    "recv_multipart": lambda pull: pull.recv_multipart(),
    "recv_into": lambda pull: pull.recv_into(bytearray(10)),
    "recv_json": lambda pull: pull.recv_json(),
}
FULL: dict[str, Callable[[greenzmq.Socket], object]] = {
    "send": lambda push: push.send(b"more"),
    "send, limited": lambda push: (push.set(zmq.SNDTIMEO, 1000), push.send(b"more")),
    "send_multipart": lambda push: push.send_multipart([b"more", b"parts"]),
    "send_json": lambda push: push.send_json({}),
}


@pytest.mark.parametrize("call", EMPTY)
def test_receiving_in_the_hub(hub: GreenHub, push_pull: tuple[greenzmq.Socket, greenzmq.Socket], call: str) -> None:
    """To receive where nothing is, in a callback, is an error that says where to do it; the queue stays empty."""
    push, pull = push_pull
    error = in_hub(hub, lambda: EMPTY[call](pull))
    check_refused(hub, error)
    assert not receives(pull)
    pull.set(zmq.RCVTIMEO, -1)
    check_works(hub, pull, push)


@pytest.mark.parametrize("call", FULL)
def test_sending_in_the_hub(hub: GreenHub, context: greenzmq.Context, call: str) -> None:
    """To send against a full high-water mark, in a callback, is an error; not a part of the message has been sent."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=2, rcvhwm=2)
    count = fill(push)
    error = in_hub(hub, lambda: FULL[call](push))
    check_refused(hub, error)
    assert not sends(push)
    assert [pull.recv() for _ in range(count)] == [b"fill"] * count
    push.set(zmq.SNDTIMEO, -1)
    check_works(hub, pull, push)


@pytest.mark.parametrize("call", ["sleep", "sleep 0", "join", "get", "wait_fd", "run"])
def test_waiting_in_the_hub(hub: GreenHub, call: str) -> None:
    """Every other call that parks a greenlet is the same error in a callback, and leaves no task, watch or timer."""
    ran: list[int] = []
    task = hub.spawn(hub.sleep, 1000)
    ours, theirs = stdlib_socket.socketpair()
    calls: dict[str, Callable[[], object]] = {
        "sleep": lambda: hub.sleep(0.001),
        "sleep 0": hub.sleep,
        "join": task.join,
        "get": lambda: task.get(timeout=1),
        "wait_fd": lambda: hub.wait_fd(ours, timeout=1),
        "run": lambda: hub.run(ran.append, 1),
    }
    error = in_hub(hub, calls[call])
    check_refused(hub, error)
    task.kill()
    hub.sleep(0.001)
    assert ran == []
    assert hub.hub.readers == hub.hub.writers == {}
    ours.close()
    theirs.close()


def test_run_in_thread_in_the_hub(hub: GreenHub) -> None:
    """The error comes before the thread does: what was refused has not been done."""
    ran: list[int] = []
    error = in_hub(hub, lambda: hub.run_in_thread(ran.append, 1))
    check_refused(hub, error)
    hub.run_in_thread(ran.append, 2)  # started later than the refused one would have been
    assert ran == [2]


def test_ending_a_context_in_the_hub(hub: GreenHub) -> None:
    """`term` in a callback is refused while sockets are open, and then the context is as it was."""
    context = greenzmq.Context(hub=hub)
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    error = in_hub(hub, context.term)
    check_refused(hub, error)
    assert "open sockets" in str(error)
    assert not context.closed
    check_works(hub, pull, push)
    context.destroy(linger=0)
    assert context.closed


def test_what_is_allowed_in_the_hub(hub: GreenHub, push_pull: tuple[greenzmq.Socket, greenzmq.Socket]) -> None:
    """What need not wait works in callbacks: messages at hand, NOBLOCK, options, close, kill, spawn."""
    push, pull = push_pull

    def exchange() -> int:
        for number in range(300):  # longer than one turn
            push.send_multipart([b"%d" % number, b"part"])
            assert pull.recv_multipart() == [b"%d" % number, b"part"]
        return 300

    assert in_hub(hub, exchange) == 300
    assert isinstance(in_hub(hub, lambda: pull.recv(zmq.NOBLOCK)), zmq.Again)
    assert in_hub(hub, lambda: pull.get(zmq.EVENTS)) == 0
    task = parked(hub, receives, pull.recv)
    in_hub(hub, lambda: push.send(b"for the task"))
    assert task.get() == b"for the task"
    task = parked(hub, receives, pull.recv)
    assert in_hub(hub, task.kill) is None
    assert isinstance(task.get(), greenlet.GreenletExit)
    assert in_hub(hub, lambda: hub.spawn(int, "42")).get() == 42
    task = parked(hub, receives, pull.recv)
    in_hub(hub, pull.close)
    with pytest.raises(zmq.ZMQError) as closed:
        task.get()
    assert closed.value.errno == errno.ENOTSOCK


# -- on a closed socket ------------------------------------------------------------------------------------------------

ON_CLOSED: dict[str, Callable[[zmq.Socket[Any]], object]] = {
    "recv": lambda s: s.recv(),
    "recv, no copy": lambda s: s.recv(copy=False),
    "recv, noblock": lambda s: s.recv(zmq.NOBLOCK),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_string": lambda s: s.recv_string(),
    "recv_json": lambda s: s.recv_json(),
    "recv_pyobj": lambda s: s.recv_pyobj(),
    "recv_serialized": lambda s: s.recv_serialized(list),
    "send": lambda s: s.send(b"x"),
    "send, noblock": lambda s: s.send(b"x", zmq.NOBLOCK),
    "send, more": lambda s: s.send(b"x", zmq.SNDMORE),
    "send_multipart": lambda s: s.send_multipart([b"x", b"y"]),
    "send_string": lambda s: s.send_string("x"),
    "send_json": lambda s: s.send_json({}),
    "send_pyobj": lambda s: s.send_pyobj({}),
    "send_serialized": lambda s: s.send_serialized([b"x"], list),
    "get": lambda s: s.get(zmq.EVENTS),
    "getsockopt": lambda s: s.getsockopt(zmq.FD),
    "EVENTS": lambda s: s.EVENTS,
    "set": lambda s: s.set(zmq.RCVTIMEO, 1),
    "bind": lambda s: s.bind("inproc://closed"),
    "connect": lambda s: s.connect("inproc://closed"),
    "unbind": lambda s: s.unbind("inproc://closed"),
    "disconnect": lambda s: s.disconnect("inproc://closed"),
    "bind_to_random_port": lambda s: s.bind_to_random_port("tcp://127.0.0.1"),
}


@pytest.fixture
def plain() -> Iterator[zmq.Socket[bytes]]:
    """A closed socket of pyzmq's own."""
    with zmq.Context() as context:
        socket = context.socket(zmq.PAIR)
        socket.close()
        yield socket


@pytest.mark.parametrize("waited", [False, True], ids=["new", "used"])
def test_closed_socket(hub: GreenHub, context: greenzmq.Context, plain: zmq.Socket[bytes], waited: bool) -> None:
    """On a closed socket everything raises what pyzmq raises, with the same errno; none waits for what can't come.

    A socket whose last call had to wait looks at EVENTS first: another path to the same answer.
    """
    socket, peer = connected(context, zmq.PAIR, zmq.PAIR)
    if waited:
        task = parked(hub, receives, socket.recv)
        peer.send(b"x")
        assert task.get() == b"x"
    socket.close()
    for name, call in ON_CLOSED.items():
        expected, raised = (outcome(call, each) for each in (plain, socket))
        assert raised == expected, name
        assert raised[1] == errno.ENOTSOCK, name
    assert socket.closed
    socket.close()


def outcome(call: Callable[[zmq.Socket[Any]], object], socket: zmq.Socket[Any]) -> tuple[type, int | None]:
    try:
        call(socket)
    except Exception as error:
        return type(error), getattr(error, "errno", None)
    raise AssertionError("no error")


# -- a wrong name ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("say", [greenzmq.use_hub, greenzmq.hub, lambda name: greenzmq.Context(hub=name)])
def test_wrong_name(say: Callable[[Any], object]) -> None:
    """A name that no hub has is refused at once, with those that are there; so is what is no hub at all."""
    with pytest.raises(greenzmq.UnknownHubError, match=r"no hub is named 'Selector'. Installed here: .*selector"):
        say("Selector")
    with pytest.raises(
        greenzmq.UnknownHubError, match=r"'json:loads' is not a hub: give a name, 'package.module:Class'"
    ):
        say("json:loads")
    with pytest.raises(greenzmq.UnknownHubError, match="<class 'int'> is not a hub"):
        say(int)
    with ThreadPoolExecutor(1) as elsewhere:  # other tests may have left hubs of several kinds in this thread
        assert elsewhere.submit(greenzmq.hubs.decide).result().rule != 1  # nothing stays of what was refused


MEANT = {
    "gevnet": "Did you mean 'gevent'?",
    "Selector": "Did you mean 'selector'?",
    " asyncio ": "Did you mean 'asyncio'?",
    "thread": "Did you mean 'threading'?",
    "uvloop": "use 'asyncio', and run your program with uvloop.run(main())",
    "asyncio+uvloop": "use 'asyncio', and run your program with uvloop.run(main())",
}


@pytest.mark.parametrize("name", MEANT)
def test_what_was_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name is told with the right one, where it looks like one; and with the variable that it came from.

    Seen to fail when the names that there are were all that was told, and nothing of where this one was found.
    """
    with pytest.raises(greenzmq.UnknownHubError) as told:
        greenzmq.Context(hub=name)
    assert str(told.value).startswith(f"no hub is named {name!r}. Installed here: ")
    assert MEANT[name] in str(told.value)
    monkeypatch.setenv("GREENZMQ_HUB", name)
    with pytest.raises(greenzmq.UnknownHubError) as told:
        greenzmq.GreenEvent().wait()
    assert str(told.value).startswith(f"$GREENZMQ_HUB says {name!r}: no hub is named {name!r}. ")


def test_nothing_was_meant() -> None:
    """A name like no other is not explained."""
    with pytest.raises(greenzmq.UnknownHubError) as told:
        greenzmq.Context(hub="twisted")
    assert "Did you mean" not in str(told.value)


@pytest.mark.cooperative("there the hub of one thread stands for those of all")
def test_another_threads_hub(hub: GreenHub) -> None:
    """A hub that is given as an object works in its own thread only, and the error names that thread."""
    context = greenzmq.Context(hub=hub)
    pull = context.socket(zmq.PULL)
    pull.bind("inproc://another-thread")

    def wait() -> None:
        pull.recv()

    with pytest.raises(
        greenzmq.HubError, match=r"in thread .*, which is not its own; choose it by name instead"
    ) as refused:
        hub.run_in_thread(wait)
    assert repr(hub.hub) in str(refused.value)
    pull.close()
    context.term()


# -- names of other libraries, and places that are not these -----------------------------------------------------------

ELSEWHERE = {"cancel": "kill()", "cancelled": "get()", "result": "get()", "wait": "join()", "exception": "get()"}


@pytest.mark.parametrize("name", [*ELSEWHERE, "value", "nonsense"])
def test_what_a_task_does_not_have(hub: GreenHub, name: str) -> None:
    """A method of asyncio's tasks, or of futures, is told with what it is called here; others as ever.

    Seen to fail when there was nothing more than that it is not there.
    """
    task = hub.spawn(str)
    assert not hasattr(task, name)
    with pytest.raises(AttributeError, match=rf"^'\w*Task' object has no attribute '{name}'") as told:
        getattr(task, name)
    assert ELSEWHERE.get(name, "") in str(told.value)
    assert ("; " in str(told.value)) is (name != "nonsense")
    task.join()


@pytest.mark.runtime("asyncio")
def test_await_in_a_coroutine(hub: GreenHub) -> None:
    """`await_` in a coroutine or callback says what can be written there. Seen to fail when it said ``run(...)``."""

    async def answer() -> int:
        return 42

    error = in_hub(hub, lambda: greenzmq.asyncio.await_(answer()))
    assert isinstance(error, greenzmq.BlockingCallError)
    assert "write await instead" in str(error)
    assert greenzmq.asyncio.await_(answer()) == 42


@pytest.mark.runtime("asyncio")
def test_a_socket_of_asyncio_in_a_thread(hub: GreenHub) -> None:
    """As in `asyncio.to_thread`: the loop is elsewhere, and the error names both ways out of that.

    Seen to fail when it said that a loop is to be started, as a main program is told.
    """
    context = greenzmq.asyncio.Context()
    pull = context.socket(zmq.PULL)
    pull.bind("inproc://thread")
    with pytest.raises(
        greenzmq.HubError, match="no asyncio loop is running in this thread; leave the thread out"
    ) as told:
        hub.run_in_thread(pull.recv)
    assert "await greenzmq.asyncio.run(function, *args)" in str(told.value)
    assert "greenzmq.Context(hub='selector')" in str(told.value)
    pull.close()
    context.term()


# -- descriptors -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[stdlib_socket.socket, stdlib_socket.socket]]:
    ours, theirs = stdlib_socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("kind", ["negative", "closed", "unheard of", "closed object"])
def test_wait_for_a_bad_descriptor(hub: GreenHub, kind: str) -> None:
    """A descriptor that the system does not know is an error at once, and leaves no watch behind."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    closed = stdlib_socket.socket()
    closed.close()
    bad = {"negative": -1, "closed": reader, "unheard of": 100_000, "closed object": closed}[kind]
    for direction in ({"read": True}, {"read": False, "write": True}, {"read": True, "write": True}):
        with pytest.raises((OSError, ValueError)):
            hub.wait_fd(bad, timeout=5, **direction)
    assert hub.hub.readers == hub.hub.writers == {}


def test_wait_for_nothing(hub: GreenHub) -> None:
    """Neither reading nor writing is a mistake, not an endless wait."""
    with pytest.raises(ValueError, match="set read or write"):
        hub.wait_fd(0, read=False)


def test_wait_for_a_descriptor_twice(hub: GreenHub, pair: tuple[stdlib_socket.socket, stdlib_socket.socket]) -> None:
    """A second greenlet that waits for the same is refused, with the cure; the first one goes on, then others may."""
    ours, theirs = pair
    first = hub.spawn(hub.wait_fd, ours)
    until(hub, lambda: hub.hub.readers)
    for arguments in ({}, {"write": True}):  # what of the second wait was granted is taken back
        with pytest.raises(
            greenzmq.WatchError, match=r"already watched for reading in .*; let one greenlet wait"
        ) as error:
            hub.wait_fd(ours, **arguments)
        assert f"file descriptor {ours.fileno()} " in str(error.value)
        assert repr(hub.hub) in str(error.value)
        assert [*hub.hub.readers] == [ours.fileno()]
    assert hub.wait_fd(ours, read=False, write=True) == 2  # the other direction is free
    theirs.send(b"x")
    assert first.get() == 1
    assert hub.wait_fd(ours) == 1


def test_wait_for_the_descriptor_of_a_waiting_socket(
    hub: GreenHub, push_pull: tuple[greenzmq.Socket, greenzmq.Socket]
) -> None:
    """ZMQ_FD may be waited for beside greenlets that wait on the socket: each of them has a watch of its own."""
    push, pull = push_pull
    task = parked(hub, receives, pull.recv)
    assert hub.wait_fd(pull, timeout=0.001) in (0, 1)
    beside = hub.spawn(hub.wait_fd, pull, timeout=0.001)
    push.send(b"x")
    assert task.get() == b"x"
    assert beside.get() in (0, 1)


def test_coroutine_functions_are_known_without_inspect(monkeypatch):
    """Whatever wraps them. It was imported for that in native threads, which failed under gevent's import locks."""

    class Service:
        async def serve(self):
            pass

        def say(self):
            pass

    monkeypatch.delitem(sys.modules, "inspect")
    serve, say = Service().serve, Service().say
    for wrong in (serve, Service.serve, partial(serve), partial(partial(serve))):
        with pytest.raises(TypeError, match="coroutine function"):
            refuse_coroutine(wrong)
    for right in (say, partial(say), partial(len), len, Service, Service()):
        refuse_coroutine(right)
    assert "inspect" not in sys.modules
