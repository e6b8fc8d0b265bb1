"""How each contender runs tasks, waits for them and sleeps; each class imports its runtime and nothing else.

All have ``run(function)``, ``spawn(function, *args)``, ``wait(tasks)`` and ``sleep(seconds)``. Where tasks are
coroutines, so are the last two, and what is run or spawned is a coroutine function. Nothing ends a task but the end of
the process.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contenders import Contender

__all__ = ["Runtime", "make"]

STACK = 1 << 18
"""Bytes of stack for a native thread: a thousand of them are no reason to reserve gigabytes."""


class Runtime:
    """What all have in common."""

    spawn: Any
    wait: Any
    sleep: Any = staticmethod(time.sleep)

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.zmq: Any = importlib.import_module(contender.module)
        self.context: Any = self.zmq.Context()

    def pick(self, calls: Any = None, coroutines: Any = None, bare: Any = None) -> Any:
        """The body of a task for this contender's style."""
        body = {"calls": calls, "coroutines": coroutines, "bare": bare}[self.contender.style]
        if body is None:
            raise NotImplementedError(f"nothing to run in the style {self.contender.style}")
        return body

    def run(self, function: Callable[[], Any]) -> Any:
        return function()

    def proxy(self, source: Any, target: Any) -> None:
        self.zmq.proxy(source, target)


class Bare(Runtime):
    """One thread, one task at a time."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        function(*args)

    def wait(self, tasks: Sequence[Any]) -> Any:
        pass


class _Thread(threading.Thread):
    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__(daemon=True)
        self.function, self.arguments = function, args
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.function(*self.arguments)
        except BaseException as error:
            self.error = error

    def get(self) -> None:
        self.join()
        if self.error is not None:
            raise self.error


class Threads(Runtime):
    """A native thread for each task."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        threading.stack_size(STACK)

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        return _Thread(function, args)

    def wait(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            task.get()


class Gevent(Runtime):
    """pyzmq's zmq.green."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        self.gevent = importlib.import_module("gevent")
        self.spawn = self.gevent.spawn
        self.sleep = self.gevent.sleep

    def run(self, function: Callable[[], Any]) -> Any:
        return self.gevent.spawn(function).get()

    def wait(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            task.get()

    def proxy(self, source: Any, target: Any) -> None:
        # zmq.green.proxy is zmq.proxy and stops the hub; its device is green.
        self.zmq.device(self.zmq.STREAMER, source, target)


class Eventlet(Runtime):
    """eventlet's eventlet.green.zmq."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        self.eventlet = importlib.import_module("eventlet")
        self.spawn = self.eventlet.spawn
        self.sleep = self.eventlet.sleep

    def run(self, function: Callable[[], Any]) -> Any:
        return self.eventlet.spawn(function).wait()

    def wait(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            task.wait()


class Coroutines(Runtime):
    """pyzmq's zmq.asyncio. The methods are to be awaited."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        self.asyncio = importlib.import_module("asyncio")
        self.sleep = self.asyncio.sleep

    def run(self, function: Callable[[], Any]) -> Any:
        return importlib.import_module(self.contender.loop or "asyncio").run(function())

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.asyncio.ensure_future(function(*args))

    async def wait(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            await task


class Awaitables(Coroutines):
    """greenzmq.aio."""

    async def proxy(self, source: Any, target: Any) -> None:  # type: ignore[override]  # as the bodies of its tasks
        await self.zmq.proxy(source, target)


class Greenzmq(Runtime):
    """greenzmq on a hub that runs whenever somebody waits."""

    def run(self, function: Callable[[], Any]) -> Any:
        return self._enter(function)

    def _enter(self, function: Callable[[], Any]) -> Any:
        hub = self.zmq.hub()
        self.spawn = hub.spawn
        self.sleep = hub.sleep
        return hub.run(function)

    def wait(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            task.get()


class GreenzmqOnLoop(Greenzmq):
    """greenzmq on a loop that has to run first."""

    def run(self, function: Callable[[], Any]) -> Any:
        loop = importlib.import_module(self.contender.loop)
        return loop.run(self.zmq.run(self._enter, function))


def make(contender: Contender) -> Runtime:
    """The runtime of a contender, imported and with a context."""
    runtime: Runtime = globals()[contender.runtime](contender)
    return runtime
