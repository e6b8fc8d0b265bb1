"""NaN in the place of a time: an error to the one who gave it, everywhere that a time comes in. The hub goes on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.sockets import connected, open_context
from support.tasks import NEVER

import greenzmq
from greenzmq import GreenHub
from greenzmq.testing import SteppingHub

NAN = math.nan

#: What takes a time; given the hub, a socket that has nothing to receive, one end of a pipe, and a task that waits.
TAKERS: dict[str, Callable[[GreenHub, greenzmq.Socket, int, greenzmq.Task[Any]], object]] = {
    "sleep": lambda hub, socket, fd, task: hub.sleep(NAN),
    "timeout": lambda hub, socket, fd, task: hub.timeout(NAN),
    "wait_fd": lambda hub, socket, fd, task: hub.wait_fd(fd, timeout=NAN),
    "GreenEvent.wait": lambda hub, socket, fd, task: greenzmq.GreenEvent().wait(NAN),
    "join": lambda hub, socket, fd, task: task.join(NAN),
    "get": lambda hub, socket, fd, task: task.get(NAN),
    "kill": lambda hub, socket, fd, task: task.kill(timeout=NAN),
    "MessageTracker.wait": lambda hub, socket, fd, task: greenzmq.MessageTracker(zmq.MessageTracker()).wait(NAN),
    "Socket.poll": lambda hub, socket, fd, task: socket.poll(NAN),
    "Poller.poll": lambda hub, socket, fd, task: greenzmq.Poller(hub=hub).poll(NAN),
    "select": lambda hub, socket, fd, task: greenzmq.select([socket], [], [], NAN),
    "zmq_poll": lambda hub, socket, fd, task: greenzmq.zmq_poll([(socket, zmq.POLLIN)], NAN),
    "Context": lambda hub, socket, fd, task: greenzmq.Context(turn=NAN),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_nan_is_refused(hub: GreenHub, taker: str) -> None:
    """It is a ValueError at once, whether there is something to wait for or not, and nothing has been done.

    Seen to fail when NaN got into the heap of the hub's timers, which then never came to an end, or not in order.
    """
    reader, writer = os.pipe()
    with open_context(hub) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH)
        task = hub.spawn(hub.sleep, NEVER)
        hub.sleep()
        with pytest.raises(ValueError, match=r"nan|NaN"):
            TAKERS[taker](hub, pull, reader, task)
        hub.sleep(0.001)
        assert not task.done
        task.kill()
    os.close(reader)
    os.close(writer)


def test_nan_does_not_advance_a_clock() -> None:
    """The stepping hub's clock, too, takes numbers only.

    Seen to fail when it went on to a time that is no number.
    """
    with SteppingHub(seed=1) as stepping, pytest.raises(ValueError, match="NaN"):
        stepping.advance(NAN)
