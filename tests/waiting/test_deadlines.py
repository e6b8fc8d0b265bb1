"""Deadlines of many greenlets at once: each has its own, none is early, and no timer stays behind."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest
import zmq
from greenlet import getcurrent
from support import torture
from support.inside import receivers_of, senders_of
from support.invariants import idle
from support.random import seeded_random
from support.sockets import connected, fill, never_switches, open_context, until

import greenzmq
from greenzmq.hubs._timers import TimerHeap

#: Milliseconds: the shortest deadline, and how far the longest is from it.
SHORTEST, SPAN = 20, 100
#: Seconds by which the order may be wrong: loops round their clocks.
BLUR = 0.004


def polled(socket: greenzmq.Socket, milliseconds: int) -> Any:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return poller.poll(milliseconds)


#: How greenlets wait for a number of milliseconds.
LIMITED: dict[str, Callable[[greenzmq.Socket, int], Any]] = {
    "recv": lambda socket, limit: (socket.set(zmq.RCVTIMEO, limit), socket.recv()),
    "recv_multipart": lambda socket, limit: (socket.set(zmq.RCVTIMEO, limit), socket.recv_multipart()),
    "send": lambda socket, limit: (socket.set(zmq.SNDTIMEO, limit), socket.send(b"late")),
    "poll": lambda socket, limit: socket.poll(limit),
    "Poller": polled,
}


class Crowd:
    """Greenlets that wait on one socket in one way, each with a deadline of its own; `ended` has these in the order in
    which their waits ended.
    """

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context, way: str, limits: list[int]) -> None:
        self.socket, self.peer = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        fill(self.socket)
        self.way = way
        self.ended: list[tuple[float, float]] = []  # the deadline lies between the two
        self.tasks = [hub.spawn(self.wait, hub, limit) for limit in limits]

    def wait(self, hub: greenzmq.GreenHub, limit: int) -> None:
        entered = monotonic()
        try:
            outcome = LIMITED[self.way](self.socket, limit)
        except zmq.Again:
            outcome = 0
        assert monotonic() >= entered + limit / 1000 - 1e-6, f"{self.way}: too early"
        assert not outcome
        self.ended.append((entered + limit / 1000, hub.hub.local[getcurrent()] + limit / 1000))

    def out_of_order(self) -> list[tuple[float, float]]:
        """The deadline of each wait that ended too early, and that of the next one, which was due before."""
        pairs = zip(self.ended, self.ended[1:], strict=False)
        return [(early[0], late[1]) for early, late in pairs if early[0] > late[1] + BLUR]


def note_starts(hub: greenzmq.GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time noted by which each greenlet's last timer runs."""
    call_later = hub.hub.call_later

    def noted(seconds: float, *args: Any) -> Any:
        timer = call_later(seconds, *args)
        hub.hub.local[getcurrent()] = monotonic()
        return timer

    monkeypatch.setattr(hub.hub, "call_later", noted)


def test_each_at_its_own_deadline(hub, monkeypatch):
    """Whether 1, 5 or 50 wait, and in whatever order they came, each ends with `zmq.Again` (a poll with nothing) at its
    own deadline: not before it, and in the order of the deadlines. Nothing of theirs is sent, and the socket goes on.

    Seen to fail, by order, when who stood behind others had more time; zmq.green knows no such deadlines.
    """
    random = seeded_random()
    note_starts(hub, monkeypatch)
    with open_context(hub) as context:
        crowds = []
        for count in (1, 5, 50):
            limits = [SHORTEST + SPAN // count * n for n in range(count)]
            random.shuffle(limits)
            crowds += [Crowd(hub, context, way, limits) for way in LIMITED]
        for crowd in crowds:
            for task in crowd.tasks:
                task.get()
        for crowd in crowds:
            assert crowd.out_of_order() == [], crowd.way
            idle(crowd.socket)
            assert [crowd.peer.recv(), crowd.peer.recv()] == [b"fill", b"fill"]
            with pytest.raises(zmq.Again):
                crowd.peer.recv(zmq.NOBLOCK)


def test_no_time_at_all_behind_a_queue(hub):
    """With a timeout of 0 each call is over at once, without a switch, though fifty wait before it."""
    with open_context(hub, turn=0) as context:  # or the end of a turn may be a switch
        socket, _ = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        fill(socket)
        tasks = [hub.spawn(call) for call in (socket.recv, lambda: socket.send(b"x")) for _ in range(50)]
        until(hub, lambda: len(receivers_of(socket)) == len(senders_of(socket)) == 50)
        socket.rcvtimeo = socket.sndtimeo = 0
        poller = greenzmq.Poller()
        poller.register(socket, zmq.POLLIN)
        with never_switches():
            for call in (socket.recv, socket.recv_multipart, lambda: socket.send(b"y")):
                with pytest.raises(zmq.Again):
                    call()
            assert socket.poll(0) == 0
            assert poller.poll(0) == []
        for task in tasks:
            task.kill(block=False)
        until(hub, lambda: all(task.done for task in tasks))
        del poller
        idle(socket)


#: How many cancelled timers a loop puts up with before it clears up, if they are more than half.
CANCELLED = {"eventlet": 1000}


def timers() -> int:
    """All timers that there are, a loop's own ones, too."""
    kinds = Counter(type(thing).__name__ for thing in gc.get_objects())
    return sum(number for name, number in kinds.items() if "timer" in name.lower())


@pytest.mark.torture
def test_no_timer_stays_behind(hub):
    """After a million waits that ended before their time no timer is pending, and of the cancelled ones there are only
    as many as a loop puts up with.

    Seen to fail without `Waiter.close`.
    """
    cancelled = CANCELLED.get(hub.name, 100) + 100
    waits = torture.scale(1_000_000, cancelled + 100)
    event = greenzmq.GreenEvent()
    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR)
        one.rcvtimeo = one.sndtimeo = 60_000
        poller = greenzmq.Poller()
        poller.register(one, zmq.POLLIN)

        def echo() -> None:
            while True:
                frame = other.recv()
                if frame == b"event":
                    event.set()
                other.send(frame)

        def limited() -> None:
            with hub.timeout(60):
                one.poll()

        ways: list[Callable[[], object]] = [
            lambda: None,  # the recv itself, below
            lambda: one.poll(60_000),
            lambda: poller.poll(60_000),
            limited,
            lambda: event.wait(60),
        ]
        task = hub.spawn(echo)
        before = timers()
        for n in range(waits):
            event.clear()
            way = ways[n % len(ways)]
            one.send(b"event" if way is ways[-1] else b"x")
            way()
            one.recv()
        assert timers() - before < cancelled
        task.kill()


@pytest.mark.runtime("selector", "asyncio")
def test_a_timer_that_is_cancelled_as_it_becomes_due(hub, monkeypatch):
    """A handler cancels an overdue timer after the loop has seen it, before it takes it out: later ones are on time.

    Seen to hang when what was left of its time, less than nothing, was how long to sleep: epoll takes that for ever.
    """
    overdue = hub.hub.call_later(0.001, pytest.fail)
    pop_due = TimerHeap.pop_due
    monkeypatch.setattr(TimerHeap, "pop_due", lambda self, now: (overdue.cancel(), pop_due(self, now))[1])
    sleep(0.02)
    hub.sleep(0.03)
