"""Checks of the hub itself, `switch`, `call_soon`, `call_soon_threadsafe`, and the exceptions for the main greenlet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from ...hubs.base import HUB_ATTRIBUTE
from ...process import unpatched
from .support import PATIENCE, Calls, ContractError, DeliberateError, checks, fail, pair, require, until, watching

if TYPE_CHECKING:
    from ...hubs.base import Hub

__all__ = ["CHECKS", "MAIN_GREENLET_CHECKS"]


def check_current(hub: Hub) -> None:
    """`current` and `get` return the one Hub of this thread's loop, and `current` creates none."""
    kind = type(hub)
    require(kind.current() is hub, "current() returns the same object each time as long as the loop lives")
    require(kind.get() is hub, "get() returns the thread's hub where there is one")
    found: list[object] = []

    def look() -> None:
        try:
            found.append((kind.current(), kind.current()))
        except BaseException as error:
            found.append(error)

    unpatched.start_new_thread(look, ())
    until(hub, found.__len__, "current() returns at once, in any thread")
    require(found == [(None, None)], f"current() returns None in a thread without a hub, not {found[0]!r}")


def check_description(hub: Hub) -> None:
    """`name`, `variant`, `thread_id` and `repr` tell a reader which hub this is."""
    require(hub.name and isinstance(hub.name, str), "a hub has a name")
    require(hub.variant and isinstance(hub.variant, str), "`variant` names what the loop runs on")
    require(hub.variant in repr(hub), "repr(hub) shows the variant")
    require(hub.thread_id == unpatched.get_ident(), "thread_id is the native thread whose loop this is")


def check_greenlet(hub: Hub) -> None:
    """Every kind of callback runs in the hub's greenlet."""
    places: dict[str, object] = {}

    def note(kind: str) -> None:
        places[kind] = getcurrent()

    with pair() as (ours, _), watching(hub, ours.fileno(), lambda: note("watch"), write=True) as watch:
        watch.start()
        hub.call_soon(note, "call_soon")
        hub.call_soon_threadsafe(note, "call_soon_threadsafe")
        hub.call_later(0.001, note, "call_later")
        until(hub, lambda: len(places) == 4, "callbacks are called")
    for kind, place in places.items():
        require(place is hub.greenlet, f"a callback of {kind} runs in hub.greenlet, not in {place!r}")


def check_switch(hub: Hub) -> None:
    """`switch` returns the value that was passed to its greenlet, and raises an exception that was thrown into it."""
    here = getcurrent()
    hub.call_soon(here.switch, "value")
    require(hub.switch() == "value", "switch() returns the value with which its greenlet was switched into")
    hub.call_soon(here.throw, DeliberateError("thrown"))
    try:
        hub.switch()
    except DeliberateError:
        return
    raise ContractError("switch() raises the exception that was thrown into its greenlet")


def check_callback_switches(hub: Hub) -> None:
    """A callback that switches into a parked greenlet goes on when that greenlet parks again, or ends."""
    steps: list[str] = []

    def run() -> None:
        steps.append("starts")
        hub.switch()
        steps.append("resumes")
        hub.switch()
        steps.append("ends")

    worker = greenlet(run, hub.greenlet)
    setattr(worker, HUB_ATTRIBUTE, hub)

    def resume(times: int) -> None:
        for _ in range(times):
            steps.append("switch")
            worker.switch()
        steps.append("back")

    hub.call_soon(resume, 3)
    until(hub, lambda: steps[-1:] == ["back"], "a callback may switch into greenlets that park in the hub")
    expected = ["switch", "starts", "switch", "resumes", "switch", "ends", "back"]
    require(steps == expected, f"control goes back to the callback when the greenlet parks or ends, but: {steps}")


def check_soon_order(hub: Hub) -> None:
    """`call_soon` makes the calls in order and with their arguments. What a callback schedules comes last."""
    seen: list[object] = []

    def nested() -> None:
        seen.append("nested")
        hub.call_soon(seen.append, "last")

    hub.call_soon(nested)
    for number in range(100):
        hub.call_soon(seen.append, number)
    until(hub, lambda: "last" in seen, "call_soon() calls its callbacks")
    require(seen == ["nested", *range(100), "last"], f"call_soon() keeps the order, but: {seen}")


def check_soon_is_not_now(hub: Hub) -> None:
    """A scheduled callback is never called at once, in none of the ways to schedule, and neither from a callback."""
    seen: list[object] = []
    early: list[object] = []

    def schedule(name: str) -> None:
        hub.call_soon(seen.append, (name, "call_soon"))
        hub.call_soon_threadsafe(seen.append, (name, "call_soon_threadsafe"))
        hub.call_later(0, seen.append, (name, "call_later"))
        early.extend(entry for entry in seen if entry[0] == name)  # type: ignore[index]

    schedule("greenlet")
    hub.call_soon(schedule, "callback")
    until(hub, lambda: len(seen) == 6, f"every scheduled callback is called, not only {seen}")
    require(not early, f"a scheduled callback is called later, not at once, but: {early}")


def check_soon_survives_exceptions(hub: Hub) -> None:
    """A callback that raises harms neither the loop nor the callbacks beside it."""
    seen: list[int] = []
    for number in range(5):
        hub.call_soon(fail)
        hub.call_soon(seen.append, number)
        hub.call_later(0.001, fail)
        hub.call_later(0.001, seen.append, number + 5)
        hub.call_soon_threadsafe(fail)
        hub.call_soon_threadsafe(seen.append, number + 10)
    until(hub, lambda: len(seen) >= 15, "a callback that raises an Exception does not keep others from being called")
    require(sorted(seen) == list(range(15)), f"each callback is called once, but: {seen}")


def check_soon_is_fair(hub: Hub) -> None:
    """A callback that schedules itself with `call_soon`, again and again, starves no watch, timer or other thread."""
    seen: set[str] = set()
    rounds = Calls()

    def again() -> None:
        rounds()
        if len(seen) < 3 and len(rounds) < 1_000_000:
            hub.call_soon(again)

    with pair() as (ours, _), watching(hub, ours.fileno(), lambda: seen.add("watch"), write=True) as watch:
        watch.start()
        hub.call_later(0.001, seen.add, "timer")
        hub.call_soon(again)
        unpatched.start_new_thread(hub.call_soon_threadsafe, (seen.add, "thread"))
        rule = "a callback that schedules itself again starves no watch, timer or other thread"
        until(hub, lambda: len(seen) == 3, f"{rule}, but only these ran: {sorted(seen)}")
        require(len(rounds) < 1_000_000, rule)


def check_thread_wakes(hub: Hub) -> None:
    """`call_soon_threadsafe` wakes a loop that sleeps."""
    here = getcurrent()
    asleep = hub.call_later(PATIENCE, here.switch, "timeout")
    for _ in range(5):
        hub.call_later(0.005, unpatched.start_new_thread, hub.call_soon_threadsafe, (here.switch, "thread"))
        require(hub.switch() == "thread", "call_soon_threadsafe() wakes a loop that sleeps")
    asleep.cancel()


def check_thread_wakes_an_idle_loop(hub: Hub) -> None:
    """A loop that has nothing to wait for does not end while a greenlet is parked: it sleeps until a thread calls."""
    here = getcurrent()
    yield_to_hub = unpatched.allocate_lock()
    yield_to_hub.acquire()

    def call() -> None:
        yield_to_hub.acquire(timeout=0.05)
        hub.call_soon_threadsafe(here.switch, "thread")

    unpatched.start_new_thread(call, ())
    try:
        woken = hub.switch() == "thread"
    except Exception as error:
        raise ContractError(
            f"a loop that has nothing to wait for does not end while a greenlet is parked, but: {error!r}"
        ) from error
    require(woken, "call_soon_threadsafe() wakes a loop that has nothing else to wait for")


def check_thread_order(hub: Hub) -> None:
    """Of the calls from many threads none is lost, and those of one thread keep their order."""
    threads, calls = 8, 200
    seen: list[list[int]] = [[] for _ in range(threads)]

    def call(numbers: list[int]) -> None:
        for number in range(calls):
            hub.call_soon_threadsafe(numbers.append, number)

    for numbers in seen:
        unpatched.start_new_thread(call, (numbers,))
    until(hub, lambda: sum(map(len, seen)) == threads * calls, "no call from a thread is lost")
    for numbers in seen:
        require(numbers == list(range(calls)), "calls from one thread keep their order")


def check_system_exceptions(hub: Hub) -> None:
    """If a callback raises `KeyboardInterrupt` or `SystemExit`, the main greenlet gets it, and the hub goes on."""
    require(getcurrent().parent is None, "this check is to be called in the thread's main greenlet")
    for error in (KeyboardInterrupt, SystemExit):
        hub.call_soon(fail, error)
        _reaches_main(hub, error, "call_soon")
        hub.call_later(0.001, fail, error)
        _reaches_main(hub, error, "call_later")
        hub.call_soon_threadsafe(fail, error)
        _reaches_main(hub, error, "call_soon_threadsafe")
        with pair() as (ours, theirs), watching(hub, ours.fileno(), partial(fail, error)) as watch:
            theirs.send(b"x")
            for _ in range(3):  # a watch, too, goes on as if nothing had happened
                watch.start()
                _reaches_main(hub, error, "watch")


def _reaches_main(hub: Hub, error: type[BaseException], kind: str) -> None:
    beside = Calls()
    hub.call_soon(beside)
    guard = hub.call_later(PATIENCE, getcurrent().switch)
    try:
        hub.switch()
    except error:
        guard.cancel()
    else:
        raise ContractError(f"{error.__name__} raised in a callback of {kind} reaches the main greenlet")
    for watch in [*hub.readers.values(), *hub.writers.values()]:
        watch.stop()
    until(hub, beside.__len__, f"the hub goes on after {error.__name__} was raised in a callback of {kind}")


CHECKS = checks(
    check_current,
    check_description,
    check_greenlet,
    check_switch,
    check_callback_switches,
    check_soon_order,
    check_soon_is_not_now,
    check_soon_survives_exceptions,
    check_soon_is_fair,
    check_thread_wakes,
    check_thread_wakes_an_idle_loop,
    check_thread_order,
)
MAIN_GREENLET_CHECKS = checks(check_system_exceptions)
