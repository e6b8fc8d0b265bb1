"""`greenzmq.stats` that begin or end in the middle of a call: by a signal handler, or by another thread."""

from __future__ import annotations

from typing import Any

import pytest
import zmq
from support.inside import is_counted
from support.interruptions import Interruption, at_each_bytecode
from support.sockets import connected, receives, until

import greenzmq


@pytest.mark.parametrize("begins", [False, True], ids=["ends", "begins"])
def test_in_the_middle_of_a_call(hub, context, begins):
    """The calls go on as if nobody had counted, and the socket is its own again.

    Seen to fail, with an AttributeError or a TypeError, on the hub of native threads, where another thread ended it.
    """
    one, other = connected(context, zmq.PAIR, zmq.PAIR)

    def calls() -> None:
        one.send_multipart([b"1", b"2"])
        assert one.poll(0, zmq.POLLOUT) == zmq.POLLOUT
        assert one.recv() == b"answer"

    def scene(at: int) -> bool:
        counted: list[Any] = [] if begins else [greenzmq.stats(one)]
        interruption = Interruption(at, lambda: counted.append(greenzmq.stats(one)) if begins else counted[0].stop())
        task = hub.spawn(interruption.call, calls)
        with hub.timeout(5):
            assert other.recv_multipart() == [b"1", b"2"]
            until(hub, lambda: receives(one) or task.done)
            other.send(b"answer")
            task.get()
        for each in counted:
            each.stop()
        assert not is_counted(one)
        return interruption.happened

    at_each_bytecode(scene, 37)
