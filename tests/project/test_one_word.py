"""The programs of ``examples/one_word``: each says the same on every word, whatever crashes; nothing is left open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.children import is_installed
from support.forked import GREENZMQ, LEAKS_TOLD, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "one_word"
WORDS = ("gevent", "eventlet", "asyncio", "uvloop", "selector", "threading")

#: What each prints. Where the order is free the program sorts.
TRANSCRIPTS = {
    "broker": [*(f"{number}: {number**2}" for number in range(1, 7)), "hang: gave up", "7: 49"],
    "last_value_cache": [
        "early: rain=3 wind=2",
        "late: rain=3",
        "after the crash: wind=2",
        "again: rain=3 sun=8 wind=5",
        *(f"one of many, {number}: sun=8" for number in range(5)),
    ],
    "web": [
        *(f"/square/{number}: 200 {number**2}" for number in range(6)),
        "/cube/2: 404 no such thing",
        *(f"/square/{number}: 200 {number**2}" for number in range(6, 12)),
    ],
    "pipeline": [
        f"60 results, together {sum(number**2 for number in range(60))}",
        "never more than 8 on their way: True",
    ],
    "chat": [
        *("ann is here", "ann: hello", "bob is here", "bob: hi", "bob has gone without a word"),
        *("bob is here", "bob: I am back", "bob has left; there is 1", "cid is here", "cid: hello", "cid: ann?"),
        "present: ann, cid",
    ],
}


def test_there_are_no_others():
    """Each program has its transcript here, and 60 to 150 lines."""
    programs = {path.stem: path for path in EXAMPLES.glob("*.py") if path.stem != "children"}
    assert sorted(programs) == sorted(TRANSCRIPTS)
    for path in programs.values():
        assert 60 <= len(path.read_text(encoding="utf-8").splitlines()) <= 150, path.name


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_transcript(request, name, word):
    """With real child processes, of which one is killed and another comes; nothing is left open, nor told of."""
    if word in ("gevent", "eventlet", "uvloop") and not is_installed(word):
        if request.config.getoption("--skip-missing-hubs"):
            pytest.skip(f"{word} is not installed")
        pytest.fail(f"{word} is not installed; --skip-missing-hubs runs the tests without", pytrace=False)
    environment = {each: value for each, value in os.environ.items() if each != "GREENZMQ_HUB"}
    environment["PYTHONWARNINGS"] = "ignore,default::ResourceWarning"
    arguments = [str(EXAMPLES / f"{name}.py"), "--hub", word]
    done = run(arguments, environment=environment, timeout=55, imports=GREENZMQ, options=LEAKS_TOLD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == TRANSCRIPTS[name]
