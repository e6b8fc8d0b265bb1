"""The program of test_patched.py in which native threads make their first calls at once, under a monkey patch.

It imports no more of greenzmq than a user's program does: what is to be shown is what the calls import.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

import greenzmq as zmq
from greenzmq.process import unpatched

#: How many threads make a call at once, besides the main greenlet.
THREADS = 6


def wait(context: Any) -> None:
    """The first wait imports a hub."""
    with context.socket(zmq.PULL) as socket:
        socket.rcvtimeo = 10
        try:
            socket.recv()
        except zmq.Again:
            pass


def wrong_name(context: Any) -> None:
    """An error that looks for what was meant."""
    said = ""
    try:
        zmq.Context(hub="slector")
    except zmq.UnknownHubError as error:  # pytest would import what is to be imported here
        said = str(error)
    assert "Did you mean 'selector'" in said


def monitor(context: Any) -> None:
    """An event, which pyzmq's own function would read."""
    with context.socket(zmq.PULL) as socket, zmq.monitor_events(socket) as events:
        socket.bind("tcp://127.0.0.1:*")
        assert next(events)["event"] == zmq.EVENT_LISTENING


def names(context: Any) -> None:
    """A hub and a dump, which name their threads."""
    wait(context)
    zmq.dump(io.StringIO())


def hub_of_gevent() -> object:
    """That of this thread, if there is one."""
    local = sys.modules.get("gevent._hub_local")
    return local and local.get_hub_if_exists()


def run() -> None:
    """Each call, in all threads at once and in the main greenlet."""
    sys.setswitchinterval(1e-6)
    context = zmq.Context()
    for call in (wait, wrong_name, monitor):
        all_at_once(call, context)
        print(call.__name__, flush=True)
    with threading._active_limbo_lock:  # type: ignore[attr-defined]  # as if others were starting threads all the while
        all_at_once(names, context)
    print("names")
    context.term()


def all_at_once(call: Callable[[Any], None], context: Any) -> None:
    gate, ended = unpatched.allocate_lock(), unpatched.allocate_lock()
    outcomes: list[object] = []
    gate.acquire()
    ended.acquire()

    def make() -> None:
        try:
            gate.acquire()
            gate.release()
            call(context)
            outcome: object = hub_of_gevent() or "passed"
        except BaseException as error:
            outcome = error
        outcomes.append(outcome)
        if len(outcomes) == THREADS:
            ended.release()

    for _ in range(THREADS):
        unpatched.start_new_thread(make, ())
    gate.release()
    call(context)
    ended.acquire()
    assert outcomes == ["passed"] * THREADS, outcomes
