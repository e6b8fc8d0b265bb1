"""What is public, and nothing else is: the one place that says so.

The reference shows it; ``tests/project/test_public.py`` holds the package to it. ``ALL`` means the names of a module's
``__all__``.
"""

from __future__ import annotations

ALL = "all"

#: Each has the names of `greenzmq`, on its hub.
NAMESPACES = ("gevent", "eventlet", "selector", "asyncio", "threading", "aio")

PUBLIC: dict[str, str | tuple[str, ...]] = {
    "greenzmq": ALL,
    # As greenzmq.patch, …: not in its __all__, since the namespaces have none.
    "greenzmq.patching": ("patch", "patched", "unpatch"),
    "greenzmq.asyncio": ("AwaitableTask", "await_", "run", "spawn"),
    "greenzmq.aio": (
        *("AsyncMonitorEvents", "AwaitableTask", "Context", "Poller", "ProactorSelectorThreadWarning", "Socket"),
        *("ZMQEventLoop", "await_", "device", "install", "monitor_events", "proxy", "proxy_steerable", "run", "select"),
        *("spawn", "wait", "zmq_poll"),
    ),
    "greenzmq.errors": ALL,
    "greenzmq.diagnostics": ("ParkedGreenlet",),  # what greenzmq.waiters() returns
    "greenzmq.auth": ALL,
    "greenzmq.decorators": ALL,
    "greenzmq.devices": ALL,
    "greenzmq.hubs": (
        *("Choice", "Decision", "Hub", "KnownHub", "Timer", "WORDS", "Watch", "current_hub", "decide", "get_hub"),
        *("known_hubs", "use_hub"),
    ),
    "greenzmq.hubs.base": ("Hub", "Timer", "Watch", "main_greenlet"),
    "greenzmq.testing": ALL,
    "pytest_greenzmq": ALL,  # the fixtures of the plugin of pytest
}
