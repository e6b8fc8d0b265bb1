"""greenzmq's Socket and Context against pyzmq's: the same methods, the same arguments, and each argument arrives."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing

import pytest
import zmq
from support.inside import choice_of
from support.ways_to_wait import WAITS
from zmq.backend import Context as BackendContext
from zmq.backend import Socket as BackendSocket

import greenzmq
from greenzmq.sockets.inherited import REFUSED

COPIED = "composed by pyzmq of a method that is green"
ALIAS = "another name, by pyzmq, for a method that "
NO_SIGNAL = "neither waits nor processes commands, so it takes no signal from anybody"

#: Public methods and properties that are pyzmq's own, and why they may be.
SOCKET_KEPT = {
    "bind_to_random_port": COPIED,
    "closed": NO_SIGNAL,
    "context": "an attribute",
    "copy_threshold": "an attribute",
    "fileno": NO_SIGNAL,
    "get_hwm": COPIED,
    "get_string": COPIED,
    "getsockopt_string": ALIAS + "is in this table",
    "getsockopt_unicode": ALIAS + "is in this table",
    "hwm": COPIED,
    "join": NO_SIGNAL,
    "leave": NO_SIGNAL,
    "monitor": NO_SIGNAL,
    "recv_json": COPIED,
    "recv_serialized": COPIED,
    "recv_string": COPIED,
    "recv_unicode": ALIAS + "is in this table",
    "send_json": COPIED,
    "send_serialized": COPIED,
    "send_string": COPIED,
    "send_unicode": ALIAS + "is in this table",
    "set_hwm": COPIED,
    "set_string": COPIED,
    "setsockopt_string": ALIAS + "is in this table",
    "setsockopt_unicode": ALIAS + "is in this table",
    "shadow": "a constructor, of whatever class it is called on",
    "socket_type": "a deprecated name of an option",
    "subscribe": NO_SIGNAL,
    "unsubscribe": NO_SIGNAL,
}
CONTEXT_KEPT = {
    "closed": NO_SIGNAL,
    "get": NO_SIGNAL,
    "getsockopt": "a look into a dict",
    "instance": "a constructor; what it keeps is each class's own",
    "set": NO_SIGNAL,
    "setsockopt": "an entry in a dict",
    "shadow": "a constructor, of whatever class it is called on",
    "shadow_pyczmq": "a constructor, of whatever class it is called on",
    "socket": "makes sockets of `_socket_class`",
    "underlying": NO_SIGNAL,
}
CLASSES = [
    pytest.param(greenzmq.Socket, zmq.Socket, BackendSocket, SOCKET_KEPT, id="Socket"),
    pytest.param(greenzmq.Context, zmq.Context, BackendContext, CONTEXT_KEPT, id="Context"),
]
NAMESPACES = ["greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet", "greenzmq.threading"]


def public(*classes):
    """The methods and properties of pyzmq's, not the constants of enums that they may hold."""
    names = {name for cls in classes for name in dir(cls) if not name.startswith("_")}
    return sorted(name for name in names if not isinstance(inspect.getattr_static(classes[0], name), int))


def overridden(ours, theirs):
    """The names that our class, or one between it and pyzmq's, has for itself."""
    above = ours.__mro__[: ours.__mro__.index(theirs)]
    return {name for cls in above for name in cls.__dict__}


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("ours", "theirs", "backend", "kept"), CLASSES)
def test_every_method_is_green_or_has_a_reason_not_to_be(ours, theirs, backend, kept):
    """A method that a new pyzmq brings has to be looked at: made green, or listed with the reason why not."""
    assert set(public(theirs, backend)) - overridden(ours, theirs) - set(kept) == set()


@pytest.mark.parametrize(("ours", "theirs", "backend", "kept"), CLASSES)
def test_no_reason_is_given_for_what_is_green(ours, theirs, backend, kept):
    """The table of reasons speaks of no method that is overridden after all."""
    assert set(kept) & overridden(ours, theirs) == set()


@pytest.mark.parametrize(("ours", "theirs", "backend", "kept"), CLASSES)
def test_signatures(ours, theirs, backend, kept):
    """Every method has pyzmq's parameters: names, order, kinds, defaults. Ours may add keyword-only ones behind."""
    for name in ["__init__", *public(theirs, backend)]:
        method = inspect.getattr_static(ours, name)
        if isinstance(method, property) or not callable(getattr(theirs, name)):
            continue
        expected, found = parameters(getattr(theirs, name)), parameters(getattr(ours, name))
        assert found[: len(expected)] == expected, name
        assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in found[len(expected) :]), name


@pytest.mark.parametrize(("ours", "theirs", "backend", "kept"), CLASSES)
def test_public_names(ours, theirs, backend, kept):
    """Our class has the public names of pyzmq's, no less, and no more than is listed."""
    assert set(public(ours)) - ADDED == set(public(theirs, backend))


#: The public methods that are our own.
ADDED = {"wait_connected", "wait_drained", "wait_subscribed"}


def test_what_waits_is_refused_after_a_fork():
    """Of the methods that wait, the socket's own are those that a forked child cannot call on its parent's socket.

    In the child libzmq would spin. Seen to fail with a new method.
    """
    waits = {name.partition(",")[0].partition(".")[2] for name in WAITS if name.startswith("Socket.")}
    composed = {"recv_pyobj", "send_pyobj"}
    assert waits & {*vars(greenzmq.Socket)} - composed == waits & {*REFUSED, "poll"}


def attributes(module, name):
    """All that a new object of this class has, its class's names and its own."""
    context = module.Context()
    made = {
        "Context": lambda: context,
        "Socket": lambda: context.socket(zmq.PULL),
        "MessageTracker": module.MessageTracker,
        "Frame": lambda: module.Frame(b"x"),
        "Poller": module.Poller,
    }[name]()
    names = {*dir(type(made)), *getattr(made, "__dict__", {})}
    if name == "Socket":
        made.close()
    zmq.Context.term(context)  # without a hub in this thread
    return names


@pytest.mark.parametrize("name", ["Context", "Socket", "Poller", "MessageTracker", "Frame"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_we_add_has_a_name_that_no_subclass_has(namespace, name):
    """Users' subclasses have methods called `_sending` or `_end`: neither our classes nor objects may have these names.

    Public methods of our own are documented. Seen to fail when the socket kept its directions as `_sending` and
    `_receiving`, and the Poller its entries as `_entries`.
    """
    added = attributes(importlib.import_module(namespace), name) - attributes(zmq, name)
    public = {"close"} if name == "Poller" else ADDED if name == "Socket" else set()
    assert {name for name in added if not name.startswith(("_greenzmq_", "__"))} == public


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_namespace_has_all_of_zmq(namespace):
    """Everything in ``zmq.__all__`` is there, the same object unless it is green; other attributes are found as well.

    A drop-in's version is pyzmq's, for programs that ask for it. The package's own is its own.
    """
    module = importlib.import_module(namespace)
    assert set(zmq.__all__) <= set(module.__all__)
    green = {"Context", "Socket", "Poller", "proxy", "proxy_steerable", "device", "select", "zmq_poll"}
    green |= {"SyncContext", "SyncSocket", "Frame", "Message", "MessageTracker"}
    own = green | {"__version__"} if namespace == "greenzmq" else green
    for name in zmq.__all__:
        assert getattr(module, name) is getattr(zmq, name) or name in own, name
    for name in module.__all__:
        assert hasattr(module, name), name
    assert (module.error, module.utils, module.constants) == (zmq.error, zmq.utils, zmq.constants)
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", ["Context", "Socket", "Poller", "select", "zmq_poll"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_waits_is_green_in_every_namespace(namespace, name):
    """No namespace hands out pyzmq's own version of what would stop the hub."""
    assert getattr(importlib.import_module(namespace), name) is not getattr(zmq, name)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_star_import(namespace):
    """``from greenzmq.… import *`` gives the green classes and the rest of pyzmq."""
    module, names = importlib.import_module(namespace), {}
    exec(f"from {namespace} import *", names)
    for name in ("Context", "Socket", "Poller", "hub"):
        assert names[name] is getattr(module, name)
    assert names["PUSH"] is zmq.PUSH


@pytest.mark.parametrize("namespace", NAMESPACES[1:])
def test_a_namespace_knows_its_hub(namespace):
    """Sockets and contexts of a namespace wait on its runtime, whatever else is said."""
    module = importlib.import_module(namespace)
    name = namespace.rpartition(".")[2]
    context = module.Context()
    with context.socket(zmq.PUSH) as socket:
        assert type(socket) is module.Socket
        assert (choice_of(context), choice_of(socket)) == (name, name)
        assert f"<{namespace}.Socket(zmq.PUSH)" in repr(socket)
        assert repr(context).startswith(f"<{namespace}.Context(")
    zmq.Context.term(context)  # without a hub in this thread


@pytest.mark.parametrize("namespace", [*NAMESPACES, "greenzmq.asyncio"])
def test_classes_can_be_subscripted(namespace):
    """As pyzmq's: in annotations that are evaluated, as bases, and called. Seen to fail when `Socket` was of bytes."""
    module = importlib.import_module(namespace)
    assert typing.get_origin(module.Socket[bytes]) is module.Socket
    assert typing.get_args(module.Context[module.Socket[bytes]]) == (module.Socket[bytes],)

    class Special(module.Context[module.Socket[bytes]]):
        pass

    context = Special()
    assert context._socket_class is module.Socket
    with module.Socket[bytes](context, zmq.PUSH) as socket:
        assert isinstance(socket, module.Socket)  # of a subclass, if native threads share it
    zmq.Context.term(context)  # without a hub in this thread


@pytest.mark.parametrize("namespace", ["greenzmq", "greenzmq.selector"])
def test_importing_brings_no_runtime(namespace):
    """``import greenzmq`` loads neither gevent nor eventlet nor asyncio, and makes no hub."""
    program = (
        f"import sys, {namespace}; print(*sorted({{'gevent', 'eventlet', 'asyncio', 'uvloop'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
