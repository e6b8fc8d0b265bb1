"""Random operations by many threads on two shared sockets, with kills, time limits, and closes in the midst."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support import torture
from support.threads import LOST

import greenzmq

THREADS = 8
ROUNDS = torture.scale(2_000, 8)
#: Rounds of kills before the sockets are closed.
KILLS = 10
#: What the operations meet once another thread has closed the socket.
ENDED = (zmq.ENOTSOCK, zmq.ENOTSUP)

Message = tuple[bytes, ...]


class Round:
    """Two DEALERs, and what was sent and received by way of them. Every message differs from all others."""

    def __init__(self, hub: greenzmq.GreenHub, dice: random.Random) -> None:
        self.hub = hub
        self.dice = dice
        self.context = greenzmq.Context(hub=hub)
        self.sockets = [self.context.socket(zmq.DEALER) for _ in range(2)]
        for socket in self.sockets:
            socket.sndhwm = socket.rcvhwm = dice.choice([1, 3, 1000])
            socket.linger = 0
        self.sockets[0].bind(dice.choice(["inproc://storm", "tcp://127.0.0.1:*"]))
        self.sockets[1].connect(self.sockets[0].last_endpoint.decode())
        self.over = threading.Event()
        self.sent: list[Message] = []  # `append` is atomic
        self.got: list[Message] = []

    def run(self) -> None:
        tasks = [self.spawn() for _ in range(THREADS)]
        killed = 0
        for _ in range(KILLS):
            self.hub.sleep(0.005)
            if self.dice.random() < 0.5:
                place = self.dice.randrange(THREADS)
                tasks[place].kill(block=False)
                assert tasks[place].join(LOST), tasks[place]
                tasks[place] = self.spawn()
                killed += 1
        self.over.set()
        for socket in self.sockets:
            self.hub.spawn(socket.close).get(LOST)
        for task in tasks:
            task.get(LOST)
        self.context.destroy(linger=0)
        received = Counter(self.got)
        assert max(received.values(), default=1) == 1, "a message came twice"
        # Of those that were killed, or ended by the close, nobody has noted the last message.
        assert len(received - Counter(self.sent)) <= killed + THREADS, "a message came that nobody has sent"

    def spawn(self) -> greenzmq.Task[None]:
        return self.hub.spawn(self.work, random.Random(self.dice.random()))

    def work(self, dice: random.Random) -> None:
        socket = dice.choice(self.sockets)
        operations = [self.send, self.send, self.receive, self.receive, self.receive_now, self.receive_in_time]
        operations += [lambda socket, dice: socket.poll(dice.choice([0, 1, 5]), dice.choice([1, 2, 3]))]
        operations += [lambda socket, dice: socket.get(zmq.EVENTS)]
        while not self.over.is_set():
            operation: Callable[[Any, random.Random], object] = dice.choice(operations)
            try:
                operation(socket, dice)
            except zmq.ZMQError as error:
                if error.errno not in ENDED:
                    raise
                return

    def send(self, socket: Any, dice: random.Random) -> None:
        message = (b"%d" % dice.getrandbits(64), b"%d" % dice.getrandbits(64))
        socket.send_multipart(message)
        self.sent.append(message)

    def receive(self, socket: Any, _: random.Random, flags: int = 0) -> None:
        message = tuple(socket.recv_multipart(flags))
        assert len(message) == 2, "two messages are mixed"
        self.got.append(message)

    def receive_now(self, socket: Any, dice: random.Random) -> None:
        try:
            self.receive(socket, dice, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def receive_in_time(self, socket: Any, dice: random.Random) -> None:
        with self.hub.timeout(dice.uniform(0, 0.01), False):
            self.receive(socket, dice)


@pytest.mark.torture
@pytest.mark.runtime("threads")
def test_storm(hub):
    """No thread waits for ever, no message comes twice, and none comes in pieces."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        Round(hub, dice).run()
