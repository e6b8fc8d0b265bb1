"""`greenzmq.testing.SteppingHub`: a hub whose steps, clock and order are in the hands of a test."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import zmq
from support.hub_thread import new_descriptors, open_descriptors
from support.sockets import connected, open_context
from support.torture import scale

import greenzmq
from greenzmq import BlockingCallError, HubError
from greenzmq.process import unpatched
from greenzmq.testing import HUB_CHECKS, MAIN_GREENLET_CHECKS, StalledError, SteppingHub, check_socket

pytestmark = pytest.mark.all_loops

#: Not for a clock that moves when nobody has anything to do: these compare it with the real one, or with a thread.
BY_THE_REAL_CLOCK = ("check_later_is_not_early", "check_thread_wakes", "check_far_future")
CHECKS = [check for check in (*HUB_CHECKS, *MAIN_GREENLET_CHECKS) if check.__name__ not in BY_THE_REAL_CLOCK]


@pytest.fixture
def stepping() -> Iterator[SteppingHub]:
    before = open_descriptors()
    with SteppingHub() as stepping:
        yield stepping
    assert not new_descriptors(before)


@pytest.fixture
def hub(stepping: SteppingHub) -> greenzmq.GreenHub:
    return greenzmq.hub(stepping)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(stepping, check):
    """Without a seed it is a hub like any other: it passes the checks, but for those of its clock."""
    check(stepping)


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_time_goes_by_when_it_is_told_to(stepping, hub):
    """`advance` makes everything happen that is due, in the order in which it is due, and takes no time."""
    log: list[Any] = []
    start = monotonic()
    for seconds in (7200, 60, 3600, 0, 86400):
        hub.spawn(lambda s: (hub.sleep(s), log.append((s, round(stepping.time)))), seconds)
    stepping.settle()
    assert log == [(0, 0)]
    stepping.advance(59.9)
    assert log == [(0, 0)]
    stepping.advance(7200)
    assert log == [(0, 0), (60, 60), (3600, 3600), (7200, 7200)]
    stepping.advance(86400)
    assert log[4:] == [(86400, 86400)]
    assert stepping.time == pytest.approx(59.9 + 7200 + 86400, abs=0.01)
    assert monotonic() - start < 60


def test_timeouts_of_every_kind(stepping, hub):
    """Sockets, pollers, events, tasks and `hub.timeout` time out by the hub's clock, those set together at once."""
    log: list[str] = []

    def expect(name: str, error: Any, wait: Any) -> None:
        try:
            assert not wait()
        except error:
            pass
        log.append(f"{name} {stepping.time:.3f}")

    def limited() -> None:
        with hub.timeout(5):
            hub.sleep(1000)

    with open_context(hub, turn=0) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH, rcvtimeo=5000)
        poller = greenzmq.Poller(hub=hub)
        poller.register(pull, zmq.POLLIN)
        waits = {
            "recv": (zmq.Again, pull.recv),
            "poll": ((), lambda: pull.poll(5000)),
            "Poller": ((), lambda: poller.poll(5000)),
            "event": ((), lambda: greenzmq.GreenEvent().wait(5)),
            "timeout": (greenzmq.Timeout, limited),
        }
        tasks = [hub.spawn(expect, name, *wait) for name, wait in waits.items()]
        stepping.advance(4)  # what a call takes before it waits counts, by the real clock
        assert log == []
        stepping.advance(1.01)
        assert all(task.done for task in tasks)
        assert {entry.split()[0] for entry in log} == set(waits)
        assert all(4 <= float(entry.split()[1]) <= 5.01 for entry in log), log
        poller.unregister(pull)
        check_socket(pull, idle=True)


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1, 5])
def test_what_lasts_no_longer_is_over(stepping, hub, seconds):
    """`advance` ends all sleeps of that length, in whichever step they began, and none that is longer."""
    stepping.advance(1.234567)
    tasks = [hub.spawn(hub.sleep, seconds) for _ in range(5)]
    longer = hub.spawn(hub.sleep, seconds + 0.002)
    stepping.settle()
    stepping.advance(seconds)
    assert all(task.done for task in tasks)
    assert not longer.done
    stepping.advance(1)


def test_the_far_future(stepping, hub):
    """What is due never, or in an age of the world, neither happens nor hinders anything."""
    tasks = [hub.spawn(hub.sleep, seconds) for seconds in (3e10, 1e300, float("inf"))]
    hub.sleep(3e6)
    stepping.advance(3e6)
    assert not any(task.done for task in tasks)
    for task in tasks:
        task.kill(block=False)
    stepping.settle()


def test_by_itself_the_clock_jumps(stepping, hub):
    """With the main greenlet parked it runs freely, and goes on to the next timer when there is nothing else to do."""
    assert hub.run(lambda: [hub.sleep(3600) for _ in range(3)]) == [None] * 3
    assert stepping.time == pytest.approx(3 * 3600, abs=0.01)
    hub.sleep(0.25)
    assert stepping.time == pytest.approx(3 * 3600 + 0.25, abs=0.01)


# -- steps and their order ---------------------------------------------------------------------------------------------


def test_steps(stepping, hub):
    """A step is one callback; `settle` makes all there are, and tells how many; neither moves the clock."""
    log: list[int] = []
    for number in range(3):
        stepping.call_soon(log.append, number)
    hub.spawn(hub.sleep, 1)
    for number in range(3):
        assert stepping.step()
        assert log == list(range(number + 1))
    assert stepping.settle() == 1
    assert not stepping.step()
    assert stepping.settle() == 0
    assert stepping.time < 0.001
    stepping.advance(2)


def schedule(seed: int | None) -> list[int]:
    """The order in which five greenlets send, twice each, and a sixth receives."""
    with SteppingHub(seed) as stepping:
        hub = greenzmq.hub(stepping)
        with open_context(hub, turn=0) as context:
            pull, push = connected(context, zmq.PULL, zmq.PUSH)
            got = []

            def send(number: int) -> None:
                for _ in range(2):
                    hub.sleep(0)
                    push.send(b"%d" % number)

            receiver = hub.spawn(lambda: [got.append(int(pull.recv())) for _ in range(10)])
            for number in range(5):
                hub.spawn(send, number)
            stepping.settle()
            assert receiver.done
            return got


def order_of_timers(seed: int | None) -> list[int]:
    """The order of calls that are due after the same time, asked for one step after the other."""
    with SteppingHub(seed) as stepping:
        called: list[int] = []
        for number in range(5):
            stepping.call_later(1, called.append, number)
            stepping.call_soon(int)
            stepping.settle()
        stepping.advance(1)
        return called


@pytest.mark.parametrize("schedule", [schedule, order_of_timers])
def test_the_seed_is_the_schedule(schedule):
    """Without a seed callbacks keep their order; a seed gives the same schedule each time, other seeds others."""
    in_order = schedule(None)
    assert in_order == [0, 1, 2, 3, 4] * (len(in_order) // 5)
    seen = {tuple(schedule(seed)) for seed in range(8)}
    assert seen == {tuple(schedule(seed)) for seed in range(8)}
    assert len(seen) > 4


def test_a_kill_at_every_step(stepping, hub):
    """What such a hub is for: a receiver killed after each step there is, one after the other, loses no message."""
    with open_context(hub, turn=0) as context:
        steps, ended = 0, False
        while not ended:
            pull, push = connected(context, zmq.PULL, zmq.PUSH)
            got: list[bytes] = []
            task = hub.spawn(lambda got=got, pull=pull: got.append(pull.recv()))
            sender = hub.spawn(lambda push=push: (hub.sleep(0), push.send(b"message")))
            for _ in range(steps):
                ended = not stepping.step()
            task.kill(block=False)
            stepping.settle()
            assert sender.done
            if not got:
                got.append(pull.recv(zmq.NOBLOCK))
            assert got == [b"message"]
            check_socket(pull, idle=True)
            steps += 1
        assert steps > 5


# -- what cannot go on -------------------------------------------------------------------------------------------------


def test_a_program_that_does_not_settle(stepping, hub, monkeypatch):
    """One that only lets others have their turn is found out, and named."""
    monkeypatch.setattr("greenzmq.testing.stepping._MANY", 100)

    def spins() -> None:
        while True:
            hub.sleep(0)

    task = hub.spawn(spins)
    with pytest.raises(StalledError, match=r"does not settle within 100 steps[^$]*in spins"):
        stepping.settle()
    task.kill(block=False)
    stepping.settle()


def test_a_deadlock():
    """Nobody can go on and no time will change it: the main greenlet is told, and who waits for what."""
    with SteppingHub() as stepping:
        hub = greenzmq.hub(stepping)
        with open_context(hub) as context:
            pull, _ = connected(context, zmq.PULL, zmq.PUSH)
            patience, stepping.give_up = stepping.give_up, 0
            with pytest.raises(StalledError, match=r"no greenlet can go on[^$]*recv PULL inproc://"):
                pull.recv()
            check_socket(pull, idle=True)
            stepping.give_up = patience  # libzmq's thread takes its time to end the context


def test_other_threads_and_descriptors():
    """With `patience` what other threads do comes before the clock moves; and `settle` waits for it, too."""
    with SteppingHub(patience=5) as stepping:
        hub = greenzmq.hub(stepping)
        with hub.timeout(0.001):
            assert hub.run_in_thread(int, "1") == 1
        assert stepping.time < 0.001
        with open_context(hub) as context:
            pull, push = connected(context, zmq.PULL, zmq.PUSH, "tcp")
            task = hub.spawn(pull.recv)
            push.send(b"x")
            assert hub.run(task.get) == b"x"
            task = hub.spawn(pull.recv)
            stepping.patience = 0.01
            push.send(b"x")
            while not task.done:
                stepping.settle()
            assert stepping.time < 0.001


def test_interrupt_in_a_step(stepping, hub):
    """Ctrl-C in a greenlet that a step runs comes out of the step, and the hub goes on."""

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        hub.spawn(interrupted)
        with pytest.raises(KeyboardInterrupt):
            stepping.settle()
    finally:
        signal.signal(signal.SIGINT, before)
    task = hub.spawn(int, "1")
    stepping.settle()
    assert task.get() == 1


# -- one at a time -----------------------------------------------------------------------------------------------------


def test_one_in_a_thread(stepping):
    """A second one is refused until the first is closed; other threads have their own."""
    with pytest.raises(HubError, match=r"this thread has <.*> already; close\(\) it before"):
        SteppingHub()
    assert SteppingHub.current() is SteppingHub.get() is stepping
    found: list[Any] = []
    done = unpatched.allocate_lock()
    done.acquire()

    def elsewhere() -> None:
        try:
            with SteppingHub() as other:
                found.append(other)
        finally:
            done.release()

    unpatched.start_new_thread(elsewhere, ())
    assert done.acquire(timeout=30)
    assert found[0] is not stepping
    assert found[0].thread_id != stepping.thread_id
    stepping.close()
    stepping.close()
    assert SteppingHub.current() is None


def test_where_a_step_may_not_begin(stepping, hub):
    """Not in the hub's own greenlet, and not in one that a step runs; any other greenlet of the thread may."""
    found: list[Any] = []

    def step() -> None:
        try:
            stepping.step()
        except HubError as error:
            found.append(error)

    stepping.call_soon(step)
    hub.spawn(step)
    stepping.settle()
    assert [type(error) for error in found] == [BlockingCallError, HubError]
    assert "in the middle of a step" in str(found[1])
    ran: list[int] = []
    stepping.call_soon(ran.append, 1)
    hub.run(stepping.settle)
    assert ran == [1]


def test_it_frees_what_it_has():
    """Closed or not, a hub that is dropped is collected, with its descriptors."""
    before = open_descriptors()
    for _ in range(3):
        stepping = SteppingHub()
        greenzmq.hub(stepping).spawn(int)
        stepping.settle()
        stepping.close()
        del stepping
    gc.collect()
    assert not new_descriptors(before)
    os.stat(".")


class Traffic:
    """Three greenlets that send five messages each, and three that receive, through one pipe with room for two."""

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context, seed: int) -> None:
        self.hub = hub
        self.chance = random.Random(seed)
        self.pull, self.push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
        self.sent: list[int] = []
        self.got: list[int] = []
        self.senders = [hub.spawn(self.send, start) for start in (0, 100, 200)]
        self.receivers = [hub.spawn(self.receive) for _ in range(3)]

    def send(self, start: int) -> None:
        for number in range(start, start + 5):
            self.push.send_multipart([b"%d" % number, b"more"])
            self.sent.append(number)

    def receive(self) -> None:
        while True:
            self.receive_one()

    def receive_one(self, flags: int = 0) -> None:
        self.got.append(int(self.pull.recv_multipart(flags)[0]))

    def check(self, *, idle: bool = False) -> None:
        check_socket(self.pull, idle=idle)
        check_socket(self.push, idle=idle)

    def disturb(self) -> None:
        """Kill somebody, sometimes; a receiver has a successor."""
        if all(task.done for task in self.senders):
            return
        if self.chance.random() < 0.2:
            self.receivers.pop(self.chance.randrange(3)).kill(block=False)
            self.receivers.append(self.hub.spawn(self.receive))
        elif self.chance.random() < 0.05:
            self.chance.choice(self.senders).kill(block=False)

    def end(self) -> None:
        for task in self.receivers:
            task.kill(block=False)


@pytest.mark.torture
def test_no_schedule_loses_a_message():
    """Whatever the schedule, greenlets that are killed while they receive or send lose no message and leave nothing.

    After each step the sockets' invariants are held against what they are. Fails without the look in
    `SocketWaiters.leave`, and where that comes before the waiter has left its queue.
    """
    for seed in range(scale(2000, 10)):
        with SteppingHub(seed) as stepping, open_context(hub := greenzmq.hub(stepping), turn=0) as context:
            traffic = Traffic(hub, context, seed)
            while stepping.step():
                traffic.check()
                traffic.disturb()
            traffic.end()
            stepping.settle()
            while traffic.pull.get(zmq.EVENTS) & zmq.POLLIN:
                traffic.receive_one(zmq.NOBLOCK)
            assert sorted(traffic.got) == sorted(traffic.sent), f"seed {seed}"
            traffic.check(idle=True)
