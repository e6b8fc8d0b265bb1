"""A message of several parts is sent as it was when the call began, whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.inside import replace_send
from support.invariants import idle
from support.sockets import connected, open_context, parked, sends
from support.waiters import drain, fill_completely

import greenzmq

BIG = b"0123456789abcdef" * 8192  # beyond pyzmq's copy threshold


def sent_while(
    socket: Any, peer: Any, hub: greenzmq.GreenHub, parts: Any, change: Callable[[], object], **how: Any
) -> Any:
    """What arrives of a message that had to wait for room, while which `change` was called; and of the next one."""
    fill_completely(socket)
    task = parked(hub, sends, socket.send_multipart, parts, **how)
    change()
    got = drain(peer)
    task.get()
    socket.send_multipart([b"next", b"message"])
    got += drain(peer)
    return [message for message in got if message != [b"fill"]]


@pytest.mark.parametrize("copy", [True, False])
def test_a_list_that_changes(hub, copy):
    """What becomes of the caller's list is no matter. Seen to fail: the message ended with a TypeError in its middle,
    and the next one completed it."""
    changes: list[Callable[[list[Any]], object]] = [
        lambda parts: parts.clear(),
        lambda parts: parts.__setitem__(1, object()),
        lambda parts: parts.append(b"more"),
        lambda parts: parts.reverse(),
    ]
    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        for change in changes:
            parts = [b"1", b"2", b"3"]
            got = sent_while(one, other, hub, parts, lambda: change(parts), copy=copy)  # noqa: B023
            assert got == [[b"1", b"2", b"3"], [b"next", b"message"]]
        idle(one, other)


@pytest.mark.parametrize("content", [b"buffer", BIG], ids=["small", "big"])
def test_buffers_that_are_copied(hub, context, content):
    """What is copied is copied when the call begins. Seen to fail: it was copied when there was room, and a released
    one was a ValueError after the first part."""
    one, other = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    changed, resized, released = bytearray(content), bytearray(content), memoryview(content)

    def change() -> None:
        changed[:3] = b"XYZ"
        resized.clear()
        released.release()

    got = sent_while(one, other, hub, [b"1", changed, resized, released], change)
    assert got == [[b"1", content, content, content], [b"next", b"message"]]
    idle(one, other)


@pytest.mark.parametrize("track", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("content", [b"buffer", BIG], ids=["small", "big"])
def test_buffers_that_are_shared(hub, context, content, track):
    """With ``copy=False`` a buffer is in use until libzmq is done with it: released by others, it is sent all the same,
    and cannot be resized. Seen to fail as above."""
    one, other = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    resized, released = bytearray(content), memoryview(content)

    def change() -> None:
        with pytest.raises(BufferError):
            resized.clear()
        released.release()

    got = sent_while(one, other, hub, [b"1", resized, released], change, copy=False, track=track)
    assert got == [[b"1", content, content], [b"next", b"message"]]
    idle(one, other)


class Stumbling:
    """In place of pyzmq's `send`: at the k-th part it raises, before the part is sent or after."""

    send: Callable[..., Any]

    def __init__(self, at: int, error: BaseException, after: bool, times: int = 1) -> None:
        self.at, self.error, self.after, self.times = at, error, after, times
        self.count = 0

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        if self.times and self.count > self.at:
            self.times -= 1
            if self.after:
                self.send(*args)
            raise self.error
        return self.send(*args)


@pytest.fixture
def stumble(monkeypatch):
    def install(*args: Any, **kwargs: Any) -> None:
        stumbling = Stumbling(*args, **kwargs)
        stumbling.send = replace_send(monkeypatch, stumbling)

    return install


PARTS = [b"1", b"2", b"3"]


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_no_memory(pair, stumble, at, copy):
    """Where there is none for the first part nothing is sent. Later it is sent otherwise: without a copy, or with one.

    Seen to fail: the next message completed what had begun.
    """
    one, other = pair
    stumble(at, MemoryError(), after=False)
    if at == 0:
        with pytest.raises(MemoryError):
            one.send_multipart(PARTS, copy=copy)
    else:
        one.send_multipart(PARTS, copy=copy)
    one.send_multipart([b"next", b"message"])
    assert drain(other) == [*([PARTS] if at else []), [b"next", b"message"]]
    idle(one, other)


def test_no_memory_at_all(pair, stumble):
    """A message that can in no way be sent to its end is an error, and ends: the next one is whole and alone."""
    one, other = pair
    stumble(1, zmq.ZMQError(zmq.ENOTSUP), after=False, times=2)
    with pytest.raises(zmq.ZMQError):
        one.send_multipart(PARTS)
    one.send_multipart([b"next", b"message"])
    assert drain(other) == [[b"1", b""], [b"next", b"message"]]


@pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, greenzmq.Timeout, SystemExit])
def test_a_signal_handler_that_raises(hub, context, stumble, error, at, waits):
    """What is begun is sent to its end, then the handler's exception comes out; when it comes again meanwhile, too.

    Seen to fail: the next message completed what had begun.
    """
    one, other = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)

    def send() -> str:
        try:
            one.send_multipart(PARTS)
        except error:
            return "raised"
        return "sent"

    if waits:
        fill_completely(one)
        task = hub.spawn(send)
        while not sends(one):
            hub.sleep()
    stumble(at, error(), after=True, times=2 if at < 2 else 1)
    if waits:
        drain(other)
        assert task.get() == "raised"
    else:
        assert send() == "raised"
    one.send_multipart([b"next", b"message"])
    assert drain(other) == [PARTS, [b"next", b"message"]]
    idle(one, other)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_signal_that_interrupts_libzmq(pair, monkeypatch, stumble, at):
    """libzmq's call then fails with EINTR and has sent nothing, though the handler's exception comes out after it.

    Seen to happen once in some 10,000 signals: the message lacked a part, or the next one completed it.
    """
    one, other = pair
    monkeypatch.setattr("greenzmq.sockets.calls.zmq_errno", lambda: errno.EINTR)
    stumble(at, KeyboardInterrupt(), after=False)
    with pytest.raises(KeyboardInterrupt):
        one.send_multipart(PARTS)
    one.send_multipart([b"next", b"message"])
    assert drain(other) == [*([PARTS] if at else []), [b"next", b"message"]]
    idle(one, other)


# Only the main thread of a process runs signal handlers.
ALARMED = """
import signal, sys
import greenzmq as zmq

class Alarm(Exception):
    pass

def ring(*_):
    raise Alarm

signal.signal(signal.SIGALRM, ring)
context = zmq.Context(turn=0)
push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
push.hwm = pull.hwm = 0
push.bind("inproc://alarmed")
pull.connect("inproc://alarmed")
whole, wrong = [b"%d" % part for part in range(12)], []
for _ in range(150):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        while True:
            push.send_multipart(whole, copy=sys.argv[1] == "copy")
    except Alarm:
        push.send(b"next")
    while pull.poll(0):
        message = pull.recv_multipart()
        if message not in (whole, [b"next"]):
            wrong.append(message)
print(wrong)
push.close(), pull.close(), context.term()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no alarms")
@pytest.mark.parametrize("how", ["copy", "share"])
def test_a_signal_handler_that_raises_somewhere(how):
    """Wherever in pyzmq's `send` a signal comes, before libzmq has taken a part or after: it is sent once.

    Seen to fail: most messages were completed by the next one; and every third lacked a part when each was taken for
    sent.
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALARMED, how], capture_output=True, text=True, timeout=50
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
