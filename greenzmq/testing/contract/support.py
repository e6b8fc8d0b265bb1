"""What the checks are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from greenlet import getcurrent

from ...process import unpatched

if TYPE_CHECKING:
    import _socket

    from ...hubs.base import Hub, Watch

__all__ = ["LOOK", "PATIENCE", "Calls", "Check", "ContractError", "DeliberateError", "Owner", "Pair"]
__all__ += ["checks", "fail", "pair", "park", "require", "spin", "until", "watching"]

Check = Callable[["Hub"], None]
Pair = tuple["_socket.socket", "_socket.socket"]

#: How long, in seconds, something that has to happen may take: far more than any loop needs.
PATIENCE = 10.0
#: How long, in seconds, to look whether something happens that must not: many rounds of any loop.
LOOK = 0.02


class ContractError(AssertionError):
    """A hub or a socket breaks a rule of its contract; the message says which."""


class DeliberateError(Exception):
    """Raised on purpose by a callback. That it is reported is right."""


class Calls(list[object]):
    """A callback that counts its calls."""

    def __call__(self) -> None:
        """Count one."""
        self.append(None)


class Owner:
    """Owns a watch or timer that calls it, as a socket does; counts the calls outside of itself."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.held: object = None

    def called(self) -> None:
        """The callback."""
        self.calls()


def require(condition: object, rule: str) -> None:
    """Raise `ContractError` with `rule` if the condition does not hold."""
    if not condition:
        raise ContractError(rule)


def fail(error: type[BaseException] = DeliberateError) -> None:
    """The callback that raises."""
    raise error("raised on purpose by greenzmq.testing")


def checks(*functions: Check) -> tuple[Check, ...]:
    """Make checks of functions: add the name of the check to its errors, and an error to what it would hang on."""
    return tuple(map(_check, functions))


def _check(function: Check) -> Check:
    name = getattr(function, "__name__", "check")

    @functools.wraps(function)
    def check(hub: Hub) -> None:
        with _watchdog(hub, f"nothing switched back into a parked greenlet; {function.__doc__}"):
            try:
                function(hub)
                require(not hub.watching, "a watch that was stopped or closed is not in hub.watching")
            except ContractError as error:
                raise ContractError(f"{name}: {hub!r} breaks a rule: {error}") from None

    return check


@contextmanager
def _watchdog(hub: Hub, message: str) -> Iterator[None]:
    """Throw a `ContractError` into this greenlet if it is still in here after a while, asleep as it may be."""
    waiting = getcurrent()
    over = unpatched.allocate_lock()
    over.acquire()

    def bark() -> None:
        if over.locked():
            waiting.throw(ContractError(message))

    def watch() -> None:
        if not over.acquire(timeout=4 * PATIENCE):
            hub.call_soon_threadsafe(bark)

    unpatched.start_new_thread(watch, ())
    try:
        yield
    finally:
        over.release()


def park(hub: Hub, seconds: float) -> None:
    """Let the loop run for so long."""
    hub.call_later(seconds, getcurrent().switch)
    hub.switch()


def until(hub: Hub, condition: Callable[[], object], rule: str) -> None:
    """Let the loop run until `condition` holds; it has to, soon."""
    deadline = monotonic() + PATIENCE
    while not condition():
        require(monotonic() < deadline, rule)
        park(hub, 0.002)


def spin(seconds: float) -> None:
    """Keep the loop from running for so long."""
    end = monotonic() + seconds
    while monotonic() < end:
        pass


@contextmanager
def pair() -> Iterator[Pair]:
    """Two connected sockets: what the second sends the first reads. Closed at the end."""
    ours, theirs = unpatched.wakeup_pair()
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


@contextmanager
def held(hub: Hub) -> Iterator[None]:
    """The hub is needed meanwhile, as by a greenlet that is parked."""
    hub.hold()
    try:
        yield
    finally:
        hub.release()


@contextmanager
def watching(hub: Hub, fd: int, callback: Callable[[], object], *, write: bool = False) -> Iterator[Watch]:
    """A watch, stopped. Closed at the end."""
    watch = hub.watch(fd, callback, write=write)
    try:
        yield watch
    finally:
        watch.close()
