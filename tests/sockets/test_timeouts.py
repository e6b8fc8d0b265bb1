"""RCVTIMEO and SNDTIMEO as libzmq defines them, set in every way that pyzmq has."""

from __future__ import annotations

import copy
import pickle
from time import monotonic

import pytest
import zmq
from support.sockets import (
    connected,
    each,
    fill,
    never_switches,
    open_context,
    parked,
    receives,
    sends,
    tick,
    until,
)

import greenzmq

SHORT = 10  # milliseconds

RECEIVERS = {
    "recv": lambda s: s.recv(),
    "recv-frame": lambda s: s.recv(copy=False),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_into": lambda s: s.recv_into(bytearray(4)),
    "recv_string": lambda s: s.recv_string(),
    "recv_json": lambda s: s.recv_json(),
    "recv_pyobj": lambda s: s.recv_pyobj(),
    "recv_serialized": lambda s: s.recv_serialized(list),
}
SENDERS = {
    "send": lambda s: s.send(b"x"),
    "send-zero-copy": lambda s: s.send(bytes(99999), copy=False),
    "send-more": lambda s: s.send(b"x", zmq.SNDMORE),
    "send_multipart": lambda s: s.send_multipart([b"x", b"y"]),
    "send_string": lambda s: s.send_string("x"),
    "send_json": lambda s: s.send_json([1]),
    "send_pyobj": lambda s: s.send_pyobj(1),
    "send_serialized": lambda s: s.send_serialized(b"x", lambda x: [x]),
}

#: How the option gets set: in a context, before its sockets are made, or on a socket.
IN_CONTEXT = {
    "context.setsockopt": lambda context, option, n: context.setsockopt(option, n),
    "context.sockopts": lambda context, option, n: context.sockopts.__setitem__(option, n),
    "context attribute": lambda context, option, n: setattr(context, zmq.SocketOption(option).name, n),
    "context attribute in small letters": lambda context, option, n: setattr(
        context, zmq.SocketOption(option).name.lower(), n
    ),
}
ON_SOCKET = {
    "set": lambda socket, option, n: socket.set(option, n),
    "setsockopt": lambda socket, option, n: socket.setsockopt(option, n),
    "attribute": lambda socket, option, n: setattr(socket, zmq.SocketOption(option).name, n),
    "attribute in small letters": lambda socket, option, n: setattr(socket, zmq.SocketOption(option).name.lower(), n),
}
every_way = each("way", [*IN_CONTEXT, *ON_SOCKET])


def pair(context, way="set", option=zmq.RCVTIMEO, milliseconds=-1):
    """Two connected sockets, the second with the option set."""
    if way in IN_CONTEXT:
        IN_CONTEXT[way](context, option, milliseconds)
    left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    if way in ON_SOCKET:
        ON_SOCKET[way](right, option, milliseconds)
    assert right.get(option) == milliseconds
    return left, right


def again_not_before(milliseconds, call, *args):
    """`call` raises Again, and not too early."""
    start = monotonic()
    with pytest.raises(zmq.Again):
        call(*args)
    assert monotonic() - start >= milliseconds / 1000


@every_way
def test_a_receive_timeout(hub, way):
    """n milliseconds without a message are Again, not earlier; the socket receives afterwards as before."""
    with open_context(hub) as context:
        left, right = pair(context, way, zmq.RCVTIMEO, SHORT)
        again_not_before(SHORT, right.recv)
        left.send(b"x")
        assert right.recv() == b"x"


@every_way
def test_a_send_timeout(hub, way):
    """n milliseconds without room are Again, not earlier; nothing is sent, and the socket goes on as before."""
    with open_context(hub) as context:
        left, right = pair(context, way, zmq.SNDTIMEO, SHORT)
        fill(right)
        again_not_before(SHORT, right.send, b"x")
        assert [left.recv(), left.recv()] == [b"fill", b"fill"]
        right.send(b"y")
        assert left.recv() == b"y"


@each("name", RECEIVERS)
def test_every_receive_heeds_the_timeout(hub, name):
    """Each way to receive is limited by RCVTIMEO: not at all for 0, in time for n, and to no end for -1."""
    receive = RECEIVERS[name]
    with open_context(hub) as context:
        _, right = pair(context)
        task = hub.spawn(receive, right)
        until(hub, lambda: receives(right))
        tick(hub, task)
        task.kill()
        right.rcvtimeo = SHORT
        again_not_before(SHORT, receive, right)
        right.rcvtimeo = 0
        with pytest.raises(zmq.Again):
            receive(right)


@each("name", SENDERS)
def test_every_send_heeds_the_timeout(hub, name):
    """Each way to send is limited by SNDTIMEO: not at all for 0, in time for n, and to no end for -1."""
    send = SENDERS[name]
    with open_context(hub) as context:
        left, right = pair(context)
        fill(right)
        task = hub.spawn(send, right)
        until(hub, lambda: sends(right))
        tick(hub, task)
        task.kill()
        right.sndtimeo = SHORT
        again_not_before(SHORT, send, right)
        right.sndtimeo = 0
        with pytest.raises(zmq.Again):
            send(right)
        assert [left.recv(), left.recv()] == [b"fill", b"fill"]
        with pytest.raises(zmq.Again):
            left.recv(zmq.NOBLOCK)


@each("name", RECEIVERS)
def test_a_receive_timeout_of_0_never_switches(hub, name):
    """With RCVTIMEO 0 a receive is Again at once, first or not, without one switch; with a message it returns that."""
    with open_context(hub, turn=0) as context:  # or the end of a turn may be a switch
        left, right = pair(context, "set", zmq.RCVTIMEO, 0)
        with never_switches():
            for _ in range(3):
                with pytest.raises(zmq.Again):
                    RECEIVERS[name](right)
        left.send(b"[1]")
        assert right.recv() == b"[1]"


@each("name", RECEIVERS)
def test_a_receive_timeout_of_0_after_a_wait(hub, name):
    """With RCVTIMEO 0 a receive gets what is there, also where the last one had to wait.

    Seen to fail when a receive that looks before it tries was Again without a try.
    """
    message = pickle.dumps(1) if name == "recv_pyobj" else b"[1]"
    with open_context(hub, turn=0) as context:
        left, right = pair(context)
        first = parked(hub, receives, right.recv)
        left.send(b"x")
        assert first.get() == b"x"
        right.rcvtimeo = 0
        with never_switches():
            with pytest.raises(zmq.Again):
                RECEIVERS[name](right)
            for _ in range(3):
                left.send(message)
                RECEIVERS[name](right)


@each("name", SENDERS)
def test_a_send_timeout_of_0_never_switches(hub, name):
    """With SNDTIMEO 0 a send without room is Again at once, first or not, without one switch."""
    with open_context(hub, turn=0) as context:  # or the end of a turn may be a switch
        _, right = pair(context, "set", zmq.SNDTIMEO, 0)
        fill(right)
        with never_switches():
            for _ in range(3):
                with pytest.raises(zmq.Again):
                    SENDERS[name](right)


@each("name", SENDERS)
def test_a_send_timeout_of_0_after_a_wait(hub, name):
    """With SNDTIMEO 0 a send goes where there is room, also where the last one had to wait. Seen to fail likewise."""
    with open_context(hub, turn=0) as context:
        left, right = pair(context)
        fill(right)
        waiting = parked(hub, sends, right.send, b"last")
        while left.recv() != b"last":
            hub.sleep()
        waiting.get()
        right.sndtimeo = 0
        assert right.poll(1000, zmq.POLLOUT)
        with never_switches():
            SENDERS[name](right)


def test_a_receive_timeout_of_0_of_a_requester(hub):
    """An answer that `poll` has announced is there for a REQ with RCVTIMEO 0. Seen to fail likewise."""
    with open_context(hub, turn=0) as context:
        rep, req = connected(context, zmq.REP, zmq.REQ, rcvtimeo=0)
        for _ in range(2):
            req.send(b"question")
            assert rep.poll(1000)
            assert rep.recv() == b"question"
            rep.send(b"answer")
            assert req.poll(1000)
            with never_switches():
                assert req.recv() == b"answer"


def test_a_message_within_the_time(hub, context):
    """A message that comes in time is received, by a limit of seconds that leaves no timer behind."""
    left, right = pair(context, "set", zmq.RCVTIMEO, 3_600_000)
    task = parked(hub, receives, right.recv)
    left.send(b"x")
    assert task.get() == b"x"


def test_everyone_in_a_receive_queue_times_out(hub):
    """Several greenlets that wait each get Again, in the order of their arrival; none takes the next message along."""
    ended = []

    def receive(n):
        again_not_before(SHORT, right.recv)
        ended.append(n)

    with open_context(hub) as context:
        left, right = pair(context, "set", zmq.RCVTIMEO, SHORT)
        tasks = [hub.spawn(receive, n) for n in range(5)]
        for task in tasks:
            task.get()
        assert ended == sorted(ended) == list(range(5))
        assert not receives(right)
        left.send(b"x")
        assert right.recv() == b"x"


def test_everyone_in_a_send_queue_times_out(hub):
    """Several senders each get Again, in the order of their arrival, and not one of their messages is sent."""
    ended = []

    def send(n):
        again_not_before(SHORT, right.send, b"%d" % n)
        ended.append(n)

    with open_context(hub) as context:
        left, right = pair(context, "set", zmq.SNDTIMEO, SHORT)
        fill(right)
        tasks = [hub.spawn(send, n) for n in range(5)]
        for task in tasks:
            task.get()
        assert ended == list(range(5))
        assert not sends(right)
        assert [left.recv(), left.recv()] == [b"fill", b"fill"]
        right.send(b"next")
        assert left.recv() == b"next"


def test_the_first_times_out_and_the_second_receives(hub, context):
    """A waiter whose time is over gives its place to the one behind, which has more time and gets the message."""
    left, right = pair(context, "set", zmq.RCVTIMEO, SHORT)
    first = hub.spawn(right.recv)
    until(hub, lambda: receives(right) or first.done)
    right.rcvtimeo = -1
    second = hub.spawn(right.recv)
    with pytest.raises(zmq.Again):
        first.get()
    tick(hub, second)
    left.send(b"x")
    assert second.get() == b"x"


def test_time_in_the_queue_counts(hub, context):
    """A waiter's time runs from its call, also while it stands behind another that goes on waiting."""
    left, right = pair(context)
    first = parked(hub, receives, right.recv)
    right.rcvtimeo = SHORT
    again_not_before(SHORT, right.recv)
    tick(hub, first)
    left.send(b"x")
    assert first.get() == b"x"


SHADOWS = {
    "plain": zmq.Socket,
    "plain, of the object": zmq.Socket.shadow,
    "plain, of the address": lambda socket: zmq.Socket.shadow(socket.underlying),
    "green": lambda socket: greenzmq.Socket.shadow(socket.underlying),
    "copy": copy.copy,
}


@each("way", SHADOWS)
@each("when", ["before", "after"])
def test_a_timeout_that_a_shadow_sets(hub, way, when):
    """What another object for the same socket sets counts for the next wait, though the last one had no limit; it makes
    no difference whether the other was made before that or after.

    Seen to fail when the timeout was kept from wait to wait whoever knew the socket.
    """
    with open_context(hub) as context:
        left, right = pair(context)
        shadow = SHADOWS[way](right) if when == "before" else None
        first = parked(hub, receives, right.recv)
        left.send(b"x")
        assert first.get() == b"x"
        (shadow or SHADOWS[way](right)).rcvtimeo = SHORT
        again_not_before(SHORT, right.recv)


def test_both_directions_have_their_own_timeout(hub, context):
    """RCVTIMEO does not limit a send, nor SNDTIMEO a receive."""
    left, right = pair(context, "set", zmq.RCVTIMEO, 0)
    fill(right)
    sending = parked(hub, sends, right.send, b"x")
    assert [left.recv(), left.recv(), left.recv()] == [b"fill", b"fill", b"x"]
    sending.get()
    left.sndtimeo = 0
    receiving = parked(hub, receives, left.recv)
    right.send(b"y")
    assert receiving.get() == b"y"
