"""What is done once in a process, by whatever greenlets and threads ask for it: `ParkingLock`, and what it guards."""

from __future__ import annotations

import gc
import itertools
import os
import threading
from contextlib import contextmanager

import pytest
import zmq
from support.sockets import never_switches, open_context, tick, until
from zmq.utils import garbage

import greenzmq
from greenzmq.waiting.locks import ParkingLock


class Gate:
    """Where each `__init__` of a class waits, and how many have come there."""

    def __init__(self):
        self.opened = greenzmq.GreenEvent()
        self.come = 0

    def __call__(self):
        self.come += 1
        self.opened.wait()


@contextmanager
def context_class(hub, before_init):
    """A Context whose `__init__` first calls `before_init`. Its instance ends with the block."""

    class Slow(greenzmq.Context):
        _instance = None

        def __init__(self, *args, **kwargs):
            before_init()
            super().__init__(*args, **kwargs, hub=hub)

    try:
        yield Slow
    finally:
        if Slow._instance is not None:
            Slow._instance.term()


def test_one_instance_for_many_greenlets(hub):
    """Greenlets that ask for `Context.instance()` while one makes it get the same one; the hub goes on meanwhile.

    Seen to stop the thread for good at the second greenlet, which waited for a native lock that the first one had.
    """
    gate = Gate()
    with context_class(hub, gate) as slow:
        tasks = [hub.spawn(slow.instance) for _ in range(5)]
        tick(hub, *tasks)
        assert "instance <ParkingLock of Context.instance()>" in str(greenzmq.waiters()[-1])
        gate.opened.set()
        assert len({id(task.get()) for task in tasks}) == gate.come == 1


def test_one_instance_for_threads(hub):
    """A thread without a hub waits for the instance that a greenlet makes, and a greenlet for that of a thread."""
    for first, second in itertools.permutations([hub.run, hub.run_in_thread]):
        gate = Gate()
        with context_class(hub, gate) as slow:
            tasks = [hub.spawn(first, slow.instance)]
            until(hub, lambda gate=gate: gate.come)
            tasks += [hub.spawn(second, slow.instance) for _ in range(2)]
            tick(hub, *tasks)
            gate.opened.set()
            assert len({id(task.get()) for task in tasks}) == gate.come == 1


def test_an_instance_that_cannot_be_made(hub):
    """The `__init__` raises: its caller hears of it, and the next one in the queue makes the instance."""
    fails = [True]

    def fail_once() -> None:
        hub.sleep()
        if fails:
            raise OSError(fails.pop())

    with context_class(hub, fail_once) as slow:
        tasks = [hub.spawn(slow.instance) for _ in range(3)]
        with pytest.raises(OSError, match="True"):
            tasks[0].get()
        assert tasks[1].get() is tasks[2].get()


def test_killed_in_the_queue_and_at_work(hub):
    """Greenlets killed while they wait for the lock, or while they have it, leave it to the others."""
    gate = Gate()
    with context_class(hub, gate) as slow:
        tasks = [hub.spawn(slow.instance) for _ in range(4)]
        tick(hub, *tasks)
        tasks[1].kill()
        tasks[0].kill()
        until(hub, lambda: gate.come == 2)
        gate.opened.set()
        assert tasks[2].get() is tasks[3].get()
        assert gate.come == 2


def test_an_instance_asked_for_by_its_own_init(hub):
    """An `__init__` that asks for the instance is told so. Seen to wait for itself for good, as pyzmq's does."""

    def ask() -> None:
        asks.instance()

    message = r"Context.instance\(\) was called again before it had ended"
    with context_class(hub, ask) as asks, pytest.raises(RuntimeError, match=message):
        asks.instance()


def test_where_nothing_can_park(hub):
    """In a hub callback the lock of this thread's greenlet is an error that says so; another thread's is waited for."""
    outcome = []

    def ask(slow: type[greenzmq.Context]) -> None:
        try:
            outcome.append(slow.instance())
        except greenzmq.BlockingCallError as error:
            outcome.append(str(error))

    gate = Gate()
    with context_class(hub, gate) as slow:
        task = hub.spawn(slow.instance)
        tick(hub, task)
        hub.hub.call_soon(ask, slow)
        until(hub, lambda: outcome)
        assert "would stop" in outcome.pop()
        task.kill()
        task = hub.spawn(hub.run_in_thread, slow.instance)
        until(hub, lambda: gate.come == 2)
        hub.hub.call_soon(ask, slow)
        threading.Timer(0.02, gate.opened.set).start()  # while the hub stands still
        until(hub, lambda: outcome)
        assert outcome.pop() is task.get()


def test_a_free_lock_is_taken_at_once(hub):
    """Nobody has it: no switch, in a callback of the hub neither."""
    lock = ParkingLock("a test")
    taken = []
    with never_switches(), lock:
        assert not lock.ready()

    def take() -> None:
        with lock:
            taken.append(lock.ready())

    hub.hub.call_soon(take)
    until(hub, lambda: taken)
    assert taken == [False]
    assert lock.ready()


def test_a_lock_is_free_in_a_forked_child(monkeypatch):
    """Who had it in the parent is not there to give it back."""
    lock = ParkingLock("a test")
    with lock:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            assert lock.ready()
            with lock:
                assert not lock.ready()
            assert lock.ready()
        assert not lock.ready()
    assert lock.ready()


def test_an_interruption_leaves_the_lock_free(hub):
    """What a signal handler raises when the lock has just been taken leaves it to others."""

    class Interrupted(dict):
        def setdefault(self, key, value):
            super().setdefault(key, value)
            raise KeyboardInterrupt

    lock = ParkingLock("a test")
    lock._owners = Interrupted()
    with pytest.raises(KeyboardInterrupt), lock:
        pass
    assert lock.ready()


# -- pyzmq's collector -------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped_collector():
    """pyzmq's collector, which a first zero-copy message starts; it runs again at the end."""
    gc.collect()
    garbage.gc.stop()
    yield garbage.gc
    zmq.Frame(bytearray(1), copy=False)


def test_the_collector_starts_once(hub, monkeypatch, stopped_collector):
    """Greenlets whose first zero-copy messages meet start one collector, even if a finalizer switches in its start.

    Seen to stop the thread for good at the second message.
    """
    started = []

    def start() -> None:
        started.append(None)
        hub.sleep()
        type(stopped_collector).start(stopped_collector)

    monkeypatch.setattr(stopped_collector, "start", start)
    tasks = [hub.spawn(zmq.Frame, bytearray(1), copy=False) for _ in range(3)]
    assert [task.get().bytes for task in tasks] == [b"\0"] * 3
    assert len(started) == 1


def test_a_collector_whose_thread_cannot_start(hub, monkeypatch, stopped_collector):
    """The message that would start it is an error; the next one tries again.

    Seen to be taken for running: no buffer was ever freed, and the interpreter's exit waited for the thread.
    """
    with monkeypatch.context() as full:
        full.setattr("greenzmq.process.unpatched.start_new_thread", no_more_threads)
        with pytest.raises(RuntimeError, match="can't start"):
            zmq.Frame(bytearray(1), copy=False)
        assert not stopped_collector.is_alive()
    with open_context(hub) as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        pull.bind("inproc://x")
        push.connect("inproc://x")
        tracker = push.send(bytearray(200_000), copy=False, track=True)
        assert len(pull.recv()) == 200_000
        tracker.wait(10)


def no_more_threads(*_):
    raise RuntimeError("can't start new thread")
