"""Programs that tests run in child processes."""

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
from support import forked

__all__ = ["Child", "Children", "Done", "need", "run"]

#: Seconds. A child that runs longer hangs: it prints the stacks of its threads, and ends.
LIMIT = 25
#: The first line of each program. The interpreter prints and ends in a thread of its own, which cannot be patched.
PROLOGUE = "import faulthandler; faulthandler.dump_traceback_later({}, exit=True)\n"


@dataclass(frozen=True)
class Child:
    """A program for a child process.

    Attributes
    ----------
    program : str
        Its source.
    environment : tuple of (str, str)
        Environment variables to add.
    needs : tuple of str
        The runtimes that it needs.
    limit : int
        Seconds after which it is ended.
    watchdog : bool
        Whether it prints where it hangs. False for programs that fork: at its end, the interpreter of a forked child
        waits for the watchdog's thread, which does not exist in it.
    imported : tuple of str
        The modules that may be imported before it begins: one of the tuples of `support.forked`, from whose process
        it is forked then. Without any it gets an interpreter of its own.
    """

    program: str
    environment: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    limit: int = LIMIT
    watchdog: bool = True
    imported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The end of a child: its exit status, what it printed, and when it ended.

    The time is that of `time.monotonic`, which is the same clock in all processes.
    """

    status: int
    out: str
    err: str
    when: float = field(default_factory=time.monotonic, compare=False)


def run(child: Child) -> Done:
    """Run a child to its end. Afterwards it is gone in any case."""
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    paths = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(child.environment)
    # "-W ignore": gevent and eventlet warn when they are imported, or when they patch. That does not concern the tests.
    prologue = PROLOGUE.format(child.limit) if child.watchdog else ""
    arguments = ["-c", prologue + textwrap.dedent(child.program)]
    limit = child.limit + 10
    try:
        if child.imported:
            done = forked.run(arguments, environment=environment, timeout=limit, imports=child.imported)
        else:
            command = [sys.executable, "-W", "ignore", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired as late:
        return Done(-1, f"{late.stdout!r}", f"had to be killed: {late.stderr!r}")
    return Done(done.returncode, done.stdout, done.stderr)


class Children:
    """Runs children ahead of the tests that ask for them: in the given order, `at_once` at a time.

    A worker of pytest-xdist does not run ahead, because each worker would then run all children. It runs a child when
    a test asks for it.
    """

    def __init__(self, children: dict[str, Child], at_once: int = 4) -> None:
        self._children = children
        self._executor = ThreadPoolExecutor(at_once)
        ahead = () if "PYTEST_XDIST_WORKER" in os.environ else children
        self._futures: dict[str, Future[Done]] = {name: self._executor.submit(run, children[name]) for name in ahead}

    @classmethod
    def of_tests(cls, request: pytest.FixtureRequest, children: dict[str, Child], at_once: int = 4) -> Children:
        """Make one of the children that the tests of this module will ask for in this run.

        A test names its child by its parameter ``child``, or by the id of its ``variant``.
        """
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
        """Wait for the children that run. The others are not started any more."""
        self._executor.shutdown(cancel_futures=True)


def missing(child: Child) -> list[str]:
    return [module for module in child.needs if not is_installed(module)]


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that contains the module is not installed
        return False


def need(request: pytest.FixtureRequest, child: Child) -> None:
    """Fail if a runtime that the child needs is not installed. With ``--skip-missing-hubs``, skip instead."""
    if gone := missing(child):
        if request.config.getoption("--skip-missing-hubs", default=False):
            pytest.skip(f"not installed: {', '.join(gone)}")
        pytest.fail(f"not installed: {', '.join(gone)}; --skip-missing-hubs runs the tests without")
