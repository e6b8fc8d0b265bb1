"""`Wakeup` loses no notification and sends no more than it has to."""

from __future__ import annotations

import os
import select
import threading

import pytest

from greenzmq.hubs._wakeup import Wakeup


@pytest.fixture
def woken():
    return []


@pytest.fixture
def wakeup(woken):
    wakeup = Wakeup(lambda: woken.append(None))
    yield wakeup
    wakeup.close()


def readable(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup.fd], [], [], 0)[0])


def test_many_notifications_are_one(wakeup, woken):
    """However often it is notified, one byte is sent and one drain empties it."""
    assert not readable(wakeup)
    for _ in range(100):
        wakeup.notify()
    assert readable(wakeup)
    assert os.read(wakeup.fd, 100) == b"\0"


def test_drain_makes_room_for_the_next(wakeup, woken):
    """Each drain calls on_wake once, and the next notification is seen again."""
    for times in range(1, 4):
        wakeup.notify()
        assert readable(wakeup)
        wakeup.drain()
        assert not readable(wakeup)
        assert len(woken) == times


def test_notify_from_on_wake():
    """A notification that comes while on_wake works is not lost."""

    def notify_again() -> None:
        wakeup.notify()

    wakeup = Wakeup(notify_again)
    wakeup.notify()
    for _ in range(3):
        assert readable(wakeup)
        wakeup.drain()
    wakeup.close()


def test_notify_while_it_is_emptied(wakeup, woken, monkeypatch):
    """A notification that comes while drain reads is seen by on_wake, and does not keep later ones from being sent."""
    receiver = wakeup._receiver

    class Receiver:
        def recv(self, size: int) -> bytes:
            wakeup.notify()
            return receiver.recv(size)

    wakeup.notify()
    with monkeypatch.context() as patch:
        patch.setattr(wakeup, "_receiver", Receiver())
        wakeup.drain()
    assert woken
    wakeup.notify()
    assert readable(wakeup)


def test_close(wakeup):
    """After close notify and a second close do nothing, and both descriptors are free."""
    fds = [wakeup.fd, wakeup._sender._socket.fileno()]
    wakeup.close()
    wakeup.notify()
    wakeup.close()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_close_waits_for_senders(wakeup):
    """A thread that is about to send keeps its descriptor open: the byte cannot go to a stranger's file."""
    sender = wakeup._sender
    wakeup.close()
    os.fstat(sender._socket.fileno())
    sender.send()


def test_interrupted_notify(wakeup, monkeypatch):
    """A notification that Ctrl-C ended before the byte was sent does not stand for those that follow."""

    class Interrupted:
        def send(self) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wakeup, "_sender", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            wakeup.notify()
    wakeup.notify()
    assert readable(wakeup)


def test_no_notification_is_lost():
    """Threads that put something in a list and notify find it taken, however the two sides interleave."""
    given, taken = [], []
    wakeup = Wakeup(lambda: [taken.append(given.pop()) for _ in range(len(given))])
    threads = [threading.Thread(target=lambda: [put() for _ in range(3000)]) for _ in range(4)]

    def put() -> None:
        given.append(None)
        wakeup.notify()

    for thread in threads:
        thread.start()
    while len(taken) < 12_000:
        assert select.select([wakeup.fd], [], [], 5)[0], f"asleep after {len(taken)}, with {len(given)} to take"
        wakeup.drain()
    for thread in threads:
        thread.join()
    wakeup.close()
