"""`hub.timeout`: the same on every hub, and in the main greenlet of the thread."""

from __future__ import annotations

import contextlib
import gc
import linecache
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import greenlet
import pytest
import zmq
from support.sockets import connected, open_context, parked, receives
from support.tasks import NEVER, SOON, BoomError, boom

import greenzmq
from greenzmq import GreenHub
from greenzmq.errors import TimeLimitExpired


def test_time_limit(hub: GreenHub) -> None:
    """The limit raises the Timeout that the block is bound to, with its seconds, wherever the block waits.

    Where the block waits it meets something else, which says where it comes from.
    """
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
            assert isinstance(late.value.__cause__, TimeLimitExpired)
            assert f"the limit of 0.005 seconds set at {__file__}:" in str(late.value.__cause__)
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
    """Code inside the block that catches every Exception does not swallow the limit; code around it catches Timeout.

    Seen to fail when Timeout was thrown into the block as it is: it could not be both.
    """
    caught: list[BaseException] = []
    try:
        with hub.timeout(SOON) as limit, contextlib.suppress(Exception):
            hub.sleep(NEVER)
    except Exception as error:
        caught.append(error)
    assert caught == [limit]
    assert isinstance(limit, TimeoutError)


def test_inner_limit_inside_of_an_outer_one(hub: GreenHub) -> None:
    """Between both blocks the inner limit is an Exception like any other, and the outer one is none.

    Seen to fail when Timeout was a BaseException.
    """

    def nested() -> None:
        try:
            with hub.timeout(SOON):
                hub.sleep(NEVER)
        except Exception as error:
            seen.append(type(error))
        try:
            with hub.timeout(NEVER):
                hub.sleep(NEVER)
        except BaseException as error:
            seen.append(type(error))
            raise

    seen: list[object] = []
    with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON * 4) as outer:
        nested()
    assert seen == [greenzmq.Timeout, TimeLimitExpired]
    assert late.value is outer


def test_inner_limit_does_not_take_the_place_of_an_outer_one(hub: GreenHub) -> None:
    """An inner limit that ends while the outer one unwinds the block does not save the block from the outer one.

    Seen to fail when an inner limit knew nothing of outer ones: the loop went on without a limit.
    """

    def nested() -> None:
        while len(rounds) < 3:
            rounds.append(1)
            with contextlib.suppress(Exception), hub.timeout(4 * SOON, BoomError):
                try:
                    hub.sleep(NEVER)
                finally:
                    hub.sleep(8 * SOON)

    rounds: list[int] = []
    with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON) as outer:
        nested()
    assert late.value is outer
    assert rounds == [1]


def test_limit_of_a_generator(hub: GreenHub) -> None:
    """Limits that end in another order than that in which they began are each other's business no more."""

    def limited(seconds: float) -> Iterator[None]:
        with hub.timeout(seconds):
            yield

    first, second = limited(NEVER), limited(NEVER)
    next(first)
    next(second)
    first.close()
    second.close()
    with pytest.raises(greenzmq.Timeout) as late, hub.timeout(SOON) as limit:
        hub.sleep(NEVER)
    assert late.value is limit
    assert getattr(greenlet.getcurrent(), "_greenzmq_time_limit") is None  # noqa: B009


def test_block_that_swallows_its_limit(hub: GreenHub) -> None:
    """A block that catches even a BaseException goes on, without a limit, and nothing is raised where it ends."""

    def replace() -> None:
        try:
            hub.sleep(NEVER)
        finally:
            boom()

    with hub.timeout(SOON):
        with contextlib.suppress(BaseException):
            hub.sleep(NEVER)
        hub.sleep(4 * SOON)
    with pytest.raises(BoomError) as raised, hub.timeout(SOON):
        replace()
    assert isinstance(raised.value.__context__, TimeLimitExpired)


def test_limit_and_kill_in_the_same_round(hub: GreenHub) -> None:
    """A greenlet that goes on after its limits is ended by a kill that comes at the same time as one of them.

    Seen to fail when a limit was turned into Timeout whatever had come out of the block.
    """

    def work() -> None:
        while True:
            with contextlib.suppress(greenzmq.Timeout), hub.timeout(0):
                hub.sleep(NEVER)

    for _ in range(20):
        task = hub.spawn(work)
        hub.sleep()
        task.kill()
        assert isinstance(task.get(), greenlet.GreenletExit)


def test_limit_that_is_used_again(hub: GreenHub) -> None:
    """One limit serves one block after the other, each with the whole time and a Timeout of its own; two at once never.

    Seen to fail when all blocks of a limit raised the same exception.
    """
    limit = hub.timeout(SOON)
    outcomes = []
    for _ in range(2):
        with pytest.raises(greenzmq.Timeout) as late, limit as outcome:
            hub.sleep(NEVER)
        assert late.value is outcome
        outcomes.append(outcome)
    assert outcomes[0] is not outcomes[1]
    with limit:
        hub.sleep()
    with limit, pytest.raises(RuntimeError, match="give each block its own"), limit:
        pass
    hub.sleep(4 * SOON)


def test_limit_without_a_block(hub: GreenHub) -> None:
    """A limit that is dropped without a ``with`` warns, at the line where it was made; one that was used does not.

    Seen to fail when it was dropped without a word.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hub.timeout(1)  # the line
        with hub.timeout(1):
            pass
        gc.collect()
    (warning,) = (each for each in caught if "hub.timeout" in str(each.message))
    assert warning.category is RuntimeWarning
    assert "write: with hub.timeout(seconds):" in str(warning.message)
    assert warning.filename == __file__
    assert "# the line" in linecache.getline(warning.filename, warning.lineno)


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
