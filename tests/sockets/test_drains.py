"""The usual drain, ``poll`` and then ``recv(NOBLOCK)`` until `zmq.Again`, under peers that never stop sending.

Four processes at full speed held the hub for more than a second so: there was always one more message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.asyncio import loop_name, run_on
from support.sockets import each, in_hub, open_context

import greenzmq
import greenzmq.aio
from greenzmq.sockets.fairness import FAST_CALLS

__all__ = ["loop_name"]

#: A turn, in ms, that is over when it has begun.
NO_TIME = 1e-9
#: A drain that has not ended after so many messages has no end.
ENDLESS = 10 * FAST_CALLS


def poller_poll(socket: Any) -> object:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return poller.poll(1000)


POLLS: dict[str, Callable[[Any], object]] = {
    "Socket.poll": lambda socket: socket.poll(1000),
    "Poller.poll": poller_poll,
    "select": lambda socket: greenzmq.select([socket], [], [], 1),
    "zmq_poll": lambda socket: greenzmq.zmq_poll([(socket, zmq.POLLIN)], 1000),
}
RECEIVES: dict[str, Callable[[Any], Any]] = {
    "recv": lambda socket: socket.recv(zmq.NOBLOCK),
    "recv_multipart": lambda socket: socket.recv_multipart(zmq.NOBLOCK)[0],
    "recv_json": lambda socket: b"%d" % socket.recv_json(zmq.NOBLOCK),
    "RCVTIMEO": lambda socket: socket.recv(),
}


class Peers:
    """Two PAIRs, one of which has always sent one more message than the other has received."""

    def __init__(self, context: greenzmq.Context) -> None:
        self.left, self.right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self.left.bind("inproc://drain")
        self.right.connect("inproc://drain")
        self.sent = self.received = 0
        self.parts = 1

    def feed(self) -> None:
        self.right.send_multipart([b"%d" % self.sent] + [b"more"] * (self.parts - 1), zmq.NOBLOCK)
        self.sent += 1

    def drain(self, receive: Callable[[Any], Any] = RECEIVES["recv"]) -> int:
        """How many messages until Again; each is the next one."""
        for count in range(ENDLESS):
            self.feed()
            try:
                message = receive(self.left)
            except zmq.Again:
                return count
            assert message == b"%d" % self.received, "a message is lost"
            self.received += 1
        return ENDLESS

    def close(self) -> None:
        self.left.close(0)
        self.right.close(0)


@pytest.mark.cooperative("threads are preempted, so a drain keeps nobody from running")
@each(
    "poll, receive", {f"{poll}, {receive}": (POLLS[poll], RECEIVES[receive]) for poll in POLLS for receive in RECEIVES}
)
def test_a_drain_ends_and_the_next_poll_yields(poll: Any, receive: Any, hub: greenzmq.GreenHub) -> None:
    """When it has lasted for a turn. Nothing is lost, the next poll finds the rest at once, and others had their turn.

    Seen to go on for ever, on each hub, before a run had an end.
    """
    with open_context(hub, turn=NO_TIME) as context:
        peers = Peers(context)
        if receive is RECEIVES["RCVTIMEO"]:
            peers.left.rcvtimeo = 0
        peers.feed()
        ticks: list[int] = []
        done: list[bool] = []

        def tick() -> None:
            while not done:
                ticks.append(1)
                hub.sleep()

        others = hub.spawn(tick)
        for _ in range(3):
            poll(peers.left)
            before = len(ticks)
            assert peers.drain(receive) < ENDLESS
            assert len(ticks) == before, "it has switched under NOBLOCK"
            poll(peers.left)
            assert len(ticks) > before, "the next poll has not let others run"
        done.append(True)
        others.join()
        peers.close()


def no_poll(peers: Peers, hub: Any) -> int:
    return peers.drain()


def poll_that_does_not_wait(peers: Peers, hub: Any) -> int:
    """Also after one that did."""
    assert peers.left.poll(1000)
    assert peers.left.poll(0)
    return peers.drain()


def poller_that_does_not_wait(peers: Peers, hub: Any) -> int:
    poller = greenzmq.Poller()
    poller.register(peers.left)
    assert poller.poll(1000)
    assert poller.poll(0)
    return peers.drain()


def each_time_polled(peers: Peers, hub: Any) -> int:
    """As in ``while socket.poll(1000): socket.recv(NOBLOCK)``, which nobody expects to raise."""

    def receive(socket: Any) -> Any:
        assert socket.poll(1000)
        return socket.recv(zmq.NOBLOCK)

    return peers.drain(receive)


def watched_by_others(peers: Peers, hub: Any) -> int:
    """After Again whoever watches ZMQ_FD waits for a signal, which comes for the next message only."""
    assert peers.left.get(zmq.FD) >= 0
    assert peers.left.poll(1000)
    return peers.drain()


def in_a_callback(peers: Peers, hub: Any) -> int:
    """The hub cannot go round while it calls."""
    found: int = in_hub(hub, lambda: (peers.left.poll(1000), peers.drain())[1])
    return found


def after_a_real_end(peers: Peers, hub: Any) -> int:
    """Whoever has met the end, and drains without another poll, takes what has come since to the last."""
    assert peers.left.poll(1000)
    while peers.received < peers.sent:
        assert peers.left.recv(zmq.NOBLOCK) == b"%d" % peers.received
        peers.received += 1
    with pytest.raises(zmq.Again):
        peers.left.recv(zmq.NOBLOCK)
    return peers.drain()


def by_parts(peers: Peers, hub: Any) -> int:
    """The parts of a message that has begun are there."""
    peers.right.send(b"single")
    peers.parts = ENDLESS
    peers.feed()
    assert peers.left.poll(1000)
    assert peers.left.recv(zmq.NOBLOCK) == b"single"
    assert peers.left.recv(zmq.NOBLOCK) == b"0"
    parts = [peers.left.recv(zmq.NOBLOCK) for _ in range(ENDLESS - 1)]
    assert {*parts} == {b"more"}
    return ENDLESS


def sends(peers: Peers, hub: Any) -> int:
    """They have no run: whoever answers each message must not lose an answer."""
    assert peers.left.poll(1000)
    for _ in range(ENDLESS):
        peers.left.send(b"answer", zmq.NOBLOCK)
        assert peers.right.recv(zmq.NOBLOCK) == b"answer"
    return ENDLESS


EXACT = {
    function.__name__: function
    for function in (
        *(no_poll, poll_that_does_not_wait, poller_that_does_not_wait, each_time_polled, watched_by_others),
        *(in_a_callback, after_a_real_end, by_parts, sends),
    )
}


@each("name", EXACT)
def test_no_other_call_meets_again(name: str, hub: greenzmq.GreenHub) -> None:
    """Where there is a message it comes, however long it goes on."""
    with open_context(hub, turn=NO_TIME) as context:
        peers = Peers(context)
        if name != "by_parts":
            peers.feed()
        assert EXACT[name](peers, hub) == ENDLESS
        peers.close()


def test_a_turn_without_end_never_ends_a_run(hub: greenzmq.GreenHub) -> None:
    """``Context(turn=0)``: NOBLOCK is libzmq's."""
    with open_context(hub, turn=0) as context:
        peers = Peers(context)
        peers.feed()
        assert peers.left.poll(1000)
        assert peers.drain() == ENDLESS
        peers.close()


@pytest.mark.parametrize("poll", ["Socket.poll", "Poller.poll"])
def test_a_drain_in_a_coroutine_ends(poll: str, loop_name: str) -> None:
    """The same with `greenzmq.aio`: the drain ends, nothing is lost, and the next poll lets the loop go round."""

    async def main() -> None:
        context = greenzmq.aio.Context(turn=NO_TIME)
        try:
            left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            left.bind("inproc://drain")
            right.connect("inproc://drain")
            poller = greenzmq.aio.Poller()
            poller.register(left, zmq.POLLIN)
            wait = left.poll if poll == "Socket.poll" else poller.poll
            rounds: list[int] = []
            received = 0

            async def tick() -> None:
                while True:
                    rounds.append(1)
                    await asyncio.sleep(0)

            async def drain(sent: int) -> int:
                for count in range(ENDLESS):
                    await right.send(b"%d" % (sent + count), zmq.NOBLOCK)
                    try:
                        message = await left.recv(zmq.NOBLOCK)
                    except zmq.Again:
                        return count
                    assert message == b"%d" % (received + count)
                return ENDLESS

            ticker = asyncio.ensure_future(tick())
            await right.send(b"0")
            sent = 1
            for _ in range(3):
                assert await wait(1000)
                count = await drain(sent)
                assert count < ENDLESS
                received += count
                sent += count + 1
                before = len(rounds)
                assert await wait(1000)
                assert len(rounds) > before, "the next poll has not let the loop go round"
            ticker.cancel()
            for _ in range(sent - received):
                assert await left.recv() == b"%d" % received
                received += 1
            assert not await left.poll(0)
            await right.send(b"0")
            received, sent = 0, 1
            assert await left.poll(0)
            assert await drain(sent) == ENDLESS, "after a poll that does not wait, a drain takes all there is"
        finally:
            await context.destroy(linger=0)

    run_on(loop_name, main())
