"""A hub that was said, and is not the one that runs: whoever would wait on it is told, and who need not wait is served.

Which situations these are is in `situations`; here is every call that can wait, on every hub.
"""

from __future__ import annotations

import re
import socket as stdlib_socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from support.children import Child, need
from support.hub_thread import HubThread
from support.sockets import connected, fill, parked, receives

import greenzmq
from greenzmq import GreenHub, hubs
from greenzmq.hubs.selector import SelectorHub

pytestmark = pytest.mark.all_loops


@pytest.fixture
def other(variant: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A hub that is not the one of this test, and was said in the environment."""
    name = "selector" if variant.name != "selector" else "gevent"
    if name == "gevent":
        need(request, Child("", needs=("gevent",)))
    monkeypatch.setenv("GREENZMQ_HUB", name)
    return name


def fill_up(push: greenzmq.Socket) -> None:
    fill(push)
    push.send(b"more")


def poll_both(pull: greenzmq.Socket, push: greenzmq.Socket) -> object:
    poller = greenzmq.Poller()
    poller.register(pull, zmq.POLLIN)
    return poller.poll()


def track(push: greenzmq.Socket) -> object:
    buffer = bytearray(100_000)
    tracker: Any = push.send(buffer, copy=False, track=True)
    return tracker.wait()


CALLS: dict[str, Callable[[greenzmq.Socket, greenzmq.Socket], object]] = {
    "recv": lambda pull, push: pull.recv(),
    "recv, limited": lambda pull, push: (pull.set(zmq.RCVTIMEO, 1000), pull.recv()),
    "recv_multipart": lambda pull, push: pull.recv_multipart(),
    "recv_into": lambda pull, push: pull.recv_into(bytearray(10)),
    "send": lambda pull, push: fill_up(push),
    "poll": lambda pull, push: pull.poll(),
    "Poller.poll": poll_both,
    "select": lambda pull, push: greenzmq.select([pull], [], []),
    "proxy": greenzmq.proxy,
    "native proxy": lambda pull, push: greenzmq.proxy(pull, push, native=True),
    "MessageTracker.wait": lambda pull, push: track(push),
    "GreenEvent.wait": lambda pull, push: greenzmq.GreenEvent().wait(),
    "term": lambda pull, push: pull.context.term(),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_that_waits(hub: GreenHub, other: str, call: str) -> None:
    """The error names both hubs and the variable. No other hub has been made, and the sockets work.

    Seen to fail when a wait took the hub that was said without a look at the one that runs: it stopped that one.
    """
    before = hubs.current_hub(other)
    context = greenzmq.Context()
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=2, rcvhwm=2)
    with pytest.raises(greenzmq.WrongHubError) as told:
        CALLS[call](pull, push)
    assert f"$GREENZMQ_HUB says {other}, but this greenlet runs on {hub.name}'s hub" in str(told.value)
    assert f"Change that to {hub.name!r}, or remove it" in str(told.value)
    assert hubs.current_hub(other) is before
    greenzmq.use_hub(hub.name, thread=True)  # above the environment
    try:
        pull.set(zmq.RCVTIMEO, -1)
        while pull.poll(0):
            pull.recv()
        task = parked(hub, receives, pull.recv)
        push.send(b"afterwards")
        assert task.get() == b"afterwards"
        pull.close()
        push.close(linger=0)
        context.term()
    finally:
        greenzmq.use_hub(None, thread=True)


def test_what_need_not_wait(hub: GreenHub, other: str) -> None:
    """Messages at hand, NOBLOCK and timeouts of 0 are served, for longer than a turn; and that the turn is over stops
    nobody.
    """
    context = greenzmq.Context(turn=0.001)
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    for number in range(500):
        push.send_multipart([b"%d" % number, b"part"])
        assert pull.recv_multipart() == [b"%d" % number, b"part"]
    with pytest.raises(zmq.Again):
        pull.recv(zmq.NOBLOCK)
    assert pull.poll(0) == 0
    pull.set(zmq.RCVTIMEO, 0)
    with pytest.raises(zmq.Again):
        pull.recv()
    pull.close()
    push.close()
    greenzmq.use_hub(hub.name, thread=True)
    context.term()
    greenzmq.use_hub(None, thread=True)


@pytest.fixture
def pair() -> Iterator[tuple[stdlib_socket.socket, stdlib_socket.socket]]:
    ours, theirs = stdlib_socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.runtime("gevent", "eventlet", "asyncio")
@pytest.mark.parametrize("call", ["sleep", "sleep 0", "run", "join", "get", "wait_fd", "run_in_thread"])
def test_another_hub_by_name(hub: GreenHub, call: str, pair: tuple[stdlib_socket.socket, stdlib_socket.socket]) -> None:
    """What `greenzmq.hub` gives for another name can be asked for, and not be waited on here.

    Seen to fail when only sockets looked at what runs: the selector loop slept, and this hub with it.
    """
    ran: list[int] = []
    elsewhere = greenzmq.hub("selector")
    task = elsewhere.spawn(ran.append, 1)
    calls: dict[str, Callable[[], object]] = {
        "sleep": lambda: elsewhere.sleep(0.001),
        "sleep 0": elsewhere.sleep,
        "run": lambda: elsewhere.run(ran.append, 2),
        "join": task.join,
        "get": lambda: task.get(timeout=1),
        "wait_fd": lambda: elsewhere.wait_fd(pair[0], timeout=1),
        "run_in_thread": lambda: elsewhere.run_in_thread(ran.append, 3),
    }
    with pytest.raises(greenzmq.WrongHubError) as told:
        calls[call]()
    assert repr(elsewhere.hub) in str(told.value)
    assert f"this greenlet runs on {hub.name}'s hub" in str(told.value)
    assert ran == []
    task.kill(block=False)
    elsewhere.hub.close()  # type: ignore[attr-defined]  # a selector hub, whose thread goes on


SPEAKERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "context": (lambda other: greenzmq.Context(hub=other), r"Context\(hub='{other}'\) says {other}, "),
    "namespace": (lambda other: hubs_namespace(other).Context(), r"the namespace greenzmq.{other} says {other}, "),
    "subclass": (lambda other: Bus(hub=other), r"Bus\(hub='{other}'\) says {other}, "),
    "class": (lambda other: greenzmq.Context(hub=hubs.hub_class(other)), r"Context\(hub=\w+Hub\) says {other}, "),
}


class Bus(greenzmq.Context):
    """Somebody's own context."""


def hubs_namespace(name: str) -> Any:
    return __import__(f"greenzmq.{name}", fromlist=["Context"])


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_who_has_said_so(hub: GreenHub, speaker: str) -> None:
    """The error names what has to be changed."""
    other = "selector" if hub.name != "selector" else "gevent"
    make, says = SPEAKERS[speaker]
    context = make(other)
    pull = context.socket(zmq.PULL)
    pull.bind("inproc://said")
    with pytest.raises(greenzmq.WrongHubError, match=says.format(other=other)):
        pull.recv()
    with pytest.raises(greenzmq.WrongHubError, match=says.format(other=other)):
        context.term()
    with pytest.raises(greenzmq.WrongHubError, match=rf"Poller\(hub='{other}'\) says {other}, "):
        polls(pull, hub=other)
    with pytest.raises(greenzmq.WrongHubError, match=says.format(other=other)):
        polls(pull)
    with pytest.raises(greenzmq.WrongHubError, match=rf"hub='{other}' says {other}, "):
        greenzmq.proxy(pull, pull, hub=other)
    pull.close()
    zmq.Context.term(context)  # pyzmq's own, which asks no hub


def polls(pull: greenzmq.Socket, **options: Any) -> object:
    poller = greenzmq.Poller(**options)
    poller.register(pull, zmq.POLLIN)
    return poller.poll()


def test_contradicting_choices() -> None:
    """The second of two choices that differ is an error that names both, with their places; the first one stands.

    Seen to fail when the last one won, whoever had said it.
    """
    greenzmq.use_hub("threading")
    try:
        greenzmq.use_hub("threads")  # the same by another name
        greenzmq.use_hub("threading")
        with pytest.raises(greenzmq.HubError) as told:
            greenzmq.use_hub("asyncio")
        places = rf"{re.escape(__file__)}:\d+"
        assert re.fullmatch(
            rf"use_hub\('asyncio'\) at {places} contradicts use_hub\('threading'\) at {places}; "
            r"withdraw that first: use_hub\(None\)",
            str(told.value),
        )
        with pytest.raises(greenzmq.UnknownHubError):
            greenzmq.use_hub("no such hub")
        assert hubs.decide().name == "threading"
        greenzmq.use_hub("asyncio", thread=True)  # which stands above it
        with pytest.raises(greenzmq.HubError, match=r"withdraw that first: use_hub\(None, thread=True\)"):
            greenzmq.use_hub("threading", thread=True)
        assert hubs.decide().name == "asyncio"
        greenzmq.use_hub(None, thread=True)
        greenzmq.use_hub(None)
        greenzmq.use_hub("asyncio")
        assert hubs.decide().name == "asyncio"
    finally:
        greenzmq.use_hub(None, thread=True)
        greenzmq.use_hub(None)


def test_contradicting_hubs(hub: GreenHub) -> None:
    """A hub itself is not the same choice as its name, which every thread has one of."""
    greenzmq.use_hub(hub.hub, thread=True)
    try:
        greenzmq.use_hub(hub.hub, thread=True)
        with pytest.raises(greenzmq.HubError, match="contradicts"):
            greenzmq.use_hub(hub.name, thread=True)
        hub_here = hubs.hub_to_wait_on()
        assert hub_here is hub.hub
    finally:
        greenzmq.use_hub(None, thread=True)


@pytest.mark.runtime("gevent", "eventlet", "selector", "threads")
def test_the_hub_is_decided_on_once(variant, monkeypatch):
    """Not for each wait of a main greenlet, which no hub has spawned: that took as long as the rest of a round trip."""
    decided: list[object] = []

    def decide(choice: Any = None) -> Any:
        decided.append(choice)
        return decides(choice)

    def ask() -> None:
        with greenzmq.Context(hub=thread.hub.name) as context:
            one, other = connected(context, zmq.PAIR, zmq.PAIR)
            task = greenzmq.hub(thread.hub).spawn(lambda: [other.send(other.recv()) for _ in range(20)])
            decided.clear()
            for _ in range(20):
                one.send(b"m")
                one.recv()
            assert len(decided) <= 1  # at the first one that has to wait: on native threads the answer may be there
            task.get()
            one.close(), other.close()

    decides = hubs.decide
    monkeypatch.setattr(hubs, "decide", decide)
    thread = HubThread(variant)
    try:
        thread.call_in_main(ask)
    finally:
        thread.close()


class Breaking(SelectorHub):
    """A hub of another package, which cannot be asked for any more."""

    broken = False

    @classmethod
    def current(cls) -> Any:
        if cls.broken:
            raise OSError("broken")
        return super().current()


def test_a_hub_of_others_breaks_between_two_waits(monkeypatch):
    """The error names the hub, also where a main greenlet's hub is only confirmed."""
    outcome: list[object] = []

    def wait_twice() -> None:
        with greenzmq.Context(hub=Breaking) as context, context.socket(zmq.PULL) as pull:
            pull.rcvtimeo = 1
            with pytest.raises(zmq.Again):
                pull.recv()
            monkeypatch.setattr(Breaking, "broken", True)
            try:
                pull.recv()
            except Exception as error:
                outcome.append(error)
            monkeypatch.setattr(Breaking, "broken", False)

    thread = threading.Thread(target=wait_twice)
    thread.start()
    thread.join(10)
    (error,) = outcome
    assert isinstance(error, greenzmq.HubError)
    assert "Breaking cannot be started: OSError: broken" in str(error)
