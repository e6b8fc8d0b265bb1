"""The hubs that tests run on. A *variant* is a runtime on one of its loops.

A new backend needs its lines in `VARIANTS` below, and nothing else. Tests run on the `USUAL` variants; with
``--all-loops`` or the mark ``all_loops`` they run on all of them. The *guests*, hubs of other packages, run only where
``--hub`` names them.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent, greenlet

from greenzmq.hubs.base import HUB_ATTRIBUTE, Hub
from greenzmq.hubs.registry import hub_class
from greenzmq.waiting.hub_api import GreenHub
from greenzmq.waiting.tasks import Task


def spawn(hub: Hub, function: Callable[[], object]) -> greenlet:
    """Run a function in a new greenlet of a hub, soon."""
    child = greenlet(function, hub.greenlet)
    setattr(child, HUB_ATTRIBUTE, hub)
    hub.call_soon(child.switch)
    return child


def park_until_ended(hub: Hub, function: Callable[[], None]) -> None:
    """Run a function in a new greenlet of a hub, while the main greenlet parks. Most hubs run like this."""
    main, ended = getcurrent(), []

    def run() -> None:
        function()
        ended.append(True)
        hub.call_soon(main.switch)

    spawn(hub, run)
    while not ended:
        hub.switch()


@dataclass(frozen=True)
class Variant:
    """One runtime on one of its loops.

    Attributes
    ----------
    id : str
        Its name in the ids of tests, and for ``--hub``.
    name : str
        The hub's name in greenzmq's registry.
    needs : tuple of str
        The modules that have to be installed.
    extra : str
        The extra of greenzmq that installs them.
    make : callable
        Makes this thread's hub. The thread has none yet.
    timers : callable
        Returns how many timers and other callbacks are pending in a hub.
    destroy : callable
        Frees the hub's descriptors and memory. Called in the thread's main greenlet.
    drive : callable
        Runs a function in a new greenlet of a hub, and returns when it has ended. Called in the thread's main greenlet.
    green : callable
        The `GreenHub` of a hub, as tests see it.
    on_request : bool
        Only for tests that name it in the mark ``runtime``.
    guest : bool
        From another package: only for ``--hub``. `needs` names that package's module.
    main_parks : bool
        Whether the main greenlet can park. It cannot on asyncio, whose loop runs in it.
    """

    id: str
    name: str
    needs: tuple[str, ...]
    extra: str
    make: Callable[[], Hub]
    timers: Callable[[Any], int]
    destroy: Callable[[Any], None]
    drive: Callable[[Any, Callable[[], None]], None] = park_until_ended
    green: Callable[[Any], GreenHub] = GreenHub.of
    on_request: bool = False
    guest: bool = False
    main_parks: bool = True

    @property
    def missing(self) -> str:
        """The first module that is not installed, or an empty string."""
        return next((module for module in self.needs if importlib.util.find_spec(module) is None), "")

    def load(self) -> None:
        """Import the runtime, in the main thread: a thread that is the first to import eventlet never ends."""
        for module in (*self.needs, *(() if self.guest else (f"greenzmq.hubs.{self.name}",))):
            importlib.import_module(module)


def gevent_variant(name: str, loop: str, *needs: str) -> Variant:
    def make() -> Hub:
        import gevent.hub

        from greenzmq.hubs.gevent import GeventHub

        kind = importlib.import_module(loop).loop
        default = threading.current_thread() is threading.main_thread()  # only this loop looks for signals
        gevent.hub.set_hub(gevent.hub.Hub(kind(default=default)))
        return GeventHub.get()

    def timers(hub: Any) -> int:
        loop = hub.greenlet.loop
        return loop.activecnt if "corecext" in type(loop).__module__ else len(loop._keepaliveset)

    def destroy(hub: Any) -> None:
        hub.greenlet.destroy(destroy_loop=True)

    return Variant(name, "gevent", ("gevent", *needs), "test" if needs else "gevent", make, timers, destroy)


def eventlet_variant(name: str, loop: str) -> Variant:
    def make() -> Hub:
        import eventlet.hubs

        from greenzmq.hubs.eventlet import EventletHub

        if loop == "asyncio":
            # The first such hub of a process imports this module, which asks for a hub. Before 0.41 eventlet makes a
            # second one then, and nobody closes its loop. Imported here, the module gets a hub without a loop.
            importlib.import_module("eventlet.green.builtin")
        eventlet.hubs.use_hub(loop)
        return EventletHub.get()

    def timers(hub: Any) -> int:
        return sum(not timer.called for _, timer in (*hub._hub.timers, *hub._hub.next_timers))

    def destroy(hub: Any) -> None:
        import eventlet.hubs

        if hub._hub.running:
            hub._hub.abort(wait=True)
        if loop == "asyncio":
            hub._hub.loop.close()
        elif loop == "epolls":
            hub._hub.poll.close()
        del eventlet.hubs._threadlocal.hub

    return Variant(name, "eventlet", ("eventlet", f"eventlet.hubs.{loop}"), "eventlet", make, timers, destroy)


def selector_variant(name: str) -> Variant:
    def make() -> Hub:
        from greenzmq.hubs.selector import SelectorHub

        return SelectorHub.get()

    def timers(hub: Any) -> int:
        return len(hub._timers)

    return Variant(name, "selector", (), "", make, timers, lambda hub: hub.close())


class InOneThread(GreenHub):
    """The hub of native threads with tasks that are greenlets of this thread, as those of `GreenHub.run` are.

    So the tests that steer what runs when can be run on the sockets that threads share, too: on their lock, and on
    their queues. In threads the same steps could not be told apart. What only threads can do is tested in
    tests/threads, on the variant ``threads``, where `spawn` starts them.
    """

    def _spawn_noted(self, note: Any, function: Any, args: Any, kwargs: Any, name: str | None) -> Any:
        return Task(self.hub, function, args, kwargs, name=name, note=note)


def threading_variant(name: str, green: Callable[[Any], GreenHub], on_request: bool = False) -> Variant:
    def make() -> Hub:
        from greenzmq.hubs.threading import ThreadingHub

        return ThreadingHub.get()

    def timers(hub: Any) -> int:
        return len(hub._timers)

    return Variant(name, "threading", (), "", make, timers, lambda hub: hub.close(), green=green, on_request=on_request)


def asyncio_variant(name: str, package: str) -> Variant:
    def make() -> Hub:
        from greenzmq.hubs.asyncio import AsyncioHub

        async def get() -> AsyncioHub:
            return AsyncioHub.get()

        return importlib.import_module(package).new_event_loop().run_until_complete(get())

    def timers(hub: Any) -> int:
        return len(hub.timers)

    def drive(hub: Any, function: Callable[[], None]) -> None:
        async def run() -> None:
            ended = asyncio.Event()
            spawn(hub, lambda: (function(), ended.set()))
            await ended.wait()

        hub.loop.run_until_complete(run())

    needs = (package,) if package != "asyncio" else ()
    return Variant(name, "asyncio", needs, package, make, timers, lambda hub: hub.loop.close(), drive, main_parks=False)


def trio_variant(name: str) -> Variant:
    """The hub of ``examples/trio_hub``, on a loop of its own. That package's tests have it in trio programs."""

    def make() -> Hub:
        return hub_class("trio").get()  # by the entry point

    def timers(hub: Any) -> int:
        return len(hub._timers)

    return Variant(name, "trio", ("greenzmq_trio",), "", make, timers, lambda hub: hub.close(), guest=True)


VARIANTS = (
    gevent_variant("gevent", "gevent.libev.corecext"),
    gevent_variant("gevent-libev-cffi", "gevent.libev.corecffi", "_cffi_backend"),
    gevent_variant("gevent-libuv", "gevent.libuv.loop", "_cffi_backend"),
    eventlet_variant("eventlet", "epolls"),
    eventlet_variant("eventlet-poll", "poll"),
    eventlet_variant("eventlet-selects", "selects"),
    eventlet_variant("eventlet-asyncio", "asyncio"),
    selector_variant("selector"),
    asyncio_variant("asyncio", "asyncio"),
    asyncio_variant("asyncio+uvloop", "uvloop"),
    threading_variant("threading", InOneThread),
    threading_variant("threads", GreenHub.of, on_request=True),
    trio_variant("trio"),
)

#: The ids of the variants that programs use: each runtime on its default loop, and asyncio on uvloop.
USUAL = ("gevent", "eventlet", "selector", "asyncio", "asyncio+uvloop", "threading")
