"""The Poller on every hub: registration, results, waiting, what ends a wait. pyzmq's own Poller says what is right."""

from __future__ import annotations

import time
from time import monotonic as now

import pytest
import zmq
from support.inside import end_turn, listeners_of, parked_on, replace_waiter
from support.invariants import idle
from support.polling import IN, LONG, OUT, Fds, goes_on, nobody_polls, pair, polling, pyzmq_poll, quiet
from support.sockets import connected, fill, never_switches, open_context, parked, receives, tick, until
from support.waiters import TURNS, await_signal, plain

import greenzmq
from greenzmq.waiting.waiter import Waiter

# --- registration -----------------------------------------------------------------------------------------------------


def test_registration_is_pyzmqs():
    """The same calls leave the same sockets, flags, order and answers to `in` in our Poller and in pyzmq's."""
    calls = [
        ("register", 3, IN),
        ("register", 4),
        ("register", 5, OUT),
        ("register", 6, 0),  # unknown, and with no event: ignored
        ("register", 3, IN | OUT),  # keeps its place
        ("modify", 4, zmq.PollEvent.POLLIN),
        ("modify", 7, OUT),  # registers
        ("register", 5, 0),  # unregisters
        ("unregister", 3),
        ("register", 3),  # goes to the end
        ("modify", 4, 0),
    ]
    ours, theirs = greenzmq.Poller(), zmq.Poller()
    assert isinstance(ours, zmq.Poller)
    for name, *args in calls:
        assert getattr(ours, name)(*args) == getattr(theirs, name)(*args)
        assert ours.sockets == theirs.sockets
        assert [fd in ours for fd in range(9)] == [fd in theirs for fd in range(9)]
    for unknown in (4, "never seen"):
        for poller in (ours, theirs):
            with pytest.raises(KeyError):
                poller.unregister(unknown)


def test_what_cannot_be_polled_is_pyzmqs_error_at_the_poll(hub):
    """Neither socket nor descriptor, a fileno() that raises, no hashing: error and time of error are pyzmq's."""

    class Broken:
        def fileno(self):
            return "no number"

    for what, error in ((object(), TypeError), (Broken(), ValueError), (None, TypeError)):
        for poller in (greenzmq.Poller(), zmq.Poller()):
            poller.register(what, IN)
            assert what in poller
            for timeout in (0, 10, LONG):
                with pytest.raises(error):
                    poller.poll(timeout)
            poller.unregister(what)
            assert poller.poll(0) == []
    for poller in (greenzmq.Poller(), zmq.Poller()):
        with pytest.raises(TypeError):
            poller.register([], IN)


def test_a_hub_is_named_as_for_a_context(hub):
    """`hub=` takes a name, a class, a Hub and a GreenHub; a wrong name is an error at once."""
    with open_context(hub) as context:
        socket, peer = pair(context)
        peer.send(b"message")
        for choice in (hub.name, type(hub.hub), hub.hub, hub, None):
            poller = greenzmq.Poller(hub=choice)
            poller.register(socket, IN)
            assert poller.poll(LONG) == [(socket, IN)]
    with pytest.raises(greenzmq.UnknownHubError):
        greenzmq.Poller(hub="nonsense")


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_and_their_order_are_pyzmqs(hub):
    """Green, plain and shadowing sockets, numbers and objects with a fileno(): all, in the order of registration."""
    with open_context(hub) as context, Fds() as files:
        left, right = pair(context)
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        silent, _ = connected(context, zmq.PULL, zmq.PUSH)
        reader, writer = files.pipe()
        ours, theirs = files.socketpair()
        right.send(b"message")
        push.send(b"message")
        theirs.send(b"bytes")
        registered = [(ours, IN | OUT), (silent, IN), (left, IN | OUT), (writer, OUT), (plain(pull), IN | OUT)]
        registered += [(reader, IN), (zmq.Socket(left), IN), (greenzmq.Socket(left), OUT), (push, OUT), (right, IN)]
        poller = greenzmq.Poller()
        for what, events in registered:
            poller.register(what, events)
        expected = [(ours.fileno(), IN | OUT), (left, IN | OUT), (writer, OUT), (registered[4][0], IN)]
        expected += [(registered[6][0], IN), (registered[7][0], OUT), (push, OUT)]
        for timeout in (0, None, 50, 0):
            assert poller.poll(timeout) == expected
        assert pyzmq_poll(*registered) == expected


def test_what_was_reported_is_reported_again_while_it_lasts(hub, context):
    """To be ready is a level: reported by every poll until somebody receives, whoever that is."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for message in (b"1", b"2", b"3"):
        peer.send(message)
    for receive in (socket.recv, lambda: hub.run(socket.recv), lambda: plain(socket).recv()):
        assert poller.poll(0) == poller.poll(0) == poller.poll(LONG) == [(socket, IN)]
        receive()
    assert poller.poll(0) == []


def test_a_plain_socket_waits_and_is_reported(hub, context):
    """A socket of pyzmq's own in a green Poller: waited for, and right again after plain operations between polls."""
    green, peer = pair(context)
    socket = plain(green)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for _ in range(3):
        task = polling(hub, poller)
        peer.send(b"1")
        peer.send(b"2")
        goes_on(hub, task)
        assert task.get() == [(socket, IN)]
        assert socket.recv(zmq.NOBLOCK) == b"1"
        assert poller.poll(0) == [(socket, IN)]
        assert socket.recv(zmq.NOBLOCK) == b"2"
        assert poller.poll(0) == []


# --- time -------------------------------------------------------------------------------------------------------------


def test_no_time_only_looks(context):
    """Less than a millisecond is none, as in pyzmq: the poll never switches."""
    socket, _ = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    with never_switches():
        for timeout in (0, 0.0, 0.9, False):
            assert poller.poll(timeout) == []
            assert socket.poll(timeout) == 0


def test_time_that_is_over(hub, context):
    """Some milliseconds end with nothing, and the hub has gone round meanwhile."""
    socket, _ = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for timeout in (1, 1.5, 20, True):
        for poll, nothing in ((poller.poll, []), (socket.poll, 0)):
            other = hub.spawn(lambda: None)
            assert poll(timeout) == nothing
            assert other.done or hub.hub.runs_threads  # a thread may begin later
            other.get()
    poller.unregister(socket)
    idle(socket)


def test_time_counts_from_the_call(hub, monkeypatch):
    """What the others take of it, in their turn before this greenlet's, is not waited for once more."""
    limits = []

    class Spy(Waiter):
        def __init__(self, on, timeout=None, since=None, reason=None):
            limits.append(timeout + (since or now()) - now())
            super().__init__(on, timeout, since, reason)

    replace_waiter(monkeypatch, Spy)
    with open_context(hub) as context:
        socket, _ = pair(context)
        poller = greenzmq.Poller()
        poller.register(socket, IN)
        for poll in (poller.poll, socket.poll, lambda milliseconds: greenzmq.zmq_poll([(socket, IN)], milliseconds)):
            end_turn(poller)
            end_turn(socket)
            hub.hub.call_soon(time.sleep, 0.02)
            assert not poll(15)
    assert len(limits) == 3
    assert max(limits) <= 0


def test_no_end_of_time(hub, context):
    """None and whatever is negative wait until something happens."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for timeout in (None, -1, -0.5, -1000, 60_000):
        for poll in (poller.poll, socket.poll):
            task = hub.spawn(poll, timeout)
            until(hub, lambda: listeners_of(socket))
            tick(hub, task)
            peer.send(b"message")
            goes_on(hub, task)
            assert task.get() in ([(socket, IN)], IN)
            socket.recv()
            quiet(socket)


def test_an_empty_poller_does_not_wait(hub):
    """As in pyzmq: with nothing registered, every poll returns at once."""
    for timeout in (None, -1, 0, 10_000):
        assert greenzmq.Poller().poll(timeout) == zmq.Poller().poll(timeout) == []


def test_odd_times(hub, context):
    """What pyzmq refuses to take for a time is refused, with its errors; what is only too long for it is waited for."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    theirs = zmq.Poller()
    theirs.register(plain(socket), IN)
    for timeout, error in ((float("inf"), OverflowError), (float("nan"), ValueError), ("1", TypeError)):
        for poll in (poller.poll, theirs.poll, socket.poll, plain(socket).poll):
            with pytest.raises(error):
                poll(timeout)
    for wrong, error in ((float("nan"), ValueError), ("1", TypeError)):
        for select in (greenzmq.select, zmq.select):
            with pytest.raises(error):
                select([plain(socket)], [], [], wrong)
    tasks = []
    for timeout in (2**31 - 1, 2**31, 2**40, 1e18, float("-inf"), -(2**70)):
        tasks.append(polling(hub, poller, timeout))
        tasks.append(parked(hub, parked_on, socket.poll, timeout))
    tick(hub, *tasks)
    peer.send(b"message")
    goes_on(hub, *tasks)


def test_a_loop_of_polls_leaves_the_others_their_turn(hub, context):
    """A greenlet that polls what is always ready, for ever, does not keep the hub from going round."""
    socket, _ = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, OUT)

    def loop():
        while True:
            assert poller.poll(LONG) == [(socket, OUT)]

    task = hub.spawn(loop)
    tick(hub, task)
    task.kill()


# --- several greenlets ------------------------------------------------------------------------------------------------


def test_many_greenlets_poll_one_socket(hub, context):
    """In one Poller, in Pollers of their own, in Socket.poll: one message lets all of them go on."""
    socket, peer = pair(context)
    shared = greenzmq.Poller()
    shared.register(socket, IN)
    pollers = [shared, shared, shared]
    for _ in range(3):
        pollers.append(greenzmq.Poller())
        pollers[-1].register(socket, IN)
    tasks = [polling(hub, poller) for poller in pollers]
    single = [parked(hub, listeners_of, socket.poll) for _ in range(3)]
    peer.send(b"message")
    for task in tasks + single:
        goes_on(hub, task)
    assert [task.get() for task in tasks] == [[(socket, IN)]] * 6
    assert [task.get() for task in single] == [IN] * 3


def test_polled_while_others_receive(hub, context):
    """Receivers in the queue get their messages; whoever polls hears of the one that is left over."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    for left_over in range(4):
        receivers = [parked(hub, receives, socket.recv) for _ in range(3)]
        waiting = polling(hub, poller)
        for n in range(3):
            peer.send(b"%d" % n)
        for task in receivers:
            goes_on(hub, task)
        assert [task.get() for task in receivers] == [b"0", b"1", b"2"]
        if not waiting.done:
            peer.send(b"left %d" % left_over)
            goes_on(hub, waiting)
            assert waiting.get() == [(socket, IN)]
            assert socket.recv(zmq.NOBLOCK) == b"left %d" % left_over


def test_registered_while_others_wait(hub, context):
    """Whoever waits hears of a socket that is registered meanwhile, ready already or later, and of other events."""
    first, _ = pair(context)
    second, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(first, IN)
    task = polling(hub, poller)
    poller.register(second, IN)
    tick(hub, task)
    peer.send(b"message")
    goes_on(hub, task)
    assert task.get() == [(second, IN)]
    poller.unregister(second)
    task = polling(hub, poller)
    poller.register(second, IN)
    goes_on(hub, task)
    assert task.get() == [(second, IN)]
    poller.unregister(second)
    task = polling(hub, poller)
    poller.modify(first, OUT)
    goes_on(hub, task)
    assert task.get() == [(first, OUT)]


def test_unregistered_while_others_wait(hub, context):
    """Whoever waits hears no more of it; with nothing left the poll ends as an empty poller's. That failed once."""
    first, peer = pair(context)
    second, other = pair(context)
    poller = greenzmq.Poller()
    poller.register(first, IN)
    poller.register(second, IN)
    tasks = [polling(hub, poller), polling(hub, poller)]
    poller.unregister(first)
    peer.send(b"not heard")
    tick(hub, *tasks)
    other.send(b"heard")
    for task in tasks:
        goes_on(hub, task)
        assert task.get() == [(second, IN)]
    second.recv()
    task = polling(hub, poller)
    poller.unregister(second)
    goes_on(hub, task)
    assert task.get() == []
    idle(first, second)


def test_killed_and_timed_out_while_waiting(hub, context):
    """What is thrown into a poll comes out as it is; the others wait on, and nothing is left behind at the end."""
    socket, peer = pair(context)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    tasks = [polling(hub, poller) for _ in range(3)]
    tasks[0].kill()
    tasks[1].kill(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        tasks[1].get()
    with pytest.raises(greenzmq.Timeout), hub.timeout(0.01):
        poller.poll()
    tick(hub, tasks[2])
    peer.send(b"message")
    # Killed after it was woken, before it looked: whoever polls next finds the message.
    await_signal(socket)
    poller.poll(0)
    tasks[2].kill()
    assert poller.poll(0) == poller.poll(LONG) == [(socket, IN)]
    poller.unregister(socket)
    idle(socket)
    nobody_polls(poller)


def test_room_is_reported_and_waited_for(hub, context):
    """POLLOUT against a full high-water mark: not reported, waited for, and reported once the peer has read."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=2, rcvhwm=2)
    fill(push)
    quiet(pull)
    poller = greenzmq.Poller()
    poller.register(push, OUT)
    poller.register(pull, OUT)
    assert poller.poll(0) == []
    task = polling(hub, poller)
    while not task.done and pull.poll(0):
        pull.recv()
        for _ in range(TURNS):
            hub.sleep()
    assert task.get() == [(push, OUT)]
