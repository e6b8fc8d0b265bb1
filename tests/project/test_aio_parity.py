"""greenzmq.aio against zmq.asyncio: the same names, methods and parameters; and each argument arrives."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
import zmq.asyncio
from support.aio import a_pair, finished, rounds, until_receiving
from support.inside import replace_awaitable_backend
from zmq.backend import Socket as BackendSocket

import greenzmq
import greenzmq.aio
from greenzmq.hubs.asyncio import Future

DONTWAIT = int(zmq.DONTWAIT)
CLASSES = [
    pytest.param(greenzmq.aio.Socket, zmq.asyncio.Socket, greenzmq.Socket, id="Socket"),
    pytest.param(greenzmq.aio.Context, zmq.asyncio.Context, greenzmq.Context, id="Context"),
    pytest.param(greenzmq.aio.Poller, zmq.asyncio.Poller, greenzmq.Poller, id="Poller"),
]
#: Public methods of the green classes that wait for nothing, or that wait by means of a method that is awaitable.
COMPOSED = {
    "Socket": {
        *("recv_string", "recv_unicode", "recv_json", "recv_pyobj", "recv_serialized"),
        *("send_string", "send_unicode", "send_json", "send_pyobj", "send_serialized"),
        *("bind", "connect", "unbind", "disconnect", "get", "getsockopt", "set", "setsockopt", "underlying", "shadow"),
        "disable_monitor",
    },
    "Context": {"socket", "get", "set"},
    "Poller": {"sockets", "register", "modify", "unregister", "close"},
}


def public(cls: type) -> set[str]:
    """Methods and properties, without the constants of the enums that pyzmq's classes hold."""
    return {
        name for name in dir(cls) if not name.startswith("_") and not isinstance(inspect.getattr_static(cls, name), int)
    }


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("ours", "theirs", "green"), CLASSES)
def test_every_public_name_is_there(ours: type, theirs: type, green: type) -> None:
    """Each public method and attribute of zmq.asyncio's class, but for what only its own implementation needs."""
    own = {"raw_sockets"}  # of its Poller: an annotation that nothing uses
    assert public(theirs) - own <= public(ours)


@pytest.mark.parametrize(("ours", "theirs", "green"), CLASSES)
def test_signatures(ours: Any, theirs: Any, green: type) -> None:
    """Every method that zmq.asyncio has for itself has its parameters here: names, order, kinds, defaults. Keyword-only
    ones may follow."""
    for name in ["__init__", *sorted(public(theirs))]:
        method = inspect.getattr_static(ours, name, None)
        if isinstance(method, property) or not callable(getattr(theirs, name, None)):
            continue
        expected, found = parameters(getattr(theirs, name)), parameters(getattr(ours, name))
        assert found[: len(expected)] == expected, name
        assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in found[len(expected) :]), name


@pytest.mark.parametrize(("ours", "theirs", "green"), CLASSES)
def test_no_green_wait_is_left(ours: type, theirs: type, green: type) -> None:
    """Every method that the green class has for itself is awaitable here, or waits for nothing. Seen to fail without
    `poll`."""
    inherited = {
        name
        for cls in green.__mro__[: green.__mro__.index(getattr(zmq, green.__name__))]
        for name in vars(cls)
        if not name.startswith("_") and inspect.getattr_static(ours, name) is inspect.getattr_static(green, name)
    }
    assert inherited <= COMPOSED[ours.__name__]


def test_the_namespace() -> None:
    """All that zmq.asyncio exports, and all of zmq; what would wait in the wrong way is our own."""
    for name in [*zmq.asyncio.__all__, "ProactorSelectorThreadWarning", *zmq.__all__]:
        assert hasattr(greenzmq.aio, name), name
        assert name in greenzmq.aio.__all__ or name in dir(greenzmq.aio), name
    for name in ("Context", "Socket", "Poller"):
        assert getattr(greenzmq.aio, name) not in (getattr(zmq.asyncio, name), getattr(greenzmq, name))
    assert greenzmq.aio.ZMQEventLoop is zmq.asyncio.ZMQEventLoop
    assert greenzmq.aio.error is zmq.error
    with pytest.raises(AttributeError):
        greenzmq.aio.no_such_name  # noqa: B018


def test_classes_look_like_their_namespace() -> None:
    """The `repr` says where they are from; a context's common instance is its own; a subclass of ours makes its own."""
    context = greenzmq.aio.Context.instance()
    assert context is not greenzmq.Context.instance()
    assert repr(context).startswith("<greenzmq.aio.Context(")

    class Own(greenzmq.aio.Socket):
        """A user's own."""

    class OwnContext(greenzmq.aio.Context[Own]):
        """A user's own, of annotations that are evaluated."""

        _socket_class = Own

    own = OwnContext()
    for made, kind in ((context, greenzmq.aio.Socket), (own, Own)):
        with made.socket(zmq.PULL) as socket:
            assert type(socket) is kind
            assert "aio" in repr(socket)
    greenzmq.Context.instance().term()
    for each in (context, own):
        each.term()


def test_importing_greenzmq_does_not_import_it() -> None:
    """``import greenzmq`` brings no asyncio; ``greenzmq.aio`` is imported when it is asked for."""
    program = (
        "import sys, greenzmq; print('asyncio' in sys.modules); greenzmq.aio; print('greenzmq.aio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]


# -- every argument arrives --------------------------------------------------------------------------------------------

NAMES = {
    "send": ("data", "flags", "copy", "track", "routing_id", "group"),
    "recv": ("flags", "copy", "track"),
    "recv_into": ("buffer", "nbytes", "flags"),
}
DEFAULTS = {"flags": 0, "copy": True, "track": False, "routing_id": None, "group": None, "nbytes": 0}


class Spy:
    """Takes the place of pyzmq's calls. The first `refusals` of them answer EAGAIN."""

    def __init__(self, patch: pytest.MonkeyPatch, refusals: int) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals = refusals
        replace_awaitable_backend(patch, self.stand_in)
        patch.setattr(zmq.Socket, "send", self.stand_in("send"))

    def stand_in(self, name: str) -> Any:
        def call(socket: Any, *args: Any, **keywords: Any) -> Any:
            self.calls.append((name, {**DEFAULTS, **dict(zip(NAMES[name], args, strict=False)), **keywords}))
            if len(self.calls) <= self.refusals:
                BackendSocket.get(socket, zmq.EVENTS)  # as an attempt in vain does
                raise zmq.Again()
            copied = self.calls[-1][1]["copy"]
            frame = SimpleNamespace(bytes=b"x", more=False)
            return {"send": "the tracker", "recv": b"x" if copied else frame, "recv_into": 7}[name]

        return call


#: The method, its arguments, and what has to arrive at pyzmq.
ARGUMENTS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    "send": ("send", (b"x",), {}, {"data": b"x", "copy": True, "track": False}),
    "send-flags": ("send", (b"x", zmq.SNDMORE), {}, {"flags": zmq.SNDMORE}),
    "send-copy": ("send", (b"x", 0, False), {}, {"copy": False, "track": False}),
    "send-track": ("send", (b"x", 0, False, True), {}, {"copy": False, "track": True}),
    "send-names": ("send", (), {"data": b"x", "copy": False, "flags": 2}, {"data": b"x", "copy": False, "flags": 2}),
    "send-routing_id": ("send", (b"x",), {"routing_id": 5}, {"routing_id": 5, "group": None}),
    "send-group": ("send", (b"x", 2), {"group": "g", "routing_id": 0}, {"flags": 2, "routing_id": 0, "group": "g"}),
    "send_multipart": ("send_multipart", ([b"x"],), {}, {"data": b"x", "copy": True, "track": False}),
    "send_multipart-all": (
        "send_multipart",
        ([b"x"], 0, False, True),
        {"routing_id": 5, "group": "g"},
        {"copy": False, "track": True, "routing_id": 5, "group": "g"},
    ),
    "recv": ("recv", (), {}, {"copy": True, "track": False}),
    "recv-all": ("recv", (64, False, True), {}, {"flags": 64, "copy": False, "track": True}),
    "recv-names": ("recv", (), {"copy": False, "track": True}, {"copy": False, "track": True}),
    "recv_multipart-all": ("recv_multipart", (64, False, True), {}, {"flags": 64, "copy": False, "track": True}),
    "recv_into": ("recv_into", (bytearray(3),), {}, {"buffer": bytearray(3), "nbytes": 0}),
    "recv_into-all": ("recv_into", (bytearray(3),), {"nbytes": 2, "flags": 64}, {"nbytes": 2, "flags": 64}),
}


@pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])
@pytest.mark.parametrize("what", ARGUMENTS)
def test_every_argument_arrives(monkeypatch: pytest.MonkeyPatch, what: str, waits: bool) -> None:
    """At once and after a wait, with the flags and DONTWAIT, each time; and what pyzmq returns comes back."""
    method, args, keywords, expected = ARGUMENTS[what]

    async def main() -> Spy:
        async with a_pair(zmq.PAIR, zmq.PAIR) as (left, right):
            with monkeypatch.context() as patch:
                spy = Spy(patch, int(waits))
                future = getattr(left, method)(*args, **keywords)
                assert isinstance(future, Future)
                task = asyncio.ensure_future(finished(future))
                if waits and method.startswith("recv"):
                    await until_receiving(left)
                    assert len(spy.calls) == 1
                    BackendSocket.send(right, b"wakes it", DONTWAIT)
                await asyncio.wait([task], timeout=10)
                assert task.result() is not None
                await rounds(1)
            return spy

    spy = asyncio.run(main())
    assert len(spy.calls) == 1 + waits
    for called, arguments in spy.calls:
        assert called == ("send" if "send" in method else "recv_into" if method == "recv_into" else "recv")
        for name, value in {"flags": 0, **expected}.items():
            found = bytes(arguments[name]) if name == "data" else arguments[name]
            if name == "flags":
                assert found == int(value) | DONTWAIT
            elif name != "copy" or method != "recv_multipart":  # which receives frames: they say whether there are more
                assert found == value, (name, arguments)
