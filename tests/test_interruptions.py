"""What signal handlers may do to a greenlet that is about to wait, at any bytecode: wake it, send to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torture
import zmq
from helpers_interruptions import Interruption
from helpers_invariants import idle
from helpers_random import seeded_random
from helpers_sockets import connected, open_context, until

import greenzmq

#: Of how many bytecodes in a row a normal run takes one.
STRIDE = 1 if torture.FACTOR else 43


def at_each(scene: Callable[[int], bool]) -> None:
    """Run `scene` for one bytecode after the other, as long as it says that it got as far as that."""
    at = seeded_random().randrange(STRIDE)
    while scene(at):
        at += STRIDE


def ended(hub: greenzmq.GreenHub, task: greenzmq.Task[Any], interruption: Interruption) -> bool:
    """Whether `task` has had the time to end, or to wait if nothing has interrupted it."""
    for _ in range(20):
        if task.done or interruption.happened:
            break
        hub.sleep()
    return interruption.happened


@pytest.mark.torture
def test_event_that_is_set_between_two_bytecodes(hub):
    """`GreenEvent.set` in a handler wakes who is about to wait, whenever it comes.

    Seen to hang when `Waiter.park` noted that it was parked after it had asked whether it was woken.
    """

    def scene(at: int) -> bool:
        event = greenzmq.GreenEvent()
        interruption = Interruption(at, event.set)
        task = hub.spawn(interruption.call, event.wait)
        if not ended(hub, task, interruption):
            event.set()
        until(hub, lambda: task.done)
        assert task.get()
        return interruption.happened

    at_each(scene)


@pytest.mark.torture
@pytest.mark.parametrize("looks", [False, True], ids=["sends", "sends and looks"])
@pytest.mark.parametrize("wait", ["recv", "poll"])
def test_message_that_is_sent_between_two_bytecodes(hub, wait, looks):
    """A handler sends to a socket while a greenlet is about to wait there, and may read its ``EVENTS``, which takes the
    signal: the greenlet has the message all the same.

    Seen to hang when the watch was not started; when it looks, too, when a greenlet that had looked did not look again
    after it had joined those who are woken.
    """

    def scene(at: int) -> bool:
        with open_context(hub) as context:
            pull, push = connected(context, zmq.PULL, zmq.PUSH)
            interruption = Interruption(at, lambda: (push.send(b"1"), looks and pull.get(zmq.EVENTS)))
            task = hub.spawn(interruption.call, getattr(pull, wait))
            if not ended(hub, task, interruption):
                push.send(b"1")
            until(hub, lambda: task.done)
            assert task.get() == (b"1" if wait == "recv" else zmq.POLLIN)
            idle(pull, push)
            return interruption.happened

    at_each(scene)
