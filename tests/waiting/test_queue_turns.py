"""A greenlet in a hot loop over queues that are never empty, or never full, lets the others run."""

from __future__ import annotations

import itertools

import pytest
from greenlet import GreenletExit
from support.inside import every_call_yields, links_of, replace_yield
from support.sockets import each, in_hub, never_switches, until

import greenzmq
from greenzmq.testing import SteppingHub

#: More operations than a turn has on any machine. Without turns the loops below would go on to here.
MANY = 3_000_000
QUEUES = {kind.__name__: kind for kind in (greenzmq.Queue, greenzmq.LifoQueue, greenzmq.PriorityQueue)}

LOOPS = {
    "put": lambda queue: queue.put(1),
    "get and put": lambda queue: queue.put(queue.get()),
    "get and put, with a time limit": lambda queue: queue.put(queue.get(timeout=5), timeout=5),
    "iteration": lambda queue: queue.put_nowait(next(iter(queue))),
}


@each("way", LOOPS)
def test_others_have_their_turns(hub, way):
    """Seen to fail without turns: nobody else runs, as with the queues of gevent, eventlet and asyncio."""
    queue: greenzmq.Queue[int] = greenzmq.Queue()
    queue.put(0)
    seen: list[int] = []
    task = hub.spawn(seen.append, 1)
    for _ in range(MANY):
        LOOPS[way](queue)
        if seen:
            break
    assert seen
    task.get()


def test_a_turn_has_an_end_by_the_environment(hub, monkeypatch):
    """$GREENZMQ_TURN=0 never ends one; a wrong one is an error of the queue's making."""
    monkeypatch.setenv("GREENZMQ_TURN", "0")
    queue: greenzmq.Queue[int] = greenzmq.Queue()
    with never_switches():
        for _ in range(10_000):
            queue.put(1)
            queue.get()
    monkeypatch.setenv("GREENZMQ_TURN", "soon")
    with pytest.raises(ValueError, match="GREENZMQ_TURN"):
        greenzmq.Queue()


@each("kind", QUEUES)
def test_where_no_call_may_wait(hub, kind, monkeypatch):
    """A call that must not wait never yields; nor does one in the hub's own greenlet, where nobody can."""
    every_call_yields(monkeypatch)
    queue = QUEUES[kind]()
    with never_switches():
        for _ in range(3):
            queue.put_nowait(1)
            queue.put(1, timeout=0)
            queue.get_nowait()
    assert in_hub(hub, lambda: (queue.put(2), queue.get())[0]) is None
    queue.put(1)
    assert queue.qsize() == 4


def test_on_a_stepping_hub(monkeypatch):
    """There the seed decides what runs when, and no clock."""
    every_call_yields(monkeypatch)
    with SteppingHub(seed=1) as stepping:
        queue: greenzmq.Queue[int] = greenzmq.Queue()

        def put() -> None:
            with never_switches():
                for number in range(10):
                    queue.put(number)

        task = greenzmq.hub(stepping).spawn(put)
        stepping.settle()
        task.get()


@each("kind", QUEUES)
def test_killed_at_the_end_of_a_turn(hub, kind, monkeypatch):
    """A kill that comes in the yield comes before the operation: nothing is taken, and nothing added."""
    every_call_yields(monkeypatch)
    queue = QUEUES[kind](3)
    queue.put(0, False)
    gate = greenzmq.GreenEvent()
    replace_yield(monkeypatch, lambda _: gate.wait())
    for operation in (queue.get, lambda: queue.put(1)):
        task = hub.spawn(operation)
        until(hub, lambda: links_of(gate))
        task.kill()
        assert isinstance(task.get(), GreenletExit)
        assert queue.qsize() == 1
    for item in (1, 2):
        queue.put(item, False)
    with pytest.raises(greenzmq.Full):
        queue.put(3, False)


def test_a_time_limit_counts_from_the_call(hub, monkeypatch):
    """The time of a yield is part of it."""
    every_call_yields(monkeypatch)
    queue: greenzmq.Queue[int] = greenzmq.Queue()
    yields: list[int] = []
    replace_yield(monkeypatch, lambda _: (yields.append(1), hub.sleep(0.02)))
    with never_switches(), pytest.raises(greenzmq.Empty):
        queue.get(timeout=0)
    with hub.timeout(30), pytest.raises(greenzmq.Empty):
        queue.get(timeout=0.01)
    assert yields == [1]


def test_first_come_first_served(hub, monkeypatch):
    """Whoever has yielded stands behind those who wait, also if an item is there by then."""
    every_call_yields(monkeypatch)
    queue: greenzmq.Queue[int] = greenzmq.Queue()
    got: list[tuple[str, int]] = []
    numbers = itertools.count()

    def take(name: str) -> None:
        got.extend((name, queue.get()) for _ in range(3))

    tasks = [hub.spawn(take, name) for name in "ab"]
    for _ in range(6):
        hub.sleep()
        queue.put(next(numbers))
    for task in tasks:
        task.get()
    assert sorted(number for _, number in got) == [number for _, number in got] == list(range(6))
