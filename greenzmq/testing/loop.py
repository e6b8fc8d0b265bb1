# The loop


@check
def check_current(hub: Hub) -> None:
    """`current` and `get` return the one Hub of this thread's loop, and `current` creates none."""
    kind = type(hub)
    require(kind.current() is hub, "current() is the same object each time as long as the loop lives")
    require(kind.get() is hub, "get() returns the thread's hub where there is one")
    found: list[object] = []

    def look() -> None:
        try:
            found.append([kind.current(), kind.current()])
        except BaseException as error:
            found.append(error)

    unpatched.start_new_thread(look, ())
    until(hub, lambda: found, "current() returns at once, in any thread")
    require(found == [[None, None]], f"current() is None in a thread without a hub, not {found[0]!r}")


@check
def check_description(hub: Hub) -> None:
    """`name`, `variant`, `thread_id` and `repr` tell a person which hub this is."""
    require(hub.name and isinstance(hub.name, str), "a hub has a name")
    require(hub.variant and isinstance(hub.variant, str), "a hub says in `variant` what its loop runs on")
    require(hub.thread_id == unpatched.get_ident(), "thread_id is the native thread whose loop this is")
    require(hub.variant in repr(hub), "repr(hub) shows the variant")


@check
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
        until(hub, lambda: len(places) == 4, f"all four kinds of callback are called, not just {sorted(places)}")
    for kind, place in places.items():
        require(place is hub.greenlet, f"a callback of {kind} runs in hub.greenlet, not in {place!r}")


# switch


@check
def check_switch(hub: Hub) -> None:
    """`switch` returns what its greenlet was switched with and raises what was thrown into it."""
    here = getcurrent()
    hub.call_soon(here.switch, "value")
    require(hub.switch() == "value", "switch() returns the value that somebody switched with")
    hub.call_soon(here.throw, Oops("thrown"))
    try:
        hub.switch()
    except Oops:
        return
    raise ContractError("switch() raises what was thrown into its greenlet")


@check
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
    until(hub, lambda: worker.dead, "a callback may switch into greenlets that park in the hub, several times")
    expected = ["switch", "starts", "switch", "resumes", "switch", "ends", "back"]
    require(steps == expected, f"control goes back to the callback when the greenlet parks or ends, but: {steps}")


# call_soon


@check
def check_soon_order(hub: Hub) -> None:
    """`call_soon` calls in the order of the calls, with their arguments, those from callbacks last."""
    seen: list[object] = []

    def nested() -> None:
        seen.append("nested")
        hub.call_soon(seen.append, "last")

    hub.call_soon(nested)
    for number in range(100):
        hub.call_soon(seen.append, number)
    until(hub, lambda: "last" in seen, "call_soon() calls")
    require(seen == ["nested", *range(100), "last"], f"call_soon() keeps the order, but: {seen}")


@check
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
    until(hub, lambda: len(seen) >= 3, "what was scheduled is called")
    require(len(early) <= 3, "a callback that schedules another one ends first")
    require(not early or early[0] == 1, "call_soon() keeps the order")


@check
def check_soon_survives_exceptions(hub: Hub) -> None:
    """A callback that raises harms neither the loop nor its neighbours."""
    seen: list[object] = []
    for number in range(5):
        hub.call_soon(fail)
        hub.call_soon(seen.append, number)
    for number in range(5, 10):
        hub.call_later(0.001, fail)
        hub.call_later(0.001, seen.append, number)
        hub.call_soon_threadsafe(fail)
        hub.call_soon_threadsafe(seen.append, number + 5)
    until(hub, lambda: len(seen) >= 15, "a callback that raises an Exception does not keep others from being called")
    require(sorted(seen, key=str) == sorted(range(15), key=str), f"each is called once, but: {seen}")


@check
def check_soon_is_fair(hub: Hub) -> None:
    """A callback that goes on calling `call_soon` starves neither watches nor timers nor other threads."""
    seen: set[str] = set()
    going = [True]

    def again() -> None:
        if going:
            hub.call_soon(again)

    with pair() as (ours, _), watching(hub, ours.fileno(), lambda: seen.add("watch"), write=True) as watch:
        watch.start()
        hub.call_later(0.001, seen.add, "timer")
        hub.call_soon(again)
        unpatched.start_new_thread(hub.call_soon_threadsafe, (seen.add, "thread"))
        hub.call_later(PATIENCE, going.clear)
        until(hub, lambda: len(seen) == 3 or not going, "")
        require(len(seen) == 3, f"callbacks that call call_soon() again starve all but {sorted(seen)}")
        going.clear()


# call_later


@check
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
    until(hub, lambda: len(lengths) == 40, "every timer is called")
    seconds, missing = max(lengths, key=lambda each: each[1])
    require(missing <= 0, f"call_later({seconds}) calls {missing * 1000:.3f} ms too early")


@check
def check_later_order(hub: Hub) -> None:
    """Timers are called when they are due, whatever the order in which they were set; 0 and less means soon."""
    seen: list[object] = []
    for seconds in (0.05, 0.02, -1, 0.08, 0, -0.001):
        hub.call_later(seconds, seen.append, seconds)
    until(hub, lambda: len(seen) == 6, "every timer is called")
    require(set(seen[:3]) == {-1, 0, -0.001}, f"0 seconds and less means soon, but: {seen}")
    require(seen[3:] == [0.02, 0.05, 0.08], f"timers are called when they are due, but: {seen}")


@check
def check_cancel(hub: Hub) -> None:
    """A cancelled timer is not called; to cancel it twice, after its call or in its call does nothing."""
    seen: list[object] = []
    cancelled = [hub.call_later(seconds, seen.append, seconds) for seconds in (-1, 0, 0.001, 0.01)]
    for timer in cancelled * 2:
        timer.cancel()
    own = [hub.call_later(0.001, lambda: (own[0].cancel(), seen.append("own")))]
    late = hub.call_later(0.001, seen.append, "late")
    until(hub, lambda: len(seen) >= 2, "a timer may be cancelled in its own call")
    late.cancel()
    late.cancel()
    park(hub, LOOK)
    require(sorted(map(str, seen)) == ["late", "own"], f"cancelled timers are not called, but: {seen}")


@check
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
        park(hub, LOOK)
        require(len(seen) == 1, f"a timer that another timer's callback has cancelled is not called ({seconds} s)")


@check
def check_cancel_frees(hub: Hub) -> None:
    """`Timer.cancel` lets go of the callback at once, and a call that was made is forgotten."""
    count: list[object] = []
    for seconds in (0, 0.001, 1000):
        owner = Owner(count)
        owner.held = hub.call_later(seconds, owner.called)
        alive = weakref.ref(owner)
        owner.held.cancel()  # type: ignore[attr-defined]
        owner.held = None
        del owner
        require(alive() is None, f"a cancelled timer ({seconds} s) keeps its callback alive")
    owner = Owner(count)
    alive = weakref.ref(owner)
    hub.call_later(0.001, owner.called)
    hub.call_soon(owner.called)
    del owner
    gc.collect()
    until(hub, lambda: len(count) == 2, "a hub keeps alive what it is going to call")
    park(hub, 0.001)
    gc.collect()
    require(alive() is None, "a callback that was called is kept alive")


# call_soon_threadsafe


@check
def check_thread_wakes(hub: Hub) -> None:
    """`call_soon_threadsafe` wakes a loop that is asleep."""
    here = getcurrent()
    asleep = hub.call_later(PATIENCE, here.switch, "timeout")
    for _ in range(5):
        hub.call_later(0.005, unpatched.start_new_thread, hub.call_soon_threadsafe, (here.switch, "thread"))
        require(hub.switch() == "thread", "call_soon_threadsafe() wakes a loop that is asleep")
    asleep.cancel()


@check
def check_thread_wakes_an_idle_loop(hub: Hub) -> None:
    """A loop that has nothing at all to wait for sleeps until a thread calls, and does not end."""
    here = getcurrent()
    asleep = unpatched.allocate_lock()
    asleep.acquire()

    def call() -> None:
        asleep.acquire(timeout=0.05)
        hub.call_soon_threadsafe(here.switch, "thread")

    unpatched.start_new_thread(call, ())
    require(hub.switch() == "thread", "call_soon_threadsafe() wakes a loop that has nothing else to wait for")


@check
def check_thread_order(hub: Hub) -> None:
    """Calls from many threads all arrive, those of each thread in its order."""
    threads, calls = 8, 200
    seen: dict[int, list[int]] = {thread: [] for thread in range(threads)}

    def call(thread: int) -> None:
        for number in range(calls):
            hub.call_soon_threadsafe(seen[thread].append, number)

    for thread in range(threads):
        unpatched.start_new_thread(call, (thread,))
    until(hub, lambda: sum(map(len, seen.values())) == threads * calls, "no call from a thread is lost")
    for numbers in seen.values():
        require(numbers == list(range(calls)), "calls from one thread keep their order")


