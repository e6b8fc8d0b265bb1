"""Exceptions, closes, ends of contexts and rivals at every switch of a greenlet: nothing is lost, nobody hangs.

The walk: a small program runs again and again, and at the k-th switch of one greenlet, the target, something happens;
k grows until the target ends before its k-th switch. The turn is cut down to one operation, so that every operation
that may let the hub go round does so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pytest
import zmq
from support.inside import every_call_yields
from support.invariants import check, idle
from support.schedules import MOMENTS, Disturbance
from support.sockets import connected, open_context, until

import greenzmq

MESSAGES = 6
at_each_moment = pytest.mark.parametrize("moment", MOMENTS)


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    """Every second operation lets the hub go round first."""
    every_call_yields(monkeypatch)


def numbered(kind: bytes = b"") -> list[list[bytes]]:
    return [[b"%s%d" % (kind, n), b"end of %s%d" % (kind, n)] for n in range(MESSAGES)]


def walk(program: Callable[[int], Disturbance]) -> None:
    """Run `program` for each k."""
    for k in range(60):
        if not program(k).happened:
            assert k > 1, "the target hardly switched: this proves nothing"
            return
    raise AssertionError("the target switches without end")


@contextmanager
def pair(hub: greenzmq.GreenHub, one: int, other: int) -> Iterator[Any]:
    with open_context(hub) as context:
        sockets = connected(context, one, other, sndhwm=1, rcvhwm=1)
        yield (context, *sockets)


def receive_some(socket: greenzmq.Socket, got: list[list[bytes]], count: int = MESSAGES) -> None:
    while len(got) < count:
        got.append(socket.recv_multipart())


def receive_parts(socket: greenzmq.Socket, got: list[list[bytes]], count: int = MESSAGES) -> None:
    """The target that receives part by part; what it has begun when it dies, the next one finishes."""
    while len(got) < count:
        got.append([socket.recv()])
        got[-1].append(socket.recv())


def send_some(socket: greenzmq.Socket, messages: list[list[bytes]], done: list[list[bytes]]) -> None:
    for message in messages:
        socket.send_multipart(message)
        done.append(message)


# -- exceptions -------------------------------------------------------------------------------------------------------


@at_each_moment
@pytest.mark.parametrize("place", [0, 1, 2])
def test_stopped_receiver(hub, moment, place):
    """A receiver is stopped at any of its switches, from any place in the queue: each message is received exactly once,
    by it or by the others.

    Seen to fail when a waiter that left did not look for the next one, and when the turn ended after a `recv`.
    """

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.PULL, zmq.PUSH) as (_, pull, push), Disturbance(hub, k, moment)() as disturbance:
            got: list[list[bytes]] = []
            tasks = []
            for n in range(3):
                start = (disturbance.watch, receive_some, pull, got) if n == place else (receive_some, pull, got)
                tasks.append(hub.spawn(*start))
            sender = hub.spawn(send_some, push, numbered(), [])
            until(hub, lambda: len(got) == MESSAGES)
            assert sorted(got) == numbered()
            assert sender.join(5)
            check(pull, push)
            for task in tasks:
                task.kill()
            idle(pull, push)
            return disturbance

    walk(program)


@at_each_moment
@pytest.mark.parametrize("place", [0, 1, 2])
def test_stopped_sender(hub, moment, place):
    """A sender is stopped at any of its switches, from any place in the queue: what arrives is what the senders believe
    to have sent, each once, in the order of each sender.

    Seen to fail when a waiter that left did not look for the next one, and when the turn ended after a `send`.
    """

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.PULL, zmq.PUSH) as (_, pull, push), Disturbance(hub, k, moment)() as disturbance:
            done: list[list[list[bytes]]] = [[], [], []]
            tasks = []
            for n in range(3):
                start = (send_some, push, numbered(b"%d." % n), done[n])
                tasks.append(hub.spawn(*((disturbance.watch, *start) if n == place else start)))
            arrived: list[list[bytes]] = []
            collector = hub.spawn(receive_some, pull, arrived, 3 * MESSAGES + 1)
            for task in tasks:
                assert task.join(5), "a sender hangs"
            until(hub, lambda: len(arrived) == sum(map(len, done)))
            for n in range(3):
                assert [m for m in arrived if m[0].startswith(b"%d." % n)] == done[n]
            collector.kill()
            idle(pull, push)
            return disturbance

    walk(program)


@at_each_moment
def test_stopped_between_the_parts(hub, moment):
    """A receiver that takes messages part by part is stopped at any of its switches: every part is received once, and
    the others get whole messages, but for the rest of one that it has begun."""

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.PULL, zmq.PUSH) as (_, pull, push), Disturbance(hub, k, moment)() as disturbance:
            got: list[list[bytes]] = []
            torn: list[list[bytes]] = []
            tasks = [hub.spawn(disturbance.watch, receive_parts, pull, torn, 3), hub.spawn(receive_some, pull, got, 99)]
            sender = hub.spawn(send_some, push, numbered(), [])
            until(hub, lambda: sum(map(len, got + torn)) == 2 * MESSAGES)
            assert sorted(chain(*got, *torn)) == sorted(chain(*numbered()))
            whole = [message for message in got + torn if message in numbered()]
            assert len(whole) >= MESSAGES - 1
            assert sender.join(5)
            for task in tasks:
                task.kill()
            idle(pull, push)
            return disturbance

    walk(program)


@at_each_moment
def test_stopped_poll(hub, moment):
    """A greenlet in `Socket.poll` is stopped at any of its switches: the receivers beside it miss nothing."""

    def poll_some(socket: greenzmq.Socket) -> None:
        for _ in range(4):
            socket.poll()
            hub.sleep()

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.PULL, zmq.PUSH) as (_, pull, push), Disturbance(hub, k, moment)() as disturbance:
            got: list[list[bytes]] = []
            tasks = [hub.spawn(disturbance.watch, poll_some, pull), hub.spawn(receive_some, pull, got)]
            sender = hub.spawn(send_some, push, numbered(), [])
            until(hub, lambda: len(got) == MESSAGES)
            assert got == numbered()
            assert sender.join(5)
            for task in tasks:
                task.kill()
            idle(pull, push)
            return disturbance

    walk(program)


# -- ends -------------------------------------------------------------------------------------------------------------


@at_each_moment
def test_close_at_each_switch(hub, moment):
    """A socket is closed at any switch of a greenlet that uses it: all who wait get ENOTSOCK, nobody hangs."""

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.DEALER, zmq.DEALER) as (_, one, other):
            disturbance = Disturbance(hub, k, moment, one.close)
            with disturbance():
                tasks = use(hub, disturbance, one, other)
                for task in tasks:
                    assert task.join(5), "a greenlet hangs"
                if disturbance.happened:
                    assert one.closed
                return disturbance

    walk(program)


@pytest.mark.parametrize("moment", ["before", "parked"])
def test_term_at_each_switch(hub, moment):
    """A context is ended at any switch of a greenlet that uses its sockets: all who wait get ETERM, nobody hangs."""

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.DEALER, zmq.DEALER) as (context, one, other):
            one.linger = other.linger = 0
            ending: list[greenzmq.Task[Any]] = []
            disturbance = Disturbance(hub, k, moment, lambda: ending.append(hub.spawn(context.term)))
            with disturbance():
                tasks = use(hub, disturbance, one, other)
                for task in tasks:
                    assert task.join(5), "a greenlet hangs"
            for socket in (one, other):
                idle(socket) if not ending else None
                socket.close()
            assert all(end.join(5) for end in ending)
            return disturbance

    walk(program)


def until_the_end(function: Callable[..., Any], *args: Any) -> None:
    """``function(*args)``, which may end by the end of its socket or context."""
    try:
        function(*args)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.ENOTSOCK, zmq.ETERM):
            raise


def ping(socket: greenzmq.Socket) -> None:
    for n in range(4):
        socket.send(b"%d" % n)
        socket.recv()


def echo(socket: greenzmq.Socket) -> None:
    while socket.poll(2000):
        frame = socket.recv()
        if frame == b"over":
            return
        socket.send(frame)


def use(
    hub: greenzmq.GreenHub, disturbance: Disturbance, one: greenzmq.Socket, other: greenzmq.Socket
) -> list[greenzmq.Task[Any]]:
    """Greenlets that send and receive on `one`, the first of them watched. They end by themselves, or by an error."""

    def stop_echo() -> None:
        for task in pings:
            task.join()
        if disturbance.happened:
            answers.kill()
        else:
            one.send(b"over")

    pings = [hub.spawn(disturbance.watch, until_the_end, ping, one)]
    pings += [hub.spawn(until_the_end, ping, one) for _ in range(2)]
    answers = hub.spawn(until_the_end, echo, other)
    return [*pings, hub.spawn(stop_echo), answers]


# -- rivals in the hub -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rival_call", ["events", "recv", "send", "bind", "shadow"])
@at_each_moment
def test_rival_at_each_switch(hub, moment, rival_call):
    """At any switch of a receiver something in the hub uses its socket, never blocking: no message is lost, nobody
    hangs.
    """

    def program(k: int) -> Disturbance:
        with pair(hub, zmq.DEALER, zmq.DEALER) as (_, one, other):
            got: list[list[bytes]] = []
            stolen: list[Any] = []
            calls_of_rivals = {
                "events": lambda: one.get(zmq.EVENTS),
                "recv": lambda: take(one, stolen),
                "send": lambda: again_or(one.send, b"x", zmq.NOBLOCK),
                "bind": lambda: one.bind("tcp://127.0.0.1:*"),
                "shadow": lambda: take(greenzmq.Socket.shadow(one.underlying), stolen),
            }
            disturbance = Disturbance(hub, k, moment, calls_of_rivals[rival_call])
            with disturbance():
                tasks = [hub.spawn(disturbance.watch, receive_some, one, got), hub.spawn(receive_some, one, got)]
                sender = hub.spawn(send_some, other, numbered(), [])
                until(hub, lambda: len(got) + len(stolen) == MESSAGES)
                assert sorted(got + stolen) == numbered()
                assert sender.join(5)
                for task in tasks:
                    task.kill()
            idle(one, other)
            return disturbance

    walk(program)


def take(socket: greenzmq.Socket, stolen: list[Any]) -> None:
    try:
        stolen.append(socket.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        pass


def again_or(call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except zmq.Again:
        pass
