"""From coroutines to greenlets and back: `run` and `await_`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

import greenzmq
from greenzmq.errors import HubError

from .hub import TrioHub

__all__ = ["await_", "run"]

T = TypeVar("T")


async def run(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run blocking-style code in a greenlet, and return its result or raise its exception.

    If the awaiting task is cancelled, `trio.Cancelled` is raised once in the greenlet where it waits, and `run` goes on
    until the greenlet has ended. If it ends with a result all the same, `run` returns that, so no message is lost; the
    cancellation is then raised at the task's next checkpoint.

    Parameters
    ----------
    function : callable
        The function to run, with ``*args`` and ``**kwargs``.

    Returns
    -------
    object
        The function's result.

    Raises
    ------
    HubError
        No hub is open on this loop: the call belongs into ``async with greenzmq_trio.open_hub():``.
    """
    hub = TrioHub.get()
    await trio.lowlevel.checkpoint_if_cancelled()
    here = trio.lowlevel.current_task()
    work = greenzmq.hub(hub).spawn(function, *args, **kwargs)

    def go_on(_: object) -> None:
        trio.lowlevel.reschedule(here)

    def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        work.unlink(go_on)
        try:
            raise_cancel()
        except BaseException as cancelled:
            work.kill(cancelled, block=False)
        if work.failure() is not None:  # it had not begun, and never will
            return trio.lowlevel.Abort.SUCCEEDED
        work.rawlink(go_on)
        return trio.lowlevel.Abort.FAILED

    work.rawlink(go_on)

    await trio.lowlevel.wait_task_rescheduled(abort)
    return work.get()


def await_(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Wait in a greenlet for a coroutine function, which runs in a trio task of its own.

    An exception thrown into the greenlet meanwhile (a kill, a timeout, a cancellation) cancels that task.

    Parameters
    ----------
    function : callable
        The coroutine function; it is called with ``*args``.

    Returns
    -------
    object
        Its result.

    Raises
    ------
    HubError
        This thread has no trio hub whose loop runs.

    Notes
    -----
    Switches: always.
    """
    hub = TrioHub.get()
    green = greenzmq.hub(hub)
    if hub.nursery is None:
        green.sleep(0)  # which starts the loop
    if hub.nursery is None:
        raise HubError(f"the loop of {hub!r} does not run")
    ended, scope = greenzmq.GreenEvent(), trio.CancelScope()
    results: list[T] = []
    errors: list[BaseException] = []

    async def work() -> None:
        try:
            with scope:
                results.append(await function(*args))
        except trio.Cancelled as error:
            errors.append(error)
            raise
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    hub.nursery.start_soon(work)
    try:
        green.run(ended.wait)  # on this hub, whichever a wait of the main greenlet would choose
    except BaseException:
        scope.cancel()
        raise
    if errors:
        raise errors.pop()
    return results.pop()
