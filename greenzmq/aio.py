"""Awaitable sockets: a drop-in for `zmq.asyncio` that loses no message.

::

    import greenzmq.aio as zmq

    async def main():
        async with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.bind("tcp://127.0.0.1:5555")
            async for message in socket:
                print(message)

    asyncio.run(main())

Names, signatures and results are those of `zmq.asyncio`; all other names of `zmq` are here, too. A call of a socket
begins at once, and returns a future. The task that awaits the future receives the message itself, in the step in which
it is resumed. So a cancellation loses no message.

Other calls that wait return an awaitable as well: `Poller.poll`, `Context.term`, `Context.destroy`, `proxy`,
`proxy_steerable`, `device`, `select`, `zmq_poll` and `wait`. `monitor_events` is for ``async for``. `run`, `spawn` and
`await_` are those of `greenzmq.asyncio`, for blocking-style code beside coroutines, on the same sockets.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import zmq as _zmq
from zmq.asyncio import ProactorSelectorThreadWarning as ProactorSelectorThreadWarning
from zmq.asyncio import ZMQEventLoop as ZMQEventLoop
from zmq.asyncio import install as install

import greenzmq as _greenzmq

if TYPE_CHECKING:  # of names that are imported twice mypy takes the first, pyright the second
    from greenzmq.polling.awaitable import wait as wait
    from greenzmq.sockets.awaitable_monitoring import monitor_events as monitor_events

from greenzmq import *  # type: ignore[assignment]  # noqa: F403
from greenzmq import submodules as _submodules
from greenzmq.hubs import hub_class as _hub_class
from greenzmq.names import *  # noqa: F403
from greenzmq.polling.awaitable import Poller as Poller
from greenzmq.polling.awaitable import select as select
from greenzmq.polling.awaitable import wait as wait
from greenzmq.polling.awaitable import zmq_poll as zmq_poll
from greenzmq.proxies.awaitable import device as device
from greenzmq.proxies.awaitable import proxy as proxy
from greenzmq.proxies.awaitable import proxy_steerable as proxy_steerable
from greenzmq.sockets.awaitable import Socket as Socket
from greenzmq.sockets.awaitable_context import Context as Context
from greenzmq.sockets.awaitable_monitoring import AsyncMonitorEvents as AsyncMonitorEvents
from greenzmq.sockets.awaitable_monitoring import monitor_events as monitor_events
from greenzmq.waiting import hub_api as _green
from greenzmq.waiting.bridge import AwaitableTask as AwaitableTask
from greenzmq.waiting.bridge import await_ as await_
from greenzmq.waiting.bridge import run as run
from greenzmq.waiting.bridge import spawn as spawn

if TYPE_CHECKING:
    from greenzmq import auth as auth
    from greenzmq import decorators as decorators
    from greenzmq import devices as devices

__version__ = _zmq.__version__  # pyzmq's, as in what this stands in for
__path__: list[str] = []

_hub_class("asyncio")

main = partial(_greenzmq.main, hub="asyncio")
if not TYPE_CHECKING:
    _theirs = ("ProactorSelectorThreadWarning", "ZMQEventLoop", "install")
    _ours = ("AsyncMonitorEvents", "AwaitableTask", "await_", "run", "spawn")
    __all__ = sorted({*_greenzmq.__all__, *_theirs, *_ours} - {"MonitorEvents"})  # noqa: PLE0605
    __getattr__, __dir__ = _submodules.open_namespace(__name__)


def hub() -> _green.GreenHub:  # type: ignore[no-redef]
    """Return the hub of this thread's running loop. It is made if there is none yet."""
    return _green.hub("asyncio")
