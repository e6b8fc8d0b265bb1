"""greenzmq on the running asyncio loop (the standard library's or uvloop's), and the bridge to its coroutines.

::

    import greenzmq.asyncio as zmq

    async def main():
        message = await zmq.run(socket.recv)              # one call
        result = await zmq.run(function, *args)           # blocking-style code, unchanged
        task = zmq.spawn(function, *args)                 # runs beside; await it, kill it, or do neither

The function runs in a greenlet. It waits on sockets as on every other hub, and for a coroutine or future with `await_`.
If the coroutine that awaits `run` is cancelled, `asyncio.CancelledError` is raised in the greenlet, where it waits. No
message is lost by that: the greenlet receives only after it has been woken. A message that it has not received by then
stays in the socket, and one that it has received is returned.
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
from greenzmq.waiting.bridge import AwaitableTask, await_, run, spawn

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self
    from typing_extensions import TypeVar as _TypeVar

    from greenzmq import auth as auth
    from greenzmq import decorators as decorators
    from greenzmq import devices as devices

    _Made_co = _TypeVar("_Made_co", bound="Socket[Any]", default="Socket", covariant=True)
else:
    _Made_co = _context.Made_co

__version__ = _zmq.__version__  # pyzmq's, as in what this stands in for
__path__: list[str] = []

_hub_class("asyncio")


class Socket(_socket.Socket[_signatures.Received_co]):
    """`greenzmq.Socket` on asyncio."""

    _greenzmq_default_hub = "asyncio"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the socket."""
        self.close()


class Context(_context.Context[_Made_co]):
    """`greenzmq.Context` on asyncio."""

    _socket_class: type[_Made_co] = Socket  # type: ignore[assignment]
    _instance = None
    _greenzmq_default_hub = "asyncio"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the context, as ``with`` does, while the loop goes on.

        If the task is cancelled meanwhile, it stops waiting, but the context still ends.
        """
        self.__dict__["_greenzmq_unattended"] = True
        try:
            self.__exit__(kind, error, traceback)
        finally:
            del self.__dict__["_greenzmq_unattended"]
        await run(self.term)


class Poller(_poller.Poller):
    """`greenzmq.Poller` on asyncio."""

    _greenzmq_default_hub = "asyncio"


select = partial(_poller.select, poller=Poller)
wait = partial(_wait.wait, poller=Poller)
zmq_poll = partial(_poller.zmq_poll, poller=Poller)
proxy = partial(_proxies.proxy, hub="asyncio")
proxy_steerable = partial(_proxies.proxy_steerable, hub="asyncio")
device = partial(_proxies.device, hub="asyncio")
main = partial(_greenzmq.main, hub="asyncio")
SyncContext, SyncSocket = Context, Socket
if not TYPE_CHECKING:
    __all__ = [*_greenzmq.__all__, "AwaitableTask", "await_", "run", "spawn"]  # noqa: PLE0604
    __getattr__, __dir__ = _submodules.open_namespace(__name__)


def hub() -> _green.GreenHub:  # type: ignore[no-redef]
    """Return the hub of this thread's running loop. It is made if there is none yet."""
    return _green.hub("asyncio")
