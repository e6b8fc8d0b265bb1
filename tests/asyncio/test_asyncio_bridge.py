"""The bridge between coroutines and greenlets: `run`, `spawn`, `await_`, and the end of the loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import traceback
import warnings
from typing import Any

import pytest
import zmq
from greenlet import getcurrent
from support.asyncio import loop_name, run_on

import greenzmq
import greenzmq.asyncio
from greenzmq.asyncio import await_, run, spawn

__all__ = ["loop_name"]

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class BoomError(Exception):
    """What things raise here."""


def fails() -> None:
    raise BoomError("here")


async def fails_too() -> None:
    await asyncio.sleep(0)
    fails()


def fails_to_await() -> Any:
    return fails_too()


def wait() -> None:
    """Wait in a greenlet for ever."""
    greenzmq.asyncio.hub().sleep(1000)


def names(error: BaseException) -> list[str]:
    """The functions in an exception's traceback."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# --- run --------------------------------------------------------------------------------------------------------------


def test_run_returns(loop_name: str) -> None:
    """All arguments arrive and the result comes back, from a function that waits and from one that need not."""

    def work(*args: Any, wait: bool, **kwargs: Any) -> Any:
        if wait:
            greenzmq.asyncio.hub().sleep()
        return args, kwargs

    async def main() -> None:
        for waits in (False, True):
            assert await run(work, 1, 2, wait=waits, hub="kept") == ((1, 2), {"hub": "kept"})
        assert await run(dict) == {}

    run_on(loop_name, main())


def test_run_raises(loop_name: str) -> None:
    """The exception itself comes out, and its traceback names the functions on both sides."""

    def green() -> None:
        greenzmq.asyncio.hub().sleep()
        await_(fails_too())

    async def main() -> None:
        with pytest.raises(BoomError, match="here") as raised:
            await run(green)
        assert [name for name in names(raised.value) if name in ("main", "green", "fails_too", "fails")] == [
            "main",
            "green",
            "fails_too",
            "fails",
        ]

    run_on(loop_name, main())


@pytest.mark.parametrize("call", [run, spawn])
def test_coroutines_are_refused(loop_name: str, call: Any) -> None:
    """To run or spawn a coroutine function, or a coroutine as `asyncio.run` takes one, is a TypeError that says what to
    write instead; no coroutine complains that it was never awaited.

    Seen to fail when `run` returned a coroutine that nobody ran.
    """

    async def main() -> None:
        for given in (fails_too, fails_to_await, fails_too()):
            with pytest.raises(TypeError, match=r"in a coroutine write await fails_too\(\.\.\.\)"):
                await call(given)
        gc.collect()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_on(loop_name, main())
    assert not [each for each in caught if "never awaited" in str(each.message)]


def test_run_shares_the_context(loop_name: str) -> None:
    """What one side sets in a context variable the other sees, before a wait and after it; a task has a copy."""

    def green(before: str, after: str) -> None:
        assert variable.get() == before
        variable.set(after)
        greenzmq.asyncio.hub().sleep()
        assert variable.get() == after
        await_(in_coroutine(after))
        variable.set(after + "!")

    async def in_coroutine(expected: str) -> None:
        assert variable.get() == expected

    async def main() -> None:
        variable.set("main")
        for _ in range(2):  # the second time in the same greenlet
            await run(green, "main", "green")
            assert variable.get() == "green!"
            variable.set("main")
        await spawn(green, "main", "spawned")
        assert variable.get() == "main"

    run_on(loop_name, main())


def test_calls_at_once(loop_name: str) -> None:
    """`gather` of more calls than the hub keeps greenlets: each has its own result, none its neighbour's context."""

    def green(number: int) -> int:
        variable.set(str(number))
        for _ in range(3):
            greenzmq.asyncio.hub().sleep()
            assert variable.get() == str(number)
        return number

    async def main() -> None:
        for _ in range(2):
            assert await asyncio.gather(*(run(green, number) for number in range(100))) == list(range(100))
        assert len(greenzmq.asyncio.hub().hub.idle) <= 32  # type: ignore[attr-defined]

    run_on(loop_name, main())


def test_a_message_in_parts_over_several_calls(loop_name: str) -> None:
    """A call that ends inside a message gives up its greenlet: the next, in another, goes on with the message."""

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://parts")
        pull.connect("inproc://parts")
        await asyncio.gather(*(run(greenzmq.asyncio.hub().sleep) for _ in range(3)))  # there is a choice of idle ones
        await run(push.send, b"one", zmq.SNDMORE)
        others = [asyncio.ensure_future(run(greenzmq.asyncio.hub().sleep, 0.01)) for _ in range(3)]
        await asyncio.sleep(0)  # they have the idle ones now
        await asyncio.wait_for(run(push.send, b"two"), 5)
        assert await run(pull.recv_multipart) == [b"one", b"two"]
        await asyncio.gather(*others)
        await run(context.destroy, 0)

    run_on(loop_name, main())


def test_calls_that_receive_share_a_greenlet(loop_name: str) -> None:
    """A socket that remembers who received last takes no greenlet from the hub's pool: seen with a weak reference."""
    greenlets = set()

    def receive(pull: greenzmq.asyncio.Socket) -> bytes:
        greenlets.add(getcurrent())
        return pull.recv()

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://share")
        pull.connect("inproc://share")
        await run(str)  # the hub's first call waits until it knows the loop's greenlet
        for number in range(20):
            asyncio.get_running_loop().call_soon(push.send, b"%d" % number, zmq.NOBLOCK)
            assert await run(receive, pull) == b"%d" % number
        assert len(greenlets) <= 2
        await run(context.destroy, 0)

    run_on(loop_name, main())


def test_what_an_ended_call_has_left_of_a_message_is_anybodys(loop_name: str) -> None:
    """A part received by one `run` does not reserve the rest for a greenlet that works for another by now.

    Seen to hang with `CALL_END_CALLBACKS` ignored: the pool's greenlet, busy with a sleep, counts as the message's
    receiver.
    """

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://rest")
        pull.connect("inproc://rest")
        await run(str)
        await run(push.send_multipart, [b"one", b"two"])
        assert await run(pull.recv) == b"one"
        sleeps = greenzmq.asyncio.hub().sleep
        busy = [asyncio.ensure_future(run(sleeps, 30)) for _ in range(3)]
        await asyncio.sleep(0)  # they have the idle greenlets now
        assert await asyncio.wait_for(run(pull.recv), 5) == b"two"
        for call in busy:
            call.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await run(context.destroy, 0)

    run_on(loop_name, main())


def test_a_call_that_need_not_wait_does_not_let_the_loop_go_round(loop_name: str) -> None:
    """`run` comes back at once; only a turn that has lasted too long is given up."""

    async def main() -> None:
        rounds: list[int] = []
        await run(str)  # the hub's first call waits until it knows the loop's greenlet
        asyncio.get_running_loop().call_soon(rounds.append, 1)
        assert [await run(int, str(number)) for number in range(50)] == list(range(50))
        assert not rounds

    run_on(loop_name, main())


def test_what_fails_after_its_coroutine_was_dropped_is_told(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the cleanup of a greenlet whose coroutine was closed is told to `sys.unraisablehook`, by name.

    Seen to fail when it vanished.
    """
    told: list[str] = []

    def clean_up_badly() -> None:
        try:
            wait()
        finally:
            fails()

    async def main() -> None:
        await run(str)
        coroutine = run(clean_up_badly)
        coroutine.send(None)
        coroutine.close()
        while not told:
            await asyncio.sleep(0)

    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(f"{args.object!r}: {args.exc_value}"))
    run_on(loop_name, main())
    (text,) = told
    assert clean_up_badly.__qualname__ in text
    assert text.endswith("whose coroutine was dropped>: here")


def test_a_dropped_coroutine_ends_its_greenlet(loop_name: str) -> None:
    """Closing the coroutine that awaits `run` raises `GreenletExit` in the greenlet, which may clean up."""

    async def main() -> None:
        log: list[str] = []

        def work() -> None:
            try:
                wait()
            finally:
                greenzmq.asyncio.hub().sleep()
                log.append("ended")

        await run(str)
        coroutine = run(work)
        coroutine.send(None)
        coroutine.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert log == ["ended"]

    run_on(loop_name, main())


# --- spawn ------------------------------------------------------------------------------------------------------------


def test_spawned_is_asked_by_many(loop_name: str) -> None:
    """A spawned task gives its result as often as asked: to two tasks at once and to `get` in a greenlet."""

    def green() -> str:
        greenzmq.asyncio.hub().sleep()
        return "result"

    async def ask(task: Any) -> Any:
        return await task

    async def main() -> None:
        task = spawn(green)
        assert await asyncio.gather(ask(task), ask(task), run(task.get), task) == ["result"] * 4
        assert await task == "result"
        failing = spawn(fails)
        results = await asyncio.gather(ask(failing), run(failing.get), return_exceptions=True)
        assert [type(result) for result in results] == [BoomError, BoomError]

    run_on(loop_name, main())


def test_spawned_on_another_loop() -> None:
    """Awaiting a task of another thread's loop is an error that names both; `get` in a greenlet waits for it."""

    async def main() -> None:
        started, go_on = threading.Event(), greenzmq.GreenEvent()
        there: list[Any] = []

        async def other() -> None:
            there.append(spawn(lambda: go_on.wait() and "from there"))
            started.set()
            await there[0]

        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        await asyncio.to_thread(started.wait)
        with pytest.raises(greenzmq.WrongHubError, match=r"is awaited on .*; call its get\(\)"):
            await there[0]
        getting = asyncio.ensure_future(run(there[0].get))
        await asyncio.sleep(0)
        go_on.set()
        assert await getting == "from there"
        await asyncio.to_thread(thread.join)

    asyncio.run(main())


# --- await_ -----------------------------------------------------------------------------------------------------------


def test_await_gives_what_is_awaited(loop_name: str) -> None:
    """Green code waits for a coroutine, a future (also one that is done), a task, and a task of ours."""

    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "coroutine"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        later, done = loop.create_future(), loop.create_future()
        loop.call_later(0.001, later.set_result, "later")
        done.set_result("done")
        waited = [coroutine(), later, done, asyncio.ensure_future(coroutine()), spawn(str, "spawned")]
        assert await run(lambda: [await_(each) for each in waited]) == [
            "coroutine",
            "later",
            "done",
            "coroutine",
            "spawned",
        ]

    run_on(loop_name, main())


@pytest.mark.parametrize("how", ["kill", "timeout", "cancel"])
def test_await_is_cancelled_with_its_greenlet(loop_name: str, how: str) -> None:
    """A kill, a time limit and a cancellation come out of `await_` as themselves, and cancel what it waits for."""

    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()

        async def endless() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ended.set_result("cancelled")
                raise

        def green() -> None:
            with greenzmq.asyncio.hub().timeout(0.001 if how == "timeout" else None):
                await_(endless())

        task = spawn(green)
        awaiting = asyncio.ensure_future(asyncio.wait_for(task, 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if how == "kill":
            task.kill(BoomError, block=False)
        elif how == "cancel":
            awaiting.cancel()
        with pytest.raises({"kill": BoomError, "timeout": greenzmq.Timeout, "cancel": asyncio.CancelledError}[how]):
            await awaiting
        assert await asyncio.wait_for(ended, 5) == "cancelled"

    run_on(loop_name, main())


def test_await_in_a_coroutine() -> None:
    """`await_` where one can say ``await`` is an error, and leaves no coroutine behind that was never awaited."""

    async def main() -> None:
        with pytest.raises(greenzmq.BlockingCallError, match=r"await greenzmq\.asyncio\.run\("):
            await_(fails_too())
        gc.collect()

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no TaskGroup")
def test_task_group(loop_name: str) -> None:
    """One that fails in a group ends the others' greenlets; spawned tasks can be waited for there, too."""

    async def main() -> None:
        log: list[str] = []

        def work() -> None:
            try:
                wait()
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        with pytest.raises(BaseExceptionGroup) as raised:  # noqa: F821, PT012  # the group's end raises
            async with asyncio.TaskGroup() as group:
                group.create_task(run(work))
                group.create_task(asyncio.wait_for(spawn(work), None))
                group.create_task(run(lambda: (greenzmq.asyncio.hub().sleep(0.001), fails())))
        assert [type(error) for error in raised.value.exceptions] == [BoomError]
        assert log == ["cancelled", "cancelled"]

    run_on(loop_name, main())
