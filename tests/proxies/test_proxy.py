"""proxy, proxy_steerable and device: what they move, what they count, what they obey."""

from __future__ import annotations

import hashlib
import importlib

import pytest
import zmq
from support.proxies import TINY, numbers, running, steer, ticking
from support.sockets import address, connected, open_context, tick, until
from support.torture import scale

import greenzmq
import greenzmq.selector

ROUTED = (zmq.ROUTER, zmq.DEALER, zmq.DEALER, zmq.DEALER)
ONE_WAY = (zmq.PULL, zmq.PUSH, zmq.PUSH, zmq.PULL)
BOTH = pytest.mark.parametrize("native", [False, True], ids=["green", "native"])

# --- what is moved ----------------------------------------------------------------------------------------------------


def client(context, endpoint, name, rounds, window, answers):
    """Ask `window` three-frame questions at a time; collect number and answer."""
    with context.socket(zmq.DEALER) as socket:
        socket.connect(endpoint)
        for first in range(0, rounds * window, window):
            for number in range(first, first + window):
                socket.send_multipart([name, b"%d" % number, b"x" * (number % 50)])
            for _ in range(window):
                back, number, answer = socket.recv_multipart()
                answers.append((back, int(number), answer))


def worker(socket):
    with socket:
        while True:
            identity, name, number, body = socket.recv_multipart()
            socket.send_multipart([identity, name, number, digest(name, int(number), body)])


def digest(name, number, body):
    return hashlib.md5(b"%s %d %s" % (name, number, body), usedforsecurity=False).digest()


@pytest.mark.torture
@BOTH
def test_fifty_clients_and_fifty_workers(hub, native):
    """Three-frame messages between 50 clients and 50 workers: none lost, none mixed, while a ticker ticks.

    5,000 of them, so that both kinds on ten loops move 100,000; in the long form, 100,000 each. STATISTICS count every
    frame and octet, and TERMINATE ends it.
    """
    rounds, window, peers = scale(40, 2), 25, 50
    asked = peers * rounds * window
    with running(hub, *ROUTED, transport="ipc", control=(zmq.PAIR, zmq.PAIR), native=native) as proxy, ticking(hub):
        front, back = (socket.last_endpoint.decode() for socket in (proxy.frontend, proxy.backend))
        # All of the backend's peers work: one that went now might take messages with it.
        others = [proxy.context.socket(zmq.DEALER) for _ in range(peers - 1)]
        for other in others:
            other.connect(back)
        workers = [hub.spawn(worker, each) for each in (proxy.worker, *others)]
        answers = {b"client-%d" % number: [] for number in range(peers)}
        clients = [
            hub.spawn(client, proxy.context, front, name, rounds, window, collected)
            for name, collected in answers.items()
        ]
        for each in clients:
            each.get()
        for name, collected in answers.items():
            expected = [(name, number, digest(name, number, b"x" * (number % 50))) for number in range(rounds * window)]
            assert sorted(collected) == expected
        found = numbers(proxy)
        frames = 4 * asked  # with the identity that the ROUTER adds
        assert {value for name, value in found.items() if "frames" in name} == {frames}
        assert found["frontend received octets"] == found["backend sent octets"]
        assert found["backend received octets"] == found["frontend sent octets"]
        names = sum(len(name) for name in answers) * rounds * window
        number_digits = peers * sum(len(b"%d" % number) for number in range(rounds * window))
        bodies = peers * sum(number % 50 for number in range(rounds * window))
        assert found["frontend received octets"] == 5 * asked + names + number_digits + bodies
        assert found["backend received octets"] == 5 * asked + names + number_digits + 16 * asked
        steer(proxy, b"TERMINATE")
        assert proxy.task.get(10) == 0
        for each in workers:
            each.kill()


@BOTH
def test_one_way(hub, native):
    """PULL to PUSH: all messages, in order, with their parts, empty ones included, and large ones."""
    messages = [[b"%d" % number, b"", b"x" * number] for number in range(300)] + [[b"big", bytes(1_000_000)], [b""]]
    with running(hub, *ONE_WAY, transport="tcp", native=native) as proxy:
        sender = hub.spawn(lambda: [proxy.client.send_multipart(message) for message in messages])
        assert [proxy.worker.recv_multipart() for _ in messages] == messages
        sender.get()


@BOTH
def test_subscriptions_go_the_other_way(hub, native):
    """XSUB to XPUB: the subscription reaches the publisher through the proxy, and what matches comes back."""
    with running(hub, zmq.XSUB, zmq.XPUB, zmq.XPUB, zmq.SUB, native=native) as proxy:
        publisher, subscriber = proxy.client, proxy.worker
        subscriber.subscribe(b"a")
        assert publisher.recv() == b"\1a"
        for topic in (b"a1", b"b1", b"a2"):
            publisher.send_multipart([topic, b"body"])
        assert [subscriber.recv_multipart() for _ in range(2)] == [[b"a1", b"body"], [b"a2", b"body"]]
        subscriber.unsubscribe(b"a")
        assert publisher.recv() == b"\0a"


@pytest.mark.parametrize("kind", [zmq.REP, zmq.ROUTER, zmq.PAIR], ids=["REP", "ROUTER", "PAIR"])
def test_a_socket_that_is_its_own_backend(hub, kind):
    """With the same socket at both ends each message goes back where it came from; a device without backend, too."""
    peer = {zmq.REP: zmq.REQ, zmq.ROUTER: zmq.DEALER, zmq.PAIR: zmq.PAIR}[kind]
    for start in (lambda echo: greenzmq.proxy(echo, echo), lambda echo: greenzmq.device(zmq.QUEUE, echo)):
        with open_context(hub) as context:
            echo, client = connected(context, kind, peer)
            task = hub.spawn(start, echo)
            for number in range(5):
                client.send_multipart([b"%d" % number, b"tail"])
                assert client.recv_multipart() == [b"%d" % number, b"tail"]
            task.kill()


@BOTH
def test_plain_sockets(hub, native):
    """Sockets of pyzmq's own, with a plain context: they wait on this hub all the same."""
    context = zmq.Context()
    with context, open_context(hub) as green:
        front, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        with front, back:
            ends = [f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}" for socket in (front, back)]
            push, pull = green.socket(zmq.PUSH), green.socket(zmq.PULL)
            push.connect(ends[0])
            pull.connect(ends[1])
            task = hub.spawn(greenzmq.proxy, front, back, native=native, hub=hub.hub)
            for number in range(10):
                push.send_multipart([b"%d" % number, b"tail"])
                assert pull.recv_multipart() == [b"%d" % number, b"tail"]
            task.kill()


@BOTH
def test_capture_gets_every_message(hub, native):
    """Both ways are captured, in the order in which they passed, with all their parts."""
    with running(hub, *ROUTED, capture=True, native=native) as proxy:
        for number in range(20):
            proxy.client.send_multipart([b"question", b"%d" % number])
            identity, *question = proxy.worker.recv_multipart()
            assert proxy.captured.recv_multipart() == [identity, *question]
            proxy.worker.send_multipart([identity, b"answer", b"%d" % number])
            assert proxy.client.recv_multipart() == [b"answer", b"%d" % number]
            assert proxy.captured.recv_multipart() == [identity, b"answer", b"%d" % number]


def test_zero_copy(hub):
    """What is passed on is libzmq's own message: no bytes object of its size is made for it."""
    import tracemalloc

    with running(hub, *ONE_WAY) as proxy:
        proxy.client.send(bytes(5_000_000))
        tracemalloc.start()
        try:
            until(hub, lambda: proxy.worker.poll(0))
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
        assert len(proxy.worker.recv()) == 5_000_000


def test_others_have_their_turn(hub, context):
    """A proxy that never lacks anything lets the hub go round: a greenlet beside it runs, and ends it.

    Seen to hang without the pause in the proxy.
    """
    socket = context.socket(zmq.DEALER)
    socket.bind(address("inproc"))
    socket.connect(socket.last_endpoint.decode())  # its own peer
    for _ in range(10):
        socket.send(b"goes round for ever")
    task = hub.spawn(greenzmq.proxy, socket, socket)
    tick(hub, task)
    task.kill()
    assert task.done


# --- control ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("control", [(zmq.REP, zmq.REQ), (zmq.PAIR, zmq.PAIR)], ids=["REP", "PAIR"])
def test_commands(hub, control, native):
    """PAUSE holds messages back, RESUME lets them go, STATISTICS counts, TERMINATE ends it: 0. A REP answers all."""
    empty = [b""] if control[0] == zmq.REP else None
    with running(hub, *ONE_WAY, control=control, native=native) as proxy:
        proxy.client.send_multipart([b"first", b"message"])
        assert proxy.worker.recv_multipart() == [b"first", b"message"]
        assert steer(proxy, b"PAUSE") == empty
        assert steer(proxy, b"unknown") == empty
        paused = numbers(proxy)  # after this answer, the PAUSE has been obeyed
        assert list(paused.values()) == [2, 12, 0, 0, 0, 0, 2, 12]
        proxy.client.send(b"second")
        tick(hub, proxy.task)
        assert numbers(proxy) == paused
        assert not proxy.worker.poll(0)
        assert steer(proxy, b"RESUME") == empty
        assert proxy.worker.recv() == b"second"
        assert list(numbers(proxy).values()) == [3, 18, 0, 0, 0, 0, 3, 18]
        assert steer(proxy, b"TERMINATE") == empty
        assert proxy.task.get(10) == 0
        assert not proxy.controller.poll(0)


@BOTH
def test_commands_from_a_one_way_socket(hub, native):
    """A PULL takes commands, too: what need not be answered is not."""
    with running(hub, *ONE_WAY, control=(zmq.PULL, zmq.PUSH), native=native) as proxy:
        for command in (b"PAUSE", b"RESUME", b"TERMINATE"):
            steer(proxy, command)
        assert proxy.task.get(10) == 0


def test_control_answers_while_both_ways_are_stuck(hub):
    """With no room at either end and a flood of messages, commands are obeyed at once."""
    with running(hub, *ROUTED, control=(zmq.REP, zmq.REQ), options=TINY, start=False) as proxy:
        flood = hub.spawn(lambda: [proxy.client.send(b"question") for _ in range(100)])
        proxy.start()
        tick(hub, flood)
        assert numbers(proxy)["frontend received frames"] < 100
        assert steer(proxy, b"TERMINATE") == [b""]
        assert proxy.task.get(10) == 0
        flood.kill()


#: Calls with something that is no socket, by the argument that it is.
WRONG = {
    "frontend": lambda module, socket, wrong, **how: [
        lambda: module.proxy(wrong, socket, **how),
        lambda: module.proxy_steerable(wrong, socket, **how),
        lambda: module.device(zmq.QUEUE, wrong, socket),
    ],
    "backend": lambda module, socket, wrong, **how: [
        lambda: module.proxy(socket, wrong, **how),
        lambda: module.proxy_steerable(socket, wrong, **how),
    ],
    "capture": lambda module, socket, wrong, **how: [
        lambda: module.proxy(socket, socket, wrong, **how),
        lambda: module.proxy_steerable(socket, socket, capture=wrong, **how),
    ],
    "control": lambda module, socket, wrong, **how: [
        lambda: module.proxy_steerable(socket, socket, None, wrong, **how),
    ],
}
NO_SOCKETS = ["tcp://127.0.0.1:5555", 0, False, -1, object(), greenzmq.Context]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("namespace", ["zmq", "greenzmq", "greenzmq.selector", "greenzmq.gevent"])
def test_other_objects_than_sockets(namespace, native):
    """What is no socket is a TypeError that names the argument, as in pyzmq; capture and control may be None.

    Seen to run, recorded and steered by nobody.
    """
    module = importlib.import_module(namespace)
    how = {"native": True} if native and namespace != "zmq" else {}
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        for name, calls in WRONG.items():
            for wrong in NO_SOCKETS + [None] * (name in {"frontend", "backend"}):
                for call in calls(module, socket, wrong, **how):
                    with pytest.raises(TypeError, match=name):
                        call()


def test_a_device_of_no_sockets():
    """`device` takes None and -1 for the frontend once more, as `zmq.green` does; nothing else that is no socket."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket, pytest.raises(TypeError, match="backend"):
        greenzmq.device(zmq.STREAMER, socket, "tcp://127.0.0.1:5555")
