"""What the tests of tasks and of time limits share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.sockets import until

from greenzmq import GreenHub, Task

__all__ = ["NEVER", "SOON", "BoomError", "boom", "error_of", "foreign_spawn", "waiting_task"]

#: Seconds: a limit that is soon over, and one that never is during a test.
SOON, NEVER = 0.005, 1000.0


class BoomError(Exception):
    """The error that tasks raise in these tests."""


def boom(*args: Any) -> None:
    raise BoomError(*args)


def error_of(task: Task[Any]) -> BaseException:
    """Return the exception that ``task.get()`` raises."""
    with pytest.raises(BoomError) as raised:
        task.get()
    return raised.value


def waiting_task(hub: GreenHub, log: list[Any]) -> Task[str]:
    """Spawn a task that waits, and that logs the exception by which its wait ends."""

    def wait() -> str:
        log.append("began")
        try:
            hub.sleep(NEVER)
        except BaseException as error:
            log.append(error)
            raise
        return "never"

    task = hub.spawn(wait)
    until(hub, lambda: log)
    log.clear()
    return task


def foreign_spawn(hub: GreenHub, function: Callable[..., Any]) -> Any:
    """Spawn `function` in a greenlet of gevent's or eventlet's own; on other hubs, in a task."""
    if hub.name == "gevent":
        import gevent

        return gevent.spawn(function)
    if hub.name == "eventlet":
        import eventlet

        return eventlet.spawn(function)
    return hub.spawn(function)
