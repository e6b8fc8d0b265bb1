"""A thread that sleeps on a socket receives before it asks for the GIL: what others do between the two."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
from greenlet import GreenletExit, getcurrent, greenlet
from support.inside import is_compiled, is_plain_asks, receivers_of, sleeps_alone
from support.sockets import connected
from support.threads import LOST, eventually, receives_asleep

import greenzmq

pytestmark = [
    pytest.mark.runtime("threads"),
    pytest.mark.skipif(not is_compiled(), reason="without the extension no thread sleeps by itself"),
]


def warmed_up(hub: greenzmq.GreenHub, one: Any, other: Any, way: str, receives: int) -> greenzmq.Task[list[Any]]:
    """A thread that has received once, and now sleeps in the second receive of so many."""
    task = hub.spawn(lambda: [getattr(one, way)() for _ in range(receives)])
    eventually(lambda: receivers_of(one))
    other.send(b"warm up")
    eventually(lambda: sleeps_alone(one))
    return task


@pytest.mark.parametrize("kinds", [(zmq.PAIR, zmq.PAIR), (zmq.REP, zmq.REQ)])
@pytest.mark.parametrize("way", ["recv", "recv_multipart"])
def test_its_socket_is_given_away_meanwhile(hub, context, way, kinds):
    """Another thread asks for the socket's address: the message is received all the same.

    Seen to fail: the process crashed.
    """
    one, other = connected(context, *kinds)
    if kinds == (zmq.PAIR, zmq.PAIR):
        task = warmed_up(hub, one, other, way, 3)
    else:
        task = hub.spawn(lambda: [getattr(one, way)(), one.send(b""), getattr(one, way)(), one.send(b"")])
        eventually(lambda: receivers_of(one))
        other.send(b"warm up")
        assert other.recv() == b""
        eventually(lambda: sleeps_alone(one))
    parts = [b"1"] if way == "recv" else [b"1", b"x" * 100_000, b"3"]
    before = sys.getswitchinterval()
    sys.setswitchinterval(LOST)  # this thread keeps the GIL until it waits
    try:
        other.send_multipart(parts)
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass
        assert one.underlying
    finally:
        sys.setswitchinterval(before)
    if kinds == (zmq.PAIR, zmq.PAIR):
        other.send(b"2")
    else:
        assert other.recv() == b""
    got = [message for message in task.get(LOST) if message is not None]
    assert got[1] == (parts[0] if way == "recv" else parts)
    assert len(got) == len(kinds) + (kinds[0] == zmq.PAIR)


@pytest.mark.parametrize("kinds", [(zmq.REP, zmq.DEALER), (zmq.PAIR, zmq.PAIR)])
def test_who_never_has_to_sleep_is_killed(hub, monkeypatch, kinds):
    """A thread answers requests that are there at once, and its turns end all the same.

    Seen to fail with a REP: it went on to the last request.
    """
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")  # milliseconds
    context = greenzmq.Context(hub=hub)
    one, other = connected(context, *kinds, sndhwm=0, rcvhwm=0)
    request = [b"", b"request"] if kinds[1] == zmq.DEALER else [b"request"]
    requests, asked, goes_on, answered = 5_000, threading.Event(), threading.Event(), []

    def answer() -> None:
        for number in range(requests + 10):
            answered.append(one.recv())
            one.send(b"")
            if number == 9:
                asked.set()
                assert goes_on.wait(LOST)

    task = hub.spawn(answer)
    for _ in range(10):
        eventually(lambda: receivers_of(one) or sleeps_alone(one))
        other.send_multipart(request)
        other.recv_multipart()
    assert asked.wait(LOST)
    for _ in range(requests):
        other.send_multipart(request)
    task.kill(block=False)
    goes_on.set()
    assert isinstance(task.get(LOST), GreenletExit)
    assert 10 < len(answered) < requests
    context.destroy(linger=0)


@pytest.mark.parametrize("way", ["recv", "recv_multipart"])
def test_the_methods_of_the_base_class(hub, context, way):
    """A program that calls `Socket.recv` itself gets every message, whoever looks at the socket meanwhile.

    Seen to fail: its thread slept, was let into the queue, and stood there once more behind itself, for ever.
    """
    one, other = connected(context, zmq.PAIR, zmq.PAIR)
    receive = getattr(greenzmq.Socket, way)
    task = hub.spawn(lambda: [receive(one) for _ in range(4)])
    for number in range(4):
        eventually(lambda: receivers_of(one) or sleeps_alone(one))
        one.get(zmq.EVENTS)
        other.send(b"%d" % number)
    assert task.get(LOST) == [b"%d" % n if way == "recv" else [b"%d" % n] for n in range(4)]


def test_greenlets_switch_while_it_is_about_to_sleep(hub, context, monkeypatch):
    """As a signal handler may do. greenlet copies the stack then: `nox -s sanitize` finds what must not stand there."""
    named = greenzmq.Context(hub="threading")
    one, other = connected(named, zmq.PAIR, zmq.PAIR)
    got: list[bytes] = []
    switched: list[str] = []

    def receive() -> None:
        main = getcurrent()

        def switch_back() -> None:
            while len(got) < 3:
                switched.append("once more")
                main.switch()

        aside = greenlet(switch_back)
        aside.switch()  # its stack begins here, and the calls of `recv` have theirs in the same place
        is_plain_asks(monkeypatch, aside.switch)
        for _ in range(3):
            sorted([got], key=lambda to: to.append(one.recv()))
        aside.switch()

    thread = threading.Thread(target=receive)
    receives_asleep(thread, one, other)
    assert got == [b"0", b"1", b"2"]
    assert len(switched) > 1
    named.destroy(linger=0)


EXIT = """\
import atexit, os, sys, threading, time
import zmq
import greenzmq
from support.inside import receivers_of, sleeps_alone
from support.threads import eventually

context = greenzmq.Context(hub="threading")
one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
one.bind("inproc://one")
other.connect("inproc://one")
threading.Thread(target=lambda: [one.recv() for _ in iter(int, 1)], daemon=True).start()
eventually(lambda: receivers_of(one))
other.send(b"warm up")
eventually(lambda: sleeps_alone(one))

class Last:
    def __del__(self, close=one.close, write=os.write):
        try:
            close(linger=0)
        finally:
            write(1, b"has ended")

sys.last_of_all = Last()

def last():
    sys.setswitchinterval(10)
    other.send(b"the daemon thread receives it, and gets the GIL no more")
    end = time.monotonic() + 0.01
    while time.monotonic() < end:
        pass

atexit._clear()
atexit.register(last)
"""


def test_the_interpreter_exits():
    """A daemon thread has received, and never gets the GIL again: what a finalizer then does to the socket ends."""
    command = [sys.executable, "-c", EXIT]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=Path(__file__).parents[1])
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "has ended", "")
