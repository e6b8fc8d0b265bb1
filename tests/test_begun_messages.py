"""A message that is begun by hand and not yet ended: who else waits, and when the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq
from helpers_invariants import checked
from helpers_sockets import connected, open_context, parked, sends, until
from helpers_tasks import foreign_spawn
from helpers_waiters import TIGHT, drain, plain, waiting_sender

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
            sender.send(b"torso", zmq.NOBLOCK | zmq.SNDMORE)
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
