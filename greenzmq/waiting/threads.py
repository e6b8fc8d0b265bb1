"""Tasks that are native threads, for the hub that runs threads."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import weakref
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import GreenletExit, getcurrent

from .. import hubs
from ..hubs.base import HUB_ATTRIBUTE
from ..process import unpatched
from ..process.fork import register_after_fork
from .tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def _prepare(self, context: contextvars.Context) -> Callable[[], object]:
        self._deciding = unpatched.allocate_lock()  # of who decides whether the function is ever called
        self._begun = self._is_refused = False  # refused: a kill has come first, and it will not begin
        register_after_fork(self)
        return partial(self._start_thread, _Thread(self, context))

    def _start_thread(self, thread: _Thread) -> None:
        _running.add(thread)
        try:
            unpatched.start_thread(thread, self.name)
        except BaseException:
            _running.discard(thread)
            raise

    def begin(self, hub: Hub) -> Callable[[], None] | None:
        """In the main greenlet of the new thread, whose `hub` it is. Returns what to call, unless it is too late.

        That greenlet calls the function, and no other one: a thread that is still in another when the interpreter is
        torn down crashes the process, as greenlet's own frames are then unwound.
        """
        main: Any = getcurrent()
        with self._deciding:
            if self._begun:
                return None
            self._begun = True
            self.hub = hub
            self._greenlet = main
        # What `PartialMessage` and others ask of the greenlet of a task; see `TaskGreenlet`.
        main.__dict__.update(
            {HUB_ATTRIBUTE: hub},
            task=weakref.ref(self),
            rawlink=_link_weakly(self, "rawlink"),
            unlink=_link_weakly(self, "unlink"),
        )
        return self._run

    def _interrupt(self, error: BaseException) -> None:
        with self._deciding:
            target = self._greenlet
            if not self._begun:
                self._begun = self._is_refused = True
        if self._is_refused:  # also if a signal handler's exception has come between the two
            if not self._done:
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

    def __call__(self) -> None:
        try:
            self._run()
        finally:
            _left.append((monotonic(), unpatched.get_native_id()))
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
        calls: list[Any] = [task.begin(hub)]
        # The traceback of an error leads here, and must not keep the task: its end as garbage is what reports it.
        del task
        try:
            if calls[0] is not None:
                self._context.run(calls.pop())
        except BaseException as error:  # SystemExit: it belongs to the whole program (rule 4 of hubs/base)
            hub.pass_on(error)
        finally:
            # Main greenlets are never collected as part of a cycle, and the hub refers to this one.
            getcurrent().__dict__.pop(HUB_ATTRIBUTE, None)
            hub.close()

    def end(self) -> None:
        """Have its task end, at the thread's next wait."""
        task = self._known()
        if task is not None:
            task.kill(block=False)

    @staticmethod
    def _make_hub(task: ThreadTask[Any]) -> Any:
        spawner: Any = task.hub
        hub: Any = type(spawner).get()
        hub.has_spawner(spawner)
        return hub


def _link_weakly(task: Task[Any], method: str) -> Callable[[Any], None]:
    """`Task.rawlink` or `Task.unlink` for the main greenlet, which must not keep the task."""
    reference = weakref.ref(task)

    def link(callback: Any) -> None:
        task = reference()
        if task is not None:
            getattr(task, method)(callback)

    return link


def task_class(hub: Hub) -> type[Task[Any]]:
    """The class of the tasks on `hub`."""
    return ThreadTask if hub.runs_threads else Task


# The end of the process. A thread that is in a loop's greenlet when the interpreter is torn down, and wakes up then,
# crashes the process: Python ends it by unwinding its stack, and so greenlet's own frames. And greenlet frees what it
# has of a thread in the thread's very last moment, when Python knows no more of it. So at exit the tasks are killed, as
# by `main`, and the process waits until their threads are gone: some 100 µs. One that blocks or computes is left alone
# after `_VANISHES`. It does so in its main greenlet, where none of this holds.

#: Seconds within which a thread that was killed where it waits is gone, even on a busy machine.
_VANISHES = 0.5
_running: set[_Thread] = set()
#: When each of the last threads has returned, and its number.
_left: deque[tuple[float, int]] = deque()


@atexit.register
def _end_threads() -> None:
    for thread in list(_running):
        thread.end()
    until = monotonic() + _VANISHES
    pause = unpatched.allocate_lock()
    pause.acquire()
    while monotonic() < until and (_running or any(_exists(number) for _, number in list(_left))):
        pause.acquire(timeout=0.001)


def _exists(native_id: int) -> bool:
    """Whether a thread of this process that has just returned is still there; where nobody can tell, for a while."""
    if sys.platform == "linux":
        return os.path.exists(f"/proc/self/task/{native_id}")
    return any(number == native_id and when > monotonic() - _VANISHES / 20 for when, number in list(_left))
