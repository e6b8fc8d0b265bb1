"""The plugin of pytest: each of its fixtures, its mark, its options and settings, in runs of pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.forked import PYTEST, run

SETTINGS = r"""
[pytest]
filterwarnings =
    error
    ignore:\s*Eventlet is deprecated
"""

HUBS = """
import time
import greenlet, pytest, zmq
import greenzmq

@pytest.fixture
def early(greenzmq_hub):
    with pytest.raises(AttributeError, match="in the body of the test, not in its fixtures"):
        greenzmq_hub.spawn
    return greenzmq_hub.name

def test_body(early, greenzmq_hub, greenzmq_context):
    assert greenzmq_hub is not early and greenzmq_hub.name == early
    assert greenlet.getcurrent() is not greenzmq_hub.hub.greenlet
    with greenzmq_context.socket(zmq.REP) as server, greenzmq_context.socket(zmq.REQ) as client:
        server.bind("inproc://answer")
        client.connect("inproc://answer")
        greenzmq_hub.spawn(lambda: server.send(server.recv().upper()))
        client.send(b"hello")
        assert client.recv() == b"HELLO"

left = []

def test_leaves_a_task_and_a_socket(greenzmq_hub, greenzmq_context):
    socket = greenzmq_context.socket(zmq.PULL)
    left.append((greenzmq_hub.spawn(socket.recv), socket, greenzmq_context))

def test_nothing_is_left():
    for task, socket, context in left:
        assert task.done and socket.closed and context.closed

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.usefixtures("greenzmq_hub")
def test_parametrized_and_not_named(number):
    assert greenzmq.hub().name in ("selector", "asyncio")

class TestInAClass:
    def test_method(self, greenzmq_hub):
        greenzmq_hub.sleep(0)

def test_fails(greenzmq_hub):
    assert greenzmq_hub.name == "neither"

@pytest.mark.greenzmq(timeout=0.2)
def test_hangs(greenzmq_hub, greenzmq_context):
    greenzmq_context.socket(zmq.PULL).recv()

@pytest.mark.greenzmq(timeout=0)
def test_own_timeout(greenzmq_hub):
    with pytest.raises(greenzmq.Timeout), greenzmq_hub.timeout(0.01):
        greenzmq_hub.sleep(60)

def test_skips(greenzmq_hub):
    pytest.skip("in a greenlet")

@pytest.mark.greenzmq(hubs=["threading"])
def test_on_another(greenzmq_hub):
    assert greenzmq_hub.name == "threading"
"""

SEEDS = """
import pytest
import greenzmq
from greenzmq.testing import SteppingHub

orders = set()

def test_order(greenzmq_stepping, greenzmq_hub, greenzmq_context):
    assert isinstance(greenzmq_stepping, SteppingHub) and greenzmq_hub.hub is greenzmq_stepping
    assert greenzmq_context.hub is greenzmq_stepping if hasattr(greenzmq_context, "hub") else True
    seen = []
    for number in range(3):
        greenzmq_hub.spawn(seen.append, number)
    event = greenzmq.GreenEvent()
    waiting = greenzmq_hub.spawn(event.wait, 30)
    greenzmq_stepping.advance(31)
    assert waiting.done
    orders.add(tuple(seen))

@pytest.mark.greenzmq(seeds=4)
def test_first(greenzmq_stepping):
    seen = []
    for number in range(3):
        greenzmq_stepping.call_soon(seen.append, number)
    greenzmq_stepping.settle()
    assert seen[0] == 0

def test_many_orders():
    assert len(orders) > 1
"""

PLAIN = """
import sys

def test_nothing_heavy():
    assert not {"greenzmq", "zmq", "greenlet", "gevent", "eventlet", "asyncio"} & set(sys.modules)
"""

WRONG = """
import pytest

@pytest.mark.greenzmq("gevent")
def test_wrong_mark(greenzmq_hub):
    pass
"""

UNKNOWN = """
import pytest

@pytest.mark.greenzmq(hubs="gevnt")
def test_unknown(greenzmq_hub):
    pass

async def test_coroutine(greenzmq_hub):
    pass
"""

RUNS = {
    "hubs": (HUBS, "--greenzmq-hub=selector", "--greenzmq-hub=asyncio"),
    "all": (HUBS, "-k", "test_body", "--greenzmq-hub=all"),
    "default": (HUBS, "-k", "test_method"),
    "setting": (HUBS, "-k", "test_method", "-o", "greenzmq_hubs=asyncio selector"),
    "seeds": (SEEDS,),
    "number": (SEEDS, "-k", "test_first", "--greenzmq-seeds=2"),
    "one seed": (SEEDS, "-k", "test_first or test_order", "--greenzmq-seed=31"),
    "plain": (PLAIN,),
    "wrong": (WRONG,),
    "unknown": (UNKNOWN,),
}


class Run:
    """A run of pytest, and what it says of each test."""

    def __init__(self, folder: Path, name: str) -> None:
        text, *arguments = RUNS[name]
        file = folder / f"test_{name.replace(' ', '_')}.py"
        file.write_text(text)
        # Named, since greenzmq may not be installed as it is now; test_packaging.py has its entry point.
        command = ["-m", "pytest", "-v", "--strict-markers", "-p", "no:cacheprovider", "-p", "pytest_greenzmq"]
        command += [*arguments, str(file)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GREENZMQ", "PYTEST"))}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        if name == "plain":  # tests what is imported
            command = [sys.executable, *command]
            done = subprocess.run(command, capture_output=True, text=True, timeout=55, env=environment, cwd=folder)
        else:
            done = run(command, environment=environment, timeout=55, imports=PYTEST, folder=str(folder))
        self.text = done.stdout + done.stderr
        self.outcomes = dict(re.findall(r"^\S+?::(\S+) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All of them, two at a time."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "pytest.ini").write_text(SETTINGS)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(RUNS, pool.map(lambda name: Run(folder, name), RUNS), strict=True))


def passed(*names: str, on: tuple[str, ...] = ("",)) -> dict[str, str]:
    return {f"{name}{part and f'[{part}]'}": "PASSED" for name in names for part in on}


def test_nothing_heavy_is_imported(runs):
    """A run without tests of ours imports neither greenzmq nor what it needs."""
    assert runs["plain"].outcomes == passed("test_nothing_heavy"), runs["plain"].text


def test_hubs(runs):
    """A body runs on each hub that was asked for; what it leaves is ended; its outcomes are pytest's."""
    both = ("selector", "asyncio")
    run = runs["hubs"]
    expected = passed("test_body", "test_leaves_a_task_and_a_socket", "TestInAClass::test_method", on=both)
    expected |= passed("test_parametrized_and_not_named", on=tuple(f"{hub}-{n}" for hub in both for n in (1, 2)))
    expected |= passed("test_own_timeout", on=both) | passed("test_nothing_is_left")
    for hub in both:
        expected |= {f"test_fails[{hub}]": "FAILED", f"test_hangs[{hub}]": "FAILED", f"test_skips[{hub}]": "SKIPPED"}
    found = {name: outcome for name, outcome in run.outcomes.items() if not name.startswith("test_on_another")}
    assert found == expected, run.text


def test_a_test_that_hangs(runs):
    """It fails, and says who waits for what."""
    assert runs["hubs"].text.count("AssertionError: the test has not ended after 0.2 s") >= 2
    assert len(re.findall(r"recv PULL", runs["hubs"].text)) >= 2, runs["hubs"].text


def test_which_hubs(runs):
    """The command line comes before the mark, that before the setting, and that before the default."""
    assert runs["default"].outcomes == passed("TestInAClass::test_method", on=("selector",))
    assert runs["setting"].outcomes == passed("TestInAClass::test_method", on=("asyncio", "selector"))
    on_another = {name for name in runs["hubs"].outcomes if name.startswith("test_on_another")}
    assert on_another == {"test_on_another[selector]", "test_on_another[asyncio]"}


def test_all_hubs(runs):
    """Every hub that is installed, one after another in one process."""
    from greenzmq.hubs import known_hubs

    installed = tuple(hub.name for hub in known_hubs() if hub.installed)
    assert len(installed) >= 3
    assert runs["all"].outcomes == passed("test_body", on=installed), runs["all"].text


def test_seeds(runs):
    """A test for each seed, in schedules of its own; a failure shows its seed."""
    outcomes = runs["seeds"].outcomes
    expected = passed("test_order", on=tuple(f"seed{n}" for n in range(10))) | passed("test_many_orders")
    assert {name: outcome for name, outcome in outcomes.items() if "first" not in name} == expected, runs["seeds"].text
    first = {name: outcome for name, outcome in outcomes.items() if "first" in name}
    assert list(first) == [f"test_first[seed{n}]" for n in range(4)]
    assert "FAILED" in first.values()


def test_which_seeds(runs):
    """The command line comes before the mark."""
    assert list(runs["number"].outcomes) == ["test_first[seed0]", "test_first[seed1]"]
    assert list(runs["one seed"].outcomes) == ["test_order[seed31]", "test_first[seed31]"]


def test_mistakes(runs):
    """A wrong mark, a hub that is not there, and a coroutine function are told."""
    assert "@pytest.mark.greenzmq(hubs=[...], seeds=100, timeout=60)" in runs["wrong"].text
    assert "Did you mean 'gevent'?" in runs["unknown"].text
    assert set(runs["unknown"].outcomes.values()) == {"FAILED"}, runs["unknown"].text
