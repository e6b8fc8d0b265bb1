"""Loops that come and go, threads, a fork, eager tasks and debug mode; and awaitable calls made in a wrong place."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from typing import Any

import pytest
import zmq
from support.aio import a_pair, finished, on_loops, rounds, until_receiving
from support.asyncio import loop_name, run_on
from support.children import Child, need
from support.inside import receivers_of
from support.sockets import address

import greenzmq
import greenzmq.aio
import greenzmq.asyncio

__all__ = ["loop_name"]


def test_a_socket_in_one_loop_after_the_other(loop_name: str) -> None:
    """Made before the first loop, it waits in each of them; what one loop has left behind does not hold up the next."""
    context = greenzmq.aio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind(address("inproc"))
    pull.connect(push.last_endpoint.decode())
    left: list[Any] = []

    async def main(number: int) -> None:
        task = asyncio.ensure_future(finished(pull.recv()))
        await until_receiving(pull)
        await push.send(b"%d" % number)
        assert await task == b"%d" % number
        left.append(asyncio.ensure_future(finished(pull.recv())))
        left.append(pull.recv())
        left[-1].add_done_callback(left.append)
        await rounds()

    for number in range(3):
        run_on(loop_name, main(number))
    context.destroy(0)
    left.clear()
    gc.collect()


def test_loops_in_threads(loop_name: str) -> None:
    """Each thread has its own loop and sockets, of one context."""
    context = greenzmq.aio.Context()
    failed: list[BaseException] = []

    async def main() -> None:
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind(address("inproc"))
        pull.connect(push.last_endpoint.decode())
        for number in range(200):
            task = asyncio.ensure_future(finished(pull.recv()))
            await asyncio.sleep(0)
            await push.send(b"%d" % number)
            assert await task == b"%d" % number
        push.close(0)
        pull.close(0)

    def in_thread() -> None:
        try:
            run_on(loop_name, main())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed
    context.term()


def test_two_loops_at_once_are_an_error(loop_name: str) -> None:
    """A socket on which a task of another loop waits: the error names both, and the other task goes on."""
    context = greenzmq.aio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind(address("inproc"))
    pull.connect(push.last_endpoint.decode())
    waits, refused = threading.Event(), threading.Event()
    got: list[bytes] = []

    async def first() -> None:
        task = asyncio.ensure_future(finished(pull.recv()))
        await until_receiving(pull)
        waits.set()
        while not refused.is_set():
            await asyncio.sleep(0.001)
        await push.send(b"x")
        got.append(await task)

    async def second() -> None:
        with pytest.raises(greenzmq.WrongHubError, match="two hubs wait"):
            await pull.recv()

    thread = threading.Thread(target=run_on, args=(loop_name, first()))
    thread.start()
    waits.wait(10)
    try:
        run_on(loop_name, second())
    finally:
        refused.set()
        thread.join(10)
    assert got == [b"x"]
    context.destroy(0)


def test_a_future_of_another_loop(loop_name: str) -> None:
    """A future is awaited in the loop in which the call was made."""
    made: list[Any] = []
    context = greenzmq.aio.Context()
    pull = context.socket(zmq.PULL)

    async def make() -> None:
        made.append(pull.recv())

    async def main() -> None:
        with pytest.raises(greenzmq.WrongHubError, match="another loop"):
            await made[0]

    run_on(loop_name, make())
    run_on(loop_name, main())
    context.destroy(0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_tasks() -> None:
    """A task that begins at once may wait in its first step; one that need not wait ends in it."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with a_pair() as (push, pull):
            task = asyncio.create_task(finished(pull.recv()))
            assert receivers_of(pull)
            sent = asyncio.create_task(finished(push.send(b"x")))
            assert sent.done()
            assert await task == b"x"
            push.send(b"y")
            assert (await asyncio.create_task(finished(pull.recv()))) == b"y"

    asyncio.run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_debug_mode(loop_name: str, debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    """In asyncio's debug mode everything works, and nothing is warned of: these calls are meant for coroutines."""

    async def main() -> None:
        async with a_pair() as (push, pull):
            for _ in range(300):
                await push.send(b"x")
                assert await pull.recv() == b"x"
            task = asyncio.ensure_future(finished(pull.recv_multipart()))
            await until_receiving(pull)
            push.send(b"x")
            assert await task == [b"x"]
            assert await pull.poll(1) == 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_on(loop_name, main(), debug=debug)
    assert not [record for record in caplog.records if "never" in record.message]


# -- calls in a wrong place --------------------------------------------------------------------------------------------


def test_without_a_loop() -> None:
    """The error says what to write instead; in another thread, too."""
    context = greenzmq.aio.Context()
    pull = context.socket(zmq.PULL)
    poller = greenzmq.aio.Poller()
    outcomes: list[Any] = []

    def attempt(call: Any) -> None:
        try:
            outcomes.append(call())
        except BaseException as error:
            outcomes.append(error)

    for call in (pull.recv, pull.recv_string, pull.poll, poller.poll, lambda: pull.send(b"x")):
        thread = threading.Thread(target=attempt, args=(call,))
        thread.start()
        thread.join()
    assert len(outcomes) == 5
    for outcome in outcomes:
        assert isinstance(outcome, greenzmq.HubError)
        assert "asyncio.run(main())" in str(outcome)
    context.destroy(0)


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_before_the_loop_runs(loop_name: str) -> None:
    """With a loop that was set and does not run yet, calls warn as zmq.asyncio's do, and work once it runs."""
    import importlib

    loop = importlib.import_module(loop_name).new_event_loop()
    asyncio.set_event_loop(loop)
    context = greenzmq.aio.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.bind(address("inproc"))
    pull.connect(push.last_endpoint.decode())
    try:
        with pytest.warns(RuntimeWarning, match="no asyncio loop is running"):
            future = pull.recv()
        with pytest.warns(RuntimeWarning, match="no asyncio loop is running"):
            push.send(b"x")
        assert loop.run_until_complete(future) == b"x"
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    context.destroy(0)


@pytest.mark.parametrize("runtime", ["gevent", "eventlet"])
def test_under_another_runtime(request: pytest.FixtureRequest, runtime: str) -> None:
    """In a greenlet of gevent or eventlet the error names the sockets that wait there."""
    need(request, Child("", needs=(runtime,)))
    spawn = {"gevent": "gevent.spawn(call).get()", "eventlet": "eventlet.spawn(call).wait()"}[runtime]
    program = f"""
import {runtime}, zmq, greenzmq, greenzmq.aio
pull = greenzmq.aio.Context().socket(zmq.PULL)
def call():
    try:
        pull.recv()
    except greenzmq.HubError as error:
        return str(error)
print({spawn})
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"greenzmq.{runtime}" in done.stdout


@on_loops
async def test_a_green_call_in_a_coroutine_names_the_awaitable_socket() -> None:
    """`recv` of a green socket in a coroutine, where it has to wait: the error says what can be awaited."""
    async with a_pair() as (_, pull):
        green = greenzmq.asyncio.Socket(pull)
        with pytest.raises(greenzmq.BlockingCallError, match=r"greenzmq\.aio"):
            await green.recv()
