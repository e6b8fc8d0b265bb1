"""For the child processes of test_detection.py: ask greenzmq which hub a wait would use, and what the question changed.

Until `ask` is called, this imports nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from typing import Any

RUNTIMES = {"gevent", "eventlet", "asyncio", "uvloop"}
#: More calls than the fast path makes before a call reads the clock.
MANY = 150

answers: list[dict[str, Any]] = []


def runtimes_loaded() -> set[str]:
    """Return the imported modules of all runtimes."""
    return {name for name in sys.modules if name.partition(".")[0] in RUNTIMES}


def hubs_alive() -> list[str]:
    """Return the names of the hubs that exist in this thread. Each runtime is asked in its own way."""
    found = []
    if (gevent_hub := attribute_of("gevent._hub_local", "get_hub_if_exists")) is not None and gevent_hub() is not None:
        found.append("gevent")
    if getattr(attribute_of("eventlet.hubs", "_threadlocal"), "hub", None) is not None:
        found.append("eventlet")
    if (ours := attribute_of("greenzmq.hubs.selector", "SelectorHub")) is not None and ours.current() is not None:
        found.append("selector")
    return found


def running_loop() -> bool:
    """Whether a loop runs in this greenlet, as asyncio sees it."""
    loop = attribute_of("asyncio.events", "_get_running_loop")
    return loop is not None and loop() is not None


def attribute_of(module: str, name: str) -> Any:
    """Return the attribute `name` of a module, or None if the module is not imported, or not yet that far."""
    return getattr(sys.modules.get(module), name, None)


def ask(namespace: str = "greenzmq", **context: Any) -> None:
    """Ask in all the ways that must not create a hub. Then wait, and note on which hub that was."""
    loaded, alive = runtimes_loaded(), hubs_alive()
    answer: dict[str, Any] = {"alive": alive, "loop": running_loop()}
    answers.append(answer)
    try:
        zmq = __import__(namespace, fromlist=["Context"])
        hubs = __import__("greenzmq.hubs", fromlist=["decide"])
        ctx = zmq.Context(**context)
    except Exception as error:
        answer["refused"] = describe(error)
        return
    server = ctx.socket(zmq.PULL)
    from support.inside import choice_of

    try:
        decision = hubs.decide(choice_of(server))
        answer["decided"] = [getattr(decision.name, "name", decision.name), decision.rule]
    except Exception as error:
        answer["decided"] = describe(error)
    client = connect(zmq, ctx, server)
    if not context and namespace == "greenzmq":
        answer["imported"] = sorted(runtimes_loaded() - loaded)
    use_without_waiting(zmq, client, server)
    answer["created"] = sorted({*hubs_alive()} - {*alive})
    wait(zmq, server, answer)
    answer["made"] = sorted({*hubs_alive()} - {*alive})
    client.close()
    server.close()


def connect(zmq: Any, ctx: Any, server: Any) -> Any:
    server.bind("inproc://asking")
    server.bind("tcp://127.0.0.1:*")
    client = ctx.socket(zmq.PUSH)
    client.connect("inproc://asking")
    assert client.get(zmq.EVENTS) == client.EVENTS == zmq.POLLOUT
    return client


def use_without_waiting(zmq: Any, client: Any, server: Any) -> None:
    """Send and receive more messages than one turn allows. Then receive in vain, without a wait."""
    for number in range(MANY):
        client.send(b"%d" % number)
        assert server.recv() == b"%d" % number
    try:
        server.recv(zmq.NOBLOCK)
    except zmq.Again:
        return
    raise AssertionError("a message that nobody sent")


def wait(zmq: Any, server: Any, answer: dict[str, Any]) -> None:
    from support.inside import hub_of

    server.set(zmq.RCVTIMEO, 1)
    try:
        server.recv()
    except zmq.Again:
        answer["waited"] = hub_of(server).name
    except Exception as error:
        answer["waited"] = describe(error)


def describe(error: Exception) -> list[str]:
    return [type(error).__name__, str(error)]


def report() -> None:
    """Print all answers, as JSON. Called at the end of every child."""
    print(json.dumps(answers))


def hide(*packages: str) -> None:
    """Make these packages look as if they were not installed: no finder finds them any more."""
    sys.meta_path[:] = [Hiding(finder, packages) for finder in sys.meta_path]


class Hiding:
    """A finder that does not find some packages, and otherwise does what another finder does."""

    def __init__(self, finder: Any, packages: tuple[str, ...]) -> None:
        self.finder = finder
        self.packages = packages

    def find_spec(self, name: str, *args: Any) -> Any:
        return None if name.partition(".")[0] in self.packages else self.finder.find_spec(name, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)
