"""What the tests of tasks and of time limits share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.sockets import until

from greenzmq import GreenHub, Task

__all__ = ["NEVER", "SOON", "BoomError", "boom", "error_of", "foreign_spawn", "waiting_task"]

#: A limit that is over at the next turn of the hub, and one that never is.
SOON, NEVER = 0.005, 1000.0


class BoomError(Exception):
    """What a task raises here."""


def boom(*args: Any) -> None:
    raise BoomError(*args)


def error_of(task: Task[Any]) -> BaseException:
    """The exception that comes out of `get`."""
    with pytest.raises(BoomError) as raised:
        task.get()
    return raised.value


def waiting_task(hub: GreenHub, log: list[Any]) -> Task[str]:
    """A task that waits, and logs with what it is woken."""

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
    """A greenlet of the runtime's own, where there is one; a task otherwise."""
    if hub.name == "gevent":
        import gevent

        return gevent.spawn(function)
    if hub.name == "eventlet":
        import eventlet

        return eventlet.spawn(function)
    return hub.spawn(function)
