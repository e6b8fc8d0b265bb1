"""Any number of Pollers on one socket or descriptor: what one finds, leaves or does, and what the others hear of it."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import pytest
import zmq
from support.inside import other_epoll, polling_in, replace_get, shares_descriptor
from support.polling import IN, LONG, OUT, Fds, count_reads, count_rounds, goes_on, nobody_polls, pair, polling
from support.sockets import descriptor, open_context, tick, until
from support.waiters import plain

import greenzmq
from greenzmq.sockets.listeners import FEW, Listeners, WaitingListener

#: More than Linux allows sets of descriptors to have one of these in common and be in an event loop themselves.
MANY = 600


def polled(kind, context, files):
    """What all Pollers have in common, and how to make it ready."""
    reader, writer = files.pipe()
    left, right = pair(context)
    many = [context.socket(zmq.PULL) for _ in range(9)] if kind == "a socket beside others" else []
    return {
        "a socket": ([left], lambda: right.send(b"stop")),
        "a socket beside others": ([*many, left], lambda: right.send(b"stop")),
        "a plain socket": ([plain(left)], lambda: right.send(b"stop")),
        "a descriptor": ([reader], lambda: os.write(writer, b"stop")),
    }[kind]


@pytest.mark.parametrize("kind", ["a socket", "a socket beside others", "a plain socket", "a descriptor"])
def test_many_pollers_have_one_thing_in_common(hub, kind):
    """600 greenlets, each in a Poller of its own, wait for the same: all of them are told.

    Seen to fail, by an OSError or by the end of the process, when each Poller had a set of descriptors of its own.
    """
    with open_context(hub) as context, Fds() as files:
        registered, stop = polled(kind, context, files)
        pollers = [greenzmq.Poller() for _ in range(MANY)]
        for poller in pollers:
            for what in registered:
                poller.register(what, IN)
        tasks = [hub.spawn(poller.poll) for poller in pollers]
        until(hub, lambda: all(polling_in(poller) for poller in pollers))
        tick(hub, *tasks)
        stop()
        goes_on(hub, *tasks)
        assert all(task.get() == [(registered[-1], IN)] for task in tasks)
        nobody_polls(*pollers)


def test_pollers_and_wait_fd_on_one_descriptor(hub):
    """They wait for the same and for another event, and each is told of its own.

    Seen to fail when the set watched a descriptor for what the last of them wanted.
    """
    with Fds() as files:
        ours, theirs = files.socketpair()
        ours.setblocking(False)
        with suppress(BlockingIOError):
            while ours.send(bytes(65536)):
                pass
        reads, writes = greenzmq.Poller(), greenzmq.Poller()
        reads.register(ours, IN)
        writes.register(ours, OUT)
        readers = [polling(hub, reads), hub.spawn(hub.wait_fd, ours)]
        writer = polling(hub, writes)
        theirs.send(b"data")
        goes_on(hub, *readers)
        assert [task.get() for task in readers] == [[(ours.fileno(), IN)], IN]
        tick(hub, writer)
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            while theirs.recv(65536):
                pass
        goes_on(hub, writer)
        assert writer.get() == [(ours.fileno(), OUT)]


def test_the_number_of_a_socket_beside_the_socket(hub, context):
    """A socket and, as a plain descriptor, its ``FD``: each is polled for itself, and neither keeps the hub busy.

    Seen to fail when the descriptor stayed in the set for a socket that nobody listened to, since it was a file's, too.
    """
    left, right = pair(context)
    idle_one, waited_in = greenzmq.Poller(), greenzmq.Poller()
    idle_one.register(left, IN)
    waited_in.register(descriptor(left), int(zmq.POLLERR))
    assert idle_one.poll(0) == idle_one.poll(0) == []
    task = hub.spawn(waited_in.poll, LONG)
    tick(hub, task)
    right.send(b"message")
    tick(hub, task)
    hub.sleep(0.01)
    with count_rounds(hub) as rounds:
        hub.run_in_thread(time.sleep, 0.02)
        assert rounds() < 20
    assert idle_one.poll(0) == [(left, IN)]
    assert not task.done
    task.kill()


def test_one_waits_while_others_idle(hub, context):
    """What the Pollers of others leave unread keeps no hub awake and is found by each at its own next poll."""
    left, right = pair(context)
    other, peer = pair(context)
    idlers = [greenzmq.Poller() for _ in range(5)]
    for poller in idlers:
        poller.register(left, IN)
        assert poller.poll(0) == poller.poll(0) == []
    waited_in = greenzmq.Poller()
    waited_in.register(other, IN)
    task = hub.spawn(waited_in.poll, LONG)
    until(hub, lambda: polling_in(waited_in))
    right.send(b"message")
    with count_reads() as reads:
        tick(hub, task)
    assert reads == []
    assert not shares_descriptor(waited_in, descriptor(left))
    for poller in idlers:
        assert poller.poll(0) == poller.poll(LONG) == [(left, IN)]
    peer.send(b"message")
    goes_on(hub, task)
    assert left.recv() == b"message"
    for poller in idlers:
        assert poller.poll(0) == []
    task = hub.spawn(idlers[0].poll, LONG)
    tick(hub, task)
    right.send(b"message")
    goes_on(hub, task)


def test_a_signal_handler_in_the_midst_of_a_look(context, monkeypatch):
    """It runs right after a Poller has read ``EVENTS``, and takes the signal of what has come since: that is found.

    Seen to fail when an entry listened after it had read ``EVENTS``.
    """
    left, right = pair(context)
    poller = greenzmq.Poller()
    poller.register(left, IN)
    interrupted = []

    def handle(get, socket, option):
        events = get(socket, option)
        if option == zmq.EVENTS and not interrupted:
            interrupted.append(True)
            right.send(b"message")
            assert left.poll(0) == IN
        return events

    replace_get(monkeypatch, handle)
    assert poller.poll(LONG) == [(left, IN)]
    assert interrupted


def test_a_poller_for_each_poll_asks_the_kernel_nothing(context):
    """`zmq_poll` of sockets, without a wait: the thread's set need not be told of them, nor asked.

    Seen to fail when every Poller made a set in the kernel and put its sockets into it.
    """
    sockets = pair(context)
    kept = greenzmq.Poller()
    calls = []

    class Spy:
        def __getattr__(self, name):
            calls.append(name)
            raise AttributeError(name)

    with other_epoll(kept, lambda _: Spy()):
        for _ in range(3):
            assert greenzmq.zmq_poll([(socket, IN) for socket in sockets], 0) == []
    assert calls == []
    sockets[0].send(b"message")
    assert greenzmq.zmq_poll([(socket, IN) for socket in sockets]) == [(sockets[1], IN)]


def test_two_threads_poll_one_socket_by_turns(hub):
    """Two Pollers, each in a thread of its own, never at the same time: neither misses what the other has left.

    A socket is in the set of the thread that polled it last. Seen to fail when the other's Poller was not told of that.
    """
    context = greenzmq.Context()
    socket, peer = pair(context)
    here, there = greenzmq.Poller(), greenzmq.Poller()
    for poller in (here, there):
        poller.register(socket, IN)
    for _ in range(3):
        assert here.poll(1) == []
        assert hub.run_in_thread(there.poll, 1) == []
        peer.send(b"message")
        assert here.poll(0) == [(socket, IN)]
        socket.recv()
        assert here.poll(0) == []
    context.destroy(linger=0)


@pytest.mark.parametrize("many", [FEW, 3 * FEW])
def test_listeners_are_found_by_their_events(many):
    """Few or many, added, taken out and added again: those whom an event concerns, each of them once.

    Seen to fail when those that were there before they were many were not sorted.
    """
    made = [WaitingListener(number % 3 + 1, bool) for number in range(many)]
    listeners = Listeners()
    for listener in [*made, made[-1]]:
        listeners.add(listener)
    assert [listeners.discard(made[0]) for _ in range(2)] == [True, False]
    for events in (IN, OUT, IN | OUT, 0, -1):
        assert set(listeners.of(events)) == {each for each in made[1:] if each.events & events}
        assert len(listeners.of(events)) == len({*listeners.of(events)})
    listeners.clear()
    assert not listeners
    assert listeners.of(-1) == []
