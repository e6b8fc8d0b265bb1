"""greenzmq: one green ØMQ for every Python runtime.

::

    import greenzmq as zmq            # the hub: $GREENZMQ_HUB, or what this greenlet runs on
    import greenzmq.gevent as zmq     # always gevent; likewise greenzmq.eventlet, greenzmq.selector

The map of the package, from the bottom up; each imports from those above it only.
``tests/project/test_layering.py`` holds that::

    errors         what goes wrong between a program and its hub
    limits         times as programs give them, checked
    unpatched      the standard library without monkey patches
    hubs/base      the contract: Hub, Watch, Timer
    hubs/<name>    one runtime each; the only files that import it
    hubs           hubs by name, and which one a greenlet runs on
    waiting        the one place where a greenlet stops
    scope          what a function makes that somebody else has to end
    events         GreenEvent, and what else can be waited for besides sockets
    locks          a lock for which greenlets of any hub and threads may wait
    tasks          Task, Timeout, native threads
    bridge         between an asyncio loop's coroutines and its greenlets
    watched        the one watch on a socket's ZMQ_FD
    turns          how long a greenlet may go on before the hub goes round
    directions     receiving and sending: who waits, and whom an event lets go on
    attendance     who waits on a socket, and whom to wake when it is signalled
    readiness      ZMQ_FD explained; the one slow path of all operations
    coroutines     calls in coroutines that happen not to wait, in asyncio's debug mode
    tracker        MessageTracker, and the Frame that has one
    green          GreenHub: spawn, run, sleep, timeout, wait_fd, run_in_thread
    signatures     pyzmq's generic classes and overloads, for type checkers
    socket         the green Socket
    descriptors    many file descriptors behind one
    pollset        what all Pollers of a thread wait for, watched once
    entries        what is registered in a Poller
    polls          what a Poller knows and does
    poller         the green Poller, select, zmq_poll
    native_proxies libzmq's own proxy, in a native thread
    proxies        proxy, proxy_steerable, device
    monitoring     the events of a socket's connections, as an iterator
    context        the green Context
    decorators     contexts and sockets as arguments
    devices        pyzmq's devices, in native threads
    program        main: a program's main function on any hub
    inspection     who waits, for what, and where in the code
    names          what pyzmq has that waits for nothing
    submodules     pyzmq's submodules under our names
    gevent, …      the drop-in namespaces, a few lines each
    testing        for authors of hubs, and of code that runs on them
    cli            python -m greenzmq
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

import zmq as _zmq

from . import decorators as decorators  # zmq.decorators would make pyzmq's own contexts and sockets
from . import diagnostics as _inspection
from . import submodules as _submodules
from .diagnostics import dump, waiters
from .errors import (
    AmbiguousHubError,
    BlockingCallError,
    HubError,
    MissingHubError,
    Timeout,
    UnknownHubError,
    WatchError,
    WrongHubError,
)
from .hubs import use_hub
from .names import *  # noqa: F403
from .names import backend as backend
from .names import constants as constants
from .names import error as error
from .names import sugar as sugar
from .names import utils as utils
from .polling.poller import Poller as Poller
from .polling.poller import select as select
from .polling.poller import zmq_poll as zmq_poll
from .program import main as main
from .program import namespace as namespace
from .proxies.green import device as device
from .proxies.green import proxy as proxy
from .proxies.green import proxy_steerable as proxy_steerable
from .sockets.context import Context as Context
from .sockets.monitoring import MonitorEvents, monitor_events
from .sockets.socket import Socket as Socket
from .waiting.events import GreenEvent, Waitable
from .waiting.hub_api import GreenHub, hub
from .waiting.tasks import Task

if TYPE_CHECKING:
    from types import ModuleType

SyncContext, SyncSocket = Context, Socket

__version__ = "0.1.0"

__all__ = [
    "AmbiguousHubError",
    "BlockingCallError",
    "GreenEvent",
    "GreenHub",
    "HubError",
    "MissingHubError",
    "MonitorEvents",
    "Task",
    "Timeout",
    "UnknownHubError",
    "Waitable",
    "WatchError",
    "WrongHubError",
    "dump",
    "hub",
    "main",
    "monitor_events",
    "namespace",
    "use_hub",
    "waiters",
]
__all__ += _zmq.__all__

_inspection.install_from_environment()


_NAMESPACES = ("asyncio", "eventlet", "gevent", "selector")
_getattr, _dir = _submodules.open_namespace(__name__)


def __getattr__(name: str) -> ModuleType:
    """The namespaces are imported when they are first asked for: `greenzmq.gevent` brings gevent, or its error."""
    if name in _NAMESPACES:
        return _import_module(f"{__name__}.{name}")
    module: ModuleType = _getattr(name)
    return module


def __dir__() -> list[str]:
    """The public names, and those of the namespaces that are there. None of them imports a runtime."""
    return sorted({*_dir(), *(globals().keys() & {*_NAMESPACES, "hubs", "testing"})})
