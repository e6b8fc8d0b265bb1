"""MessageTracker.wait parks the greenlet: for sends, frames and collections of both; time, kills and threads."""

from __future__ import annotations

import gc
import threading

import pytest
import zmq
from support.children import Child, need, run
from support.inside import events_of, links_of
from support.polling import goes_on
from support.proxies import ticking
from support.sockets import connected, never_switches, open_context, tick, until

import greenzmq
from greenzmq.sockets import tracker as trackers

BIG = bytes(100_000)


def waiting(hub, tracker, *args):
    """A greenlet that is parked in ``tracker.wait``."""
    task = hub.spawn(tracker.wait, *args)
    tick(hub, task)
    return task


SPELLINGS = {
    "send": lambda push: push.send(BIG, copy=False, track=True),
    "send NOBLOCK": lambda push: push.send(BIG, zmq.NOBLOCK, copy=False, track=True),
    "send_multipart": lambda push: push.send_multipart([b"head", BIG], copy=False, track=True),
    "send_serialized": lambda push: push.send_serialized(BIG, lambda data: [data], copy=False, track=True),
    "Frame": lambda push: push.send(greenzmq.Frame(BIG, track=True), copy=False, track=True),
    "Frame, not asked": lambda push: push.send(greenzmq.Frame(BIG, track=True), copy=False),
    "Frame, its own": lambda push: send_and_return_its_own(push, greenzmq.Frame(BIG, track=True)),
    "Message": lambda push: push.send(greenzmq.Message(BIG, track=True), copy=False, track=True),
    "collection": lambda push: greenzmq.MessageTracker(
        push.send(BIG, copy=False, track=True), greenzmq.Frame(b"small", track=True)
    ),
    "nested": lambda push: greenzmq.MessageTracker(zmq.MessageTracker(push.send(BIG, copy=False, track=True))),
}


def send_and_return_its_own(push, frame):
    push.send(frame, copy=False)
    return frame.tracker


def test_wait_parks_the_greenlet(hub):
    """However it is sent: the tracker is pyzmq's, wait() lets others run and ends when libzmq is done with it."""
    for spelling in SPELLINGS:
        print(spelling)
        wait_parks(hub, spelling)


def wait_parks(hub, spelling):
    with open_context(hub) as context, ticking(hub) as ticks:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        tracker = SPELLINGS[spelling](push)
        assert isinstance(tracker, zmq.MessageTracker)
        assert isinstance(tracker, greenzmq.MessageTracker)
        assert not tracker.done
        task = waiting(hub, tracker)
        before = ticks[0]
        until(hub, lambda: ticks[0] > before + 2)
        assert not task.done
        pull.recv_multipart()
        goes_on(hub, task)
        assert task.get() is None
        assert tracker.done
        with never_switches():
            assert tracker.wait() is None
            assert tracker.wait(0) is None


def test_a_send_that_has_to_wait_is_tracked(hub, context):
    """The tracker of a message that first found no room, sent by send and by send_multipart."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
    for send, message in ((push.send, BIG), (push.send_multipart, [b"head", BIG])):
        for _ in range(2):
            push.send(b"fill")
        task = hub.spawn(send, message, copy=False, track=True)
        tick(hub, task)
        for _ in range(2):
            pull.recv()
        goes_on(hub, task)
        tracker = task.get()
        assert isinstance(tracker, trackers.MessageTracker)
        assert not tracker.done
        pull.recv_multipart()
        tracker.wait(10)


def test_what_was_copied_is_done(push_pull):
    """A small message, a received frame: done from the start, wait() never switches. Untracked sends return None."""
    push, pull = push_pull
    for tracker in (push.send(b"small", copy=False, track=True), greenzmq.Frame(b"small", track=True).tracker):
        assert isinstance(tracker, greenzmq.MessageTracker)
        assert tracker is greenzmq._FINISHED_TRACKER, "as in pyzmq; seen when each had a tracker of its own"
        assert tracker.done
        with never_switches():
            tracker.wait()
            tracker.wait(0)
    assert push.send_multipart([b"a", b"b"], copy=False, track=True) is greenzmq._FINISHED_TRACKER
    assert push.send(b"copied", track=True) is None
    assert push.send(b"copied") is None
    assert push.send_multipart([b"copied", b"too"]) is None
    received = pull.recv(copy=False, track=True)
    received.tracker.wait(0)
    assert isinstance(received, greenzmq.Frame)
    assert isinstance(received.tracker, greenzmq.MessageTracker)
    assert not isinstance(b"", greenzmq.Frame)


def test_errors_are_pyzmqs(context):
    """An untracked Frame sent with track, text in place of bytes, an object that cannot be tracked."""
    _, push = connected(context, zmq.PULL, zmq.PUSH)
    for frame in (greenzmq.Frame(BIG), zmq.Frame(BIG)):
        assert frame.tracker is None
        with pytest.raises(ValueError, match="Not a tracked message"):
            push.send(frame, copy=False, track=True)
        with pytest.raises(ValueError, match="Not a tracked message"):
            greenzmq.MessageTracker(frame)
    for copy in (True, False):
        with pytest.raises(TypeError):
            push.send("text", copy=copy, track=True)
    with pytest.raises(TypeError):
        greenzmq.MessageTracker("text")


def test_time_runs_out(hub, push_pull):
    """NotDone after the timeout, which is in seconds and counts over all events; 0 looks only. Then it still works."""
    push, pull = push_pull
    tracker = push.send(BIG, copy=False, track=True)
    both = greenzmq.MessageTracker(tracker, push.send(BIG, copy=False, track=True))
    with never_switches(), pytest.raises(zmq.NotDone):
        tracker.wait(0)
    for each in (tracker, both):
        with pytest.raises(zmq.NotDone):
            each.wait(0.01)
    task = waiting(hub, both, False)  # pyzmq takes False for no limit
    pull.recv()
    tracker.wait(10)
    with pytest.raises(zmq.NotDone):
        both.wait(0.01)
    assert not task.done
    pull.recv()
    task.get()
    both.wait(10)


def test_a_killed_waiter_costs_nobody(hub, push_pull):
    """Several greenlets and a native thread wait for one message; a killed one leaves the others to be woken."""
    push, pull = push_pull
    tracker = push.send(BIG, copy=False, track=True)
    tasks = [waiting(hub, tracker) for _ in range(3)]
    thread = threading.Thread(target=super(trackers.MessageTracker, tracker).wait, args=(20,), daemon=True)
    thread.start()
    tasks.pop(0).kill()
    pull.recv()
    goes_on(hub, *tasks)
    thread.join(10)
    assert not thread.is_alive()


def test_waits_that_time_out_pile_up_nothing(hub, push_pull):
    """A thousand waits that end early leave one entry in the event's queue, and none of their waiters."""
    push, pull = push_pull
    tracker = push.send(BIG, copy=False, track=True)
    tasks = [hub.spawn(tracker.wait, 0.001) for _ in range(1000)]
    for task in tasks:
        with pytest.raises(zmq.NotDone):
            task.get()
    (event,) = events_of(tracker)
    (bell,) = event._cond._waiters
    assert links_of(bell) == 0
    pull.recv()
    tracker.wait(10)


def test_none_is_lost(hub, push_pull):
    """500 messages, each received at once, right where the collector's thread and the waiter may meet."""
    push, pull = push_pull

    def receive():
        for _ in range(500):
            pull.recv()

    task = hub.spawn(receive)
    for _ in range(500):
        push.send(BIG, copy=False, track=True).wait()
    task.get()


def test_events_of_other_makes(hub):
    """An event that has neither a condition nor gevent's methods is waited for in a native thread."""

    class Odd:
        def __init__(self):
            self.event = threading.Event()
            self.is_set, self.wait, self.set = self.event.is_set, self.event.wait, self.event.set

    tracker = greenzmq.MessageTracker()
    odd = Odd()
    tracker.events.add(odd)
    task = waiting(hub, tracker, 20)
    odd.set()
    goes_on(hub, task)
    tracker.events.add(late := Odd())
    with pytest.raises(zmq.NotDone):
        tracker.wait(0.01)
    late.set()  # which lets the thread go


def test_frames_are_collected(hub, push_pull):
    """A tracked frame and its green tracker go when they are dropped, and the buffer with them."""
    push, pull = push_pull
    alive = []

    class Buffer(bytearray):
        def __del__(self):
            alive.append("gone")

    frame = greenzmq.Frame(Buffer(BIG), track=True)
    push.send(frame, copy=False)
    tracker = frame.tracker
    del frame
    pull.recv()
    tracker.wait(10)
    gc.collect()
    until(hub, lambda: alive)


PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("order", ["patched first", "zmq first"])
@pytest.mark.parametrize("runtime", PATCHES)
def test_where_threading_is_patched(runtime, order, request):
    """Whether pyzmq's events are the standard library's, such with green locks, or gevent's own."""
    lines = [PATCHES[runtime], "import zmq"]
    child = Child("\n".join(lines if order == "patched first" else lines[::-1]), needs=(runtime,))
    need(request, child)
    done = run(Child(f"{child.program}\nfrom programs import trackers\ntrackers.run({runtime!r})"))
    assert (done.status, done.out.splitlines(), done.err) == (0, ["not done", "waits", "done"], "")
