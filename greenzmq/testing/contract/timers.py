"""Checks: `call_later`, and what a hub keeps alive."""

from __future__ import annotations

import gc
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ...process import unpatched
from .support import LOOK, Calls, ContractError, Owner, checks, park, require, spin, until

if TYPE_CHECKING:
    from ...hubs.base import Hub

__all__ = ["CHECKS"]


def check_later_is_not_early(hub: Hub) -> None:
    """`call_later` calls no earlier than asked for, also when the loop's own idea of the time is old."""
    errors: list[tuple[float, float]] = []

    def measure(seconds: float, delay: float = 0) -> None:
        spin(delay)
        due = monotonic() + seconds
        hub.call_later(seconds, lambda: errors.append((due - monotonic(), seconds)))

    for number in range(20):
        hub.call_soon(measure, 0.0009 * number + 0.0005, 0.004)
        hub.call_later(0.001, measure, 0.0007 * number)
    until(hub, lambda: len(errors) == 40, "every timer is called")
    missing, seconds = max(errors)
    require(missing <= 0, f"call_later({seconds}) is not to call {missing * 1000:.3f} ms too early")


def check_later_order(hub: Hub) -> None:
    """Timers are called when they are due, whatever the order in which they were set; 0 and less means soon."""
    seen: list[float] = []
    for seconds in (0.05, 0.02, -1, 0.08, 0, -0.001):
        hub.call_later(seconds, seen.append, seconds)
    until(hub, lambda: len(seen) == 6, f"every timer is called, not just {seen}")
    require(set(seen[:3]) == {-1, 0, -0.001}, f"0 seconds and less means soon, but: {seen}")
    require(seen[3:] == [0.02, 0.05, 0.08], f"timers are called when they are due, but: {seen}")


def check_far_future(hub: Hub) -> None:
    """A timer that is due in weeks, in ages or never harms neither the loop's sleep nor its waking up."""
    calls = Calls()
    here = getcurrent()

    def wake() -> None:
        hub.call_soon_threadsafe(here.switch)

    for seconds in (3e6, 1e10, 1e300, float("inf")):
        try:
            timer = hub.call_later(seconds, calls)
        except (OverflowError, ValueError) as error:
            raise ContractError(f"a timer may be due as late as in {seconds} s ({error})") from error
        unpatched.start_new_thread(wake, ())
        hub.switch()
        timer.cancel()
    require(not calls, "what is due in the far future is not called now")


def check_cancel(hub: Hub) -> None:
    """A cancelled timer is not called; to cancel it twice, after its call or in its call does nothing."""
    seen: list[object] = []
    cancelled = [hub.call_later(seconds, seen.append, seconds) for seconds in (-1, 0, 0.001, 0.01)]
    for timer in cancelled * 2:
        timer.cancel()

    def cancel_own() -> None:
        own.cancel()
        seen.append("own")

    own = hub.call_later(0.001, cancel_own)
    late = hub.call_later(0.001, seen.append, "late")
    until(hub, lambda: len(seen) >= 2, "a timer may be cancelled in its own call")
    late.cancel()
    late.cancel()
    park(hub, LOOK)
    require(sorted(map(str, seen)) == ["late", "own"], f"cancelled timers are not called, but: {seen}")


def check_cancel_in_the_same_round(hub: Hub) -> None:
    """Of two timers that are due at once, the first to be called can cancel the second."""
    for seconds in (0, 0.002):
        seen: list[int] = []
        timers: list[Any] = []

        def called(number: int, seen: list[int] = seen, timers: list[Any] = timers) -> None:
            seen.append(number)
            timers[1 - number].cancel()

        timers.extend(hub.call_later(seconds, called, number) for number in range(2))
        spin(0.006)
        park(hub, LOOK)
        require(len(seen) == 1, f"a timer that another timer's call has cancelled is not called ({seconds} s)")


def check_cancel_frees(hub: Hub) -> None:
    """`Timer.cancel` lets go of the callback at once."""
    calls = Calls()
    for seconds in (0, 0.001, 1000):
        owner = Owner(calls)
        timer = owner.held = hub.call_later(seconds, owner.called)
        alive = weakref.ref(owner)
        del owner
        timer.cancel()
        gc.collect()
        require(alive() is None, f"a cancelled timer ({seconds} s) does not keep its callback alive")
        timer.cancel()


def check_calls_own_their_callbacks(hub: Hub) -> None:
    """A hub keeps alive what it is going to call, and not what it has called."""
    calls = Calls()
    owners = [Owner(calls) for _ in range(3)]
    alive = [weakref.ref(owner) for owner in owners]
    owners[0].held = hub.call_later(0.001, owners[0].called)
    hub.call_soon(owners[1].called)
    hub.call_soon_threadsafe(owners[2].called)
    del owners
    gc.collect()
    until(hub, lambda: len(calls) == 3, "a hub keeps alive what it is going to call")
    park(hub, 0.001)
    gc.collect()
    require([ref() for ref in alive] == [None] * 3, "a hub does not keep alive what it has called")


CHECKS = checks(
    check_later_is_not_early,
    check_later_order,
    check_far_future,
    check_cancel,
    check_cancel_in_the_same_round,
    check_cancel_frees,
    check_calls_own_their_callbacks,
)
