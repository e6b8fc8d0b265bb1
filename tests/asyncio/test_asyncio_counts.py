"""What `run` costs a loop, and an awaitable socket, counted: callbacks, watches, futures, greenlets and calls."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.aio import a_pair
from support.asyncio import loop_name, run_on

import greenzmq.aio
import greenzmq.asyncio
from greenzmq.asyncio import run, spawn
from greenzmq.hubs import asyncio as backend

__all__ = ["loop_name"]

CALLS = 100
PACKAGE = str(Path(greenzmq.aio.__file__).parent)
COUNTED = ("call_soon", "call_later", "call_at", "create_future", "add_reader", "remove_reader", "add_writer")

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)


class Counts(Counter[str]):
    """What is asked of the running loop, and the greenlets that are made for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        for name in COUNTED:
            monkeypatch.setattr(loop, name, self._counting(name, getattr(loop, name)), raising=False)
        monkeypatch.setattr(backend.Worker, "__init__", self._counting("greenlets", backend.Worker.__init__))

    def _counting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            self[name] += 1
            return call(*args, **kwargs)

        return counting

    def __eq__(self, other: object) -> bool:
        return dict(self) == other

    __hash__ = None  # type: ignore[assignment]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Any, Any]]:
    """A PUSH and a PULL socket, connected, on which somebody has waited before. No turn of theirs ends."""
    context = greenzmq.asyncio.Context(turn=0)
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://counts")
    pull.connect("inproc://counts")
    try:
        for _ in range(2):
            asyncio.get_running_loop().call_soon(push.send, b"first", zmq.NOBLOCK)
            assert await run(pull.recv) == b"first"
        yield push, pull
    finally:
        await run(context.destroy, 0)


def test_a_call_that_need_not_wait(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks nothing of the loop, and no greenlet is made for it.

    Seen to fail, by a greenlet for each, while a socket kept a weak reference to who had received last.
    """

    async def main() -> None:
        async with pair() as (push, pull):
            for _ in range(CALLS):
                push.send(b"x", zmq.NOBLOCK)
            with monkeypatch.context() as patch:
                counts = Counts(patch)
                for _ in range(CALLS):
                    await run(pull.recv)
                assert counts == {}

    run_on(loop_name, main())


def test_a_call_that_waits(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's event on the descriptor is all it needs: no callback and no future, no watch and no greenlet is new.

    On uvloop it is one callback, which the loop schedules itself: to switch within libuv's poll would crash; see
    `_AsyncioWatch._arm`.

    Seen to fail, by one callback and one future each, when the task waits for a future; by one ``add_reader`` each when
    `Watch.stop` takes the registration back.
    """

    async def main() -> None:
        async with pair() as (push, pull):
            with monkeypatch.context() as patch:
                counts = Counts(patch)
                for _ in range(CALLS):
                    asyncio.get_running_loop().call_soon(push.send, b"x", zmq.NOBLOCK)
                    await run(pull.recv)
                assert counts == {"call_soon": CALLS}  # this test's own

    run_on(loop_name, main())


def test_python_calls_of_an_awaited_round_trip(loop_name: str) -> None:
    """Two waits and two sends of `greenzmq.aio` take few calls of its own Python code.

    Seen to fail, with 79 and 81 of them, before the calls of the usual case were put in line.
    """

    async def main() -> int:
        calls: list[str] = []

        def profile(frame: Any, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
                calls.append(frame.f_code.co_name)

        async with a_pair(zmq.REQ, zmq.REP) as (req, rep):

            async def serve() -> None:
                while True:
                    await rep.send(await rep.recv())

            server = asyncio.ensure_future(serve())
            for number in range(CALLS + 3):
                if number == 3:
                    sys.setprofile(profile)
                await req.send(b"x")
                await req.recv()
            sys.setprofile(None)
            server.cancel()
            await asyncio.wait([server])
            return len(calls) // CALLS

    assert run_on(loop_name, main()) <= (59 if sys.version_info < (3, 12) else 55)  # 2 less with the compiled path


def test_a_call_that_something_else_wakes(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Woken by an event it costs two callbacks: one lets the greenlet go on, one its task."""

    async def main() -> None:
        event = greenzmq.GreenEvent()
        await run(str)
        await asyncio.sleep(0)
        await run(str)
        with monkeypatch.context() as patch:
            counts = Counts(patch)
            for _ in range(CALLS):
                event.clear()
                asyncio.get_running_loop().call_soon(event.set)
                await run(event.wait)
            assert counts == {"call_soon": 3 * CALLS}  # one is this test's own

    run_on(loop_name, main())


def test_idle_greenlets_end_with_their_loop(loop_name: str) -> None:
    """What a hub keeps for later calls is gone with it. Seen to fail when a greenlet's own frame holds it."""

    async def main() -> None:
        await asyncio.gather(*(run(greenzmq.asyncio.hub().sleep) for _ in range(5)))

    def alive() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if isinstance(each, backend.Worker)}

    before = alive()
    run_on(loop_name, main())
    assert alive() <= before


# --- what a task waits for --------------------------------------------------------------------------------------------


def test_a_cancellation_is_in_the_greenlet_one_round_later(loop_name: str) -> None:
    """The greenlet is told by `Task.cancel` itself; cancelling twice in one round is cancelling once."""

    async def main() -> None:
        async with pair() as (_, pull):
            caught: list[str] = []

            def work() -> str:
                for _ in range(2):
                    try:
                        pull.recv()
                    except asyncio.CancelledError as error:
                        caught.append(str(error))
                return "ended"

            task = asyncio.ensure_future(run(work))
            await asyncio.sleep(0)
            for words in (("one", "more"), ("two", "more")):
                for word in words:
                    task.cancel(word)
                await asyncio.sleep(0)
                assert caught[-1] == words[0]
            assert await task == "ended"
            assert caught == ["one", "two"]

    run_on(loop_name, main())


def python_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> Any:
    """Tasks of the standard library's that are written in Python; by them other implementations are made."""
    return asyncio.tasks._PyTask(coroutine, loop=loop, **kwargs)  # type: ignore[attr-defined]


def eager_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, *, eager_start: bool = True, **kwargs: Any) -> Any:
    """Tasks that begin at once. uvloop says so, and Python 3.13.0's factory does not know the word."""
    return asyncio.eager_task_factory(loop, coroutine, **kwargs)


FACTORIES = {"C": None, "Python": python_tasks, "eager": eager_tasks}


@pytest.mark.parametrize("tasks", FACTORIES)
def test_any_task_can_wait(loop_name: str, tasks: str) -> None:
    """Tasks of every make get results, share their context, and are cancelled, in `run` and for what was spawned."""
    if tasks == "eager" and sys.version_info < (3, 12):
        pytest.skip("eager tasks are new in Python 3.12")

    async def ask(call: Callable[[], Awaitable[Any]]) -> Any:
        variable.set(1)
        answer = await call()
        assert variable.get() in (1, 2)
        return answer, variable.get()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(FACTORIES[tasks])
        async with pair() as (push, pull):

            def receive() -> Any:
                message = pull.recv()
                assert variable.get() == 1
                variable.set(2)
                return message

            for call, seen in ((lambda: run(receive), 2), (lambda: spawn(receive), 1)):
                task = asyncio.create_task(ask(call))
                for _ in range(3):
                    await asyncio.sleep(0)
                assert not task.done()
                push.send(b"x", zmq.NOBLOCK)
                assert await asyncio.wait_for(task, 10) == (b"x", seen)
                task = asyncio.create_task(ask(call))
                for _ in range(3):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, 10)
            assert variable.get() == -1

    run_on(loop_name, main())


def test_cancelled_before_its_first_wait(loop_name: str) -> None:
    """A task that is cancelled by what it runs, before that waits, is cancelled there; and never twice."""

    async def main() -> None:
        async with pair() as (_, pull):
            rounds: list[int] = []

            async def cancelled() -> None:
                task: Any = asyncio.current_task()
                try:
                    await run(lambda: (task.cancel(), pull.recv()))
                except asyncio.CancelledError:
                    for _ in range(3):
                        await asyncio.sleep(0)
                        rounds.append(1)
                    raise

            task = asyncio.ensure_future(cancelled())
            await asyncio.wait([task], timeout=10)
            assert task.cancelled()
            assert len(rounds) == 3

    run_on(loop_name, main())
