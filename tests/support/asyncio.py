"""What the tests of asyncio share: a fixture for the standard library's loop and uvloop's, and a way to run on each."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

__all__ = ["LOOPS", "loop_name", "run_on"]

#: The packages whose loops the tests run on.
LOOPS = ("asyncio", "uvloop")


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """The package whose loop this test runs on."""
    if importlib.util.find_spec(request.param) is None:
        if request.config.getoption("--skip-missing-hubs"):
            pytest.skip(f"{request.param} is not installed")
        pytest.fail(f"{request.param} is not installed; --skip-missing-hubs runs the tests without", pytrace=False)
    name: str = request.param
    return name


def run_on(name: str, main: Coroutine[Any, Any, Any], *, debug: bool | None = None) -> Any:
    """Do what ``asyncio.run(main)`` does, on a new loop of the package `name`."""
    factory = importlib.import_module(name).new_event_loop
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)
    loop = factory()
    loop.set_debug(bool(debug))
    try:
        return loop.run_until_complete(main)
    finally:
        asyncio.runners._cancel_all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
