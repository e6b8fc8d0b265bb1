"""``python -m greenzmq info``, and the usage of the command."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version

import pytest
import zmq
from support.cli import INSTALLED, KNOWN, MAIN, ONLY, UNASKED, WITHOUT, Done, greenzmq, python

from greenzmq import __version__
from greenzmq.sockets import accelerator


def test_info() -> None:
    """Versions, capabilities, every hub with what it runs on, and the choice with its rule.

    Asking leaves neither a runtime nor a loop behind in the process that asks.
    """
    program = """
import sys
from greenzmq.__main__ import main
print("status", main(["info"]))
selector = sys.modules.get("greenzmq.hubs.selector")
print("left", selector and selector.SelectorHub.current(), sorted({"gevent", "eventlet"} & {*sys.modules}))
"""
    done = python("-c", program, GREENZMQ_HUB="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("status 0\nleft None []\n")
    versions = {
        "greenzmq": version("greenzmq"),
        "Python": platform.python_version(),
        "greenlet": version("greenlet"),
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
    }
    for what, number in versions.items():
        assert re.search(rf"^{what} +{re.escape(number)}\b", done.stdout, re.MULTILINE)
    assert re.search(rf"^fast path +{re.escape(accelerator.status())}", done.stdout, re.MULTILINE)
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
    """$GREENZMQ_HUB is shown, and decides."""
    done = python("-c", UNASKED + MAIN, "info", GREENZMQ_HUB="threading")
    assert done.returncode == 0
    assert "$GREENZMQ_HUB is threading" in done.stdout
    assert "uses the threading hub here, by rule 1: $GREENZMQ_HUB says so" in done.stdout


def test_info_of_the_fast_path() -> None:
    """Whether calls are compiled, and if not, why."""
    done = python("-c", UNASKED + MAIN, "info", GREENZMQ_PURE="1")
    assert re.search(r"^fast path +pure Python: \$GREENZMQ_PURE is set$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("GREENZMQ_HUB", "twisted", "no hub is named 'twisted'"),
        ("GREENZMQ_HUB", "asyncio", "no asyncio loop is running in this thread"),
        ("GREENZMQ_HUB", "asyncio+uvloop", "no hub is named 'asyncio+uvloop'"),
        ("GREENZMQ_HUB", "os:path", "'os:path' is not a hub"),
        ("GREENZMQ_HUB", "greenzmq.hubs.base:Hub", ""),
        ("GREENZMQ_TURN", "abc", "$GREENZMQ_TURN is 'abc'"),
        ("GREENZMQ_TURN", "-1", "$GREENZMQ_TURN is '-1'"),
    ],
)
def test_a_plain_call_that_would_fail(variable: str, value: str, why: str) -> None:
    """Exit status 1 and the reason, in one line; and what there is to tell is told.

    Seen to fail with all but the first and the fourth: status 0, or a traceback.
    """
    done = python("-c", UNASKED + MAIN, "info", **({"GREENZMQ_HUB": ""} | {variable: value}))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("greenzmq: a plain greenzmq.Context() would fail here: ")
    assert why in line
    assert "A plain greenzmq.Context() uses" not in done.stdout
    assert all(re.search(rf"^{re.escape(hub)} ", done.stdout, re.MULTILINE) for hub in INSTALLED)


def patched_by(*runtimes: str, request: pytest.FixtureRequest) -> Done:
    """What `info` says in a process that these have patched, and in which they have a hub if there are two.

    It asks one other process, for which it has to wait.
    """
    for runtime in runtimes:
        if not KNOWN[runtime] and request.config.getoption("--skip-missing-hubs"):
            pytest.skip(f"{runtime} is not installed")
    patch = {
        "gevent": "import gevent.monkey; gevent.monkey.patch_all()\n",
        "eventlet": "import eventlet; eventlet.monkey_patch(socket=True)\n",
    }
    alive = "gevent.get_hub(); import eventlet.hubs; eventlet.hubs.get_hub()\n" if len(runtimes) > 1 else ""
    program = "".join(patch[runtime] for runtime in runtimes) + alive + ONLY.format(only=["selector"]) + MAIN
    return python("-W", "ignore", "-c", program, "info", GREENZMQ_HUB="")


def test_info_in_a_patched_process(request: pytest.FixtureRequest) -> None:
    """The rule is that of a process that has not waited yet. Seen to fail: waiting for the other processes counted."""
    done = patched_by("gevent", request=request)
    assert (done.returncode, done.stderr) == (0, "")
    assert "uses the gevent hub here, by rule 5: gevent has patched this process" in done.stdout


def test_info_where_two_runtimes_live(request: pytest.FixtureRequest) -> None:
    """Both have patched it, so a plain call has no answer, and neither has info."""
    done = patched_by("gevent", "eventlet", request=request)
    assert done.returncode == 1
    assert "would fail here: gevent and eventlet both have a hub in this thread; choose one of them" in done.stderr


def test_a_wrong_dump_signal_is_said_once() -> None:
    """By the command, and not by each process that it starts."""
    done = python("-c", ONLY.format(only=["selector"]) + MAIN, "info", GREENZMQ_DUMP_SIGNAL="KILL")
    assert done.returncode == 0
    assert done.stderr.count("GREENZMQ_DUMP_SIGNAL has no effect") == 1


def test_info_without_a_runtime() -> None:
    """What is not installed is shown with the line that installs it."""
    done = python("-c", WITHOUT.format(without=["eventlet"]) + UNASKED + MAIN, "info")
    assert done.returncode == 0
    assert re.search(r"^eventlet +not installed +python -m pip install eventlet$", done.stdout, re.MULTILINE)


def test_no_command() -> None:
    """Without a command there is the help, as with ``--help``. Seen to be an error that said "required"."""
    done = greenzmq()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == greenzmq("--help").stdout
    assert "show versions, the hubs" in done.stdout


@pytest.mark.parametrize("command", ["nonsense", "bench"])
def test_unknown_command(command: str) -> None:
    """The commands are named. The benchmarks are none of the package's."""
    done = greenzmq(command)
    assert done.returncode == 2
    assert "usage: greenzmq" in done.stderr
    assert all(command in done.stderr for command in ("demo", "info"))


def test_version() -> None:
    """``--version`` is there. Seen to fail when it was not."""
    done = greenzmq("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"greenzmq {__version__}\n", "")


@pytest.mark.parametrize("args", [["--help"], ["demo", "--help"], ["info", "--help"]])
def test_help(args: list[str]) -> None:
    """Help is there, and tells the exit status of each command."""
    done = greenzmq(*args)
    assert done.returncode == 0
    assert "exit status" in done.stdout
