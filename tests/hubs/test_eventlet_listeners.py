"""Nothing of ours is left in eventlet's hub when nobody waits, and what that means for calls from other threads."""

from __future__ import annotations

from typing import Any

import pytest
import zmq
from greenlet import GreenletExit
from support.inside import loop_of, watch_of
from support.sockets import connected, open_context
from support.variants import Variant

import greenzmq
from greenzmq import GreenHub
from greenzmq.process import unpatched

pytestmark = [pytest.mark.runtime("eventlet"), pytest.mark.all_loops]


@pytest.fixture
def eventlet(variant: Variant) -> Any:
    """The package, imported when it is known to be there."""
    import eventlet

    return eventlet


def left(hub: Any) -> list[Any]:
    """The listeners in an eventlet hub."""
    return [*loop_of(hub).get_readers(), *loop_of(hub).get_writers()]


def killed(eventlet: Any, call: Any) -> None:
    """A greenlet of eventlet's is killed while it waits."""
    waiting = eventlet.spawn(call)
    eventlet.sleep(0.001)
    waiting.kill()


def in_time(pull: Any) -> None:
    pull.rcvtimeo = 1
    with pytest.raises(zmq.Again):
        pull.recv()


WAITS: dict[str, Any] = {
    "recv": lambda eventlet, hub, pull, push: (eventlet.spawn_after(0.001, push.send, b"x"), pull.recv()),
    "recv, timeout": lambda eventlet, hub, pull, push: in_time(pull),
    "recv, killed": lambda eventlet, hub, pull, push: killed(eventlet, pull.recv),
    "poll": lambda eventlet, hub, pull, push: pull.poll(1),
    "Poller": lambda eventlet, hub, pull, push: greenzmq.select([pull], [], [], 0.001),
    "send to nobody": lambda eventlet, hub, pull, push: killed(
        eventlet, lambda: push.context.socket(zmq.PUSH).send(b"x")
    ),
    "sleep": lambda eventlet, hub, pull, push: hub.sleep(0.001),
    "task": lambda eventlet, hub, pull, push: hub.run(hub.sleep, 0.001),
    "run_in_thread": lambda eventlet, hub, pull, push: hub.run_in_thread(int),
    "wait_fd": lambda eventlet, hub, pull, push: hub.wait_fd(pull.FD, timeout=0.001),
}


@pytest.mark.main_greenlet
@pytest.mark.parametrize("wait", WAITS)
def test_nothing_is_left_when_nobody_waits(contract_hub: Any, eventlet: Any, wait: str) -> None:
    """As eventlet's own tests want it: after a wait there is no listener in the hub, at once, however it has ended.

    Seen to fail when the wake-up was listened to as long as the adapter lives, and when watches rested.
    """
    hub = GreenHub.of(contract_hub)
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        for _ in range(2):
            WAITS[wait](eventlet, hub, pull, push)
            assert left(contract_hub) == []
    assert left(contract_hub) == []


@pytest.mark.main_greenlet
def test_watches_rest_while_somebody_waits(contract_hub: Any, eventlet: Any) -> None:
    """Two who wait in turn leave the hub alone; the last takes the watch of the other with it."""
    hub = GreenHub.of(contract_hub)
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        other = hub.spawn(hub.sleep, 60)
        eventlet.spawn_after(0.001, push.send, b"x")
        assert pull.recv() == b"x"
        assert watch_of(pull).lazily_stopped
        other.kill()
        assert left(contract_hub) == []
        assert not watch_of(pull).started


@pytest.mark.main_greenlet
def test_a_thread_kills_a_task_that_waits_elsewhere(contract_hub: Any, eventlet: Any) -> None:
    """A task that eventlet itself parks can be killed by a native thread, though nobody waits in greenzmq.

    Seen to hang when only those who wait in greenzmq kept the wake-up in the hub.
    """
    task = GreenHub.of(contract_hub).spawn(eventlet.sleep, 60)
    eventlet.sleep(0.001)
    unpatched.start_new_thread(task.kill, (GreenletExit, False))
    with eventlet.Timeout(5):
        while not task.done:
            eventlet.sleep(1)
    assert left(contract_hub) == []


@pytest.mark.main_greenlet
def test_what_a_thread_asks_for_while_nobody_waits(contract_hub: Any) -> None:
    """It is done when the next one comes, and the hub does not spin until then."""
    called = greenzmq.GreenEvent()
    done = unpatched.allocate_lock()
    done.acquire()
    unpatched.start_new_thread(lambda: (contract_hub.call_soon_threadsafe(called.set), done.release()), ())
    done.acquire()
    assert left(contract_hub) == []
    with GreenHub.of(contract_hub).timeout(5):
        called.wait()


@pytest.mark.main_greenlet
def test_a_timeout_is_one_to_eventlet(contract_hub: Any, eventlet: Any) -> None:
    """``eventlet.is_timeout`` is true of an Again by RCVTIMEO or SNDTIMEO, and false of one by NOBLOCK."""
    with open_context(GreenHub.of(contract_hub), turn=0) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH)
        alone = context.socket(zmq.PUSH)
        alone.sndtimeo = pull.rcvtimeo = 1
        for call, args, expected in (
            (pull.recv, (), True),
            (pull.recv_multipart, (), True),
            (alone.send, (b"x",), True),
            (pull.recv, (zmq.NOBLOCK,), False),
        ):
            with pytest.raises(zmq.Again) as raised:
                call(*args)
            assert eventlet.is_timeout(raised.value) is expected
