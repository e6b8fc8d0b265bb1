"""Sockets, contexts, pollers, events and tasks that nobody closes: dropped in any order, in any thread."""

from __future__ import annotations

import gc
import itertools
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support import torture
from support.hub_thread import new_descriptors, open_descriptors
from support.random import seeded_random
from support.sockets import address, descriptor, parked, receives, until

import greenzmq


def make(hub: greenzmq.GreenHub) -> dict[str, Any]:
    """One of each, with a past: they were waited on and know one another."""
    context = greenzmq.Context(hub=hub)
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    context.linger = pull.linger = push.linger = 0
    pull.bind(address("inproc"))
    push.connect(pull.last_endpoint.decode())
    task = parked(hub, receives, pull.recv)
    event = greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    poller.register(pull, zmq.POLLIN)
    poller.register(event, zmq.POLLIN)
    assert poller.poll(0) == []
    push.send(b"x")
    assert task.get() == b"x"
    assert not event.wait(1e-6)
    assert poller.poll(1) == []
    return {"context": context, "pull": pull, "push": push, "poller": poller, "event": event, "task": task}


def in_a_greenlet(hub: greenzmq.GreenHub, drop: Callable[[], object]) -> None:
    drop()


def in_the_hub(hub: greenzmq.GreenHub, drop: Callable[[], object]) -> None:
    done: list[bool] = []
    hub.hub.call_soon(lambda: (drop(), done.append(True)))
    until(hub, lambda: done)


def in_another_thread(hub: greenzmq.GreenHub, drop: Callable[[], object]) -> None:
    hub.run_in_thread(drop)


#: What pyzmq says of those that it has: nothing of what is ours alone.
WARNINGS = {"ResourceWarning: Unclosed socket": 2, "ResourceWarning: Unclosed context": 1}


def drop_one_by_one(hub: greenzmq.GreenHub, where: Any, names: tuple[str, ...]) -> None:
    things = make(hub)
    living = {name: weakref.ref(thing) for name, thing in things.items()}
    fd = descriptor(things["pull"])
    told: list[str] = []  # a warning that is recorded keeps the object that it is about
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, kind, *_: told.append(f"{kind.__name__}: {message}")
        for name in names:
            where(hub, lambda name=name: things.pop(name) and None)
        gc.collect()
        until(hub, lambda: len(told) >= 3)
    assert Counter(text.partition(" <")[0] for text in told) == WARNINGS, names
    until(hub, lambda: living["context"]() is None)  # a native thread ends it
    left = [name for name, reference in living.items() if reference() is not None]
    assert not left, f"{left} left after {names}"
    until(hub, lambda: fd not in hub.hub.readers)


@pytest.mark.torture
@pytest.mark.parametrize("where", [in_a_greenlet, in_the_hub, in_another_thread], ids=lambda f: f.__name__)
def test_dropped_in_every_order(hub, where):
    """Whatever goes first: each is collected, pyzmq's ResourceWarning is given for sockets and contexts and nothing
    else, no finalizer raises, and descriptors and objects are as many as before.

    Seen to fail when a hub kept the watches that are stopped, and when a context's finalizer waited for its end.
    """
    random = seeded_random()
    orders = list(itertools.permutations(["context", "pull", "push", "poller", "event", "task"]))
    rounds = torture.scale(len(orders), 4)
    drop_one_by_one(hub, where, orders[0])
    gc.collect()
    descriptors, objects = open_descriptors(), len(gc.get_objects())
    for names in random.sample(orders, min(rounds, len(orders))):
        drop_one_by_one(hub, where, names)
    assert not new_descriptors(descriptors)
    gc.collect()
    assert len(gc.get_objects()) - objects < 50 + rounds // 2
