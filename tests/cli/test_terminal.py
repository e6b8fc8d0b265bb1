"""The commands on a terminal: the bar moves, tables fit, and who wants no escape codes gets none."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.cli import INSTALLED, MAIN, UNASKED, WITHOUT, folder, name, python, run_in_terminal, tampered_program

__all__ = ["folder", "name"]

NEEDS_RICH = pytest.mark.skipif(find_spec("rich") is None, reason="needs the extra cli")

NARROW = 40


@NEEDS_RICH
def test_on_a_terminal(folder: Path) -> None:
    """With rich there is a bar, which does not stay, and a table with lines."""
    status, shown = run_in_terminal("-m", "greenzmq", "demo", "--hub", "selector", "--dir", folder)
    assert status == 0
    assert "\x1b[2K" in shown  # the bar's line is taken away
    assert "\u2500\u2500\u2500" in shown
    assert "selector (" in shown


def test_on_a_terminal_without_rich(folder: Path) -> None:
    """The same words in plain characters."""
    program = WITHOUT.format(without=["rich"]) + MAIN
    status, shown = run_in_terminal("-c", program, "demo", "--hub", "selector", "--dir", folder)
    assert status == 0
    assert "\x1b" not in shown
    assert "selector (" in shown


@NEEDS_RICH
def test_the_bar_moves(name: str, folder: Path) -> None:
    """It grows with the answers, up to all of them, and its numbers are whole on a narrow terminal, too.

    Seen to fail when the outcome set it back, and when the numbers were told once all clients had been started: it
    stood at 0 to the end. Seen to end in "5/…", with more files than these.
    """
    slow = "greenzmq.hub().sleep(0.2); socket.send_multipart([name, b'', b'0'])"
    program = tampered_program(slow, "--hub", name, "--dir", folder, "--workers", "1")
    _, shown = run_in_terminal("-c", program, columns=NARROW)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    counts = [int(number) for number in re.findall(rf"{re.escape(name)} .*?(\d+)/5 \d:\d\d:\d\d", text)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 5)
    assert len({*counts}) >= 4


@pytest.mark.parametrize("says", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids="-".join)
@pytest.mark.parametrize("command", ["demo", "info"])
def test_no_escape_codes(command: str, says: dict[str, str], folder: Path) -> None:
    """Neither colours nor what moves the cursor. Seen to fail with NO_COLOR: a bar, and headings in bold."""
    arguments = ["demo", "--hub", "selector", "--dir", folder] if command == "demo" else ["info"]
    status, shown = run_in_terminal("-c", UNASKED + MAIN, *arguments, **says)
    assert status == 0
    assert "\x1b" not in shown
    assert "selector" in shown


@NEEDS_RICH
def test_an_empty_no_color() -> None:
    """It says nothing, as no-color.org has it."""
    _, shown = run_in_terminal("-c", UNASKED + MAIN, "info", NO_COLOR="")
    assert "\x1b[" in shown


def test_info_on_a_narrow_terminal() -> None:
    """Each line of the tables fits, and no word of them is cut. Seen to fail: "EpollSelecto" and an "r" below."""
    program = UNASKED + "info._variant = lambda name: 'EpollSelector'; " + MAIN
    status, shown = run_in_terminal("-c", program, "info", columns=NARROW)
    assert status == 0
    tables, _, _ = shown.partition("$GREENZMQ_HUB")
    lines = tables.splitlines()
    assert max(map(len, lines)) <= NARROW
    for hub in INSTALLED:
        at = lines.index(hub)
        assert lines[at + 1].startswith(" runtime  ")
        assert lines[at + 2].startswith(" runs on  ")
    assert lines.count(" runs on  EpollSelector") == len(INSTALLED)


def test_the_line_that_installs_a_runtime_is_whole_on_a_narrow_terminal() -> None:
    """It can be copied."""
    program = WITHOUT.format(without=["eventlet"]) + UNASKED + MAIN
    _, shown = run_in_terminal("-c", program, "info", columns=NARROW)
    assert " runs on  python -m pip install eventlet" in shown.splitlines()


def test_the_demo_on_a_narrow_terminal(folder: Path) -> None:
    """Each figure has a line with its name. Seen to fail without rich: lines of 76 columns."""
    program = WITHOUT.format(without=["rich"]) + MAIN
    status, shown = run_in_terminal("-c", program, "demo", "--hub", "selector", "--dir", folder, columns=NARROW)
    assert status == 0
    table = shown.partition("over tcp")[2].partition("All 5")[0].split("\r\n")
    assert max(map(len, table)) <= NARROW
    for heading in ("requests", "MB/s", "req/s", "p50 ms", "p99 ms", "stall ms"):
        (line,) = (line for line in table if line.startswith(f" {heading} "))
        assert re.search(r" [0-9.,]+$", line)


def test_columns_without_a_terminal() -> None:
    """``COLUMNS`` counts in a file, too, for those who set it; without it a line is as long as it has to be."""
    told = {}
    for columns in ({}, {"COLUMNS": str(NARROW)}):
        done = python("-c", UNASKED + MAIN, "info", **columns)
        told[len(columns)] = max(map(len, done.stdout.partition("$GREENZMQ_HUB")[0].splitlines()))
    assert told[1] <= NARROW < told[0]
