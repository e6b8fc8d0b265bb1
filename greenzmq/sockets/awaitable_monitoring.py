"""The events of a socket's connections, as an asynchronous iterator; see `greenzmq.sockets.monitoring`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from . import awaitable
from .monitoring import EventSource

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["AsyncMonitorEvents", "monitor_events"]


def monitor_events(socket: zmq.Socket[Any], events: int = zmq.EVENT_ALL) -> AsyncMonitorEvents:
    """`greenzmq.monitor_events` for ``async for``.

    Examples
    --------
    >>> import asyncio
    >>> import greenzmq.aio as zmq
    >>> async def main():
    ...     async with zmq.Context() as context, context.socket(zmq.REP) as socket:
    ...         with zmq.monitor_events(socket, zmq.EVENT_LISTENING) as events:
    ...             socket.bind("tcp://127.0.0.1:*")
    ...             async for event in events:
    ...                 return event["event"].name
    >>> asyncio.run(main())
    'LISTENING'
    """
    return AsyncMonitorEvents(socket, events)


class AsyncMonitorEvents(EventSource):
    """`MonitorEvents` for ``async for``. A cancellation loses no event."""

    _socket_class = awaitable.Socket

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """The next event. Raises as `MonitorEvents.__next__`, and `StopAsyncIteration` at the end."""
        if self._theirs is None:
            raise StopAsyncIteration
        try:
            event = self._parsed(await self._monitor.recv_multipart())
        except zmq.ZMQError:
            if self._has_ended():
                raise StopAsyncIteration from None
            raise
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
