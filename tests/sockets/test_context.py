"""The green Context: how it is made, what its sockets inherit, and which hub they wait on."""

from __future__ import annotations

import errno
import gc
import importlib
import itertools
import warnings

import pytest
import zmq
from support.inside import choice_of, hub_of
from support.sockets import (
    connected,
    each,
    made_as,
    open_context,
    parked,
    receives,
    sends,
    until,
)

import greenzmq

NAMESPACES = ["greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet", "greenzmq.threading"]


class OwnSocket(greenzmq.Socket):
    """A user's own."""


# -- sockets ----------------------------------------------------------------------------------------------------------


def test_a_socket_of_another_class(hub):
    """socket_class= makes that class of socket, green or plain, with its keywords; the context still owns it."""
    with open_context(hub) as context:
        own = context.socket(zmq.PAIR, socket_class=OwnSocket, copy_threshold=5)
        plain = context.socket(zmq.PAIR, zmq.Socket)
        assert (made_as(own), own.copy_threshold, type(plain)) == (OwnSocket, 5, zmq.Socket)
        own.bind("inproc://x")
        plain.connect("inproc://x")
        task = parked(hub, receives, own.recv)
        plain.send(b"x")
        assert task.get() == b"x"
    assert own.closed
    assert plain.closed


def test_a_subclass_with_sockets_of_its_own(hub):
    """`_socket_class` of a subclass is what its sockets are."""

    class OwnContext(greenzmq.Context):
        _socket_class = OwnSocket

    with OwnContext(hub=hub) as context, context.socket(zmq.PUSH) as socket:
        assert made_as(socket) is OwnSocket
        assert isinstance(socket, greenzmq.Socket)


def test_a_green_socket_of_a_plain_context(hub):
    """A green socket may be made on pyzmq's context: it waits on the hub that is found around it."""
    context = zmq.Context()
    with greenzmq.Socket(context, zmq.PULL) as pull, greenzmq.Socket(context, zmq.PUSH) as push:
        assert choice_of(pull) is None
        pull.bind("inproc://x")
        push.connect("inproc://x")
        task = parked(hub, receives, pull.recv)
        push.send(b"x")
        assert task.get() == b"x"
    hub.run_in_thread(context.term)


@pytest.mark.parametrize("other", ["plain", "green"])
def test_a_context_made_for_sockets_of_the_other_kind(hub, other):
    """pyzmq's context makes green sockets with socket_class=, and so does ours plain ones."""
    context = zmq.Context() if other == "plain" else greenzmq.Context(hub=hub)
    cls = greenzmq.Socket if other == "plain" else zmq.Socket
    with context.socket(zmq.PUSH, socket_class=cls) as socket:
        assert made_as(socket) is cls
    hub.run_in_thread(context.term) if other == "plain" else context.term()


def test_options_for_new_sockets(context):
    """Options set on a context hold for its later sockets, in each spelling; a type that lacks one does without."""
    before = context.socket(zmq.PUSH)
    context.sndhwm = 7
    context.setsockopt(zmq.RCVTIMEO, 5)
    context.LINGER = 11
    context.sockopts[zmq.SUBSCRIBE] = b"topic"
    assert (context.sndhwm, context.getsockopt(zmq.RCVTIMEO), context.linger) == (7, 5, 11)
    with context.socket(zmq.PUSH) as push, context.socket(zmq.SUB) as sub:
        assert (push.sndhwm, push.rcvtimeo, push.linger) == (7, 5, 11)
        assert (sub.sndhwm, sub.rcvtimeo, sub.linger) == (7, 5, 11)
    assert (before.sndhwm, before.rcvtimeo) == (1000, -1)
    before.close()
    del context.sndhwm
    with pytest.raises(AttributeError):
        _ = context.sndhwm
    with context.socket(zmq.PUSH) as push:
        assert push.sndhwm == 1000


def test_options_of_the_context(hub):
    """MAX_SOCKETS and IO_THREADS are set and got in each spelling, and hold."""
    with open_context(hub, io_threads=3) as context:
        assert (context.get(zmq.IO_THREADS), context.IO_THREADS, context.io_threads) == (3, 3, 3)
        context.set(zmq.IO_THREADS, 2)
        context.max_sockets = 1
        assert (context.get(zmq.IO_THREADS), context.get(zmq.MAX_SOCKETS)) == (2, 1)
        with context.socket(zmq.PUSH), pytest.raises(zmq.ZMQError) as caught:
            context.socket(zmq.PUSH)
        assert caught.value.errno == errno.EMFILE


def test_a_closed_context(hub):
    """`closed` tells, and what needs a context is pyzmq's error then; ending it once more is nothing."""
    context = greenzmq.Context(hub=hub)
    assert not context.closed
    context.term()
    assert context.closed
    with pytest.raises(zmq.ZMQError):
        context.socket(zmq.PUSH)
    with pytest.raises(RuntimeError):
        context.get(zmq.IO_THREADS)
    context.term()
    context.destroy()
    assert "closed" in repr(context)


# -- instance ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_instances():
    """No class has an instance yet, and afterwards all is as it was."""
    classes = [importlib.import_module(name).Context for name in ("zmq", *NAMESPACES)]
    before = {
        cls: {key: cls.__dict__[key] for key in ("_instance", "_instance_pid") if key in cls.__dict__}
        for cls in classes
    }
    for cls in classes:
        if before[cls]:
            cls._instance = None
    yield
    for cls in classes:
        for key in ("_instance", "_instance_pid"):
            if key in before[cls]:
                setattr(cls, key, before[cls][key])
            elif key in cls.__dict__:
                delattr(cls, key)


def test_each_namespace_has_its_own_instance(hub, no_instances):
    """The namespaces and pyzmq each have an instance; the same one each time, a new one when it ended.

    Seen to fail while greenzmq's found the instance of pyzmq's class.
    """
    classes = [zmq.Context, *(importlib.import_module(name).Context for name in NAMESPACES)]
    instances = [cls.instance() for cls in classes]
    assert [cls.instance() for cls in classes] == instances
    for cls, instance in zip(classes, instances, strict=True):
        hub.run_in_thread(zmq.Context.term, instance)
        fresh = cls.instance()
        assert fresh is not instance
        hub.run_in_thread(zmq.Context.term, fresh)
    assert [type(instance) for instance in instances] == classes
    assert len({id(instance) for instance in instances}) == len(classes)


@pytest.mark.parametrize("name", ["zmq", *NAMESPACES])
def test_the_instance_of_a_subclass(hub, no_instances, name):
    """As in pyzmq: the parent's, if that has one; else its own, as for a class with an `_instance` of its own.

    Seen to fail when each subclass has an instance of its own.
    """
    base = importlib.import_module(name).Context

    class Inherits(base):
        pass

    class OwnersOwn(base):
        _instance = None

    alone, shared, own = Inherits.instance(), base.instance(), OwnersOwn.instance()
    assert [type(each) for each in (alone, shared, own)] == [Inherits, base, OwnersOwn]
    assert Inherits.instance() is alone

    class Late(base):
        pass

    assert Late.instance() is shared
    for instance in (alone, shared, own):
        hub.run_in_thread(zmq.Context.term, instance)


def test_the_arguments_of_instance(hub):
    """instance(io_threads=) is pyzmq's: it counts for the first call."""

    class OwnContext(greenzmq.Context):
        _instance = None

    context = OwnContext.instance(io_threads=2)
    assert context.io_threads == OwnContext.instance(5).io_threads == 2
    hub.run_in_thread(zmq.Context.term, context)


# -- shadows ----------------------------------------------------------------------------------------------------------

CONTEXT_SHADOWS = {
    "positional": lambda cls, context: cls(context),
    "keyword": lambda cls, context: cls(shadow=context),
    "method": lambda cls, context: cls.shadow(context),
    "number": lambda cls, context: cls.shadow(context.underlying),
    "number as keyword": lambda cls, context: cls(shadow=context.underlying),
}


@pytest.mark.parametrize("of", ["plain", "green"])
@each("how", CONTEXT_SHADOWS)
def test_a_shadow_context(hub, how, of):
    """A green shadow of any context makes green sockets in it, keeps a green one's hub, and does not end it."""
    context = zmq.Context() if of == "plain" else greenzmq.Context(hub=hub)
    shadow = CONTEXT_SHADOWS[how](greenzmq.Context, context)
    assert shadow.underlying == context.underlying
    expected = None if of == "plain" or "number" in how else hub.hub
    assert choice_of(shadow) is expected
    with shadow.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind("inproc://x")
        push.connect("inproc://x")
        task = parked(hub, receives, pull.recv)
        push.send(b"x")
        assert task.get() == b"x"
    del shadow, pull, task
    gc.collect()
    assert not context.closed
    hub.run_in_thread(zmq.Context.term, context)


def test_a_plain_shadow_of_a_green_context(hub):
    """pyzmq's own Context can shadow ours."""
    with open_context(hub) as context, zmq.Context(context).socket(zmq.PUSH) as socket:
        assert type(socket) is zmq.Socket


SOCKET_SHADOWS = {
    "positional": greenzmq.Socket,
    "keyword": lambda socket: greenzmq.Socket(shadow=socket),
    "method": greenzmq.Socket.shadow,
    "number": lambda socket: greenzmq.Socket.shadow(socket.underlying),
}


@each("how", SOCKET_SHADOWS)
def test_shadows_of_a_socket_share_who_waits(hub, how):
    """A message's signal that is taken through one object wakes the greenlet that waits through another.

    Seen to fail when each object has a readiness of its own.
    """
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        shadow = SOCKET_SHADOWS[how](right)
        for waiting, rival in itertools.permutations([right, shadow]):
            task = parked(hub, receives, waiting.recv)
            left.send(b"x")
            assert rival.get(zmq.EVENTS) & zmq.POLLIN
            hub.sleep()
            hub.sleep()
            assert task.done
            assert task.get() == b"x"


def test_a_queue_of_shadows(hub, pair):
    """Greenlets that wait through different objects for one socket stand in one queue."""
    left, right = pair
    objects = [right, greenzmq.Socket(right), greenzmq.Socket.shadow(right.underlying)]
    tasks = [hub.spawn(each.recv) for each in objects]
    hub.sleep()
    for n in range(3):
        left.send(b"%d" % n)
    assert [task.get() for task in tasks] == [b"0", b"1", b"2"]


def test_a_shadow_of_a_plain_socket(hub, context):
    """A green object for a plain socket waits where the plain one would block."""
    plain, peer = context.socket(zmq.PULL, zmq.Socket), context.socket(zmq.PUSH)
    plain.bind("inproc://x")
    peer.connect("inproc://x")
    green = greenzmq.Socket(plain)
    task = parked(hub, receives, green.recv)
    peer.send(b"x")
    assert task.get() == b"x"


def test_a_shadow_does_not_close_its_socket(hub, pair):
    """Dropping a shadow, even the one that was used last, leaves the socket and those who wait on it as they were."""
    left, right = pair
    shadow = greenzmq.Socket.shadow(right.underlying)
    left.send(b"x")
    assert shadow.recv() == b"x"
    task = parked(hub, receives, right.recv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del shadow
        gc.collect()
    left.send(b"y")
    assert task.get() == b"y"


def test_copies_are_shadows(hub):
    """copy() and deepcopy() of a socket or context shadow it, as pyzmq's do."""
    import copy

    with open_context(hub) as context:
        _, right = connected(context, zmq.PAIR, zmq.PAIR)
        for twin in (copy.copy(right), copy.deepcopy(right)):
            assert made_as(twin) is greenzmq.Socket
            assert twin.underlying == right.underlying
        assert copy.copy(context).underlying == context.underlying


# -- which hub --------------------------------------------------------------------------------------------------------


CHOICES = {
    "name": lambda hub: hub.name,
    "path": lambda hub: f"{type(hub.hub).__module__}:{type(hub.hub).__qualname__}",
    "class": lambda hub: type(hub.hub),
    "Hub": lambda hub: hub.hub,
    "GreenHub": lambda hub: hub,
}


@each("how", CHOICES)
def test_the_hub_of_a_context(hub, how):
    """hub= is a name, a dotted path, a class, a Hub or a GreenHub; the context's sockets wait on it."""
    with greenzmq.Context(hub=CHOICES[how](hub)) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, linger=0)
        task = parked(hub, receives, left.recv)
        assert hub_of(left) is hub.hub
        right.send(b"x")
        assert task.get() == b"x"
        left.close()
        right.close()


@pytest.mark.parametrize(
    "choice", ["no-such-hub", "no.such.module:Hub", "greenzmq:NoSuchHub", "os:path", int, 5, object()]
)
def test_a_wrong_hub_is_an_error_at_once(choice):
    """Not at the first wait; the message says what there is. What is left of the context goes without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(greenzmq.UnknownHubError) as caught:
            greenzmq.Context(hub=choice)
        assert "hub" in str(caught.value)
        if isinstance(choice, str):
            assert "selector" in str(caught.value) or "is not a hub" in str(caught.value)
        del caught
        gc.collect()


def test_both_directions_of_both_objects(hub, context):
    """A sender waits through a shadow, a receiver through the socket; each is woken by the other side."""
    left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    shadow = greenzmq.Socket(left)
    receiving = parked(hub, receives, left.recv)
    sending = hub.spawn(lambda: [shadow.send(b"%d" % n) for n in range(5)])
    until(hub, lambda: sends(left))
    assert [right.recv() for _ in range(5)] == [b"%d" % n for n in range(5)]
    sending.get()
    right.send(b"x")
    assert receiving.get() == b"x"
