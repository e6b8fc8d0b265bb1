"""Locks, queues, groups and pools under fire: whatever happens at any bytecode of a call, nothing is lost or kept.

Each `Scene` has a greenlet, the target, that makes a call which has to wait, and others that want the same. At the k-th
bytecode of greenzmq that the target runs, for each k, it is killed; or a signal handler raises there, or gives what the
target waits for. In the end the others have had what they wanted, and all is as it was.
"""

from __future__ import annotations

import dis
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from greenlet import GreenletExit
from support.interruptions import Interruption, at_each_bytecode
from support.sockets import until

import greenzmq
from greenzmq import Empty, Full

#: Of how many bytecodes in a row a normal run takes one.
STRIDE = 29


class HandlerError(Exception):
    pass


def raise_error() -> None:
    raise HandlerError


class SignalHandler(Interruption):
    """Raises where CPython calls signal handlers since 3.11: at the begin of a function, after a call, in a loop.

    Not in a hub's code, where it would harm the loop; nor in a finalizer, where Python reports what is raised, and goes
    on. Nor in the frame of ``__exit__``, which has to be entered before it can release anything.
    """

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__(at, act)
        self._previous: dict[FrameType, str] = {}

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if event == "opcode":
            name = dis.opname[code.co_code[frame.f_lasti]]
            previous = self._previous.get(frame, "RESUME")
            self._previous[frame] = name
            after_call = previous.startswith(("CALL", "RESUME", "JUMP_BACKWARD")) and not name.startswith("RETURN")
            if not after_call or "/hubs/" in code.co_filename or code.co_name == "__exit__" or is_in(frame, "__del__"):
                return self._step
        return super()._step(frame, event, argument)


def is_in(frame: FrameType | None, name: str) -> bool:
    while frame is not None and frame.f_code.co_name != name:
        frame = frame.f_back
    return frame is not None


# -- the scenes --------------------------------------------------------------------------------------------------------


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

    def member(self) -> None:
        self.running += 1
        try:
            self.gate.wait()
        finally:
            self.running -= 1

    def act(self) -> None:
        group = self.hub.group()
        try:
            with group:
                group.spawn(self.member)
                group.spawn(self.member)
        finally:
            self.log.append(self.running)

    def give(self) -> None:
        self.gate.set()

    def check(self, outcome: Any) -> None:
        assert self.log == [0]


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
}


def play(scene: Scene, interruption: Interruption, gives: bool = True) -> bool:
    """Let the target act, and the others after it; then give, unless that is what interrupts."""
    hub = scene.hub
    scene.prepare()
    outcome: list[Any] = []

    def target() -> None:
        try:
            interruption.call(scene.act)
            outcome.append(None)
        except (HandlerError, GreenletExit) as error:
            outcome.append(error)

    task = hub.spawn(target)
    interruption.task = task
    for _ in range(2):
        hub.sleep()
    scene.compete()
    for _ in range(2):
        hub.sleep()
    if gives or not interruption.happened:
        scene.give()
    scene.finish(task)
    scene.check(outcome[0] if outcome else GreenletExit())
    return interruption.happened


class KillInterruption(Interruption):
    """A kill from elsewhere, which is on its way from that bytecode on."""

    def __init__(self, at: int, hub: greenzmq.GreenHub) -> None:
        super().__init__(at, lambda: hub.hub.call_soon(lambda: self.task.kill(block=False)))


@pytest.mark.torture
@pytest.mark.parametrize("name", SCENES)
def test_killed_at_each_bytecode(hub, name):
    """A kill that is on its way from any bytecode on takes nothing with it."""
    at_each_bytecode(lambda at: play(SCENES[name](hub), KillInterruption(at, hub)), STRIDE)


@pytest.mark.torture
@pytest.mark.parametrize("name", [name for name in SCENES if name not in ("TaskGroup", "Pool.map")])
def test_a_handler_raises_at_each_bytecode(hub, name):
    """So does an exception out of a signal handler."""
    at_each_bytecode(lambda at: play(SCENES[name](hub), SignalHandler(at, raise_error)), STRIDE // 4)


@pytest.mark.torture
@pytest.mark.parametrize("name", [name for name in SCENES if name != "Condition.notify"])
def test_a_handler_gives_at_each_bytecode(hub, name):
    """What the target waits for comes at any bytecode of its call."""

    def scene(at: int) -> bool:
        played = SCENES[name](hub)
        return play(played, Interruption(at, played.give), gives=False)

    at_each_bytecode(scene, STRIDE)
