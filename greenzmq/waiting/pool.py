"""A limited number of tasks at a time: `Pool`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenlet import GreenletExit

from .events import Linkable
from .groups import TaskGroup
from .hub_api import GreenHub
from .hub_api import hub as green_hub
from .limits import as_limit
from .lines import Permits
from .queues import Queue

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..hubs import Choice
    from .tasks import Task

__all__ = ["Pool"]

T = TypeVar("T")


class Pool(Linkable):
    """At most `size` tasks at a time, each in a greenlet of its own.

    ``with greenzmq.Pool(10) as pool:`` waits for its tasks where the block ends; if it raises, they are killed.

    Parameters
    ----------
    size : int
        How many may run at a time.
    hub : str, type, Hub or GreenHub, optional
        The hub for the tasks; None takes the one on which the caller runs, each time.

    Attributes
    ----------
    size : int
        As above.

    Examples
    --------
    >>> import greenzmq
    >>> with greenzmq.Pool(10) as pool:
    ...     pool.map(str.upper, ["one", "two"])
    ['ONE', 'TWO']
    """

    def __init__(self, size: int, *, hub: Choice | GreenHub | None = None) -> None:
        if size < 1:
            raise ValueError("a pool needs a size of 1 or more")
        super().__init__()
        self.size = size
        self._choice = hub
        self._places = Permits(size)
        # Each task with the list that has its permit, until its end is noted.
        self._tasks: dict[Task[Any], list[Any]] = {}

    def spawn(self, function: Callable[..., T], *args: Any, name: str | None = None, **kwargs: Any) -> Task[T]:
        """Wait until a task may begin, and run ``function(*args, **kwargs)`` in it; see `GreenHub.spawn`.

        Notes
        -----
        Switches: when `size` tasks run.
        """
        return self._spawn_noted(None, function, args, kwargs, name)

    def _spawn_noted(
        self,
        note: Callable[[Task[T]], object] | None,
        function: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None,
    ) -> Task[T]:
        """`spawn`; ``note(task)`` is called when there is a task, and before it can begin."""
        place: list[Any] = []
        made: list[Task[T]] = []

        def note_here(task: Task[T]) -> None:
            made.append(task)
            task.rawlink(self._note_end)  # first: what is among the tasks is waited for
            self._tasks[task] = place
            if note is not None:
                note(task)

        try:
            self._places.take(place, None, self)
            return green_hub(self._choice)._spawn_noted(note_here, function, args, kwargs, name)
        except BaseException:  # out of a signal handler, perhaps: nobody gets the task, and it may never be launched
            for task in made:
                task.kill(block=False)
            if not (made and made[0] in self._tasks):  # else its place is given back when it ends
                self._places.give_back(place)
            raise

    def map(self, function: Callable[..., T], *iterables: Iterable[Any]) -> list[T]:
        """Call the function with what the iterables give, side by side, and return the results in order.

        If a call raises, the others are killed, and its exception comes out once they have ended.

        Notes
        -----
        Switches: always, if there is anything to call.
        """
        tasks: list[Task[T]] = []
        try:
            with self._group() as group:
                for args in zip(*iterables):  # noqa: B905  # as the built-in map does, the shortest ends it
                    tasks.append(group.spawn(function, *args))  # noqa: PERF401  # what was spawned is kept
        except Exception as error:
            raise _first_of(error) from None
        return [task.get() for task in tasks]

    def imap(self, function: Callable[..., T], *iterables: Iterable[Any]) -> Results[T]:
        """`map`, whose results are to be iterated over, in order, while the calls go on.

        The calls begin at once. They wait while nobody takes the results. What a call raises, the iterator raises in
        its place; it can go on after that.

        Parameters
        ----------
        function, *iterables
            As for `map`.

        Returns
        -------
        iterator
            Its ``close()`` kills the calls that still run; so does a kill of the greenlet that waits for a result, and
            the iterator's end as garbage.

        Notes
        -----
        Switches: never; the iterator does when it has to wait.
        """
        tasks: Queue[Task[Any]] = Queue(self.size)

        def feed(group: TaskGroup) -> None:
            for args in zip(*iterables):  # noqa: B905  # as in `map`
                tasks.put(group.spawn(_outcome, function, args))

        return self._results(feed, tasks, _outcome_of)

    def imap_unordered(self, function: Callable[..., T], *iterables: Iterable[Any]) -> Results[T]:
        """See `imap`; here the results come in the order in which the calls end. Never switches."""
        outcomes: Queue[Any] = Queue(self.size)

        def call(args: tuple[Any, ...]) -> None:
            outcomes.put(_outcome(function, args))

        def feed(group: TaskGroup) -> None:
            for args in zip(*iterables):  # noqa: B905  # as in `map`
                group.spawn(call, args)

        return self._results(feed, outcomes, lambda outcome: outcome)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no task runs, for `timeout` seconds at most. Returns whether none does.

        Notes
        -----
        Switches: when it has to wait.
        """
        limit = as_limit(timeout, "Pool.join()")
        if not self._tasks or (limit is not None and limit <= 0):
            return not self._tasks
        return self._wait(green_hub(self._choice).hub, limit)

    def kill(self, block: bool = True, timeout: float | None = None) -> None:
        """Kill the tasks that run now; see `Task.kill`.

        Parameters
        ----------
        block : bool
            Wait until they have ended.
        timeout : float, optional
            Wait for this many seconds at most.

        Notes
        -----
        Switches: when it has to wait.
        """
        limit = as_limit(timeout, "Pool.kill()")
        end = None if limit is None else monotonic() + limit
        tasks = list(self._tasks)
        for task in tasks:
            task.kill(block=False)
        for task in tasks if block else ():
            task.join(None if end is None else end - monotonic())

    def ready(self) -> bool:
        """Whether no task runs. It makes this a `Waitable`."""
        return not self._tasks

    def free_count(self) -> int:
        """How many tasks can begin without a wait."""
        return self._places.count()

    def __len__(self) -> int:
        return len(self._tasks)

    def __bool__(self) -> bool:
        return True  # a pool, busy or not

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill(block=False)
        try:
            self.join()
        except BaseException:
            self.kill(block=False)
            raise

    def _results(
        self, feed: Callable[[TaskGroup], None], outcomes: Queue[Any], read: Callable[[Any], Any]
    ) -> Results[T]:
        feeder = green_hub(self._choice).spawn(_run_feed, feed, self._group, outcomes)
        return Results(feeder, outcomes, read)

    def _group(self) -> TaskGroup:
        """Make a group on this greenlet's hub, whose tasks are the pool's."""
        return TaskGroup(green_hub(self._choice).hub, self._spawn_noted)

    def _note_end(self, task: Task[Any]) -> None:
        """Called in whatever thread when a task has ended. Goes on where an interrupted call ended."""
        place = self._tasks.get(task)
        if place is not None:
            self._places.give_back(place)
            self._tasks.pop(task, None)
        if not self._tasks and self._links:
            self._announce()

    def __repr__(self) -> str:
        return f"<greenzmq.Pool {len(self._tasks)} of {self.size} running>"


class Results(Generic[T]):
    """The iterator that `Pool.imap` and `Pool.imap_unordered` return."""

    def __init__(self, feeder: Task[Any], outcomes: Queue[Any], read: Callable[[Any], Any]) -> None:
        self._feeder = feeder
        self._outcomes = iter(outcomes)
        self._read = read

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            result, error = self._read(next(self._outcomes))
        except StopIteration:
            self._feeder.get()  # what the iterables have raised
            raise
        except GreenletExit:  # nobody will take the results: the traceback of this may keep the iterator for long
            self._feeder.kill(block=False)
            raise
        if error is not None:
            raise error
        value: T = result
        return value

    def close(self) -> None:
        """Kill the calls that still run. Switches, when it has to wait for their end."""
        self._feeder.kill()

    def __del__(self) -> None:
        if not self._feeder.done:
            self._feeder.kill(block=False)


def _run_feed(feed: Callable[[TaskGroup], None], group: Callable[[], TaskGroup], outcomes: Queue[Any]) -> None:
    try:
        error = None
        with group() as entered:
            try:
                feed(entered)
            except Exception as raised:  # by the iterables: the calls that were made before go on
                error = raised
        if error is not None:
            raise error
    finally:
        outcomes.close()


def _outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """What a call returns, and what it raises."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def _outcome_of(task: Task[Any]) -> tuple[Any, Exception | None]:
    """What a task of `imap` has to tell; for one that was killed, what `Task.get` returns."""
    outcome = task.get()
    return outcome if isinstance(outcome, tuple) else (outcome, None)


def _first_of(error: Exception) -> BaseException:
    """The first failure in a group of them."""
    failures: tuple[BaseException, ...] = getattr(error, "exceptions", (error,))
    return failures[0]
