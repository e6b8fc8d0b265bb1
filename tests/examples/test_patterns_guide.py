"""``examples/patterns``: each pattern does what it says, on every hub, by one word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.forked import GREENZMQ, run

import greenzmq

FOLDER = Path(__file__).parents[2] / "examples" / "patterns"
WORDS = ("gevent", "eventlet", "selector", "asyncio", "uvloop", "threading")
#: What each prints.
PATTERNS = {
    "request_reply_broker": "40 of 40 right, every worker has served: True",
    "load_balancing": "30 of 30 right, the fast worker has done more: True",
    "lazy_pirate": "tries: [1, 3, 1], then the server does not answer, 5 times",
    "paranoid_pirate": "both served: True, after the kill only B: True",
    "majordomo": "200 ABC 10, 200 cba 10, 404 sing 10",
    "last_value_cache": "late subscribers got ['93', '93', '97'], then what is new, and [] besides",
    "clone": "21 keys after 60 changes, the same for all clients: True",
    "freelance": "20 answers, the quick one was there: True; then REQUEST by slow",
    "espresso": "each got its own: True; all of it was heard: True; nobody wanted C: True",
    "suicidal_snail": "the quick one keeps up, the snail gives up",
}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern(pattern: str, word: str, request: pytest.FixtureRequest) -> None:
    """Its program prints what it has found, and nothing else."""
    if request.config.getoption("--skip-missing-hubs") and word in {"gevent", "eventlet", "uvloop"}:
        pytest.importorskip(word)
    package = str(Path(greenzmq.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = run([str(FOLDER / f"{pattern}.py"), word], environment=environment, timeout=50, imports=GREENZMQ)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{PATTERNS[pattern]}\n")


def test_every_pattern_is_tested_and_listed() -> None:
    """Here, and in the folder's README."""
    files = {path.stem for path in FOLDER.glob("*.py")}
    assert files == {*PATTERNS}
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in readme for name in files)
