"""The turn as programs set it, and that every hot loop has one. How it ends is in ``test_counts.py``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from support.inside import end_turn_in_the_queue, replace_in_proxies, replace_yield, senders_of, turn_of
from support.sockets import connected, each, fill, never_switches, open_context, until

import greenzmq
from greenzmq.sockets.fairness import FAST_CALLS
from greenzmq.testing import check_socket

#: So short that it is over whenever the clock is looked at, in milliseconds.
NO_TIME = 1e-6
#: Of each kind, more than fit between two looks at the clock.
MANY = 5 * FAST_CALLS

UNLIMITED = {"sndhwm": 0, "rcvhwm": 0}


def pushes(context: greenzmq.Context, name: str, *args: Any) -> Iterator[object]:
    _, push = connected(context, zmq.PULL, zmq.PUSH, **UNLIMITED)
    for _ in range(MANY):
        yield getattr(push, name)(*args)


def pulls(context: greenzmq.Context, name: str, *args: Any) -> Iterator[object]:
    pull, push = connected(context, zmq.PULL, zmq.PUSH, **UNLIMITED)
    for _ in range(MANY):
        zmq.Socket.send(push, b'"m"', zmq.NOBLOCK)
    for _ in range(MANY):
        yield getattr(pull, name)(*args)


def polls(context: greenzmq.Context, make: Callable[[greenzmq.Socket], Callable[[], object]]) -> Iterator[object]:
    pull, push = connected(context, zmq.PULL, zmq.PUSH, **UNLIMITED)
    push.send(b"m")
    poll = make(pull)
    for _ in range(MANY):
        yield poll()


def publishes(context: greenzmq.Context) -> Iterator[object]:
    pub, sub = connected(context, zmq.PUB, zmq.SUB)
    sub.subscribe(b"")
    for _ in range(MANY):
        yield pub.send(b"m")


def through_poller(socket: greenzmq.Socket) -> Callable[[], object]:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return lambda: poller.poll(1000)


HOT: dict[str, Callable[[greenzmq.Context], Iterator[object]]] = {
    "send": lambda context: pushes(context, "send", b"m"),
    "send, zero-copy": lambda context: pushes(context, "send", b"m" * 70_000, 0, False),
    "send_multipart": lambda context: pushes(context, "send_multipart", [b"m", b"n"]),
    "send_json": lambda context: pushes(context, "send_json", {}),
    "send to nobody's end": publishes,
    "recv": lambda context: pulls(context, "recv"),
    "recv, a Frame": lambda context: pulls(context, "recv", 0, False),
    "recv_multipart": lambda context: pulls(context, "recv_multipart"),
    "recv_json": lambda context: pulls(context, "recv_json"),
    "recv_into": lambda context: pulls(context, "recv_into", bytearray(10)),
    "poll": lambda context: polls(context, lambda socket: lambda: socket.poll(1000)),
    "Poller": lambda context: polls(context, through_poller),
    "select": lambda context: polls(context, lambda socket: lambda: greenzmq.select([socket], [], [], 1)),
}


def counted_runs(hub: greenzmq.GreenHub, operations: Iterator[object]) -> tuple[int, int]:
    """The most operations without a round of the hub in between, and the number of these rounds."""
    ticks = [0]

    def tick() -> None:
        while True:
            ticks[0] += 1
            hub.sleep()

    task = hub.spawn(tick)
    until(hub, lambda: ticks[0])
    before = seen = ticks[0]
    longest = run = 0
    for _ in operations:
        run = run + 1 if ticks[0] == seen else 0
        seen = ticks[0]
        longest = max(longest, run)
    task.kill()
    return longest, seen - before


@each("name", HOT)
def test_hot_loops(hub, name):
    """Whatever a greenlet does without having to wait, the hub goes round after a bounded number of operations."""
    with open_context(hub, turn=NO_TIME) as context:
        longest, rounds = counted_runs(hub, HOT[name](context))
        assert longest <= 2 * FAST_CALLS
        assert rounds


@each("kind", ["timer", "watch"])
def test_timers_and_watches_beside_a_hot_loop(hub, kind):
    """At the end of a turn the hub looks at its timers and descriptors, too, and not only at who is ready to run.

    Seen to fail on gevent, whose loops first run up to 1,000 callbacks that are scheduled meanwhile.
    """
    readable, writable = os.pipe()
    ready: list[int] = []

    def wait() -> None:
        if kind == "timer":
            hub.sleep(0.001)
        else:
            hub.wait_fd(readable)
        ready.append(1)

    with open_context(hub, turn=NO_TIME) as context:
        task = hub.spawn(wait)
        hub.sleep()
        if kind == "watch":
            os.write(writable, b"x")
        pub, _ = connected(context, zmq.PUB, zmq.SUB)
        due = time.monotonic() + 0.002
        while time.monotonic() < due:
            pass
        operations = 0
        while not ready and operations < 100 * FAST_CALLS:
            pub.send(b"m")
            operations += 1
        assert ready
        assert operations <= 10 * FAST_CALLS
        task.join()
    os.close(readable)
    os.close(writable)


@each("name", HOT)
def test_a_turn_without_an_end(hub, name):
    """With a turn of 0 the hub never goes round, and each operation runs as it does otherwise."""
    if name == "send, zero-copy":
        return  # pyzmq's collector may answer in another thread while its first buffer is registered
    with open_context(hub, turn=0) as context, never_switches():
        for _ in HOT[name](context):
            pass


def test_killed_where_a_turn_ends_in_the_queue(hub, monkeypatch):
    """A sender that finds room as it joins the queue, and is killed as it lets the hub go round: nothing was sent,
    nobody is left in the queue, and the socket goes on.

    Seen to fail when the pause came after the attempt, and when the dead one stayed in the queue.
    """

    class Killed(BaseException):
        pass

    def kill(_: object) -> None:
        assert senders_of(push), "the turn has ended before the queue"
        raise Killed

    with open_context(hub, turn=NO_TIME) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
        for _ in range(1000):  # libzmq may look for room by itself, but once in a millisecond only
            fill(push)
            received = 0
            while pull.poll(0):
                pull.recv(zmq.NOBLOCK)
                received += 1
            with monkeypatch.context() as patch:
                replace_yield(patch, kill)
                end_turn_in_the_queue(push)
                try:
                    push.send(b"lost")
                except Killed:
                    break
            pull.recv()
        else:
            pytest.fail("no sender has met EAGAIN and then found room")
        assert received
        assert not pull.poll(0)
        check_socket(push, idle=True)
        push.send(b"kept")
        assert pull.recv() == b"kept"


def test_a_timeout_of_0_never_ends_a_turn(hub):
    """With RCVTIMEO and SNDTIMEO of 0 a call does not switch, as under NOBLOCK, however long it goes on.

    Seen to fail when only NOBLOCK was asked about.
    """
    with open_context(hub, turn=NO_TIME) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, rcvtimeo=0, sndtimeo=0, **UNLIMITED)
        with never_switches():
            for _ in range(MANY):
                push.send(b"m")
            for _ in range(MANY):
                pull.recv()
            with pytest.raises(zmq.Again):
                pull.recv()


@pytest.mark.parametrize("turn", [NO_TIME, 0], ids=["short", "without end"])
def test_a_proxy_has_a_turn(hub, monkeypatch, turn):
    """A proxy with messages at hand lets the hub go round between bursts; with a turn of 0 it moves all at once."""
    moved = [0]

    def count(receive: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            moved[0] += 1
            return receive(*args)

        return counted

    replace_in_proxies(monkeypatch, "receive_message", count)
    with open_context(hub, turn=turn) as context:
        front, push = connected(context, zmq.PULL, zmq.PUSH, **UNLIMITED)
        back, pull = connected(context, zmq.PUSH, zmq.PULL, **UNLIMITED)
        for _ in range(2000):
            push.send(b"m", zmq.NOBLOCK)
        seen = set()

        def tick() -> None:
            while True:
                seen.add(moved[0])
                hub.sleep()

        task, proxy = hub.spawn(tick), hub.spawn(greenzmq.proxy, front, back)
        for _ in range(2000):
            pull.recv()
        task.kill()
        proxy.kill()
    between = [number for number in seen if 0 < number < moved[0]]
    assert len(between) >= 10 if turn else not between


def test_where_it_is_said(hub, monkeypatch):
    """A context says it for its sockets, and for its shadows; else the environment does; else it is 2 ms."""

    def said_turn(**said: Any) -> float:
        with open_context(hub, **said) as context:
            socket = context.socket(zmq.PULL)
            seconds = turn_of(socket)
            with greenzmq.Context.shadow(context).socket(zmq.PULL) as other:
                assert turn_of(other) == seconds
            return seconds

    assert said_turn() == 0.002
    assert said_turn(turn=5) == 0.005
    assert said_turn(turn=0) == float("inf")
    monkeypatch.setenv("GREENZMQ_TURN", "7.5")
    assert said_turn() == 0.0075
    assert said_turn(turn=5) == 0.005
    monkeypatch.setenv("GREENZMQ_TURN", "0")
    assert said_turn() == float("inf")
    monkeypatch.setenv("GREENZMQ_TURN", "")
    assert said_turn() == 0.002


def test_a_socket_of_a_plain_context(hub, monkeypatch):
    """A green socket of a pyzmq context heeds the environment, and so does a Poller of plain sockets."""
    monkeypatch.setenv("GREENZMQ_TURN", "9")
    with zmq.Context() as context, greenzmq.Socket(context, zmq.PULL) as socket:
        assert turn_of(socket) == 0.009
        assert turn_of(greenzmq.Poller()) == 0.009


@pytest.mark.parametrize("turn", [-1, float("nan")])
def test_a_turn_that_is_none(turn):
    """A negative turn, and what is no number, are errors that name the culprit and what 0 means."""
    with pytest.raises(ValueError, match=rf"not {turn!r}; 0 never ends it"):
        greenzmq.Context(turn=turn)


@pytest.mark.parametrize("turn", ["2ms", "3", b"4", [2]])
def test_a_turn_that_is_no_number(turn):
    """What is no number at all is told what a turn is. Seen to fail when ``>=`` said that it cannot compare these."""
    with pytest.raises(
        TypeError, match=rf"a turn lasts for milliseconds, such as 2 or 0\.5, not {re.escape(repr(turn))}"
    ):
        greenzmq.Context(turn=turn)


@pytest.mark.parametrize("said", ["soon", "-1", "nan"])
def test_an_environment_that_says_nonsense(said, monkeypatch):
    """So is a variable with something else in it."""
    monkeypatch.setenv("GREENZMQ_TURN", said)
    with pytest.raises(ValueError, match=rf"\$GREENZMQ_TURN is '{said}'; it takes milliseconds, such as 2, or 0"):
        greenzmq.Context()
