"""No wake-up is lost where somebody polls: a signal that another call has taken reaches who polls, waiting or later.

Each test takes the signal of a message, or of room, behind the hub's back: between its arrival and the hub's next
look at its descriptors a second greenlet makes a call that processes commands (LIBZMQ_FD facts 6 to 8, 18 to 21).
These tests were seen to fail when `SocketState.listen` did nothing, when `SocketState.check_events` woke nobody, when
`Poller._mark_dirty` woke nobody, and when `bind` and its like did not look.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from itertools import product
from weakref import WeakKeyDictionary

import pytest
import zmq
from support.inside import has_waiters, listeners_of, polling_in
from support.interruptions import interrupted_callback
from support.invariants import idle
from support.polling import IN, LONG, OUT, Fds, goes_on, pair, polling, quiet
from support.sockets import address, open_context, parked, receives, sends, until
from support.waiters import await_signal, drain, fill_up, plain, signalled

import greenzmq

# --- who takes the signal ---------------------------------------------------------------------------------------------


def failing(function, *args, **kwargs):
    """A call that libzmq refuses, after it has processed commands."""
    with pytest.raises(zmq.ZMQError):
        function(*args, **kwargs)


def maybe(function, *args):
    """A call that may find nothing to do."""
    with suppress(zmq.Again):
        function(*args)


def register(*sockets):
    poller = greenzmq.Poller()
    for socket in sockets:
        poller.register(socket, IN | OUT)
    return poller


def monitor(socket):
    events = socket.get_monitor_socket()
    socket.disable_monitor()
    events.close()


RIVALS = {
    "get": lambda socket: socket.get(zmq.EVENTS),
    "getsockopt": lambda socket: socket.getsockopt(zmq.EVENTS),
    "EVENTS": lambda socket: socket.EVENTS,
    "events": lambda socket: socket.events,
    "bind inproc": lambda socket: socket.bind(address("inproc")),
    "bind tcp": lambda socket: socket.bind(address("tcp")),
    "bind in vain": lambda socket: failing(socket.bind, socket.last_endpoint),
    "bind nonsense": lambda socket: failing(socket.bind, "nonsense://"),
    "connect": lambda socket: socket.connect(address("inproc")),
    "connect nonsense": lambda socket: failing(socket.connect, "nonsense://"),
    "set": lambda socket: socket.set(zmq.LINGER, 0),
    "setsockopt": lambda socket: socket.setsockopt(zmq.RCVHWM, 4),
    "unbind": lambda socket: socket.unbind(socket.last_endpoint),
    "unbind unknown": lambda socket: failing(socket.unbind, address("inproc")),
    "disconnect": lambda socket: socket.disconnect(spare[socket]),
    "disconnect unknown": lambda socket: failing(socket.disconnect, address("inproc")),
    "Socket.poll(0)": lambda socket: socket.poll(0, IN | OUT),
    "Poller.poll(0)": lambda socket: register(socket).poll(0),
    "Poller.poll(0) of a plain one": lambda socket: register(plain(socket)).poll(0),
    "Poller.poll(0) of another": lambda socket: register(greenzmq.Socket(socket)).poll(0),
    "zmq_poll(0)": lambda socket: greenzmq.zmq_poll([(socket, IN)], 0),
    "select(0)": lambda socket: greenzmq.select([], [socket], [], 0),
    "get_monitor_socket": monitor,
    "disable_monitor": lambda socket: socket.disable_monitor(),
    "recv NOBLOCK": lambda socket: maybe(socket.recv, zmq.NOBLOCK),
    "recv_multipart NOBLOCK": lambda socket: maybe(socket.recv_multipart, zmq.NOBLOCK),
    "send NOBLOCK": lambda socket: maybe(socket.send, b"rival", zmq.NOBLOCK),
}
#: These wait if there is nothing to do.
PATIENT = {
    IN: {"recv": lambda socket: socket.recv(), "recv_into": lambda socket: socket.recv_into(bytearray(9))},
    OUT: {"send": lambda socket: socket.send(b"rival"), "send_multipart": lambda socket: socket.send_multipart([b"1"])},
}
#: Where each socket is connected to besides, so that it may be disconnected.
spare: WeakKeyDictionary[zmq.Socket, str] = WeakKeyDictionary()


def test_every_call_is_among_the_thieves():
    """Each method of Socket that is green, but for `close`, which lets nobody go on; no other takes signals.

    Those for pickle are pyzmq's own, made of `send` and `recv`, but for the question whether they are refused.
    """
    methods = {name for name, value in vars(greenzmq.Socket).items() if callable(value) and not name.startswith("_")}
    names = [*RIVALS, *PATIENT[IN], *PATIENT[OUT]]
    assert methods - {re.split(r"[ (]", name.removeprefix("Socket."))[0] for name in names} == {
        *("close", "recv_pyobj", "send_pyobj")
    }


class Pair:
    """Two connected sockets, and a signal for the one that is to come from the other."""

    def __init__(self, context, events):
        self.events = events
        self.socket, self.peer = pair(context, sndhwm=4, rcvhwm=4)
        self.spare = context.socket(zmq.DEALER)
        self.spare.sndhwm = self.spare.rcvhwm = 4
        spare[self.socket] = address("inproc")
        self.spare.bind(spare[self.socket])
        self.socket.connect(spare[self.socket])
        if events == OUT:  # for which all its peers have to be full
            fill_up(self.socket, [b"fill"])
        quiet(self.socket)

    def signal(self):
        """Two messages, or more room than for two, and one signal, which the hub has not seen."""
        if self.events == IN:
            self.peer.send(b"1")
            self.peer.send(b"2")
        else:
            assert len(drain(self.peer)) > 4
        await_signal(self.socket)

    def close(self):
        for socket in (self.socket, self.peer, self.spare):
            socket.close(linger=0)


def calls_of_rivals(context, events):
    """Each rival's name, a pair whose waiter it takes from, and its call."""
    for name, take in {**RIVALS, **PATIENT[events]}.items():
        made = Pair(context, events)
        yield name, made, partial(take, made.socket)
        made.close()


# --- who waits --------------------------------------------------------------------------------------------------------


def in_socket_poll(hub, context, files, made):
    return [parked(hub, listeners_of, made.socket.poll, None, made.events)]


def in_a_poller(hub, context, files, made):
    poller = greenzmq.Poller()
    poller.register(made.socket, made.events)
    return [polling(hub, poller)]


def in_a_poller_of_many(hub, context, files, made):
    """Among other sockets and files, two greenlets at once, where polls have found other things and other events."""
    poller = greenzmq.Poller()
    reader, writer = files.pipe()
    left, right = pair(context)
    for what, events in ((reader, IN), (left, IN), (made.socket, zmq.POLLERR), (right, IN)):
        poller.register(what, events)
    os.write(writer, b"data")
    right.send(b"message")
    assert poller.poll(0) == [(reader, IN), (left, IN)]
    os.read(reader, 10)
    left.recv()
    poller.modify(made.socket, made.events)
    return [polling(hub, poller), polling(hub, poller)]


def in_two_pollers(hub, context, files, made):
    return in_a_poller(hub, context, files, made) + in_a_poller(hub, context, files, made)


def of_a_plain_socket(hub, context, files, made):
    """pyzmq's own object for the same libzmq socket, on which the rivals use the green one."""
    poller = greenzmq.Poller()
    poller.register(plain(made.socket), made.events)
    return [polling(hub, poller)]


WAITERS = [in_socket_poll, in_a_poller, in_a_poller_of_many, in_two_pollers, of_a_plain_socket]


@pytest.mark.parametrize("events", [IN, OUT], ids=["in", "out"])
@pytest.mark.parametrize("waits", WAITERS)
def test_stolen_from_a_poll(hub, waits, events):
    """Whoever waits in a poll goes on within two rounds of the hub, whichever call took the signal.

    Not all take it: a monitor, or a `send` that libzmq lets pass without a look at its commands. Then the hub finds it.
    Seen to fail for a plain socket in a green Poller, which nobody told of what was done with the green one.
    """
    with open_context(hub) as context, Fds() as files:
        for name, made, take in calls_of_rivals(context, events):
            tasks = waits(hub, context, files, made)
            made.signal()
            take()
            goes_on(hub, *tasks, at_once=not signalled(made.socket), after=name)
            for task in tasks:
                found = task.get()
                assert found == made.events or found[0][1] == made.events, name
            del task, tasks, found
            idle(made.socket)


@pytest.mark.parametrize("waits", WAITERS)
def test_ended_during_a_poll(hub, waits):
    """Whoever meets the end of the context first, those who poll learn of it within two rounds of the hub."""
    for name in ("get", "recv NOBLOCK", "send NOBLOCK", "bind tcp", "Socket.poll(0)", "Poller.poll(0)", "zmq_poll(0)"):
        context = greenzmq.Context(hub=hub)
        with Fds() as files:
            made = Pair(context, IN)
            tasks = waits(hub, context, files, made)
            ending = hub.spawn(context.term)
            hub.hub.call_soon(await_signal, made.socket)  # blocks the hub till the other thread has sent the signal
            hub.hub.call_soon(meet_the_end, RIVALS[name], made.socket)
            until(hub, lambda tasks=tasks: all(task.done for task in tasks))
            for task in tasks:
                with pytest.raises(zmq.ContextTerminated):
                    task.get()
            for socket in list(context._sockets):
                socket.close()
            ending.get()
            assert not has_waiters(made.socket), name


def meet_the_end(take, socket):
    with pytest.raises(zmq.ContextTerminated):
        take(socket)


# --- the other way round ----------------------------------------------------------------------------------------------


def resting_poll(socket):
    """A Poller that has looked before: it asks only what has changed."""
    poller = register(socket)
    poller.register(socket, IN)
    poller.poll(0)
    return lambda: poller.poll(0)


LOOKS = {
    "Socket.poll(0)": lambda socket: lambda: socket.poll(0),
    "Socket.poll(0) for nothing": lambda socket: lambda: socket.poll(0, zmq.POLLERR),
    "Poller.poll(0)": lambda socket: register(socket).poll,
    "Poller.poll(0), at rest": resting_poll,
    "Poller.poll(0) of a plain one": lambda socket: lambda: register(plain(socket)).poll(0),
    "zmq_poll": lambda socket: lambda: greenzmq.zmq_poll([(socket, IN | OUT)], 0),
    "zmq_poll with time": lambda socket: lambda: greenzmq.zmq_poll([(socket, IN | OUT)], 10),
    "select": lambda socket: lambda: greenzmq.select([socket], [socket], [], 0),
}


@pytest.mark.parametrize("call", ["recv", "recv_multipart", "send", "send_multipart"])
def test_stolen_by_a_poll(hub, context, call):
    """Whoever waits in a recv or send goes on within two rounds of the hub after a poll that took its signal.

    Seen to fail for a plain socket in a green Poller, whose look nobody told to those who wait on the green one.
    """
    for name, looks in LOOKS.items():
        receiving = call.startswith("recv")
        made = Pair(context, IN if receiving else OUT)
        look = looks(made.socket)
        function = getattr(made.socket, call)
        argument = () if receiving else (b"message",) if call == "send" else ([b"message"],)
        task = parked(hub, receives if receiving else sends, function, *argument)
        made.signal()
        look()
        goes_on(hub, task, at_once=True, after=name)
        task.get()
        made.close()


# --- between two polls ------------------------------------------------------------------------------------------------


def test_stolen_between_two_polls(context):
    """A socket at rest got two messages under one signal, others took the signal, and one message perhaps.

    The next poll reports what is left, and the one after that, and nothing once that is gone.
    """
    for name, made, take in calls_of_rivals(context, IN):
        pollers = [greenzmq.Poller(), greenzmq.Poller()]
        for poller in pollers:
            poller.register(made.socket, IN)
            assert poller.poll(0) == poller.poll(0) == []
        made.signal()
        take()
        for poller in pollers * 2:
            assert poller.poll(0) == poller.poll(LONG) == [(made.socket, IN)], name
        drain(made.socket)
        for poller in pollers * 2:
            assert poller.poll(0) == [], name


CHEAP = ["get", "bind in vain", "unbind unknown", "Socket.poll(0)", "Poller.poll(0)", "recv NOBLOCK", "send NOBLOCK"]


def test_stolen_twice_between_two_polls(context):
    """As above, with every two rivals, the second message arriving before, between or after their calls."""
    made = Pair(context, IN)
    poller = greenzmq.Poller()
    poller.register(made.socket, IN)
    for late, first, second in product(range(3), CHEAP, CHEAP):
        assert poller.poll(0) == poller.poll(0) == []
        made.peer.send(b"0")
        for moment, name in enumerate((first, second, "")):
            if moment == late:
                made.peer.send(b"1")
            if name:
                RIVALS[name](made.socket)
        # Two receivers leave nothing, unless there was one message only when both of them came.
        left = (first, second) != ("recv NOBLOCK",) * 2 or late == 2
        assert poller.poll(0) == [(made.socket, IN)] * left, (late, first, second)
        drain(made.socket)
        drain(made.spare)
        drain(made.peer)


def test_a_registration_between_signal_and_poll(context):
    """Registered, modified or unregistered and registered again after the signal came and was taken: reported."""
    for change in (
        lambda poller, socket: poller.register(socket, IN),
        lambda poller, socket: poller.modify(socket, IN | zmq.POLLERR),
        lambda poller, socket: (poller.unregister(socket), poller.register(socket, IN)),
        lambda poller, socket: (poller.modify(socket, zmq.POLLERR), poller.poll(0), poller.modify(socket, IN)),
    ):
        made = Pair(context, IN)
        poller = greenzmq.Poller()
        poller.register(made.socket, IN)
        assert poller.poll(0) == []
        made.signal()
        made.socket.get(zmq.EVENTS)
        change(poller, made.socket)
        assert poller.poll(0) == poller.poll(LONG) == [(made.socket, IN)]
        made.close()


# --- readiness without any signal -------------------------------------------------------------------------------------


def test_ready_without_a_signal(hub, context):
    """`bind` to an address a peer has sent to, `connect`, a REP's and a REQ's own calls: polls hear of each."""
    where = address("inproc")
    peer = context.socket(zmq.DEALER)
    peer.connect(where)
    peer.send(b"early")
    socket = context.socket(zmq.DEALER)
    poller = greenzmq.Poller()
    poller.register(socket, IN)
    task = polling(hub, poller)
    socket.bind(where)
    goes_on(hub, task, at_once=True)
    late = context.socket(zmq.DEALER)
    tasks = [parked(hub, listeners_of, late.poll, None, OUT)]
    late.connect(where)
    goes_on(hub, *tasks, at_once=True)
    rep, req = context.socket(zmq.REP), context.socket(zmq.REQ)
    rep.bind(address("inproc"))
    req.connect(rep.last_endpoint)
    poller = greenzmq.Poller()
    poller.register(rep, OUT)
    req.send(b"question")
    assert poller.poll(0) == []
    task = polling(hub, poller)
    assert rep.recv() == b"question"
    goes_on(hub, task, at_once=True)
    assert poller.poll(0) == [(rep, OUT)]


def test_an_option_makes_it_ready(hub, context):
    """REQ_RELAXED lets a REQ send again at once, without any signal: whoever polls for that goes on."""
    rep, req = context.socket(zmq.REP), context.socket(zmq.REQ)
    rep.bind(address("inproc"))
    req.connect(rep.last_endpoint)
    poller = greenzmq.Poller()
    poller.register(req, OUT)
    assert poller.poll(0) == [(req, OUT)]
    req.send(b"question")
    assert poller.poll(0) == []
    task = polling(hub, poller)
    req.set(zmq.REQ_RELAXED, 1)
    goes_on(hub, task, at_once=True)


def test_a_poll_for_no_event_does_not_wait(hub, context):
    """Socket.poll with no flags answers 0 at once, as pyzmq's does."""
    socket, _ = pair(context)
    assert plain(socket).poll(None, 0) == 0
    task = hub.spawn(socket.poll, None, 0)
    for _ in range(3):
        hub.sleep()
    done = task.done
    task.kill()
    assert done
    assert task.get() == 0


@pytest.mark.runtime("gevent", "eventlet", "selector", "asyncio")
def test_a_callback_that_is_interrupted(hub, context, push_pull, monkeypatch):
    """A signal handler raises in the watch's callback after that has chosen whom to switch to: it is woken."""
    push, pull = push_pull
    poller, before = greenzmq.Poller(), context.socket(zmq.PULL)
    for socket in (pull, before):
        poller.register(socket, IN)
    task = hub.spawn(poller.poll)
    until(hub, lambda: polling_in(poller))
    push.send(b"message")
    await_signal(pull)
    interrupted_callback(monkeypatch, poller, hub.hub)
    assert task.get(LONG / 1000) == [(pull, IN)]
