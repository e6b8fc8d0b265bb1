"""Tasks that are native threads, for the hub that runs threads."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import weakref
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import GreenletExit, getcurrent

from .. import hubs
from ..process import unpatched
from ..process.fork import register_after_fork
from .tasks import Task

if TYPE_CHECKING:
    from ..hubs.base import Hub

__all__ = ["ThreadTask", "task_class"]

T = TypeVar("T")


class ThreadTask(Task[T]):
    """A `Task` whose function runs in a native thread of its own. Made by ``greenzmq.threading.hub().spawn(...)``.

    A `kill` is raised in the thread where it waits next, in any call of greenzmq that has to wait; so a thread that
    blocks or computes ends later, or never, and so does a `kill` that waits for its end. `sys.exit` in the function is
    raised in the spawner's main greenlet, at its next wait.

    The thread is a daemon: the interpreter's exit does not wait for it. It is native also where `threading` is patched.

    Attributes
    ----------
    hub : Hub
        That of its thread; until the thread has one, the spawner's.
    """

    def _launch(self, context: contextvars.Context) -> None:
        self._deciding = unpatched.allocate_lock()  # of who decides whether the function is ever called
        self._begun = False
        register_after_fork(self)
        unpatched.start_thread(_Thread(self, context), self.name)

    def _begin(self, context: contextvars.Context, hub: Hub) -> bool:
        """In the new thread: have the function called on its `hub`. Returns whether it is not too late for that."""
        with self._deciding:
            if self._begun:
                return False
            self._begun = True
            self.hub = hub
            self._greenlet = self._new_greenlet(hub, context)
        hub.call_soon(self._greenlet.switch)
        return True

    def _interrupt(self, error: BaseException) -> None:
        with self._deciding:
            target, begun, self._begun = self._greenlet, self._begun, True
        if not begun:  # and it will not begin
            self._end_unbegun(error)
        elif target is not None:
            hub: Any = self.hub
            hub.interrupt(target, error)

    def _hub_here(self) -> Hub:
        decision = hubs.decide()
        if decision.rule == hubs.DEFAULT_RULE:  # nobody has said so, but the caller's hub is plain, too
            return type(self.hub).get()
        return super()._hub_here()

    def _greenzmq_after_fork(self) -> None:
        super()._greenzmq_after_fork()
        self._deciding = unpatched.allocate_lock()
        is_here = self._begun and self.hub.thread_id == unpatched.get_ident()  # the task itself has forked
        if not (self._done or is_here):  # its thread is the parent's, and nobody else would ever end it
            self._begun = True
            self._end_unbegun(GreenletExit())


class _Thread:
    """What a task's thread calls: it runs the thread's hub until the task has ended."""

    def __init__(self, task: ThreadTask[Any], context: contextvars.Context) -> None:
        self._task: ThreadTask[Any] | None = task
        self._known = weakref.ref(task)
        self._context = context
        self._native_id = 0

    def __call__(self) -> None:
        self._native_id = unpatched.get_native_id()
        _running.add(self)
        try:
            self._run()
        finally:
            _left.append((monotonic(), self._native_id))
            _running.discard(self)
            while _left and _left[0][0] < monotonic() - _VANISHES:
                _left.popleft()

    def _run(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        try:
            hub = self._make_hub(task)
        except Exception as error:  # no descriptors are left for a loop
            task._interrupt(error)
            return
        try:
            if task._begin(self._context, hub):
                ended = _Ended(hub)
                task.rawlink(ended)
                del task  # it is kept by its frame, and is to be collected as soon as it has ended
                while not ended.is_set:
                    hub.switch()
        except BaseException as error:  # SystemExit: it belongs to the whole program (rule 4 of hubs/base)
            hub.pass_on(error)
        finally:
            hub.close()

    def is_over(self) -> bool:
        """Whether its task has ended, so that it does so, too."""
        task = self._known()
        return task is None or task.done

    @staticmethod
    def _make_hub(task: ThreadTask[Any]) -> Any:
        spawner: Any = task.hub
        hub: Any = type(spawner).get()
        hub.has_spawner(spawner)
        return hub


class _Ended:
    """The link that brings the thread's main greenlet back when the task has ended."""

    def __init__(self, hub: Hub) -> None:
        self.is_set = False
        self._hub = hub
        self._main = getcurrent()

    def __call__(self, _: object) -> None:
        self.is_set = True
        self._hub.call_soon(self._main.switch)


def task_class(hub: Hub) -> type[Task[Any]]:
    """The class of the tasks on `hub`."""
    return ThreadTask if hub.runs_threads else Task


# greenlet frees what it has of a thread in the thread's very last moment, when Python knows no more of it. If the
# interpreter is torn down meanwhile, the process crashes. So a process that exits right after the end of its threads
# waits until they are gone; that takes some 100 µs. Threads that block, or wait, are not waited for.

#: Seconds within which a thread that has returned is gone, even on a busy machine.
_VANISHES = 1.0
_running: set[_Thread] = set()
#: When each of the last threads has returned, and its number.
_left: deque[tuple[float, int]] = deque()


@atexit.register
def _let_threads_vanish() -> None:
    until = monotonic() + _VANISHES
    pause = unpatched.allocate_lock()
    pause.acquire()
    while monotonic() < until and (
        any(thread.is_over() for thread in list(_running)) or any(_exists(number) for _, number in list(_left))
    ):
        pause.acquire(timeout=0.001)


def _exists(native_id: int) -> bool:
    """Whether a thread of this process that has just returned is still there; where nobody can tell, for a while."""
    if sys.platform == "linux":
        return os.path.exists(f"/proc/self/task/{native_id}")
    return any(number == native_id and when > monotonic() - _VANISHES / 20 for when, number in list(_left))
