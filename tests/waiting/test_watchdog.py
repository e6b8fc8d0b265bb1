"""`greenzmq.watchdog`: whatever keeps a hub from going round is told once, by name, with its stack."""

from __future__ import annotations

import asyncio
import io
import os
import queue
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from support.sockets import until

import greenzmq

#: Seconds after which a stall is told here.
LIMIT = 0.1
#: A limit under which a busy machine, too, lets a hub go round.
PATIENCE = 1.0


class Log(io.StringIO):
    """What the watchdog writes."""

    def reports(self, of: str) -> list[str]:
        """Those that contain this. Hubs that a test before has left behind may be told, too."""
        reports = re.split("^greenzmq: ", self.getvalue(), flags=re.MULTILINE)  # a stack may show this very line
        return [report for report in reports if of in report]


@pytest.fixture
def log() -> Iterator[Log]:
    written = Log()
    greenzmq.watchdog(LIMIT, written)
    yield written
    greenzmq.watchdog(None)


def blocking_zmq() -> Callable[[], object]:
    def receive() -> None:
        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.rcvtimeo, socket.linger = 10, 0
            try:
                socket.recv()
            except zmq.Again:
                pass

    return receive


def blocking_queue() -> Callable[[], object]:
    items: queue.Queue[int] = queue.Queue()

    def get() -> None:
        try:
            items.get(timeout=0.01)
        except queue.Empty:
            pass

    return get


#: Each makes a step that keeps the thread.
CULPRITS: dict[str, Callable[[], Callable[[], object]]] = {
    "time.sleep": lambda: lambda: time.sleep(0.01),
    "plain zmq": blocking_zmq,
    "queue.Queue": blocking_queue,
    "a busy loop": lambda: lambda: sum(range(1000)),
}


def stall(step: Callable[[], object], log: Log, of: str) -> None:
    """Keep the thread until it is told, and for a while after."""
    while not log.reports(of):
        step()
    end = time.monotonic() + 3 * LIMIT
    while time.monotonic() < end:
        step()


@pytest.mark.parametrize("culprit", CULPRITS)
def test_what_keeps_the_hub_is_told(hub, contract_hub, log, culprit):
    """Once for each stall: the task by its name, where it is, how many wait, and the cure."""
    step = CULPRITS[culprit]()
    waiting = hub.spawn(hub.sleep, 1000)
    try:
        hub.sleep()
        for name in ("the first culprit", "the second culprit"):
            task = hub.spawn(stall, step, log, name, name=name)
            assert task.join(30)
            hub.sleep()
            (report,) = log.reports(name)
            assert repr(contract_hub) in report
            assert "in stall" in report
            assert "wait" in report
            assert "hub.run_in_thread" in report
    finally:
        waiting.kill()


@pytest.mark.main_greenlet
@pytest.mark.runtime("gevent", "eventlet", "selector")  # a task of the hub of native threads begins by itself
def test_a_main_greenlet(hub, contract_hub, log):
    """It keeps the hub from tasks that have yet to begin, too; with none, it may do what it likes."""
    end = time.monotonic() + 5 * LIMIT
    while time.monotonic() < end:
        pass
    assert log.reports(repr(contract_hub)) == []
    task = hub.spawn(int)
    stall(lambda: time.sleep(0.01), log, repr(contract_hub))
    assert "1 task has yet to begin. It is kept by the main greenlet" in log.getvalue()
    until(hub, lambda: task.done)


def test_a_hub_that_goes_round(hub, contract_hub, log):
    """Who sleeps, waits or yields in a loop keeps nobody."""
    greenzmq.watchdog(PATIENCE, log)
    end = time.monotonic() + 3 * PATIENCE
    busy = hub.spawn(lambda: [hub.sleep() for _ in iter(lambda: time.monotonic() < end, False)])
    hub.sleep(2 * PATIENCE)
    busy.join()
    assert log.reports(repr(contract_hub)) == []


def test_a_coroutine(log):
    """One that blocks an asyncio loop with a hub on it is told."""

    async def program() -> None:
        await greenzmq.asyncio.run(int)
        await asyncio.sleep(LIMIT)
        stall(lambda: time.sleep(0.01), log, "its loop runs")

    asyncio.run(program())
    assert "in program" in log.getvalue()


PROGRAM = """
import os, sys, time, greenzmq
def program():
    hub = greenzmq.hub()
    hub.spawn(hub.sleep, 1000)
    if sys.argv[2] == "fork" and os.fork():
        os.wait()
        return
    if sys.argv[2] == "fork":
        hub = greenzmq.hub()
        hub.spawn(hub.sleep, 1000)
    hub.sleep(0.5)
    time.sleep(2)
greenzmq.main(program, hub=sys.argv[1])
"""


def run(word: str, way: str, setting: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, word, way]
    environment = {**os.environ, "GREENZMQ_WATCHDOG": setting}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
    return done.stderr


@pytest.mark.parametrize("word", ["gevent", "eventlet", "selector", "asyncio", "uvloop"])
def test_by_the_environment(word):
    """$GREENZMQ_WATCHDOG sets it without a change of the program; what it says goes to standard error."""
    if word not in ("selector", "asyncio"):
        pytest.importorskip(word)
    told = run(word, "once", "0.5")
    assert told.count("line 13, in program") == 1, told


def test_after_a_fork():
    """A child has a watchdog of its own."""
    assert run("selector", "fork", "0.5").count("has not gone round") >= 1


def test_wrong_settings():
    """One in the environment is a warning; as an argument it is an error."""
    assert "GREENZMQ_WATCHDOG=soon has no effect" in run("selector", "once", "soon")
    for wrong, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (float("nan"), ValueError)):
        with pytest.raises(error):
            greenzmq.watchdog(wrong)
