"""What is said of other people's programs: the page in the documentation is what the last run has seen."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
ROOT = CLIENTS.parents[1]
PROGRAMS = sorted(path.stem.removeprefix("with_") for path in CLIENTS.glob("with_*.py"))


def load(name: str) -> ModuleType:
    """A module of ``tests/clients``, which are run as a folder, and import each other by their bare names."""
    spec = importlib.util.spec_from_file_location(f"clients_{name}", CLIENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(CLIENTS))
    # The benchmarks, too, have a harness, which tests of theirs may have imported before.
    before = {other: sys.modules.pop(other) for other in ("harness", "service") if other in sys.modules}
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(CLIENTS))
        for other in ("harness", "service"):
            sys.modules.pop(other, None)
        sys.modules.update(before)
    return module


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_has_every_case(program: str) -> None:
    """Each program and case has a row, and none has failed; nothing is left of a case that is gone."""
    page = ROOT / "docs" / "clients.md"
    if not page.exists():
        pytest.skip("only a checkout has the documentation")
    rows = re.findall(rf"^\| {program} \S+ \| (.+) \| (.+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [case for case, _ in rows] == [*load(f"with_{program}").CASES]
    assert "fails" not in [checked for _, checked in rows]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_pinned(program: str) -> None:
    """What it needs is named, and its release stands among the constraints."""
    needs = re.search(rf"^{program} = (.*)$", (CLIENTS / "programs.toml").read_text(), re.MULTILINE)
    assert needs is not None
    pins = {line.partition("==")[0].lower() for line in (CLIENTS / "constraints.txt").read_text().splitlines()}
    for name in re.findall(r'"([\w-]+)', needs[1]):
        assert name.lower() in pins
    distribution = getattr(load(f"with_{program}"), "DISTRIBUTION", program)
    assert f'"{distribution}' in needs[1]
