"""All ways to end what a greenlet waits for: our own, gevent's, eventlet's, and a stranger's throw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit
from support.schedules import Stop
from support.tasks import foreign_spawn

import greenzmq

__all__ = ["Limit", "Target", "interruptions"]

#: Seconds that a time limit gives its target to get to where it is to be interrupted.
LIMIT = 0.004


class Target:
    """A greenlet that runs a function until it is interrupted.

    Attributes
    ----------
    got : list
        What the function returned, if it did.
    raised : BaseException or None
        What came out of it.
    started, ended : bool
        Whether it has begun, and whether one of both has happened.
    """

    foreign = False
    at_once = False  # the interruption happens inside `interrupt`, which is then not for the target itself to call
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
        """``function(*args)``, under a limit if that is the way."""
        return function(*args)

    def interrupt(self) -> None:
        """Do it, or see to it that it happens in the hub's next round."""
        raise NotImplementedError

    def outlast(self) -> None:
        while time.monotonic() <= self.due:
            pass

    def check(self) -> None:
        """What came out is what was thrown, if it was not too late."""
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
    """A stranger's exception, from a callback of the hub."""

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
    """Those that there are on this hub."""
    return _OURS + _THEIRS.get(hub.name, ())
