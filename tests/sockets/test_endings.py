"""The end of contexts and sockets: cooperative, told to whoever waits, safe wherever the garbage collector comes by."""

from __future__ import annotations

import gc
import time
import weakref

import greenlet
import pytest
import zmq
from support.inside import parked_on
from support.sockets import (
    TICKS,
    address,
    connected,
    descriptor,
    fill,
    is_open,
    never_switches,
    open_context,
    parked,
    receives,
    sends,
    tick,
    until,
)

import greenzmq
from greenzmq import monitor_events

#: How greenlets wait on a socket, with what tells that they do.
WAITERS = {
    "recv": (receives, lambda socket: socket.recv()),
    "recv_multipart": (receives, lambda socket: socket.recv_multipart()),
    "recv_into": (receives, lambda socket: socket.recv_into(bytearray(1))),
    "send": (sends, lambda socket: socket.send(b"x")),
    "send_multipart": (sends, lambda socket: socket.send_multipart([b"x", b"y"])),
    "poll": (parked_on, lambda socket: socket.poll()),
}


def waiting_on(hub, context, count=2):
    """Sockets, and tasks that wait on them in every way, `count` of each."""
    tasks, opened = [], []
    for waits, call in WAITERS.values():
        left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        if waits is sends:
            fill(left)
        opened += [left, right]
        tasks += [hub.spawn(call, left) for _ in range(count)]
        until(hub, lambda waits=waits, left=left: waits(left))
    tick(hub, *tasks)
    return opened, tasks


def close_all(opened):
    for socket in opened:
        socket.close(linger=0)


# -- term, destroy, with ----------------------------------------------------------------------------------------------


def test_term_ends_every_wait(hub):
    """Who waits in recv, send or poll gets ContextTerminated as soon as another greenlet calls term; it then ends."""
    context = greenzmq.Context(hub=hub)
    opened, tasks = waiting_on(hub, context)
    ending = hub.spawn(context.term)
    for task in tasks:
        with pytest.raises(zmq.ContextTerminated):
            task.get()
    tick(hub, ending)
    close_all(opened)
    assert ending.get() is None
    assert context.closed


def test_calls_after_term_are_errors(hub):
    """A socket whose context is ending answers ContextTerminated to everything, at once, fast path or not."""
    context = greenzmq.Context(hub=hub)
    left, right = connected(context, zmq.PAIR, zmq.PAIR)
    ending = hub.spawn(context.term)

    def ended() -> bool:
        try:
            left.get(zmq.EVENTS)
        except zmq.ContextTerminated:
            return True
        return False

    until(hub, ended)
    for call in (left.recv, left.recv_multipart, lambda: left.send(b"x"), lambda: left.send_multipart([b"x"])):
        with pytest.raises(zmq.ContextTerminated):
            call()
    close_all([left, right])
    ending.get()


@pytest.mark.parametrize("linger", [0, None], ids=["linger=0", "no linger"])
def test_destroy_ends_every_wait(hub, linger):
    """destroy() closes the sockets under those who wait: each gets an error at once, and the context ends."""
    context = greenzmq.Context(hub=hub)
    context.linger = 0
    opened, tasks = waiting_on(hub, context)
    context.destroy(linger=linger)
    assert context.closed
    for task in tasks:
        with pytest.raises(zmq.ZMQError) as caught:
            task.get()
        assert caught.value.errno in (zmq.ENOTSOCK, zmq.ETERM)
    assert all(socket.closed for socket in opened)


def test_the_linger_of_destroy(hub):
    """destroy(linger=0) drops a message that would otherwise keep the context for good."""
    context = greenzmq.Context(hub=hub)
    push = context.socket(zmq.PUSH)
    push.linger = -1
    push.connect(address("ipc"))
    push.send(b"x")
    context.destroy(linger=0)
    assert (context.closed, push.closed) == (True, True)


def test_term_waits_for_the_linger(hub):
    """With a message that nobody takes term returns when the linger is over; the others go on meanwhile.

    Seen to fail with pyzmq's own term: nobody goes on.
    """
    context = greenzmq.Context(hub=hub)
    push = context.socket(zmq.PUSH)
    push.linger = 50
    push.connect(address("ipc"))
    push.send(b"x")
    began = time.monotonic()
    push.close()
    ending = hub.spawn(context.term)
    turns = 0
    while not ending.done:
        hub.sleep(0.001)
        turns += 1
    assert ending.get() is None
    assert turns > TICKS
    assert time.monotonic() - began > 0.045


def test_destroy_while_greenlets_wait_in_everything(hub):
    """destroy(linger=0) ends the wait in a Poller, select, a proxy, a monitor and for a tracker as well.

    Seen to hang where `close` does not wake those who listen for events.
    """
    context = greenzmq.Context(hub=hub)
    sockets = [context.socket(zmq.PULL) for _ in range(5)]
    watched, plain, frontend, backend, polled = sockets
    monitor = monitor_events(watched)
    poller = greenzmq.Poller(hub=hub)
    for socket in (polled, greenzmq.Socket(plain)):
        poller.register(socket, zmq.POLLIN)
    push = context.socket(zmq.PUSH)
    push.connect(address("ipc"))
    tracker = push.send(bytearray(200_000), copy=False, track=True)
    calls = {
        "Poller": poller.poll,
        "zmq_poll": lambda: greenzmq.zmq_poll([(polled, zmq.POLLIN)]),
        "select": lambda: greenzmq.select([polled], [], []),
        "proxy": lambda: greenzmq.proxy(frontend, backend),
        "monitor": lambda: next(monitor),
        "monitor socket": lambda: plain.get_monitor_socket().recv_multipart(),
    }
    tasks = {name: hub.spawn(call) for name, call in calls.items()}
    following = hub.spawn(tracker.wait)
    tick(hub, *tasks.values(), following)
    context.destroy(linger=0)
    assert context.closed
    for name, task in tasks.items():
        assert task.join(10), name
        with pytest.raises(zmq.ZMQError) as caught:
            task.get()
        assert caught.value.errno in (zmq.ENOTSOCK, zmq.ETERM), name
    assert following.get() is None


def test_with_context(hub):
    """``with`` closes what is open and ends the context; pyzmq's warning names each socket that was left."""
    with pytest.warns(ResourceWarning, match="unclosed socket <greenzmq.Socket"), greenzmq.Context(hub=hub) as context:
        socket = context.socket(zmq.PULL)
    assert (context.closed, socket.closed) == (True, True)


def test_with_context_while_another_ticks(hub):
    """Leaving ``with`` waits for lingering messages on the hub; the greenlet that takes them is one of this hub."""
    with open_context(hub) as other:
        pull, where = other.socket(zmq.PULL), address("ipc")

        def ticker() -> list[bytes]:
            tick(hub)
            pull.bind(where)
            return [pull.recv() for _ in range(3)]

        with greenzmq.Context(hub=hub) as context:
            context.reconnect_ivl = 1
            with context.socket(zmq.PUSH) as push:
                push.connect(where)
                for n in range(3):
                    push.send(b"%d" % n)
            task = hub.spawn(ticker)
        assert task.get() == [b"0", b"1", b"2"]


def test_two_greenlets_end_one_context(hub):
    """Both calls of term return when the context has ended, not earlier; a third one at once."""
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)
    tasks = [hub.spawn(context.term), hub.spawn(context.term), hub.spawn(context.destroy, 0)]
    tick(hub, *tasks[:0])
    socket.close()
    for task in tasks:
        assert task.get() is None
    assert context.closed
    with never_switches():
        context.term()


def test_two_terms_wait_for_the_same(hub):
    """While a socket is open neither of two calls of term returns."""
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)
    tasks = [hub.spawn(context.term) for _ in range(2)]
    tick(hub, *tasks)
    assert not context.closed
    socket.close()
    assert [task.get() for task in tasks] == [None, None]


def test_a_killed_term_goes_on(hub):
    """The greenlet that called term is killed; the context ends all the same, and can be waited for again."""
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)
    task = hub.spawn(context.term)
    tick(hub, task)
    task.kill()
    assert isinstance(task.get(), greenlet.GreenletExit)
    with pytest.raises(zmq.ContextTerminated):
        socket.recv()
    socket.close()
    context.term()
    assert context.closed


def test_a_term_with_a_time_limit(hub):
    """A limit ends the wait for term, not the term."""
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)
    with pytest.raises(greenzmq.Timeout), hub.timeout(0.01):
        context.term()
    socket.close()
    context.term()
    assert context.closed


# -- close ------------------------------------------------------------------------------------------------------------


def test_close_ends_every_wait(hub, context):
    """Closing a socket never switches; all who wait on it get ENOTSOCK."""
    opened, tasks = waiting_on(hub, context)
    with never_switches():
        close_all(opened)
    for task in tasks:
        with pytest.raises(zmq.ZMQError) as caught:
            task.get()
        assert caught.value.errno == zmq.ENOTSOCK


def test_close_in_a_callback_of_the_hub(hub, context):
    """The hub itself may close a socket that greenlets wait on."""
    opened, tasks = waiting_on(hub, context)
    hub.hub.call_soon(close_all, opened)
    for task in tasks:
        with pytest.raises(zmq.ZMQError):
            task.get()


# -- the garbage collector --------------------------------------------------------------------------------------------


def collected(hub, make, *, match, where):
    """Drop what `make` returns, here or there: pyzmq's warning is given, and the thing is closed."""
    kept = [make()]

    def drop() -> None:
        kept.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match=match) as warnings:  # noqa: PT031
        PLACES[where](hub, drop)
        until(hub, lambda: len(warnings))
        until(hub, lambda: all(warning.source.closed for warning in warnings))


PLACES = {
    "in a greenlet": lambda hub, drop: drop(),
    "in the hub": lambda hub, drop: hub.hub.call_soon(drop),
    "in another thread": lambda hub, drop: hub.run_in_thread(drop),
}
everywhere = pytest.mark.parametrize("where", PLACES)


@everywhere
def test_an_unclosed_context_is_collected(hub, where):
    """A context that is dropped without an end warns as pyzmq's does, ends, and stops nobody meanwhile."""
    collected(hub, lambda: greenzmq.Context(hub=hub), match="Unclosed context <greenzmq.Context", where=where)


@everywhere
def test_an_unclosed_context_with_sockets_is_collected(hub, where):
    """The same with sockets in it that were used, and that nobody closed."""

    def make() -> greenzmq.Context:
        context = greenzmq.Context(hub=hub)
        context.linger = 0
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        task = parked(hub, receives, left.recv)
        right.send(b"x")
        assert task.get() == b"x"
        return context

    collected(hub, make, match="nclosed", where=where)


@everywhere
def test_an_unclosed_socket_is_collected(hub, where):
    """A socket that is dropped without close warns as pyzmq's does; its watch and its descriptor are freed."""
    with open_context(hub) as context:
        descriptors = []

        def make() -> greenzmq.Socket:
            socket, peer = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            socket.bind("inproc://x")
            peer.connect("inproc://x")
            task = parked(hub, receives, socket.recv)
            peer.send(b"x")
            assert task.get() == b"x"
            peer.close()
            descriptors.append(descriptor(socket))
            return socket

        collected(hub, make, match="Unclosed socket <greenzmq.Socket", where=where)
        until(hub, lambda: not is_open(descriptors[0]))
        assert not hub.hub.readers.get(descriptors[0])


def test_a_socket_that_is_waited_on_is_kept(hub, context):
    """The greenlet that waits holds the socket: dropping all other references loses neither of them."""
    peer = context.socket(zmq.PUSH)
    where = address("inproc")
    peer.bind(where)

    def receive() -> bytes:
        with context.socket(zmq.PULL) as socket:
            socket.connect(where)
            waiting.append(weakref.ref(socket))
            return socket.recv()

    waiting = []
    task = hub.spawn(receive)
    until(hub, lambda: waiting)
    tick(hub, task)
    gc.collect()
    assert waiting[0]() is not None
    peer.send(b"x")
    assert task.get() == b"x"
