"""What is special about gevent: a loop with nothing to wait for ends, and hubs are destroyed and replaced."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.hub_thread import HubThread
from support.variants import Variant

from greenzmq.hubs.base import Hub
from greenzmq.process import unpatched
from greenzmq.testing.contract.support import until, watching

pytestmark = [pytest.mark.runtime("gevent"), pytest.mark.all_loops]


def in_thread(variant: Variant, function: Callable[[Any], object]) -> None:
    """Call ``function(hub)`` in the main greenlet of a thread that makes a hub and leaves it to the function."""
    thread = HubThread(variant)
    hub = thread.hub
    del thread.hub
    try:
        thread.call_in_main(lambda: function(hub))
    finally:
        thread.end()


def test_loop_ends(variant: Variant) -> None:
    """The adapter keeps no loop running: hub.join() and gevent.wait() return when nobody waits for anything."""

    def use(hub: Any) -> None:
        assert hub.greenlet.join(timeout=2) is True
        hub.call_later(0.01, int)
        assert hub.greenlet.join(timeout=2) is True
        hub.greenlet.destroy(destroy_loop=True)

    in_thread(variant, use)


@pytest.mark.main_greenlet
def test_loop_ends_after_waiting(contract_hub: Hub) -> None:
    """A greenlet that was parked on the adapter keeps the loop running while it is, and no longer."""
    from gevent import getcurrent

    contract_hub.call_later(0.001, getcurrent().switch)
    contract_hub.switch()
    assert contract_hub.greenlet.join(timeout=2) is True


def test_reports_to_the_hub(contract_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What callbacks raise goes to the hub's handle_error, which programs replace."""
    errors: list[str] = []
    monkeypatch.setattr(
        contract_hub.greenlet, "handle_error", lambda _, kind, value, traceback: errors.append(str(value))
    )
    ours, theirs = unpatched.wakeup_pair()
    with watching(contract_hub, ours.fileno(), partial(fail, "watch"), write=True) as watch:
        watch.start()
        contract_hub.call_soon(fail, "call_soon")
        contract_hub.call_later(0.001, fail, "call_later")
        contract_hub.call_soon_threadsafe(fail, "call_soon_threadsafe")
        until(contract_hub, lambda: len(set(errors)) == 4, "all are reported")
    ours.close()
    theirs.close()


def fail(message: str) -> None:
    raise ValueError(message)


def test_destroyed_hub(variant: Variant) -> None:
    """On a destroyed hub threads are ignored, and timers and watches can be cancelled and closed."""
    ours, theirs = unpatched.wakeup_pair()

    def use(hub: Any) -> None:
        other = threading.Thread(target=hub.call_soon_threadsafe, args=(int,))
        timers = [hub.call_later(10, int), hub.call_later(0, int)]
        watches = [hub.watch(ours.fileno(), int), hub.watch(ours.fileno(), int, write=True)]
        for watch in watches:
            watch.start()
            if "libuv" in variant.id:  # whose destroy() does not return while something is started
                watch.stop()
        if "libuv" in variant.id:
            timers[0].cancel()
        hub.greenlet.destroy(destroy_loop=True)
        other.start()
        other.join()
        hub.call_soon_threadsafe(int)
        for timer in timers:
            timer.cancel()
        for watch in watches:
            watch.close()
        assert hub.readers == hub.writers == {}
        assert type(hub).current() is None

    in_thread(variant, use)
    ours.close()
    theirs.close()


def test_a_watch_keeps_the_loop_going_but_at_rest(variant: Variant) -> None:
    """The loop goes on for a watch that is started, and ends, or can be destroyed, if it rests.

    Seen to fail on libuv, whose loop goes on for whatever is watched, when watches rested there.
    """
    ours, theirs = unpatched.wakeup_pair()
    theirs.send(b"x")

    def use(hub: Any) -> None:
        fired: list[object] = []
        watch = hub.watch(ours.fileno(), lambda: fired.append(ours.recv(1)))
        watch.start()
        assert hub.greenlet.join(timeout=0.02) is False
        assert fired == [b"x"]
        watch.stop_lazily()
        assert hub.greenlet.join(timeout=5) is True
        assert watch.lazily_stopped == watch.started == hub.supports_lazy_stop
        hub.greenlet.destroy(destroy_loop=True)

    in_thread(variant, use)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("destroy_loop", [True, False])
def test_next_hub(variant: Variant, destroy_loop: bool) -> None:
    """A new gevent hub in the thread has a new adapter, also if it took over the old one's loop."""

    def use(hub: Any) -> None:
        hub.greenlet.destroy(destroy_loop=destroy_loop)
        next_hub = type(hub).get()
        assert next_hub is not hub
        hub.call_soon_threadsafe(pytest.fail, "called on a hub that is destroyed")
        called: list[object] = []
        next_hub.call_soon_threadsafe(called.append, True)
        assert next_hub.greenlet.join(timeout=0.05) in (True, False)
        assert called == [True]
        next_hub.greenlet.destroy(destroy_loop=True)

    in_thread(variant, use)


def test_adapter_goes_with_its_thread(variant: Variant) -> None:
    """Nobody but the thread keeps the adapter alive; a hub that was destroyed, or left behind, does not."""
    adapters = []

    def use(hub: Any) -> None:
        adapters.append(weakref.ref(hub))
        hub.local["something"] = use
        if len(adapters) == 2 and "libuv" not in variant.id:  # where gevent itself keeps the frame of destroy()
            hub.greenlet.destroy(destroy_loop=True)

    in_thread(variant, use)
    in_thread(variant, use)
    gc.collect()
    assert [adapter() for adapter in adapters] == [None, None]


@pytest.mark.runtime("gevent-libuv")
def test_dropped_watch_leaves_nothing(contract_hub: Any) -> None:
    """A watch that is dropped without close() leaves no handle of libuv's, whichever thread's collector finds it."""
    ours, theirs = unpatched.wakeup_pair()
    loop = contract_hub.greenlet.loop
    for drop in (list.clear, lambda watches: run_in_thread(watches.clear)):
        watches = [contract_hub.watch(ours.fileno(), int)]
        watches[0].start()
        watches[0].stop()
        assert ours.fileno() in loop._io_watchers
        drop(watches)
        until(contract_hub, lambda: ours.fileno() not in loop._io_watchers, "libuv's handle is closed")
    ours.close()
    theirs.close()


def run_in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
