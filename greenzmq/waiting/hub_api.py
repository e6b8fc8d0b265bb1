"""GreenHub: `spawn`, `sleep`, `timeout` and the like for programs, the same on every runtime."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import hubs
from ..errors import HubError
from ..process import unpatched
from .from_threads import HubFuture, submit
from .groups import TaskGroup
from .limits import as_limit, as_seconds
from .reasons import DESCRIPTOR, THREAD
from .tasks import NativeCall, Task
from .threads import task_class
from .time_limit import TimeLimit
from .waiter import new_waiter, refuse_in_hub, refuse_to_wait, yield_to_hub

if TYPE_CHECKING:
    from ..hubs import Choice, Hub

__all__ = ["READABLE", "WRITABLE", "GreenHub"]

#: What `GreenHub.wait_fd` returns; equal to ``zmq.POLLIN`` and ``zmq.POLLOUT``.
READABLE, WRITABLE = 1, 2
#: The numbers of poll(2), which `unpatched.poll` uses.
_POLLIN, _POLLOUT, _POLLNVAL = 1, 4, 32

T = TypeVar("T")


class HasFileno(Protocol):
    """A socket, a file, or anything else with a descriptor."""

    def fileno(self) -> int: ...


class GreenHub:
    """A hub, as programs use it. ``greenzmq.hub()`` returns this thread's.

    gevent's and eventlet's own ``spawn``, ``sleep``, ``Timeout`` and ``kill`` work with greenzmq just as well. The
    methods here are for code that has to run on any hub.

    Attributes
    ----------
    hub : Hub
        The hub, with the contract's watches, timers and callbacks.
    """

    hub: Hub

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    @staticmethod
    def of(hub: Hub) -> GreenHub:
        """Return the one `GreenHub` of `hub`, or of its kind if that runs threads."""
        if hub.runs_threads:
            return _of_threads.setdefault(type(hub), ThreadsHub(type(hub)))
        green: GreenHub = hub.local.setdefault(GreenHub, GreenHub(hub))
        return green

    @property
    def name(self) -> str:
        """The runtime: ``"gevent"``, ``"eventlet"``, ``"selector"``, …"""
        return self.hub.name

    @property
    def choice(self) -> Choice:
        """What names this hub where a choice is asked for, as in ``Context(hub=...)``."""
        return self.hub

    def spawn(self, function: Callable[..., T], *args: Any, name: str | None = None, **kwargs: Any) -> Task[T]:
        """Run ``function(*args, **kwargs)`` in a greenlet of its own, soon; on native threads, in a thread of its own.

        If it raises, and nobody calls the task's `get`, the exception is reported; see `Task`.

        Parameters
        ----------
        function : callable
            The function to run, with ``*args`` and ``**kwargs``.
        name : str, optional
            The task's name in messages; by default the function's name. To pass an argument called `name` to the
            function, use a partial: ``spawn(functools.partial(function, name="x"))``.

        Returns
        -------
        Task

        Raises
        ------
        TypeError
            `function` is a coroutine function. `run` and `run_in_thread` raise this, too. If the function returns a
            coroutine, this is the exception with which the task ends.

        Notes
        -----
        Switches: never.
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
        here = self.hub
        return task_class(here)(here, function, args, kwargs, name=name, note=note)

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`spawn` the function, wait, and return its result or raise its exception.

        If this greenlet is killed while it waits, the task is killed, too.

        Notes
        -----
        Switches: always. This is how a program enters the hub from a plain main greenlet.
        """
        here = self.hub
        refuse_in_hub(here)
        task = Task(here, function, args, kwargs)
        try:
            return task.get()
        except BaseException:
            if not task.done:
                task.kill(block=False)
            raise

    def group(self) -> TaskGroup:
        """``with hub.group() as group:`` the tasks of ``group.spawn(function)`` have all ended when the block ends.

        The first failure kills the rest; see `TaskGroup`.

        Notes
        -----
        Switches: never; the end of the block does when a task still runs.
        """
        return TaskGroup(self.hub, self._spawn_noted)

    def sleep(self, seconds: float = 0) -> None:
        """Park this greenlet for `seconds`; with 0, let others run once.

        Notes
        -----
        Switches: always.
        """
        yield_to_hub(self.hub, as_seconds(seconds, "hub.sleep()"))

    def timeout(
        self, seconds: float | None, exception: BaseException | type[BaseException] | bool | None = None
    ) -> TimeLimit:
        """``with hub.timeout(seconds):`` raises `greenzmq.Timeout` at the end of the block, if the block takes longer.

        `Timeout` is a `TimeoutError`. Inside the block, `greenzmq.errors.TimeLimitExpired` is raised where the greenlet
        waits; an ``except Exception`` does not catch it. If the result is never used in a ``with``, a `RuntimeWarning`
        says so.

        Parameters
        ----------
        seconds : float or None
            The limit; None sets none.
        exception : exception or exception class, optional
            What to raise instead of `Timeout`; False leaves the block silently.

        Notes
        -----
        Switches: never; the code in the block may.
        """
        return TimeLimit(self.hub, as_limit(seconds, "hub.timeout()"), exception)

    def wait_fd(self, fd: int | HasFileno, read: bool = True, write: bool = False, timeout: float | None = None) -> int:
        """Wait until a file descriptor is ready.

        Parameters
        ----------
        fd : int or object with a ``fileno()``
            The file descriptor.
        read, write : bool
            Wait until it can be read, or written.
        timeout : float, optional
            Seconds; None waits for ever.

        Returns
        -------
        int
            1 (`READABLE`), 2 (`WRITABLE`) or both; 0 when the time is over.

        Raises
        ------
        WatchError
            Another greenlet waits for the same descriptor and direction.
        OSError or ValueError
            The system cannot wait for this descriptor.
        TypeError or ValueError
            The timeout is no number of seconds. `sleep` and `timeout` raise this, too.

        Notes
        -----
        Switches: always where it can. It cannot in a callback of the hub, in a coroutine, and in another thread. There
        it returns the directions that are ready; if none is, it returns 0 for a timeout of 0, and else raises a
        `HubError`.
        """
        if not (read or write):
            raise ValueError("wait_fd waits for reading, writing or both: set read or write")
        timeout = as_limit(timeout, "the timeout of hub.wait_fd()")
        number = fd if isinstance(fd, int) else fd.fileno()
        try:
            refuse_to_wait(self.hub)
        except HubError:
            ready = _ready_now(number, read, write)
            if ready or (timeout is not None and timeout <= 0):
                return ready
            raise
        return self._wait_fd(number, read, write, timeout)

    def _wait_fd(self, fd: int, read: bool, write: bool, timeout: float | None) -> int:
        """The part of `wait_fd` that waits, with a watch for each direction."""
        waiter = new_waiter(self.hub, timeout, None, (DESCRIPTOR, fd, read, write))
        ready = 0

        def report(event: int) -> None:
            nonlocal ready
            ready |= event
            waiter.wake()

        watches = []
        if read:
            watches.append(self.hub.watch(fd, partial(report, READABLE)))
        if write:
            watches.append(self.hub.watch(fd, partial(report, WRITABLE), write=True))
        try:
            for watch in watches:
                watch.start()
            waiter.park()
        finally:
            waiter.close()
            for watch in watches:
                watch.close()
        return ready

    def run_in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run ``function(*args, **kwargs)`` in a native thread, while only this greenlet waits.

        For calls that block and do not use a hub: the file system, a DNS look-up, a C library. Each call starts a new
        thread, which is native even where `threading` is patched. The function runs in a copy of this greenlet's
        `contextvars` context. If this greenlet is killed meanwhile, the thread goes on and its result is dropped.

        Notes
        -----
        Switches: always.
        """
        refuse_to_wait(self.hub)
        return NativeCall(function, *args, **kwargs).get(self.hub, (THREAD, function))

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> HubFuture[T]:
        """Run ``function(*args, **kwargs)`` in a greenlet of this hub, for any other native thread.

        For threads that have to use what belongs to the hub, such as a green socket on which greenlets wait: those of
        `run_in_thread`, of a C library, of a web server. The hub has to run for that. It begins the functions of one
        thread in the order of these calls, each in a task of its own, which runs in a copy of the thread's
        `contextvars` context. The end of `greenzmq.main` kills those that run then.

        Returns
        -------
        HubFuture
            A `concurrent.futures.Future`. Its `cancel` kills the task.

        Raises
        ------
        HubError
            The hub has ended.
        TypeError
            `function` is a coroutine function.

        Notes
        -----
        Switches: never. May be called in any thread and in any greenlet. On eventlet, get this object by
        ``greenzmq.hub()``: from that call on its hub hears threads for good, and not only while greenlets wait in
        greenzmq.
        """
        return submit(self.hub, partial(function, *args, **kwargs))

    def call_from_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`submit` the function, wait, and return its result or raise its exception.

        A plain thread blocks meanwhile. If the wait is ended by an exception, such as a `KeyboardInterrupt`, the
        function is killed.

        Raises
        ------
        concurrent.futures.CancelledError
            The function was killed, for example by the end of `greenzmq.main`.
        HubError
            The hub has ended; or a wait here would stop a hub.

        Notes
        -----
        Switches: always where it is called in a greenlet, which may be one of this hub or of another thread's.
        """
        future = self.submit(function, *args, **kwargs)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            del future  # the traceback of its error refers to this frame

    def __repr__(self) -> str:
        return f"<GreenHub of {self.hub!r}>"


class ThreadsHub(GreenHub):
    """The `GreenHub` of native threads, one for all of them: in each thread it stands for that thread's own hub.

    So a program that has asked once for its hub can use it in all of its tasks, as on the other hubs.
    """

    def __init__(self, kind: type[Hub]) -> None:
        self._kind = kind

    @property
    def hub(self) -> Hub:  # type: ignore[override]  # which is an attribute that nobody sets
        """This thread's hub; made if there is none yet."""
        return self._kind.get()

    @property
    def name(self) -> str:
        """See `GreenHub.name`."""
        return self._kind.name

    @property
    def choice(self) -> Choice:
        """See `GreenHub.choice`."""
        return self._kind


_of_threads: dict[type[Hub], ThreadsHub] = {}


def _ready_now(fd: int, read: bool, write: bool) -> int:
    """The directions, of those asked for, in which `fd` is ready now. After an error or a hang-up it is ready in both.

    As with select(): the next read or write reports what has happened, without a wait.
    """
    ready = 0
    for _, events in unpatched.poll({fd: _POLLIN * read | _POLLOUT * write}):
        if events & _POLLNVAL:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), fd)
        failed = bool(events & ~(_POLLIN | _POLLOUT))
        ready |= READABLE * (read and (failed or bool(events & _POLLIN)))
        ready |= WRITABLE * (write and (failed or bool(events & _POLLOUT)))
    return ready


def hub(choice: Choice | GreenHub | None = None) -> GreenHub:
    """Return this thread's hub, chosen by the same rules as for a socket; make it if there is none yet.

    Parameters
    ----------
    choice : str, type, Hub or GreenHub, optional
        The kind of hub; None leaves the choice to the rules (`greenzmq.hubs.decide`).

    Raises
    ------
    HubError
        There is no such hub, or it cannot be used here. The subclass and the message say why, and what to do.
    """
    found = hubs.get_hub(choice.choice if isinstance(choice, GreenHub) else choice)
    found.hear_threads()  # the program may give it to some
    return GreenHub.of(found)
