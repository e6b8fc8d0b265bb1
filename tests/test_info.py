"""``python -m greenzmq info``, and the usage of the command."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version

import pytest
import zmq
from helpers_cli import INSTALLED, MAIN, WITHOUT, greenzmq, python


def test_info() -> None:
    """Versions, capabilities, every hub with what it runs on, and the choice with its rule."""
    done = greenzmq("info", GREENZMQ_HUB="")
    assert (done.returncode, done.stderr) == (0, "")
    versions = {
        "greenzmq": version("greenzmq"),
        "Python": platform.python_version(),
        "greenlet": version("greenlet"),
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
    }
    for what, number in versions.items():
        assert re.search(rf"^{what} +{re.escape(number)}\b", done.stdout, re.MULTILINE)
    ((have, lack),) = re.findall(r"^libzmq +\S+ with (.*); without (.*)$", done.stdout, re.MULTILINE)
    assert [zmq.has(name) for name in have.split(", ")] == [True] * len(have.split(", "))
    assert [zmq.has(name) for name in lack.split(", ")] == [False] * len(lack.split(", "))
    assert {"ipc", "curve", "gssapi"} <= {*have.split(", "), *lack.split(", ")}
    for hub in INSTALLED:
        package = {"asyncio+uvloop": "uvloop", "gevent": "gevent", "eventlet": "eventlet"}.get(hub)
        runtime = f"{package} {version(package)}" if package else "built in"
        assert re.search(rf"^{re.escape(hub)} +{re.escape(runtime)}  +\S", done.stdout, re.MULTILINE)
    assert "fails" not in done.stdout
    assert "$GREENZMQ_HUB is not set" in done.stdout
    assert "uses the selector hub here, by rule 6" in done.stdout


def test_info_with_the_variable() -> None:
    """$GREENZMQ_HUB is shown, and decides; a wrong one is an error."""
    done = greenzmq("info", GREENZMQ_HUB="threading")
    assert done.returncode == 0
    assert "$GREENZMQ_HUB is threading" in done.stdout
    assert "uses the selector hub here, by rule 1: $GREENZMQ_HUB says so" in done.stdout
    wrong = greenzmq("info", GREENZMQ_HUB="twisted")
    assert wrong.returncode == 1
    assert "$GREENZMQ_HUB is twisted" in wrong.stdout
    assert "a plain greenzmq.Context() would fail here: no hub is named 'twisted'" in wrong.stderr


def test_info_without_a_runtime() -> None:
    """What is not installed is shown with the line that installs it."""
    done = python("-c", WITHOUT.format(without=["eventlet"]) + MAIN, "info")
    assert done.returncode == 0
    assert re.search(r"^eventlet +not installed +python -m pip install eventlet$", done.stdout, re.MULTILINE)


def test_info_creates_no_hub() -> None:
    """Asking leaves neither a runtime nor a loop behind in the process that asks."""
    program = """
import sys
from greenzmq.__main__ import main
main(["info"])
from greenzmq.hubs.selector import SelectorHub
assert SelectorHub.current() is None
assert not {"gevent", "eventlet"} & set(sys.modules), sorted(sys.modules)
"""
    done = python("-c", program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("args", [[], ["nonsense"]])
def test_no_command(args: list[str]) -> None:
    """Without a command, or with an unknown one, the commands are named."""
    done = greenzmq(*args)
    assert done.returncode == 2
    assert "usage: greenzmq" in done.stderr


@pytest.mark.parametrize("args", [["--help"], ["demo", "--help"], ["info", "--help"]])
def test_help(args: list[str]) -> None:
    """Help is there, and tells the exit status of each command."""
    done = greenzmq(*args)
    assert done.returncode == 0
    assert len(args) == 1 or "exit status" in done.stdout
