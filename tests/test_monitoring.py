"""Socket monitors: pyzmq's functions on a green PAIR, and the iterator."""

from __future__ import annotations

import gc

import pytest
import zmq
from helpers_polling import goes_on
from helpers_proxies import ticking
from helpers_sockets import never_switches, open_context, tick, until
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


def test_a_life(hub):
    """The iterator gives all events, from its making on, and ends with the socket."""
    with open_context(hub) as context:
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


def test_chosen_events(hub):
    """Only what was asked for is given; the end comes all the same."""
    with open_context(hub) as context:
        socket = context.socket(zmq.PAIR)
        events = greenzmq.monitor_events(socket, zmq.EVENT_LISTENING | zmq.EVENT_DISCONNECTED)
        a_life(context, socket)
        assert next(events)["event"] == zmq.Event.LISTENING
        assert next(events)["event"] == zmq.Event.DISCONNECTED
        socket.close()
        assert list(events) == []


def test_a_monitor_that_is_disabled_ends(hub):
    """disable_monitor() on the socket ends the iterator; the socket lives on and can be monitored again."""
    with open_context(hub) as context:
        socket = context.socket(zmq.PAIR)
        for _ in range(2):
            events = greenzmq.monitor_events(socket)
            task = hub.spawn(list, events)
            tick(hub, task)
            socket.disable_monitor()
            goes_on(hub, task)
            assert names(task.get()) == ["MONITOR_STOPPED"]


def test_closing_the_iterator(hub):
    """close() ends it for who waits in it, with nothing more; leaving its `with` block closes it."""
    with open_context(hub) as context:
        socket = context.socket(zmq.PAIR)
        with greenzmq.monitor_events(socket) as events:
            task = hub.spawn(list, events)
            tick(hub, task)
        goes_on(hub, task)
        assert task.get() == []
        events.close()


def test_an_iterator_that_is_dropped(hub):
    """Collected without close(): the monitor is off, its sockets are closed, nobody warns."""
    with open_context(hub) as context:
        socket = context.socket(zmq.PAIR)
        events = greenzmq.monitor_events(socket)
        monitor = events._monitor
        del events
        gc.collect()
        assert monitor.closed
        assert socket._monitor_socket is None


def test_a_kill_and_a_time_limit(hub):
    """An exception thrown into the wait comes out as it is, and the next event is still there."""
    with open_context(hub) as context:
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


def test_the_end_of_the_context(hub):
    """term() ends the iterator with ContextTerminated, as any wait, and returns."""
    with open_context(hub) as context:
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
