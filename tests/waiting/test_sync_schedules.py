"""Locks, queues, pools and groups under random schedules: on every hub, on the stepping hub, and between threads.

A `Plan` says what each of some greenlets does, how often it lets others run in between, and when it is killed. Whatever
the plan: what must exclude each other does, what was put is what was got, and nobody hangs.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from greenlet import GreenletExit
from hypothesis import given
from hypothesis import strategies as st
from support.random import examples, seeded
from support.sockets import until

import greenzmq
from greenzmq import Empty, Full, ShutDown
from greenzmq.testing import SteppingHub


@dataclass(frozen=True)
class Plan:
    """What one greenlet does.

    Attributes
    ----------
    pauses : tuple of int
        For each of its operations, how often it lets others run, before it and in the midst of it.
    limit : float or None
        Its timeout for each.
    killed_after : int or None
        In which round it is killed; None lets it live.
    """

    pauses: tuple[int, ...]
    limit: float | None
    killed_after: int | None


plans = st.lists(
    st.builds(
        Plan,
        st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
        st.sampled_from([None, None, 0, 0.001]),
        st.sampled_from([None, None, *range(10)]),
    ),
    min_size=2,
    max_size=6,
)


class Trial:
    """What the greenlets work on."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.wrong: list[str] = []

    def begin(self, numbers: Iterable[int]) -> None:
        """Called before the greenlets with these numbers are spawned."""

    def ended(self, number: int) -> None:
        """Called when a greenlet has ended."""

    def work(self, number: int, plan: Plan, sleep: Callable[[], None]) -> None:
        for pause in plan.pauses:
            for _ in range(pause):
                sleep()
            self.operate(number, plan, pause, sleep)

    def operate(self, number: int, plan: Plan, pause: int, sleep: Callable[[], None]) -> None:
        raise NotImplementedError

    def is_over(self) -> bool:
        """Whether nothing goes on any more, when all greenlets have ended."""
        return True

    def check(self) -> None:
        assert not self.wrong


class Excluding(Trial):
    """At most `most` of them are inside at a time."""

    most = 1
    make: Callable[[], Any] = greenzmq.Lock

    def __init__(self) -> None:
        super().__init__()
        self.lock = type(self).make()
        self.inside: dict[object, None] = {}  # each change of a dict is atomic

    def operate(self, number: int, plan: Plan, pause: int, sleep: Callable[[], None]) -> None:
        if plan.limit is None:
            with self.lock:
                self.be_inside(pause, sleep)
        elif self.lock.acquire(True, plan.limit):
            try:
                self.be_inside(pause, sleep)
            finally:
                self.lock.release()

    def be_inside(self, pause: int, sleep: Callable[[], None]) -> None:
        me = object()
        self.inside[me] = None
        try:
            for _ in range(pause):
                sleep()
                if len(self.inside) > self.most:
                    self.wrong.append(f"{len(self.inside)} are inside")
        finally:
            del self.inside[me]

    def check(self) -> None:
        super().check()
        for _ in range(self.most):
            assert self.lock.acquire(False)
        assert not self.lock.acquire(False)


class ExcludingTwice(Excluding):
    make = greenzmq.RLock

    def be_inside(self, pause: int, sleep: Callable[[], None]) -> None:
        with self.lock:
            super().be_inside(pause, sleep)

    def check(self) -> None:
        assert not self.wrong
        assert not self.lock.locked()


class Limited(Excluding):
    most = 2

    @staticmethod
    def make() -> Any:
        return greenzmq.BoundedSemaphore(2)


class Passing(Trial):
    """The even ones put, the odd ones get."""

    make: Callable[[int], Any] = greenzmq.Queue

    def __init__(self) -> None:
        super().__init__()
        self.queue = type(self).make(2)
        self.helped = 0
        self.numbers = itertools.count()
        self.put: list[Any] = []
        self.got: list[Any] = []

    def operate(self, number: int, plan: Plan, pause: int, sleep: Callable[[], None]) -> None:
        if number % 2:
            try:
                self.got.append(self.queue.get(timeout=plan.limit))
            except Empty:
                pass
        else:
            item = (number, next(self.numbers))
            try:
                self.queue.put(item, timeout=plan.limit)
            except Full:
                return
            self.put.append(item)

    def help(self) -> None:
        """Give those who still wait what they wait for: an item, or room, in turns."""
        self.helped += 1
        try:
            if self.helped % 2:
                self.got.append(self.queue.get(False))
            else:
                item = (-1, next(self.numbers))
                self.queue.put(item, False)
                self.put.append(item)
        except (Empty, Full):
            pass

    def check(self) -> None:
        while not self.queue.empty():
            self.got.append(self.queue.get(False))
        assert Counter(self.got) == Counter(self.put)
        for number in range(2):
            self.queue.put((number, 0), False)
        with pytest.raises(Full):
            self.queue.put((0, 0), False)


class Draining(Passing):
    """The even ones put; the last of them closes the queue. The odd ones loop over it.

    Seen to hang, between threads, when the one that took the last item of a closed queue did not tell the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.putting: dict[object, None] = {}

    def begin(self, numbers: Iterable[int]) -> None:
        self.putting = {number: None for number in numbers if number % 2 == 0}

    def work(self, number: int, plan: Plan, sleep: Callable[[], None]) -> None:
        if number % 2:
            for item in self.queue:
                self.got.append(item)
                sleep()
            return
        for pause in plan.pauses:
            for _ in range(pause):
                sleep()
            item = (number, next(self.numbers))
            self.queue.put(item)
            self.put.append(item)

    def ended(self, number: int) -> None:
        self.putting.pop(number, None)
        if not self.putting:
            self.queue.close()

    def help(self) -> None:
        try:
            self.got.append(self.queue.get(False))
        except (Empty, ShutDown):
            pass

    def check(self) -> None:
        while not self.queue.empty():
            self.got.append(self.queue.get(False))
        assert Counter(self.got) == Counter(self.put)


class PassingLast(Passing):
    make = greenzmq.LifoQueue


class PassingSmallest(Passing):
    make = greenzmq.PriorityQueue


class Notifying(Passing):
    """A buffer for two, made of a condition."""

    class Buffer:
        def __init__(self, size: int) -> None:
            self.items: list[Any] = []
            self.size = size
            self.condition = greenzmq.Condition()

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            with self.condition:
                if not self.condition.wait_for(lambda: len(self.items) < self.size, timeout if block else 0):
                    raise Full
                self.items.append(item)
                self.condition.notify_all()

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            with self.condition:
                if not self.condition.wait_for(lambda: self.items, timeout if block else 0):
                    raise Empty
                item = self.items.pop(0)
                self.condition.notify_all()
                return item

        def empty(self) -> bool:
            return not self.items

    make = Buffer


def sleep_here() -> None:
    """Let others run, in a task that may be a native thread of its own."""
    greenzmq.hub().sleep()


class Pooling(Trial):
    """No more than two calls of the pool at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = greenzmq.Pool(2)
        self.feeders: list[greenzmq.Task[Any]] = []
        self.inside: dict[object, None] = {}

    def operate(self, number: int, plan: Plan, pause: int, sleep: Callable[[], None]) -> None:
        ways = (self.pool.map, self.pool.imap, self.pool.imap_unordered)
        results: Any = ways[number % 3](lambda n: self.call(n, pause, sleep_here), range(4))
        if not isinstance(results, list):
            self.feeders.append(results._feeder)
        found = sorted(results)
        if found != [0, 1, 2, 3]:
            self.wrong.append(str(found))

    def call(self, number: int, pause: int, sleep: Callable[[], None]) -> int:
        me = object()
        self.inside[me] = None
        try:
            for _ in range(pause):
                sleep()
                if len(self.inside) > 2:
                    self.wrong.append(f"{len(self.inside)} are inside")
        finally:
            del self.inside[me]
        return number

    def is_over(self) -> bool:
        # An iterator that was left behind kills what feeds it, and does not wait for its end.
        return all(feeder.done for feeder in self.feeders) and self.pool.free_count() == 2

    def check(self) -> None:
        super().check()
        assert (len(self.pool), self.pool.free_count()) == (0, 2)


class Grouping(Trial):
    """Nothing of a group runs when its block has ended."""

    def operate(self, number: int, plan: Plan, pause: int, sleep: Callable[[], None]) -> None:
        running: list[int] = []

        def member(steps: int) -> None:
            running.append(steps)
            try:
                for _ in range(steps):
                    sleep_here()
                if steps == 3 and plan.killed_after is None:
                    raise KeyError
            finally:
                running.remove(steps)

        try:
            with greenzmq.hub().group() as group:
                for steps in range(pause + 1):
                    group.spawn(member, steps)
                sleep()
        except Exception as error:
            if not isinstance(getattr(error, "exceptions", (error,))[0], KeyError):
                raise
        finally:
            self.wrong += ["a task is left"] * len(running)


TRIALS: list[type[Trial]] = [Excluding, ExcludingTwice, Limited, Passing, Draining, PassingLast, PassingSmallest]
TRIALS += [Notifying, Pooling, Grouping]
of_each = pytest.mark.parametrize("kind", TRIALS, ids=[kind.__name__ for kind in TRIALS])


def spawn_all(hub: greenzmq.GreenHub, trial: Trial, chosen: list[tuple[int, Plan]]) -> list[greenzmq.Task[Any]]:
    """The greenlets on `hub`, and one that kills those that are to be killed."""
    tasks = [hub.spawn(trial.work, number, plan, hub.sleep) for number, plan in chosen]
    for (number, _), task in zip(chosen, tasks, strict=True):
        task.rawlink(lambda _, number=number: trial.ended(number))

    def kill() -> None:
        for now in range(10):
            hub.sleep()
            for (_, plan), task in zip(chosen, tasks, strict=True):
                if plan.killed_after == now:
                    task.kill(block=False)

    return [*tasks, hub.spawn(kill)]


def help_out(trial: Trial) -> None:
    if isinstance(trial, Passing):
        trial.help()


def outcome(task: greenzmq.Task[Any]) -> None:
    """What a task was not to raise comes out."""
    assert task.get() is None or isinstance(task.get(), GreenletExit)


@pytest.mark.torture
@of_each
def test_random_schedules(hub, kind):
    """On every hub."""

    @seeded
    @examples(15, 1_000)
    @given(plans)
    def run(plans: list[Plan]) -> None:
        trial = kind()
        trial.begin(range(len(plans)))
        tasks = spawn_all(hub, trial, list(enumerate(plans)))
        until(hub, lambda: help_out(trial) or (all(task.done for task in tasks) and trial.is_over()))
        for task in tasks:
            outcome(task)
        trial.check()

    run()


@pytest.mark.torture
@of_each
def test_every_order_of_steps(kind):
    """On the stepping hub, where a seed decides which of the ready callbacks is the next, by a clock of its own."""

    @seeded
    @examples(25, 3_000)
    @given(plans, st.integers(0, 2**32))
    def run(plans: list[Plan], seed: int) -> None:
        with SteppingHub(seed=seed) as stepping:
            hub = greenzmq.hub(stepping)
            greenzmq.use_hub(stepping, thread=True)
            try:
                trial = kind()
                trial.begin(range(len(plans)))
                tasks = spawn_all(hub, trial, list(enumerate(plans)))
                for _ in range(200):
                    stepping.settle()
                    stepping.advance(0.01)
                    if all(task.done for task in tasks) and trial.is_over():
                        break
                    help_out(trial)
                assert [task for task in tasks if not task.done] == []
                for task in tasks:
                    outcome(task)
                trial.check()
            finally:
                greenzmq.use_hub(None, thread=True)

    run()


@pytest.mark.torture
@of_each
def test_between_threads(hub, kind):
    """Half of the greenlets run in two native threads, each on a selector hub of its own."""

    @seeded
    @examples(10, 1_000)
    @given(plans)
    def run(plans: list[Plan]) -> None:
        trial, errors = kind(), []
        trial.begin(range(len(plans)))
        numbered = list(enumerate(plans))
        elsewhere = [numbered[1::4], numbered[2::4]]

        def serve(chosen: list[tuple[int, Plan]]) -> None:
            try:
                own = greenzmq.hub()
                for task in spawn_all(own, trial, chosen):
                    outcome(task)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=greenzmq.main, args=(serve, chosen)) for chosen in elsewhere]
        for thread in threads:
            thread.start()
        tasks = spawn_all(hub, trial, numbered[0::4] + numbered[3::4])
        until(hub, lambda: help_out(trial) or all(task.done for task in tasks))
        until(hub, lambda: help_out(trial) or not any(thread.is_alive() for thread in threads))
        until(hub, trial.is_over)
        for thread in threads:
            thread.join()
        for task in tasks:
            outcome(task)
        assert not errors
        trial.check()

    run()
