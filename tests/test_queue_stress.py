"""Thousands of messages through one socket at each end, with greenlets that come, go, are killed, time out and steal.

A failure prints its seed; ``GREENZMQ_SEED=n pytest tests/test_queue_stress.py`` runs with that one.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import zmq
from helpers_invariants import check, idle
from helpers_sockets import connected, open_context, until
from helpers_waiters import drain

import greenzmq

SEED = int(os.environ.get("GREENZMQ_SEED", random.SystemRandom().randrange(10**6)))
MESSAGES = 3000
CROWD = 10


class Storm:
    """Greenlets that send on one socket and receive on another, until enough is sent.

    Each message has an unused number in each of its one to four frames, so that a mixed one shows.
    """

    def __init__(self, hub: greenzmq.GreenHub, pull: greenzmq.Socket, push: greenzmq.Socket, seed: int) -> None:
        self.hub, self.pull, self.push = hub, pull, push
        self.random = random.Random(seed)
        self.number = 0
        self.sent: list[int] = []
        self.got: list[list[bytes]] = []
        self.killable: dict[str, list[greenzmq.Task[Any]]] = {"send": [], "receive": []}
        self.tasks: list[greenzmq.Task[Any]] = []

    @property
    def over(self) -> bool:
        return self.number >= MESSAGES

    def message(self) -> tuple[int, list[bytes]]:
        self.number += 1
        return self.number, [b"%d" % self.number] * self.random.randrange(1, 5)

    # A greenlet may be killed wherever it waits. What it had done is noted before it can wait again.

    def send(self) -> None:
        while not self.over:
            number, parts = self.message()
            if self.random.random() < 0.2:
                self.push.sndtimeo = self.random.choice([-1, -1, 1])
            try:
                self.push.send_multipart(parts)
            except zmq.Again:
                continue
            self.sent.append(number)

    def send_parts(self) -> None:
        """Not to be killed: what it has begun would be joined to the next message."""
        while not self.over:
            number, parts = self.message()
            try:
                for part in parts[:-1]:
                    self.push.send(part, zmq.SNDMORE)
                    if self.random.random() < 0.3:
                        self.hub.sleep()
                self.push.send(parts[-1])
            except zmq.Again:  # by the SNDTIMEO that another one has set, and for a first part
                continue
            self.sent.append(number)

    def receive(self) -> None:
        while True:
            if self.random.random() < 0.2:
                self.pull.rcvtimeo = self.random.choice([-1, -1, 1])
            try:
                self.got.append(self.pull.recv_multipart())
            except zmq.Again:
                continue

    def receive_parts(self) -> None:
        while True:
            try:
                message = [self.pull.recv()]
            except zmq.Again:
                continue
            self.got.append(message)
            while self.pull.rcvmore:
                message.append(self.pull.recv())

    def meddle(self) -> None:
        """A thief, and whoever else takes signals."""
        while True:
            act = self.random.randrange(5)
            try:
                if act == 0:
                    self.got.append(self.pull.recv_multipart(zmq.NOBLOCK))
                elif act == 1 and not self.over:
                    number, parts = self.message()
                    self.push.send_multipart(parts, zmq.NOBLOCK)
                    self.sent.append(number)
                elif act == 2:
                    self.random.choice([self.pull, self.push]).get(zmq.EVENTS)
                elif act == 3:
                    self.pull.poll(self.random.choice([0, 1]))
            except zmq.Again:
                pass
            self.hub.sleep(self.random.choice([0, 0, 0.0005]))

    def spawn(self, what: str) -> None:
        task = self.hub.spawn(getattr(self, what))
        self.tasks.append(task)
        if what in self.killable:
            self.killable[what].append(task)

    def run(self) -> None:
        for _ in range(CROWD):
            self.spawn("send")
            self.spawn("receive")
        for what in ("send_parts", "send_parts", "receive_parts", "meddle", "meddle"):
            self.spawn(what)
        while not self.over:
            self.hub.sleep(self.random.choice([0, 0, 0.001]))
            check(self.pull, self.push)
            what = self.random.choice(["send", "receive"])
            for _ in range(self.random.randrange(3)):
                victim = self.killable[what].pop(self.random.randrange(CROWD))
                victim.kill(self.random.choice([greenzmq.Timeout, KeyError]), block=self.random.random() < 0.5)
                self.spawn(what)

    def stop(self) -> None:
        for task in self.tasks:
            task.kill(block=False)
        for task in self.tasks:
            assert task.join(10), f"{task} hangs"
            try:
                task.get()
            except (greenzmq.Timeout, KeyError):
                pass


@pytest.mark.parametrize(
    ("pattern", "transport"), [("PULL-PUSH", "inproc"), ("PULL-PUSH", "tcp"), ("PAIR-PAIR", "inproc")]
)
def test_storm(hub, pattern, transport):
    """Every message whose `send` returned is received exactly once, whole; no other one is; and nobody waits for
    nothing.
    """
    seed = SEED
    kinds = [getattr(zmq, kind) for kind in pattern.split("-")]
    with open_context(hub) as context:
        pull, push = connected(context, kinds[0], kinds[1], transport, sndhwm=2, rcvhwm=2)
        storm = Storm(hub, pull, push, seed)
        try:
            storm.run()
            # The senders end by themselves: with receivers at work nobody is left waiting for room.
            senders = [task for task in storm.tasks if "send" in repr(task)]
            until(hub, lambda: all(task.done for task in senders))
            until(hub, lambda: len(storm.got) >= len(storm.sent))
            storm.stop()
            storm.got += drain(pull)
            assert all(len(set(message)) == 1 for message in storm.got), "a message is mixed"
            assert sorted(int(message[0]) for message in storm.got) == sorted(storm.sent)
            idle(pull, push)
        except BaseException as error:
            raise AssertionError(f"GREENZMQ_SEED={seed}") from error
