"""Every socket pattern over every transport on every hub, and a hub that goes round during every kind of wait."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import greenlet
import pytest
import zmq
from support.sockets import (
    TICKS,
    TRANSPORTS,
    address,
    connected,
    each,
    fill,
    open_context,
    parked,
    receives,
    sends,
    tick,
    until,
)

import greenzmq
from greenzmq.process import unpatched

over_all_transports = pytest.mark.parametrize("transport", TRANSPORTS)

#: In flight between two sockets with these options are at most a few of `BIG`.
TIGHT = {"sndhwm": 1, "rcvhwm": 1, "sndbuf": 65536, "rcvbuf": 65536}
BIG = bytes(65536)
MANY = 24


def exchange(hub, sender, receiver, message):
    """`receiver` waits, the hub goes round, then `sender` sends. What was received."""
    task = parked(hub, receives, receiver.recv_multipart)
    sender.send_multipart(message)
    return task.get()


@over_all_transports
def test_push_pull(hub, transport):
    """A PULL that waits gets what a PUSH sends then."""
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, transport)
        for n in range(3):
            assert exchange(hub, push, pull, [b"%d" % n, b"part"]) == [b"%d" % n, b"part"]


@over_all_transports
def test_pair(hub, transport):
    """Each end of a PAIR waits in its turn."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, transport)
        for _ in range(3):
            assert exchange(hub, left, right, [b"to the right"]) == [b"to the right"]
            assert exchange(hub, right, left, [b"to", b"the left"]) == [b"to", b"the left"]


@over_all_transports
def test_req_rep(hub, transport):
    """A REP waits for the question, a REQ for the answer; a REQ asked once more is ready again."""
    with open_context(hub) as context:
        rep, req = connected(context, zmq.REP, zmq.REQ, transport)
        for _ in range(3):
            assert exchange(hub, req, rep, [b"question"]) == [b"question"]
            assert exchange(hub, rep, req, [b"answer", b"in parts"]) == [b"answer", b"in parts"]


@over_all_transports
def test_dealer_router(hub, transport):
    """A ROUTER waits for a DEALER's message and learns its name, the DEALER waits for the answer to that name."""
    with open_context(hub) as context:
        router, dealer = connected(context, zmq.ROUTER, zmq.DEALER, transport, identity=b"name")
        for _ in range(3):
            assert exchange(hub, dealer, router, [b"", b"work"]) == [b"name", b"", b"work"]
            assert exchange(hub, router, dealer, [b"name", b"", b"done"]) == [b"", b"done"]


@over_all_transports
def test_xpub_xsub(hub, transport):
    """An XPUB waits for a subscription, the XSUB that subscribed for a publication, the XPUB for the end of it."""
    with open_context(hub) as context:
        xpub, xsub = connected(context, zmq.XPUB, zmq.XSUB, transport)
        assert exchange(hub, xsub, xpub, [b"\x01topic"]) == [b"\x01topic"]
        assert exchange(hub, xpub, xsub, [b"topic", b"news"]) == [b"topic", b"news"]
        assert exchange(hub, xsub, xpub, [b"\x00topic"]) == [b"\x00topic"]


@over_all_transports
def test_pub_sub(hub, transport):
    """Two SUBs wait, each gets its topic only. A PUB never says when a subscription is there, so it repeats itself."""
    with open_context(hub) as context:
        pub, sub = connected(context, zmq.PUB, zmq.SUB, transport)
        other = context.socket(zmq.SUB)
        other.connect(pub.last_endpoint.decode())
        sub.subscribe("a")
        other.subscribe(b"b")
        tasks = [parked(hub, receives, waiter.recv_multipart) for waiter in (sub, other)]

        def published() -> bool:
            pub.send_multipart([b"a", b"1"])
            pub.send_multipart([b"b", b"2"])
            return all(task.done for task in tasks)

        until(hub, published)
        assert [task.get() for task in tasks] == [[b"a", b"1"], [b"b", b"2"]]


def test_stream(hub, context):
    """A STREAM waits for a connection, its peer for bytes, and it for the end of the connection."""
    server, client = context.socket(zmq.STREAM), context.socket(zmq.STREAM)
    server.bind(address("tcp"))
    accepted = parked(hub, receives, server.recv_multipart)
    client.connect(server.last_endpoint.decode())
    name, connection = accepted.get()
    peer, _ = client.recv_multipart()
    assert connection == b""
    assert exchange(hub, client, server, [peer, b"bytes"]) == [name, b"bytes"]
    assert exchange(hub, server, client, [name, b"more"]) == [peer, b"more"]
    ended = parked(hub, receives, server.recv_multipart)
    client.close()
    assert ended.get() == [name, b""]


def receive_many(receiver: greenzmq.Socket) -> list[bytes]:
    """The last frames of `MANY` messages."""
    return [receiver.recv_multipart()[-1] for _ in range(MANY)]


def send_many(sender: greenzmq.Socket, *prefix: bytes) -> None:
    """`MANY` big numbered messages."""
    for n in range(MANY):
        sender.send_multipart([*prefix, b"%03d" % n + BIG])


def subscription_arrives(xpub, xsub):
    """The XPUB drops nothing from now on."""
    xpub.xpub_nodrop = 1
    xsub.send(b"\x01")
    assert xpub.recv() == b"\x01"


def is_known(router, dealer):
    """The ROUTER knows its peer from now on, and refuses instead of dropping."""
    router.router_mandatory = 1
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"name", b"hello"]


SENDERS = {
    "push-pull": (zmq.PUSH, zmq.PULL, [], None),
    "pair": (zmq.PAIR, zmq.PAIR, [], None),
    "dealer-router": (zmq.DEALER, zmq.ROUTER, [], None),
    "router-dealer": (zmq.ROUTER, zmq.DEALER, [b"name"], is_known),
    "xpub-xsub": (zmq.XPUB, zmq.XSUB, [], subscription_arrives),
}


@over_all_transports
@each("pattern", SENDERS)
def test_a_sender_waits_for_room(hub, pattern, transport):
    """A sender against a full high-water mark waits, the hub goes round, then a receiver gets all in order.

    The receiver is the faster one, so both wait by turns.
    """
    kind, peer, prefix, prepare = SENDERS[pattern]
    named = {"identity": b"name"} if zmq.ROUTER in (kind, peer) else {}
    with open_context(hub) as context:
        sender, receiver = connected(context, kind, peer, transport, **TIGHT, **named)
        if prepare:
            prepare(sender, receiver)
        sending = hub.spawn(send_many, sender, *prefix)
        until(hub, lambda: sends(sender))
        tick(hub, sending)
        receiving = hub.spawn(receive_many, receiver)
        assert [frame[:3] for frame in receiving.get()] == [b"%03d" % n for n in range(MANY)]
        assert sending.get() is None


def test_a_stream_waits_for_room(hub, context):
    """A STREAM whose peer reads nothing waits; no byte is lost when it reads."""
    server = context.socket(zmq.STREAM)
    server.set_hwm(1)
    server.sndbuf = 65536
    server.bind(address("tcp"))
    host, port = server.last_endpoint.decode().removeprefix("tcp://").split(":")
    with sockets.socket() as client:
        client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 65536)
        client.connect((host, int(port)))
        client.setblocking(False)
        name, _ = server.recv_multipart()
        sending = hub.spawn(send_many, server, name)
        until(hub, lambda: sends(server))
        tick(hub, sending)
        received = 0
        while received < MANY * (3 + len(BIG)):
            hub.wait_fd(client)
            received += len(client.recv(1 << 20))
    assert sending.get() is None


def test_a_req_waits_for_a_peer(hub, context):
    """A REQ that nobody is connected to waits in send, and goes on with the first REP that comes."""
    req, rep = context.socket(zmq.REQ), context.socket(zmq.REP)
    req.bind(address("tcp"))
    asking = parked(hub, sends, req.send, b"question")
    rep.connect(req.last_endpoint.decode())
    assert rep.recv() == b"question"
    assert asking.get() is None


@over_all_transports
def test_both_directions_of_one_socket_wait_at_once(hub, transport):
    """On one PAIR a receiver and a sender wait side by side, and neither's wake-up is taken for the other's."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, transport, **TIGHT)
        receiving = parked(hub, receives, left.recv)
        sending = hub.spawn(send_many, left)
        until(hub, lambda: sends(left))
        tick(hub, receiving, sending)
        right.send(b"message")
        assert receiving.get() == b"message"
        receiving = parked(hub, receives, left.recv)
        assert len(receive_many(right)) == MANY
        assert sending.get() is None
        tick(hub, receiving)
        right.send(b"another")
        assert receiving.get() == b"another"


# -- the hub goes round during every wait -----------------------------------------------------------------------------


Wait = tuple[Callable[[], Any], Callable[[], Any], Any]  # what waits, what ends the wait, what it then returns


def wait_in_recv(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return left.recv, lambda: right.send(b"x"), b"x"


def wait_in_recv_multipart(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return left.recv_multipart, lambda: right.send_multipart([b"x", b"y"]), [b"x", b"y"]


def wait_in_recv_into(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return lambda: left.recv_into(bytearray(9)), lambda: right.send(b"four"), 4


def wait_in_send(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    assert fill(left) == 2
    return lambda: left.send(b"x"), lambda: [right.recv() for _ in range(3)], None


def wait_in_send_multipart(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    assert fill(left) == 2
    return lambda: left.send_multipart([b"x", b"y"]), lambda: [right.recv() for _ in range(3)], None


def wait_in_poll(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return left.poll, lambda: right.send(b"x"), zmq.POLLIN


def wait_in_poll_for_room(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    assert fill(left) == 2
    return lambda: left.poll(flags=zmq.POLLOUT), lambda: [right.recv() for _ in range(2)], zmq.POLLOUT


def wait_in_poller(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    poller = greenzmq.Poller()
    poller.register(left, zmq.POLLIN)
    return poller.poll, lambda: right.send(b"x"), [(left, zmq.POLLIN)]


def wait_in_sleep(hub, context) -> Wait:
    waiting = []

    def sleep() -> str:
        waiting.append(greenlet.getcurrent())
        try:
            hub.sleep(3600)
        except EndedByTheTickerError:
            return "ended"
        raise AssertionError

    return sleep, lambda: hub.hub.call_soon(waiting[0].throw, EndedByTheTickerError()), "ended"


def wait_in_run_in_thread(hub, context) -> Wait:
    lock = unpatched.allocate_lock()
    lock.acquire()
    return lambda: hub.run_in_thread(lock.acquire), lock.release, True


def wait_in_wait_fd(hub, context) -> Wait:
    ours, theirs = sockets.socketpair()
    context.test_cleanup.callback(ours.close)
    context.test_cleanup.callback(theirs.close)
    return lambda: hub.wait_fd(ours), lambda: theirs.send(b"x"), 1


def wait_in_wait_fd_to_write(hub, context) -> Wait:
    ours, theirs = sockets.socketpair()
    context.test_cleanup.callback(ours.close)
    context.test_cleanup.callback(theirs.close)
    ours.setblocking(False)
    theirs.setblocking(False)
    sent = fill_stream(ours)
    return lambda: hub.wait_fd(ours, read=False, write=True), lambda: drain_stream(theirs, sent), 2


def wait_in_task_join(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return hub.spawn(left.recv).join, lambda: right.send(b"x"), True


def wait_in_task_get(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return hub.spawn(left.recv).get, lambda: right.send(b"x"), b"x"


def wait_in_run(hub, context) -> Wait:
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    return lambda: hub.run(left.recv), lambda: right.send(b"x"), b"x"


def wait_in_term_for_a_socket(hub, context) -> Wait:
    ending = greenzmq.Context(hub=hub)
    open_one = ending.socket(zmq.PULL)
    return ending.term, open_one.close, None


def wait_in_term_with_linger(hub, context) -> Wait:
    """A message for a peer that there is not yet keeps the context alive."""
    pull, where = context.socket(zmq.PULL), address("ipc")
    ending = greenzmq.Context(hub=hub)
    ending.linger = -1
    ending.reconnect_ivl = 1
    push = ending.socket(zmq.PUSH)
    push.connect(where)
    push.send(b"last words")
    push.close()

    def listen() -> None:
        pull.bind(where)
        assert pull.recv() == b"last words"

    return ending.term, listen, None


class EndedByTheTickerError(Exception):
    """What ends a sleep that would last an hour."""


def fill_stream(stream: sockets.socket) -> int:
    sent = 0
    try:
        while True:
            sent += stream.send(BIG)
    except BlockingIOError:
        return sent


def drain_stream(stream: sockets.socket, size: int) -> None:
    while size:
        size -= len(stream.recv(size))


WAITS = {name.removeprefix("wait_in_"): wait for name, wait in globals().items() if name.startswith("wait_in_")}


@pytest.mark.parametrize("name", WAITS)
def test_the_hub_goes_round_during_a_wait(hub, name):
    """Whatever a greenlet waits in, another one takes turns meanwhile, and only then ends the wait itself."""
    with open_context(hub) as context, ExitStack() as cleanup:
        context.__dict__["test_cleanup"] = cleanup
        wait, end, result = WAITS[name](hub, context)
        task = hub.spawn(wait)
        tick(hub, task)
        end()
        assert task.get() == result


@each("name", WAITS)
def test_the_hub_goes_round_while_this_greenlet_waits(hub, name):
    """The other way round: the test's greenlet waits, a spawned ticker takes its turns and then ends the wait."""
    ticks = []

    def ticker() -> None:
        for n in range(TICKS):
            hub.sleep()
            ticks.append(n)
        end()

    with open_context(hub) as context, ExitStack() as cleanup:
        context.__dict__["test_cleanup"] = cleanup
        wait, end, result = WAITS[name](hub, context)
        task = hub.spawn(ticker)
        assert wait() == result
        assert len(ticks) == TICKS
        task.get()
