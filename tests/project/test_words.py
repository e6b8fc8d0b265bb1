"""The words in use: standard terms, and none of those that were retired for them.

``greenzmq/__init__.py`` has the list of words with what each means.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

import greenzmq

TESTS = Path(__file__).parents[1]
PACKAGE = Path(greenzmq.__file__).parent

#: What each is called now. Those that are plain English besides (look, rest, full, dry) are not searched for.
RETIRED = {
    "Attendance": "SocketWaiters",
    "Readiness": "SocketState",
    "Refusal": "SpuriousReadiness",
    "TakesTurns": "Turn",
    "Watched": "FdWatch",
    "attendance": "sockets/waiters.py",
    "asked_back": "recalled",
    "attended": "has_waiters",
    "credit": "fast_calls_left",
    "disown": "detach_after_fork",
    "heed": "on_events",
    "keep_turns": "use_type",
    "leave_to_another": "unregister_after_fork",
    "lets_rest": "supports_lazy_stop",
    "lockstep": "alternates",
    "look_at": "describe",
    "make_good": "recheck_for_others",
    "may_rest": "can_stop_lazily",
    "mind_owner": "watch_exit",
    "minded": "watch_exit",
    "obey_environment": "install_from_environment",
    "resting": "lazily_stopped",
    "steering": "the guarantee of Watch.start",
    "stir": "mark_dirty",
    "tell_after_fork": "register_after_fork",
    "unshared": "exclusive",
    "when_back": "call_on_return",
    # of tests
    "Victim": "Target",
    "acquaint": "handshake",
    "in_the_polling_phase": "from_fd_callback",
    "let_go_on": "must_finish",
    "thief": "rival",
    "torso": "partial_message",
    "weapons": "interruptions",
}
#: Where a word has another meaning than the retired one.
ELSEWHERE = {"Seen to fail", "Seen to hang"}


@functools.cache
def texts() -> dict[Path, str]:
    paths = (*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"))
    return {path: path.read_text(encoding="utf-8") for path in paths if path != Path(__file__)}


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_stands_nowhere(word):
    """Neither as a name nor in prose, in the package and in the tests."""
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path, text in texts().items()
        if word in text
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(rf"\b{word}\b", line)
    ]
    assert found == [], f"it is {RETIRED[word]} now"


def test_the_list_of_words_is_in_the_map():
    """A newcomer finds what the words mean where the map of the package is."""
    assert greenzmq.__doc__ is not None
    for word in ("hub", "watch", "park, wake", "waiter", "fast path", "slow path", "turn"):
        assert f"\n{word}\n" in greenzmq.__doc__, word
