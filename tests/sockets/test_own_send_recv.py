"""Subclasses with a `send` or `recv` of their own: whatever pyzmq builds on these goes by way of them here, too."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.inside import has_own
from support.invariants import idle
from support.sockets import connected, each, open_context, parked, receives, sends, until
from support.waiters import fill_completely

import greenzmq


class Recording:
    """Notes the arguments of each call; for pyzmq's class or for ours."""

    calls: list[Any]

    def send(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(("send", *args, *sorted(kwargs.items())))
        return super().send(*args, **kwargs)  # type: ignore[misc]

    def recv(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(("recv", *args, *sorted(kwargs.items())))
        return super().recv(*args, **kwargs)  # type: ignore[misc]


class Plain(Recording, zmq.Socket[bytes]):
    calls: list[Any] = []  # noqa: RUF012


class Green(Recording, greenzmq.Socket):
    calls: list[Any] = []  # noqa: RUF012


def shown(result: Any) -> Any:
    """What can be compared of a result: the bytes of frames, and whether there is a tracker."""
    if isinstance(result, list):
        return [part.bytes if isinstance(part, zmq.Frame) else part for part in result]
    return "a tracker" if isinstance(result, zmq.MessageTracker) else result


FRAME = zmq.Frame(b"framed")

#: What is called, and what pyzmq makes of it.
CALLS: dict[str, Callable[[zmq.Socket[Any], zmq.Socket[Any]], Any]] = {
    "send_multipart": lambda one, _: one.send_multipart([b"1", b"2", b"3"]),
    "send_multipart, one": lambda one, _: one.send_multipart([b"1"]),
    "send_multipart, tuple": lambda one, _: one.send_multipart((b"1", bytearray(b"2"), FRAME)),
    "send_multipart, flags": lambda one, _: (one.send_multipart([b"1", b"2"], zmq.SNDMORE), one.send(b"3")),
    "send_multipart, noblock": lambda one, _: one.send_multipart([b"1", b"2"], flags=zmq.NOBLOCK),
    "send_multipart, no copy": lambda one, _: one.send_multipart([b"1", b"2"], copy=False, track=True),
    "send_multipart, str": lambda one, _: one.send_multipart([b"1", "2"]),
    "send_multipart, nothing": lambda one, _: one.send_multipart([]),
    "send_multipart, wrong flags": lambda one, _: one.send_multipart([b"1"], None),
    "send_serialized": lambda one, _: one.send_serialized("a b", lambda text: text.encode().split(), copy=False),
    "send_string": lambda one, _: one.send_string("text"),
    "send_json": lambda one, _: one.send_json([1]),
    "send_pyobj": lambda one, _: one.send_pyobj({1}),
    "recv_multipart": lambda one, other: (one.send_multipart([b"1", b"2"]), other.recv_multipart())[1],
    "recv_multipart, flags": lambda one, other: (one.send_multipart([b"1", b"2"]), other.recv_multipart(zmq.NOBLOCK))[
        1
    ],
    "recv_multipart, frames": lambda one, other: (
        one.send_multipart([b"1", b"2"]),
        other.recv_multipart(copy=False, track=True),
    )[1],
    "recv_serialized": lambda one, other: (one.send_multipart([b"1", b"2"]), other.recv_serialized(b"-".join))[1],
    "recv_string": lambda one, other: (one.send(b"1"), other.recv_string())[1],
    "recv_json": lambda one, other: (one.send(b"1"), other.recv_json())[1],
    "recv_pyobj": lambda one, other: (one.send_pyobj({1}), other.recv_pyobj())[1],
}


def record(context: zmq.Context[Any], kind: Any, call: Callable[..., Any]) -> Any:
    """The calls of `send` and `recv` behind a call, its result or error, and what has arrived of it."""
    one, other = context.socket(zmq.PAIR, socket_class=kind), context.socket(zmq.PAIR, socket_class=kind)
    one.bind("inproc://recorded")
    other.connect("inproc://recorded")
    kind.calls.clear()
    try:
        result = shown(call(one, other))
    except Exception as error:
        result = type(error)
    calls = list(kind.calls)
    arrived = []
    while other.poll(0):
        arrived.append(other.recv_multipart())
    one.close()
    other.close()
    return calls, result, arrived


@each("name", CALLS)
def test_what_pyzmq_makes_of_it(hub, name):
    """The same calls of `send` and `recv` with the same arguments as pyzmq's, the same results, the same messages.

    Seen to fail: whole messages went past `send` and `recv`.
    """
    with zmq.Context() as plain:
        expected = record(plain, Plain, CALLS[name])
    with open_context(hub) as context:
        assert record(context, Green, CALLS[name]) == expected


class Bus(greenzmq.Socket):
    """Adds a frame to whatever is sent, as real buses do."""

    def send(self, data: Any, flags: int = 0, *args: Any, **kwargs: Any) -> Any:
        super().send(b"<", flags | zmq.SNDMORE)
        return super().send(data, flags, *args, **kwargs)


class FurtherBus(Bus):
    """Inherits it."""


class Mixin:
    send = Bus.__dict__["send"]


class Both(greenzmq.Socket):
    """Has a `send_multipart` besides, that comes back to ours."""

    def send(self, data: Any, flags: int = 0, *args: Any, **kwargs: Any) -> Any:
        super().send(b"<", flags | zmq.SNDMORE)
        return super().send(data, flags, *args, **kwargs)

    def send_multipart(self, msg_parts: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().send_multipart([*msg_parts, b"."], *args, **kwargs)


@pytest.mark.parametrize("kind", [Bus, FurtherBus, Both])
def test_who_has_a_send_of_its_own(context, kind):
    """It does not matter which class has it, nor whether there is a `send_multipart` on the way.

    Seen to fail: `send_multipart` was ours, and asked no `send`.
    """
    one, other = context.socket(zmq.PAIR, socket_class=kind), context.socket(zmq.PAIR)
    one.bind("inproc://bus")
    other.connect("inproc://bus")
    one.send_multipart([b"1", b"2"])
    assert other.recv_multipart() == [b"<", b"1", b"<", b"2", *([b"<", b"."] if kind is Both else [])]


@pytest.mark.parametrize("namespace", ["gevent", "eventlet", "selector", "asyncio", "threading"])
def test_in_a_namespace(namespace):
    """Subclasses of a namespace's socket, and mixins; the namespace's own class has the direct way."""
    module = importlib.import_module(f"greenzmq.{namespace}")

    class Mixed(Mixin, module.Socket):  # type: ignore[name-defined, misc]
        send = lambda self, data, flags=0, **kwargs: super().send(data, flags)  # noqa: E731

    class Other(module.Socket):  # type: ignore[name-defined, misc]
        """Has nothing that matters."""

        def recv_string(self, *args: Any, **kwargs: Any) -> Any:
            return super().recv_string(*args, **kwargs)

    assert has_own(Mixed) == (True, False)
    for direct in (module.Socket, Other):
        assert has_own(direct) == (False, False)


def test_many_greenlets_on_a_bus(hub, context):
    """Greenlets that send and receive over full sockets of such a class: no message is torn, or mixed with another."""
    one, other = (context.socket(zmq.PAIR, socket_class=kind) for kind in (Bus, Green))
    one.sndhwm = other.rcvhwm = 1
    one.bind("inproc://bus")
    other.connect("inproc://bus")
    got: list[Any] = []

    def send(name: bytes) -> None:
        for number in range(20):
            one.send_multipart([name, b"%d" % number])
            hub.sleep()

    def receive() -> None:
        while len(got) < 80:
            got.append(other.recv_multipart())
            hub.sleep()

    senders = [hub.spawn(send, name) for name in (b"a", b"b", b"c", b"d")]
    receivers = [hub.spawn(receive) for _ in range(3)]
    until(hub, lambda: len(got) == 80)
    for task in senders:
        task.get()
    for task in receivers:
        task.kill()
    expected = [[b"<", name, b"<", b"%d" % n] for name in (b"a", b"b", b"c", b"d") for n in range(20)]
    assert sorted(got) == sorted(expected)
    for name in (b"a", b"b", b"c", b"d"):
        assert [int(m[3]) for m in got if m[1] == name] == list(range(20))
    idle(one, other)


def test_who_waits_with_a_send_and_recv_of_its_own(hub, context):
    """A whole message waits for room, and is waited for; under NOBLOCK nothing of it is sent."""
    one, other = (context.socket(zmq.PAIR, socket_class=Green) for _ in range(2))
    one.sndhwm = other.rcvhwm = 1
    one.bind("inproc://waits")
    other.connect("inproc://waits")
    receiver = parked(hub, receives, other.recv_multipart)
    one.send_multipart([b"1", b"2"])
    assert receiver.get() == [b"1", b"2"]
    fill_completely(one)
    with pytest.raises(zmq.Again):
        one.send_multipart([b"3", b"4"], zmq.NOBLOCK)
    parts = [b"5", b"6"]
    sender = parked(hub, sends, one.send_multipart, parts)
    del parts[:]
    while (message := other.recv_multipart()) == [b"fill"]:
        pass
    assert message == [b"5", b"6"]
    sender.get()
    idle(one, other)


def test_a_proxy_moves_frames(hub, context):
    """As libzmq's, it knows nothing of a `send` or `recv` that the class of its sockets has."""
    sockets = [context.socket(kind, socket_class=Bus) for kind in (zmq.PULL, zmq.PUSH)]
    sockets[1].sndhwm = 1
    for number, socket in enumerate(sockets):
        socket.bind(f"inproc://proxy-{number}")
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    pull.rcvhwm = 1
    push.connect("inproc://proxy-0")
    pull.connect("inproc://proxy-1")
    proxy = hub.spawn(greenzmq.proxy, *sockets)
    for number in range(10):
        push.send_multipart([b"%d" % number, b"x"])
    assert [pull.recv_multipart() for _ in range(10)] == [[b"%d" % number, b"x"] for number in range(10)]
    proxy.kill()


def test_a_getsockopt_of_its_own_is_asked_for_more(hub):
    """pyzmq's `recv_multipart` asks `getsockopt` for ``RCVMORE``; a class that answers otherwise is heard."""

    class FirstPart(greenzmq.Socket):
        def getsockopt(self, option: int) -> Any:  # type: ignore[override]
            return 0 if option == zmq.RCVMORE else super().getsockopt(option)

    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR)
        one.send_multipart([b"1", b"2"])
        shadow = FirstPart(shadow=other)
        assert shadow.recv_multipart() == [b"1"]
        assert other.recv_multipart() == [b"2"]


def test_a_poller_of_its_own_is_polled(hub):
    """pyzmq's `poll` asks an object of `_poller_class`."""

    class Counting(greenzmq.Poller):
        polls = 0

        def poll(self, timeout: float | None = None) -> Any:
            Counting.polls += 1
            return super().poll(timeout)

    class Polled(greenzmq.Socket):
        _poller_class = Counting

    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR)
        shadow = Polled(shadow=other)
        assert shadow.poll(0) == 0
        one.send(b"1")
        assert shadow.poll() == zmq.POLLIN
        assert Counting.polls == 2
        assert other.recv() == b"1"
