"""A proxy that cannot go on, and one that ends: what is in hand, what is left, who hears of it."""

from __future__ import annotations

import random

import pytest
import zmq
from support.inside import replace_in_proxies, senders_of
from support.invariants import idle
from support.polling import count_reads, goes_on
from support.proxies import TINY, drain, flood, running, steer
from support.sockets import connected, open_context, tick, until

import greenzmq

ROUTED = (zmq.ROUTER, zmq.DEALER, zmq.DEALER, zmq.DEALER)
ONE_WAY = (zmq.PULL, zmq.PUSH, zmq.PUSH, zmq.PULL)
BOTH = pytest.mark.parametrize("native", [False, True], ids=["green", "native"])


@pytest.fixture
def insisted(monkeypatch):
    """The messages that a proxy had in hand without room for them."""
    messages = []

    def spy(send_blocking):
        def noted(targets, parts):
            messages.append([frame.bytes for frame in parts])
            return send_blocking(targets, parts)

        return noted

    replace_in_proxies(monkeypatch, "_send_blocking", spy)
    return messages


# --- back-pressure ----------------------------------------------------------------------------------------------------


def test_it_reads_nothing_that_it_cannot_pass_on(hub, insisted):
    """With no room behind, messages stay where they are: after a kill all can be read, from the source, in order.

    Seen to fail without the look at POLLOUT: the first message that finds no room is in hand then.
    """
    with running(hub, *ONE_WAY, options=TINY) as proxy:
        sent = flood(hub, proxy.client)
        assert sent == 4  # two before the proxy, two behind it
        tick(hub, proxy.task)
        proxy.task.kill()
        got = [*drain(hub, proxy.frontend, 2), *drain(hub, proxy.worker, 2)]
        assert got == [[b"%d" % number, b"tail"] for number in (2, 3, 0, 1)]
        idle(proxy.frontend, proxy.backend)
    assert insisted == []


def test_room_again(hub, insisted):
    """Whoever reads at the other end sets the proxy going again; all arrives, in order."""
    with running(hub, *ONE_WAY, options=TINY) as proxy:
        sender = hub.spawn(lambda: [proxy.client.send_multipart([b"%d" % number, b"tail"]) for number in range(200)])
        tick(hub, sender)
        assert [int(proxy.worker.recv_multipart()[0]) for _ in range(200)] == list(range(200))
        sender.get()
    assert insisted == []


def test_one_way_stuck_does_not_stop_the_other(hub, insisted):
    """With no room at the backend, answers go on to the frontend."""
    pairs = (zmq.DEALER, zmq.DEALER, zmq.DEALER, zmq.DEALER)
    with running(hub, *pairs, options=TINY) as proxy:
        flood(hub, proxy.client)
        for number in range(50):
            proxy.worker.send(b"%d" % number)
            assert proxy.client.recv() == b"%d" % number
    assert insisted == []


def test_it_reads_nothing_that_it_cannot_capture(hub, insisted):
    """Nobody at the capture socket: nothing is read. When somebody comes, all is captured and passed on."""
    with running(hub, *ONE_WAY, capture=True, options=TINY) as proxy:
        proxy.captured.disconnect(proxy.capture.last_endpoint.decode())
        sent = flood(hub, proxy.client)
        assert sent == 2
        assert not proxy.worker.poll(0)
        proxy.captured.connect(proxy.capture.last_endpoint.decode())
        for number in range(sent):
            assert proxy.captured.recv_multipart() == [b"%d" % number, b"tail"]
            assert proxy.worker.recv_multipart() == [b"%d" % number, b"tail"]
    assert insisted == []


# --- a promise of room that is false ----------------------------------------------------------------------------------


def addressed(hub, context, native=False):
    """A DEALER in front of a ROUTER that insists on its routes, with two peers that have room for two messages each."""
    front, client = connected(context, zmq.DEALER, zmq.DEALER)
    router = context.socket(zmq.ROUTER)
    router.router_mandatory, router.sndhwm = 1, 1
    router.bind("inproc://mandatory")
    peers = []
    for name in (b"A", b"B"):
        peer = context.socket(zmq.DEALER)
        peer.routing_id, peer.rcvhwm = name, 1
        peer.connect("inproc://mandatory")
        peers.append(peer)
    return front, client, router, *peers


def test_a_false_promise_of_room(hub, context, insisted):
    """A message for a full peer, while another has room: in hand, and no loop spins; the other way and control go on.

    Seen to fail, with thousands of looks at EVENTS, with the proxy waiting for POLLOUT instead of for the task.
    """
    front, client, router, a, b = addressed(hub, context)
    control, controller = connected(context, zmq.REP, zmq.REQ)
    task = hub.spawn(greenzmq.proxy_steerable, front, router, None, control)
    for number in range(4):
        client.send_multipart([b"A", b"%d" % number])
    until(hub, lambda: insisted)
    for number in range(20):
        b.send(b"%d" % number)
        assert client.recv_multipart() == [b"B", b"%d" % number]
    with count_reads() as reads:
        hub.sleep(0.1)
    assert len(reads) < 20
    controller.send(b"STATISTICS")
    received, sent = (int.from_bytes(part, "little") for part in controller.recv_multipart()[0::6])
    assert (received, sent) == (6, 4)  # one message is in hand, and one waits for it
    assert [a.recv() for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    assert insisted == [[b"A", b"2"]] or insisted == [[b"A", b"2"], [b"A", b"3"]]
    task.kill()


def test_a_kill_with_a_message_in_hand_loses_nothing(hub, context, insisted):
    """The task that has the message outlives the proxy: when the peer reads, it gets all of them."""
    front, client, router, a, _ = addressed(hub, context)
    task = hub.spawn(greenzmq.proxy, front, router)
    for number in range(3):
        client.send_multipart([b"A", b"%d" % number])
    until(hub, lambda: insisted)
    task.kill()
    assert task.done
    assert [a.recv() for _ in range(3)] == [b"0", b"1", b"2"]
    until(hub, lambda: not senders_of(router))
    idle(front, router)


def test_what_libzmq_answers_ends_it(hub, context):
    """No such peer behind a mandatory ROUTER: EHOSTUNREACH comes out of the proxy, as out of libzmq's."""
    front, client, router, *_ = addressed(hub, context)
    task = hub.spawn(greenzmq.proxy, front, router)
    client.send_multipart([b"nobody", b"message"])
    with pytest.raises(zmq.ZMQError) as raised:
        task.get(10)
    assert raised.value.errno == zmq.EHOSTUNREACH


def test_others_send_on_the_same_socket(hub, insisted):
    """A greenlet is in the middle of a message on the backend: the proxy's waits for its end, and is not mixed in."""
    with running(hub, *ONE_WAY) as proxy:
        proxy.backend.send(b"mine", zmq.SNDMORE)
        proxy.client.send_multipart([b"passed", b"on"])
        until(hub, lambda: insisted)
        assert not proxy.worker.poll(0)
        proxy.backend.send(b"too")
        assert proxy.worker.recv_multipart() == [b"mine", b"too"]
        assert proxy.worker.recv_multipart() == [b"passed", b"on"]


def test_others_receive_on_the_same_socket(hub):
    """A greenlet that has received the first part of a message gets the rest; the proxy has the next one.

    Seen to hang with the first message of a burst taken from libzmq directly.
    """
    with running(hub, *ONE_WAY, start=False) as proxy:
        for message in ([b"mine", b"too"], [b"passed", b"on"]):
            proxy.client.send_multipart(message)
        assert proxy.frontend.recv() == b"mine"
        proxy.start()
        tick(hub, proxy.task)
        assert proxy.frontend.recv() == b"too"
        assert proxy.worker.recv_multipart() == [b"passed", b"on"]


def test_a_signal_that_comes_during_a_burst(hub, monkeypatch):
    """A question that arrives while answers are moved, so that the look for room takes its signal: it is moved, too.

    Seen to hang without the looks that follow a burst.
    """

    def spy(deliver):
        def delivering(flow, parts):
            if parts[0].bytes == b"answer":
                proxy.client.send(b"question", zmq.NOBLOCK)
            return deliver(flow, parts)

        return delivering

    replace_in_proxies(monkeypatch, "_Flow._deliver", spy)
    with running(hub, zmq.DEALER, zmq.DEALER, zmq.DEALER, zmq.DEALER) as proxy:
        proxy.client.send(b"first")
        assert proxy.worker.recv() == b"first"
        for _ in range(5):
            proxy.worker.send(b"answer")
            assert proxy.client.recv() == b"answer"
            assert proxy.worker.recv() == b"question"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_killed_again_and_again(hub, insisted):
    """Killed at random moments and started anew while numbers flow: none is lost, none comes twice, all in order."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    count, got = 3000, []
    with running(hub, *ONE_WAY, options={"sndhwm": 5, "rcvhwm": 5}) as proxy:
        sender = hub.spawn(lambda: [proxy.client.send_multipart([b"%d" % number, b"tail"]) for number in range(count)])
        receiver = hub.spawn(lambda: [got.append(int(proxy.worker.recv_multipart()[0])) for _ in range(count)])
        for _ in range(60):
            for _ in range(chance.randrange(4)):
                hub.sleep()
            proxy.task.kill(block=chance.random() < 0.5)
            assert proxy.task.join(10)
            idle(proxy.frontend)
            proxy.start()
        receiver.get()
        sender.get()
        assert got == list(range(count))
    assert insisted == []


@BOTH
def test_a_time_limit(hub, native):
    """A Timeout thrown into a proxy comes out of it as it is, and the sockets are free again."""
    with running(hub, *ONE_WAY, native=native, start=False) as proxy:
        with pytest.raises(greenzmq.Timeout), hub.timeout(0.01):
            greenzmq.proxy(proxy.frontend, proxy.backend, native=native)
        proxy.client.send(b"message")
        assert proxy.frontend.recv() == b"message"
        idle(proxy.frontend, proxy.backend)


@BOTH
def test_the_end_of_the_context(hub, native):
    """term() ends the proxy with ContextTerminated, and then returns, since its sockets can be closed."""
    with open_context(hub) as context:
        front, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)

        def run():
            with front, back:
                greenzmq.proxy(front, back, native=native)

        task = hub.spawn(run)
        tick(hub, task)
        context.term()
        with pytest.raises(zmq.ContextTerminated):
            task.get(10)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "stuck"])
def test_a_closed_socket(hub, busy):
    """Whichever of its sockets is closed, also one that it lacks nothing of just now: ENOTSOCK, at once."""
    for which in range(4):  # frontend, backend, capture, control
        closed_socket(hub, which, busy)


def closed_socket(hub, which, busy):
    with running(hub, *ONE_WAY, capture=True, control=(zmq.PAIR, zmq.PAIR), options=TINY) as proxy:
        if busy:
            flood(hub, proxy.client)
        tick(hub, proxy.task)
        proxy.all_sockets()[which].close()
        goes_on(hub, proxy.task)
        with pytest.raises(zmq.ZMQError) as raised:
            proxy.task.get()
        assert raised.value.errno == zmq.ENOTSOCK


def test_a_proxy_at_rest_costs_nothing(hub):
    """With nothing to move no socket is looked at."""
    with running(hub, *ROUTED, capture=True, control=(zmq.REP, zmq.REQ)) as proxy:
        steer(proxy, b"STATISTICS")
        for _ in range(20):  # libzmq's own threads may still have something to say
            with count_reads() as reads:
                hub.sleep(0.1)
            if not reads:
                break
        assert reads == []
        assert not proxy.task.done
