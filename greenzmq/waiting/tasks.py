"""Tasks: greenlets with a result, the same on every hub; and calls in native threads."""

from __future__ import annotations

import atexit
import contextvars
import sys
import weakref
from collections.abc import Callable
from functools import partial
from types import CodeType, CoroutineType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from .. import hubs
from ..errors import Timeout
from ..hubs.base import HUB_ATTRIBUTE
from ..process import unpatched
from ..process.fork import register_after_fork
from .events import Link, Linkable
from .limits import as_limit
from .scope import note_task
from .waiter import interrupt

if TYPE_CHECKING:
    from ..hubs.base import Hub
    from .reasons import Reason

__all__ = [
    "NativeCall",
    "Outcome",
    "Task",
    "coroutine_error",
    "name_of",
    "plain_result",
    "refuse_coroutine",
    "tell_of_failure",
]

T = TypeVar("T")
#: `inspect.CO_COROUTINE`: a function with this flag was written as ``async def``.
_CO_COROUTINE = 0x80


def refuse_coroutine(function: object) -> None:
    """Raise `TypeError` if `function` is a coroutine or a coroutine function, which no greenlet or thread can run."""
    if type(function) is CoroutineType or _is_coroutine_function(function):
        raise coroutine_error(function, function)


def _is_coroutine_function(function: object) -> bool:
    """`inspect.iscoroutinefunction`, without its import: a native thread may hang in that under gevent's patch."""
    known: Any = getattr(sys.modules.get("inspect"), "iscoroutinefunction", None)
    if known is not None:
        return bool(known(function))
    # Only `inspect` could have set a mark. So the code tells, below what wraps it.
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & _CO_COROUTINE)


def plain_result(function: object, result: T) -> T:
    """Return `result`, which `function` has returned. A coroutine is a `TypeError`, since it would never run."""
    if type(result) is CoroutineType:
        raise coroutine_error(function, result)
    return result


def coroutine_error(function: object, met: object) -> TypeError:
    """Make the error for `met`, a coroutine or coroutine function, which is `function` or was returned by it.

    A coroutine is closed, or Python would warn that it was never awaited.
    """
    name = name_of(met)
    if type(met) is not CoroutineType:
        fault = f"{name} is a coroutine function"
    elif met is function:
        fault = f"{name}(...) is a coroutine, and not a function"
    else:
        fault = f"{name_of(function)} has returned the coroutine {name}(...), which would never run"
    if type(met) is CoroutineType:
        met.close()
    return TypeError(
        f"{fault}; greenzmq runs plain functions: in a coroutine write await {name}(...), "
        f"in a greenlet on asyncio greenzmq.asyncio.await_({name}(...))"
    )


def name_of(function: object) -> str:
    """The name of a function for messages; for a `functools.partial`, that of the function in it."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", None) or repr(function)


class Outcome(Linkable, Generic[T]):
    """The result or the exception of a function. Any number of greenlets, in any threads, can wait for it."""

    _error: BaseException | None = None
    _retrieved = False

    def __init__(self) -> None:
        super().__init__()
        self._done = False
        self._value: T

    @property
    def done(self) -> bool:
        """Whether the function has ended, by a result or an exception."""
        return self._done

    def ready(self) -> bool:
        """The same as `done`. It makes this a `Waitable`, which a Poller takes for ``POLLIN``."""
        return self._done

    def failure(self) -> BaseException | None:
        """The exception with which the function has ended; None if there is none, or if it has not ended.

        Whoever calls this is told of the failure, which is then not reported any more.
        """
        self._retrieved = self._retrieved or self._done
        return self._error if self._done else None

    def _result(self) -> T:
        self._retrieved = True
        if self._error is not None:
            raise self._error
        return self._value

    def _end(self) -> None:
        self._done = True
        self._announce()


class TaskGreenlet(greenlet):
    """The greenlet of a task. Callbacks for its end can be linked to it, as to gevent's; see `PartialMessage`.

    Attributes
    ----------
    task : weak reference to a Task
        Weak, because the traceback of an error may keep the greenlet after its end, and must not keep the task. While
        the task runs, its frame keeps it alive.
    """

    task: weakref.ref[Task[Any]]

    def __repr__(self) -> str:
        task = self.task()
        return super().__repr__() if task is None else f"<greenlet of {task!r}>"

    def rawlink(self, callback: Link) -> None:
        task = self.task()
        if task is not None:
            task.rawlink(callback)

    def unlink(self, callback: Link) -> None:
        task = self.task()
        if task is not None:
            task.unlink(callback)


#: Methods that the tasks, futures and greenlets of other libraries have, and what to use here instead.
_ELSEWHERE = {
    "cancel": "kill() ends a task, kill(block=False) does not wait for its end",
    "cancelled": "get() of a task that was killed returns a GreenletExit",
    "exception": "get() raises what the function has raised",
    "result": "get() waits, and returns what the function has returned",
    "value": "get() waits, and returns what the function has returned",
    "wait": "join() waits for the end, get() for the result",
}


class Task(Outcome[T]):
    """A greenlet that runs ``function(*args, **kwargs)`` on a hub. Made by ``greenzmq.hub().spawn(...)``.

    An exception that ends it is kept for `get`. If the task is collected, or the process exits, before anybody has
    called `get`, the exception is reported to `sys.unraisablehook`, with an `object` whose repr names the task. If
    nobody keeps the task, that is as soon as it fails. If its own function refers to it, that is at the next run of the
    garbage collector.

    The function runs in a copy of the spawner's `contextvars` context. For code of greenzmq: ``note(task)`` is called
    before the function can be.

    Attributes
    ----------
    hub : Hub
        Where it runs.
    name : str
        Its name in messages; the function's name by default.
    """

    #: Exceptions that are not reported if nobody calls `get`.
    _quiet: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(
        self,
        hub: Hub,
        function: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        note: Callable[[Task[T]], object] | None = None,
    ) -> None:
        refuse_coroutine(function)
        super().__init__()
        self.hub = hub
        self.name = name_of(function) if name is None else name
        self._call: tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]] | None = (function, args, kwargs or {})
        self._greenlet: TaskGreenlet | None = None
        launch = self._prepare(contextvars.copy_context() if context is None else context)
        # From here on a kill ends it, also if a signal handler's exception is why it is never launched.
        note_task(self)
        if note is not None:
            note(self)
        launch()

    def _prepare(self, context: contextvars.Context) -> Callable[[], object]:
        """Prepare to call the function in `context`. Returns what to call to have that done soon."""
        self._greenlet = self._new_greenlet(self.hub, context)
        return partial(self.hub.call_soon, self._start)

    def _new_greenlet(self, hub: Hub, context: contextvars.Context) -> TaskGreenlet:
        """Make the greenlet that runs the function on `hub`."""
        new = TaskGreenlet(self._run, hub.greenlet)
        new.task = weakref.ref(self)
        new.gr_context = context
        setattr(new, HUB_ATTRIBUTE, hub)
        return new

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended.

        Parameters
        ----------
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever, 0 does not wait.

        Returns
        -------
        bool
            Whether the task has ended.

        Raises
        ------
        TypeError or ValueError
            The timeout is no number of seconds. `get` and `kill` raise this, too.

        Notes
        -----
        Switches: when it has to wait.
        """
        limit = as_limit(timeout, "the timeout of a task's join() and get()")
        if self._done or (limit is not None and limit <= 0):
            return self._done
        return self._wait(self._hub_here(), limit)

    def get(self, timeout: float | None = None) -> T:
        """Wait for the task and return what its function returned, or raise what it raised.

        For a task that was killed with `GreenletExit`, that exception is returned, as by gevent's greenlets. If it were
        raised, it would silently end the greenlet that calls `get`.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever.

        Raises
        ------
        Timeout
            The task has not ended in time.

        Notes
        -----
        Switches: when it has to wait.
        """
        if not self.join(timeout):
            raise Timeout(timeout)
        return self._result()

    def kill(
        self,
        exc: BaseException | type[BaseException] = GreenletExit,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Throw `exc` into the task. Does nothing if it has ended. A task that has not begun will not begin.

        Parameters
        ----------
        exc : exception or exception class
            Raised in the task where it waits.
        block : bool
            Wait until the task has ended, as gevent does by default. Ignored in the hub's own greenlet, which must not
            wait.
        timeout : float, optional
            Wait for this many seconds at most.

        Notes
        -----
        Switches: when it has to wait. Called in the task itself, it raises `exc` at once.
        """
        timeout = as_limit(timeout, "the timeout of a task's kill()")  # first, since it may raise
        if self._done:
            return
        error = exc() if isinstance(exc, type) else exc
        if self._greenlet is getcurrent():
            raise error
        self._interrupt(error)
        if block and not self.done and getcurrent() is not self._hub_here().greenlet:
            self.join(timeout)

    def _interrupt(self, error: BaseException) -> None:
        """Have `error` raised in the function. In any thread, but not in the task itself."""
        if self.hub.thread_id != unpatched.get_ident():
            self.hub.call_soon_threadsafe(self._throw, error)
        elif self._call is not None:  # not begun, so there is nothing to switch into
            self._throw(error)
        else:
            self.hub.call_soon(self._throw, error)

    if not TYPE_CHECKING:  # a type checker would conclude that every attribute exists

        def __getattr__(self, name: str) -> Any:
            cure = f"; {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{cure}")

    def __repr__(self) -> str:
        state = "running" if not self._done else "failed" if self._error is not None else "done"
        return f"<Task {self.name} {state} on {self.hub!r}>"

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._tell_unasked()

    def _tell_unasked(self) -> None:
        """Report an exception for which nobody has called `get`, now that nobody can any more."""
        if self._error is None or self._retrieved:
            return
        self._retrieved = True
        if not isinstance(self._error, self._quiet):
            tell_of_failure(repr(self), self._error)

    def _greenzmq_after_fork(self) -> None:
        self._retrieved = True  # the parent reports its tasks' failures itself

    def _fail(self, error: BaseException) -> None:
        self._error = error
        _failed.add(weakref.ref(self, _failed.discard))
        register_after_fork(self)

    def _hub_here(self) -> Hub:
        return self.hub if self.hub.thread_id == unpatched.get_ident() else hubs.hub_to_wait_on()

    def _start(self) -> None:
        if self._greenlet is not None and self._call is not None:
            # Again: the hub's greenlet may be another one by now, see `EventletHub.greenlet` and `AsyncioHub`.
            self._greenlet.parent = self.hub.greenlet
            self._greenlet.switch()

    def _run(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        function, args, kwargs = call
        self.hub.hold()  # so that another thread can kill the task, whatever the task waits for
        try:
            self._value = plain_result(function, function(*args, **kwargs))
        except GreenletExit as error:
            self._value = error  # type: ignore[assignment]
        except (KeyboardInterrupt, SystemExit) as error:
            # These belong to the whole program: the hub hands them to the main greenlet (rule 4 of hubs/base.py).
            self._error, self._retrieved = error, True
            raise
        except BaseException as error:
            self._fail(error)
        finally:
            self._greenlet = None
            try:
                self._end()
            except BaseException:  # a signal handler has raised while it ran: it is idempotent, so repeat it
                self._end()
                raise
            finally:
                self.hub.release()
                # The traceback of an error keeps this frame. If the frame kept the task, `__del__` would come late, and
                # with it the report of the error.
                del call, function, args, kwargs, self

    def _throw(self, error: BaseException) -> None:
        if self._done or self._greenlet is None:
            return
        if self._call is None:
            interrupt(self._greenlet, error)
        else:
            self._end_unbegun(error)

    def _end_unbegun(self, error: BaseException) -> None:
        """End the task with `error`, which has come before the function was called. Idempotent."""
        self._call = None
        try:
            self._end_with(error)
        except BaseException:  # a signal handler has raised while it ran: repeat it
            self._end_with(error)
            raise

    def _end_with(self, error: BaseException) -> None:
        self._greenlet = None
        if isinstance(error, GreenletExit):
            self._value = error  # type: ignore[assignment]
        else:
            self._fail(error)
        self._end()


#: The tasks that have failed, as long as they live.
_failed: set[weakref.ref[Task[Any]]] = set()


@atexit.register
def _tell_at_exit() -> None:
    """Report the failed tasks that are still referred to: the program ends, so nobody will call their `get`."""
    for reference in list(_failed):
        task = reference()
        if task is not None:
            task._tell_unasked()


def tell_of_failure(name: str, error: BaseException) -> None:
    """Report an `error` that nobody handles to `sys.unraisablehook`, with an `object` whose repr is `name`."""
    traceback = error.__traceback__
    # The hook's argument cannot be made in Python code. But Python itself calls the hook when the callback of a weak
    # reference raises: so raise the error there.
    reference = weakref.ref(lambda: None, _Failure(name, error))
    del reference
    # Without the frames of the callback: they refer to its callers' frames, which would live as long as the error.
    error.with_traceback(traceback)


class _Failure:
    """The callback that raises the error; see `tell_of_failure`."""

    def __init__(self, name: str, error: BaseException) -> None:
        self._name = name
        self._error: BaseException | None = error

    def __call__(self, _: object) -> None:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback keeps this frame, so that would be a reference cycle

    def __repr__(self) -> str:
        return self._name


class NativeCall(Outcome[T]):
    """``function(*args, **kwargs)`` in a new native thread, also where `threading` is monkey-patched.

    The thread is a daemon: the interpreter's exit does not wait for it. It does not end with the greenlet that waits
    for it. From CPython 3.12 on, functions called by `atexit` cannot start a thread. There the function is called at
    once, in the caller: no other greenlet needs to run any more.
    """

    def __init__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        refuse_coroutine(function)
        super().__init__()
        context = contextvars.copy_context()
        try:
            unpatched.start_new_thread(self._run, (context, function, args, kwargs))
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            self._run(context, function, args, kwargs)

    def get(self, hub: Hub, reason: Reason = None) -> T:
        """Wait on this thread's `hub`, then return the function's result or raise its exception. Switches.

        `reason` is what to tell of the wait, if not this object.
        """
        self._wait(hub, None, reason)
        return self._result()

    def _run(
        self, context: contextvars.Context, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            self._value = plain_result(function, context.run(function, *args, **kwargs))
        except BaseException as error:
            self._error = error
        finally:
            del context, function, args, kwargs
            self._end()
