"""A message that is begun by hand and not yet ended: who else waits, and when the others go on."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from greenlet import getcurrent, greenlet
from support.inside import greenlet_of
from support.invariants import checked
from support.sockets import connected, open_context, parked, receives, sends, until
from support.tasks import foreign_spawn
from support.waiters import TIGHT, drain, plain, waiting_sender

import greenzmq


@contextmanager
def situation(hub: greenzmq.GreenHub) -> Iterator[tuple[greenzmq.Socket, greenzmq.Socket]]:
    """A PUSH and its PULL; invariants checked in every round."""
    with open_context(hub) as context:
        receiver, sender = connected(context, zmq.PULL, zmq.PUSH, **TIGHT)
        with checked(hub, sender, receiver):
            yield sender, receiver


@pytest.mark.parametrize("waits_before", [False, True], ids=["joins-later", "waits-before"])
def test_end_inside_a_message_of_a_greenlet_that_is_kept(hub, waits_before):
    """A task, or a greenlet of gevent's or eventlet's own, ends inside a message, and somebody keeps its greenlet: who
    waits goes on then, without a signal, whether it came before the message or since.

    Seen to fail when only the collection of the owner was noticed.
    """
    with situation(hub) as (sender, receiver):
        begun: list[bool] = []
        ends = greenzmq.GreenEvent()

        def begin() -> None:
            drain(receiver)
            plain(sender).get(zmq.EVENTS)  # so that it finds the room
            sender.send(b"part", zmq.NOBLOCK | zmq.SNDMORE)
            begun.append(True)
            ends.wait()

        waiter = waiting_sender(hub, sender, [b"next"]) if waits_before else None
        owner = foreign_spawn(hub, begin)
        kept = getattr(owner, "_greenlet", owner)
        until(hub, lambda: begun)
        waiter = waiter or parked(hub, sends, sender.send, b"next")
        assert not waiter.done
        ends.set()
        until(hub, lambda: waiter.done)
        assert kept.dead
        assert drain(receiver)[-1][-1] == b"next"


def test_attempts_in_vain_beside_a_message(hub):
    """A greenlet that polls and tries with NOBLOCK, in vain while another one is inside a message, lets that one go on.

    Seen to go round for good when a turn did not end where a message was begun, by whomever.
    """
    with situation(hub) as (sender, receiver):
        got: list[bytes] = []

        def in_parts() -> None:
            got.append(receiver.recv())
            hub.sleep()
            got.append(receiver.recv())

        def try_and_poll() -> bytes:
            while True:
                receiver.poll()
                try:
                    return receiver.recv(zmq.NOBLOCK)
                except zmq.Again:
                    continue

        sender.send_multipart([b"1", b"one"])
        sender.send(b"2")
        owner = hub.spawn(in_parts)
        until(hub, lambda: got)
        assert try_and_poll() == b"2"
        assert got == [b"1", b"one"]
        assert owner.join(5)


@contextmanager
def begun(hub: greenzmq.GreenHub, kind: str) -> Iterator[tuple[greenzmq.Task[Any], greenzmq.Task[Any]]]:
    """A task that waits behind another one's message, and that other one, which is inside of `take_a_break`."""
    with situation(hub) as (sender, receiver):
        resumed, steps = greenzmq.GreenEvent(), []

        def take_a_break() -> None:
            steps.append("break")
            resumed.wait()

        def receive_in_parts() -> None:
            receiver.recv()
            take_a_break()
            receiver.recv()

        def send_in_parts() -> None:
            sender.send(b"1", zmq.SNDMORE)
            take_a_break()
            sender.send(b"2")

        if kind == "receive":
            sender.send_multipart([b"1", b"2"])
            sender.send_multipart([b"3"])
        owner = hub.spawn(receive_in_parts if kind == "receive" else send_in_parts, name="owner")
        until(hub, lambda: steps)
        if kind == "receive":
            worker = parked(hub, receives, receiver.recv_multipart)
        else:
            worker = parked(hub, sends, sender.send, b"3")
        try:
            yield worker, owner
        finally:
            resumed.set()
            worker.join()
            owner.join()


def describe(task: greenzmq.Task) -> Any:
    (found,) = (each for each in greenzmq.waiters() if each.greenlet is greenlet_of(task))
    return found


@pytest.mark.parametrize("kind", ["receive", "send"])
def test_who_waits_behind_a_message_says_so(hub, kind):
    """`waiters` and `dump` say behind whose message a greenlet waits, and where that other greenlet is parked.

    Seen to fail when they told of the socket alone, which has messages.
    """
    with begun(hub, kind) as (worker, owner):
        behind, dumped = describe(worker), io.StringIO()
        greenzmq.dump(dumped)
        assert behind.behind is greenlet_of(owner)
        assert [frame.name for frame in behind.behind_stack[:2]] == ["take_a_break", f"{kind}_in_parts"]
        assert f"behind a message that <greenlet of {owner!r}> has begun to {kind}; that one is at {__file__}:" in str(
            behind
        )
        assert "in take_a_break, for " in str(behind)
        text = dumped.getvalue().partition("the greenlet that has begun the message is in:\n")[2]
        assert text.splitlines()[0].endswith("in take_a_break")
        assert describe(owner).behind is None


def test_whose_owner_runs_in_this_moment(hub):
    """The place of an owner that asks itself, or that another thread sees running, is told as well; and that it ended.

    Seen to fail when only a parked greenlet's place was told.
    """
    with situation(hub) as (sender, receiver):
        sender.send_multipart([b"1", b"2"])
        receiver.recv()  # in this greenlet
        worker = parked(hub, receives, receiver.recv_multipart)
        ours = describe(worker)
        assert ours.behind is getcurrent()
        assert f"has begun to receive; that one is at {__file__}:" in str(ours)
        theirs: list[Any] = []
        thread = threading.Thread(target=lambda: theirs.append(describe(worker)))
        thread.start()
        thread.join()
        assert f"has begun to receive; that one is at {threading.__file__}:" in str(theirs[0])
        assert receiver.recv() == b"2"
        worker.kill()


def test_whose_owner_has_ended(hub):
    """Of a greenlet that has ended in the midst of a message, and has told nobody, is told that it has ended.

    Seen to fail when nothing was said of it.
    """
    with situation(hub) as (sender, receiver):
        here = getcurrent()

        def begin() -> None:
            receiver.recv()
            here.switch()

        sender.send_multipart([b"1", b"2"])
        owner = greenlet(begin)
        owner.switch()
        worker = parked(hub, receives, receiver.recv_multipart)
        owner.switch()
        assert f"behind a message that {owner!r} had begun to receive when it ended, for " in str(describe(worker))
        worker.kill()
