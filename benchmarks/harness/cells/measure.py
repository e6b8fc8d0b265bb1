"""Runs a job: once to warm up, then again and again until there is enough to tell."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import Job
    from .peer import Peer
    from .runtimes import Runtime

__all__ = ["Metrics", "measure"]

Metrics = dict[str, list[float]]
"""What each repetition said, by the name of the metric."""

SETTLE = 0.02
"""Seconds that what runs in the background has for its start."""


class Repetitions:
    """How often a job is run, and what came of it.

    Parameters
    ----------
    seconds : float
        Repeat until the repetitions have taken so long in total.
    limit : int
        How many at most. With 1 there is no warming up either.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.seconds = seconds
        self.limit = limit
        self.metrics: Metrics = {}

    def __iter__(self) -> Iterator[bool]:
        """Whether each repetition counts."""
        if self.limit > 1:
            yield False
        began = time.perf_counter()
        for _ in range(self.limit):
            yield True
            if time.perf_counter() - began > self.seconds:
                return

    def note(self, counts: bool, said: dict[str, float]) -> None:
        if counts:
            for metric, value in said.items():
                self.metrics.setdefault(metric, []).append(float(f"{value:.5g}"))


def measure(
    runtime: Runtime, setup: Callable[[], Job], start_peer: Callable[[Any], Peer], again: Repetitions
) -> Metrics:
    """Set a job up on a runtime and run it, inside of it."""

    def prepare() -> tuple[Job, Peer | None]:
        job = setup()
        peer = start_peer(job.peer) if job.peer else None
        for function, *args in job.background:
            runtime.spawn(function, *args)
        # What is there by now, modules most of all, need not be looked at again; what the workload makes has to be.
        gc.collect()
        gc.freeze()
        return job, peer

    def go() -> None:
        job, peer = prepare()
        runtime.sleep(SETTLE)
        for counts in again:
            began = _begin(peer)
            runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])
            again.note(counts, _end(job, *began))

    async def go_async() -> None:
        job, peer = prepare()
        await runtime.sleep(SETTLE)
        for counts in again:
            began = _begin(peer)
            await runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])
            again.note(counts, _end(job, *began))

    runtime.run(runtime.pick(go, go_async, go))
    return again.metrics


def serve(runtime: Runtime, setup: Callable[[], Job], wait_for_go: Callable[[], bool]) -> None:
    """The same in a peer's process: one repetition whenever it is told to."""

    def go() -> None:
        job = setup()
        while wait_for_go():
            runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])

    async def go_async() -> None:
        job = setup()
        while wait_for_go():
            await runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])

    runtime.run(runtime.pick(go, go_async, go))


def _begin(peer: Peer | None) -> tuple[float, float]:
    if peer is not None:
        peer.go()
    return time.perf_counter(), time.process_time()


def _end(job: Job, began: float, spent: float) -> dict[str, float]:
    """What a repetition says, and the processor time of all threads: that suffers less from what else is running."""
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    return {**job.metrics(seconds), "CPU s": spent}
