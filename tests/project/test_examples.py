"""The programs of ``examples/``, on every hub: each does what it says and leaves nothing open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.children import is_installed

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HUBS = ("gevent", "eventlet", "selector", "asyncio", "uvloop")


def run(name: str, *arguments: str) -> str:
    """What the example prints."""
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    command = [sys.executable, "-W", "ignore", "-W", "default::ResourceWarning", str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(params=HUBS)
def hub_name(request: pytest.FixtureRequest) -> str:
    """The name of a hub."""
    name: str = request.param
    if name in ("gevent", "eventlet", "uvloop") and not is_installed(name):
        if request.config.getoption("--skip-missing-hubs"):
            pytest.skip(f"{name} is not installed")
        pytest.fail(f"{name} is not installed; --skip-missing-hubs runs the tests without", pytrace=False)
    return name


def test_typed_messages(hub_name: str) -> None:
    """What is no order is refused, and so is pickle."""
    assert run("typed_messages.py", hub_name).splitlines() == [
        "sold: Order(item='lamp', count=3)",
        "refused: no order",
        "refused: Context(pyobj=False) refuses send_pyobj()",
    ]
