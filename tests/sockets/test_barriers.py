"""`wait_connected`, `wait_subscribed` and `wait_drained`: what they know, and that they wait for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from typing import Any

import pytest
import zmq
from support.sockets import address, keep_sockets, open_context, tick, until

import greenzmq
from greenzmq import GreenHub, aio
from greenzmq.errors import BarrierTimeout
from greenzmq.sockets import barriers


@pytest.fixture
def observed(hub: GreenHub, hub_thread: Any) -> Any:
    """A context whose sockets can tell of their peers."""
    ending = contextlib.ExitStack()
    yield hub_thread.call(lambda: keep_sockets(ending.enter_context(open_context(hub, barriers=True))))
    hub_thread.call(ending.close)


def opened(context: Any, kind: int, **options: Any) -> Any:
    socket = context.socket(kind)
    socket.linger = 0
    for name, value in options.items():
        setattr(socket, name, value)
    return socket


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_both_sides_know_that_they_are_connected(hub: GreenHub, observed: Any, transport: str) -> None:
    """However long ago that was; and not before."""
    server, client = opened(observed, zmq.ROUTER), opened(observed, zmq.DEALER)
    waiting = [hub.spawn(socket.wait_connected, 1, 30) for socket in (server, client)]
    tick(hub, *waiting)
    server.bind(address(transport))
    tick(hub, *waiting)
    client.connect(server.last_endpoint.decode())
    for task in waiting:
        task.get()
    hub.sleep(0.05)
    for socket in (server, client):
        socket.wait_connected()
        socket.wait_connected(timeout=0)


def test_many_peers_are_counted_and_uncounted(hub: GreenHub, observed: Any) -> None:
    """Any number of greenlets wait for any numbers."""
    server = opened(observed, zmq.PULL)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    waiting = {n: hub.spawn(server.wait_connected, n, 30) for n in (3, 1, 2, 3)}
    peers = []
    for n in (1, 2, 3):
        peers.append(opened(observed, zmq.PUSH))
        peers[-1].connect(f"tcp://127.0.0.1:{port}")
        waiting[n].get()
        tick(hub, *[task for wanted, task in waiting.items() if wanted > n])
    for left in (2, 1, 0):
        peers.pop().close()
        with pytest.raises(BarrierTimeout, match=f"{left} of {left + 1} peers are connected"):
            until(hub, lambda: server.wait_connected(left + 1, 0))  # noqa: B023


def test_a_handshake_that_fails_is_told(hub: GreenHub, observed: Any) -> None:
    """A client that does not speak CURVE is no peer, and the error says why there is none."""
    public, secret = zmq.curve_keypair()
    server = opened(observed, zmq.PULL, curve_server=True, curve_secretkey=secret, curve_publickey=public)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    client = opened(observed, zmq.PUSH)
    client.connect(f"tcp://127.0.0.1:{port}")
    with pytest.raises(BarrierTimeout, match=r"0\.3 seconds: 0 of 1 peers are connected; HANDSHAKE_FAILED"):
        server.wait_connected(timeout=0.3)
    assert isinstance(BarrierTimeout(1), TimeoutError)
    ours = opened(observed, zmq.PUSH, curve_serverkey=public, curve_secretkey=secret, curve_publickey=public)
    ours.connect(f"tcp://127.0.0.1:{port}")
    server.wait_connected(timeout=30)


@pytest.mark.parametrize("wait", ["wait_connected", "wait_drained"])
def test_who_was_not_observed_says_so(context: Any, wait: str) -> None:
    """Rather than wait for what has happened before."""
    with pytest.raises(RuntimeError, match=r"greenzmq\.Context\(barriers=True\) or \$GREENZMQ_BARRIERS=1"):
        getattr(context.socket(zmq.PULL), wait)()


def test_a_closed_socket_and_one_made_by_its_class_are_told(observed: Any) -> None:
    """The first as by every other call; the second was not observed."""
    closed, direct = opened(observed, zmq.PULL), greenzmq.Socket(observed, zmq.PULL)
    closed.close()
    with pytest.raises(zmq.ZMQError) as caught:
        closed.wait_connected()
    assert caught.value.errno == zmq.ENOTSOCK
    closed.wait_drained(0)
    with pytest.raises(RuntimeError, match=r"made by context\.socket\(\)"):
        direct.wait_connected()
    direct.close()


def test_the_environment_and_shadows_are_asked(hub: GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """``$GREENZMQ_BARRIERS``, and a shadow of such a context."""
    monkeypatch.setenv("GREENZMQ_BARRIERS", "1")
    with open_context(hub) as context:
        for each in (context, greenzmq.Context(context)):
            with each.socket(zmq.PULL) as socket, pytest.raises(BarrierTimeout):
                socket.wait_connected(timeout=0)
    monkeypatch.setenv("GREENZMQ_BARRIERS", "0")
    with open_context(hub) as context, context.socket(zmq.PULL) as socket, pytest.raises(RuntimeError):
        socket.wait_connected()


@pytest.mark.parametrize("method", ["wait_connected", "wait_subscribed", "wait_drained"])
@pytest.mark.parametrize("end", ["close", "kill", "term"])
def test_a_wait_ends_with_its_socket(hub: GreenHub, observed: Any, method: str, end: str) -> None:
    """ENOTSOCK or ETERM, as every other wait; a kill leaves nothing behind."""
    server, peer = opened(observed, zmq.PUB if method == "wait_subscribed" else zmq.PUSH), opened(observed, zmq.PULL)
    if method == "wait_drained":
        server.bind(address("inproc"))
        peer.connect(server.last_endpoint.decode())
        server.send(b"never received")
    task = hub.spawn(getattr(server, method))
    tick(hub, task)
    if end == "kill":
        task.kill()
    elif end == "close":
        server.close()
        peer.close()
        if method == "wait_drained":
            task.get(30)  # what was dropped has left
        else:
            with pytest.raises(zmq.ZMQError) as caught:
                task.get(30)
            assert caught.value.errno in {zmq.ENOTSOCK, zmq.ENOTSUP}
    else:
        observed.destroy(linger=0)
        if method == "wait_drained":
            task.get(30)
        else:
            with pytest.raises(zmq.ZMQError):
                task.get(30)
    assert task.done


# -- subscriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subscribed", [b"weather", b"wea", b""])
def test_a_pub_knows_that_somebody_has_subscribed(hub: GreenHub, context: Any, subscribed: bytes) -> None:
    """To the topic or a beginning of it, and to nothing else; also when that was before. Messages then arrive.

    No barrier has to be prepared for that; and what the program has bound last is what it finds.
    """
    pub, sub, other = opened(context, zmq.PUB), opened(context, zmq.SUB), opened(context, zmq.SUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    endpoint = pub.last_endpoint
    waiting = hub.spawn(pub.wait_subscribed, "weather", 30)
    for topic in (b"weather in Rome", b"x", b"weather2"):
        other.subscribe(topic)
    other.connect(f"tcp://127.0.0.1:{port}")
    pub.wait_subscribed(b"x", 30)
    tick(hub, waiting)
    with pytest.raises(BarrierTimeout, match="nobody has subscribed to b'weather'; 3 other topics"):
        pub.wait_subscribed(b"weather", 0.05)
    sub.subscribe(subscribed)
    sub.connect(f"tcp://127.0.0.1:{port}")
    assert waiting.get() == []
    pub.send(b"weather: fair")
    assert sub.recv() == b"weather: fair"
    pub.wait_subscribed(b"weather", 0)
    assert pub.last_endpoint == endpoint
    pub.bind("inproc://last")
    assert pub.last_endpoint == b"inproc://last"


def test_a_pub_that_publishes_meanwhile(hub: GreenHub, context: Any) -> None:
    """Another greenlet's `send` may consume the signal of the subscription. Nobody else gets the messages."""
    pub, sub = opened(context, zmq.PUB), opened(context, zmq.SUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    waiting = hub.spawn(pub.wait_subscribed, b"a", 30)
    tick(hub, waiting)
    sub.subscribe(b"a")
    sub.connect(f"tcp://127.0.0.1:{port}")
    while not waiting.done:
        pub.send(b"b")
        hub.sleep()
    waiting.get()
    pub.send(b"a")
    assert sub.recv() == b"a"


def test_an_xpub_returns_what_it_has_received(hub: GreenHub, context: Any) -> None:
    """The subscriptions are messages of the program's: none is lost."""
    pub, sub = opened(context, zmq.XPUB), opened(context, zmq.SUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    sub.connect(f"tcp://127.0.0.1:{port}")
    for topic in (b"x", b"weather"):
        sub.subscribe(topic)
    assert pub.wait_subscribed(b"weather today", 30) == [b"\x01x", b"\x01weather"]
    with pytest.raises(BarrierTimeout, match="nobody has subscribed to b'y'"):
        pub.wait_subscribed(b"y", 0.02)
    with pytest.raises(TypeError, match="for PUB and XPUB"):
        sub.wait_subscribed(b"x")


# -- what was sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [True, False])
def test_what_was_sent_has_left(hub: GreenHub, observed: Any, copy: bool) -> None:
    """Everything of every kind of call; as long as it cannot be sent, it has not left."""
    push, pull = opened(observed, zmq.PUSH), opened(observed, zmq.PULL)
    push.wait_drained(0)
    where = f"ipc://{os.path.dirname(address('ipc').removeprefix('ipc://'))}/late-{copy}"
    push.connect(where)
    buffer = bytearray(b"two")
    push.send(b"one", copy=copy)
    push.send_multipart([buffer, memoryview(b"three"), zmq.Frame(b"four")], copy=copy)
    assert push.send(zmq.Frame(b"five", track=True), copy=copy, track=True) is not None
    push.send_string("six")
    waiting = hub.spawn(push.wait_drained, 30)
    tick(hub, waiting)
    with pytest.raises(BarrierTimeout, match="6 frames have not left yet"):
        push.wait_drained(0.02)
    buffer[:] = b"TWO"
    pull.bind(where)
    waiting.get()
    received = [part for _ in range(4) for part in pull.recv_multipart()]
    assert received == [b"one", b"two" if copy else b"TWO", b"three", b"four", b"five", b"six"]


def test_over_inproc_it_has_been_received(hub: GreenHub, observed: Any) -> None:
    """Or dropped, where nobody has subscribed."""
    push, pull = opened(observed, zmq.PUSH), opened(observed, zmq.PULL)
    push.bind(address("inproc"))
    pull.connect(push.last_endpoint.decode())
    push.send(b"message")
    waiting = hub.spawn(push.wait_drained, 30)
    tick(hub, waiting)
    assert pull.recv() == b"message"
    waiting.get()
    pub = opened(observed, zmq.PUB)
    pub.bind(address("inproc"))
    pub.send(b"to nobody")
    pub.wait_drained(30)


def test_those_who_wait_do_not_wake_each_other(
    hub: GreenHub, context: Any, observed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing happens nobody looks. Seen to spin: each look woke the other one's."""
    looks: list[str] = []
    for kind, name in ((barriers._Probe, "find"), (barriers.ObservedState, "read_monitor")):
        original = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, original=original: (looks.append("look"), original(self))[1])
    pub, pull = opened(context, zmq.PUB), opened(observed, zmq.PULL)
    tasks = [hub.spawn(wait) for wait in (pub.wait_subscribed, pull.wait_connected) for _ in range(2)]
    before = -1
    while len(looks) != before:  # libzmq's threads may still have had to say that the sockets are there
        before = len(looks)
        hub.sleep(0.05)
        assert len(looks) <= 20
    for task in tasks:
        task.kill()


# -- awaitable sockets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_they_can_be_awaited(runner: str, request: pytest.FixtureRequest) -> None:
    """The methods of `greenzmq.aio` give futures, which begin at once, can be cancelled, and have the same limits."""
    if request.config.getoption("--skip-missing-hubs"):
        pytest.importorskip(runner)

    async def program() -> list[str]:
        seen = []
        async with aio.Context(barriers=True) as context:
            pub, xpub, sub, push, pull = (
                context.socket(kind) for kind in (zmq.PUB, zmq.XPUB, zmq.SUB, zmq.PUSH, zmq.PULL)
            )
            for socket in (pub, xpub, pull):
                socket.bind("tcp://127.0.0.1:*")
            begun = pub.wait_subscribed("a", 30)
            sub.subscribe("a")
            for bound, socket in ((pub, sub), (xpub, sub), (pull, push)):
                socket.connect(bound.last_endpoint.decode())
            await pull.wait_connected(timeout=30)
            await push.wait_connected(timeout=30)
            assert await begun == []
            assert await xpub.wait_subscribed("a", 30) == [b"\x01a"]
            cancelled = push.wait_connected(2)
            cancelled.cancel()
            for wait in (pull.wait_connected(2, 0.01), cancelled):
                try:
                    await wait
                except (BarrierTimeout, asyncio.CancelledError) as error:
                    seen.append(type(error).__name__)
            async with context.socket(zmq.PUSH) as alone:
                alone.connect("inproc://nobody")
                alone.linger = 0
                await alone.send(b"message")
                for wait in (alone.wait_drained(0.01), alone.wait_drained(0)):
                    try:
                        await wait
                    except BarrierTimeout as error:
                        seen.append(str(error))
            await push.send_multipart([b"message", b"more"])
            await push.wait_drained(30)
            assert await pull.recv_multipart() == [b"message", b"more"]
            for socket in (pub, xpub, sub, push, pull):
                socket.close(0)
        return seen

    assert importlib.import_module(runner).run(program()) == [
        *("BarrierTimeout", "CancelledError", "0.01 seconds: 1 frames have not left yet"),
        "0 seconds: 1 frames have not left yet",
    ]
