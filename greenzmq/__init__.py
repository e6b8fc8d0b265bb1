"""greenzmq: one green ØMQ for every Python runtime.

::

    import greenzmq as zmq            # the hub: $GREENZMQ_HUB, or what this greenlet runs on
    import greenzmq.gevent as zmq     # always gevent; likewise greenzmq.eventlet, greenzmq.selector

The map of the package, from the bottom up; each imports from those above it only. ``tests/test_layering.py`` holds
that::

    errors         what goes wrong between a program and its hub
    unpatched      the standard library without monkey patches
    hubs/base      the contract: Hub, Watch, Timer
    hubs/<name>    one runtime each; the only files that import it
    hubs           hubs by name, and which one a greenlet runs on
    waiting        the one place where a greenlet stops
    tasks          Task, Timeout, native threads
    directions     receiving and sending: who waits, and whom an event lets go on
    readiness      ZMQ_FD explained; the one slow path of all operations
    green          GreenHub: spawn, run, sleep, timeout, wait_fd, run_in_thread
    socket         the green Socket
    descriptors    many file descriptors behind one
    poller         the green Poller, select, zmq_poll
    context        the green Context
    gevent, …      the drop-in namespaces, a few lines each
    cli            python -m greenzmq
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq as _zmq

if TYPE_CHECKING:  # mypy keeps the first binding of a name
    from .context import Context as Context
    from .poller import Poller as Poller
    from .poller import select as select
    from .poller import zmq_poll as zmq_poll
    from .socket import Socket as Socket
from zmq import *  # type: ignore[assignment] # noqa: F403 - constants, errors, Frame: all that does not wait

from .context import Context  # noqa: F401 - this and those below are in zmq.__all__
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
from .green import GreenHub, hub
from .hubs import use_hub
from .poller import Poller, select, zmq_poll  # noqa: F401
from .socket import Socket  # noqa: F401
from .tasks import Task

__version__ = "0.1.0"

__all__ = [  # noqa: PLE0604
    *_zmq.__all__,
    "AmbiguousHubError",
    "BlockingCallError",
    "GreenHub",
    "HubError",
    "MissingHubError",
    "Task",
    "Timeout",
    "UnknownHubError",
    "WatchError",
    "WrongHubError",
    "hub",
    "use_hub",
]


def __getattr__(name: str) -> Any:
    """What pyzmq has beside `zmq.__all__`: `zmq.error`, `zmq.utils`, …"""
    return getattr(_zmq, name)
