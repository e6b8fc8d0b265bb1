"""Who is measured, as data."""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["AWAITABLE", "CONTENDERS", "OURS", "Contender", "contender"]


class Contender(NamedTuple):
    """One way to use ØMQ from Python."""

    name: str
    """On the command line and in the results."""
    runtime: str
    """The class in `cells.runtimes`."""
    style: str
    """Which of a workload's bodies it runs: ``calls``, ``coroutines`` or ``bare``."""
    module: str
    """What stands for `zmq`."""
    needs: tuple[str, ...] = ()
    """Packages beside pyzmq."""
    loop: str = ""
    """The module that runs the event loop, for what needs one."""
    about: str = ""

    @property
    def missing(self) -> str:
        """The first package that is not installed, or nothing."""
        return next((package for package in self.needs if importlib.util.find_spec(package) is None), "")

    @property
    def ours(self) -> bool:
        return self.name.startswith("greenzmq-")


def _ours(hub: str, module: str, needs: tuple[str, ...] = (), loop: str = "") -> Contender:
    runtime = "GreenzmqOnLoop" if loop else "Greenzmq"
    return Contender(f"greenzmq-{hub}", runtime, "calls", f"greenzmq.{module}", needs, loop, f"greenzmq on {hub}")


CONTENDERS = (
    Contender("threads", "Threads", "calls", "zmq", about="pyzmq's blocking calls, a native thread for each task"),
    Contender("noblock", "Bare", "bare", "zmq", about="pyzmq with NOBLOCK, one thread, no waiting: pyzmq's limit"),
    Contender("backend", "Bare", "bare", "zmq", about="the same on the class behind zmq.Socket, zmq.backend.Socket"),
    Contender("zmq.green", "Gevent", "calls", "zmq.green", ("gevent",), about="pyzmq's own, on gevent"),
    Contender("eventlet.green.zmq", "Eventlet", "calls", "eventlet.green.zmq", ("eventlet",), about="eventlet's own"),
    Contender("zmq.asyncio", "Coroutines", "coroutines", "zmq.asyncio", about="pyzmq's own, coroutines on asyncio"),
    Contender(
        "zmq.asyncio+uvloop", "Coroutines", "coroutines", "zmq.asyncio", ("uvloop",), "uvloop", "the same on uvloop"
    ),
    Contender("greenzmq.aio", "Awaitables", "coroutines", "greenzmq.aio", about="greenzmq's awaitable sockets"),
    Contender(
        "greenzmq.aio+uvloop", "Awaitables", "coroutines", "greenzmq.aio", ("uvloop",), "uvloop", "the same on uvloop"
    ),
    _ours("gevent", "gevent", ("gevent",)),
    _ours("eventlet", "eventlet", ("eventlet",)),
    _ours("selector", "selector"),
    _ours("asyncio", "asyncio", loop="asyncio"),
    _ours("asyncio+uvloop", "asyncio", ("uvloop",), "uvloop"),
)

OURS = tuple(one.name for one in CONTENDERS if one.ours)
"""The hubs, which are held to what blocking-style peers reach."""
AWAITABLE = tuple(one.name for one in CONTENDERS if one.runtime == "Awaitables")
"""Each is held to what `zmq.asyncio` reaches on the same loop."""


def contender(name: str) -> Contender:
    """The one of that name."""
    return next(one for one in CONTENDERS if one.name == name)


def matching(names: Sequence[str], pattern: str) -> list[str]:
    """Those of `names` that `pattern`, which may hold ``*`` and ``?``, stands for."""
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]
