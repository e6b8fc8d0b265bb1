"""Several hubs in one process, each in a native thread of its own; sockets that go from thread to thread."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.children import Child, Children, need
from support.forked import GREENZMQ
from support.torture import scale

HUBS = ("gevent", "eventlet", "selector", "asyncio")
LEFT = ("nothing", "callback", "timer", "unstarted task", "waiting task", "started watch")
#: Round trips over a hub's own REQ/REP, and over the DEALER/ROUTER that leads to the next thread.
TRIPS, TRIPS_ACROSS = scale(50_000, 2_000), scale(12_500, 500)
THREADS = 200
CLASSES = {
    "gevent": "GeventHub",
    "eventlet": "EventletHub",
    "selector": "SelectorHub",
    "asyncio": "AsyncioHub",
}


def program(call: str, *hubs: str, limit: int = 25) -> Child:
    return Child(
        f"from programs import threads; threads.{call}",
        needs=tuple({*hubs} - {"selector", "asyncio"}),
        limit=limit,
        imported=GREENZMQ,
    )


AT_ONCE = {
    f"at once: {', '.join(hubs)}": program(f"at_once({TRIPS}, {TRIPS_ACROSS}, *{hubs})", *hubs, limit=scale(600, 50))
    for hubs in (HUBS, *((hub,) * 4 for hub in HUBS))
}
INSTALLED = [hub for hub in HUBS if importlib.util.find_spec(hub) or hub == "selector"]
IN_PAIRS = {"in pairs": program(f"pairs(*{INSTALLED})")}
HANDED_ON = {
    f"handed on by {', '.join(hubs)}": program(f"handed_on(*{hubs})", *hubs) for hubs in (HUBS, ("selector",) * 4)
}
SHORT_LIVES = {
    f"{hub} leaves {left}": program(f"short_lives({hub!r}, {left!r}, {THREADS})", hub)
    for hub, left in [("gevent", "nothing"), ("eventlet", "nothing"), *(("selector", left) for left in LEFT)]
}
CHILDREN = AT_ONCE | IN_PAIRS | HANDED_ON | SHORT_LIVES


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs, two at a time: they have several busy threads."""
    running = Children.of_tests(request, CHILDREN, at_once=2)
    yield running
    running.close()


@pytest.fixture
def result(child: str, children: Children, request: pytest.FixtureRequest) -> Any:
    """What the program of this test has printed at its good end."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    return json.loads(done.out)


@pytest.mark.torture
@pytest.mark.parametrize("child", AT_ONCE)
def test_four_hubs_in_one_process(result: Any) -> None:
    """Each hub in its thread has all its answers, from itself by its own namespace and from the next thread's hub."""
    assert result == [[TRIPS, TRIPS_ACROSS]] * 4


@pytest.mark.parametrize("child", IN_PAIRS)
def test_in_pairs(result: dict[str, list[Any]]) -> None:
    """The thread that made and connected a socket has no claim on it, and is gone when another hub waits on it. Of two
    that wait at once the second gets an error that names both threads and the cure; the first one's message arrives.
    """
    assert len(result) == len(INSTALLED) ** 2
    for pair, (used, message) in result.items():
        first, second = pair.split(", ")
        assert used is True
        assert "two hubs wait on <greenzmq.Socket(zmq.PULL)" in message
        assert f"<{CLASSES[first]} (" in message
        assert f" in {first}-thread>" in message
        assert f" and <{CLASSES[second]} (" in message
        assert " in intruder>; give each thread and hub its own socket" in message


@pytest.mark.parametrize("child", HANDED_ON)
def test_handed_from_thread_to_thread(result: Any) -> None:
    """A socket on which nobody waits may go to another thread any number of times, and each waits on its own hub."""
    assert result == [100] * 4


@pytest.mark.parametrize("child", SHORT_LIVES)
def test_short_lived_threads(child: str, result: dict[str, int]) -> None:
    """A thread's hub goes with the thread: no descriptor, greenlet or object stays, whatever was under way.

    Seen to fail without `_ThreadEnd.__del__` of the selector hub, and with a waiting task without its `_end_parked`.
    """
    if child == "gevent leaves nothing":
        # gevent keeps two greenlets of each thread.
        result = {"descriptors": result["descriptors"]}
    for kind, grown in result.items():  # the system may still be clearing up after the last thread
        assert grown < THREADS / 2, kind
