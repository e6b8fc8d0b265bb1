"""The README says what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greenzmq.hubs import known_hubs
from greenzmq.hubs.base import Hub

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
#: What the example's first line imports, and what its comment says that it may import instead.
IMPORTS = ["greenzmq.gevent", *(f"greenzmq{word}" for word in re.findall(r" (\.\w+),", EXAMPLE[1])), "greenzmq"]


def test_the_example_stands_early():
    """A newcomer sees a program of at most twelve lines of code by line 40."""
    assert EXAMPLE
    code = [line for line in EXAMPLE[1].splitlines() if line.strip()]
    assert len(code) <= 12
    assert TEXT[: EXAMPLE.end()].count("\n") <= 40


def test_the_example_names_every_import():
    """Each namespace, and the package itself, is a word that the example may be run with."""
    assert {module.rpartition(".")[2] for module in IMPORTS} == {*(hub.name for hub in known_hubs()), "greenzmq"}


@pytest.mark.parametrize("module", IMPORTS)
def test_the_example_runs(module, request):
    """The example does what its last line says, with each of the imports it names, and leaves nothing open.

    Seen to fail on asyncio before there was `main`, which starts a loop where the hub needs one.
    """
    missing = {f"greenzmq.{hub.name}" for hub in known_hubs() if not hub.installed}
    if module in missing and request.config.getoption("--skip-missing-hubs"):
        pytest.skip(f"what {module} runs on is not installed")
    code = EXAMPLE[1].replace("import greenzmq.gevent", f"import {module}")
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    command = [sys.executable, "-W", "ignore", "-W", "default::ResourceWarning", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (ran.stdout, ran.stderr) == ("HELLO\n", "")


def test_the_awaitable_example_runs():
    """The example of greenzmq.aio prints what its comment says, and nothing is left open."""
    (example,) = re.findall(r"```python\n(import asyncio\n.*?)```", TEXT, re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", example]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("b'hello'\n", "")


def test_every_known_hub_is_in_the_table():
    """The table of hubs names the built-in hubs, and no others."""
    table = TEXT.partition("## Hubs")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(hub.name for hub in known_hubs())


def test_every_difference_is_held_by_a_test():
    """Each line of the table of differences names files of tests that are there."""
    table = TEXT.partition("## What is different")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(lines) >= 10
    for line in lines:
        named = re.findall(r"`(test_\w+\.py)`", line.split("|")[-2])
        assert named, line
        assert all([*(ROOT / "tests").rglob(name)] for name in named), line


def test_the_commands_are_there():
    """Each session of nox that the README and CONTRIBUTING name is in noxfile.py, and each command of greenzmq too."""
    text = TEXT + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sessions = set(re.findall(r"nox -s (\w+)", text))
    assert {"demo", "tests", "lowest"} <= sessions
    assert sessions <= set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    assert set(re.findall(r"python -m greenzmq (\w+)", text)) == {"demo", "info"}


def test_the_contract_is_as_small_as_it_says():
    """The README counts the methods that a backend has to have."""
    (number,) = re.findall(r"hubs/base\.py\), (\w+) methods", TEXT)
    assert number == {8: "eight", 9: "nine"}[len(Hub.__abstractmethods__)]


def test_files_that_the_benchmarks_readme_names_are_there():
    """Every link and every plot of the benchmarks' README is there."""
    folder = ROOT / "benchmarks"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (folder / link).exists()] == []


def test_files_that_the_readme_names_are_there():
    """Every link into the repository leads somewhere."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_files_that_any_text_names_are_there():
    """A file that CONTRIBUTING, the README or a docstring of package or tests names by its path exists.

    Seen to fail on the two tests that the socket's docstring named, after they had moved.
    """
    texts = [*ROOT.glob("*.md"), *(ROOT / "greenzmq").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = {
        (text.name, path)
        for text in texts
        if text.name != "CHANGELOG.md"
        for path in re.findall(r"\b(?<!/)(?:greenzmq|tests|benchmarks)/[\w/]+\.(?:py|md)\b", text.read_text("utf-8"))
    }
    assert len(named) > 10
    assert sorted((text, path) for text, path in named if not (ROOT / path).exists()) == []
