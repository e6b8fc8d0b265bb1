"""What the tests of the commands share: ways to run a command, mostly in a process of its own, as a user does."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from support import forked

from greenzmq.cli import demo, inputs, names

__all__ = [
    "INSTALLED",
    "KNOWN",
    "LIMIT",
    "MAIN",
    "ONLY",
    "UNASKED",
    "WITHOUT",
    "Done",
    "folder",
    "greenzmq",
    "name",
    "python",
]
__all__ += ["run_in_terminal", "tampered", "tampered_program"]

KNOWN = {hub.name: hub.installed for hub in names.known()}
INSTALLED = [name for name, installed in KNOWN.items() if installed]
#: Seconds after which a command has failed. Most take about a second.
LIMIT = 50

Done = subprocess.CompletedProcess[str]


@pytest.fixture(params=KNOWN)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each hub. If its runtime is not installed, the test fails, or is skipped if the run says so."""
    hub: str = request.param
    if hub not in (request.config.getoption("--hub", default=None) or KNOWN):
        pytest.skip("not this hub")
    if not KNOWN[hub] and request.config.getoption("--skip-missing-hubs", default=False):
        pytest.skip(f"{hub} is not installed")
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files in three levels of folders.

    One is empty, one has no newline at its end, one is sent in many frames, and one in two requests.
    """
    root = tmp_path / "input"
    (root / "a" / "site-packages").mkdir(parents=True)
    (root / "empty.txt").write_bytes(b"")
    (root / "a" / "one.py").write_bytes(b"import this")
    (root / "a" / "site-packages" / "frames").write_bytes(b"line\n" * 50_000)
    (root / "large").write_bytes(b"x" * inputs.PART + b"\n\n")
    return root


def greenzmq(*args: str | Path, **environment: str) -> Done:
    """Run ``python -m greenzmq``."""
    return python("-m", "greenzmq", *args, **environment)


def python(*args: str | Path, **environment: str) -> Done:
    """Run a program that calls a command: forked, with the commands imported already."""
    options = ("-W", "ignore") if args[:2] == ("-W", "ignore") else ()
    arguments = [str(arg) for arg in args[len(options) :]]
    changed = _environment(environment)
    return forked.run(arguments, environment=changed, timeout=LIMIT, imports=forked.COMMANDS, options=options)


def run_in_terminal(*args: str | Path, columns: int = 100, **environment: str) -> tuple[int, str]:
    """Run python on a terminal of `columns` columns. Return the exit status, and all that it showed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    command = [sys.executable, *map(str, args)]
    environment = _environment({"TERM": "xterm", **environment})
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # on Linux this means that the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(LIMIT), shown.decode()


def _environment(changes: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with changes, and without the variables about the tester's own terminal."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}
    }
    return inherited | changes


WITHOUT = "import sys; sys.modules.update(dict.fromkeys({without!r})); "
#: Begins a program with MAIN for ``info``: it starts no process for each hub, to ask what that runs on.
UNASKED = "import sys; from greenzmq.cli import info; info._variant = str; "
#: Begins one for which there are no other hubs than these.
ONLY = "import sys; from greenzmq.cli import names; known = names.known; "
ONLY += "names.known = lambda: [hub for hub in known() if hub.name in {only!r}]; "
MAIN = "from greenzmq.__main__ import main; sys.exit(main(sys.argv[1:]))"


# DEMO is a program that runs the demo with other workers. CHILD is the program of the process in which these run; in it
# ``WORKER`` is replaced by what a worker does.
DEMO = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are told to ignore it
from greenzmq.cli import demo
demo.GRACE = {grace}
from greenzmq import __main__
run = demo.run
demo.run = lambda options: run(options, [sys.executable, "-c", {child!r}])
sys.exit(__main__.main({args!r}))
"""
CHILD = """
import os, signal, sys, time
import greenzmq
from greenzmq.cli import one_hub
def worker(socket):
    while True:
        name, *chunks = socket.recv_multipart()
        WORKER
sys.exit(one_hub.main(worker))
"""


def tampered(worker: str, *args: str | Path, grace: float = demo.GRACE) -> Done:
    """Run the demo with workers that execute the code `worker` for each request."""
    return python("-c", tampered_program(worker, *args, grace=grace))


def tampered_program(worker: str, *args: str | Path, grace: float = demo.GRACE) -> str:
    return DEMO.format(grace=grace, child=CHILD.replace("WORKER", worker), args=["demo", *map(str, args)])
