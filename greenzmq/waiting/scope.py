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
    tasks : dict
        The set of weak references to the tasks that exist: a task that runs is kept alive by its own frame. Tasks may
        spawn others in other threads at any time, so take what is there by `unfinished`.
    contexts : set
        The contexts, without those found closed. They are kept alive: a function may drop its context when it returns
        while messages are still unsent, and the caller has to wait for these.
    """

    def __init__(self) -> None:
        self.tasks: dict[weakref.ref[Any], None] = {}
        self.contexts: set[Any] = set()
        register_after_fork(self)

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: what the parent has made is the parent's to end."""
        self.tasks.clear()
        self.contexts.clear()

    def add_task(self, task: Any) -> None:
        """Note a new task."""
        self.tasks[weakref.ref(task, self._drop_task)] = None

    def _drop_task(self, reference: weakref.ref[Any]) -> None:
        self.tasks.pop(reference, None)

    def unfinished(self) -> list[Any]:
        """The tasks that have not ended."""
        tasks = [reference() for reference in list(self.tasks)]
        return [task for task in tasks if task is not None and not task.done]

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
        scope.add_task(task)


def note_context(context: Any) -> None:
    """Add a new context to the current scope, if there is one."""
    scope = _current.get()
    if scope is not None:
        scope.contexts.difference_update([other for other in list(scope.contexts) if other.closed])
        scope.contexts.add(context)
