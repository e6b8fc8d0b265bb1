"""Scenes of locks, queues, groups and pools: calls that have to wait, for the tests that interrupt them anywhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from threading import get_ident
from typing import Any

import pytest
from greenlet import GreenletExit
from support.interruptions import Interruption
from support.sockets import until

import greenzmq
from greenzmq import Empty, Full

__all__ = ["ENDS", "SCENES", "HandlerError", "Scene"]


class HandlerError(Exception):
    pass


class Scene:
    """One call that waits, of one class.

    Attributes
    ----------
    others : list of Task
        Those that want the same, and get it in the end.
    """

    def __init__(self, hub: greenzmq.GreenHub) -> None:
        self.hub = hub
        self.others: list[greenzmq.Task[Any]] = []
        self.log: list[Any] = []
        self.given = False

    def prepare(self) -> None:
        """Make the target's call one that has to wait. Called before it."""

    def act(self) -> None:
        """What the target does."""
        raise NotImplementedError

    def interrupted(self, interruption: Interruption) -> None:
        """`act`, with the interruption."""
        interruption.call(self.act)

    def compete(self) -> None:
        """Have the others want the same. Called when the target has begun."""

    def give(self) -> None:
        """Give the target, or who is in its place, what it waits for. May be called once by a signal handler."""

    def finish(self, target: greenzmq.Task[Any]) -> None:
        """Let all of them end."""
        until(self.hub, lambda: target.done and all(task.done for task in self.others))

    def check(self, outcome: Any) -> None:
        """All is as it was; `outcome` is what came out of the target."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> greenzmq.Task[Any]:
        task = self.hub.spawn(function, *args)
        self.others.append(task)
        return task


class LockScene(Scene):
    lock: Any

    def make(self) -> Any:
        return greenzmq.Lock()

    def prepare(self) -> None:
        self.lock = self.make()
        self.lock.acquire()

    def act(self) -> None:
        with self.lock:
            self.log.append("target")

    def other(self) -> None:
        with self.lock:
            self.hub.sleep()
            self.log.append("other")

    def compete(self) -> None:
        for _ in range(2):
            self.spawn(self.other)

    def give(self) -> None:
        if not self.given:
            self.given = True
            self.lock.release()

    def check(self, outcome: Any) -> None:
        assert self.log.count("other") == 2
        self.is_free()

    def is_free(self) -> None:
        assert not self.lock.locked()
        assert self.lock.acquire(False)
        assert not self.lock.acquire(False)


class AcquireScene(LockScene):
    timeout: float | None = None

    def act(self) -> None:
        if self.lock.acquire(True, self.timeout):
            sys.settrace(None)  # this greenlet has to come to its release
            self.lock.release()


class TimeoutScene(AcquireScene):
    """The time is over before it is given."""

    timeout = 0.0005


class SemaphoreScene(LockScene):
    def make(self) -> Any:
        return greenzmq.BoundedSemaphore(1)

    def is_free(self) -> None:
        assert self.lock.value == 1


class RLockScene(LockScene):
    """The lock is another greenlet's, who has to release it."""

    def prepare(self) -> None:
        self.lock = greenzmq.RLock()
        self.gate = greenzmq.GreenEvent()
        self.spawn(self.hold)
        until(self.hub, self.lock.locked)

    def hold(self) -> None:
        with self.lock:
            self.gate.wait()

    def act(self) -> None:
        with self.lock, self.lock:
            self.log.append("target")

    def give(self) -> None:
        self.gate.set()

    def is_free(self) -> None:
        assert not self.lock.locked()
        assert self.hub.run(self.lock.acquire, False)


class ManyScene(Scene):
    """What is given is for one of them only, so it is given until all have it."""

    def finish(self, target: greenzmq.Task[Any]) -> None:
        def all_done() -> bool:
            if not (target.done and all(task.done for task in self.others)):
                self.give()
            return target.done and all(task.done for task in self.others)

        until(self.hub, all_done)


class ConditionScene(ManyScene):
    """Of those who are notified none is missed; and the lock is the target's when its wait is over."""

    def prepare(self) -> None:
        self.condition = greenzmq.Condition(greenzmq.Lock())
        self.notified = 0

    def act(self) -> None:
        with self.condition:
            self.waits()

    def waits(self) -> None:
        if self.condition.wait():
            self.notified += 1

    def other(self) -> None:
        with self.condition:
            self.waits()

    def compete(self) -> None:
        for _ in range(2):
            self.spawn(self.other)
            self.hub.sleep()

    def give(self) -> None:
        if self.condition.acquire(False):
            self.condition.notify()
            self.condition.release()

    def check(self, outcome: Any) -> None:
        assert self.notified >= 2
        assert not self.condition._mutex.locked()


class NotifyScene(ConditionScene):
    """The target notifies."""

    def act(self) -> None:
        with self.condition:
            self.condition.notify_all()


class GetScene(ManyScene):
    items: Any = (1, 2, 3)

    def make(self) -> Any:
        return greenzmq.Queue(2)

    def prepare(self) -> None:
        self.queue = self.make()
        self.left = list(self.items)

    def act(self) -> None:
        self.log.append(self.queue.get())

    def compete(self) -> None:
        for _ in range(2):
            self.spawn(self.act)

    def give(self) -> None:
        if not self.left:
            return
        item = self.left.pop()
        try:
            self.queue.put(item, False)
        except Full:
            self.left.append(item)

    def check(self, outcome: Any) -> None:
        while self.left or not self.queue.empty():
            self.give()
            self.log.append(self.queue.get(False))
        lost = Counter(self.items) - Counter(self.log)
        assert not Counter(self.log) - Counter(self.items)
        assert not lost or (
            lost.total() == 1 and isinstance(outcome, HandlerError)
        )  # it had the item, and was to return
        self.has_room(2)

    def has_room(self, places: int) -> None:
        """There is room for as many as before, and not for one more."""
        for item in range(places):
            self.queue.put(item, False)
        with pytest.raises(Full):
            self.queue.put(0, False)


class GetLastScene(GetScene):
    def make(self) -> Any:
        return greenzmq.LifoQueue(2)


class GetSmallestScene(GetScene):
    def make(self) -> Any:
        return greenzmq.PriorityQueue(2)


class PutScene(GetScene):
    """The queue is full."""

    def prepare(self) -> None:
        self.queue = self.make()
        self.queue.put(10)
        self.queue.put(11)

    def act(self) -> None:
        self.queue.put(1)

    def compete(self) -> None:
        for item in (2, 3):
            self.spawn(self.queue.put, item)

    def give(self) -> None:
        try:
            self.log.append(self.queue.get(False))
        except Empty:
            pass

    def check(self, outcome: Any) -> None:
        while not self.queue.empty():
            self.give()
        got = Counter(self.log)
        assert got - Counter([1]) == Counter([2, 3, 10, 11])
        if not isinstance(outcome, HandlerError):  # who may come when the item is in
            assert got[1] == (outcome is None)
        self.has_room(2)


class PutSmallestScene(PutScene):
    def make(self) -> Any:
        return greenzmq.PriorityQueue(2)


class JoinScene(Scene):
    def prepare(self) -> None:
        self.queue: greenzmq.Queue[int] = greenzmq.Queue()
        self.queue.put(1)

    def act(self) -> None:
        self.queue.join()

    def compete(self) -> None:
        self.spawn(self.queue.join)

    def give(self) -> None:
        if not self.given:
            self.given = True
            self.queue.get(False)
            self.queue.task_done()

    def check(self, outcome: Any) -> None:
        assert self.queue.unfinished_tasks == 0


class PoolScene(Scene):
    """Each place is somebody's, or free."""

    def prepare(self) -> None:
        self.pool = greenzmq.Pool(1)
        self.gate = greenzmq.GreenEvent()
        self.pool.spawn(self.gate.wait)

    def act(self) -> None:
        self.pool.spawn(self.log.append, "target")

    def compete(self) -> None:
        for _ in range(2):
            self.spawn(self.pool.spawn, self.log.append, "other")

    def give(self) -> None:
        self.gate.set()

    def check(self, outcome: Any) -> None:
        assert self.pool.join(5)
        assert self.log.count("other") == 2
        assert (self.pool.free_count(), len(self.pool)) == (1, 0)


class MapScene(PoolScene):
    def act(self) -> None:
        assert self.pool.map(abs, [-1, -2]) == [1, 2]


class GroupScene(Scene):
    """The tasks of a group have ended when its block has."""

    def prepare(self) -> None:
        self.gate = greenzmq.GreenEvent()
        self.running = 0
        self.over = False

    def member(self) -> None:
        if self.over:
            self.log.append("began after the end")
        self.running += 1
        try:
            self.gate.wait()
        finally:
            self.running -= 1

    def act(self) -> None:
        try:
            with self.hub.group() as group:
                group.spawn(self.member)
                group.spawn(self.member)
                self.go_on()
        finally:
            self.over = True
            self.log.append(self.running)

    def go_on(self) -> None:
        """What else the block does."""

    def give(self) -> None:
        self.gate.set()

    def check(self, outcome: Any) -> None:
        for _ in range(3):
            self.hub.sleep()
        assert self.log == [0]


class FailingGroupScene(GroupScene):
    """The block raises before the tasks have begun: they never do."""

    def go_on(self) -> None:
        raise GreenletExit


class MemberScene(GroupScene):
    """The target is the first task that ends, in its last moments. One in another thread sees no signal handler."""

    first = True

    def interrupted(self, interruption: Interruption) -> None:
        self.interruption = interruption
        self.act()

    def member(self) -> None:
        super().member()
        if self.first and get_ident() == self.hub.hub.thread_id:
            self.first = False
            self.interruption.follow()

    def check(self, outcome: Any) -> None:
        sys.settrace(None)
        super().check(outcome)


class PoolMemberScene(MemberScene):
    """The same of a task of a pool: its place is free again."""

    def act(self) -> None:
        self.pool = greenzmq.Pool(2)
        try:
            self.pool.map(lambda _: self.member(), range(3))
        finally:
            self.log.append(self.running)

    def check(self, outcome: Any) -> None:
        super().check(outcome)
        assert (self.pool.free_count(), len(self.pool)) == (2, 0)


SCENES: dict[str, type[Scene]] = {
    "Condition.notify": NotifyScene,
    "Condition.wait": ConditionScene,
    "LifoQueue.get": GetLastScene,
    "Lock": LockScene,
    "Lock.acquire": AcquireScene,
    "Lock.acquire, in vain": TimeoutScene,
    "Pool.map": MapScene,
    "Pool.spawn": PoolScene,
    "PriorityQueue.get": GetSmallestScene,
    "PriorityQueue.put": PutSmallestScene,
    "Queue.get": GetScene,
    "Queue.join": JoinScene,
    "Queue.put": PutScene,
    "RLock": RLockScene,
    "Semaphore": SemaphoreScene,
    "TaskGroup": GroupScene,
    "TaskGroup, failing": FailingGroupScene,
}
#: Those in which a kill of the target, or what it waits for, would come after its function has returned.
ENDS: dict[str, type[Scene]] = {"TaskGroup, the end of a task": MemberScene, "Pool, the end of a task": PoolMemberScene}
