"""Programs that tests run in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["Child", "Children", "Done", "need", "run"]

#: Seconds after which a child that hangs prints where it does, and ends.
LIMIT = 25
#: What each program begins with. Ended from a thread of the interpreter's own, which no monkey patch reaches.
PROLOGUE = "import faulthandler; faulthandler.dump_traceback_later({}, exit=True)\n"


@dataclass(frozen=True)
class Child:
    """A program, the environment variables that it needs besides, and the runtimes without which it makes no sense.

    Without a `watchdog` one that hangs says nothing: the interpreter of a child that it forks waits at its end for the
    watchdog's thread, which it has not inherited.
    """

    program: str
    environment: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    limit: int = LIMIT
    watchdog: bool = True


@dataclass(frozen=True)
class Done:
    """How a child ended, and when, by `time.monotonic`, which is one clock for all processes."""

    status: int
    out: str
    err: str
    when: float = field(default_factory=time.monotonic, compare=False)


def run(child: Child) -> Done:
    """Run a child to its end; it is gone after that, in any case."""
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    paths = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(child.environment)
    # Both runtimes warn of themselves when they are imported or patch, which is no business of these tests.
    prologue = PROLOGUE.format(child.limit) if child.watchdog else ""
    command = [sys.executable, "-W", "ignore", "-c", prologue + textwrap.dedent(child.program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=child.limit + 10, env=environment)
    except subprocess.TimeoutExpired as late:
        return Done(-1, f"{late.stdout!r}", f"had to be killed: {late.stderr!r}")
    return Done(done.returncode, done.stdout, done.stderr)


class Children:
    """Runs the children that were given to it in order, `at_once` at a time; each test asks for its own.

    In a process that shares the tests with others, as xdist has it, a child is run when it is asked for: each of them
    would run them all.
    """

    def __init__(self, children: dict[str, Child], at_once: int = 4) -> None:
        self._children = children
        self._executor = ThreadPoolExecutor(at_once)
        ahead = () if "PYTEST_XDIST_WORKER" in os.environ else children
        self._futures: dict[str, Future[Done]] = {name: self._executor.submit(run, children[name]) for name in ahead}

    @classmethod
    def of_tests(cls, request: pytest.FixtureRequest, children: dict[str, Child], at_once: int = 4) -> Children:
        """Those that this module's tests of this run ask for, by their parameter ``child`` or the id of ``variant``."""
        asked = []
        for item in request.session.items:
            if item.module is request.module and hasattr(item, "callspec"):
                params = item.callspec.params
                asked.append(params.get("child") or getattr(params.get("variant"), "id", None))
        wanted = {name: children[name] for name in asked if name in children}
        return cls({name: child for name, child in wanted.items() if not missing(child)}, at_once)

    def __getitem__(self, name: str) -> Done:
        if name not in self._futures:
            self._futures[name] = Future()
            self._futures[name].set_result(run(self._children[name]))
        return self._futures[name].result()

    def close(self) -> None:
        """Wait for those that run; the others are not started any more."""
        self._executor.shutdown(cancel_futures=True)


def missing(child: Child) -> list[str]:
    return [module for module in child.needs if not is_installed(module)]


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it is in
        return False


def need(request: pytest.FixtureRequest, child: Child) -> None:
    """Fail, or skip with --skip-missing-hubs, if a runtime that the child needs is not installed."""
    if gone := missing(child):
        if request.config.getoption("--skip-missing-hubs", default=False):
            pytest.skip(f"not installed: {', '.join(gone)}")
        pytest.fail(f"not installed: {', '.join(gone)}; --skip-missing-hubs runs the tests without")
