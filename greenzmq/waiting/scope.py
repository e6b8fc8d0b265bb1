"""What a function makes that somebody else has to end: its tasks and contexts, also those of the tasks it spawned.

A scope travels in the `contextvars` context, which a task copies from whoever spawns it. So it knows what was made on
behalf of one function, and nothing that another thread or program part has made meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Scope", "note_context", "note_task"]


class Scope:
    """The tasks and contexts that were made inside it.

    Attributes
    ----------
    tasks : WeakSet
        Those that live. They are not kept alive: a running one lives anyway.
    contexts : set
        Those that are not closed. They are kept alive: a context that a function drops when it returns may still have
        messages to send, and somebody has to wait for them.
    """

    def __init__(self) -> None:
        self.tasks: weakref.WeakSet[Any] = weakref.WeakSet()
        self.contexts: set[Any] = set()

    @contextmanager
    def entered(self) -> Iterator[Scope]:
        """Note what is made by this block, and by what it spawns."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


_current: ContextVar[Scope | None] = ContextVar("greenzmq.waiting.scope", default=None)


def note_task(task: Any) -> None:
    """A task was made here."""
    scope = _current.get()
    if scope is not None:
        scope.tasks.add(task)


def note_context(context: Any) -> None:
    """A context was made here."""
    scope = _current.get()
    if scope is not None:
        scope.contexts.difference_update([other for other in list(scope.contexts) if other.closed])
        scope.contexts.add(context)
