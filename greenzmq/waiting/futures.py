"""Futures whose work is done by whoever awaits them: the other way to wait, beside a parked greenlet.

Fact: a task that awaits an ordinary future is resumed one round of the loop after the future got its result, and may be
cancelled in between. Consequence: what was received on the task's behalf, such as a message, is lost then. Choice: the
task that awaits a `PendingFuture` does the work itself, in the step in which it is resumed. Between the work and the
return from ``await`` nothing else can run. So a cancellation before the work has taken nothing, and one after the work
comes out of the task's next ``await``. Cost: the future has to know who waits for it:

================================  ==================================================================================
who waits for it                  what a wake-up does
================================  ==================================================================================
a task awaits it                  resumes the task, which does the work
somebody has a callback on it     does the work at once, as for any future
nobody, but somebody refers to    nothing; the work is done when somebody asks for `done` or `result`, or waits for it
it
nobody                            nothing, ever
================================  ==================================================================================

A future whose work has to be done in any case (`is_eager`), such as a `send`, is treated as if it had a callback.

`TaskWaiter` is the future's place in a queue. It is also what the task awaits: an object with those methods of a future
that a task calls, as asyncio allows. So a wake-up in a callback of the loop resumes the task in that callback. An
ordinary future would take another round of the loop, which is half of a short wait's cost.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Generator
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import HubError, WrongHubError
from ..hubs.asyncio import (
    HUB_OF_LOOP,
    AsyncioHub,
    CancelledError,
    Future,
    current_loop,
    current_task,
    running_loop,
    swallowing_code,
)
from ..hubs.detection import detect
from ..process import unpatched
from .bridge import put_off_cancellation
from .waiter import Waiter

if TYPE_CHECKING:
    import contextvars

    from .reasons import Reason

__all__ = ["PendingFuture", "TaskWaiter", "awaiting", "failed_future", "finished_future", "loop_to_run"]

T = TypeVar("T")

#: Rounds of the loop for which a task yields when its turn is over. A task that sleeps runs three rounds after its time
#: has come: in the first the loop finds the timer, in the second the timer resolves the task's future. If this one
#: yielded for one round, it would have a whole turn before each of them.
ROUNDS = 3

_is_done = Future.done
_result = Future.result
_set_result = Future.set_result
_cancel = Future.cancel


class TaskWaiter(Waiter):
    """The waiter of a `PendingFuture`.

    ``parked`` is true while a wake-up has something to do: a task has stopped here, or no task awaits the future.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_future", "_message", "_wakeup")
    hub: AsyncioHub
    __init__ = object.__init__  # see `PendingFuture.set_up_future`

    def set_up(
        self,
        future: PendingFuture[Any],
        hub: AsyncioHub,
        timeout: float | None,
        since: float,
        reason: Reason,
        party: Any,
    ) -> None:
        """Complete the new waiter of `future`, for a call that the task or greenlet `party` has made; see `Waiter`."""
        self._future: Any = future  # or what `let_go` has put there; None after `close`
        self._wakeup: Any = None  # the callback of the task that has stopped here
        self._cancelled = False
        # In line what `Waiter` does: every call that has to wait comes by here.
        self.party = party
        self.hub = hub
        self.reason = reason
        self.woken = self.expired = self.parked = self.yielded = False
        self.queue = self._limit = self.spurious = None
        self.since = since
        if timeout is not None:
            self._limit = timeout, hub.call_later(timeout + since - monotonic(), self._expire)

    def wake_now(self) -> None:
        """See `Waiter.wake_now`: resume the task at once."""
        self.woken = True
        wakeup = self._wakeup
        if wakeup is None:
            self._resume()
        else:  # in line what that does
            self._wakeup, self.parked = None, False
            self._context.run(wakeup, self)

    def _resume(self) -> None:
        """In the loop: resume the task that has stopped here; do the work if no task awaits the future."""
        if not self.parked:
            return
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            self.parked = False
            self._context.run(wakeup, self)
            return
        future = self._future
        if type(future) is tuple:
            reference, leave = future
            future = reference()
            if future is None:
                leave()
        if future is not None:
            future._work_unawaited()

    def work_off(self) -> bool:
        """Do the work now, if this was woken and no task awaits the future. Returns whether that is so."""
        is_due = self.woken and self.parked and self._wakeup is None
        if is_due:
            self._resume()
        return is_due

    def attend(self) -> None:
        """A task awaits the future, and has not stopped here yet."""
        self.parked = False

    def unattend(self) -> None:
        """No task awaits the future any more, but the work is to be done."""
        self.parked = True
        if self.woken or self.expired:
            self.hub.call_soon(self._resume)

    def let_go(self, future: PendingFuture[Any], leave: Callable[[], object]) -> None:
        """Do not keep the future alive. Once it is gone, the next wake-up calls ``leave()`` instead."""
        self._future = (weakref.ref(future), leave)

    def hold(self, future: PendingFuture[Any]) -> None:
        """Undo `let_go`."""
        self._future = future

    def close(self) -> None:
        """See `Waiter.close`."""
        queue = self.queue
        if queue is not None and queue.first is queue.last and self._limit is None:  # in line, as most waits end so
            queue.first = queue.last = self.queue = self.party = self.reason = None
        else:
            Waiter.close(self)
        self._future = None

    # -- the methods of a future that a task calls ---------------------------------------------------------------------

    def get_loop(self) -> Any:
        """The loop of the task."""
        return self.hub.loop

    def add_done_callback(self, wakeup: Callable[[Any], object], *, context: contextvars.Context) -> None:
        """Called when the task has stopped here."""
        self.yielded = self.parked = True
        self._wakeup, self._context = wakeup, context

    def result(self) -> None:
        """Called when the task is resumed: raise `CancelledError` if it was cancelled."""
        if self._cancelled:
            self._cancelled = False
            raise CancelledError(*(() if self._message is None else (self._message,)))

    def cancel(self, msg: Any = None) -> bool:
        """Called when the task is cancelled while it is stopped here, also if it was woken and has not run since."""
        self._cancelled, self._message = True, msg
        self.hub.call_soon(self._resume)
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.reason!r}>"


def awaiting(
    begin: Callable[[Any], TaskWaiter | None],
    attempt: Callable[[Any, TaskWaiter, bool], bool],
    leave: Callable[[Any, TaskWaiter], object],
) -> Callable[[Any], Generator[Any, None, Any]]:
    """The method `__await__` of a `PendingFuture` whose `_begin`, `_try` and `_quit` are these functions.

    They are called as functions, since CPython cannot speed up calls of methods of a class that is derived from
    `asyncio.Future`.
    """

    def wait(self: Any) -> Generator[Any, None, Any]:
        waiter: Any = None
        try:
            if self._awaited or _is_done(self):  # another task does the work, and this one waits as for any future
                return (yield from Future.__await__(self))
            self._awaited = True
            try:
                waiter = self._waiter
                if waiter is None:
                    waiter = begin(self)
                else:
                    waiter.attend()
                if self._yields:
                    yield from self._go_round(waiter)
                while waiter is not None:
                    while not (waiter.woken or waiter.expired):
                        waiter._asyncio_future_blocking = True
                        yield waiter
                    woken = waiter.woken
                    waiter.woken = False
                    if attempt(self, waiter, woken):
                        break
            except CancelledError as error:
                _cancel(self, *error.args)
                raise
            finally:
                self._awaited = False
                if waiter is not None and _is_done(self):
                    leave(self, waiter)
                else:
                    self._end_wait()
            return _result(self)
        finally:
            del self, waiter  # the traceback of an error refers to this frame

    return wait


class PendingFuture(Future[T]):
    """A future whose work is done by whoever waits for it; see above.

    A subclass says what the work is, in the four methods that follow `set_up_future`.

    Attributes
    ----------
    is_eager : bool
        The work has to be done even if nobody waits for it.
    """

    __slots__ = ("_awaited", "_convert", "_waiter", "_yields")
    is_eager = False
    #: `asyncio.Future.done`: whether it is done, with no attempt to do the work.
    is_done = Future.done

    _waiter: TaskWaiter | None  # not None while the future stands in a queue
    _awaited: bool  # a task is in `__await__`
    _yields: bool  # the task has to let the loop go round before it does the work
    _convert: Callable[[Any], Any] | None

    def set_up_future(self) -> None:
        """Complete the new future. No `__init__` does this, since one in Python doubles the cost of a new object."""
        self._waiter = self._convert = None
        self._awaited = self._yields = False

    # -- what the work is ----------------------------------------------------------------------------------------------

    def _enter(self, hub: AsyncioHub) -> None:
        """Make `_waiter`, and put it where it will be woken. Undone by `_leave`, also if this raises."""
        raise NotImplementedError

    def _leave(self, waiter: TaskWaiter) -> None:
        """Undo `_enter`, and close the waiter. Idempotent."""
        raise NotImplementedError

    def _work(self, waiter: TaskWaiter, woken: bool) -> None:
        """Do the work, and `finish` with the result. If it is not possible yet, do nothing.

        `woken` is False if the time is over and nobody has woken the waiter.
        """
        raise NotImplementedError

    def _work_without_waiting(self) -> None:
        """Do the work and `finish`, if it is possible now. Called while the future does not stand in a queue."""
        raise NotImplementedError

    def finish(self, result: Any) -> None:
        """The work is done."""
        convert = self._convert
        self.set_result(result if convert is None else convert(result))

    def fail(self, error: BaseException) -> None:
        """The work has failed. Does nothing if the future is done already."""
        if not _is_done(self):
            self.set_exception(error)

    def convert(self, function: Callable[[Any], Any]) -> None:
        """Have the result be ``function(result)``. An error of it becomes the future's."""
        before = self._convert
        self._convert = function if before is None else lambda result: function(before(result))

    # -- a task awaits it ----------------------------------------------------------------------------------------------

    def _begin(self) -> TaskWaiter | None:
        """Stand in the queue. None if that is an error, which the future has got then."""
        try:
            self._enter(self._hub())
        except Exception as error:
            self.fail(error)
            self._end_wait()
        return self._waiter

    def _hub(self) -> AsyncioHub:
        """The hub of the future's loop, which has to be the one that runs here."""
        loop = self.get_loop()
        if current_task(loop) is None and running_loop() is not loop:
            raise WrongHubError(f"{self!r} was made in another loop than the one that runs here; await it there")
        hub: AsyncioHub = getattr(loop, HUB_OF_LOOP, None) or AsyncioHub.get()
        return hub

    def _try(self, waiter: TaskWaiter, woken: bool) -> bool:
        """Do the work, if it is possible now and the future was not cancelled meanwhile. Returns whether it is done."""
        try:
            if not _is_done(self):
                self._work(waiter, woken)
        except Exception as error:
            self.fail(error)
        return _is_done(self)

    def _end_wait(self) -> None:
        """No task awaits the future any more. Leave the queue, unless the work is to be done all the same."""
        waiter = self._waiter
        if waiter is None:
            return
        if not _is_done(self) and self._is_wanted():
            waiter.unattend()
        else:
            self._quit(waiter)

    def _quit(self, waiter: TaskWaiter) -> None:
        try:
            self._leave(waiter)
        except BaseException:  # a signal handler has raised while `_leave` ran: it is idempotent, so repeat it
            self._leave(waiter)
            raise
        finally:
            self._waiter = None

    def _go_round(self, waiter: TaskWaiter | None) -> Generator[None, None, None]:
        """Let the loop go round before the task does the work."""
        if waiter is not None:
            self._yields, waiter.yielded = False, True
            for _ in range(ROUNDS):
                yield

    __await__ = __iter__ = awaiting(_begin, _try, _quit)

    # -- no task awaits it ---------------------------------------------------------------------------------------------

    def _is_wanted(self) -> bool:
        """Whether the work is to be done although no task awaits the future."""
        return self.is_eager or bool(self._callbacks)

    def begin_unawaited(self) -> None:
        """Stand in the queue without a task: the work is done by a callback of the loop."""
        loop = self.get_loop()
        if running_loop() is not loop:  # a call made before the loop runs
            loop.call_soon(self._begin_in_loop)
            return
        waiter = self._begin()
        if waiter is not None:
            waiter.unattend()

    def _begin_in_loop(self) -> None:
        if self._waiter is None and not (self._awaited or _is_done(self)):
            self.begin_unawaited()

    def _work_unawaited(self) -> None:
        """In the loop, after a wake-up: do the work, if it is wanted."""
        waiter = self._waiter
        if waiter is None or self._awaited:
            return
        try:
            if self._is_wanted():
                woken, waiter.woken = waiter.woken, False
                self._try(waiter, woken)
        finally:
            if _is_done(self) or not self._is_wanted():
                self._quit(waiter)

    # -- the methods of a future ---------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it is done. If nobody waits for it, the work is done now, if it is possible."""
        if not (_is_done(self) or self._awaited or self._waiter is not None):
            try:
                self._work_without_waiting()
            except Exception as error:
                self.fail(error)
        return _is_done(self)

    def result(self) -> T:
        """See `asyncio.Future.result`."""
        self.done()
        result: T = _result(self)
        if sys._getframe(1).f_code is swallowing_code:
            error = sys.exc_info()[1]
            if isinstance(error, CancelledError):  # the message is returned, and the cancellation comes out later
                hub = AsyncioHub.get()
                put_off_cancellation(hub, current_task(hub.loop), None, error.args)
        return result

    def exception(self) -> BaseException | None:
        """See `asyncio.Future.exception`."""
        self.done()
        return super().exception()

    def cancel(self, msg: Any = None) -> bool:
        """See `asyncio.Future.cancel`. Nothing was taken, and nothing will be."""
        if not _cancel(self, msg):
            return False
        if self._waiter is not None:
            if self._awaited:
                self._waiter.wake()  # its task finds the future cancelled
            else:
                self._quit(self._waiter)
        return True

    def add_done_callback(
        self, fn: Callable[[PendingFuture[T]], object], /, *, context: contextvars.Context | None = None
    ) -> None:
        """See `asyncio.Future.add_done_callback`. From now on the work is done when it is possible."""
        super().add_done_callback(fn, context=context)
        if self._awaited or _is_done(self):
            return
        if self._waiter is None:
            self.begin_unawaited()
        else:
            self._waiter.hold(self)

    def remove_done_callback(self, fn: Callable[[PendingFuture[T]], object], /) -> int:
        """See `asyncio.Future.remove_done_callback`."""
        removed = super().remove_done_callback(fn)
        if not self._awaited:
            waiter = self._waiter
            if waiter is not None and not self._is_wanted():
                self._quit(waiter)
        return removed


def finished_future(loop: Any, result: T) -> Future[T]:
    """A future that is done. An ordinary one, since no work is left."""
    future: Future[T] = Future(loop=loop)
    _set_result(future, result)
    return future


def failed_future(loop: Any, error: BaseException) -> Future[Any]:
    """A future that has failed."""
    future: Future[Any] = Future(loop=loop)
    future.set_exception(error)
    return future


def loop_to_run(what: object) -> Any:
    """The loop of a call that is made while none runs: the thread's current one, with a warning, as in `zmq.asyncio`.

    Raises
    ------
    HubError
        There is none.
    """
    loop = current_loop()
    if loop is None or loop.is_closed():
        raise HubError(f"{what!r} is awaitable, and no asyncio loop runs in this thread. {_cure()}")
    warnings.warn(
        f"no asyncio loop is running yet; use {what!r} in a coroutine: asyncio.run(main())",
        RuntimeWarning,
        stacklevel=3,
    )
    return loop


def _cure() -> str:
    """What to do where no loop runs, by what does run here."""
    try:
        decision = detect()
    except HubError:
        decision = None
    if decision is not None and decision.rule in (2, 4, 5):
        name = getattr(decision.name, "name", decision.name)
        return f"But {decision.why}: use the sockets of greenzmq.{name}, which need no await"
    if not unpatched.is_main_thread():
        return "Make its calls in the thread of the loop, or make a loop in this one: asyncio.run(main())"
    return "Make its calls in a coroutine: asyncio.run(main()); or use greenzmq's own sockets, which need no await"
