"""Loops that come and go, what happens to the greenlets at their end, and calls that would stop a loop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import socket
import subprocess
import sys
import threading
from functools import partial
from typing import Any

import pytest
import zmq
from greenlet import greenlet
from support.asyncio import loop_name, run_on
from support.inside import greenlet_of

import greenzmq
import greenzmq.asyncio
from greenzmq.asyncio import await_, run, spawn

__all__ = ["loop_name"]


def wait() -> None:
    """Wait in a greenlet for ever."""
    greenzmq.asyncio.hub().sleep(1000)


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was reported as unraisable; warnings fail the test anyway."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append((args.exc_type, args.exc_value, args.object)))
    return seen


# --- loops ------------------------------------------------------------------------------------------------------------


async def send_and_receive(context: Any, messages: int = 3) -> None:
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    pull.connect(f"tcp://127.0.0.1:{port}")
    for number in range(messages):
        receiving = asyncio.ensure_future(run(pull.recv))
        await asyncio.sleep(0)
        await run(push.send, b"%d" % number)
        assert await asyncio.wait_for(receiving, 10) == b"%d" % number
    push.close(0)
    pull.close(0)


def test_loops_in_turn(loop_name: str) -> None:
    """One socket waited on in three loops, one after the other: each time it is that loop that wakes the greenlet.

    Seen to hang when `AsyncioHub.greenlet` is the thread's main greenlet for loops that do not run.
    """
    context = greenzmq.asyncio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind("inproc://in-turn")
    pull.connect("inproc://in-turn")
    hubs: list[Any] = []

    async def main() -> None:
        hubs.append(greenzmq.asyncio.hub())
        receiving = asyncio.ensure_future(run(pull.recv))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await run(push.send, b"x")
        assert await asyncio.wait_for(receiving, 10) == b"x"

    for _ in range(3):
        run_on(loop_name, main())
    assert len(set(hubs)) == 3
    run_on(loop_name, run(context.destroy, 0))


def test_loops_in_threads(loop_name: str) -> None:
    """Loops in four threads at once, on one context."""
    context = greenzmq.asyncio.Context()
    errors: list[BaseException] = []

    def thread() -> None:
        try:
            run_on(loop_name, send_and_receive(context, 50))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert errors == []
    run_on(loop_name, run(context.destroy, 0))


def test_debug_mode(loop_name: str) -> None:
    """A loop in debug mode finds nothing to complain of."""
    context = greenzmq.asyncio.Context()

    async def main() -> None:
        assert asyncio.get_running_loop().get_debug()
        await send_and_receive(context)
        await run(context.destroy, 0)

    run_on(loop_name, main(), debug=True)


def test_a_loop_that_cannot_watch() -> None:
    """A loop without ``add_reader``, as on Windows, is an error that says what to do."""

    class Loop(asyncio.SelectorEventLoop):
        add_reader = asyncio.AbstractEventLoop.add_reader

    async def main() -> None:
        with pytest.raises(greenzmq.HubError, match=r"Loop cannot watch file descriptors.*SelectorEventLoop"):
            await run(str)
        with pytest.raises(greenzmq.HubError, match="Loop cannot watch"):
            spawn(str)

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()


def test_without_a_loop() -> None:
    """Where no loop runs, the error says how to start one."""
    for call in (greenzmq.asyncio.hub, lambda: spawn(str), lambda: await_(None)):
        with pytest.raises(greenzmq.HubError, match=r"asyncio.run\(main\(\)\)"):
            call()


# --- the end of a loop ------------------------------------------------------------------------------------------------


def test_greenlets_end_with_the_loop(loop_name: str, noise: list[Any]) -> None:
    """``asyncio.run`` ends the greenlets that nobody awaits, and lets them clean up; there is no task more for it.

    Seen to hang, or to leave the greenlets parked, without `AsyncioHub._end_greenlets`.
    """
    log: list[Any] = []

    def work(name: str) -> None:
        try:
            wait()
        except asyncio.CancelledError as error:
            greenzmq.asyncio.hub().sleep(0.001)
            log.append((name, str(error)))
            raise

    async def main() -> None:
        tasks = [spawn(work, "spawned"), greenzmq.asyncio.hub().spawn(work, "of the hub")]
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not any(task.done for task in tasks)

    run_on(loop_name, main())
    gc.collect()
    message = "the asyncio loop ends, so this greenlet, which no coroutine awaits, has to end, too"
    assert sorted(log) == [("of the hub", message), ("spawned", message)]
    assert noise == []


def test_a_greenlet_that_has_not_begun_ends_with_the_loop(loop_name: str, noise: list[Any]) -> None:
    """One that was spawned in the last turn begins, and is ended where it first waits."""
    log: list[str] = []

    def work() -> None:
        try:
            wait()
        finally:
            log.append("ended")

    async def main() -> None:
        spawn(work)

    run_on(loop_name, main())
    gc.collect()
    assert log == ["ended"]
    assert noise == []


def test_a_loop_that_is_just_closed(loop_name: str, noise: list[Any]) -> None:
    """Closed without the end that ``asyncio.run`` makes: every wait is a `HubError` now; sockets can be closed."""
    loop = importlib.import_module(loop_name).new_event_loop()
    context = greenzmq.asyncio.Context()
    pull = context.socket(zmq.PULL)
    pull.bind("inproc://nobody")
    errors: list[Any] = []
    silent, peer = socket.socketpair()

    def work() -> None:
        try:
            pull.recv()
        finally:
            for wait in (hub.sleep, partial(hub.sleep, 1), partial(hub.wait_fd, silent), greenzmq.GreenEvent().wait):
                with pytest.raises(greenzmq.HubError) as raised:
                    wait()
                errors.append(raised.value)

    async def main() -> tuple[Any, Any]:
        task = spawn(work)
        await asyncio.sleep(0)
        return greenzmq.asyncio.hub(), task

    hub, task = loop.run_until_complete(main())
    loop.close()
    pull.close(0)
    greenlet_of(task).throw()  # as when it is collected
    assert task.done
    assert all("is closed, so no greenlet can wait on it" in str(error) for error in errors)
    assert len(errors) == 4
    silent.close()
    peer.close()
    zmq.Context.term(context)
    assert noise == []


def test_a_loop_that_nobody_closes(loop_name: str) -> None:
    """A program of the old style, which does not close its loop, ends without a word on stderr."""
    program = (
        f"import asyncio, {loop_name}, greenzmq.asyncio as zmq\n"
        "async def main():\n"
        "    await zmq.run(zmq.hub().sleep, 0.001); zmq.spawn(zmq.hub().sleep, 1000); await asyncio.sleep(0)\n"
        f"loop = {loop_name}.new_event_loop()\n"
        "loop.run_until_complete(main())\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


# --- calls that would stop the loop -----------------------------------------------------------------------------------


def calls_that_wait(module: Any, pull: Any, full: Any, task: Any) -> dict[str, Any]:
    """Everything that would have to wait now, by name."""
    hub = greenzmq.asyncio.hub()
    poller = module.Poller()
    poller.register(pull, zmq.POLLIN)
    kinds = ("", "_multipart", "_string", "_json", "_pyobj")
    return {
        **{f"recv{kind}": getattr(pull, f"recv{kind}") for kind in kinds},
        **{
            f"send{kind}": partial(getattr(full, f"send{kind}"), [b"x"] if kind == "_multipart" else "x")
            for kind in kinds
        },
        "send": partial(full.send, b"x"),
        "recv_into": partial(pull.recv_into, bytearray(1)),
        "poll": pull.poll,
        "poll with a timeout": partial(pull.poll, 1000),
        "Poller.poll": poller.poll,
        "select": partial(module.select, [pull], [], []),
        "zmq_poll": partial(module.zmq_poll, [(pull, zmq.POLLIN)]),
        "proxy": partial(module.proxy, pull, full),
        "sleep": hub.sleep,
        "wait_fd": partial(hub.wait_fd, pull.get(zmq.FD)),
        "run": partial(hub.run, hub.sleep),
        "join": task.join,
        "get": task.get,
        "GreenEvent.wait": greenzmq.GreenEvent().wait,
        "await_": partial(await_, asyncio.get_running_loop().create_future()),
    }


@pytest.mark.parametrize("module", [greenzmq, greenzmq.asyncio], ids=["greenzmq", "greenzmq.asyncio"])
@pytest.mark.parametrize("where", ["coroutine", "callback", "bare greenlet"])
def test_a_blocking_call_is_an_error(loop_name: str, module: Any, where: str) -> None:
    """In a coroutine or callback a call that waits raises an error that shows the way, and nothing has begun.

    Seen to fail where `term` asked for the hub's own greenlet only: in a bare greenlet the context began to end.
    """

    async def main() -> None:
        context = module.Context()
        push, pull, full = (context.socket(kind) for kind in (zmq.PUSH, zmq.PULL, zmq.PUSH))
        pull.bind("inproc://blocking")
        push.connect("inproc://blocking")
        task = spawn(wait)
        calls = calls_that_wait(module, pull, full, task)
        calls["term"] = context.term
        calls["run_in_thread"] = lambda: greenzmq.asyncio.hub().run_in_thread(pytest.fail, "begun")
        for name, call in calls.items():
            error = await outcome(call, where)
            assert isinstance(error, greenzmq.BlockingCallError), (name, error)
            assert "await greenzmq.asyncio.run(" in str(error), name
        push.send(b"x", zmq.NOBLOCK)
        assert await asyncio.wait_for(run(pull.recv), 10) == b"x"
        task.kill(block=False)
        await task
        await run(context.destroy, 0)

    run_on(loop_name, main())


async def outcome(call: Any, where: str) -> Any:
    """What `call` raises in this coroutine, in a callback, or in a greenlet that a callback has made."""
    ended = asyncio.get_running_loop().create_future()

    def attempt() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:
            ended.set_result(error)

    if where == "coroutine":
        attempt()
    else:
        asyncio.get_running_loop().call_soon(attempt if where == "callback" else greenlet(attempt).switch)
    return await ended


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_a_blocking_call_in_an_eager_start() -> None:
    """A coroutine that begins inside a greenlet may not wait as that may: the loop would think it still in it."""

    async def blocks(pull: Any) -> Any:
        return pull.recv()

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        context = greenzmq.asyncio.Context()
        pull = context.socket(zmq.PULL)
        for begin in (run, spawn):
            with pytest.raises(greenzmq.BlockingCallError, match="eager"):
                await begin(lambda: await_(blocks(pull)))
            assert await asyncio.create_task(asyncio.sleep(0, "alive")) == "alive"
        await run(context.destroy, 0)

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")
def test_contexts_end(loop_name: str) -> None:
    """`term` and `destroy` wait in `run` while the loop goes round; a context that is dropped ends in no greenlet."""

    async def main() -> None:
        context = greenzmq.asyncio.Context()
        pull = context.socket(zmq.PULL)
        pull.bind("inproc://end")
        receiving = asyncio.ensure_future(run(pull.recv))
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(run(context.term))
        with pytest.raises(zmq.ContextTerminated):
            await asyncio.wait_for(receiving, 10)
        assert not ending.done()
        pull.close()
        await asyncio.wait_for(ending, 10)
        await run(greenzmq.asyncio.Context().destroy)
        greenzmq.asyncio.Context()
        gc.collect()

    run_on(loop_name, main())
