"""Socket monitors: pyzmq's functions on a green PAIR, and the iterator."""

from __future__ import annotations

import gc

import pytest
import zmq
from support.polling import goes_on
from support.proxies import ticking
from support.sockets import address, each, never_switches, open_context, tick, until
from zmq.utils.monitor import parse_monitor_message, recv_monitor_message

import greenzmq

LIFE = ["LISTENING", "ACCEPTED", "HANDSHAKE_SUCCEEDED", "DISCONNECTED", "CLOSED", "MONITOR_STOPPED"]


def names(events):
    return [event["event"].name for event in events]


def a_life(context, socket):
    """Somebody connects to `socket`, says something and goes; then `socket` is closed."""
    socket.bind("tcp://127.0.0.1:*")
    peer = context.socket(zmq.PAIR)
    peer.connect(socket.last_endpoint.decode())
    peer.send(b"message")
    assert socket.recv() == b"message"
    peer.close()
    return socket.last_endpoint


def test_pyzmqs_functions(hub):
    """recv_monitor_message on a green monitor socket parks the greenlet; parse_monitor_message reads what comes."""
    with open_context(hub) as context, ticking(hub) as ticks:
        socket = context.socket(zmq.PAIR)
        monitor = socket.get_monitor_socket()
        assert isinstance(monitor, greenzmq.Socket)
        task = hub.spawn(recv_monitor_message, monitor)
        tick(hub, task)
        before = ticks[0]
        until(hub, lambda: ticks[0] > before)
        with pytest.raises(zmq.Again):
            recv_monitor_message(monitor, zmq.NOBLOCK)
        socket.bind("tcp://127.0.0.1:*")
        event = task.get(10)
        assert event["event"] == zmq.EVENT_LISTENING
        assert event["endpoint"] == socket.last_endpoint
        assert event["value"] > 0
        socket.disable_monitor()
        assert parse_monitor_message(monitor.recv_multipart())["event"] == zmq.EVENT_MONITOR_STOPPED
        monitor.close()


def test_a_life(hub, context):
    """The iterator gives all events, from its making on, and ends with the socket."""
    socket = context.socket(zmq.PAIR)
    events = greenzmq.monitor_events(socket)
    assert iter(events) is events
    endpoint = a_life(context, socket)
    found = [next(events) for _ in range(4)]
    assert found[0]["endpoint"] == endpoint
    task = hub.spawn(list, events)
    tick(hub, task)
    socket.close()
    goes_on(hub, task)
    assert names(found + task.get()) == LIFE
    with never_switches():
        assert list(events) == []


def test_chosen_events(context):
    """Only what was asked for is given; the end comes all the same."""
    socket = context.socket(zmq.PAIR)
    events = greenzmq.monitor_events(socket, zmq.EVENT_LISTENING | zmq.EVENT_DISCONNECTED)
    a_life(context, socket)
    assert next(events)["event"] == zmq.Event.LISTENING
    assert next(events)["event"] == zmq.Event.DISCONNECTED
    socket.close()
    assert list(events) == []


def test_a_monitor_that_is_disabled_ends(hub, context):
    """disable_monitor() on the socket ends the iterator; the socket lives on and can be monitored again."""
    socket = context.socket(zmq.PAIR)
    for _ in range(2):
        events = greenzmq.monitor_events(socket)
        task = hub.spawn(list, events)
        tick(hub, task)
        socket.disable_monitor()
        goes_on(hub, task)
        assert names(task.get()) == ["MONITOR_STOPPED"]


def test_closing_the_iterator(hub, context):
    """close() ends it for who waits in it, with nothing more; leaving its `with` block closes it."""
    socket = context.socket(zmq.PAIR)
    with greenzmq.monitor_events(socket) as events:
        task = hub.spawn(list, events)
        tick(hub, task)
    goes_on(hub, task)
    assert task.get() == []
    events.close()


def test_an_iterator_that_is_dropped(context):
    """Collected without close(): the monitor is off, its sockets are closed, nobody warns."""
    socket = context.socket(zmq.PAIR)
    events = greenzmq.monitor_events(socket)
    monitor = events._monitor
    del events
    gc.collect()
    assert monitor.closed
    assert socket._monitor_socket is None


def test_a_kill_and_a_time_limit(hub, context):
    """An exception thrown into the wait comes out as it is, and the next event is still there."""
    socket = context.socket(zmq.PAIR)
    events = greenzmq.monitor_events(socket, zmq.EVENT_LISTENING)
    with pytest.raises(greenzmq.Timeout), hub.timeout(0.01):
        next(events)
    task = hub.spawn(next, events)
    tick(hub, task)
    task.kill()
    socket.bind("tcp://127.0.0.1:*")
    assert next(events)["event"] == zmq.EVENT_LISTENING
    events.close()


def test_the_end_of_the_context(hub, context):
    """term() ends the iterator with ContextTerminated, as any wait, and returns."""
    socket = context.socket(zmq.PAIR)

    def watch():
        with socket, greenzmq.monitor_events(socket) as events:
            return list(events)

    task = hub.spawn(watch)
    tick(hub, task)
    context.term()
    with pytest.raises(zmq.ContextTerminated):
        task.get(10)


def test_a_plain_socket(hub):
    """A socket of pyzmq's own is watched, too, and only this greenlet waits."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        events = greenzmq.monitor_events(socket)
        task = hub.spawn(next, events)
        tick(hub, task)
        socket.bind("tcp://127.0.0.1:*")
        goes_on(hub, task)
        assert task.get()["event"] == zmq.EVENT_LISTENING
        events.close()


# -- monitors that nobody reads ----------------------------------------------------------------------------------------


#: What makes a monitor, the class of the socket if it is not the context's, and what ends the monitor when it is full.
UNREAD = {
    "monitor socket, closed": (greenzmq.Socket.get_monitor_socket, None, lambda socket, monitor: monitor.close()),
    "monitor socket, disabled": (
        greenzmq.Socket.get_monitor_socket,
        None,
        lambda socket, monitor: socket.disable_monitor(),
    ),
    "monitor socket, socket closed": (greenzmq.Socket.get_monitor_socket, None, lambda socket, monitor: socket.close()),
    "events, closed": (greenzmq.monitor_events, None, lambda socket, monitor: monitor.close()),
    "events, disabled": (greenzmq.monitor_events, None, lambda socket, monitor: socket.disable_monitor()),
    "events, socket closed": (greenzmq.monitor_events, None, lambda socket, monitor: socket.close()),
    "events of a plain socket, closed": (greenzmq.monitor_events, zmq.Socket, lambda socket, monitor: monitor.close()),
    "events of a plain socket, socket closed": (
        greenzmq.monitor_events,
        zmq.Socket,
        lambda socket, monitor: socket.close(),
    ),
}
#: How often to bind and unbind, for more events than a monitor's socket and its reader have room for: 1,000 and 10.
MANY = 600


def bind_and_unbind(socket, times=1):
    for _ in range(times):
        socket.bind("tcp://127.0.0.1:*")
        socket.unbind(socket.last_endpoint.decode())


def passes_messages(context):
    """Connections of the context work, which are served by the thread that reports events."""
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        push.linger = 0
        pull.bind("tcp://127.0.0.1:*")
        push.connect(pull.last_endpoint.decode())
        push.send(b"x")
        return bool(pull.poll(10_000)) and pull.recv() == b"x"


@each("make, cls, end", UNREAD)
def test_a_monitor_that_nobody_reads(hub, make, cls, end):
    """It stops neither its socket nor its context, however many events it holds, and its end stops nobody.

    Seen to freeze the thread and all connections of the context as soon as the monitor was full.
    """
    with open_context(hub) as context:
        context.rcvhwm = 10  # which holds for other sockets
        socket = context.socket(zmq.PAIR, socket_class=cls)
        monitor = make(socket)
        bind_and_unbind(socket, MANY)
        assert passes_messages(context)
        with never_switches():
            end(socket, monitor)
        assert passes_messages(context)
        monitor.close()
        socket.close()


def test_an_unread_monitor_loses_nothing(context):
    """What a late reader finds is everything."""
    socket = context.socket(zmq.PAIR)
    events = greenzmq.monitor_events(socket, zmq.EVENT_LISTENING)
    bind_and_unbind(socket, 1100)
    socket.close()
    assert names(events) == ["LISTENING"] * 1100


@pytest.mark.parametrize("cls", [None, zmq.Socket], ids=["green", "plain"])
def test_a_monitor_that_is_closed(context, cls):
    """To close a monitor's socket, by whatever way, ends the monitoring; a new one, at another address, can be made.

    Seen to stop all connections of the context at the next event, as pyzmq's does.
    """
    socket = context.socket(zmq.PAIR, socket_class=cls)
    for _ in range(2):
        events = greenzmq.monitor_events(socket) if cls else None
        monitor = events._monitor if events else socket.get_monitor_socket(addr=address("inproc"))
        bind_and_unbind(socket)
        assert recv_monitor_message(monitor)["event"] == zmq.EVENT_LISTENING
        monitor.close()
        assert socket._monitor_socket is None
        bind_and_unbind(socket)
        assert passes_messages(context)
    socket.close()


@pytest.fixture
def ends(monkeypatch):
    """The errno, or None, with which libzmq's end of a monitoring has met its monitor, for each in turn."""
    seen, monitor = [], zmq.Socket.monitor

    def end(socket, addr, *args):
        if addr is None:
            theirs = [each for each in socket.context._sockets if each.type == zmq.PAIR and each is not socket]
            assert any(not each.closed for each in theirs), "libzmq would wait for good: the monitor is closed"
            seen.append(len(theirs))
        return monitor(socket, addr, *args)

    monkeypatch.setattr(zmq.Socket, "monitor", end, raising=False)
    return seen


def test_a_monitor_that_is_dropped(hub, ends):
    """The program has not kept it, and ends the monitoring: it is closed only after that, and there can be another.

    Seen to freeze the thread, as pyzmq's own does now and then: it closes the monitor first.
    """
    with open_context(hub) as context:
        socket = context.socket(zmq.PULL)
        for number in range(1, 4):
            socket.get_monitor_socket()
            with never_switches(), pytest.warns(ResourceWarning, match="Unclosed socket"):
                socket.disable_monitor()
            assert len(ends) == number
            assert list(context._sockets) == [socket]
        bind_and_unbind(socket)
        assert passes_messages(context)
        socket.close()


def test_a_monitoring_that_cannot_be_ended(context, ends, monkeypatch):
    """A signal handler raises: the monitor is still the socket's, and open. Of a closed socket it is not."""
    socket = context.socket(zmq.PULL)
    socket.get_monitor_socket()
    monkeypatch.setattr(socket.__class__, "monitor", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        socket.disable_monitor()
    assert not socket._monitor_socket.closed
    monkeypatch.undo()
    bind_and_unbind(socket)
    socket.disable_monitor()
    socket.get_monitor_socket()
    socket.close()
    with pytest.raises(zmq.ZMQError):
        socket.disable_monitor()
    assert socket._monitor_socket is None


def test_a_monitor_follows_a_closed_one_at_once(context):
    """Seen to fail, now and then, with one address for all monitors of a socket: libzmq frees that a while later."""
    socket = context.socket(zmq.REP)
    for _ in range(200):
        socket.get_monitor_socket().close()


def test_an_old_monitor_leaves_the_new_one_alone(context):
    """A monitor that was disabled is closed later, when there is another."""
    socket = context.socket(zmq.PAIR)
    old = socket.get_monitor_socket(addr=address("inproc"))
    socket.disable_monitor()
    new = socket.get_monitor_socket(addr=address("inproc"))
    assert socket.get_monitor_socket() is new is not old
    old.close()
    bind_and_unbind(socket)
    assert recv_monitor_message(new)["event"] == zmq.EVENT_LISTENING
    new.close()


def test_a_monitor_that_cannot_be_made(hub):
    """The address is taken, or there can be no more sockets: pyzmq's error, and nothing is left behind.

    Seen to leave a monitor without a reader, which stopped the context.
    """
    with open_context(hub) as context:
        socket, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        other.bind("inproc://taken")
        for wrong in ("inproc://taken", "tcp://127.0.0.1:*"):
            with pytest.raises(zmq.ZMQError):
                socket.get_monitor_socket(addr=wrong)
            assert socket._monitor_socket is None
        bind_and_unbind(socket)
        assert passes_messages(context)
        assert len(context._sockets) == 2
    for room in (1, 2, 3):
        with open_context(hub) as context:
            context.max_sockets = room
            socket = context.socket(zmq.PAIR)
            if room < 3:
                with pytest.raises(zmq.ZMQError):
                    socket.get_monitor_socket()
            else:
                socket.get_monitor_socket().close()
            bind_and_unbind(socket, 3)


def test_a_monitor_that_cannot_be_connected(hub):
    """The error comes out, and all goes on. Seen to block the thread for good as the monitoring was ended."""

    class Unconnected(greenzmq.Socket):
        def connect(self, addr):
            raise MemoryError

    with open_context(hub) as context:
        socket = context.socket(zmq.PAIR, socket_class=Unconnected)
        context._socket_class = Unconnected
        with pytest.raises(MemoryError):
            socket.get_monitor_socket()
        del context._socket_class
        assert socket._monitor_socket is None
        bind_and_unbind(socket)
        assert passes_messages(context)


def test_the_end_of_a_context_with_monitors(hub):
    """destroy() closes monitors and their sockets in any order, while clients come and go."""
    for _ in range(10):
        with open_context(hub) as context, open_context(hub) as theirs:
            sockets = [context.socket(zmq.PULL) for _ in range(3)]
            monitors = [socket.get_monitor_socket() for socket in sockets]
            clients = [theirs.socket(zmq.PUSH) for _ in sockets]
            for socket, client in zip(sockets, clients, strict=True):
                socket.bind("tcp://127.0.0.1:*")
                client.connect(socket.last_endpoint.decode())
                client.send(b"x")
                assert socket.recv() == b"x"
            theirs.destroy(linger=0)
            context.destroy(linger=0)
            assert all(monitor.closed for monitor in monitors)
