"""Locks, queues, groups and pools under fire: whatever happens at any bytecode of a call, nothing is lost or kept.

Each `Scene` has a greenlet, the target, that makes a call which has to wait, and others that want the same. At the k-th
bytecode of greenzmq that the target runs, for each k, it is killed; or a signal handler raises there, or gives what the
target waits for. In the end the others have had what they wanted, and all is as it was.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from greenlet import GreenletExit
from support.interruptions import Interruption, at_each_bytecode
from support.sync_scenes import ENDS, SCENES, HandlerError, Scene

import greenzmq

#: Of how many bytecodes in a row a normal run takes one.
STRIDE = 29


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


def play(scene: Scene, interruption: Interruption, gives: bool = True) -> bool:
    """Let the target act, and the others after it; then give, unless that is what interrupts."""
    hub = scene.hub
    scene.prepare()
    outcome: list[Any] = []

    def target() -> None:
        try:
            scene.interrupted(interruption)
            outcome.append(None)
        except BaseException as error:
            outcome.append(first_of(error))

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


def first_of(error: BaseException) -> BaseException:
    """What a signal handler has raised, or a kill, perhaps in the group of a `TaskGroup`."""
    failures: tuple[BaseException, ...] = getattr(error, "exceptions", (error,))
    if not all(isinstance(each, (HandlerError, GreenletExit)) for each in failures):
        raise error
    return failures[0]


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
@pytest.mark.parametrize("name", SCENES | ENDS)
def test_a_handler_raises_at_each_bytecode(hub, name):
    """So does an exception out of a signal handler."""
    scenes = SCENES | ENDS
    at_each_bytecode(lambda at: play(scenes[name](hub), SignalHandler(at, raise_error)), STRIDE // 4)


@pytest.mark.torture
@pytest.mark.parametrize("name", [name for name in SCENES if name not in ("Condition.notify", "TaskGroup, failing")])
def test_a_handler_gives_at_each_bytecode(hub, name):
    """What the target waits for comes at any bytecode of its call."""

    def scene(at: int) -> bool:
        played = SCENES[name](hub)
        return play(played, Interruption(at, played.give), gives=False)

    at_each_bytecode(scene, STRIDE)
