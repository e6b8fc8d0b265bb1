"""Many hubs in one process, each in a native thread of its own."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .runtimes import Runtime

if TYPE_CHECKING:
    from .job import Job

__all__ = ["measure_hubs"]

Make = Callable[[], Runtime]


class Crew:
    """Threads that each run the same workload on a hub of their own, all at once.

    Parameters
    ----------
    make : callable
        Makes a thread's runtime.
    setup : callable
        Makes a runtime's job.
    size : int
        How many threads.
    """

    def __init__(self, make: Make, setup: Callable[[Runtime], Job], size: int) -> None:
        self.make = make
        self.setup = setup
        self.begin = threading.Barrier(size + 1)
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]

    def seconds(self) -> float:
        """From the moment at which all are ready to the end of the last."""
        for thread in self.threads:
            thread.start()
        try:
            self.begin.wait()
        except threading.BrokenBarrierError:
            raise self.errors[0] from None
        began = time.perf_counter()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return time.perf_counter() - began

    def _run(self) -> None:
        try:
            runtime = self.make()
            runtime.run(runtime.pick(lambda: self._go(runtime), lambda: self._go_async(runtime)))
        except BaseException as error:
            self.errors.append(error)
            self.begin.abort()

    def _go(self, runtime: Runtime) -> None:
        job = self.setup(runtime)
        for pause in (self.begin.wait, int):
            runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])
            pause()

    async def _go_async(self, runtime: Runtime) -> None:
        job = self.setup(runtime)
        for pause in (self.begin.wait, int):
            await runtime.wait([runtime.spawn(function, *args) for function, *args in job.tasks])
            pause()


def measure_hubs(make: Make, *, of: str, hubs: int, count: int, **parameters: Any) -> dict[str, float]:
    """The rate of another workload, ``module.function``, in `hubs` threads together, `count` messages in all."""
    module, _, function = of.rpartition(".")
    setup = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    each = count // hubs
    crew = Crew(make, lambda runtime: setup(runtime, count=each, **parameters), hubs)
    return {"rate": each * hubs / crew.seconds()}
