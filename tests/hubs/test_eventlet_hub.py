"""What is special about eventlet: hubs die and are replaced, drop listeners, know nothing of threads and signals."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import pytest
from greenlet import getcurrent
from support.inside import loop_of
from support.variants import Variant, spawn

from greenzmq.errors import WatchError
from greenzmq.process import unpatched

pytestmark = [pytest.mark.runtime("eventlet"), pytest.mark.all_loops]


@pytest.fixture
def pair():
    ours, theirs = unpatched.wakeup_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def rounds(hub: Any, seconds: float = 0.01) -> None:
    hub.call_later(seconds, getcurrent().switch)
    hub.switch()


@pytest.mark.main_greenlet
def test_abort(contract_hub: Any) -> None:
    """hub.abort() throws eventlet's timers away; the adapter goes on with what was scheduled, and with what is."""
    called: list[int] = []
    rounds(contract_hub)
    contract_hub.call_soon(called.append, 1)
    loop_of(contract_hub).stopping = True
    loop_of(contract_hub).abort(wait=True)
    contract_hub.call_soon(called.append, 2)
    rounds(contract_hub)
    assert called == [1, 2]


@pytest.mark.main_greenlet
def test_a_signal_handler_that_raises_as_the_wake_up_is_listened_for(contract_hub: Any, monkeypatch: Any) -> None:
    """The next wait finds the listener that nobody has noted, and takes its place.

    Seen to fail with eventlet's "Second simultaneous read" in every wait from then on.
    """
    eventlets = loop_of(contract_hub)
    add = type(eventlets).add

    def add_and_raise(*args: Any) -> None:
        add(eventlets, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(eventlets, "add", add_and_raise)
        with pytest.raises(KeyboardInterrupt):
            rounds(contract_hub)
    for _ in range(2):
        rounds(contract_hub)


@pytest.mark.main_greenlet
def test_hub_greenlet_is_replaced(contract_hub: Any) -> None:
    """After a KeyboardInterrupt in somebody else's timer the hub has a new greenlet, and the adapter knows it."""
    called: list[int] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    before = contract_hub.greenlet
    loop_of(contract_hub).schedule_call_global(0, interrupt)
    contract_hub.call_soon(called.append, 1)
    with pytest.raises(KeyboardInterrupt):
        contract_hub.switch()
    contract_hub.call_soon(called.append, 2)
    rounds(contract_hub)
    assert called == [1, 2]
    assert contract_hub.greenlet is not before
    assert contract_hub.greenlet is loop_of(contract_hub).greenlet


def test_one_timer_for_a_round(contract_hub: Any) -> None:
    """Many calls of call_soon are one timer of eventlet's."""
    before = loop_of(contract_hub).get_timers_count()
    for _ in range(100):
        contract_hub.call_soon(int)
    assert loop_of(contract_hub).get_timers_count() == before + 1


def test_cancelled_timers_are_counted_once(contract_hub: Any) -> None:
    """Whatever is cancelled, and when, eventlet's count of cancelled timers ends at 0."""
    timers = [contract_hub.call_later(seconds, int) for seconds in (0, 0, 0.001, 0.005)]
    for timer in (*timers[1:], *timers[1:]):
        timer.cancel()
    rounds(contract_hub)
    for timer in timers:
        timer.cancel()
    assert loop_of(contract_hub).timers_canceled == 0


def test_watch_survives_reopening(contract_hub: Any, pair: Any) -> None:
    """A watch goes on when eventlet takes its number for one that was opened again, and so does the wake-up."""
    fired: list[object] = []
    watch = contract_hub.watch(pair[0].fileno(), lambda: fired.append(None))
    watch.start()
    loop_of(contract_hub).mark_as_reopened(pair[0].fileno())
    loop_of(contract_hub).mark_as_reopened(contract_hub._wakeup.fd)
    rounds(contract_hub)
    pair[1].send(b"x")
    rounds(contract_hub)
    assert fired
    watch.close()
    waiting = getcurrent()
    guard = contract_hub.call_later(2, waiting.switch, "guard")
    unpatched.start_new_thread(contract_hub.call_soon_threadsafe, (waiting.switch, "thread"))
    assert contract_hub.switch() == "thread"
    guard.cancel()


@pytest.mark.parametrize("prevent", [True, False])
def test_foreign_listener(contract_hub: Any, pair: Any, prevent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that a socket of eventlet's waits for is refused, and that one goes on waiting."""
    monkeypatch.setattr("eventlet.hubs.hub.g_prevent_multiple_readers", prevent)
    hub, fd = loop_of(contract_hub), pair[0].fileno()
    woken: list[object] = []
    listener = hub.add(hub.READ, fd, woken.append, int, None)
    watch = contract_hub.watch(fd, pytest.fail)
    with pytest.raises(WatchError, match="already waited for in this eventlet hub"):
        watch.start()
    pair[1].send(b"x")
    rounds(contract_hub)
    hub.remove(listener)
    assert woken


def test_refused_descriptor_leaves_nothing(contract_hub: Any, variant: Variant) -> None:
    """epoll refuses a regular file, when eventlet has noted the listener already: it is not left behind."""
    with open(__file__, "rb") as file:
        watch = contract_hub.watch(file.fileno(), int)
        if variant.id in ("eventlet-poll", "eventlet-selects"):
            watch.start()
            watch.close()
        else:
            with pytest.raises(PermissionError):
                watch.start()
        assert file.fileno() not in loop_of(contract_hub).listeners["read"]


def test_watch_frees_its_starter(contract_hub: Any, pair: Any) -> None:
    """A started watch does not keep alive the greenlet that started it."""
    watch = contract_hub.watch(pair[0].fileno(), int)
    starters = []

    def start() -> None:
        starters.append(weakref.ref(getcurrent()))
        watch.start()

    spawn(contract_hub, start)
    rounds(contract_hub)
    gc.collect()
    assert starters[0]() is None
    watch.close()


def test_use_hub(contract_hub: Any, variant: Variant) -> None:
    """After use_hub() the thread has a new hub and a new adapter, and the old one has let go of its descriptors."""
    import eventlet.hubs

    old = loop_of(contract_hub)
    fd = contract_hub._wakeup.fd
    try:
        eventlet.hubs.use_hub("poll")
        new = type(contract_hub).get()
        assert new is not contract_hub
        assert new is type(contract_hub).current()
        contract_hub.call_soon_threadsafe(pytest.fail, "called on a hub that is not in use")
        assert fd not in old.listeners["read"] or fd == new._wakeup.fd
        loop_of(new).listeners["read"].clear()
    finally:
        eventlet.hubs._threadlocal.hub = old
    del new
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
