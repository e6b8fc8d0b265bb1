"""Random schedules of greenlets that send, receive, poll, register, unregister, close and kill.

No message is lost, doubled or overtaken; nobody waits for what is there; what a poll says is so. Seen to fail when a
Poller's listener was not told (`SocketState.listen` did nothing), when `Poller._mark_dirty` woke nobody, when whoever
left a queue did not look after the others, and when a socket that is closed woke nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import zmq
from hypothesis import strategies as st
from support.invariants import check
from support.polling import IN, OUT, nobody_polls, pair
from support.random import examples, seeded
from support.waiters import plain

import greenzmq

PAIRS = 2
#: The first socket of the last pair may be closed: what is on its way to it then is lost, as it should be.
CLOSABLE = 2 * PAIRS - 2

sockets = st.integers(0, 2 * PAIRS - 1)
pollers = st.integers(0, 1)
times = st.sampled_from([None, None, 0, 1])
events = st.sampled_from([IN, IN, OUT, IN | OUT])
steps = st.one_of(
    st.tuples(st.just("send"), sockets, st.booleans()),
    st.tuples(st.just("send and steal"), sockets, sockets),
    st.tuples(st.just("receive"), sockets, st.booleans()),
    st.tuples(st.just("receive"), sockets, st.booleans()),
    st.tuples(st.just("receive in time"), sockets, st.integers(0, 2)),
    st.tuples(st.just("poll a socket"), sockets, events, times),
    st.tuples(st.just("poll"), pollers, times),
    st.tuples(st.just("poll and receive"), pollers, times),
    st.tuples(st.just("register"), pollers, sockets, events),
    st.tuples(st.just("unregister"), pollers, sockets),
    st.tuples(st.just("close a poller"), pollers, st.integers(0, 3)),
    st.tuples(st.just("kill"), st.integers(0, 4)),
    st.tuples(st.just("close"), st.integers(0, 3)),
    st.tuples(st.just("nap"), st.sampled_from([0, 0, 0.001])),
)
schedules = st.lists(st.lists(steps, min_size=3, max_size=10), min_size=3, max_size=5)


class Run:
    """One schedule: sockets, Pollers, a greenlet for each list of steps, and a book of all messages."""

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context) -> None:
        self.hub = hub
        self.sockets: list[greenzmq.Socket] = []
        for _ in range(PAIRS):
            self.sockets += pair(context, sndhwm=1, rcvhwm=1)
        self.plain = [plain(socket) for socket in self.sockets]
        self.pollers = [greenzmq.Poller(), greenzmq.Poller()]
        for number, socket in enumerate(self.sockets):
            self.pollers[number % 2].register(socket, IN)
        self.tasks: list[greenzmq.Task[Any]] = []
        self.sent: list[list[bytes]] = [[] for _ in self.sockets]  # by the number of the receiver
        self.received: list[list[bytes]] = [[] for _ in self.sockets]
        self.waiting: dict[int, Callable[[], str]] = {}  # by task that may wait for ever: why it should not wait
        self.serial = 0
        self.steps = 0

    def perform(self, task: int, schedule: list[tuple[Any, ...]]) -> None:
        for name, *args in schedule:
            self.steps += 1
            try:
                getattr(self, name.replace(" ", "_"))(task, *args)
            except zmq.Again:
                continue
            except zmq.ZMQError as error:
                if not self.sockets[CLOSABLE].closed or error.errno not in (zmq.ENOTSOCK, zmq.ENOTSUP):
                    raise
            finally:
                self.waiting.pop(task, None)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def send(self, task: int, number: int, patient: bool) -> None:
        self.serial += 1
        message = b"%d" % self.serial
        if patient:
            self.wait_for(task, number, OUT)
        self.sockets[number].send(message, 0 if patient else zmq.NOBLOCK)
        self.sent[number ^ 1].append(message)

    def receive(self, task: int, number: int, patient: bool) -> None:
        if patient:
            self.wait_for(task, number, IN)
        self.received[number].append(self.sockets[number].recv(0 if patient else zmq.NOBLOCK))

    def receive_in_time(self, task: int, number: int, milliseconds: int) -> None:
        socket = self.sockets[number]
        self.wait_for(task, number, IN)  # for ever, if another one takes the limit back before this one's turn
        socket.rcvtimeo = milliseconds
        try:
            self.received[number].append(socket.recv())
        finally:
            if not socket.closed:
                socket.rcvtimeo = -1

    def poll_a_socket(self, task: int, number: int, wanted: int, timeout: float | None) -> None:
        if timeout is None:
            self.wait_for(task, number, wanted)
        found = self.sockets[number].poll(timeout, wanted)
        assert found & wanted == found
        if self.is_steady():
            assert self.sockets[number].get(zmq.EVENTS) & wanted == found

    def poll(self, task: int, number: int, timeout: float | None) -> list[tuple[greenzmq.Socket, int]]:
        poller = self.pollers[number]
        if timeout is None:
            self.waiting[task] = lambda: self.is_ready(poller)
        found = poller.poll(timeout)
        self.waiting.pop(task, None)
        now = {socket: socket.get(zmq.EVENTS) & wanted for socket, wanted in poller.sockets}
        if self.is_steady():
            assert found == [(socket, ready) for socket, ready in now.items() if ready]
        return found

    def poll_and_receive(self, task: int, number: int, timeout: float | None) -> None:
        for socket, ready in self.poll(task, number, timeout):
            if ready & IN:
                self.receive(task, self.sockets.index(socket), False)

    def register(self, task: int, number: int, socket: int, wanted: int) -> None:
        self.pollers[number].register(self.sockets[socket], wanted)

    def unregister(self, task: int, number: int, socket: int) -> None:
        if self.sockets[socket] in self.pollers[number]:
            self.pollers[number].unregister(self.sockets[socket])

    def close_a_poller(self, task: int, number: int, really: int) -> None:
        if really == 0:
            self.pollers[number].close()

    def send_and_steal(self, task: int, number: int, other: int) -> None:
        """Look at the receiver before the hub does, or elsewhere."""
        self.send(task, number, False)
        self.sockets[number ^ 1].get(zmq.EVENTS)
        self.sockets[other].get(zmq.EVENTS)

    def kill(self, task: int, other: int) -> None:
        if other < len(self.tasks) and other != task:
            self.tasks[other].kill(block=False)

    def close(self, task: int, really: int) -> None:
        if really == 0:
            self.sockets[CLOSABLE].close()

    def nap(self, task: int, seconds: float) -> None:
        self.hub.sleep(seconds)

    # -- what has to hold ---------------------------------------------------------------------------------------------

    def wait_for(self, task: int, number: int, wanted: int) -> None:
        self.waiting[task] = lambda: self.can_go_on(number, wanted)

    def can_go_on(self, number: int, wanted: int) -> str:
        """Why nobody should be waiting for this; asked behind greenzmq's back."""
        if self.sockets[number].closed:
            return f"socket {number} is closed"
        ready = self.plain[number].get(zmq.EVENTS) & wanted
        return f"socket {number} has {ready}" if ready else ""

    def is_steady(self) -> bool:
        """Whether no thread of libzmq's is about to tell a peer that its socket was closed."""
        return not self.sockets[CLOSABLE].closed

    def is_ready(self, poller: greenzmq.Poller) -> str:
        if not poller.sockets:
            return "nothing is registered"
        reasons = (self.can_go_on(self.sockets.index(socket), wanted) for socket, wanted in poller.sockets)
        return next(filter(None, reasons), "")

    def settle(self) -> None:
        """Let the hub go round until only those are left who wait without an end of time, and nothing happens."""
        quiet = 0
        while quiet < 3:
            before = self.steps
            for _ in range(3):
                self.hub.sleep()
            self.hub.sleep(0.001)
            busy = [number for number, task in enumerate(self.tasks) if not task.done and number not in self.waiting]
            quiet = 0 if busy or self.steps != before else quiet + 1
        check(*(socket for socket in self.sockets if not socket.closed))

    def nobody_hangs(self) -> None:
        for task, reason in list(self.waiting.items()):
            assert not (why := reason()), f"greenlet {task} waits, but {why}"

    def end(self) -> None:
        for task in self.tasks:
            task.kill()
            task.get()
        nobody_polls(*self.pollers)
        for number, socket in enumerate(self.plain):
            if not self.sockets[number].closed:
                while socket.poll(0):
                    self.received[number].append(socket.recv(zmq.NOBLOCK))

    def books_balance(self) -> None:
        for number, (sent, received) in enumerate(zip(self.sent, self.received, strict=True)):
            assert max(Counter(received).values(), default=1) == 1
            lossy = number == CLOSABLE and self.sockets[CLOSABLE].closed
            assert received == (sent[: len(received)] if lossy else sent), number


def play(hub: greenzmq.GreenHub, schedule: list[list[tuple[Any, ...]]]) -> None:
    context = greenzmq.Context(hub=hub)
    run = Run(hub, context)
    try:
        with hub.timeout(20):
            run.tasks += [hub.spawn(run.perform, number, part) for number, part in enumerate(schedule)]
            run.settle()
            run.nobody_hangs()
            run.end()
            run.books_balance()
    finally:
        for task in run.tasks:
            task.kill()
        context.destroy(linger=0)


@pytest.mark.torture
def test_random_schedules(hub):
    """100 schedules on each of ten loops: none hangs, loses, doubles or reorders a message, or lies."""

    @seeded
    @examples(100, 3000)
    @hypothesis.given(schedules)
    def played(schedule: list[list[tuple[Any, ...]]]) -> None:
        play(hub, schedule)

    played()
