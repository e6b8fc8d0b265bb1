"""Every way to end a wait, at every point of it: nobody's message is lost or doubled, what was thrown comes out as it
is, and the queues are empty afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pytest
import zmq
from support.inside import every_call_yields, receivers_of, replace_yield, senders_of
from support.invariants import check, idle
from support.sockets import connected, open_context, parked, receives, sends, until
from support.waiters import drain, fill_up, plain, signalled, waiting_receiver
from support.ways_to_end import Limit, Target, interruptions

import greenzmq

Way = type[Target]


@contextmanager
def situation(hub: greenzmq.GreenHub) -> Iterator[tuple[greenzmq.Socket, greenzmq.Socket]]:
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
        yield pull, push
        idle(pull, push)


def in_queue(hub: greenzmq.GreenHub, target: Target, queue: Callable[[], list[Any]], place: int) -> None:
    """Wait until the target stands in the queue; its time may be over already."""
    until(hub, lambda: len(queue()) == place or target.ended)


def take_room(push: greenzmq.Socket) -> None:
    """Let the sender see the room that there is; nobody who waits for it hears of it."""
    assert signalled(push, 5)
    plain(push).get(zmq.EVENTS)


# -- in the queue -----------------------------------------------------------------------------------------------------


def receiver_in_the_queue(hub: greenzmq.GreenHub, way: Way, point: str) -> None:
    with situation(hub) as (pull, push):
        before = [waiting_receiver(hub, pull)] if point == "queued" else []
        target = way(hub, pull.recv_multipart)
        in_queue(hub, target, lambda: receivers_of(pull), len(before) + 1)
        others = [*before, hub.spawn(pull.recv_multipart)]
        until(hub, lambda: len(receivers_of(pull)) == len(others) + (not target.ended))
        check(pull)
        sent = [[b"%d" % n] for n in range(len(others) + 1)]
        if point == "woken":
            target.interrupt()
        if point in ("woken", "interrupted when woken"):
            push.send_multipart(sent.pop(0))
            pull.get(zmq.EVENTS)
            sent_before = [[b"0"]]
        else:
            sent_before = []
        if point != "woken":
            target.interrupt()
        until(hub, lambda: target.ended)
        check(pull)
        for message in sent:
            push.send_multipart(message)
        assert all(task.join(5) for task in others), f"{way.__name__}: a receiver hangs"
        got = [*target.got, *(task.get() for task in others), *drain(pull)]
        assert sorted(got) == sent_before + sent
        target.check()


def sender_in_the_queue(hub: greenzmq.GreenHub, way: Way, point: str) -> None:
    with situation(hub) as (pull, push):
        fill_up(push, [b"fill"])
        before = [parked(hub, sends, push.send, b"before")] if point == "queued" else []
        target = way(hub, push.send_multipart, [b"the", b"target's"])
        in_queue(hub, target, lambda: senders_of(push), len(before) + 1)
        others = [*before, hub.spawn(push.send, b"behind")]
        until(hub, lambda: len(senders_of(push)) == len(others) + (not target.ended))
        check(push)
        if point == "woken":
            target.interrupt()
        if point in ("woken", "interrupted when woken"):
            drain(pull)
            push.get(zmq.EVENTS)
        if point != "woken":
            target.interrupt()
        until(hub, lambda: target.ended)
        check(push)
        arrived: list[list[bytes]] = []
        until(hub, lambda: arrived.extend(drain(pull)) or all(task.done for task in others))
        arrived += drain(pull)
        expected = [[b"before"]] * len(before) + [[b"the", b"target's"]] * len(target.got) + [[b"behind"]]
        assert [message for message in arrived if message != [b"fill"]] == expected
        target.check()


IN_THE_QUEUE = ("queued", "first", "woken", "interrupted when woken")


@pytest.mark.parametrize("interrupted", [receiver_in_the_queue, sender_in_the_queue], ids=["receiver", "sender"])
def test_interrupted_in_the_queue(hub, interrupted):
    """With others before or behind it; woken, but not yet run, when the interruption is on its way, or happens then.

    Seen to fail when a waiter that left did not look for the next one; with eventlet.green.zmq a receiver that is
    killed while it queues stops the rest for good.
    """
    for way in interruptions(hub):
        for point in IN_THE_QUEUE:
            interrupted(hub, way, point)


# -- in the yield of a long turn --------------------------------------------------------------------------------------


@pytest.fixture
def short_turns(monkeypatch):
    every_call_yields(monkeypatch)


@pytest.mark.parametrize("direction", ["receiving", "sending"])
def test_interrupted_in_the_yield_of_a_turn(hub, direction, short_turns, monkeypatch):
    """A greenlet that has had its turn is interrupted while the hub goes round: the call had not begun. What it
    received or sent before counts, and nothing else.

    Seen to fail when the hub went round after the operation: a message was lost, or sent and not counted.
    """
    for way in interruptions(hub):
        with monkeypatch.context() as patch:
            yield_interrupted(hub, way, direction, patch)


def yield_interrupted(hub: greenzmq.GreenHub, way: Way, direction: str, patch: pytest.MonkeyPatch) -> None:
    pauses: list[bool] = []
    count: list[int] = []

    def interrupted(contract: Any) -> None:
        pauses.append(True)
        if len(pauses) == 3:
            contract.call_soon(target.interrupt) if target.at_once else target.interrupt()
        yield_to_hub(contract)

    def exchange() -> None:
        for n in range(50):
            if direction == "sending":
                push.send(b"%d" % n)
            else:
                assert pull.recv() == b"%d" % n
            count.append(n)

    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        if direction == "receiving":
            for n in range(50):
                plain(push).send(b"%d" % n)
        yield_to_hub = replace_yield(patch, interrupted)
        target = way(hub, exchange)
        until(hub, lambda: target.ended)
        assert len(pauses) >= 3 or issubclass(way, Limit)  # which a busy machine may meet earlier
        expected = range(len(count)) if direction == "sending" else range(len(count), 50)
        assert drain(pull) == [[b"%d" % n] for n in expected], way.__name__
        target.check()
        idle(pull, push)


# -- between two frames -----------------------------------------------------------------------------------------------

beside = pytest.mark.parametrize("beside", [False, True], ids=["alone", "others wait"])


@beside
def test_interrupted_between_two_frames_received(hub, beside):
    """A receiver is interrupted inside a message that it takes part by part: the rest of it is the next one's, and the
    messages after it are whole.

    Seen to fail when a dead owner kept its hold on the direction, be it by the traceback of what was thrown: the others
    waited for good.
    """
    for way in interruptions(hub):
        receiver_in_a_message(hub, way, beside)


def receiver_in_a_message(hub: greenzmq.GreenHub, way: Way, beside: bool) -> None:
    parts: list[bytes] = []

    def receive() -> None:
        parts.append(pull.recv())
        hub.sleep(60)

    with situation(hub) as (pull, push):
        target = way(hub, receive)
        until(hub, lambda: receives(pull) or target.ended)
        other = waiting_receiver(hub, pull) if beside else None
        push.send_multipart([b"1", b"one"])
        until(hub, lambda: parts or target.ended)
        target.interrupt()
        until(hub, lambda: target.ended)
        push.send_multipart([b"2", b"two"])
        other = other or hub.spawn(pull.recv_multipart)
        got = [*([parts] if parts else []), other.get(5), *drain(pull)]
        while sum(map(len, got)) < 4:
            got.append(pull.recv_multipart())
        assert got[-1] == [b"2", b"two"], way.__name__
        assert [*chain(*got)] == [b"1", b"one", b"2", b"two"]
        target.check()


@beside
def test_interrupted_between_two_frames_sent(hub, beside):
    """A sender is interrupted inside a message that it gives part by part: libzmq cannot take back what has gone, so
    this stands before the next message, once; nobody waits for the dead one's end.

    Seen to fail when a dead owner kept its hold on the direction, be it by the traceback of what was thrown.
    """
    for way in interruptions(hub):
        sender_in_a_message(hub, way, beside)


def sender_in_a_message(hub: greenzmq.GreenHub, way: Way, beside: bool) -> None:
    begun: list[bool] = []

    def send() -> None:
        push.send(b"part", zmq.SNDMORE)
        begun.append(True)
        hub.sleep(60)

    with situation(hub) as (pull, push):
        target = way(hub, send)
        until(hub, lambda: begun or target.ended)
        other = hub.spawn(push.send, b"next") if beside and not target.ended else None
        until(hub, lambda: other is None or sends(push) or target.ended)  # its time limit may come before
        assert other is None or target.ended or not other.done
        target.interrupt()
        until(hub, lambda: target.ended)
        other = other or hub.spawn(push.send, b"next")
        assert pull.recv_multipart() == ([b"part", b"next"] if begun else [b"next"]), way.__name__
        assert other.join(5)
        push.send(b"last")
        assert pull.recv_multipart() == [b"last"]
        target.check()
