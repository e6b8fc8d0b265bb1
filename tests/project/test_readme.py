"""The README says what is so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.forked import GREENZMQ, LEAKS_TOLD, run

from greenzmq.hubs import known_hubs

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
#: What the example's first line imports, and what its comment says that it may import instead.
IMPORTS = ["greenzmq.gevent", *(f"greenzmq{word}" for word in re.findall(r" (\.\w+),", EXAMPLE[1])), "greenzmq"]


def test_it_is_short():
    """A newcomer reads it in a few minutes; the rest is in docs/."""
    assert len(TEXT.split()) <= 700


def test_the_example_is_small():
    """A newcomer sees a program of at most twelve lines of code."""
    assert EXAMPLE
    code = [line for line in EXAMPLE[1].splitlines() if line.strip()]
    assert len(code) <= 12


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
    ran = run(["-c", code], environment=environment, timeout=60, imports=GREENZMQ, options=LEAKS_TOLD)
    assert (ran.stdout, ran.stderr) == ("HELLO\n", "")


def picture() -> str:
    """The plot of how late others come, of the numbers in the benchmarks' README."""
    tables = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"### stall.*?\n\n(.*?)\n\n", tables, re.DOTALL)
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    (row,) = (row for row in rows if row[0] == "stall/ready, stall ms")
    stalls = {name: number(cell) for name, cell in zip(head[1:], row[1:], strict=True) if cell != "-"}
    del stalls["threads"]  # they are interrupted by the interpreter
    longest = max(stalls.values())
    lines = []
    for name, stall in stalls.items():
        shown = re.sub(r"^greenzmq-(.*)", r"greenzmq on \1", name).replace("on asyncio+uvloop", "on uvloop")
        bar = "█" * round(40 * stall / longest) or "▏"
        lines.append(f"{shown:<20} {bar} {stall:,.0f}")
    return "\n".join(lines)


def number(cell: str) -> float:
    """The number that a cell of the table shows, perhaps with how far its rounds differ."""
    cell = cell.partition(" ")[0]
    factor = {"k": 1_000, "M": 1_000_000}.get(cell[-1], 1)
    return float(cell.rstrip("kM")) * factor


def test_the_picture_is_what_was_measured():
    """Its bars and numbers are those of the last run of the benchmarks; where they differ, this shows the new ones."""
    (plot,) = re.findall(r"```text\n(.*?)\n```", TEXT, re.DOTALL)
    assert plot == picture()


def test_the_commands_are_there():
    """Each session of nox that the README and CONTRIBUTING name is in noxfile.py, and each command of greenzmq too."""
    text = TEXT + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sessions = set(re.findall(r"nox -s (\w+)", text))
    assert {"demo", "tests", "docs", "lowest"} <= sessions
    assert sessions <= set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    assert set(re.findall(r"python -m greenzmq (\w+)", text)) == {"demo", "info"}


def test_every_link_leads_out():
    """The README is shown where the checkout is not, such as on a package index: so no link is relative."""
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_files_that_the_readme_names_are_there():
    """What it names of the checkout, by its path, exists."""
    paths = re.findall(r"`((?:docs|examples)/[\w/.-]*|[A-Z]+\.md)`", TEXT)
    assert len(paths) > 10
    assert [path for path in paths if path != "docs/_build" and not (ROOT / path).exists()] == []


def test_files_that_the_benchmarks_readme_names_are_there():
    """Every link and every plot of the benchmarks' README is there."""
    folder = ROOT / "benchmarks"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (folder / link).exists()] == []


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
