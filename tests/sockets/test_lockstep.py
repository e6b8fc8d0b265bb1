"""REQ and REP, whose state says whose turn it is, with several greenlets on one socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import zmq
from support.inside import receivers_of
from support.invariants import check, idle
from support.sockets import address, connected, never_switches, open_context, parked, receives, tick, until

import greenzmq


def asked(hub: greenzmq.GreenHub, context: greenzmq.Context) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """A REP that has waited for its request and has it, and the REQ that has sent it."""
    rep, req = connected(context, zmq.REP, zmq.REQ)
    task = parked(hub, receives, rep.recv)
    req.send(b"question")
    assert task.get() == b"question"
    return rep, req


def test_wrong_turn_is_an_error_at_once(hub):
    """To receive or send out of turn is EFSM, as from libzmq, without a switch, though the last call had to wait.

    Seen to wait for good when ``EVENTS`` was asked in place of an attempt: that says neither.
    """
    with open_context(hub, turn=0) as context:  # each operation of a REQ or REP looks at the clock
        rep, req = asked(hub, context)
        task = parked(hub, receives, req.recv)
        rep.send(b"answer")
        assert task.get() == b"answer"
        for call in (req.recv, lambda: rep.send(b"another")):
            with never_switches(), pytest.raises(zmq.ZMQError) as caught:
                call()
            assert caught.value.errno == zmq.EFSM
        task = parked(hub, receives, rep.recv)
        req.send(b"question")
        assert task.get() == b"question"
        for call in (rep.recv, lambda: req.send(b"another")):
            with never_switches(), pytest.raises(zmq.ZMQError) as caught:
                call()
            assert caught.value.errno == zmq.EFSM
        idle(rep, req)


@pytest.mark.parametrize("limited", [False, True])
def test_second_worker(hub, context, limited):
    """Two greenlets wait for requests on one REP. While the first works on its own the second's time ends, with Again;
    without a limit it waits on, also when woken in vain, and has the next request.

    Seen to fail, with EFSM for Again and for the woken one, when only EAGAIN was taken for "not now".
    """
    rep, req = connected(context, zmq.REP, zmq.REQ)
    first = parked(hub, receives, rep.recv)
    rep.rcvtimeo = 30 if limited else -1
    second = hub.spawn(rep.recv)
    until(hub, lambda: len(receivers_of(rep)) == 2)
    req.send(b"1")
    assert first.get() == b"1"
    if limited:
        with pytest.raises(zmq.Again):
            second.get()
        rep.send(b"one")
        assert req.recv() == b"one"
    else:
        receivers_of(rep)[0].wake()
        tick(hub, second)
        check(rep)
        rep.send(b"one")
        assert req.recv() == b"one"
        req.send(b"2")
        assert second.get() == b"2"
    idle(rep, req)


def test_a_send_that_failed_gives_no_turn(hub):
    """After a send that was refused, whatever the reason, a REQ's recv still is out of turn: EFSM, and no wait.

    Seen to hang when the fast path counted a send before it was made.
    """
    with open_context(hub, turn=0) as context:  # each operation of a REQ or REP looks at the clock
        lonely, met = context.socket(zmq.REQ), context.socket(zmq.REQ)
        met.bind(address("inproc"))
        peer = context.socket(zmq.REP)
        peer.connect(met.last_endpoint.decode())
        lonely.sndtimeo = 0

        def refused(error: type[BaseException], send: Callable[..., object], *args: object) -> None:
            with pytest.raises(error):
                send(*args)

        for socket in (lonely, met):
            refused(TypeError, socket.send, "text")
            refused(TypeError, socket.send_multipart, ["text"])
            with never_switches(), pytest.raises(zmq.ZMQError) as caught:
                socket.recv()
            assert caught.value.errno == zmq.EFSM
        refused(zmq.Again, lonely.send, b"nobody is there")
        with never_switches(), pytest.raises(zmq.ZMQError) as caught:
            lonely.recv()
        assert caught.value.errno == zmq.EFSM
        answering = hub.spawn(lambda: peer.send(peer.recv()))
        met.send(b"question")
        assert met.recv() == b"question"
        answering.get()
        with never_switches(), pytest.raises(zmq.ZMQError) as caught:
            met.recv()
        assert caught.value.errno == zmq.EFSM
