"""GreenHub: what a program does with a hub besides messages, the same on every runtime."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import hubs
from ..errors import HubError
from ..process import unpatched
from .limits import as_limit, as_seconds
from .reasons import DESCRIPTOR, THREAD
from .tasks import NativeCall, Task
from .time_limit import TimeLimit
from .waiter import new_waiter, refuse_in_hub, refuse_to_wait, yield_to_hub

if TYPE_CHECKING:
    from ..hubs import Choice, Hub

__all__ = ["READABLE", "WRITABLE", "GreenHub"]

#: What `GreenHub.wait_fd` returns; equal to ``zmq.POLLIN`` and ``zmq.POLLOUT``.
READABLE, WRITABLE = 1, 2
#: poll(2)'s numbers, as `unpatched.poll` has them.
_POLLIN, _POLLOUT, _POLLNVAL = 1, 4, 32

T = TypeVar("T")


class HasFileno(Protocol):
    """A socket, a file, or anything else with a descriptor."""

    def fileno(self) -> int: ...


class GreenHub:
    """A hub with everything that greenlets do on it. ``greenzmq.hub()`` gives this thread's.

    gevent's and eventlet's own ``spawn``, ``sleep``, ``Timeout`` and ``kill`` work on greenzmq's calls just as well;
    this is for code that is to run on any of them.

    Attributes
    ----------
    hub : Hub
        The contract behind it: watches, timers, callbacks.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    @classmethod
    def of(cls, hub: Hub) -> GreenHub:
        """The one `GreenHub` of `hub`."""
        green: GreenHub = hub.local.setdefault(cls, cls(hub))
        return green

    @property
    def name(self) -> str:
        """The runtime: ``"gevent"``, ``"eventlet"``, ``"selector"``, …"""
        return self.hub.name

    def spawn(self, function: Callable[..., T], *args: Any, name: str | None = None, **kwargs: Any) -> Task[T]:
        """Run ``function(*args, **kwargs)`` in a greenlet of its own, soon.

        A task that fails, and that nobody can ask for its outcome any more, is reported; see `Task`.

        Parameters
        ----------
        function : callable
            What to run; with ``*args`` and ``**kwargs``.
        name : str, optional
            What the task is called in messages; the function's name if it is not given. A function that has a `name` of
            its own to be given takes it in a partial: ``spawn(functools.partial(function, name="x"))``.

        Returns
        -------
        Task

        Raises
        ------
        TypeError
            `function` is a coroutine function. So for `run` and `run_in_thread`; and a function that returns a
            coroutine fails with it.

        Notes
        -----
        Switches: never.
        """
        return Task(self.hub, function, args, kwargs, name=name)

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`spawn` it, wait, and return its result or raise its exception. Killed here, it is killed there.

        Notes
        -----
        Switches: always. From a plain main greenlet this is how a program enters the hub.
        """
        refuse_in_hub(self.hub)
        task = Task(self.hub, function, args, kwargs)
        try:
            return task.get()
        except BaseException:
            if not task.done:
                task.kill(block=False)
            raise

    def sleep(self, seconds: float = 0) -> None:
        """Park this greenlet for `seconds`; with 0, let the others have their turn.

        Notes
        -----
        Switches: always.
        """
        yield_to_hub(self.hub, as_seconds(seconds, "hub.sleep()"))

    def timeout(
        self, seconds: float | None, exception: BaseException | type[BaseException] | bool | None = None
    ) -> TimeLimit:
        """``with hub.timeout(seconds):`` raise `greenzmq.Timeout` where the block ends, if the block takes longer.

        `Timeout` is a `TimeoutError`. The block itself meets a `greenzmq.errors.TimeLimitExpired` where it waits, which
        its ``except Exception`` does not catch. A limit that is dropped without a ``with`` is a `RuntimeWarning`.

        Parameters
        ----------
        seconds : float or None
            The limit; None sets none.
        exception : exception or exception class, optional
            What to raise instead of `Timeout`; False leaves the block silently.

        Notes
        -----
        Switches: never; what is in the block does.
        """
        return TimeLimit(self.hub, as_limit(seconds, "hub.timeout()"), exception)

    def wait_fd(self, fd: int | HasFileno, read: bool = True, write: bool = False, timeout: float | None = None) -> int:
        """Wait until a file descriptor is ready.

        Parameters
        ----------
        fd : int or object with a ``fileno()``
            The file descriptor.
        read, write : bool
            For what.
        timeout : float, optional
            Seconds; None waits for ever.

        Returns
        -------
        int
            1 (`READABLE`), 2 (`WRITABLE`) or both; 0 when the time is over.

        Raises
        ------
        WatchError
            Another greenlet waits for the same.
        OSError or ValueError
            The system cannot wait for this descriptor.
        TypeError or ValueError
            The timeout is no number of seconds; so for `sleep` and `timeout`.

        Notes
        -----
        Switches: always where it can. In a callback of the hub, in a coroutine and in another thread it cannot: there
        it returns what is ready, and 0 for a timeout of 0, and raises a `HubError` only if it would have to wait.
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
        """What `wait_fd` does where it can wait: a watch for each direction, and a waiter."""
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
        """Run ``function(*args, **kwargs)`` in a native thread; only this greenlet waits.

        For what would block and knows no hub: a file system, a DNS look-up, a C library. The thread is a new one, sees
        a copy of this `contextvars` context, and is a native one even where `threading` is patched. If this greenlet is
        killed meanwhile the thread goes on, and its outcome is dropped.

        Notes
        -----
        Switches: always.
        """
        refuse_to_wait(self.hub)
        return NativeCall(function, *args, **kwargs).get(self.hub, (THREAD, function))

    def __repr__(self) -> str:
        return f"<GreenHub of {self.hub!r}>"


def _ready_now(fd: int, read: bool, write: bool) -> int:
    """For which of these a descriptor is ready. One that has an error, or no peer any more, is ready for both."""
    ready = 0
    for _, events in unpatched.poll({fd: _POLLIN * read | _POLLOUT * write}):
        if events & _POLLNVAL:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), fd)
        failed = bool(events & ~(_POLLIN | _POLLOUT))
        ready |= READABLE * (read and (failed or bool(events & _POLLIN)))
        ready |= WRITABLE * (write and (failed or bool(events & _POLLOUT)))
    return ready


def hub(choice: Choice | GreenHub | None = None) -> GreenHub:
    """This thread's hub, chosen as ``greenzmq`` chooses for a socket; made if there is none yet.

    Parameters
    ----------
    choice : str, type, Hub or GreenHub, optional
        Which one; None leaves it to the rules (`greenzmq.hubs.decide`).

    Raises
    ------
    HubError
        Its kinds tell what is wrong, and what to do.
    """
    return GreenHub.of(hubs.get_hub(choice.hub if isinstance(choice, GreenHub) else choice))
