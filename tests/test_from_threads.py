"""What native threads tell a hub reaches it, however many they are and however fast."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from helpers_sockets import open_context, until

import greenzmq
from greenzmq import GreenHub

THREADS = 8
#: Calls of all threads together; 100,000 and more in the long form.
CALLS = 4_000 * int(os.environ.get("GREENZMQ_TORTURE", "1"))


@pytest.fixture
def threads() -> Any:
    """Start `THREADS` threads that each make their share of `CALLS`, with their own number and that of the call."""
    started: list[threading.Thread] = []

    def start(call: Callable[[int, int], object]) -> None:
        def work(name: int) -> None:
            for number in range(CALLS // THREADS):
                call(name, number)

        started.extend(threading.Thread(target=work, args=(name,)) for name in range(THREADS))
        for thread in started:
            thread.start()

    yield start
    for thread in started:
        thread.join()


def test_calls(hub: GreenHub, threads: Any) -> None:
    """Every call_soon_threadsafe is made, once, in the order of its thread, while the hub sleeps and while it is busy.

    Seen to lose calls where a wake-up's mark is taken back before its bytes are read.
    """
    made: list[list[int]] = [[] for _ in range(THREADS)]
    threads(lambda name, number: hub.hub.call_soon_threadsafe(made[name].append, number))
    until(hub, lambda: sum(map(len, made)) == CALLS)
    assert made == [list(range(CALLS // THREADS))] * THREADS


def test_events(hub: GreenHub, threads: Any) -> None:
    """A greenlet that waits for an event, over and over, sees every item that was put before a set_threadsafe.

    Seen to hang where an event is looked at before it is linked, and not after.
    """
    event, items = greenzmq.GreenEvent(), deque[tuple[int, int]]()

    def put(name: int, number: int) -> None:
        items.append((name, number))
        event.set_threadsafe()

    threads(put)
    seen: list[tuple[int, int]] = []
    while len(seen) < CALLS:
        event.wait()
        event.clear()
        while items:
            seen.append(items.popleft())
    assert sorted(seen) == [(name, number) for name in range(THREADS) for number in range(CALLS // THREADS)]


def test_events_in_a_poller(hub: GreenHub, threads: Any) -> None:
    """The same beside a socket that greenlets use meanwhile: neither takes the other's wake-up."""
    event, items, seen = greenzmq.GreenEvent(), deque[int](), [0, 0]
    with open_context(hub) as context:
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://beside")
        push.connect("inproc://beside")
        poller = greenzmq.Poller(hub=hub)
        poller.register(pull, zmq.POLLIN)
        poller.register(event, zmq.POLLIN)

        def send() -> None:
            for _ in range(CALLS // THREADS):
                push.send(b"message")
                hub.sleep()

        sending = hub.spawn(send)
        threads(lambda name, number: (items.append(number), event.set_threadsafe()))
        while seen != [CALLS, CALLS // THREADS]:
            for what, _ in poller.poll():
                if what is pull:
                    pull.recv()
                    seen[1] += 1
                else:
                    event.clear()
                    while items:
                        items.popleft()
                        seen[0] += 1
        sending.get()
