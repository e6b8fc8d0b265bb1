"""Tasks that end together: `TaskGroup`, which ``hub.group()`` makes."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent

from ..errors import HubError
from ..process import unpatched
from .events import Linkable
from .tasks import tell_of_failure
from .waiter import interrupt, refuse_to_wait

if TYPE_CHECKING:
    from greenlet import greenlet
    from typing_extensions import Self

    from ..hubs.base import Hub
    from .tasks import Task

__all__ = ["TaskGroup"]

T = TypeVar("T")

#: None before Python 3.11.
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)


class _TaskFailed(BaseException):
    """Thrown into the block of a group in which a task has failed; the block's end turns it into what has failed.

    A `BaseException`, so that an ``except Exception`` in the block does not swallow it.
    """


class TaskGroup(Linkable):
    """``with hub.group() as group:`` tasks that have all ended when the block ends, as in `asyncio.TaskGroup`.

    When the block comes to its end, it waits for the tasks, and for those that they spawn in the group. If a task
    fails, or the block raises, the other tasks are killed; and if the block still waits for something else, that wait
    ends. What has failed comes out together, as an `ExceptionGroup`. On Python 3.10, which has none, the first failure
    comes out, and the others are reported as those of a task are.

    A kill of this greenlet, a time limit, Ctrl-C, and whatever else is no `Exception`, kills the tasks, and comes out
    as it is, once they have ended. A task that was killed by somebody else has not failed.

    Examples
    --------
    >>> import greenzmq
    >>> with greenzmq.hub().group() as group:
    ...     first = group.spawn(pow, 2, 10)
    ...     second = group.spawn(pow, 3, 3)
    >>> first.get(), second.get()
    (1024, 27)
    """

    def __init__(self, hub: Hub, spawn: Callable[..., Task[Any]]) -> None:
        super().__init__()
        self._hub = hub
        self._spawn_noted = spawn  # with a function that notes the task; see `GreenHub._spawn_noted`
        self._tasks: dict[Task[Any], None] = {}  # the set of those whose end is not noted yet
        self._errors: dict[Task[Any], BaseException] = {}
        self._owner: greenlet | None = None
        self._failed = _TaskFailed()
        self._in_block = self._aborting = self._aborted = self._left = False

    def ready(self) -> bool:
        """Whether no task runs. It makes this a `Waitable`."""
        return not self._tasks

    def spawn(self, function: Callable[..., T], *args: Any, name: str | None = None, **kwargs: Any) -> Task[T]:
        """Run ``function(*args, **kwargs)`` in a task of this group; see `GreenHub.spawn`. Never switches.

        Raises
        ------
        RuntimeError
            The block has not been entered, or has ended; or a task has failed, and the others are being killed. Called
            in the block itself, this ends the block then.
        """
        if self._owner is None:
            raise RuntimeError(f"{self!r} has not been entered; write: with hub.group() as group:")
        if self._aborting and not self._left and self._owner is getcurrent():
            raise self._failed  # the block ends here
        if self._aborting or self._left:
            raise RuntimeError(f"{self!r} is {'over' if self._left else 'ending, since something has failed'}")
        made: list[Task[T]] = []

        def note(task: Task[T]) -> None:
            made.append(task)
            task.rawlink(self._note_end)  # first: what is among the tasks is waited for
            self._tasks[task] = None

        try:
            task: Task[T] = self._spawn_noted(note, function, args, kwargs, name)
            if self._aborting:  # since another thread's task has failed meanwhile, and has not found this one
                task.kill(block=False)
        except BaseException:  # out of a signal handler, perhaps: nobody gets the task, and it may never be launched
            for task in made:
                task.kill(block=False)
            raise
        return task

    def __enter__(self) -> Self:
        if self._owner is not None:
            raise RuntimeError(f"{self!r} has been entered; make another one: hub.group()")
        refuse_to_wait(self._hub)
        self._owner = getcurrent()
        self._in_block = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_block = False
        try:
            thrown = self._wait_for_tasks(error is not None)
        except HubError:  # no wait is possible here any more
            raise
        except BaseException as interruption:  # out of a signal handler, where it was not caught
            thrown = self._wait_for_tasks(True) or interruption
        self._left = True
        errors, self._errors, self._owner = [*self._errors.values()], {}, None
        if isinstance(error, Exception):
            errors.insert(0, error)
        own = None if error is self._failed or isinstance(error, Exception) else error
        try:
            self._raise(own or thrown, errors, own)
        finally:
            del error, own, thrown, errors, self  # the traceback keeps this frame, which must not keep these

    def _wait_for_tasks(self, failed: bool) -> BaseException | None:
        """Wait until all tasks have ended, whatever is thrown into this greenlet. Returns the first such exception.

        If the block has failed, or when something is thrown, the tasks are killed.
        """
        thrown: BaseException | None = None
        while True:
            try:
                if failed:
                    self._abort()
                    failed = False
                while self._tasks:
                    self._wait(self._hub, None)
                return thrown
            except HubError:
                raise
            except BaseException as error:
                thrown = thrown or error
                failed = True

    def _raise(
        self, interruption: BaseException | None, errors: list[BaseException], own: BaseException | None
    ) -> None:
        """Raise what there is to raise. `own` is on its way already."""
        deadly = next((each for each in errors if isinstance(each, (KeyboardInterrupt, SystemExit))), None)
        interruption = interruption or deadly
        if interruption is not None:
            for each in errors:
                if each is not interruption:
                    tell_of_failure(repr(self), each)
            if interruption is not own:
                raise interruption
        elif errors and _GROUP is not None:
            raise _GROUP("tasks of a group have failed", errors) from None
        elif errors:
            for each in errors[1:]:
                tell_of_failure(repr(self), each)
            raise errors[0]

    # -- the tasks ----------------------------------------------------------------------------------------------------

    def _note_end(self, task: Task[Any]) -> None:
        """Called in whatever thread when a task has ended. Goes on where an interrupted call ended."""
        if task in self._tasks:
            error = task.failure()
            if error is not None:
                self._errors[task] = error
                if not self._aborted:  # else it would end the others' clean-up
                    self._abort()
            self._tasks.pop(task, None)
        if not self._tasks:
            self._announce()

    def _abort(self) -> None:
        """Kill the tasks that still run, and end what the block waits for."""
        self._aborting = True
        for task in list(self._tasks):
            task.kill(block=False)
        if self._in_block:
            if self._hub.thread_id == unpatched.get_ident():
                self._hub.call_soon(self._end_block)
            else:
                self._hub.call_soon_threadsafe(self._end_block)
        self._aborted = True  # last: if a signal handler's exception interrupts this, the next call does it again

    def _end_block(self) -> None:
        """In the hub, where the block cannot be running: its greenlet waits, or has left the block."""
        if self._in_block and self._owner is not None:
            self._in_block = False
            interrupt(self._owner, self._failed)

    def __repr__(self) -> str:
        state = "over" if self._left else "ending" if self._aborting else "open"
        return f"<greenzmq.TaskGroup {state}, {len(self._tasks)} running on {self._hub!r}>"
