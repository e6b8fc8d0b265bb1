"""A load generator that sends when it is time to, whether the answers keep up or not.

A closed loop sends the next request when it has the answer to the last one. If the service stops for a second, it sends
nothing in that second, and all the requests that would have waited are missing from its figures ("coordinated
omission"). Here the times at which messages are to be sent are fixed beforehand, and a latency begins at that time,
even if the message could be sent only later.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import zmq

__all__ = ["Generator", "Passed", "intervals"]

SIZE = 100
"""Bytes of a message. The first 8 are its number."""
HWM = 100_000
"""High enough that the generator can send, except to a service that is far from keeping up."""
LONGEST_WAIT = 0.1


class Passed(NamedTuple):
    """What came of some messages, in nanoseconds."""

    latencies: Sequence[int]
    """From the time at which each was to be sent until its answer was there."""
    lateness: Sequence[int]
    """From that time until it was sent: if this is large, it is the generator, or a full queue, that was too slow."""


def intervals(rate: float, seconds: float, seed: int) -> Iterator[int]:
    """Nanoseconds from the start at which messages are due: a Poisson process of `rate` a second, `seconds` long."""
    draw = random.Random(seed).expovariate
    due = draw(rate)
    while due < seconds:
        yield int(due * 1e9)
        due += draw(rate)


class Generator:
    """Sends messages to a service and receives its answers: pyzmq, one thread, nothing else.

    Close it at the end.

    Attributes
    ----------
    requests, answers : str
        The addresses to which the service connects a PULL and a PUSH.
    """

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.push, self.requests = self._bind(zmq.PUSH)
        self.pull, self.answers = self._bind(zmq.PULL)
        self.descriptor = self.pull.FD
        self.filling = bytes(SIZE - 8)

    def _bind(self, kind: int) -> tuple[zmq.Socket[bytes], str]:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, HWM)
        socket.setsockopt(zmq.RCVHWM, HWM)
        socket.bind("tcp://127.0.0.1:*")
        return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        self.context.destroy(linger=0)

    def capacity(self, count: int, window: int, limit: float) -> float:
        """How many messages a second pass if `window` of them are under way all the time.

        Raises
        ------
        TimeoutError
            They have not all come back after `limit` seconds.
        """
        began = time.perf_counter()
        sent = received = 0
        while received < count:
            while sent < min(count, received + window) and self._send(sent):
                sent += 1
            if came := self._receive_all():
                received += len(came)
            else:
                self._wait(began, limit, received, count)
        return count / (time.perf_counter() - began)

    def run(self, due: Sequence[int], limit: float) -> Passed:
        """Send a message at each of the times in `due`, in nanoseconds from now, and wait for all answers.

        Raises
        ------
        TimeoutError
            They have not all come back `limit` seconds after the last was to be sent.
        """
        count, sent = len(due), 0
        latencies: list[int] = []
        lateness: list[int] = []
        clock, began = time.perf_counter_ns, time.perf_counter_ns()
        limit += due[-1] / 1e9
        while len(latencies) < count:
            now = clock() - began
            while sent < count and due[sent] <= now and self._send(sent):
                lateness.append(clock() - began - due[sent])
                sent += 1
            if came := self._receive_all():
                now = clock() - began
                latencies += [now - due[number] for number in came]
            else:
                until = due[sent] / 1e9 if sent < count else float("inf")
                self._wait(began / 1e9, limit, len(latencies), count, until)
        return Passed(latencies, lateness)

    def _send(self, number: int) -> bool:
        try:
            self.push.send(number.to_bytes(8, "little") + self.filling, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _receive_all(self) -> list[int]:
        """The numbers of the messages that are there. It ends with EAGAIN, so that the descriptor tells of the next."""
        numbers: list[int] = []
        try:
            while True:
                numbers.append(int.from_bytes(self.pull.recv(zmq.NOBLOCK)[:8], "little"))
        except zmq.Again:
            return numbers

    def _wait(self, began: float, limit: float, received: int, count: int, until: float = float("inf")) -> None:
        """Wait for an answer, but not longer than `until`. Times are in seconds, the last two from `began` on."""
        passed = time.perf_counter() - began
        if passed > limit:
            raise TimeoutError(f"{received} of {count} answers are there after {passed:.1f} seconds")
        # `zmq.Poller` counts in milliseconds.
        select.select([self.descriptor], [], [], max(0.0, min(until - passed, LONGEST_WAIT)))
