"""`hub.timeout`: the same on every hub, and in the main greenlet of the thread."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import greenlet
import pytest
import zmq
from helpers_sockets import connected, open_context, parked, receives
from helpers_tasks import NEVER, SOON, BoomError, boom

import greenzmq
from greenzmq import GreenHub


def test_time_limit(hub: GreenHub) -> None:
    """The limit raises the Timeout that the block is bound to, with its seconds, wherever the block waits."""
    task = hub.spawn(hub.sleep, NEVER)
    reader, writer = os.pipe()
    release = threading.Event()
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        for wait in (
            pull.recv,
            hub.sleep,
            task.join,
            task.get,
            lambda: hub.wait_fd(reader),
            lambda: hub.run_in_thread(release.wait),
        ):
            with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON) as limit:
                wait(*([NEVER] if wait == hub.sleep else []))
            assert late.value is limit
            assert late.value.seconds == SOON
            assert str(late.value) == "0.005 seconds"
        release.set()
        push.send(b"x")
        assert pull.recv() == b"x"
    task.kill()
    os.close(reader)
    os.close(writer)


def test_time_limit_is_over_with_its_block(hub: GreenHub) -> None:
    """Nothing is raised after the block, whether it ended well or by an exception."""
    with hub.timeout(SOON):
        hub.sleep()
    with pytest.raises(BoomError), hub.timeout(SOON):
        boom()
    hub.sleep(4 * SOON)


@pytest.mark.parametrize("seconds", [0, -1])
def test_time_limit_of_nothing(hub: GreenHub, seconds: int) -> None:
    """Zero, or less, lets everything through that need not wait, and nothing else."""
    passed: list[int] = []
    with pytest.raises(greenzmq.Timeout), hub.timeout(seconds):
        hub.sleep(passed.append(1) or NEVER)  # type: ignore[func-returns-value]
    assert passed == [1]


def test_no_time_limit(hub: GreenHub) -> None:
    """None sets no limit."""
    with hub.timeout(None) as limit:
        hub.sleep(SOON)
    assert isinstance(limit, greenzmq.Timeout)


def test_silent_time_limit(hub: GreenHub) -> None:
    """With False the block is left silently; other exceptions, other limits among them, come out."""
    with hub.timeout(SOON, False):
        hub.sleep(NEVER)
    with pytest.raises(BoomError), hub.timeout(NEVER, False):
        boom()
    with pytest.raises(greenzmq.Timeout), hub.timeout(NEVER, False):
        raise greenzmq.Timeout(1)


def test_time_limit_with_an_exception_of_ones_own(hub: GreenHub) -> None:
    """A class or an object in place of Timeout; True is as None."""
    error = BoomError("mine")
    with pytest.raises(BoomError) as raised, hub.timeout(SOON, error) as limit:
        hub.sleep(NEVER)
    assert raised.value is limit is error
    with pytest.raises(BoomError), hub.timeout(SOON, BoomError):
        hub.sleep(NEVER)
    with pytest.raises(greenzmq.Timeout), hub.timeout(SOON, True):
        hub.sleep(NEVER)


def test_nested_time_limits(hub: GreenHub) -> None:
    """The shorter limit is raised, whether it is the inner or the outer one, and can be told from the other."""
    with hub.timeout(NEVER) as outer:
        with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON) as inner:
            hub.sleep(NEVER)
        assert late.value is inner is not outer
    # The inner one is silent, and does not swallow what is not its own.
    with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON) as outer, hub.timeout(NEVER, False):
        hub.sleep(NEVER)
    assert late.value is outer


def test_time_limit_passes_except_exception(hub: GreenHub) -> None:
    """Code that catches every Exception does not swallow a Timeout."""
    with pytest.raises(greenzmq.Timeout), hub.timeout(SOON), contextlib.suppress(Exception):
        hub.sleep(NEVER)


def test_time_limit_in_the_hub(hub: GreenHub) -> None:
    """In a callback a limit does no harm: nothing can wait there, and the limit is over with its block."""
    outcome: list[Any] = []

    def call() -> None:
        with hub.timeout(SOON):
            outcome.append("through")

    hub.hub.call_soon(call)
    hub.sleep(4 * SOON)
    assert outcome == ["through"]


@pytest.mark.main_greenlet
def test_in_the_main_greenlet(hub: GreenHub) -> None:
    """The thread's main greenlet waits, has limits, runs tasks and is woken like any other."""
    if hub.name == "asyncio":
        pytest.skip("the main greenlet is the loop's own")
    assert greenlet.getcurrent().parent is None
    with pytest.raises(greenzmq.Timeout), hub.timeout(SOON):
        hub.sleep(NEVER)
    assert hub.run(int, "1") == 1
    with pytest.raises(BoomError):
        hub.run(boom)
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        with pytest.raises(greenzmq.Timeout), hub.timeout(SOON):
            pull.recv()
        task = hub.spawn(push.send, b"x")
        assert pull.recv() == b"x"
        task.get()
        task = parked(hub, receives, pull.recv)
        push.send(b"y")
        assert task.get() == b"y"
    assert hub.run_in_thread(str, 5) == "5"
