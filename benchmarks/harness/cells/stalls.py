"""A task that wants to run every millisecond, beside a loop that is always busy."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import Job
    from .runtimes import Runtime

__all__ = ["stall"]

INTERVAL = 0.001


class Ticker:
    """Knows by how much its latest tick came, at worst."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.last = time.perf_counter()
        self.worst = 0.0

    def note(self) -> None:
        now = time.perf_counter()
        self.worst = max(self.worst, now - self.last - INTERVAL)
        self.last = now

    def run(self) -> None:
        while True:
            self.note()
            self.runtime.sleep(INTERVAL)

    async def run_async(self) -> None:
        while True:
            self.note()
            await self.runtime.sleep(INTERVAL)

    def take(self) -> float:
        """The worst, up to now; then forget it."""
        self.note()  # a tick that is still due
        worst, self.worst = self.worst, 0.0
        return worst


def stall(runtime: Runtime, *, of: str, **parameters: Any) -> Job:
    """The longest time by which a tick came late while another workload, ``module.function``, was running."""
    module, _, function = of.rpartition(".")
    job: Job = getattr(importlib.import_module(f"{__package__}.{module}"), function)(runtime, **parameters)
    ticker = Ticker(runtime)

    def metrics(seconds: float) -> dict[str, float]:
        return {"stall ms": ticker.take() * 1e3, "busy ms": seconds * 1e3}

    return job._replace(metrics=metrics, background=[*job.background, (runtime.pick(ticker.run, ticker.run_async),)])
