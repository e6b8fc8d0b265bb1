"""`greenzmq.watchdog`: whatever keeps a hub from going round is told once, by name, with its stack."""

from __future__ import annotations

import asyncio
import io
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from support.inside import looks_of_watchdog
from support.sockets import until

import greenzmq

#: Seconds after which a stall is told here.
LIMIT = 0.05
#: A limit under which a busy machine, too, lets a hub go round.
PATIENCE = 10.0
#: After so many looks at a hub whoever tells of it twice has done so.
LOOKS = 8


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


def stall(step: Callable[[], object], log: Log, of: str, looks: list[bool]) -> None:
    """Keep the thread until it is told, and while the watchdog looks on."""
    while not log.reports(of):
        step()
    keep(step, looks)


def keep(step: Callable[[], object], looks: list[bool]) -> None:
    """Keep the thread for `LOOKS` of the watchdog's."""
    end = len(looks) + LOOKS
    while len(looks) < end:
        step()


@pytest.mark.parametrize("culprit", CULPRITS)
def test_what_keeps_the_hub_is_told(hub, contract_hub, log, culprit, monkeypatch):
    """Once for each stall: the task by its name, where it is, how many wait, and the cure."""
    looks = looks_of_watchdog(monkeypatch, contract_hub)
    step = CULPRITS[culprit]()
    waiting = hub.spawn(hub.sleep, 1000)
    try:
        hub.sleep()
        for name in ("the first culprit", "the second culprit"):
            task = hub.spawn(stall, step, log, name, looks, name=name)
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
def test_a_main_greenlet(hub, contract_hub, log, monkeypatch):
    """It keeps the hub from tasks that have yet to begin, too; with none, it may do what it likes."""
    looks = looks_of_watchdog(monkeypatch, contract_hub)
    keep(lambda: time.sleep(0.01), looks)
    assert log.reports(repr(contract_hub)) == []
    task = hub.spawn(int)
    stall(lambda: time.sleep(0.01), log, repr(contract_hub), looks)
    assert "1 task has yet to begin. It is kept by the main greenlet" in log.getvalue()
    until(hub, lambda: task.done)


def test_a_hub_that_goes_round(hub, contract_hub, log, monkeypatch):
    """Who sleeps, waits or yields in a loop keeps nobody: the hub gives signs of life all the while."""
    looks = looks_of_watchdog(monkeypatch, contract_hub, often=200)
    greenzmq.watchdog(PATIENCE, log)

    def signs(number: int) -> Iterator[None]:
        while looks.count(True) < number and not log.reports(repr(contract_hub)):
            yield

    busy = hub.spawn(lambda: [hub.sleep() for _ in signs(4)])
    busy.join()
    hub.run_in_thread(lambda: [time.sleep(0.001) for _ in signs(8)])
    assert log.reports(repr(contract_hub)) == []


def test_a_coroutine(log, monkeypatch):
    """One that blocks an asyncio loop with a hub on it is told."""

    async def program() -> None:
        hub = await greenzmq.asyncio.run(greenzmq.hub)
        looks = looks_of_watchdog(monkeypatch, hub.hub)
        await asyncio.sleep(LIMIT)
        stall(lambda: time.sleep(0.01), log, "its loop runs", looks)

    asyncio.run(program())
    assert "in program" in log.getvalue()


PROGRAM = """
import os, sys, greenzmq
def program():
    hub = greenzmq.hub()
    hub.spawn(hub.sleep, 1000)
    if sys.argv[2] == "fork" and os.fork():
        os.wait()
        return
    if sys.argv[2] == "fork":
        hub = greenzmq.hub()
        hub.spawn(hub.sleep, 1000)
    hub.sleep(0.1)
    os.read(0, 1)
greenzmq.main(program, hub=sys.argv[1])
"""
#: Where it keeps its hub; not so the parent of a fork, which stops a few lines before.
STALL = "line 13, in program"


def run(word: str, way: str, setting: str) -> str:
    """What the program writes to standard error. Its stall ends some time after it was told, or at once."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, word, way]
    environment = {**os.environ, "GREENZMQ_WATCHDOG": setting}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        limit = threading.Timer(30, child.stdin.close)
        limit.start()
        told = ""
        for line in child.stderr if way != "no stall" else ():
            told += line
            if STALL in line:
                time.sleep(4 * LIMIT)  # it may say so again, which would be wrong
                break
        limit.cancel()
        child.stdin.close()
        return told + child.stderr.read()


@pytest.mark.parametrize("word", ["gevent", "eventlet", "selector", "asyncio", "uvloop"])
def test_by_the_environment(word):
    """$GREENZMQ_WATCHDOG sets it without a change of the program; what it says goes to standard error."""
    if word not in ("selector", "asyncio"):
        pytest.importorskip(word)
    told = run(word, "once", str(LIMIT))
    assert told.count(STALL) == 1, told


def test_after_a_fork():
    """A child has a watchdog of its own."""
    assert run("selector", "fork", str(LIMIT)).count(STALL) == 1


def test_wrong_settings():
    """One in the environment is a warning; as an argument it is an error."""
    assert "GREENZMQ_WATCHDOG=soon has no effect" in run("selector", "no stall", "soon")
    for wrong, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (float("nan"), ValueError)):
        with pytest.raises(error):
            greenzmq.watchdog(wrong)
