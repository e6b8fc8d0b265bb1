"""A spy between greenzmq and pyzmq: every argument of every call arrives, at once and after a wait.

The spy stands where greenzmq calls pyzmq's backend. On the waiting path its first attempt is EAGAIN; then the greenlet
parks, is woken, and the same arguments have to arrive once more.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import zmq
from support.inside import choice_of, replace_backend, replace_recv, replace_send
from support.sockets import (
    address,
    connected,
    each,
    open_context,
    receives,
    sends,
    tick,
    until,
)
from zmq.backend import Socket as BackendSocket

import greenzmq

DONTWAIT = int(zmq.DONTWAIT)
NAMES = {
    "send": ("data", "flags", "copy", "track", "routing_id", "group"),
    "recv": ("flags", "copy", "track"),
    "recv_into": ("buffer", "nbytes", "flags"),
}
DEFAULTS = {"flags": 0, "copy": True, "track": False, "routing_id": None, "group": None, "nbytes": 0}
paths = pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])


class Spy:
    """Takes the place of the backend's calls. The first `refusals` of them answer EAGAIN, the rest succeed."""

    def __init__(self, monkeypatch, refusals, more=0):
        self.calls = []
        self.refusals = refusals
        self.more = more
        backend = SimpleNamespace(recv_into=self.stand_in("recv_into"), get=BackendSocket.get)
        replace_send(monkeypatch, self.stand_in("send"))
        replace_recv(monkeypatch, self.stand_in("recv"))
        replace_backend(monkeypatch, backend)
        monkeypatch.setattr(zmq.Socket, "send", self.stand_in("send"))

    def stand_in(self, name):
        def call(socket, *args, **keywords):
            self.calls.append((name, {**DEFAULTS, **dict(zip(NAMES[name], args, strict=False)), **keywords}))
            if len(self.calls) <= self.refusals:
                BackendSocket.get(socket, zmq.EVENTS)  # as an attempt in vain does: what comes later will signal
                raise zmq.Again()
            return getattr(self, "answer_" + name)(self.calls[-1][1])

        return call

    def answer_send(self, arguments):
        return "the tracker"

    def answer_recv(self, arguments):
        self.more -= 1
        frame = SimpleNamespace(bytes=b"x", more=self.more >= 0)
        return b"x" if arguments["copy"] else frame

    def answer_recv_into(self, arguments):
        return 7

    def arrived(self, name, **expected):
        """Every attempt was this call, under DONTWAIT besides its own flags."""
        for called, arguments in self.calls:
            assert called == name
            for key, value in expected.items():
                found = bytes(arguments[key]) if key == "data" else arguments[key]  # perhaps in a Frame, to be tracked
                assert found == (int(value) | DONTWAIT if key == "flags" else value), (key, arguments)


@pytest.fixture
def spy(monkeypatch):
    return lambda waits, more=0: Spy(monkeypatch, refusals=1 if waits else 0, more=more)


def run(hub, call, waits, socket, wake):
    """The result of `call`; if it has to wait, of a task that waited and was woken."""
    if not waits:
        return call()
    task = hub.spawn(call)
    if wake is not None:
        until(hub, lambda: receives(socket))
        tick(hub, task)
        wake()
    else:
        until(hub, lambda: task.done or sends(socket))
    return task.get()


@paths
@each(
    "args, keywords, expected",
    {
        "plain": ((b"x",), {}, {"copy": True, "track": False, "routing_id": None, "group": None}),
        "copy": ((b"x", 0, False), {}, {"copy": False, "track": False}),
        "track": ((b"x", 0, False, True), {}, {"copy": False, "track": True}),
        "routing_id": ((b"x", 0, False, True, 5), {}, {"copy": False, "track": True, "routing_id": 5}),
        "all": (
            (b"x", 0, False, True, 5, "group"),
            {},
            {"copy": False, "track": True, "routing_id": 5, "group": "group"},
        ),
        "flags": ((b"x",), {"flags": zmq.SNDMORE}, {"flags": zmq.SNDMORE}),
        "flags-id": ((b"x", zmq.SNDMORE), {"routing_id": 5}, {"flags": zmq.SNDMORE, "routing_id": 5}),
        "group": ((b"x",), {"group": "group"}, {"routing_id": None, "group": "group"}),
        "zeros": ((b"x",), {"group": "", "routing_id": 0}, {"routing_id": 0, "group": ""}),
        "names": ((), {"data": b"x", "copy": False, "track": True}, {"copy": False, "track": True}),
    },
)
def test_send(hub, spy, waits, args, keywords, expected):
    """Each argument of send arrives, routing_id and group too; what pyzmq returns comes back."""
    with open_context(hub) as context:
        left, _ = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits)
        assert run(hub, lambda: left.send(*args, **keywords), waits, left, None) == "the tracker"
        assert len(seen.calls) == (2 if waits else 1)
        seen.arrived("send", **{"flags": 0, "data": b"x", **expected})


@paths
@each(
    "args, keywords, expected",
    {
        "plain": ((), {}, {"copy": True, "track": False}),
        "copy": ((0, False), {}, {"copy": False, "track": False}),
        "track": ((0, False, True), {}, {"copy": False, "track": True}),
        "names": ((), {"copy": False, "track": True}, {"copy": False, "track": True}),
        "track-alone": ((), {"track": True}, {"copy": True, "track": True}),
        "flags": ((64,), {}, {"flags": 64}),
    },
)
def test_recv(hub, spy, waits, args, keywords, expected):
    """Each argument of recv arrives, also flags that nobody knows yet."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits)
        run(hub, lambda: right.recv(*args, **keywords), waits, right, lambda: BackendSocket.send(left, b"wake up"))
        assert len(seen.calls) == (2 if waits else 1)
        seen.arrived("recv", **{"flags": 0, **expected})


@paths
def test_recv_into(hub, spy, waits):
    """The very buffer arrives, with nbytes and flags; the size comes back."""
    buffer = bytearray(9)
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits)
        call = lambda: right.recv_into(buffer, nbytes=5, flags=64)  # noqa: E731
        assert run(hub, call, waits, right, lambda: BackendSocket.send(left, b"wake up")) == 7
        assert len(seen.calls) == (2 if waits else 1)
        assert all(arguments["buffer"] is buffer for _, arguments in seen.calls)
        seen.arrived("recv_into", nbytes=5, flags=64)


@paths
@pytest.mark.parametrize("keywords", [{}, {"routing_id": 5, "group": "group"}], ids=["plain", "addressed"])
def test_send_multipart(hub, spy, waits, keywords):
    """Every part goes with copy, track and the keywords, all but the last with SNDMORE; the last tracker comes back."""
    parts = [b"1", b"2", b"3"]
    with open_context(hub) as context:
        left, _ = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits)
        call = lambda: left.send_multipart(parts, 0, False, track=True, **keywords)  # noqa: E731
        assert run(hub, call, waits, left, None) == "the tracker"
        sent = [arguments for _, arguments in seen.calls][1 if waits else 0 :]
        assert [bytes(arguments["data"]) for arguments in sent] == parts
        assert [arguments["flags"] & zmq.SNDMORE for arguments in sent] == [2, 2, 0]
        seen.arrived("send", copy=False, track=True, **keywords)


@pytest.mark.parametrize("flags", [zmq.SNDMORE, int(zmq.SNDMORE)], ids=["enum", "int"])
def test_send_multipart_with_more_to_come(pair, spy, flags):
    """SNDMORE for the whole message is on its last part, too."""
    left, _ = pair
    seen = spy(False)
    left.send_multipart([b"1", b"2"], flags)
    seen.arrived("send", flags=zmq.SNDMORE)


@paths
@pytest.mark.parametrize("copy", [True, False], ids=["copy", "frames"])
def test_recv_multipart(hub, spy, waits, copy):
    """Flags and track reach every part; bytes or frames come back as asked."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits, more=2)
        call = lambda: right.recv_multipart(0, copy, True)  # noqa: E731
        parts = run(hub, call, waits, right, lambda: BackendSocket.send(left, b"wake up"))
        assert len(seen.calls) == (4 if waits else 3)
        assert [type(part) for part in parts] == [bytes if copy else SimpleNamespace] * 3
        seen.arrived("recv", flags=0, track=not copy)


COMPOSED = {
    "send_string": (("ü",), {"encoding": "latin-1", "copy": False, "track": True}, b"\xfc"),
    "send_json": (([1],), {"separators": ("", "")}, b"[1]"),
    "send_pyobj": ((None,), {"protocol": 0, "copy": False, "track": True}, b"N."),
    "send_serialized": ((b"x", lambda one: [one]), {"copy": False, "track": True}, b"x"),
}


@paths
@each("method", COMPOSED)
def test_composed_sends(hub, spy, waits, method):
    """The arguments of the methods that pyzmq composes of send arrive there, routing_id and group too."""
    args, keywords, data = COMPOSED[method]
    with open_context(hub) as context:
        left, _ = connected(context, zmq.PAIR, zmq.PAIR)
        seen = spy(waits)
        call = lambda: getattr(left, method)(*args, flags=zmq.SNDMORE, routing_id=5, group="g", **keywords)  # noqa: E731
        assert run(hub, call, waits, left, None) == "the tracker"
        seen.arrived("send", data=data, flags=zmq.SNDMORE, routing_id=5, group="g")
        if "copy" in keywords:
            seen.arrived("send", copy=False, track=True)


def test_unknown_arguments(pair):
    """An argument that pyzmq's send does not know is a TypeError that names it, and nothing is sent."""
    left, right = pair
    for call in (left.send, left.send_string, left.send_pyobj):
        with pytest.raises(TypeError, match="colour"):
            call("x" if call == left.send_string else b"x", colour=1)
    with pytest.raises(TypeError, match="colour"):
        left.send_multipart([b"x", b"y"], colour=1)
    with pytest.raises(zmq.Again):
        right.recv(zmq.NOBLOCK)


# -- arguments of the other methods -----------------------------------------------------------------------------------


class Recorder:
    """Records what reaches the methods of pyzmq's class, which then do their work."""

    def __init__(self, monkeypatch, cls, *names):
        self.calls = []
        for name in names:
            monkeypatch.setattr(cls, name, self.wrap(name, getattr(cls, name)))

    def wrap(self, name, method):
        def call(instance, *args, **keywords):
            self.calls.append((name, args, keywords))
            return method(instance, *args, **keywords)

        return call


def test_addresses_and_linger(hub, monkeypatch):
    """bind, connect, unbind, disconnect and close hand on what they are given."""
    recorder = Recorder(monkeypatch, zmq.Socket, "bind", "connect", "close")
    with open_context(hub) as context:
        left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        left.bind(addr="inproc://a")
        right.connect(addr="inproc://a")
        right.close(linger=7)
        left.close(7)
    assert recorder.calls[:2] == [("bind", ("inproc://a",), {}), ("connect", ("inproc://a",), {})]
    assert recorder.calls[2:4] == [("close", (), {"linger": 7})] * 2


def test_the_context_managers_of_addresses(hub, monkeypatch):
    """``with socket.bind(…)`` and ``with socket.connect(…)`` give the socket and undo it at the end, as pyzmq's do."""
    recorder = Recorder(monkeypatch, zmq.Socket, "unbind", "disconnect")
    with open_context(hub) as context:
        left, right = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        with left.bind("tcp://127.0.0.1:*") as bound:
            where = left.last_endpoint.decode()
            with right.connect(where) as peer:
                peer.send(b"x")
                assert bound.recv() == b"x"
        assert (bound, peer) == (left, right)
    assert recorder.calls == [("disconnect", (where,), {}), ("unbind", (where,), {})]


def test_a_wrong_address_is_named(hub):
    """The errors of bind, connect, unbind and disconnect are pyzmq's; those of the first two name the address."""
    with open_context(hub) as context, context.socket(zmq.PULL) as socket:
        for call in (socket.bind, socket.connect):
            with pytest.raises(zmq.ZMQError, match="nowhere://x"):
                call("nowhere://x")
        for call in (socket.unbind, socket.disconnect):
            with pytest.raises(zmq.ZMQError):
                call("inproc://never-bound")


def test_bind_to_random_port(hub):
    """Every argument of bind_to_random_port counts."""
    with open_context(hub) as context, context.socket(zmq.PULL) as first, context.socket(zmq.PULL) as second:
        port = first.bind_to_random_port("tcp://127.0.0.1")
        assert first.last_endpoint == b"tcp://127.0.0.1:%d" % port
        with pytest.raises(zmq.ZMQBindError):
            second.bind_to_random_port("tcp://127.0.0.1", min_port=port, max_port=port + 1, max_tries=2)


#: Calls that pyzmq composes of others, or makes itself: what one returns, or its error, and what it leaves behind.
OPTIONS = {
    "hwm": lambda s: (setattr(s, "hwm", 7), s.hwm, s.sndhwm, s.rcvhwm),
    "set_hwm": lambda s: (s.set_hwm(8), s.get_hwm(), s.get(zmq.SNDHWM), s.getsockopt(zmq.RCVHWM)),
    "set_string": lambda s: (s.set_string(zmq.ROUTING_ID, "n\u00e4me", "latin1"), s.get(zmq.ROUTING_ID)),
    "setsockopt_string": lambda s: (s.setsockopt_string(zmq.ROUTING_ID, "name"), s.routing_id),
    "get_string": lambda s: s.get_string(zmq.LAST_ENDPOINT, encoding="ascii").partition(":")[0],
    "getsockopt_string": lambda s: s.getsockopt_string(zmq.ROUTING_ID, "latin1"),
    "fileno": lambda s: s.fileno() == s.FD == s.get(zmq.FD) == s.getsockopt(zmq.FD),
    "type": lambda s: (s.type, s.TYPE, s.socket_type),
    "subscribe": lambda s: s.subscribe("topic"),
    "unsubscribe": lambda s: s.unsubscribe(b"topic"),
    "join": lambda s: s.join("group"),
    "leave": lambda s: s.leave(b"group"),
    "disable_monitor": lambda s: s.disable_monitor(),
    "monitor": lambda s: (s.monitor(address("inproc"), zmq.EVENT_LISTENING), s.monitor(None, 0)),
    "no such option": lambda s: s.get(99_999),
    "no such attribute": lambda s: s.no_such_option,
    "an attribute that is none": lambda s: setattr(s, "no_such_option", 1),
    "read only": lambda s: setattr(s, "events", 1),
    "wrong type": lambda s: s.set(zmq.SNDHWM, b"7"),
    "underlying": lambda s: type(s.underlying),
    "shadow": lambda s: type(s).shadow(s.underlying).underlying == s.underlying,
}


@each("name", OPTIONS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_options_are_pyzmqs(hub, name):
    """What concerns a socket's options answers, and fails, as it does on pyzmq's own socket, for every type of socket,
    while a greenlet waits on it."""
    with open_context(hub) as context:
        for kind in (zmq.DEALER, zmq.SUB, zmq.XSUB):
            with context.socket(kind) as green, context.socket(kind, zmq.Socket) as plain:
                for socket in (green, plain):
                    socket.bind("tcp://127.0.0.1:*")
                task = hub.spawn(green.recv)
                until(hub, lambda: receives(green))
                assert outcome(OPTIONS[name], green) == outcome(OPTIONS[name], plain)
                tick(hub, task)
                task.kill()


def outcome(call, socket):
    try:
        return call(socket)
    except Exception as error:
        return type(error), str(error).replace("greenzmq.Socket", "zmq.Socket"), getattr(error, "errno", None)


def test_the_constructor_of_a_context(monkeypatch):
    """Context() hands pyzmq's what it is given, in its place or by its name; test_parity.py holds that, but for `term`,
    no other method is ours.
    """
    recorder = Recorder(monkeypatch, zmq.Context, "__init__")
    with greenzmq.Context(3) as threads, greenzmq.Context(io_threads=4, hub="selector") as more:
        shadow = greenzmq.Context(shadow=more)
        assert (threads.io_threads, more.io_threads) == (3, 4)
        assert shadow.underlying == more.underlying
        assert recorder.calls == [("__init__", args, {}) for args in ((3, 0), (4, 0), (1, more))]


def test_monitor_arguments(hub, monkeypatch):
    """get_monitor_socket hands on events and address; the monitor is green, and the same while it is open."""
    recorder = Recorder(monkeypatch, zmq.Socket, "monitor")
    with open_context(hub) as context, context.socket(zmq.PULL) as socket:
        monitor = socket.get_monitor_socket(zmq.EVENT_LISTENING, "inproc://events")
        assert recorder.calls == [("monitor", ("inproc://events", zmq.EVENT_LISTENING), {})]
        assert type(monitor) is type(socket)
        assert choice_of(monitor) is choice_of(socket)
        assert socket.get_monitor_socket() is monitor
        task = hub.spawn(monitor.recv_multipart)
        until(hub, lambda: receives(monitor))
        tick(hub, task)
        socket.bind("tcp://127.0.0.1:*")
        event, where = task.get()
        assert int.from_bytes(event[:2], sys.byteorder) == zmq.EVENT_LISTENING
        assert where == socket.last_endpoint
        monitor.close()
        socket.disable_monitor()
