"""Nobody sleeps on a signal that somebody else has taken.

The situation: a greenlet waits on a socket, its signal has arrived, the hub has not looked, and another greenlet, the
rival, makes a call that processes the socket's commands. ZMQ_FD is silent from then on.
``tests/peers/lost_wakeup.py`` shows what becomes of the waiter in `zmq.green` and in `eventlet.green.zmq`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import zmq
from support.inside import keep_turn, replace_get, senders_of
from support.invariants import idle
from support.sockets import address, connected, never_switches, open_context, parked, receives, until
from support.waiters import (
    BIG,
    TIGHT,
    await_signal,
    drain,
    fill_up,
    from_fd_callback,
    handshake,
    must_finish,
    plain,
    signalled,
    waiting_receiver,
    waiting_sender,
)

import greenzmq
from greenzmq.waiting.waiter import Waiter

pytestmark = pytest.mark.all_loops

# A port that nobody listens on: 1 is reserved, and nothing is sent that leaves this machine.
NOBODY = "tcp://127.0.0.1:1"


def fails(call: Callable[..., object], *args: Any) -> None:
    with pytest.raises(zmq.ZMQError):
        call(*args)


def again(call: Callable[..., object], *args: Any) -> None:
    with pytest.raises(zmq.Again):
        call(*args)


def extra_connection(socket: greenzmq.Socket) -> None:
    """Beforehand: a connection that carries nothing."""
    socket.immediate = 1
    socket.connect(NOBODY)


def polled(socket: greenzmq.Socket) -> list[Any]:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    ready = poller.poll(0)
    poller.unregister(socket)
    return ready


#: What the rival does, whichever way the waiter waits. None of it switches.
LOOKS: dict[str, Callable[[greenzmq.Socket], object]] = {
    "get": lambda s: s.get(zmq.EVENTS),
    "getsockopt": lambda s: s.getsockopt(zmq.EVENTS),
    "EVENTS": lambda s: s.EVENTS,
    "events": lambda s: s.events,
    "bind-inproc": lambda s: s.bind(address("inproc")),
    "bind-tcp": lambda s: s.bind("tcp://127.0.0.1:*"),
    "bind-random": lambda s: s.bind_to_random_port("tcp://127.0.0.1"),
    "bind-fails": lambda s: fails(s.bind, "tcp://127.0.0.1:nowhere"),
    "bind-fails-taken": lambda s: fails(s.bind, s.last_endpoint.decode()),
    "connect-inproc": lambda s: s.connect(address("inproc")),
    "connect-tcp": lambda s: s.connect(NOBODY),
    "connect-fails": lambda s: fails(s.connect, "carrier-pigeon://loft"),
    "unbind": lambda s: s.unbind(s.last_endpoint.decode()),
    "unbind-fails": lambda s: fails(s.unbind, "tcp://127.0.0.1:2"),
    "disconnect": lambda s: s.disconnect(NOBODY),
    "disconnect-fails": lambda s: fails(s.disconnect, "inproc://nowhere"),
    "bound-for-a-while": lambda s: s.bind("tcp://127.0.0.1:*").__exit__(),
    "monitor": lambda s: s.get_monitor_socket(),
    "poll-0": lambda s: s.poll(0),
    "poll-0-out": lambda s: s.poll(0, zmq.POLLOUT),
    "poller-0": polled,
    "select-0": lambda s: greenzmq.select([s], [], [], 0),
    "zmq_poll-0": lambda s: greenzmq.zmq_poll([(s, zmq.POLLIN)], 0),
    "subclass-get": lambda s: type(s).shadow(s.underlying).get(zmq.EVENTS),
}
PREPARE: dict[str, Callable[[greenzmq.Socket], object]] = {
    "disconnect": extra_connection,
    "unbind": lambda s: s.bind("tcp://127.0.0.1:*"),
}

SENDS: dict[str, Callable[[greenzmq.Socket], object]] = {
    "send": lambda s: s.send(b"answer"),
    "send-noblock": lambda s: s.send(b"answer", zmq.NOBLOCK),
    "send-copy": lambda s: s.send(b"answer", copy=False),
    "send-parts": lambda s: (s.send(b"an", zmq.SNDMORE), s.send(b"swer")),
    "send_multipart": lambda s: s.send_multipart([b"an", b"swer"]),
}
RECEIVES: dict[str, Callable[[greenzmq.Socket], object]] = {
    "recv-noblock": lambda s: s.recv(zmq.NOBLOCK),
    "recv_into-noblock": lambda s: s.recv_into(bytearray(8), flags=zmq.NOBLOCK),
    "recv_multipart-noblock": lambda s: s.recv_multipart(zmq.NOBLOCK),
}


def as_rival(socket: greenzmq.Socket, act: Callable[[], object]) -> None:
    """``act()``, without a switch in between: `socket` is made to believe that its turn has just begun."""
    keep_turn(socket)
    with never_switches():
        act()


# -- a waiting receiver -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
@pytest.mark.parametrize("rival_call", [*LOOKS, *SENDS])
def test_receiver_goes_on(hub, context, transport, rival_call):
    """A receiver whose signal was taken by any such call goes on in the same turn of the hub.

    Seen to fail, each line, with the look after that call taken out.
    """
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER, transport)
    PREPARE.get(rival_call, lambda s: None)(socket)
    handshake(socket, peer)
    waiter = waiting_receiver(hub, socket)
    as_rival(socket, lambda: (peer.send(b"m"), await_signal(socket), (LOOKS | SENDS)[rival_call](socket)))
    must_finish(hub, waiter, socket)
    assert waiter.get() == [b"m"]
    idle(socket)


@pytest.mark.parametrize("rival_call", RECEIVES)
def test_receiver_goes_on_with_the_next(hub, context, rival_call):
    """A rival takes the message together with its signal; the waiter goes on with the next one, in the same turn."""
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER)
    waiter = waiting_receiver(hub, socket)
    as_rival(socket, lambda: (peer.send(b"1"), peer.send(b"2"), await_signal(socket), RECEIVES[rival_call](socket)))
    must_finish(hub, waiter, socket)
    assert waiter.get() == [b"2"]
    idle(socket)


def test_receiver_goes_on_before_a_later_one(hub, context):
    """A second `recv` that blocks and comes after the signal stands behind the first, and wakes it."""
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER)
    first = waiting_receiver(hub, socket)
    for message in (b"1", b"2"):
        peer.send(message)
    await_signal(socket)
    assert socket.recv() == b"2"
    must_finish(hub, first, socket)
    assert first.get() == [b"1"]
    idle(socket)


# -- a waiting sender -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rival_call", [*sorted({*LOOKS} - {"disconnect"}), *RECEIVES, "recv", "recv-timeout-0"])
def test_sender_goes_on(hub, rival_call):
    """A sender whose signal was taken by any such call goes on in the same turn of the hub.

    `disconnect` of a real connection has a test of its own: the connection would be room.
    """
    calls = {
        **LOOKS,
        **{name: lambda s, call=call: again(call, s) for name, call in RECEIVES.items()},
        "recv": lambda s: (peer.send(b"answer"), s.recv()),
        "recv-timeout-0": lambda s: (s.set(zmq.RCVTIMEO, 0), again(s.recv)),
    }
    with open_context(hub) as context:
        socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
        PREPARE.get(rival_call, lambda s: None)(socket)
        waiter = waiting_sender(hub, socket, [b"waiter"])
        as_rival(socket, lambda: (drain(peer), await_signal(socket), calls[rival_call](socket)))
        must_finish(hub, waiter, socket)
        until(hub, lambda: [b"waiter"] in drain(peer) or rival_call.startswith("connect"))
        idle(socket)


@pytest.mark.parametrize("rival_call", ["get", "poll-0", "bind-inproc", "connect-fails", "recv-noblock"])
def test_sender_goes_on_over_tcp(hub, rival_call):
    """The same over tcp, where room is announced by another thread."""
    call = LOOKS.get(rival_call) or (lambda s: again(s.recv, zmq.NOBLOCK))
    with open_context(hub) as context:
        socket, peer = connected(context, zmq.DEALER, zmq.DEALER, "tcp", **TIGHT)
        waiter = waiting_sender(hub, socket, [b"waiter"])
        while not signalled(socket, 0.01):
            drain(peer)
        as_rival(socket, lambda: call(socket))
        must_finish(hub, waiter, socket)
        idle(socket)


@pytest.mark.parametrize("rival_call", SENDS)
def test_sender_goes_on_beside_another(hub, context, rival_call):
    """There is room for two and one signal; a rival takes one place and the signal, the waiter gets the other place."""
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
    waiter = waiting_sender(hub, socket, [b"waiter"])
    drain(peer)
    await_signal(socket)
    if rival_call == "send-noblock":
        # Within a millisecond of another send libzmq does not look at its commands, and may see no room.
        with suppress(zmq.Again):
            as_rival(socket, lambda: SENDS[rival_call](socket))
    else:
        SENDS[rival_call](socket)  # stands behind the waiter
    must_finish(hub, waiter, socket)
    assert [b"waiter"] in drain(peer)
    idle(socket)


def test_disconnect_takes_the_signal_of_a_sender(hub, context):
    """`disconnect` of one of two full peers takes the signal that the other has room."""
    socket, leaving = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
    socket, leaving = leaving, socket
    other = context.socket(zmq.PULL)
    other.rcvhwm = 1
    other.bind(address("inproc"))
    socket.connect(other.last_endpoint.decode())
    waiter = waiting_sender(hub, socket, [b"waiter"])
    drain(other)
    await_signal(socket)
    as_rival(socket, lambda: socket.disconnect(leaving.last_endpoint.decode()))
    must_finish(hub, waiter, socket)
    assert drain(other) == [[b"waiter"]]


# -- both at once, and the waiter itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("rival_call", ["get", "poll-0", "bind-inproc"])
def test_both_go_on(hub, context, rival_call):
    """One look finds a message and room: the receiver and the sender that wait go on, both."""
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
    receiver = waiting_receiver(hub, socket)
    sender = waiting_sender(hub, socket, [b"waiter"])
    drain(peer)
    peer.send(b"m")
    await_signal(socket)
    as_rival(socket, lambda: LOOKS[rival_call](socket))
    must_finish(hub, receiver, socket)
    assert sender.done
    assert receiver.get() == [b"m"]
    idle(socket)


def test_receiver_sees_what_its_own_look_found(hub, context, monkeypatch):
    """A message that arrives between a receiver's EAGAIN and its look on behalf of a waiting sender wakes the receiver.

    Seen to fail when a receiver that is first in the queue parked without a look of its own.
    """
    socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
    sender = waiting_sender(hub, socket, [b"waiter"])
    arrived = []

    def arrives(get, asked, option):
        if option == zmq.EVENTS and not arrived:
            arrived.append(plain(peer).send(b"m"))  # as another thread might, just here
        return get(asked, option)

    replace_get(monkeypatch, arrives)
    receiver = hub.spawn(socket.recv)
    until(hub, lambda: arrived)
    must_finish(hub, receiver, socket)
    assert receiver.get() == b"m"
    sender.kill()
    idle(socket)


def test_sender_sees_what_its_own_look_found(hub, context):
    """A woken sender whose place was taken meets a stale EAGAIN, since libzmq's `send` looks at its commands once in a
    millisecond only; its look at ``EVENTS`` then takes the signal that there is room again, and it goes on.

    Seen to fail when the look that follows a sender's EAGAIN counted as the one that had refused it.
    """
    socket, peer = connected(context, zmq.PUSH, zmq.PULL, sndhwm=1, rcvhwm=1)
    waiter = waiting_sender(hub, socket, [b"waiter"])

    def rival():
        drain(peer)
        socket.get(zmq.EVENTS)  # wakes the waiter, which runs later
        assert fill_up(socket, [b"rival"])
        drain(peer)
        assert signalled(socket)

    time.sleep(0.005)  # the millisecond begins with the rival's first send
    from_fd_callback(hub, rival)
    must_finish(hub, waiter, socket)
    assert drain(peer) == [[b"waiter"]]
    idle(socket)


@pytest.mark.parametrize("pause", [0, 0.005], ids=["look-takes-it", "attempt-takes-it"])
def test_refused_sender_gets_the_signal_that_a_later_one_takes(hub, context, monkeypatch, pause):
    """Of two senders to two full peers of a ROUTER_MANDATORY the first has been refused; then there is room for it, and
    the second, being tried, takes the signal: the first goes on.

    Seen to fail when those refused before did not count for what a refused sender's own look finds.
    """
    router, peers = mandatory_router(context, b"a", b"b", b"c")
    first, second = (waiting_sender_to(hub, router, name) for name in (b"a", b"b"))
    waiters = senders_of(router)
    room: list[Any] = []

    def wake(waiter, wake=Waiter.wake):
        if waiter is waiters[1] and not room:
            room.append(drain(peers[b"a"]))
            time.sleep(pause)  # after a millisecond libzmq's send looks at its commands itself
        wake(waiter)

    monkeypatch.setattr(Waiter, "wake", wake)
    peers[b"c"].send(b"any signal")
    until(hub, lambda: first.done or not signalled(router))
    for _ in range(5):
        hub.sleep()
    assert first.done
    assert not second.done
    second.kill()
    idle(router)


def mandatory_router(context: greenzmq.Context, *names: bytes) -> tuple[greenzmq.Socket, dict[bytes, greenzmq.Socket]]:
    """A ROUTER that refuses what it cannot deliver, and peers with these names and little room."""
    router = context.socket(zmq.ROUTER)
    router.router_mandatory, router.sndhwm = 1, 1
    router.bind(address("inproc"))
    peers = {}
    for name in names:
        peers[name] = context.socket(zmq.DEALER)
        peers[name].routing_id, peers[name].rcvhwm = name, 1
        peers[name].connect(router.last_endpoint.decode())
    router.get(zmq.EVENTS)
    return router, peers


def waiting_sender_to(hub: greenzmq.GreenHub, router: greenzmq.Socket, name: bytes) -> greenzmq.Task[Any]:
    fill_up(router, [name, b"fill"])
    task = hub.spawn(router.send_multipart, [name, b"waiter"])
    for _ in range(5):
        hub.sleep()
    assert not task.done
    return task


# -- changes without a signal -----------------------------------------------------------------------------------------


def test_bind_to_an_early_connection(hub, context):
    """`bind` to an inproc address to which a peer has already sent makes it readable, and nothing signals it."""
    socket, early = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    where = address("inproc")
    early.connect(where)
    early.send(b"early")
    waiter = waiting_receiver(hub, socket)
    as_rival(socket, lambda: socket.bind(where))
    assert not signalled(socket)
    must_finish(hub, waiter, socket)
    assert waiter.get() == [b"early"]


def test_connect_makes_writable(hub, context):
    """`connect` to a bound inproc peer makes the socket writable, and nothing signals it."""
    sink, socket = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    sink.bind(address("inproc"))
    waiter = hub.spawn(socket.send, b"m")
    for _ in range(5):
        hub.sleep()
    assert not waiter.done
    as_rival(socket, lambda: socket.connect(sink.last_endpoint.decode()))
    assert not signalled(socket)
    must_finish(hub, waiter, socket)
    assert drain(sink) == [[b"m"]]


def test_answer_of_a_rep_lets_the_next_receive(hub, context):
    """A REP that has answered is readable again by its own `send`, without a signal: the next worker goes on."""
    rep, asker = connected(context, zmq.REP, zmq.REQ)
    other = context.socket(zmq.REQ)
    other.connect(rep.last_endpoint.decode())
    workers = [parked(hub, receives, rep.recv) for _ in range(2)]
    for req in (asker, other):
        req.send(b"question")
    until(hub, lambda: workers[0].done)
    for _ in range(5):
        hub.sleep()
    assert not workers[1].done
    assert not signalled(rep)
    as_rival(rep, lambda: rep.send(b"answer"))
    assert not signalled(rep)
    must_finish(hub, workers[1], rep)


def test_worker_of_a_rep_waits_while_another_answers(hub, context):
    """A second question comes while a worker of a REP has still to answer the first: the other worker goes on waiting.

    Seen to fail, with EFSM, when a receiver that waited alone was woken by any signal, EVENTS unread.
    """
    rep, asker = connected(context, zmq.REP, zmq.REQ)
    other = context.socket(zmq.REQ)
    other.connect(rep.last_endpoint.decode())
    workers = [parked(hub, receives, rep.recv) for _ in range(2)]
    asker.send(b"first")
    until(hub, lambda: workers[0].done)
    other.send(b"second")
    await_signal(rep)
    until(hub, lambda: workers[1].done or not signalled(rep))
    for _ in range(5):
        hub.sleep()
    assert not workers[1].done
    rep.send(b"answer")
    must_finish(hub, workers[1], rep)
    assert workers[1].get() == b"second"
    idle(rep)


def test_question_of_a_req_lets_it_receive(hub, context):
    """A REQ's waiting receiver goes on when the answer is there, though another greenlet's look took its signal."""
    rep, req = connected(context, zmq.REP, zmq.REQ)
    req.send(b"question")
    waiter = waiting_receiver(hub, req)
    assert rep.recv() == b"question"
    rep.send(b"answer")
    await_signal(req)
    as_rival(req, lambda: fails(req.send, b"out of turn"))
    must_finish(hub, waiter, req)
    assert waiter.get() == [b"answer"]


def test_large_messages_need_no_second_signal(hub, context):
    """A waiter that is woken for the first of many messages leaves the rest, which signal nothing, to the next
    waiters.
    """
    socket, peer = connected(context, zmq.PULL, zmq.PUSH, "tcp")
    waiters = [waiting_receiver(hub, socket) for _ in range(5)]
    for n in range(5):
        peer.send_multipart([b"%d" % n, BIG])
    until(hub, lambda: all(waiter.done for waiter in waiters))
    assert [waiter.get()[0] for waiter in waiters] == [b"%d" % n for n in range(5)]
    idle(socket)
