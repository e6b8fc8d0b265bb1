"""What a call costs, counted: switches, looks at EVENTS, waiters, rounds of the hub; and the length of a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from greenlet import getcurrent, greenlet
from support.inside import (
    every_call_yields,
    keep_turn,
    parked_on,
    receivers_of,
    replace_get,
    replace_waiter,
    replace_yield,
)
from support.invariants import idle
from support.rounds import count_rounds
from support.schedules import Disturbance
from support.sockets import connected, count_switches, never_switches, open_context, receives, until
from support.waiters import BIG, drain, fill_up, plain, waiting_receiver, waiting_sender

import greenzmq
from greenzmq.sockets.directions import Direction, Receiving, Sending, whom_to_wake
from greenzmq.sockets.fairness import FAST_CALLS
from greenzmq.sockets.messages import PartialMessage
from greenzmq.sockets.spurious import SpuriousReadiness
from greenzmq.waiting.waiter import Waiter

TRIPS = 200


class Spies:
    """The options that were read, and the waiters that were made, by `greenzmq.sockets.operations` since it was
    made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[int] = []
        self.made: list[Any] = []
        replace_get(monkeypatch, self._get)
        replace_waiter(monkeypatch, self._make)

    def _get(self, get: Callable[..., int], socket: Any, option: int) -> int:
        self.read.append(option)
        return get(socket, option)

    def _make(self, *args: Any) -> Waiter:
        self.made.append(Waiter(*args))
        return self.made[-1]

    @property
    def looks(self) -> int:
        """How often EVENTS was read."""
        return self.read.count(zmq.EVENTS)


@pytest.fixture
def spies(monkeypatch):
    return Spies(monkeypatch)


def fresh_turn(*sockets: greenzmq.Socket) -> None:
    """No turn of these sockets ends during this test."""
    for socket in sockets:
        keep_turn(socket)


# -- the fast path ----------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, tuple[Callable[[greenzmq.Socket], object], Callable[[greenzmq.Socket], object]]] = {
    "part": (lambda s: s.send(b"m"), lambda s: s.recv()),
    "no-copy": (lambda s: s.send(b"m", copy=False), lambda s: s.recv(copy=False)),
    "multipart": (lambda s: s.send_multipart([b"m", b"n"]), lambda s: s.recv_multipart()),
    "string": (lambda s: s.send_string("m"), lambda s: s.recv_string()),
    "noblock": (lambda s: s.send(b"m", zmq.NOBLOCK), lambda s: s.recv(zmq.NOBLOCK)),
    "into": (lambda s: s.send(b"m"), lambda s: s.recv_into(bytearray(1))),
    "parts": (lambda s: (s.send(b"m", zmq.SNDMORE), s.send(b"n")), lambda s: (s.recv(), s.recv())),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_fast_path_is_free(hub, operation, spies):
    """With nobody waiting and a message, or room, at hand a call switches to nobody, reads no option and makes no
    waiter, however many calls there are.

    Seen to fail with a look at EVENTS after each call, and with a waiter made before the first attempt.
    """
    send, receive = OPERATIONS[operation]
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=0, rcvhwm=0)
        fresh_turn(pull, push)
        with never_switches():
            for _ in range(3 * FAST_CALLS):
                send(push)
            for _ in range(3 * FAST_CALLS):
                receive(pull)
        assert (spies.read, spies.made) == ([], [])
        idle(pull, push)


def test_poll_of_a_ready_socket_does_not_switch(push_pull, spies):
    """`poll` of what is ready, or with a timeout of 0, reads EVENTS once, switches to nobody and makes no waiter."""
    push, pull = push_pull
    fresh_turn(pull, push)
    with never_switches():
        assert pull.poll(0) == 0
        assert push.poll(1000, zmq.POLLOUT) == zmq.POLLOUT
    assert (spies.looks, spies.made) == (2, [])


def test_round_trip(hub, pair, spies):
    """A question and an answer cost four switches and two looks at EVENTS.

    Each of the two greenlets waits once in a round trip: it goes to the hub and comes back, two switches; and the hub
    must look at EVENTS once for each signal, or it cannot know that there is a message. A receiver whose last recv had
    to wait looks once before it parks: that costs half of the EAGAIN it would meet otherwise. Nothing else is needed:
    when it has its message and nobody else waits nobody needs a look.
    """
    one, other = pair

    def echo() -> None:
        for _ in range(TRIPS + 1):
            other.send(other.recv())

    task = hub.spawn(echo)
    until(hub, lambda: receives(other))
    one.send(b"warm up")
    one.recv()
    until(hub, lambda: receives(other))
    fresh_turn(one, other)
    before = spies.looks
    with count_switches() as switches:
        for _ in range(TRIPS):
            one.send(b"ping")
            one.recv()
    assert spies.looks - before <= 2 * TRIPS
    assert len(switches) <= 4 * TRIPS
    assert task.join(5)


# -- idle -------------------------------------------------------------------------------------------------------------


#: Rounds that a hub may make of its own accord while it sleeps once: the sleep itself and what its timer needs.
A_FEW = 12


def test_idle_is_idle(hub, context):
    """While greenlets wait, each kind on a socket of its own, and nothing comes the hub sleeps: its rounds in a long
    spell are few.

    Seen to fail when a watch fired and nobody read EVENTS.
    """
    pairs = []
    for who in ("receiver", "sender", "both", "poller", "after a false signal"):
        socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
        tasks = []
        if who != "sender":
            tasks.append(waiting_receiver(hub, socket) if who != "poller" else hub.spawn(socket.poll))
        if who in ("sender", "both"):
            tasks.append(waiting_sender(hub, socket, [b"m"]))
        if who == "after a false signal":
            plain(socket).bind("tcp://127.0.0.1:*")  # tells itself so, and that is nothing to receive
        pairs.append((socket, peer, tasks))
    hub.run_in_thread(time.sleep, 0.01)
    with count_rounds(hub) as rounds:
        hub.run_in_thread(time.sleep, 0.1)  # eventlet's poll() spins for the last ms of a timer
    assert len(rounds) <= A_FEW
    for socket, peer, tasks in pairs:
        for task in tasks:
            assert not task.done
            task.kill()
        drain(peer)
        idle(socket)


@pytest.mark.parametrize("operation", ["recv", "send"])
def test_idle_behind_a_message(hub, context, push_pull, operation):
    """A greenlet waits while another is inside a message; signals that mean nothing to it don't make the hub spin.

    Seen to fail, with "recv", when a receiver that waited alone was woken by any signal and left it to itself.
    """
    push, pull = push_pull
    socket = pull if operation == "recv" else push
    gate, opener = connected(context, zmq.PAIR, zmq.PAIR)

    def inside() -> None:
        if operation == "recv":
            pull.recv()
        else:
            push.send(b"1", zmq.SNDMORE)
        gate.recv()
        if operation == "recv":
            pull.recv()
        else:
            push.send(b"one")

    owner = hub.spawn(inside)
    until(hub, lambda: receives(gate) or receives(pull))
    task = hub.spawn(*((pull.recv,) if operation == "recv" else (push.send, b"2")))
    if operation == "recv":
        until(hub, lambda: len(receivers_of(pull)) == 2)
        push.send_multipart([b"1", b"one"])
    until(hub, lambda: receives(gate) and parked_on(socket) == 1)
    plain(socket).bind("tcp://127.0.0.1:*")  # a signal that is neither a message nor room
    hub.run_in_thread(time.sleep, 0.01)
    with count_rounds(hub) as rounds:
        hub.run_in_thread(time.sleep, 0.1)
    assert len(rounds) <= A_FEW
    assert not task.done
    opener.send(b"go on")
    assert owner.join(5)
    if operation == "recv":
        push.send(b"2")
    assert task.join(5)


# -- the turn ---------------------------------------------------------------------------------------------------------


def ticker(hub: greenzmq.GreenHub) -> tuple[greenzmq.Task[Any], list[int]]:
    """A greenlet that runs in every round of the hub."""
    ticks: list[int] = []

    def tick() -> None:
        while True:
            ticks.append(1)
            hub.sleep()

    task = hub.spawn(tick)
    until(hub, lambda: ticks)
    return task, ticks


def longest_run(ticks: list[int], operations: Iterator[object]) -> int:
    """The most operations without a tick in between."""
    longest = run = 0
    seen = len(ticks)
    for _ in operations:
        run = run + 1 if len(ticks) == seen else 0
        seen = len(ticks)
        longest = max(longest, run)
    return longest


def sends_and_receives(pull: greenzmq.Socket, push: greenzmq.Socket, count: int) -> Iterator[object]:
    for _ in range(count):
        yield push.send(b"m")
    for _ in range(count):
        yield pull.recv()


def never_empty(pull: greenzmq.Socket, push: greenzmq.Socket, count: int) -> Iterator[object]:
    """Each `send` meets a full socket, and room when it looks: it waits, yet never parks."""
    for _ in range(count):
        yield push.send(b"m")
        yield push.send(b"m")
        for _ in range(2):
            pull.recv(zmq.NOBLOCK)


def long_messages(pull: greenzmq.Socket, push: greenzmq.Socket, count: int) -> Iterator[object]:
    """One message has as many parts as there are operations between two looks at the clock."""
    for _ in range(count // 100):
        plain(push).send_multipart([b"m"] * (FAST_CALLS + 1))
    for _ in range(count // 100 * (FAST_CALLS + 1)):
        yield pull.recv()


@pytest.mark.parametrize(
    ("program", "room"),
    [
        pytest.param(sends_and_receives, 0, id="hot"),
        pytest.param(never_empty, 1, id="full-never-parked"),
        pytest.param(long_messages, 0, id="many-parts"),
    ],
)
def test_turn_ends(hub, monkeypatch, program, room):
    """A greenlet that never has to wait lets others run after a bounded number of operations.

    Time is taken out of it: a turn lasts for no time at all, so the bound is what lies between two looks at the clock,
    or the end of the message if that comes later. "full-never-parked" and "many-parts" were seen to fail when a wait
    that had not parked, and the middle of a message, counted as a pause.
    """
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=room, rcvhwm=room)
        task, ticks = ticker(hub)
        assert longest_run(ticks, program(pull, push, 1000)) <= 3 * FAST_CALLS
        task.kill()


@pytest.mark.parametrize(("program", "room"), [(sends_and_receives, 0), (never_empty, 1)], ids=["hot", "full"])
def test_turn_ends_in_time(hub, context, program, room):
    """The same with turns as they are: in 100,000 operations, or earlier, a ticker has run often.

    "full" was seen to fail when a wait that had not parked began a new turn.
    """
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=room, rcvhwm=room)
    task, ticks = ticker(hub)
    before = len(ticks)
    often = any(len(ticks) > before + 2 for _ in program(pull, push, 50_000))
    assert often
    task.kill()


def test_turn_never_ends_inside_a_message(hub, monkeypatch):
    """A turn ends before the first part of a message, never before another: neither in sending nor in receiving."""
    every_call_yields(monkeypatch)
    pauses: list[int] = []
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=0, rcvhwm=0)
        parts = 0
        replace_yield(monkeypatch, lambda _: pauses.append(parts))
        for _ in range(100):
            for flags in (zmq.SNDMORE, zmq.SNDMORE, 0):
                push.send(b"m", flags)
                parts += 1
        assert len(pauses) > 20
        assert [n % 3 for n in pauses] == [0] * len(pauses)
        del pauses[:]
        parts = 0
        while parts < 300:
            pull.recv()
            parts += 1
        assert len(pauses) > 20
        assert [n % 3 for n in pauses] == [0] * len(pauses)


def test_turn_never_ends_under_noblock(hub, monkeypatch):
    """With NOBLOCK, and in `poll(0)`, nothing switches, however long it goes on."""
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=0, rcvhwm=0)
        with never_switches():
            for _ in range(3 * FAST_CALLS):
                push.send(b"m", zmq.NOBLOCK)
                push.send_multipart([b"m", b"n"], zmq.NOBLOCK)
                push.poll(0, zmq.POLLOUT)
            for _ in range(3 * FAST_CALLS):
                pull.recv(zmq.NOBLOCK)
                pull.recv_multipart(zmq.NOBLOCK)
                pull.get(zmq.EVENTS)


@pytest.mark.parametrize("operation", ["send", "recv"])
def test_kill_at_the_end_of_a_turn(hub, monkeypatch, operation):
    """A greenlet in a hot loop is killed where its turn ends: what it believes to have done is what was done.

    Seen to fail when the turn ended after the operation.
    """
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    many = 8 * FAST_CALLS
    with open_context(hub) as context:
        for k in range(5):
            pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=0, rcvhwm=0)
            done: list[object] = []

            def loop(pull=pull, push=push, done=done) -> None:
                for n in range(many):
                    done.append(push.send(b"%d" % n) if operation == "send" else pull.recv())

            if operation == "recv":
                for n in range(many):
                    plain(push).send(b"%d" % n)
            disturbance = Disturbance(hub, k, "resumed")
            with disturbance():
                assert hub.spawn(disturbance.watch, loop).join(5)
            assert disturbance.happened
            left = [frame for (frame,) in drain(pull)]
            if operation == "send":
                assert left == [b"%d" % n for n in range(len(done))]
            else:
                assert done + left == [b"%d" % n for n in range(many)]
            for socket in (pull, push):
                socket.close()


# -- whom to wake, as a table -----------------------------------------------------------------------------------------

IN, OUT, BOTH = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.POLLIN | zmq.POLLOUT)
SIGNAL = 7


def a_direction(event: int, refused: list[int], owner: str) -> Direction:
    """A direction in which waiters stand that were last refused at these signals."""
    direction = Receiving() if event == IN else Sending()
    for signal in refused:
        waiter = Waiter(SimpleNamespace(greenlet=None))  # type: ignore[arg-type]
        waiter.spurious = SpuriousReadiness()
        waiter.spurious.refused_at(signal)
        direction.join(waiter)
    if owner:
        direction.mid_message = PartialMessage(OWNERS[owner] or greenlet(), lambda _: None)
    return direction


def _alive() -> greenlet:
    paused = greenlet(getcurrent().switch)
    paused.switch()
    return paused


def _dead() -> greenlet:
    ended = greenlet(lambda: None)
    ended.switch()
    return ended


OWNERS: dict[str, greenlet | None] = {"collected": None, "dead": _dead(), "alive": _alive()}


@pytest.mark.parametrize(
    ("events", "readers", "writers", "owner", "expected"),
    [
        # what is possible, and who waits
        (0, [-1], [-1], "", (None, None)),
        (IN, [], [], "", (None, None)),
        (BOTH, [], [], "", (None, None)),
        (IN, [-1], [], "", (0, None)),
        (OUT, [-1], [], "", (None, None)),
        (IN, [], [-1], "", (None, None)),
        (OUT, [], [-1], "", (None, 0)),
        (IN, [-1], [-1], "", (0, None)),
        (OUT, [-1], [-1], "", (None, 0)),
        (BOTH, [-1], [-1], "", (0, 0)),
        # the first in the queue, and only that one
        (BOTH, [-1, -1, -1], [-1, -1, -1], "", (0, 0)),
        # those that were refused at this very signal are passed over, those refused before are not
        (OUT, [], [SIGNAL], "", (None, None)),
        (OUT, [], [SIGNAL - 1], "", (None, 0)),
        (OUT, [], [SIGNAL, -1], "", (None, 1)),
        (OUT, [], [SIGNAL, SIGNAL, SIGNAL - 1, -1], "", (None, 2)),
        (OUT, [], [SIGNAL, SIGNAL], "", (None, None)),
        (BOTH, [-1], [SIGNAL, SIGNAL], "", (0, None)),
        # another greenlet is inside a message, or was
        (BOTH, [-1], [-1], "alive", (None, None)),
        (BOTH, [-1], [SIGNAL, -1], "alive", (None, None)),
        (BOTH, [-1], [-1], "dead", (0, 0)),
        (BOTH, [-1], [-1], "collected", (0, 0)),
    ],
)
def test_whom_to_wake(events, readers, writers, owner, expected):
    """The rules of waking, one a line; `expected` are the places in the queues. Nothing is changed by asking."""
    receiving, sending = a_direction(IN, readers, owner), a_direction(OUT, writers, owner)
    for _ in range(2):
        found = whom_to_wake(events, receiving, sending, SIGNAL)
        places = []
        for direction, waiter in zip((receiving, sending), found, strict=True):
            places.append(None if waiter is None else list(direction).index(waiter))
        assert tuple(places) == expected


def test_waiting_sender_costs_no_looks(hub, context, spies):
    """A sender that waits in a full socket is not tried, and EVENTS not read, until there is a signal."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
    task = waiting_sender(hub, push, [BIG])
    before = spies.looks
    hub.sleep(0.02)
    for _ in range(20):
        hub.sleep()
    assert spies.looks == before
    assert fill_up(push, [BIG]) == 0
    drain(pull)
    assert task.join(5)
    idle(push)
