"""Where an asyncio task waits that has made a call of `greenzmq.aio`: for `greenzmq.diagnostics`. No asyncio here."""

from __future__ import annotations

from types import FrameType
from typing import Any

from .sockets.directions import POLLIN, Direction
from .sockets.operations import SocketState

__all__ = ["called", "is_task", "task_frames"]


def is_task(party: Any) -> bool:
    """Whether a waiter's party is an asyncio task, and no greenlet."""
    return hasattr(party, "get_coro")


def task_frames(task: Any) -> list[FrameType]:
    """The frames of a task's coroutine and of what it awaits, innermost first."""
    frames, awaited = [], task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return frames[::-1]


def called(names: list[str] | None, queue: object) -> str:
    """The call in which a party waits: by the names of greenzmq's frames there, innermost first, or else by its queue.

    A task has no such frames: None. Of a call of the compiled fast path there is only that of `SocketState.perform`.
    """
    outermost = names[-1] if names else ""
    if names is not None and outermost != SocketState.perform.__name__:
        return outermost
    return ("recv" if queue.event == POLLIN else "send") if isinstance(queue, Direction) else "poll"
