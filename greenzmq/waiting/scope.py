"""The tasks and contexts that a function and its tasks have made, so that its caller can end them.

The current scope is a context variable, and a task runs in a copy of its spawner's `contextvars` context. So a scope
holds what was made on behalf of one function, and nothing that another thread or part of the program made meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..process.fork import register_after_fork

__all__ = ["Scope", "note_context", "note_task"]


class Scope:
    """The tasks and contexts that were made inside it.

    Attributes
    ----------
    tasks : WeakSet
        The tasks that exist. The references are weak, since a task that runs is kept alive by its own frame.
    contexts : set
        The contexts, without those found closed. They are kept alive: a function may drop its context when it returns
        while messages are still unsent, and the caller has to wait for these.
    """

    def __init__(self) -> None:
        self.tasks: weakref.WeakSet[Any] = weakref.WeakSet()
        self.contexts: set[Any] = set()
        register_after_fork(self)

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: what the parent has made is the parent's to end."""
        self.tasks.clear()
        self.contexts.clear()

    @contextmanager
    def entered(self) -> Iterator[Scope]:
        """Record what is made in this block, and in the tasks that it spawns."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


_current: ContextVar[Scope | None] = ContextVar("greenzmq.waiting.scope", default=None)


def note_task(task: Any) -> None:
    """Add a new task to the current scope, if there is one."""
    scope = _current.get()
    if scope is not None:
        scope.tasks.add(task)


def note_context(context: Any) -> None:
    """Add a new context to the current scope, if there is one."""
    scope = _current.get()
    if scope is not None:
        scope.contexts.difference_update([other for other in list(scope.contexts) if other.closed])
        scope.contexts.add(context)
