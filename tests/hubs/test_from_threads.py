"""What native threads tell a hub reaches it, however many they are and however fast."""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest
import zmq
from support.sockets import open_context, until
from support.torture import scale

import greenzmq
from greenzmq import GreenHub

pytestmark = pytest.mark.all_loops

THREADS = 8
#: Calls of each thread; in the long form 100,000 of all. After a burst of one nobody makes up for what is lost.
BURSTS = [1] * scale(2_500, 50) + [scale(10_000, 250)]
CALLS = sum(BURSTS)


class Threads:
    """`THREADS` threads that make calls with their own number and that of the call, a burst at a time."""

    def __init__(self) -> None:
        self.call: Callable[[int, int], object] = lambda name, number: None
        self._turns = [queue.SimpleQueue[int]() for _ in range(THREADS)]
        self._threads = [threading.Thread(target=self._work, args=(name,)) for name in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def make_calls(self, count: int) -> None:
        """Each thread makes `count` calls from now on."""
        for turn in self._turns:
            turn.put(count)

    def end(self) -> None:
        self.make_calls(0)
        for thread in self._threads:
            thread.join()

    def _work(self, name: int) -> None:
        made = 0
        while count := self._turns[name].get():
            for number in range(made, made + count):
                self.call(name, number)
            made += count


@pytest.fixture
def threads() -> Iterator[Threads]:
    started = Threads()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # what may come in between does
    yield started
    sys.setswitchinterval(interval)
    started.end()


@pytest.mark.torture
def test_calls(hub: GreenHub, threads: Threads) -> None:
    """Every call_soon_threadsafe is made, once, in the order of its thread, whether the hub sleeps or is busy.

    Seen to lose calls, in the long form, where a wake-up's mark is taken back after the calls are taken over.
    """
    made: list[list[int]] = [[] for _ in range(THREADS)]
    threads.call = lambda name, number: hub.hub.call_soon_threadsafe(made[name].append, number)
    expected = 0
    for burst in BURSTS:
        threads.make_calls(burst)
        expected += burst * THREADS
        until(hub, lambda: sum(map(len, made)) == expected)  # noqa: B023
    assert made == [list(range(CALLS))] * THREADS


@pytest.mark.torture
def test_events(hub: GreenHub, threads: Threads) -> None:
    """A greenlet that waits for an event, over and over, sees every item that was put before a set_threadsafe.

    Seen to hang, in the long form, where an event is not looked at once more when it is linked.
    """
    event, items = greenzmq.GreenEvent(), deque[tuple[int, int]]()
    threads.call = lambda name, number: (items.append((name, number)), event.set_threadsafe())
    seen: list[tuple[int, int]] = []
    expected = 0
    for burst in BURSTS:
        threads.make_calls(burst)
        expected += burst * THREADS
        while len(seen) < expected:
            event.wait()
            event.clear()
            while items:
                seen.append(items.popleft())
    assert sorted(seen) == [(name, number) for name in range(THREADS) for number in range(CALLS)]


@pytest.mark.torture
def test_events_in_a_poller(hub: GreenHub, threads: Threads) -> None:
    """The same beside a socket that greenlets use meanwhile: neither takes the other's wake-up."""
    event, items, seen = greenzmq.GreenEvent(), deque[int](), [0, 0]
    threads.call = lambda name, number: (items.append(number), event.set_threadsafe())
    with open_context(hub) as context:
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://beside")
        push.connect("inproc://beside")
        poller = greenzmq.Poller(hub=hub)
        poller.register(pull, zmq.POLLIN)
        poller.register(event, zmq.POLLIN)

        def send() -> None:
            for _ in range(CALLS):
                push.send(b"message")
                hub.sleep()

        sending = hub.spawn(send)
        threads.make_calls(CALLS)
        while seen != [CALLS * THREADS, CALLS]:
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
