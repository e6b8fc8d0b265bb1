"""greenzmq on native threads.

``import greenzmq.threading as zmq`` gives everything that pyzmq's `zmq` has. Here ``hub().spawn`` starts a native
thread, and any number of threads may use a socket at once. A kill or a time limit takes effect in a thread where it
waits next.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import zmq as _zmq

import greenzmq as _greenzmq
from greenzmq import *  # noqa: F403
from greenzmq import submodules as _submodules
from greenzmq.hubs import hub_class as _hub_class
from greenzmq.names import *  # noqa: F403
from greenzmq.polling import poller as _poller
from greenzmq.polling import wait as _wait
from greenzmq.proxies import green as _proxies
from greenzmq.sockets import context as _context
from greenzmq.sockets import signatures as _signatures
from greenzmq.sockets import socket as _socket
from greenzmq.waiting import hub_api as _green

if TYPE_CHECKING:
    from typing_extensions import TypeVar as _TypeVar

    from greenzmq import auth as auth
    from greenzmq import decorators as decorators
    from greenzmq import devices as devices

    _Made_co = _TypeVar("_Made_co", bound="Socket[Any]", default="Socket", covariant=True)
else:
    _Made_co = _context.Made_co

__version__ = _zmq.__version__  # pyzmq's, as in what this stands in for
__path__: list[str] = []

_hub_class("threading")


class Socket(_socket.SharedSocket[_signatures.Received_co]):
    """`greenzmq.Socket` on native threads."""

    _greenzmq_default_hub = "threading"


class Context(_context.Context[_Made_co]):
    """`greenzmq.Context` on native threads."""

    _socket_class: type[_Made_co] = Socket
    _instance = None
    _greenzmq_default_hub = "threading"


class Poller(_poller.Poller):
    """`greenzmq.Poller` on native threads."""

    _greenzmq_default_hub = "threading"


select = partial(_poller.select, poller=Poller)
wait = partial(_wait.wait, poller=Poller)
zmq_poll = partial(_poller.zmq_poll, poller=Poller)
proxy = partial(_proxies.proxy, hub="threading")
proxy_steerable = partial(_proxies.proxy_steerable, hub="threading")
device = partial(_proxies.device, hub="threading")
main = partial(_greenzmq.main, hub="threading")
SyncContext, SyncSocket = Context, Socket
if not TYPE_CHECKING:
    __all__ = _greenzmq.__all__
    __getattr__, __dir__ = _submodules.open_namespace(__name__)


def hub() -> _green.GreenHub:  # type: ignore[no-redef]
    """Return the hub of native threads. In each thread it stands for that thread's own hub, made if there is none."""
    return _green.hub("threading")
