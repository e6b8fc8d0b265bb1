"""The `hub` fixture itself: where bodies run, what is found at the end, what options do, and that no run hangs.

Each test is a run of pytest over a file of a few lines, with this folder's conftest as a plugin.
"""

from __future__ import annotations

import importlib.util
import os
import re
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support import forked

TESTS = Path(__file__).parents[1]
CONFIG = TESTS.parent / "pyproject.toml"


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest):
    """Runs pytest over a file with the given source; returns what it printed and the exit code."""
    missing = [name for name in ("gevent", "eventlet") if importlib.util.find_spec(name) is None]
    if missing and request.config.getoption("--skip-missing-hubs"):
        pytest.skip(f"these runs are on every hub, and {missing} are not installed")

    def run(source: str, *options: str) -> tuple[str, int]:
        file = tmp_path / "test_it.py"
        file.write_text("import greenlet, os, pytest, time\n" + textwrap.dedent(source))
        plugins = ["-p", "no:cacheprovider", "-p", "conftest"]
        arguments = ["-m", "pytest", "-c", CONFIG, "--rootdir", tmp_path, *options, *plugins, file]
        paths = [str(TESTS), str(tmp_path), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "COLUMNS": "1000",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # their import would take half of the time of each run
        }
        done = forked.run(
            [*map(str, arguments)], environment=environment, timeout=120, imports=forked.PYTEST, folder=str(tmp_path)
        )
        return done.stdout + done.stderr, done.returncode

    return run


def test_body_runs_on_the_hub(run) -> None:
    """The body runs in a greenlet of the hub, with ``main_greenlet`` in the main one, in a thread of its own."""
    output, code = run(
        """
        import threading

        def test_body(hub, contract_hub, hub_thread):
            assert hub.hub is contract_hub is hub_thread.hub
            assert greenlet.getcurrent().parent is contract_hub.greenlet
            assert threading.current_thread() is not threading.main_thread()

        @pytest.mark.main_greenlet
        def test_main(hub):
            assert greenlet.getcurrent().parent is None

        def test_without_hub():
            assert threading.current_thread() is threading.main_thread()
        """
    )
    assert code == 0, output
    assert "11 passed" in output  # on six hubs, on the four whose main greenlet can park, and on none


def test_outcomes(run) -> None:
    """Skips, expected failures and failures come out as themselves; an assertion shows its values."""
    output, code = run(
        """
        def test_skips(hub):
            pytest.skip("because")

        def test_fails(hub):
            pytest.fail("on purpose")

        @pytest.mark.xfail
        def test_expected(hub):
            raise ValueError

        def test_asserts(hub):
            answer = 41
            assert answer == 42
        """,
        "--hub=selector",
    )
    assert code == 1
    assert "2 failed, 1 skipped, 1 xfailed" in output
    assert "Failed: on purpose" in output
    assert "assert 41 == 42" in output
    assert "hub_thread.py" not in output


def test_failure_beside_garbage(run) -> None:
    """A test that fails is reported by name, also if the garbage collector runs finalizers while the report is made.

    A task whose error nobody has seen, or any finalizer that fails, makes pytest format a traceback, and for that
    Python parses a line of code. Here a finalizer parses one itself.

    Seen to fail on CPython 3.11.7, where the run ended in an INTERNALERROR.
    """
    output, code = run(
        """
        import ast, gc

        class Garbage:
            renewed = True

            def __init__(self):
                self.cycle = self

            def __del__(self):
                ast.parse("1 + 1")
                if self.renewed:
                    Garbage()

        @pytest.fixture
        def garbage():
            threshold = gc.get_threshold()
            gc.set_threshold(20)
            Garbage()
            yield
            assert gc.isenabled()
            gc.set_threshold(*threshold)
            Garbage.renewed = False

        def test_fails(garbage):
            answer = 41
            assert answer == 42

        def test_passes():
            pass
        """
    )
    assert code == 1, output
    assert "FAILED test_it.py::test_fails - assert 41 == 42" in output
    assert "1 failed, 1 passed" in output


def test_failure_with_tasks(run) -> None:
    """The tasks of a test that fails, whose errors nobody sees, are errors of that test, and of no later one.

    Seen to fail when a failed test's frames kept the tasks until the next test began.
    """
    output, code = run(
        """
        import gc

        def test_fails(hub, push_pull):
            tasks = [hub.spawn(push_pull[1].recv) for _ in range(2)]
            hub.sleep(0.01)
            tasks.append(tasks)
            pytest.fail("on purpose")

        def test_passes(hub):
            gc.collect()
        """,
        *(f"--hub={name}" for name in ("gevent", "eventlet", "selector", "asyncio")),
    )
    assert code == 1
    assert "4 failed, 4 passed, 4 errors" in output
    assert not re.findall("^(?:FAILED|ERROR) .*test_passes.*", output, re.MULTILINE)


#: What a test leaves behind, and the sign of it in what is reported.
LEAKS = {
    "watch": ("contract_hub.watch(os.pipe()[0], int).start()", r"'started watches': \[<"),
    "timer": ("contract_hub.call_later(100, int)", r"'timers': (\d+).*before: .*'timers': (?!\1)"),
    "parked": ("kept.append(spawn(contract_hub, contract_hub.switch)); hub.sleep()", r"'parked greenlets': \[<"),
    "descriptor": ("os.pipe()", r"left open: \['"),
}


def test_leaks(run) -> None:
    """A watch, a timer, a greenlet or a descriptor that a test leaves behind is an error of that test."""
    names = ["gevent", "eventlet", "selector", "asyncio", "threading"]
    tests = [f"def test_{what}(hub, contract_hub):\n    {leak}\n" for what, (leak, _) in LEAKS.items()]
    clean = "def test_clean(hub, contract_hub):\n    hub.sleep(0.01)\n"
    quickly = "from support import hub_thread, variants\nspawn, hub_thread.SETTLE, kept = variants.spawn, 0.1, []\n"
    output, code = run("\n".join([quickly, *tests, clean]), *(f"--hub={name}" for name in names))
    assert code == 1
    assert f"{5 * len(names)} passed, {4 * len(names)} errors" in output
    for name in names:
        for what, (_, sign) in LEAKS.items():
            (reported,) = re.findall(rf"^ERROR .*::test_{what}\[{name}\] - Failed: (.*)", output, re.MULTILINE)
            assert re.search(sign, reported)


def test_missing_runtime(run, tmp_path: Path) -> None:
    """A hub that is not installed is a failure that names the extra, or is skipped if that was asked for."""
    (tmp_path / "pretend.py").write_text(
        "import dataclasses\nfrom support import variants\n"
        "variants.VARIANTS = tuple(dataclasses.replace(v, needs=('no_such_module',)) for v in variants.VARIANTS[:1])\n"
    )
    source = "def test_body(hub): pass\n"
    output, code = run(source, "-p", "pretend")
    assert code == 1
    assert (
        "no_such_module is not installed: python -m pip install -e '.[gevent]', or pass --skip-missing-hubs" in output
    )
    output, code = run(source, "-p", "pretend", "--skip-missing-hubs")
    assert code == 0
    assert "1 skipped" in output


USUAL = ["gevent", "eventlet", "selector", "asyncio", "asyncio+uvloop", "threading"]
OTHERS = ["gevent-libev-cffi", "gevent-libuv", "eventlet-poll", "eventlet-selects", "eventlet-asyncio"]


def test_choice_of_loops(run) -> None:
    """A test runs on the usual loops, under ``--all-loops`` or with the mark ``all_loops`` on every one."""
    source = """
        def test_body(hub): pass

        @pytest.mark.all_loops
        def test_loops(hub): pass
        """
    for options, names in (((), USUAL), (("--all-loops",), USUAL + OTHERS)):
        output, code = run(source, "--collect-only", "-q", *options)
        assert code == 0, output
        for test, where in (("test_body", names), ("test_loops", USUAL + OTHERS)):
            assert sorted(re.findall(rf"{test}\[(.*)\]", output)) == sorted(where)


def test_choice_of_hubs(run) -> None:
    """``--hub`` chooses, also several; a name that is none ends the run with those that are."""
    source = "def test_body(hub): pass\n"
    output, code = run(source, "--hub=selector", "--hub=eventlet-poll", "-v")
    assert code == 0
    assert "test_body[selector] PASSED" in output
    assert "2 passed" in output
    output, code = run(source, "--hub=twisted")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "there is no such hub; there are gevent, " in output


STUCK = {
    "parked": "contract_hub.switch()",
    "busy": "while True: pass",
    "holding_the_gil": "import ctypes; ctypes.PyDLL(None).sleep(100)",
}


def test_stuck_run_ends(run) -> None:
    """A run that hangs, be it in C with the GIL held, prints where it is and ends with an error."""
    source = f"def test_body(contract_hub):\n    {STUCK['holding_the_gil']}\n"
    output, code = run(source, "--hub=selector", "-o", "faulthandler_timeout=1")
    assert code not in (0, None)
    assert "Timeout (0:00:01)!" in output
    assert "in test_body" in output


def test_stuck_tests_are_failures(run, tmp_path: Path) -> None:
    """Of a run in several processes only what hangs fails, in the loop or outside of it; all else is run to its end."""
    tests = [
        f"def test_{how}(contract_hub):\n    {code}\n\ndef test_{how}_is_over(hub): pass\n"
        for how, code in STUCK.items()
    ]
    report = tmp_path / "report.xml"
    options = (
        "-p",
        "xdist",
        "-n2",
        "--dist=worksteal",
        f"--junit-xml={report}",
        "--hub=selector",
        "-o",
        "faulthandler_timeout=3",
    )
    output, code = run("\n".join(tests), *options)
    assert code == 1
    assert f"{len(STUCK)} failed, {len(STUCK)} passed" in output
    for how in STUCK:
        assert re.search(rf"^FAILED .*::test_{how}\[selector\]", output, re.MULTILINE)
        # A greenlet that is parked is on no thread's stack.
        assert how == "parked" or f"in test_{how}\n" in output
    counts = ET.parse(report).getroot()[0].attrib  # which noxfile.py goes by
    assert int(counts["tests"]) == 2 * len(STUCK)
    assert int(counts["failures"]) + int(counts["errors"]) == len(STUCK)


def test_stuck_end_of_a_run(run) -> None:
    """A run whose interpreter cannot end, for a thread that never does, is ended, too, and is a failure."""
    source = """
        import threading

        def test_body():
            threading.Thread(target=time.sleep, args=(1000,), name="never ends").start()
        """
    output, code = run(source, "-o", "faulthandler_timeout=2")
    assert code == 1
    assert "1 passed" in output
    assert "Timeout (0:00:02)!" in output
