"""Frames, zero-copy and trackers: what comes back is what pyzmq returns, also for a message that waited."""

from __future__ import annotations

import gc
import weakref

import pytest
import zmq
from support.sockets import (
    connected,
    each,
    fill,
    open_context,
    parked,
    receives,
    sends,
    until,
)

SMALL = b"small"
BIG = b"0123456789abcdef" * 16384  # 256 KiB: beyond pyzmq's copy threshold, which is 64 KiB
ABSENT, FINISHED, PENDING = "no tracker", "a tracker that is done", "a tracker that is not done"


def kind_of(tracker):
    if tracker is None:
        return ABSENT
    assert isinstance(tracker, zmq.MessageTracker)
    return FINISHED if tracker.done else PENDING


#: What is sent, how, and which tracker comes back. `test_the_table_is_pyzmqs` holds it against pyzmq.
TRACKERS = {
    "copied": (lambda: SMALL, {}, ABSENT),
    "copied-tracked": (lambda: SMALL, {"track": True}, ABSENT),
    "copied-big": (lambda: BIG, {"track": True}, ABSENT),
    "small": (lambda: SMALL, {"copy": False}, FINISHED),
    "small-tracked": (lambda: SMALL, {"copy": False, "track": True}, FINISHED),
    "big-untracked": (lambda: BIG, {"copy": False}, ABSENT),
    "big": (lambda: BIG, {"copy": False, "track": True}, PENDING),
    "big-memoryview": (lambda: memoryview(BIG), {"copy": False, "track": True}, PENDING),
    "frame": (lambda: zmq.Frame(BIG, copy=False), {}, ABSENT),
    "frame-tracked": (lambda: zmq.Frame(BIG, track=True, copy=False), {}, PENDING),
    "frame-asked": (lambda: zmq.Frame(BIG, track=True, copy=False), {"track": True}, PENDING),
    "frame-small": (lambda: zmq.Frame(SMALL, track=True), {"copy": False}, FINISHED),
}


def plain_pair(context):
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://x")
    right.connect("inproc://x")
    return left, right


@each("name", TRACKERS)
@pytest.mark.parametrize("multipart", [False, True], ids=["send", "send_multipart"])
def test_the_table_is_pyzmqs(name, multipart):
    """The table above says what pyzmq does."""
    make, keywords, expected = TRACKERS[name]
    with zmq.Context() as context:
        left, right = plain_pair(context)
        with left, right:
            frame = make()
            tracker = left.send_multipart([frame], **keywords) if multipart else left.send(frame, **keywords)
            assert kind_of(tracker) == expected


@pytest.mark.parametrize("multipart", [False, True], ids=["send", "send_multipart"])
@each("name", TRACKERS)
def test_trackers(hub, name, multipart):
    """The tracker is the one that pyzmq returns, and it is done when the receiver has dropped the message."""
    make, keywords, expected = TRACKERS[name]
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        frame = make()
        size = len(frame)
        tracker = left.send_multipart([frame], **keywords) if multipart else left.send(frame, **keywords)
        del frame
        assert kind_of(tracker) == expected
        received = right.recv(copy=False)
        assert len(received) == size
        del received
        if tracker is not None:
            until(hub, lambda: tracker.done)


@pytest.mark.parametrize("multipart", [False, True], ids=["send", "send_multipart"])
@each("name", TRACKERS)
def test_trackers_of_messages_that_waited(hub, name, multipart):
    """The same for a message that waited: attempts in vain leave nothing behind, the tracker is the last one's."""
    make, keywords, expected = TRACKERS[name]
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        fill(left)
        frame = make()
        size = len(frame)
        send = left.send_multipart if multipart else left.send
        task = parked(hub, sends, send, [frame] if multipart else frame, **keywords)
        del frame
        assert [right.recv(), right.recv()] == [b"fill", b"fill"]
        tracker = task.get()
        del task
        assert kind_of(tracker) == expected
        received = right.recv(copy=False)
        assert len(received) == size
        del received
        if tracker is not None:
            until(hub, lambda: tracker.done)


class Payload(bytearray):
    """A buffer that can be watched."""


@pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])
def test_a_zero_copy_buffer_is_let_go(hub, waits):
    """The sender's buffer is not copied, is held until the receiver is done with it, and no longer."""
    payload = Payload(BIG)
    freed = weakref.ref(payload)
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        if waits:
            fill(left)
            task = parked(hub, sends, left.send, payload, copy=False)
            assert [right.recv(), right.recv()] == [b"fill", b"fill"]
            task.get()
            del task
        else:
            left.send(payload, copy=False)
        payload[:4] = b"seen"
        del payload
        gc.collect()
        frame = right.recv(copy=False)
        assert freed() is not None
        assert frame.buffer[:4] == b"seen"
        del frame
        until(hub, lambda: freed() is None)


def test_copy_threshold(hub, context, pair):
    """copy_threshold is the socket's own, settable in the constructor and later, and decides what is copied."""
    left, right = pair
    assert left.copy_threshold == zmq.COPY_THRESHOLD
    assert kind_of(left.send(SMALL, copy=False, track=True)) == FINISHED
    left.copy_threshold = 0
    tracker = left.send(SMALL, copy=False, track=True)
    assert kind_of(tracker) == PENDING
    multipart = left.send_multipart([SMALL, SMALL], copy=False, track=True)
    assert kind_of(multipart) == PENDING
    left.copy_threshold = len(BIG) + 1
    assert kind_of(left.send(BIG, copy=False, track=True)) == FINISHED
    assert [right.recv() for _ in range(5)] == [SMALL, SMALL, SMALL, SMALL, BIG]
    until(hub, lambda: tracker.done and multipart.done)
    with context.socket(zmq.PAIR, copy_threshold=7) as other:
        assert other.copy_threshold == 7


@pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])
def test_received_frames(hub, pair, waits):
    """copy=False gives Frames: with their bytes, with more to follow or not, with a tracker if asked for."""
    left, right = pair

    def receive(**keywords):
        if waits:
            task = parked(hub, receives, right.recv_multipart, **keywords)
            left.send_multipart([SMALL, b"", BIG])
            return task.get()
        left.send_multipart([SMALL, b"", BIG])
        return right.recv_multipart(**keywords)

    parts = receive(copy=False)
    assert [type(part) for part in parts] == [zmq.Frame] * 3
    assert [part.bytes for part in parts] == [SMALL, b"", BIG]
    assert [part.more for part in parts] == [True, True, False]
    assert [part.tracker for part in parts] == [None] * 3
    assert [kind_of(part.tracker) for part in receive(copy=False, track=True)] == [FINISHED] * 3
    assert receive(copy=True, track=True) == [SMALL, b"", BIG]
    left.send(SMALL)
    frame = right.recv(0, False, True)
    assert (frame.bytes, frame.more, kind_of(frame.tracker)) == (SMALL, False, FINISHED)
    assert bytes(frame.buffer) == bytes(memoryview(frame)) == SMALL


def test_a_received_frame_is_sent_on(pair):
    """A Frame goes through a green socket unchanged and may be sent again and again."""
    left, right = pair
    left.send_multipart([SMALL, BIG])
    parts = right.recv_multipart(copy=False)
    for _ in range(2):
        right.send_multipart(parts, copy=False)
        assert left.recv_multipart() == [SMALL, BIG]


def test_big_messages(hub):
    """Megabytes arrive unchanged over tcp, though they fill every buffer on the way and both sides wait."""
    frame = bytes(range(256)) * 32768  # 8 MiB
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, "tcp", sndhwm=1, rcvhwm=1, sndbuf=65536, rcvbuf=65536)
        task = hub.spawn(lambda: [left.send_multipart([frame, frame], copy=n % 2 == 0) for n in range(4)])
        for _ in range(4):
            assert right.recv_multipart() == [frame, frame]
        assert task.get() is not None
