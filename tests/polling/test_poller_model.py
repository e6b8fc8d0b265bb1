"""One greenlet's Poller against pyzmq's own: two worlds of sockets, driven alike, and the files they share.

A random walk of operations; after each poll the answers are compared. Seen to fail when `Poller` did not sort its
results, kept sockets at rest that others had received from (no `SocketState.listen`), did not look again at the
number of a descriptor, or reported what a closed file's duplicate does.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

import pytest
import zmq
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.polling import Fds
from support.random import examples, seeded
from support.waiters import await_signal

import greenzmq

KINDS = [
    (zmq.PULL, zmq.PUSH),
    (zmq.DEALER, zmq.DEALER),
    (zmq.REP, zmq.REQ),
    (zmq.PAIR, zmq.PAIR),
    (zmq.PUB, zmq.SUB),
    (zmq.ROUTER, zmq.DEALER),
]
MASKS = [1, 2, 3, 3, 4, 7, 8, 15]
which = st.integers(0, 1000)


class World:
    """The sockets of one side, each known by its number; the context is green or plain."""

    def __init__(self, context: zmq.Context[Any], poller: zmq.Poller) -> None:
        self.context = context
        self.poller = poller
        self.sockets: list[zmq.Socket[Any]] = []

    def open(self, kinds: tuple[int, int]) -> None:
        bound, peer = (self.context.socket(kind) for kind in kinds)
        for socket in (bound, peer):
            socket.sndhwm = socket.rcvhwm = 2
            if socket.type == zmq.SUB:
                socket.subscribe(b"")
        bound.bind(f"inproc://{len(self.sockets)}")
        peer.connect(f"inproc://{len(self.sockets)}")
        self.sockets += bound, peer

    def close(self, number: int) -> None:
        """Close one, and wait until libzmq's own thread has told its peer."""
        peer = self.sockets[number ^ 1]
        waits = not (peer.closed or self.sockets[number].closed)
        if waits:
            peer.get(zmq.EVENTS)
        self.sockets[number].close(0)
        if waits:
            await_signal(peer)

    def name(self, what: Any) -> Any:
        return f"socket {self.sockets.index(what)}" if isinstance(what, zmq.Socket) else what

    def named(self, rows: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
        return [(self.name(what), int(events)) for what, events in rows]

    def attempt(self, method: str, *args: Any) -> Any:
        """What a method of the socket with this number returns, or raises."""
        number, *rest = args
        result = outcome(getattr(self.sockets[number], method), *rest)
        return None if method in ("bind", "connect") and not isinstance(result, str) else result


def outcome(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except zmq.ZMQError as error:
        # pyzmq asks for errno late: a collection of garbage in between may have set it to 0.
        return f"ZMQError {error.errno or errno.ENOENT}"
    except (KeyError, TypeError, ValueError) as error:
        return type(error).__name__


class Walk(RuleBasedStateMachine):
    """Each rule does the same in both worlds and compares what comes of it."""

    def __init__(self, hub: greenzmq.GreenHub) -> None:
        super().__init__()
        self.hub = hub
        self.files = Fds()
        self.fds: list[int] = []
        self.closed: set[int] = set()  # sockets
        self.green = World(greenzmq.Context(hub=hub), greenzmq.Poller())
        self.plain = World(zmq.Context(), zmq.Poller())
        self.serial = 0

    @initialize(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def begin(self, kinds: list[tuple[int, int]]) -> None:
        for kind in kinds:
            self.both("open", kind)
        self.open_pipe()

    def both(self, method: str, *args: Any) -> Any:
        ours, theirs = (getattr(world, method)(*args) for world in (self.green, self.plain))
        assert ours == theirs, (method, args)
        return ours

    def a_socket(self, number: int) -> int:
        return number % len(self.green.sockets)

    # -- files --------------------------------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: len(self.fds) < 8)
    def open_pipe(self) -> None:
        for fd in self.files.pipe():
            os.set_blocking(fd, False)
            self.fds.append(fd)

    @rule()
    @precondition(lambda self: len(self.fds) < 8)
    def open_stream(self) -> None:
        for end in self.files.socketpair():
            self.fds += self.files.own(os.dup(end.fileno()))
            os.set_blocking(self.fds[-1], False)

    @rule(number=which)
    def write(self, number: int) -> None:
        with suppress(OSError):
            os.write(self.fds[number % len(self.fds)], b"data")

    @rule(number=which)
    def read(self, number: int) -> None:
        with suppress(OSError):
            os.read(self.fds[number % len(self.fds)], 100)

    @rule(number=which, other=which, duplicate=st.booleans())
    def open_on_the_same_number(self, number: int, other: int, duplicate: bool) -> None:
        """The number comes to mean a new file, an old one, or one on disk; the file it meant may live on elsewhere."""
        fd = self.fds[number % len(self.fds)]
        if duplicate:
            self.files.own(os.dup(fd))
        fresh = [*os.pipe(), os.open(os.devnull, os.O_RDWR)]
        os.dup2(([*fresh, *self.fds])[other % (3 + len(self.fds))], fd)
        os.set_blocking(fd, False)
        for unwanted in fresh:
            os.close(unwanted)
        self.files.own(fd)

    # -- sockets ------------------------------------------------------------------------------------------------------

    @rule(kinds=st.sampled_from(KINDS))
    @precondition(lambda self: len(self.green.sockets) < 10)
    def open_sockets(self, kinds: tuple[int, int]) -> None:
        self.both("open", kinds)

    @rule(number=which, times=st.integers(1, 3))
    def send(self, number: int, times: int) -> None:
        for _ in range(times):
            self.serial += 1
            self.send_both(self.a_socket(number), b"%d" % self.serial)

    def send_both(self, number: int, message: bytes) -> None:
        """libzmq looks for room once in a millisecond only, when it sends; an EAGAIN that differs gets another look.

        A PUB drops what finds no room, and says nothing: both look before.
        """
        for world in (self.green, self.plain):
            if world.sockets[number].type == zmq.PUB and number not in self.closed:
                world.sockets[number].get(zmq.EVENTS)
        results = [world.attempt("send", number, message, zmq.NOBLOCK) for world in (self.green, self.plain)]
        for side, world in enumerate((self.green, self.plain)):
            if results[0] != results[1] and results[side] == f"ZMQError {zmq.EAGAIN}":
                world.sockets[number].get(zmq.EVENTS)
                results[side] = world.attempt("send", number, message, zmq.NOBLOCK)
        if results[0] != results[1] and f"ZMQError {zmq.EAGAIN}" in results:
            reject()  # the two worlds are no twins any more, for reasons of libzmq's own threads
        assert results[0] == results[1]

    @rule(number=which)
    def receive(self, number: int) -> None:
        socket = self.green.sockets[self.a_socket(number)]
        if socket.type == zmq.ROUTER:  # makes names of its own
            ours, theirs = (w.attempt("recv_multipart", self.a_socket(number), 1) for w in (self.green, self.plain))
            assert ours[1:] == theirs[1:]
        else:
            self.both("attempt", "recv_multipart", self.a_socket(number), zmq.NOBLOCK)

    @rule(number=which)
    def send_and_receive(self, number: int) -> None:
        """Two messages, one signal, of which a receiver takes one and the other."""
        self.send(number, 2)
        self.receive(self.a_socket(number) ^ 1)

    @rule(number=which, call=st.sampled_from([("poll", 0, 3), ("get", zmq.EVENTS), ("unbind", "inproc://nowhere")]))
    def ask(self, number: int, call: tuple[Any, ...]) -> None:
        """Calls that process commands."""
        self.settled(lambda world: world.attempt(call[0], self.a_socket(number), *call[1:]))

    @rule(number=which, kind=st.sampled_from(["bind", "connect"]))
    def bind_or_connect(self, number: int, kind: str) -> None:
        self.serial += 1
        self.both("attempt", kind, self.a_socket(number), f"inproc://more-{self.serial}")

    @rule(number=which, again=st.integers(0, 5))
    def close(self, number: int, again: int) -> None:
        if again == 0:
            chosen = self.a_socket(number)
            self.closed.add(chosen)
            for world in (self.green, self.plain):
                world.close(chosen)
            if self.plain.sockets[chosen] in self.plain.poller:  # pyzmq would poll standard input in its place
                self.plain.poller.unregister(self.plain.sockets[chosen])

    # -- the pollers --------------------------------------------------------------------------------------------------

    def an_object(self, world: World, number: int) -> Any:
        everything = [*world.sockets, *self.fds]
        return everything[number % len(everything)]

    def is_closed(self, number: int) -> bool:
        return number % (len(self.green.sockets) + len(self.fds)) in self.closed

    @rule(number=which, mask=st.sampled_from([0, *MASKS]), method=st.sampled_from(["register", "modify"]))
    def register(self, number: int, mask: int, method: str) -> None:
        if not self.is_closed(number):
            for world in (self.green, self.plain):
                getattr(world.poller, method)(self.an_object(world, number), mask)

    @rule(number=which)
    def unregister(self, number: int) -> None:
        green, plain = (outcome(w.poller.unregister, self.an_object(w, number)) for w in (self.green, self.plain))
        assert green == plain or self.is_closed(number)

    @rule(timeout=st.sampled_from([0, 0, 0, 1, 0.5, None]))
    def poll(self, timeout: float | None) -> None:
        if any(self.green.sockets[number] in self.green.poller for number in self.closed):
            assert outcome(self.green.poller.poll, timeout) == f"ZMQError {zmq.ENOTSOCK}"
            return
        if timeout is None and not self.plain.poller.poll(0):
            timeout = 0
        self.settled(lambda world: world.named(world.poller.poll(timeout if world is self.green else 0)))

    def settled(self, answer: Any) -> None:
        """Both answer the same; at once, unless libzmq's own thread is about to tell peers of closed sockets."""
        for _ in range(300 if self.closed else 1):
            ours, theirs = answer(self.green), answer(self.plain)
            if ours == theirs:
                return
            self.hub.sleep(0.001)
        assert ours == theirs

    @invariant()
    def same_registrations(self) -> None:
        ours = [row for row in self.green.poller.sockets if not getattr(row[0], "closed", False)]
        assert self.green.named(ours) == self.plain.named(self.plain.poller.sockets)

    def teardown(self) -> None:
        self.green.context.destroy(linger=0)
        self.plain.context.destroy(linger=0)
        self.files.close()


@pytest.mark.torture
def test_one_greenlet_gets_pyzmqs_answers(hub):
    """Whatever one greenlet does with sockets and files, its Poller answers as pyzmq's does for their twins."""
    machine = seeded(lambda: Walk(hub))
    run_state_machine_as_test(machine, settings=examples(30, 1000, stateful_step_count=40))
