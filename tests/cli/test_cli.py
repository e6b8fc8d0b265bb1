"""``python -m greenzmq demo`` as a user meets it: in a process of its own, by what it prints and its exit status."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.cli import (
    INSTALLED,
    KNOWN,
    LIMIT,
    MAIN,
    WITHOUT,
    folder,
    greenzmq,
    name,
    python,
    tampered,
    tampered_program,
)

from greenzmq import hub as greenzmq_hub
from greenzmq.cli import demo, inputs, table, ticker
from greenzmq.cli.console import printable

__all__ = ["folder", "name"]


def test_demo_on_one_hub(name: str, folder: Path) -> None:
    """Each hub answers everything; the table says so, without a control character where no terminal is."""
    done = greenzmq("demo", "--hub", name, "--dir", folder, "--clients", "3", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^{re.escape(name)} \(.+\) +5( +[0-9.,]+){{5}}$", done.stdout, re.MULTILINE)
    assert re.search(r"^hub +requests +MB/s +req/s +p50 ms +p99 ms +stall ms$", done.stdout, re.MULTILINE)
    assert "3 clients -> ROUTER/DEALER -> 2 workers, over tcp" in done.stdout
    assert "All 5 answers are right" in done.stdout
    assert not re.search(r"[^\n\x20-\x7e]", done.stdout)


def test_demo_on_every_hub(folder: Path) -> None:
    """Without --hub it runs on each that is installed; more clients than requests is nothing special."""
    done = greenzmq("demo", "--dir", folder, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(document["hubs"]) == INSTALLED
    assert (document["files"], document["requests"], document["bytes"]) == (4, 5, inputs.PART + 2 + 250_011)
    for outcome in document["hubs"].values():
        assert (outcome["answered"], outcome["wrong"], outcome["missing"]) == (5, [], [])
        assert 0 < outcome["p50"] <= outcome["p99"] <= outcome["seconds"]


def test_demo_sends_the_standard_library() -> None:
    """The default input is what it says it is, third-party packages left out."""
    done = greenzmq("demo", "--hub", "selector", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["root"]) == (0, inputs.standard_library())
    assert document["files"] == document["requests"] == document["hubs"]["selector"]["answered"] > 400
    found = inputs.collect_standard_library()
    assert all(r.path.endswith(".py") and "site-packages" not in r.path for r in found.requests)
    assert "asyncio/events.py" in {Path(r.path).as_posix() for r in found.requests}


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "only folders", "nothing readable"])
def test_nothing_to_send(kind: str, tmp_path: Path) -> None:
    """A path without input is wrong usage, said in one line that names it."""
    path = tmp_path / "given"
    if kind == "file":
        path.write_text("text")
    elif kind != "missing":
        path.mkdir()
    if kind == "only folders":
        (path / "sub").mkdir()
    if kind == "nothing readable":
        (path / "broken").symlink_to("nowhere")
    done = greenzmq("demo", "--hub", "selector", "--dir", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


def test_unreadable_files_are_named_and_counted(folder: Path) -> None:
    """A broken link, a link to itself and a FIFO are left out aloud; a folder that contains itself does no harm.

    The numbers of clients and workers are those that the usage names.
    """
    (folder / "broken").symlink_to("nowhere")
    (folder / "myself").symlink_to("myself")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "fifo")
    done = greenzmq("demo", "--hub", "selector", "--dir", folder)
    assert done.returncode == 0
    assert "3 files or directories cannot be read, and are left out:\n" in done.stderr
    for line in "broken: No such file", "myself: Too many levels of symbolic links", "fifo: not a regular file":
        assert line in done.stderr
    assert "4 files" in done.stdout
    assert "200 clients -> ROUTER/DEALER -> 8 workers, over tcp" in done.stdout


def test_an_unreadable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as one that is left out, and what is beside it is sent; if it is the one that was given, it is named.

    Root reads everything, so it is simulated.
    """
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("site-packages"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = inputs.collect(str(folder))
    assert found.skipped == [(os.path.join("a", "site-packages"), "Permission denied")]
    assert found.files == 3
    with pytest.raises(inputs.InputError, match=r"cannot read .*site-packages: Permission denied"):
        inputs.collect(str(folder / "a" / "site-packages"))


def test_strange_names(tmp_path: Path) -> None:
    """A name that is no UTF-8, or would clear the screen, is sent as it is and printed harmlessly."""
    (tmp_path / "a\x1b[2J\nb").write_text("x\n")
    (tmp_path / os.fsdecode(b"\xff")).write_text("y\n")
    (tmp_path / "broken\x1b[2J").symlink_to("nowhere")
    done = greenzmq("demo", "--hub", "selector", "--dir", tmp_path)
    assert done.returncode == 0
    assert "broken\\x1b[2J: No such file" in done.stderr
    wrong = tampered("socket.send_multipart([name, b'', b'0'])", "--hub", "selector", "--dir", tmp_path)
    assert wrong.returncode == 1
    assert "a\\x1b[2J\\nb: the answer was" in wrong.stderr
    assert "\\udcff: the answer was" in wrong.stderr
    assert "\x1b" not in done.stderr + wrong.stderr


def test_a_wrong_answer(name: str, folder: Path) -> None:
    """One that is wrong is enough for exit status 1, and it is named."""
    right = [hashlib.sha256(b"import this").hexdigest(), "0"]
    worker = f"socket.send_multipart([name, {right[0]!r}.encode(), b'7'])"
    (folder / "a" / "site-packages" / "frames").unlink()
    (folder / "large").unlink()
    (folder / "empty.txt").unlink()
    done = tampered(worker, "--hub", name, "--dir", folder)
    assert done.returncode == 1
    assert f"greenzmq: {name}: 1 of 1 answers wrong:" in done.stderr
    assert "a/one.py: the answer was ['a/one.py', " in done.stderr
    assert "'7'], and should be [" in done.stderr
    assert "are right" not in done.stdout


def test_an_answer_of_another_shape(folder: Path) -> None:
    """Rubbish is a wrong answer too, not a traceback."""
    done = tampered("socket.send(b'\\xff')", "--hub", "selector", "--dir", folder)
    assert done.returncode == 1
    assert "selector: 5 of 5 answers wrong:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_answer(name: str, folder: Path) -> None:
    """A worker that never answers is reported when the time is over, and no client is waited for."""
    worker = "greenzmq.hub().sleep(1000)"
    done = tampered(worker, "--hub", name, "--dir", folder, "--clients", "2", "--timeout", "0.5")
    assert done.returncode == 1
    assert f"greenzmq: {name}: 5 of 5 answers missing:" in done.stderr
    assert done.stderr.count("no answer") == 2
    assert done.stderr.count("never sent") == 3


def test_a_worker_that_blocks_its_thread(folder: Path) -> None:
    """On native threads the others go on, and a thread that does not end is not waited for. Seen to go on for ever."""
    args: list[str | Path] = ["--hub", "threading", "--dir", folder, "--clients", "2", "--workers", "1"]
    done = tampered("time.sleep(1000)", *args, "--timeout", "0.5")
    assert done.returncode == 1
    assert "greenzmq: threading: 5 of 5 answers missing:" in done.stderr
    assert done.stderr.count("no answer") == 2


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process was ended by SIGKILL before it had answered"),
        ("os._exit(3)", "its process ended with exit status 3 before it had answered"),
        ("time.sleep(1000)", "its process hangs: it has sent nothing for 1.5 seconds"),
        ("raise RuntimeError('deliberate\\nand long')", "RuntimeError: deliberate and long"),
    ],
)
def test_a_process_that_fails(worker: str, message: str, folder: Path) -> None:
    """A crash, a hang and an exception in one hub's process are each said in one clear line; the next hub runs.

    Seen to fail when an exception ended the process with its traceback.
    """
    args: list[str | Path] = ["--hub", "selector", "--hub", "asyncio", "--dir", folder, "--timeout", "0.5"]
    done = tampered(worker, *args, grace=1 if "hangs" in message else demo.GRACE)
    assert done.returncode == 1
    assert done.stderr == f"greenzmq: selector: {message}\ngreenzmq: asyncio: {message}\n"
    assert re.search(r"^asyncio +failed", done.stdout, re.MULTILINE)


@pytest.mark.skipif(zmq.pyzmq_version_info() < (27, 1), reason="older ones cannot bind to tcp in development mode")
def test_the_traceback_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python's development mode the one line has its traceback above it."""
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    done = tampered("raise RuntimeError('deliberate')", "--hub", "selector", "--dir", folder)
    assert done.returncode == 1
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert done.stderr.endswith("RuntimeError: deliberate\ngreenzmq: selector: RuntimeError: deliberate\n")


def test_a_wrong_environment(folder: Path) -> None:
    """A hub that cannot run here for what the environment says: one line with the reason. Seen to be a traceback."""
    done = greenzmq("demo", "--hub", "selector", "--dir", folder, GREENZMQ_TURN="abc")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("greenzmq: selector: ValueError: $GREENZMQ_TURN is 'abc'; it takes milliseconds")


def test_more_tasks_than_files(folder: Path) -> None:
    """The line says what to take less of."""
    done = greenzmq("demo", "--hub", "selector", "--dir", folder, "--workers", "1000000000")
    assert done.returncode == 1
    assert re.fullmatch(r"greenzmq: selector: so many tasks need .*; use fewer --clients or --workers\n", done.stderr)


def test_files_that_change_or_go_while_the_demo_runs(folder: Path) -> None:
    """Their answers are missing, with the reason; the service is not blamed."""
    program = f"""
import sys
from importlib.util import find_spec
from pathlib import Path
from greenzmq.cli import demo
from greenzmq import __main__
collect = demo.collect
def collect_and_change(root, **options):
    found = collect(root, **options)
    Path(root, "large").unlink()
    Path(root, "a", "one.py").write_bytes(b"import that")
    return found
demo.collect = collect_and_change
sys.exit(__main__.main(["demo", "--hub", "selector", "--dir", {str(folder)!r}]))
"""
    done = python("-c", program)
    assert done.returncode == 1
    assert "3 of 5 answers missing:" in done.stderr
    assert "a/one.py: the file was changed while the demo ran" in done.stderr
    assert "large from byte 1,048,576: cannot be read any more: No such file" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "takes"),
    [
        ("--clients", "0", "a whole number of at least 1"),
        ("--workers", "many", "a whole number of at least 1"),
        ("--timeout", "-1", "a number of seconds above 0 and up to 86400"),
        ("--timeout", "nan", "a number of seconds above 0 and up to 86400"),
        ("--timeout", "1e300", "a number of seconds above 0 and up to 86400"),
        ("--timeout", "soon", "a number of seconds above 0 and up to 86400"),
    ],
)
def test_wrong_options(option: str, value: str, takes: str) -> None:
    """Exit status 2, the option, and what it takes.

    Seen to fail when "many" was an "invalid _positive value", and a time beyond the clock ended in a traceback.
    """
    done = greenzmq("demo", option, value)
    assert done.returncode == 2
    assert done.stderr.endswith(f"argument {option}: '{value}' is not {takes}\n")


def test_unknown_hub(folder: Path) -> None:
    """All names are looked at before anything runs."""
    done = greenzmq("demo", "--hub", "selector", "--hub", "twisted", "--dir", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no hub is named 'twisted'" in done.stderr
    assert all(hub in done.stderr for hub in INSTALLED)


def test_the_help_names_the_hubs() -> None:
    """Each that --hub takes. Seen to fail when it named none, and the line about an unknown one left out uvloop's."""
    words = greenzmq("demo", "--help").stdout.replace(",", " ").split()
    assert {*KNOWN} <= {*words}


def test_hub_that_is_not_installed(folder: Path) -> None:
    """Named, it is an error with the line that installs it; not named, it is skipped with that line."""
    program = WITHOUT.format(without=["gevent"]) + MAIN
    named = python("-c", program, "demo", "--hub", "gevent", "--dir", folder)
    assert (named.returncode, named.stdout) == (2, "")
    assert "python -m pip install gevent" in named.stderr
    others = python("-c", WITHOUT.format(without=["gevent", "uvloop"]) + MAIN, "demo", "--dir", folder)
    assert (others.returncode, others.stderr) == (0, "")
    assert "Skipped gevent, which is not installed: python -m pip install gevent" in others.stdout
    assert not re.search(r"^gevent", others.stdout, re.MULTILINE)


def start_endless(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A demo that will not end by itself, and the id of its hub's process."""
    program = tampered_program(
        "print(os.getpid(), file=sys.stderr, flush=True); time.sleep(1000)",
        "--hub",
        "selector",
        "--dir",
        folder,
        "--timeout",
        "1000",
        "--workers",
        "1",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    return process, int(process.stderr.readline())


def test_ctrl_c(folder: Path) -> None:
    """Ctrl-C ends the demo with status 130 and one line, and no process is left."""
    process, child = start_endless(folder)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (130, "greenzmq: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_killed(folder: Path) -> None:
    """If the demo itself is killed, its hub's process sees that nobody wants its answer and goes."""
    process, _ = start_endless(folder)
    process.kill()
    process.communicate(timeout=LIMIT)  # returns when standard error is closed: both processes have it open


def test_output_that_nobody_reads(folder: Path) -> None:
    """``| head -1``: no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "greenzmq", "demo", "--hub", "selector", "--dir", str(folder)]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_percentile() -> None:
    """The nearest rank: always one of the values."""
    values = list(range(1, 101))
    assert [ticker.percentile(values, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert (ticker.percentile([7], 0.5), ticker.percentile([], 0.5)) == (7, 0)


def test_ticker() -> None:
    """The longest stall is the longest time in which nobody else had a turn, less the millisecond between two ticks."""
    hub = greenzmq_hub("selector")
    watched = ticker.Ticker(hub)

    def work() -> None:
        for seconds in (0, 0.02, 0):
            time.sleep(seconds)
            hub.sleep(0.002)

    def beside() -> None:
        task = hub.spawn(watched.run)
        hub.sleep()
        work()
        task.kill()

    hub.run(beside)
    assert watched.stall >= 0.015


def test_plain_table() -> None:
    """Words left, numbers right, no blanks at the ends of lines."""
    text = table.plain(("hub", "n"), [("gevent", "1"), ("x", "1,000")])
    assert text.splitlines() == ["hub         n", "------  -----", "gevent      1", "x       1,000"]


def test_printable() -> None:
    """Letters of every script stay; what steers a terminal or cannot be encoded is escaped."""
    assert printable("Müller 象\u202e\udcff\t") == "Müller 象\\u202e\\udcff\\t"


def test_every_failure_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A few are named, the rest is a number."""
    named: list[Any] = [(f"file{n}", "no answer") for n in range(demo.SHOWN + 3)]
    demo._name_some(named)
    assert capsys.readouterr().err.endswith(f"file{demo.SHOWN - 1}: no answer\ngreenzmq:   and 3 more\n")
