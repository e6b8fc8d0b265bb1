"""Two threads that answer each other, with a socket each: they send, receive and sleep without the GIL."""

from __future__ import annotations

import pytest
import zmq
from support import torture
from support.sockets import connected
from support.threads import LOST

pytestmark = pytest.mark.runtime("threads")


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
@pytest.mark.parametrize("kinds", [(zmq.REP, zmq.REQ), (zmq.PAIR, zmq.PAIR), (zmq.DEALER, zmq.DEALER)])
def test_two_threads_take_turns(hub, context, transport, kinds):
    """Each answers the other: the attempts and the sleeps without the GIL lose nothing, and mix nothing."""
    one, other = connected(context, *kinds, transport)
    rounds = torture.scale(20_000, 300)

    def answer() -> None:
        for _ in range(rounds):
            one.send(one.recv() + b"!")
            one.send_multipart([*one.recv_multipart(), b"!"])

    task = hub.spawn(answer)
    for number in range(rounds):
        other.send(b"%d" % number)
        assert other.recv() == b"%d!" % number
        other.send_multipart([b"%d" % number, b"x" * number])
        assert other.recv_multipart() == [b"%d" % number, b"x" * number, b"!"]
    task.get(LOST)
