"""All the ways to interrupt a greenlet that waits: greenzmq's, gevent's, eventlet's, and a plain throw.

Each way is a subclass of `Target`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit
from support.schedules import Stop
from support.tasks import foreign_spawn

import greenzmq

__all__ = ["Limit", "Target", "interruptions"]

#: Seconds: the time limit of a target. By then it has to have reached the place where it is to be interrupted.
LIMIT = 0.004


class Target:
    """A greenlet that runs a function until it is interrupted.

    Attributes
    ----------
    got : list
        The result of the function, if it has returned.
    raised : BaseException or None
        The exception of the function, if it has raised one.
    started, ended : bool
        Whether the function has begun, and whether it has returned or raised.
    foreign : bool
        The greenlet is one of the runtime's own, and not a task of greenzmq.
    at_once : bool
        `interrupt` itself switches into the target. So the target must not call it.
    expected : type
        The exception that an interruption raises.
    """

    foreign = False
    at_once = False
    expected: type[BaseException] = GreenletExit

    def __init__(self, hub: greenzmq.GreenHub, function: Callable[..., Any], *args: Any) -> None:
        self.hub = hub
        self.got: list[Any] = []
        self.raised: BaseException | None = None
        self.started = self.ended = False
        self.due = time.monotonic() + LIMIT
        spawn = foreign_spawn if self.foreign else type(hub).spawn
        self.handle: Any = spawn(hub, lambda: self._run(function, *args))

    def _run(self, function: Callable[..., Any], *args: Any) -> None:
        self.started = True
        try:
            self.got.append(self.limited(function, *args))
        except BaseException as error:
            self.raised = error
        finally:
            self.ended = True

    def limited(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)``, with a time limit if the interruption is one."""
        return function(*args)

    def interrupt(self) -> None:
        """Interrupt the greenlet at once, or in the hub's next round."""
        raise NotImplementedError

    def outlast(self) -> None:
        """Block the thread until the time limit is over."""
        while time.monotonic() <= self.due:
            pass

    def check(self) -> None:
        """Assert that the function has raised the expected exception, or that the interruption came too late."""
        assert self.ended
        assert self.got or isinstance(self.raised, self.expected), f"{type(self).__name__}: {self.raised!r}"


class Kill(Target):
    def interrupt(self) -> None:
        self.handle.kill(block=False)


class KillWithTimeout(Target):
    expected = greenzmq.Timeout

    def interrupt(self) -> None:
        self.handle.kill(greenzmq.Timeout(0), block=False)


class Throw(Target):
    """A throw of an exception that greenzmq does not know, from a callback of the hub."""

    expected = Stop

    def interrupt(self) -> None:
        self.hub.hub.call_soon(self._throw, self.handle._greenlet)

    def _throw(self, target: Any) -> None:
        if target is not None and not target.dead:
            target.throw(Stop)


class Limit(Target):
    expected = greenzmq.Timeout

    def limited(self, function: Callable[..., Any], *args: Any) -> Any:
        with self.hub.timeout(LIMIT):
            return function(*args)

    def interrupt(self) -> None:
        self.outlast()


class GeventKill(Target):
    foreign = True

    def interrupt(self) -> None:
        self.handle.kill(block=False)


class GeventKillWithError(Target):
    foreign = True
    expected = KeyError

    def interrupt(self) -> None:
        self.handle.kill(KeyError("mine"), block=False)


class GeventLimit(Limit):
    foreign = True

    def limited(self, function: Callable[..., Any], *args: Any) -> Any:
        import gevent

        self.expected = gevent.Timeout
        with gevent.Timeout(LIMIT):
            return function(*args)


class EventletKill(Target):
    foreign = at_once = True

    def interrupt(self) -> None:
        self.handle.kill()


class EventletKillWithError(Target):
    foreign = at_once = True
    expected = KeyError

    def interrupt(self) -> None:
        self.handle.kill(KeyError("mine"))


class EventletLimit(Limit):
    foreign = True

    def limited(self, function: Callable[..., Any], *args: Any) -> Any:
        import eventlet

        self.expected = eventlet.Timeout
        with eventlet.Timeout(LIMIT):
            return function(*args)


_OURS = (Kill, KillWithTimeout, Throw, Limit)
_THEIRS = {
    "gevent": (GeventKill, GeventKillWithError, GeventLimit),
    "eventlet": (EventletKill, EventletKillWithError, EventletLimit),
}


def interruptions(hub: greenzmq.GreenHub) -> tuple[type[Target], ...]:
    """Return the ways to interrupt a greenlet on this hub."""
    return _OURS + _THEIRS.get(hub.name, ())
