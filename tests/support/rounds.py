"""Count the rounds of a hub, at the place where its loop polls the system."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.inside import loop_of

import greenzmq

__all__ = ["count_rounds"]


@contextmanager
def count_rounds(hub: greenzmq.GreenHub) -> Iterator[list[Any]]:
    """Collect one item for each round of the hub during the block."""
    rounds: list[Any] = []
    loop: Any = hub.hub
    if hub.name == "gevent":
        watcher = loop_of(loop).check()
        watcher.start(lambda: rounds.append(1))
        yield rounds
        watcher.stop()
        watcher.close()
        return
    if hub.name == "trio":
        with trio_rounds(rounds):
            yield rounds
        return
    if hub.name == "eventlet" and not hasattr(loop_of(loop), "loop"):
        where, name = loop_of(loop), "wait"
    elif hasattr(loop, "_selector"):
        where, name = loop._selector, "select"
    else:
        inner = loop_of(loop).loop if hub.name == "eventlet" else loop_of(loop)
        where, name = getattr(inner, "_selector", None), "select"
    if where is None:  # uvloop: its rounds cannot be counted, so estimate them by the processor time that a loop uses
        start, begin = time.thread_time(), time.monotonic()
        yield rounds
        rounds.extend([1] * int((time.thread_time() - start) / (time.monotonic() - begin) * 100))
        return
    function = getattr(where, name)
    setattr(where, name, lambda *args: (rounds.append(1), function(*args))[1])
    yield rounds
    delattr(where, name)


@contextmanager
def trio_rounds(rounds: list[Any]) -> Iterator[None]:
    """Collect one item for each round of trio's loop."""
    import trio

    class Rounds(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            rounds.append(timeout)

    counter = Rounds()
    trio.lowlevel.add_instrument(counter)
    yield
    trio.lowlevel.remove_instrument(counter)
