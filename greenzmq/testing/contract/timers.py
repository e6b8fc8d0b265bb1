"""Checks of `call_later`, and of what a hub keeps alive."""

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
    """`call_later` does not call too early, even if the loop read the clock some time before the call."""
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
    require(missing <= 0, f"call_later({seconds}) does not call too early, but was {missing * 1000:.3f} ms early")


def check_later_order(hub: Hub) -> None:
    """Timers are called in the order in which they are due, not in that in which they were made; 0 and less is soon."""
    seen: list[float] = []
    for seconds in (0.05, 0.02, -1, 0.08, 0, -0.001):
        hub.call_later(seconds, seen.append, seconds)
    until(hub, lambda: len(seen) == 6, f"every timer is called, not only {seen}")
    require(set(seen[:3]) == {-1, 0, -0.001}, f"a timer of 0 seconds or less is called soon, but: {seen}")
    require(seen[3:] == [0.02, 0.05, 0.08], f"timers are called in the order in which they are due, but: {seen}")


def check_far_future(hub: Hub) -> None:
    """A timer that is due in weeks, in ages or never does not disturb the loop: it still sleeps, and can be woken."""
    calls = Calls()
    here = getcurrent()

    def wake() -> None:
        hub.call_soon_threadsafe(here.switch)

    for seconds in (3e6, 1e10, 1e300, float("inf")):
        try:
            timer = hub.call_later(seconds, calls)
        except (OverflowError, ValueError) as error:
            raise ContractError(f"call_later() takes a time as long as {seconds} s, but: {error!r}") from error
        unpatched.start_new_thread(wake, ())
        hub.switch()
        timer.cancel()
    require(not calls, "a timer that is due in the far future is not called now")


def check_cancel(hub: Hub) -> None:
    """A cancelled timer is not called. Cancelling it again, or after its call, or during its call, does nothing."""
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
    """If two timers are due at the same time, the one that is called first can cancel the other."""
    for seconds in (0, 0.002):
        seen: list[int] = []
        timers: list[Any] = []

        def called(number: int, seen: list[int] = seen, timers: list[Any] = timers) -> None:
            seen.append(number)
            timers[1 - number].cancel()

        timers.extend(hub.call_later(seconds, called, number) for number in range(2))
        spin(0.006)
        park(hub, LOOK)
        require(len(seen) == 1, f"a timer is not called if another timer's call has cancelled it ({seconds} s)")


def check_cancel_frees(hub: Hub) -> None:
    """`Timer.cancel` drops the callback at once."""
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
    """A hub keeps a callback alive until it has called it, and no longer."""
    calls = Calls()
    owners = [Owner(calls) for _ in range(3)]
    alive = [weakref.ref(owner) for owner in owners]
    owners[0].held = hub.call_later(0.001, owners[0].called)
    hub.call_soon(owners[1].called)
    hub.call_soon_threadsafe(owners[2].called)
    del owners
    gc.collect()
    until(hub, lambda: len(calls) == 3, "a hub keeps a callback alive until it has called it")
    park(hub, 0.001)
    gc.collect()
    require([ref() for ref in alive] == [None] * 3, "a hub does not keep a callback alive after its call")


CHECKS = checks(
    check_later_is_not_early,
    check_later_order,
    check_far_future,
    check_cancel,
    check_cancel_in_the_same_round,
    check_cancel_frees,
    check_calls_own_their_callbacks,
)
