"""What is reached through a namespace: green all the way, and pyzmq's helpers work on it."""

from __future__ import annotations

import importlib
import logging

import pytest
import zmq
import zmq.log.handlers
from support.sockets import address, connected

import greenzmq

NAMESPACES = ["greenzmq", *(f"greenzmq.{hub}" for hub in ("selector", "gevent", "eventlet", "asyncio", "threading"))]


@pytest.mark.parametrize("name", ["SyncContext", "SyncSocket", "Frame", "Message", "MessageTracker", "decorators"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_leads_to_waiting_is_green(namespace, name):
    """Nothing that is exported, nor what is reached through a namespace, makes pyzmq's own waiting objects."""
    module = importlib.import_module(namespace)
    assert getattr(module, name) is not getattr(zmq, name, None)
    assert (module.SyncContext, module.SyncSocket) == (module.Context, module.Socket)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_frames_look_like_pyzmqs(namespace):
    """`repr` and `str` of a frame are pyzmq's; a subclass has its own name. Seen with the module of the class in it."""
    module = importlib.import_module(namespace)
    for data in (b"", b"short", b"<greenzmq.sockets.tracker.Frame", bytes(1000), bytearray(2_000_000)):
        for show in (repr, str):
            assert show(module.Frame(data)) == show(module.Message(data)) == show(zmq.Frame(data))
    own = OwnFrame(b"<greenzmq.tracker.")  # 18 bytes: pyzmq shows 12 of them
    assert repr(own) == f"<{__name__}.OwnFrame(b'<greenzmq.tr'...18B)>"


class OwnFrame(greenzmq.Frame):
    """A user's own."""


def asyncio_run(function, *args):
    import asyncio

    from greenzmq.asyncio import run

    return asyncio.run(run(function, *args))


@pytest.mark.parametrize("namespace", NAMESPACES[1:])
def test_decorators(namespace):
    """Contexts and sockets as arguments: of the namespace's classes, by position or by name, closed after the call."""
    module = importlib.import_module(namespace)
    seen = []

    @module.decorators.context()
    @module.decorators.socket(zmq.PUSH)
    @module.decorators.socket("named", zmq.PULL)
    def work(given, context, push, named):
        seen.extend((given, context, push, named))
        assert (type(context), type(push), type(named)) == (module.Context, module.Socket, module.Socket)
        assert push.context is named.context is context
        assert (push.type, named.type) == (zmq.PUSH, zmq.PULL)
        return "result"

    run = asyncio_run if namespace == "greenzmq.asyncio" else lambda function, *args: function(*args)
    assert run(work, "given") == "result"
    given, context, push, named = seen
    assert given == "given"
    assert context.closed
    assert push.closed
    assert named.closed
    module.decorators.socket(zmq.PUSH)(seen.append)()
    assert seen[-1].closed
    assert seen[-1].context is module.Context.instance()
    run(module.Context.instance().term)


def test_a_log_handler(hub):
    """pyzmq's PUBHandler on a green socket, and on an address with a green context: what is logged goes out."""
    for namespace in (greenzmq, importlib.import_module(f"greenzmq.{hub.name}")):
        log_through(hub, namespace)


def log_through(hub, namespace):
    context = namespace.Context(hub=hub)
    pub, sub = connected(context, zmq.PUB, zmq.SUB)
    other, name = context.socket(zmq.SUB), address("inproc")
    for socket in (sub, other):
        socket.subscribe("")
    logger = logging.getLogger("greenzmq.tests")
    logger.setLevel(logging.INFO)
    kind = namespace.log.handlers.PUBHandler
    handlers = [kind(pub), kind(name, context)]
    for handler in handlers:
        logger.addHandler(handler)
    try:
        other.connect(name)
        task = hub.spawn(sub.recv_multipart)
        hub.sleep()
        logger.info("topic::the %s", "message")
        assert task.get() == [b"INFO.topic", b"the message\n"]
        assert other.recv_multipart() == [b"INFO.topic", b"the message\n"]
        assert isinstance(handlers[1].socket, namespace.Socket)
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        context.destroy(linger=0)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_keys(namespace):
    """curve_keypair and zmq.utils.z85 through a namespace are pyzmq's, and work."""
    importlib.import_module("zmq.utils.z85")
    module = importlib.import_module(namespace)
    public, secret = module.curve_keypair()
    assert module.curve_public(secret) == public
    assert module.utils.z85.encode(module.utils.z85.decode(public)) == public
