"""The tools that the checks are made of."""

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

#: Seconds that something which has to happen may take: far more than any loop needs.
PATIENCE = 10.0
#: Seconds to wait for something that must not happen: many rounds of any loop.
LOOK = 0.02


class ContractError(AssertionError):
    """A hub or a socket breaks a rule. The message says which."""


class DeliberateError(Exception):
    """Raised by a callback on purpose. The runtime is right to report it."""


class Calls(list[object]):
    """A callback that counts its calls."""

    def __call__(self) -> None:
        """Count one call."""
        self.append(None)


class Owner:
    """Owns a watch or timer whose callback is its own method, as a socket does.

    It counts the calls in an object outside of itself, so that this count outlives it.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.held: object = None

    def called(self) -> None:
        """Count the call. This method is the callback."""
        self.calls()


def require(condition: object, rule: str) -> None:
    """Raise `ContractError` with `rule` if the condition does not hold."""
    if not condition:
        raise ContractError(rule)


def fail(error: type[BaseException] = DeliberateError) -> None:
    """Raise `error`. For use as a callback."""
    raise error("raised on purpose by greenzmq.testing")


def checks(*functions: Check) -> tuple[Check, ...]:
    """Make a check of each function. A check's errors begin with its name, and one that hangs fails after a while."""
    return tuple(map(_check, functions))


def _check(function: Check) -> Check:
    name = getattr(function, "__name__", "check")

    @functools.wraps(function)
    def check(hub: Hub) -> None:
        with _watchdog(hub, f"nothing switched back into a parked greenlet; {function.__doc__}"):
            try:
                function(hub)
                require(
                    not (hub.readers or hub.writers),
                    "a watch that was stopped or closed is not in hub.readers or hub.writers",
                )
            except ContractError as error:
                raise ContractError(f"{name}: {hub!r} breaks a rule: {error}") from None

    return check


@contextmanager
def _watchdog(hub: Hub, message: str) -> Iterator[None]:
    """Throw a `ContractError` into this greenlet if it is still in the block after a while, even if it is parked."""
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
    """Park this greenlet, and so let the loop run, for `seconds`."""
    hub.call_later(seconds, getcurrent().switch)
    hub.switch()


def until(hub: Hub, condition: Callable[[], object], rule: str) -> None:
    """Let the loop run until `condition` holds. If it does not within `PATIENCE`, raise `ContractError` with `rule`."""
    deadline = monotonic() + PATIENCE
    while not condition():
        require(monotonic() < deadline, rule)
        park(hub, 0.002)


def spin(seconds: float) -> None:
    """Keep the loop from running for `seconds`."""
    end = monotonic() + seconds
    while monotonic() < end:
        pass


@contextmanager
def pair() -> Iterator[Pair]:
    """Make two connected sockets: the first reads what the second sends. They are closed at the end of the block."""
    ours, theirs = unpatched.wakeup_pair()
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


@contextmanager
def held(hub: Hub) -> Iterator[None]:
    """Hold the hub during the block: it acts as if a greenlet were parked in it."""
    hub.hold()
    try:
        yield
    finally:
        hub.release()


@contextmanager
def watching(hub: Hub, fd: int, callback: Callable[[], object], *, write: bool = False) -> Iterator[Watch]:
    """Make a stopped watch. It is closed at the end of the block."""
    watch = hub.watch(fd, callback, write=write)
    try:
        yield watch
    finally:
        watch.close()
