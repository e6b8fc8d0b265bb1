"""What ends a poll, what a Poller leaves behind, and the threads and hubs it may be used in."""

from __future__ import annotations

import asyncio
import gc
import importlib
import weakref

import pytest
import zmq
from support.asyncio import loop_name, run_on
from support.hub_thread import new_descriptors, open_descriptors
from support.inside import has_waiters, links_of, parked_on
from support.invariants import idle
from support.polling import IN, LONG, Fds, goes_on, nobody_polls, pair, polling
from support.sockets import address, open_context, parked, tick, until
from support.waiters import await_signal

import greenzmq.asyncio
from greenzmq.asyncio import run

__all__ = ["loop_name"]

# --- the end of sockets and contexts ----------------------------------------------------------------------------------


def raises_enotsock(poll, *args):
    with pytest.raises(zmq.ZMQError) as caught:
        poll(*args)
    assert caught.value.errno == zmq.ENOTSOCK


@pytest.mark.parametrize("kind", ["green", "plain"])
def test_closed_before_the_poll(hub, context, kind):
    """A closed socket is ENOTSOCK at each poll until it is unregistered (pyzmq polls standard input in its place)."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    maker = context if kind == "green" else zmq.Context.shadow(context)
    for polled_before in (False, True):
        closed = maker.socket(zmq.PULL)
        poller.register(closed, IN)
        if polled_before:
            assert poller.poll(0) == []
        closed.close()
        for timeout in (0, 10, LONG):
            raises_enotsock(poller.poll, timeout)
        poller.unregister(closed)
        assert poller.poll(0) == []
    task = polling(hub, poller)
    peer.send(b"message")
    goes_on(hub, task)
    assert task.get() == [(socket, IN)]


def test_closed_during_the_poll(hub, context):
    """All who wait get ENOTSOCK when one of the sockets is closed; later another socket gets its number."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for _ in range(5):
        closed = context.socket(zmq.PULL)
        poller.register(closed, IN)
        tasks = [polling(hub, poller), polling(hub, poller)]
        closed.close()
        for task in tasks:
            goes_on(hub, task)
            raises_enotsock(task.get)
        poller.unregister(closed)
    task = polling(hub, poller)
    peer.send(b"message")
    goes_on(hub, task)


def test_a_context_that_ends(hub):
    """term() in another greenlet: every poll, waiting, later, in Poller and in Socket, is ContextTerminated."""
    context = greenzmq.Context(hub=hub)
    socket, peer = pair(context)
    lazy = context.socket(zmq.PULL)
    poller = greenzmq.Poller()
    for registered in (lazy, socket):
        poller.register(registered, IN)
    tasks = [polling(hub, poller), polling(hub, poller)]
    tasks.append(parked(hub, parked_on, socket.poll))
    ending = hub.spawn(context.term)
    until(hub, lambda: all(task.done for task in tasks))
    for task in tasks:
        with pytest.raises(zmq.ContextTerminated):
            task.get()
    for timeout in (0, 10, LONG):
        with pytest.raises(zmq.ContextTerminated):
            poller.poll(timeout)
    for closed in (socket, peer, lazy):
        closed.close()
    ending.get()
    raises_enotsock(poller.poll)


# --- what is left -----------------------------------------------------------------------------------------------------


def test_a_dropped_poller_leaves_nothing(context):
    """Dropped without unregister, without a collection: its sockets are free of it, and no descriptor was its own."""
    sockets = [*pair(context), *pair(context)]
    greenzmq.zmq_poll([(socket, IN) for socket in sockets], 1)  # the thread's set is there from now on
    before = open_descriptors()
    for _ in range(3):
        poller = greenzmq.Poller()
        for socket in sockets:
            poller.register(socket, IN)
        assert poller.poll(0) == poller.poll(1) == []
        assert all(has_waiters(socket) for socket in sockets)
        reference = weakref.ref(poller)
        del poller
        assert reference() is None
        idle(*sockets)
    assert not new_descriptors(before)


@pytest.mark.cooperative("a socket of several threads keeps none of their sets")
def test_the_descriptor_of_all_pollers(hub):
    """A thread's Pollers have one descriptor in common. It is closed with the last of them and of their sockets.

    Seen to fail when each Poller had one of its own.
    """
    before = open_descriptors()
    with open_context(hub) as context, Fds() as files:
        sockets, reader = pair(context), files.pipe()[0]
        opened = open_descriptors()
        pollers = [greenzmq.Poller() for _ in range(10)]
        for poller in pollers:
            for what in (*sockets, reader):
                poller.register(what, IN)
            assert poller.poll(1) == []
        assert len(open_descriptors()) == len(opened) + 1
        del poller, pollers
        assert greenzmq.zmq_poll([(reader, IN)], 1) == []
        assert len(open_descriptors()) == len(opened) + 1
    assert not new_descriptors(before)


def test_close(hub):
    """All is unregistered, at once; greenlets that wait get an empty list. Then it may begin anew."""
    with open_context(hub) as context, Fds() as files:
        socket, peer = pair(context)
        event, reader = greenzmq.GreenEvent(), files.pipe()[0]
        others = greenzmq.Poller()  # with which it shares its descriptor
        before = open_descriptors()
        with greenzmq.Poller() as poller:
            for _ in range(2):
                for what in (socket, event, reader):
                    poller.register(what, IN)
                tasks = [polling(hub, poller), polling(hub, poller)]
                poller.close()
                poller.close()
                assert not new_descriptors(before)
                assert poller.sockets == poller.poll() == []
                goes_on(hub, *tasks)
                assert [task.get() for task in tasks] == [[], []]
                idle(socket, peer)
                assert links_of(event) == 0
            poller.register(socket, IN)
            task = polling(hub, poller)
            peer.send(b"message")
            goes_on(hub, task)
            assert poller.poll(0) == task.get() == [(socket, IN)]
        assert not new_descriptors(before)
        assert others.poll() == []


def test_closed_between_its_wake_up_and_its_look(hub, context):
    """A greenlet that was woken finds the Poller closed and used anew, and waits for what is registered now."""
    first, peer = pair(context)
    second, other = pair(context)
    poller = greenzmq.Poller()
    poller.register(first, IN)
    task = polling(hub, poller)
    peer.send(b"message")
    await_signal(first)
    first.poll(0)  # which wakes it
    poller.close()
    poller.register(second, IN)
    tick(hub, task)
    other.send(b"message")
    goes_on(hub, task)
    assert task.get() == [(second, IN)]


def test_nothing_needs_the_garbage_collector(hub):
    """What a Poller, zmq_poll and select have to do with a socket is gone with the last reference to it."""
    with open_context(hub) as context:
        gc.disable()
        try:
            socket = context.socket(zmq.PULL)
            reference = weakref.ref(socket)
            poller = greenzmq.Poller()
            poller.register(socket, IN)
            assert poller.poll(0) == []
            poller.modify(socket, IN | zmq.POLLERR)
            poller.unregister(socket)
            assert greenzmq.zmq_poll([(socket, IN)], 0) == []
            assert greenzmq.select([socket], [], [], 0.001) == ([], [], [])
            socket.close()
            del socket
            assert reference() is None
        finally:
            gc.enable()


def test_a_poller_keeps_what_is_registered_and_nothing_else(hub):
    """A socket that is unregistered, or whose Poller is dropped, can be collected; one that is registered is kept."""
    with open_context(hub) as context:
        poller = greenzmq.Poller()
        socket, peer = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        socket.bind(address("inproc"))
        peer.connect(socket.last_endpoint)
        poller.register(socket, IN)
        assert poller.poll(0) == []
        reference = weakref.ref(socket)
        del socket
        gc.collect()
        peer.send(b"message")
        ((socket, _),) = poller.poll(LONG)
        poller.unregister(socket)
        assert poller.poll(0) == []
        with pytest.warns(ResourceWarning):  # noqa: PT031
            del socket
            gc.collect()
        assert reference() is None


def give_up(hub, poll):
    """End a wait, by time and by a kill, in the ways of the runtime itself."""
    if hub.name not in ("gevent", "eventlet"):
        with hub.timeout(0.005, False):
            poll()
        return
    runtime = importlib.import_module(hub.name)
    with runtime.Timeout(0.005, False):
        poll()
    killed = runtime.spawn(poll)
    until(hub, lambda: any(waiter.greenlet is killed for waiter in greenzmq.waiters()))
    killed.kill()


def test_ended_in_the_ways_of_the_runtime(hub, context):
    """Who polls is killed or out of time: nothing is left of the poll, and the next one finds the message."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for poll in polls(poller, socket):
        give_up(hub, poll)
        nothing_is_left(poller, socket)
        peer.send(b"message")
        assert [bool(poll()) for poll in polls(poller, socket)] == [True] * 4
        assert socket.recv() == b"message"
    poller.close()
    idle(socket)


def polls(poller, socket):
    """All ways to poll."""
    items = [(socket, IN)]
    return poller.poll, socket.poll, lambda: greenzmq.zmq_poll(items), lambda: greenzmq.select([socket], [], [])[0]


def nothing_is_left(poller, socket):
    assert poller.poll(0) == []
    nobody_polls(poller)
    assert not parked_on(socket)


def test_a_cancelled_poll(loop_name):
    """Awaited, and cancelled or out of time: likewise."""

    async def main():
        context = greenzmq.asyncio.Context()
        socket, peer = pair(context)
        poller = greenzmq.Poller()
        poller.register(socket, IN)
        for poll in polls(poller, socket):
            call = asyncio.ensure_future(run(poll))
            while not any(waiter.hub is greenzmq.asyncio.hub().hub for waiter in greenzmq.waiters()):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(run(poll), 0.005)
            nothing_is_left(poller, socket)
            peer.send(b"message", zmq.NOBLOCK)
            assert [bool(await run(poll)) for poll in polls(poller, socket)] == [True] * 4
            assert socket.recv(zmq.NOBLOCK) == b"message"
        await run(context.destroy, 0)

    run_on(loop_name, main())


# --- threads and hubs -------------------------------------------------------------------------------------------------


def polls_elsewhere(poller, timeout):
    """In a native thread of its own, in a greenlet of another hub."""
    return greenzmq.hub("selector").run(poller.poll, timeout)


def test_a_poller_moves_to_another_thread(hub):
    """While nobody waits in it a Poller, with its sockets, may be used in another thread and come back."""
    context = greenzmq.Context()
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for _ in range(2):
        assert poller.poll(1) == []
        assert hub.run_in_thread(polls_elsewhere, poller, 10) == []
        task = polling(hub, poller)
        peer.send(b"message")
        goes_on(hub, task)
        assert hub.run_in_thread(polls_elsewhere, poller, LONG) == [(socket, IN)]
        socket.recv()
    context.destroy(linger=0)


def test_two_hubs_in_one_poller_are_an_error(hub):
    """The second to wait is told, by name; the first waits on undisturbed."""
    context = greenzmq.Context()
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    task = polling(hub, poller)
    with pytest.raises(greenzmq.WrongHubError, match=r"SelectorHub.*thread") as caught:
        hub.run_in_thread(polls_elsewhere, poller, LONG)
    assert repr(hub.hub) in str(caught.value)
    tick(hub, task)
    peer.send(b"message")
    goes_on(hub, task)
    assert task.get() == [(socket, IN)]
    context.destroy(linger=0)


def test_the_hubs_own_greenlet_looks_but_does_not_wait(hub, context):
    """In a callback, poll(0) answers, and so does a poll that finds something; one that would wait is an error."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    answers = []

    def look(timeout):
        try:
            answers.append(poller.poll(timeout))
        except greenzmq.BlockingCallError:
            answers.append("would block")

    for timeout in (0, 10, LONG):
        hub.hub.call_soon(look, timeout)
    until(hub, lambda: len(answers) == 3)
    assert answers == [[], "would block", "would block"]
    peer.send(b"message")
    hub.hub.call_soon(look, LONG)
    until(hub, lambda: len(answers) == 4)
    assert answers[3] == [(socket, IN)]
