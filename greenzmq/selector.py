"""greenzmq on its own greenlet loop, the selector loop, which needs no other package.

``import greenzmq.selector as zmq`` gives everything that pyzmq's `zmq` has. Each call that waits does so on this loop,
whatever `use_hub` or ``$GREENZMQ_HUB`` says.
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

_hub_class("selector")


class Socket(_socket.Socket[_signatures.Received_co]):
    """`greenzmq.Socket` on the selector loop."""

    _greenzmq_default_hub = "selector"


class Context(_context.Context[_Made_co]):
    """`greenzmq.Context` on the selector loop."""

    _socket_class: type[_Made_co] = Socket  # type: ignore[assignment]
    _instance = None
    _greenzmq_default_hub = "selector"


class Poller(_poller.Poller):
    """`greenzmq.Poller` on the selector loop."""

    _greenzmq_default_hub = "selector"


select = partial(_poller.select, poller=Poller)
wait = partial(_wait.wait, poller=Poller)
zmq_poll = partial(_poller.zmq_poll, poller=Poller)
proxy = partial(_proxies.proxy, hub="selector")
proxy_steerable = partial(_proxies.proxy_steerable, hub="selector")
device = partial(_proxies.device, hub="selector")
main = partial(_greenzmq.main, hub="selector")
SyncContext, SyncSocket = Context, Socket
if not TYPE_CHECKING:
    __all__ = _greenzmq.__all__
    __getattr__, __dir__ = _submodules.open_namespace(__name__)


def hub() -> _green.GreenHub:  # type: ignore[no-redef]
    """Return this thread's selector hub. It is made if there is none yet."""
    return _green.hub("selector")
