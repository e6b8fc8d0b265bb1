"""The hub keeps the contract, on a loop of its own and in trio programs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import greenzmq_trio
import pytest
import trio
from greenzmq_trio import TrioHub

import greenzmq
from greenzmq.testing import check_hub


def in_thread(function: Callable[[], Any]) -> Any:
    """What the function returns in a thread of its own, whose hub is closed."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        if (hub := TrioHub.current()) is not None:
            hub.close()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors.pop()
    return results.pop()


def in_program(function: Callable[..., Any], *args: Any) -> Any:
    """What a coroutine function returns in a trio program with a hub."""

    async def main() -> Any:
        async with greenzmq_trio.open_hub():
            return await function(*args)

    return trio.run(main)


def test_contract_on_its_own_loop(capfd: pytest.CaptureFixture[str]) -> None:
    """Every check, with those of the main greenlet."""
    hub = in_thread(lambda: (check_hub(TrioHub.get), TrioHub.current())[1])
    assert hub.has_ended()


def test_contract_in_a_trio_program(capfd: pytest.CaptureFixture[str]) -> None:
    """Every check, in a greenlet of a program that runs on trio."""
    in_program(greenzmq_trio.run, check_hub, TrioHub.get)
    assert TrioHub.current() is None


def test_a_thread_that_ends_before_its_loop() -> None:
    """A thread that forgets `close` is warned; one whose loop was never started has nothing to close."""
    program = """
import threading, greenzmq
for use in (lambda: greenzmq.hub("trio").sleep(0.001), lambda: greenzmq.hub("trio")):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("call greenzmq_trio.TrioHub.get().close() there") == 1
    assert done.stderr.count("Warning") == 1
    assert "Traceback" not in done.stderr


def test_entry_point() -> None:
    """greenzmq finds the hub by its name, and has no namespace for it."""
    assert greenzmq.hubs.hub_class("trio") is TrioHub
    with pytest.raises(greenzmq.UnknownHubError, match=r"comes from another package; .*use_hub\('trio'\)"):
        greenzmq.namespace("trio")


def test_main() -> None:
    """`greenzmq.main` runs a program on it."""

    def program() -> bytes:
        with greenzmq.Context() as context, context.socket(greenzmq.PAIR) as one, context.socket(greenzmq.PAIR) as two:
            one.bind("inproc://main")
            two.connect("inproc://main")
            greenzmq.hub().spawn(lambda: two.send(two.recv().upper()))
            one.send(b"hello")
            return one.recv()

    assert in_thread(lambda: greenzmq.main(program, hub="trio")) == b"HELLO"


def test_no_hub_in_a_trio_program() -> None:
    """Where trio runs without a hub, the error says what to write."""

    async def main() -> None:
        with pytest.raises(greenzmq.HubError, match=r"async with greenzmq_trio\.open_hub\(\)"):
            await greenzmq_trio.run(int)

    trio.run(main)


def test_one_hub_for_a_loop() -> None:
    """A second hub is an error; when the first block has ended another may begin."""

    async def main() -> None:
        for _ in range(2):
            async with greenzmq_trio.open_hub():
                with pytest.raises(greenzmq.HubError, match="has one hub"):
                    async with greenzmq_trio.open_hub():
                        pass

    trio.run(main)


def test_a_wait_in_a_coroutine() -> None:
    """A call that has to wait, made in a coroutine itself, is an error that names the cure."""

    async def wait() -> None:
        with greenzmq.Context(hub="trio") as context, context.socket(greenzmq.PULL) as pull:
            with pytest.raises(greenzmq.BlockingCallError, match=r"await greenzmq_trio\.run"):
                pull.recv()
            with pytest.raises(greenzmq.BlockingCallError, match=r"await greenzmq_trio\.run"):
                greenzmq.GreenEvent().wait()  # which nothing tells of the hub but the place where it is called

    in_program(wait)


def test_interrupt_on_its_own_loop() -> None:
    """Ctrl-C ends a wait, and a computation, in the main greenlet; the hub goes on, and trio's loop is ended well."""
    program = """
import os, signal, threading, greenzmq
signal.signal(signal.SIGINT, signal.default_int_handler)
greenzmq.use_hub("trio")
hub = greenzmq.hub()
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
def compute():
    interrupt()
    while True:
        pass
for way in (compute, lambda: (hub.spawn(interrupt), hub.sleep(30)), lambda: (
    threading.Timer(0.05, interrupt).start(), greenzmq.GreenEvent().wait())):
    try:
        way()
    except KeyboardInterrupt:
        print("interrupted", hub.run(int))
hub.hub.close()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 0\n" * 3 + "True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork() -> None:
    """In a forked child a wait on the inherited hub is an error, and the parent's goes on."""
    program = """
import os, greenzmq
greenzmq.use_hub("trio")
hub = greenzmq.hub()
hub.sleep(0.001)
watched = greenzmq.hub().spawn(hub.wait_fd, (pipe := os.pipe())[0])
hub.sleep(0.001)
if (child := os.fork()) == 0:
    for wait in (hub.sleep, greenzmq.hub):
        try:
            wait()
        except greenzmq.HubError as error:
            print("parent process" in str(error), flush=True)
    os._exit(0)
os.waitpid(child, 0)
os.write(pipe[1], b"x")
print(watched.get(20))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True", "True", "1"], "")
