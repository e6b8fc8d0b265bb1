"""Other libraries that run greenlets on an asyncio loop, in one program with ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zmq
from support.asyncio import loop_name, run_on
from support.children import Child
from support.children import run as run_child
from support.forked import RUNTIMES
from support.inside import has_waiters

import greenzmq
import greenzmq.asyncio
from greenzmq.asyncio import await_, run, spawn

__all__ = ["loop_name"]

ROUNDS = 20


class Echo:
    """A service on a ROUTER socket, in a greenlet of ours, and calls that ask it from a REQ socket of their own."""

    def __init__(self, module: Any = greenzmq.asyncio) -> None:
        self.context = module.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind("inproc://echo")
        self.serving = spawn(self._serve)

    def _serve(self) -> None:
        while True:
            self.router.send_multipart(self.router.recv_multipart())

    def ask(self, text: str) -> str:
        """Blocking-style."""
        with self.context.socket(zmq.REQ) as socket:
            socket.connect("inproc://echo")
            socket.send_string(text)
            answer: str = socket.recv_string()
            return answer

    async def end(self) -> None:
        self.serving.kill(block=False)
        await self.serving
        await run(self.context.destroy, 0)


def sqlalchemy_bridge() -> Any:
    pytest.importorskip("sqlalchemy")
    from sqlalchemy.util import greenlet_spawn

    return greenlet_spawn


def refused(call: Any, *args: Any) -> bool:
    with pytest.raises(greenzmq.BlockingCallError, match=r"await greenzmq.asyncio.run\("):
        call(*args)
    return True


def test_sqlalchemy(loop_name: str) -> None:
    """Our `run` inside `greenlet_spawn` (by `await_only`) and theirs inside ours (by `await_`), many at once."""
    greenlet_spawn = sqlalchemy_bridge()
    from sqlalchemy.util import await_only

    async def main() -> None:
        echo = Echo()

        def theirs(number: int) -> list[str]:
            return [await_only(run(echo.ask, f"{number}.{each}")) for each in range(3)]

        def ours(number: int) -> list[str]:
            return [echo.ask(f"ours {number}"), *await_(greenlet_spawn(theirs, number))]

        results = await asyncio.gather(
            *(greenlet_spawn(theirs, number) for number in range(ROUNDS)),
            *(run(ours, number) for number in range(ROUNDS)),
        )
        inner = [[f"{number}.{each}" for each in range(3)] for number in range(ROUNDS)]
        assert results == inner + [[f"ours {number}", *inner[number]] for number in range(ROUNDS)]
        await echo.end()

    run_on(loop_name, main())


@pytest.mark.parametrize("module", [greenzmq, greenzmq.asyncio], ids=["greenzmq", "greenzmq.asyncio"])
def test_a_blocking_call_in_sqlalchemys_greenlet(loop_name: str, module: Any) -> None:
    """It is an error that shows the way; both bridges go on working afterwards."""
    greenlet_spawn = sqlalchemy_bridge()
    from sqlalchemy.util import await_only

    async def main() -> None:
        echo = Echo(module)
        pull = echo.context.socket(zmq.PULL)

        def theirs() -> list[Any]:
            calls = (pull.recv, pull.poll)
            return [refused(call) for call in calls] + [await_only(run(echo.ask, "after"))]

        for _ in range(3):
            assert await greenlet_spawn(theirs) == [True, True, "after"]
        assert await run(echo.ask, "beside") == "beside"
        await echo.end()

    run_on(loop_name, main())


def test_sqlalchemys_database(loop_name: str) -> None:
    """SQLAlchemy's own `MissingGreenlet` comes out of our greenlets: they are not its."""
    sqlalchemy_bridge()
    from sqlalchemy.exc import MissingGreenlet
    from sqlalchemy.util import await_only

    def ours() -> None:
        coroutine = asyncio.sleep(0)
        try:
            with pytest.raises(MissingGreenlet):
                await_only(coroutine)
        finally:
            coroutine.close()

    run_on(loop_name, run(ours))


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_greenback(loop_name: str, first: str) -> None:
    """Our `run` in a task with greenback's portal: awaited by its coroutine, and by its sync code; whoever is first."""
    greenback = pytest.importorskip("greenback")

    async def main() -> None:
        if first == "theirs":
            await greenback.ensure_portal()
        echo = Echo()

        def theirs(number: int) -> str:
            answer: str = greenback.await_(run(echo.ask, f"sync {number}"))
            return answer

        async def with_portal(number: int) -> list[str]:
            await greenback.ensure_portal()
            return [await run(echo.ask, f"async {number}"), theirs(number), await spawn(echo.ask, f"spawned {number}")]

        def ours(number: int) -> list[str]:
            return await_(with_portal(number))

        results = await asyncio.gather(
            *(with_portal(number) for number in range(ROUNDS)), *(run(ours, number) for number in range(ROUNDS))
        )
        wanted = [[f"{kind} {number}" for kind in ("async", "sync", "spawned")] for number in range(ROUNDS)]
        assert results == wanted * 2
        await echo.end()

    run_on(loop_name, main())


@pytest.mark.parametrize("module", [greenzmq, greenzmq.asyncio], ids=["greenzmq", "greenzmq.asyncio"])
def test_a_blocking_call_in_greenbacks_greenlet(loop_name: str, module: Any) -> None:
    """It is an error that shows the way, even for the first call of all; both bridges go on working afterwards."""
    greenback = pytest.importorskip("greenback")

    async def main() -> None:
        await greenback.ensure_portal()
        context = module.Context()
        pull = context.socket(zmq.PULL)
        assert refused(pull.recv)
        await run(context.destroy, 0)
        echo = Echo(module)
        pull = echo.context.socket(zmq.PULL)
        for _ in range(3):
            assert refused(pull.recv)
            await asyncio.sleep(0)
            assert greenback.await_(run(echo.ask, "after")) == "after"
            assert await run(echo.ask, "beside") == "beside"
        await echo.end()

    run_on(loop_name, main())


def test_all_three(loop_name: str) -> None:
    """greenback, SQLAlchemy's bridge and ours inside each other."""
    greenback = pytest.importorskip("greenback")
    greenlet_spawn = sqlalchemy_bridge()
    from sqlalchemy.util import await_only

    async def main() -> None:
        echo = Echo()

        def innermost(number: int) -> str:
            return await_only(run(echo.ask, str(number)))

        async def with_portal(number: int) -> str:
            await greenback.ensure_portal()
            answer: str = greenback.await_(greenlet_spawn(innermost, number))
            return answer

        numbers = range(ROUNDS)
        assert await asyncio.gather(*(run(lambda n=n: await_(with_portal(n))) for n in numbers)) == [
            str(n) for n in numbers
        ]
        await echo.end()

    run_on(loop_name, main())


@pytest.mark.parametrize("when", ["before it begins", "where it waits"])
@pytest.mark.parametrize("bridge", ["sqlalchemy", "greenback"])
def test_a_cancellation_through_another_bridge(loop_name: str, bridge: str, when: str) -> None:
    """Cancelling a task whose sync code awaits `run` by another bridge ends our greenlet; the message stays."""
    module = pytest.importorskip(bridge)

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://cancel")
        pull.connect("inproc://cancel")
        log: list[str] = []

        def work() -> None:
            try:
                pull.recv()
            finally:
                log.append("ended")

        async def awaiting() -> None:
            if bridge == "greenback":
                await module.ensure_portal()
            if when == "before it begins":
                asyncio.get_running_loop().call_soon(task.cancel)
            if bridge == "greenback":
                module.await_(run(work))
            else:
                await module.util.greenlet_spawn(lambda: module.util.await_only(run(work)))

        task = asyncio.ensure_future(awaiting())
        if when == "where it waits":
            while not has_waiters(pull):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.cancelled()
        assert log == ["ended"]
        push.send(b"x", zmq.NOBLOCK)
        assert await asyncio.wait_for(run(pull.recv), 10) == b"x"
        await run(context.destroy, 0)

    run_on(loop_name, main())


EVENTLET = """
    import asyncio, eventlet, eventlet.hubs
    eventlet.hubs.use_hub("asyncio")
    import zmq, greenzmq, greenzmq.asyncio
    from greenzmq.hubs.eventlet import EventletHub
    from support.inside import hub_of

    context = greenzmq.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://x"), pull.connect("inproc://x")

    def work():
        assert asyncio.get_running_loop()
        assert type(greenzmq.hub().hub) is EventletHub
        assert greenzmq.hubs.decide().rule == 2
        return pull.recv()

    waiting = [eventlet.spawn(work) for _ in range(3)]
    eventlet.sleep(0)
    for _ in waiting:
        push.send(b"x")
    print([thread.wait() for thread in waiting], type(hub_of(pull)).__name__)
    context.destroy(0)
"""


def test_eventlets_own_asyncio_hub() -> None:
    """In eventlet's green threads on its asyncio hub, where a loop runs, the hub is eventlet."""
    pytest.importorskip("eventlet")
    done = run_child(Child(EVENTLET, imported=RUNTIMES))
    assert (done.out, done.err) == ("[b'x', b'x', b'x'] EventletHub\n", "")


@pytest.mark.parametrize("when", ["before the message", "with the message", "after the message"])
def test_anyio_cancels_again_and_again(loop_name: str, when: str) -> None:
    """anyio cancels what is in a scope in every round of the loop, until it has left: it is cancelled, the message is
    received or still there, and nothing of it comes after the scope.

    Seen to fail, on Python 3.10, when a cancellation of what has just been cancelled is put off like one that is late.
    """
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://anyio")
        pull.connect("inproc://anyio")
        scope = anyio.CancelScope()
        received, log = [], []

        def meet() -> None:
            if when != "before the message":
                push.send(b"x", zmq.NOBLOCK)
            if when != "after the message":
                scope.cancel()

        def work() -> None:
            try:
                received.append(pull.recv())
                scope.cancel()
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        with scope:
            asyncio.get_running_loop().call_soon(meet)
            await run(work)
            log.append("returned")
            await asyncio.get_running_loop().create_future()
        assert scope.cancelled_caught
        for _ in range(5):
            await asyncio.sleep(0)
        if when == "before the message":
            push.send(b"x", zmq.NOBLOCK)
        assert received or await asyncio.wait_for(run(pull.recv), 10) == b"x"
        assert log == (["returned"] if received else ["cancelled"])
        await run(context.destroy, 0)

    run_on(loop_name, main())
