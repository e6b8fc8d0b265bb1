"""The contract of `greenzmq.hubs.base` as code, for everyone who writes a backend.

`check_hub` makes all checks and stops at the first that fails. `HUB_CHECKS` has them one by one, for a test runner's
parametrization; each takes the hub, is called in a greenlet that may park in it, and says in its docstring which rule
it holds the hub to. `MAIN_GREENLET_CHECKS` have to be called in the thread's main greenlet.

::

    @pytest.mark.parametrize("check", greenzmq.testing.HUB_CHECKS)
    def test_contract(check):
        check(MyHub.get())
"""

from __future__ import annotations

import functools
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from . import unpatched
from .errors import WatchError

if TYPE_CHECKING:
    import _socket

    from .hubs.base import Hub, Watch

__all__ = ["HUB_CHECKS", "MAIN_GREENLET_CHECKS", "ContractError", "check_hub"]

Check = Callable[["Hub"], None]

#: How long, in seconds, something that has to happen may take. Far more than any loop needs.
PATIENCE = 2.0
#: How long, in seconds, to look whether something happens that must not. Many rounds of any loop.
_LOOK = 0.02

_checks: list[Check] = []
_main_greenlet_checks: list[Check] = []


class ContractError(AssertionError):
    """A hub breaks a rule of its contract; the message says which."""


class Oops(Exception):  # noqa: N818 - no error, and seen in the output of every run
    """Raised on purpose by a callback. That it is reported is right."""


def check_hub(make_hub: Callable[[], Hub]) -> None:
    """Hold a hub to every rule of the contract.

    Parameters
    ----------
    make_hub : callable
        Returns this thread's hub: ``MyHub.get``.

    Raises
    ------
    ContractError
        At the first rule that is broken.

    Notes
    -----
    Switches: always. Called in the thread's main greenlet it makes `MAIN_GREENLET_CHECKS` too; on a loop that runs in
    the main greenlet itself, such as asyncio's, call it in a greenlet of that loop.
    """
    hub = make_hub()
    _require(make_hub() is hub, "there is at most one Hub object for a loop")
    for check in HUB_CHECKS:
        check(hub)
    if getcurrent().parent is None:
        for check in MAIN_GREENLET_CHECKS:
            check(hub)


def _require(condition: object, rule: str) -> None:
    if not condition:
        raise ContractError(rule)


def _check(check: Check, into: list[Check] = _checks) -> Check:
    """Make `check` part of the contract, and an error of what it would hang on."""

    @functools.wraps(check)
    def guarded(hub: Hub) -> None:
        with _watchdog(hub, f"{check.__name__}: nothing switched back into a parked greenlet: {check.__doc__}"):
            check(hub)
        _require(not hub.watching, f"{check.__name__}: a watch that was stopped or closed is still in hub.watching")

    into.append(guarded)
    return guarded


def _main_greenlet_check(check: Check) -> Check:
    return _check(check, _main_greenlet_checks)


@contextmanager
def _watchdog(hub: Hub, message: str) -> Iterator[None]:
    """Throw an error into this greenlet if it is still in here after a while, asleep as it may be."""
    waiting = getcurrent()
    over = unpatched.allocate_lock()
    over.acquire()

    def bark() -> None:
        if not over.acquire(blocking=False):
            waiting.throw(ContractError(message))

    def watch() -> None:
        if not over.acquire(timeout=4 * PATIENCE):
            hub.call_soon_threadsafe(bark)

    unpatched.start_new_thread(watch, ())
    try:
        yield
    finally:
        over.release()


def _park(hub: Hub, seconds: float) -> None:
    """Let the loop run for so long, in one go."""
    hub.call_later(seconds, getcurrent().switch)
    hub.switch()


def _until(hub: Hub, condition: Callable[[], object], rule: str) -> None:
    """Let the loop run until `condition` holds; it has to, soon."""
    deadline = monotonic() + PATIENCE
    while not condition():
        _require(monotonic() < deadline, rule)
        _park(hub, 0.002)


def _fail(problem: type[BaseException] = Oops) -> None:
    raise problem("raised on purpose by greenzmq.testing")


@contextmanager
def _pair() -> Iterator[tuple[_socket.socket, _socket.socket]]:
    ours, theirs = unpatched.wakeup_pair()
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


@contextmanager
def _watching(hub: Hub, fd: int, callback: Callable[[], object], *, write: bool = False) -> Iterator[Watch]:
    watch = hub.watch(fd, callback, write=write)
    try:
        yield watch
    finally:
        watch.close()


class _Owner:
    """Something that owns a watch or a timer, as a socket does, and counts its callbacks in a list outside."""

    def __init__(self, count: list[object]) -> None:
        self.count = count
        self.held: object = None

    def called(self) -> None:
        self.count.append(None)


# The loop


@_check
def check_current(hub: Hub) -> None:
    """`current` and `get` return the one Hub of this thread's loop, and `current` creates none."""
    kind = type(hub)
    _require(kind.current() is hub, "current() is the same object each time as long as the loop lives")
    _require(kind.get() is hub, "get() returns the thread's hub where there is one")
    found: list[object] = []

    def look() -> None:
        try:
            found.append([kind.current(), kind.current()])
        except BaseException as error:
            found.append(error)

    unpatched.start_new_thread(look, ())
    _until(hub, lambda: found, "current() returns at once, in any thread")
    _require(found == [[None, None]], f"current() is None in a thread without a hub, not {found[0]!r}")


@_check
def check_description(hub: Hub) -> None:
    """`name`, `variant`, `thread_id` and `repr` tell a person which hub this is."""
    _require(hub.name and isinstance(hub.name, str), "a hub has a name")
    _require(hub.variant and isinstance(hub.variant, str), "a hub says in `variant` what its loop runs on")
    _require(hub.thread_id == unpatched.get_ident(), "thread_id is the native thread whose loop this is")
    _require(hub.variant in repr(hub), "repr(hub) shows the variant")


@_check
def check_greenlet(hub: Hub) -> None:
    """Every kind of callback runs in the hub's greenlet."""
    places: dict[str, object] = {}

    def note(kind: str) -> None:
        places[kind] = getcurrent()

    with _pair() as (ours, _), _watching(hub, ours.fileno(), lambda: note("watch"), write=True) as watch:
        watch.start()
        hub.call_soon(note, "call_soon")
        hub.call_soon_threadsafe(note, "call_soon_threadsafe")
        hub.call_later(0.001, note, "call_later")
        _until(hub, lambda: len(places) == 4, f"all four kinds of callback are called, not just {sorted(places)}")
    for kind, place in places.items():
        _require(place is hub.greenlet, f"a callback of {kind} runs in hub.greenlet, not in {place!r}")


# switch


@_check
def check_switch(hub: Hub) -> None:
    """`switch` returns what its greenlet was switched with and raises what was thrown into it."""
    here = getcurrent()
    hub.call_soon(here.switch, "value")
    _require(hub.switch() == "value", "switch() returns the value that somebody switched with")
    hub.call_soon(here.throw, Oops("thrown"))
    try:
        hub.switch()
    except Oops:
        return
    raise ContractError("switch() raises what was thrown into its greenlet")


@_check
def check_callback_switches(hub: Hub) -> None:
    """A callback that switches into a parked greenlet goes on when that one parks again, or ends."""
    steps: list[str] = []

    def run() -> None:
        steps.append("starts")
        hub.switch()
        steps.append("resumes")
        hub.switch()
        steps.append("ends")

    worker = greenlet(run, hub.greenlet)

    def resume(times: int) -> None:
        for _ in range(times):
            steps.append("switch")
            worker.switch()
        steps.append("back")

    hub.call_soon(resume, 3)
    _until(hub, lambda: worker.dead, "a callback may switch into greenlets that park in the hub, several times")
    expected = ["switch", "starts", "switch", "resumes", "switch", "ends", "back"]
    _require(steps == expected, f"control goes back to the callback when the greenlet parks or ends, but: {steps}")


# call_soon


@_check
def check_soon_order(hub: Hub) -> None:
    """`call_soon` calls in the order of the calls, with their arguments, those from callbacks last."""
    seen: list[object] = []

    def nested() -> None:
        seen.append("nested")
        hub.call_soon(seen.append, "last")

    hub.call_soon(nested)
    for number in range(100):
        hub.call_soon(seen.append, number)
    _until(hub, lambda: "last" in seen, "call_soon() calls")
    _require(seen == ["nested", *range(100), "last"], f"call_soon() keeps the order, but: {seen}")


@_check
def check_soon_is_not_now(hub: Hub) -> None:
    """No way to schedule a callback calls it on the spot, neither in a greenlet nor in a callback."""
    seen: list[object] = []
    early: list[object] = []

    def schedule() -> None:
        hub.call_soon(seen.append, 1)
        hub.call_soon_threadsafe(seen.append, 2)
        hub.call_later(0, seen.append, 3)
        early.extend(seen)
        seen.clear()

    schedule()
    hub.call_soon(schedule)
    # The first three run before it or after it, the next three after it; all it can see are the first.
    _until(hub, lambda: len(seen) >= 3, "what was scheduled is called")
    _require(len(early) <= 3, "a callback that schedules another one ends first")
    _require(not early or early[0] == 1, "call_soon() keeps the order")


@_check
def check_soon_survives_exceptions(hub: Hub) -> None:
    """A callback that raises harms neither the loop nor its neighbours."""
    seen: list[object] = []
    for number in range(5):
        hub.call_soon(_fail)
        hub.call_soon(seen.append, number)
    for number in range(5, 10):
        hub.call_later(0.001, _fail)
        hub.call_later(0.001, seen.append, number)
        hub.call_soon_threadsafe(_fail)
        hub.call_soon_threadsafe(seen.append, number + 5)
    _until(hub, lambda: len(seen) >= 15, "a callback that raises an Exception does not keep others from being called")
    _require(sorted(seen, key=str) == sorted(range(15), key=str), f"each is called once, but: {seen}")


@_check
def check_soon_is_fair(hub: Hub) -> None:
    """A callback that goes on calling `call_soon` starves neither watches nor timers nor other threads."""
    seen: set[str] = set()
    going = [True]

    def again() -> None:
        if going:
            hub.call_soon(again)

    with _pair() as (ours, _), _watching(hub, ours.fileno(), lambda: seen.add("watch"), write=True) as watch:
        watch.start()
        hub.call_later(0.001, seen.add, "timer")
        hub.call_soon(again)
        unpatched.start_new_thread(hub.call_soon_threadsafe, (seen.add, "thread"))
        hub.call_later(PATIENCE, going.clear)
        _until(hub, lambda: len(seen) == 3 or not going, "")
        _require(len(seen) == 3, f"callbacks that call call_soon() again starve all but {sorted(seen)}")
        going.clear()


# call_later


@_check
def check_later_is_not_early(hub: Hub) -> None:
    """`call_later` calls no earlier than asked for, also when the loop's own idea of the time is old."""
    lengths: list[tuple[float, float]] = []

    def measure(seconds: float) -> None:
        due = monotonic() + seconds
        hub.call_later(seconds, lambda: lengths.append((seconds, due - monotonic())))

    def measure_late(seconds: float) -> None:
        begin = monotonic()
        while monotonic() < begin + 0.004:
            pass
        measure(seconds)

    for number in range(20):
        hub.call_soon(measure_late, 0.0009 * number + 0.0005)
        hub.call_later(0.001, measure, 0.0007 * number)
    _until(hub, lambda: len(lengths) == 40, "every timer is called")
    seconds, missing = max(lengths, key=lambda each: each[1])
    _require(missing <= 0, f"call_later({seconds}) calls {missing * 1000:.3f} ms too early")


@_check
def check_later_order(hub: Hub) -> None:
    """Timers are called when they are due, whatever the order in which they were set; 0 and less means soon."""
    seen: list[object] = []
    for seconds in (0.05, 0.02, -1, 0.08, 0, -0.001):
        hub.call_later(seconds, seen.append, seconds)
    _until(hub, lambda: len(seen) == 6, "every timer is called")
    _require(set(seen[:3]) == {-1, 0, -0.001}, f"0 seconds and less means soon, but: {seen}")
    _require(seen[3:] == [0.02, 0.05, 0.08], f"timers are called when they are due, but: {seen}")


@_check
def check_cancel(hub: Hub) -> None:
    """A cancelled timer is not called; to cancel it twice, after its call or in its call does nothing."""
    seen: list[object] = []
    cancelled = [hub.call_later(seconds, seen.append, seconds) for seconds in (-1, 0, 0.001, 0.01)]
    for timer in cancelled * 2:
        timer.cancel()
    own = [hub.call_later(0.001, lambda: (own[0].cancel(), seen.append("own")))]
    late = hub.call_later(0.001, seen.append, "late")
    _until(hub, lambda: len(seen) >= 2, "a timer may be cancelled in its own call")
    late.cancel()
    late.cancel()
    _park(hub, _LOOK)
    _require(sorted(map(str, seen)) == ["late", "own"], f"cancelled timers are not called, but: {seen}")


@_check
def check_cancel_in_the_same_round(hub: Hub) -> None:
    """Of two timers that are due at once, the first to be called can cancel the second."""
    for seconds in (0, 0.002):
        seen: list[int] = []
        timers: list[Any] = []

        def called(number: int, seen: list[int] = seen, timers: list[Any] = timers) -> None:
            seen.append(number)
            timers[1 - number].cancel()

        timers.extend(hub.call_later(seconds, called, number) for number in range(2))
        begin = monotonic()
        while monotonic() < begin + 0.006:
            pass
        _park(hub, _LOOK)
        _require(len(seen) == 1, f"a timer that another timer's callback has cancelled is not called ({seconds} s)")


@_check
def check_cancel_frees(hub: Hub) -> None:
    """`Timer.cancel` lets go of the callback at once, and a call that was made is forgotten."""
    count: list[object] = []
    for seconds in (0, 0.001, 1000):
        owner = _Owner(count)
        owner.held = hub.call_later(seconds, owner.called)
        alive = weakref.ref(owner)
        owner.held.cancel()  # type: ignore[attr-defined]
        owner.held = None
        del owner
        _require(alive() is None, f"a cancelled timer ({seconds} s) keeps its callback alive")
    owner = _Owner(count)
    alive = weakref.ref(owner)
    hub.call_later(0.001, owner.called)
    hub.call_soon(owner.called)
    del owner
    gc.collect()
    _until(hub, lambda: len(count) == 2, "a hub keeps alive what it is going to call")
    _park(hub, 0.001)
    gc.collect()
    _require(alive() is None, "a callback that was called is kept alive")


# call_soon_threadsafe


@_check
def check_thread_wakes(hub: Hub) -> None:
    """`call_soon_threadsafe` wakes a loop that is asleep."""
    here = getcurrent()
    asleep = hub.call_later(PATIENCE, here.switch, "timeout")
    for _ in range(5):
        hub.call_later(0.005, unpatched.start_new_thread, hub.call_soon_threadsafe, (here.switch, "thread"))
        _require(hub.switch() == "thread", "call_soon_threadsafe() wakes a loop that is asleep")
    asleep.cancel()


@_check
def check_thread_wakes_an_idle_loop(hub: Hub) -> None:
    """A loop that has nothing at all to wait for sleeps until a thread calls, and does not end."""
    here = getcurrent()
    asleep = unpatched.allocate_lock()
    asleep.acquire()

    def call() -> None:
        asleep.acquire(timeout=0.05)
        hub.call_soon_threadsafe(here.switch, "thread")

    unpatched.start_new_thread(call, ())
    _require(hub.switch() == "thread", "call_soon_threadsafe() wakes a loop that has nothing else to wait for")


@_check
def check_thread_order(hub: Hub) -> None:
    """Calls from many threads all arrive, those of each thread in its order."""
    threads, calls = 8, 200
    seen: dict[int, list[int]] = {thread: [] for thread in range(threads)}

    def call(thread: int) -> None:
        for number in range(calls):
            hub.call_soon_threadsafe(seen[thread].append, number)

    for thread in range(threads):
        unpatched.start_new_thread(call, (thread,))
    _until(hub, lambda: sum(map(len, seen.values())) == threads * calls, "no call from a thread is lost")
    for numbers in seen.values():
        _require(numbers == list(range(calls)), "calls from one thread keep their order")


# Watch


@_check
def check_watch_read(hub: Hub) -> None:
    """A reading watch is level-triggered: it fires while there is something to read, and only then."""
    fired: list[object] = []
    with _pair() as (ours, theirs), _watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        watch.start()
        _park(hub, _LOOK)
        _require(not fired, "a watch does not fire while there is nothing to read")
        theirs.send(b"x")
        _until(hub, lambda: len(fired) >= 3, "a watch fires again as long as nobody reads (level-triggered)")
        ours.recv(1)
        fired.clear()
        _park(hub, _LOOK)
        _require(not fired, "a watch does not fire after everything was read")


@_check
def check_watch_write(hub: Hub) -> None:
    """A writing watch fires while there is room; reading and writing watches of one descriptor are independent."""
    fired: dict[str, int] = {"read": 0, "write": 0}

    def count(kind: str) -> None:
        fired[kind] += 1

    with _pair() as (ours, theirs):
        fd = ours.fileno()
        reading = hub.watch(fd, lambda: count("read"))
        writing = hub.watch(fd, lambda: count("write"), write=True)
        reading.start()
        writing.start()
        _until(hub, lambda: fired["write"] >= 2, "a writing watch fires while there is room")
        _require(fired["read"] == 0, "a reading watch does not fire because there is room to write")
        theirs.send(b"x")
        _until(hub, lambda: fired["read"] >= 2, "reading and writing watches of one descriptor both work")
        writing.close()
        before = dict(fired)
        _until(hub, lambda: fired["read"] > before["read"], "one direction goes on when the other is closed")
        _require(fired["write"] == before["write"], "a closed watch does not fire")
        reading.close()


@_check
def check_watch_lifecycle(hub: Hub) -> None:
    """`start`, `stop` and `close` are idempotent; a stopped watch is silent and can be started again."""
    fired: list[object] = []
    with _pair() as (ours, theirs), _watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        theirs.send(b"x")
        _park(hub, _LOOK)
        _require(not fired, "a watch that was not started does not fire")
        for _ in range(3):
            watch.start()
            watch.start()
            _require(hub.watching == {(ours.fileno(), False): watch}, "hub.watching has exactly the started watches")
            _until(hub, lambda: fired, "a watch that is started again fires")
            watch.stop()
            watch.stop()
            fired.clear()
            _park(hub, _LOOK)
            _require(not fired, "a stopped watch does not fire")
        watch.start()
        watch.close()
        watch.close()
        watch.stop()
        _park(hub, _LOOK)
        _require(not fired and watch.closed, "a closed watch does not fire")
        _refused(watch, WatchError, "a closed watch cannot be started")


def _refused(watch: Watch, errors: type[Exception] | tuple[type[Exception], ...], rule: str) -> None:
    try:
        watch.start()
    except errors:
        _require(not watch.started, f"{rule}, and is not `started` then")
        return
    finally:
        watch.close()
    raise ContractError(rule)


@_check
def check_watch_is_alone(hub: Hub) -> None:
    """A second watch on the same descriptor and direction is refused, and the first goes on."""
    fired: list[object] = []
    with _pair() as (ours, theirs), _watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        watch.start()
        _refused(hub.watch(ours.fileno(), _fail), WatchError, "a second watch on a descriptor is refused")
        theirs.send(b"x")
        _until(hub, lambda: fired, "the first watch goes on when a second one was refused")
        watch.stop()
        with _watching(hub, ours.fileno(), lambda: fired.append(None)) as second:
            fired.clear()
            second.start()
            _until(hub, lambda: fired, "a second watch takes over from one that is stopped")


@_check
def check_watch_bad_descriptor(hub: Hub) -> None:
    """A bad descriptor shows at `start`, leaves nothing behind, and the number can be watched when it is good again."""
    for write in (False, True):
        with _pair() as (ours, _):
            fd = ours.fileno()
        _refused(hub.watch(fd, _fail, write=write), (OSError, ValueError), "a closed descriptor is refused by start()")
        _refused(hub.watch(-1, _fail, write=write), (OSError, ValueError), "descriptor -1 is refused by start()")
        _park(hub, _LOOK)
        fired: list[object] = []
        with _pair() as (ours, theirs):
            if ours.fileno() != fd:
                os.dup2(ours.fileno(), fd)
            theirs.send(b"x")
            with _watching(hub, fd, lambda fired=fired: fired.append(None), write=write) as watch:  # type: ignore[misc]
                watch.start()
                _until(hub, lambda fired=fired: fired, "a number that was bad once can be watched")  # type: ignore[misc]
            if ours.fileno() != fd:
                os.close(fd)


@_check
def check_watch_reused_descriptor(hub: Hub) -> None:
    """After a watch was closed, or dropped while stopped, a new file under the same number can be watched."""
    numbers = set()
    for close in (True, False) * 3:
        fired: list[object] = []
        with _pair() as (ours, theirs):
            numbers.add(ours.fileno())
            watch = hub.watch(ours.fileno(), lambda fired=fired: fired.append(None))  # type: ignore[misc]
            watch.start()
            theirs.send(b"x")
            _until(hub, lambda fired=fired: fired, "a new file under an old number can be watched")  # type: ignore[misc]
            if close:
                watch.close()
            else:
                watch.stop()
            del watch
    _require(len(numbers) < 6, "this check needs descriptors to be reused; run it alone")


@_check
def check_watch_stop_in_the_same_round(hub: Hub) -> None:
    """A watch that another watch's callback stops does not fire, even if the loop has collected its event."""
    with _pair() as one, _pair() as two:
        fired: list[int] = []
        watches: list[Watch] = []

        def stop_other(number: int) -> None:
            fired.append(number)
            watches[1 - number].stop()

        for number, (ours, theirs) in enumerate((one, two)):
            watches.append(hub.watch(ours.fileno(), functools.partial(stop_other, number)))
            theirs.send(b"x")
        for watch in watches:
            watch.start()
        _until(hub, lambda: fired, "a watch fires")
        _park(hub, 0.001)
        _require(len(set(fired)) == 1, "a watch does not fire after stop(), not even for an event already collected")
        for watch in watches:
            watch.close()


@_check
def check_watch_survives_exceptions(hub: Hub) -> None:
    """A watch whose callback raises goes on, and so do the other watches."""
    fired: dict[int, int] = {0: 0, 1: 0, 2: 0}

    def count(number: int) -> None:
        fired[number] += 1
        if number != 1:
            _fail()

    with _pair() as (ours, theirs), _pair() as (ours_too, theirs_too):
        theirs.send(b"x")
        theirs_too.send(b"x")
        watches = [
            hub.watch(ours.fileno(), lambda: count(0)),
            hub.watch(ours_too.fileno(), lambda: count(1)),
            hub.watch(ours.fileno(), lambda: count(2), write=True),
        ]
        for watch in watches:
            watch.start()
        _until(hub, lambda: min(fired.values()) >= 3, f"watches go on when a callback raises, but: {fired}")
        for watch in watches:
            watch.close()


@_check
def check_watch_closes_itself(hub: Hub) -> None:
    """A callback may stop or close its own watch."""
    with _pair() as (ours, theirs):
        theirs.send(b"x")
        for method in ("stop", "close"):
            fired: list[object] = []
            watch = hub.watch(ours.fileno(), lambda fired=fired: (fired.append(None), end()))  # type: ignore[misc]
            end: Callable[[], None] = getattr(watch, method)
            watch.start()
            _until(hub, lambda fired=fired: fired, "a watch fires")  # type: ignore[misc]
            _park(hub, _LOOK)
            _require(len(fired) == 1, f"a watch does not fire after {method}() in its own callback")
            watch.close()


@_check
def check_watch_ownership(hub: Hub) -> None:
    """A started watch is kept alive by the hub; a stopped one goes with its owner, closed or not."""
    count: list[object] = []
    with _pair() as (ours, theirs):
        owner = _Owner(count)
        watch = owner.held = hub.watch(ours.fileno(), owner.called)
        watch.start()
        alive = weakref.ref(owner)
        del owner, watch
        gc.collect()
        theirs.send(b"x")
        _until(hub, lambda: count, "a started watch fires although nobody but the hub knows it")
        hub.watching[ours.fileno(), False].stop()
        _park(hub, 0.001)
        gc.collect()
        _require(alive() is None, "a stopped watch keeps its owner alive")


# The main greenlet


@_main_greenlet_check
def check_system_exceptions(hub: Hub) -> None:
    """`KeyboardInterrupt` and `SystemExit` out of a callback reach the main greenlet, and the hub goes on."""
    _require(getcurrent().parent is None, "call this check in the thread's main greenlet")
    for error in (KeyboardInterrupt, SystemExit):
        hub.call_soon(_fail, error)
        _arrives(hub, error, "call_soon")
        hub.call_later(0.001, _fail, error)
        _arrives(hub, error, "call_later")
        hub.call_soon_threadsafe(_fail, error)
        _arrives(hub, error, "call_soon_threadsafe")
        fired: list[object] = []
        with _pair() as (ours, theirs):
            watch = hub.watch(ours.fileno(), lambda fired=fired, e=error: fired.append(_fail(e)))  # type: ignore[misc]
            watch.start()
            theirs.send(b"x")
            _arrives(hub, error, "watch")
            _arrives(hub, error, "watch that raised before")
            watch.close()


def _arrives(hub: Hub, error: type[BaseException], kind: str) -> None:
    seen: list[object] = []
    hub.call_soon(seen.append, None)
    guard = hub.call_later(PATIENCE, getcurrent().switch)
    try:
        hub.switch()
    except error:
        guard.cancel()
    else:
        raise ContractError(f"{error.__name__} out of a callback of {kind} reaches the main greenlet")
    if "watch" not in kind:
        _until(hub, lambda: seen, f"the hub goes on after {error.__name__} out of a callback of {kind}")


HUB_CHECKS: tuple[Check, ...] = tuple(_checks)
MAIN_GREENLET_CHECKS: tuple[Check, ...] = tuple(_main_greenlet_checks)
