"""Proxies that are awaited: the green ones, each in a greenlet of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..waiting.bridge import run_beside
from . import green

if TYPE_CHECKING:
    import zmq

    from ..hubs.asyncio import Future

__all__ = ["device", "proxy", "proxy_steerable"]


def proxy(
    frontend: zmq.Socket[Any], backend: zmq.Socket[Any], capture: zmq.Socket[Any] | None = None, *, native: bool = False
) -> Future[int]:
    """Pass messages on between two sockets, both ways, until the task that this returns is cancelled.

    Parameters
    ----------
    frontend, backend, capture, native
        As for `greenzmq.proxy`: awaitable, green or plain sockets.

    Returns
    -------
    asyncio.Task
        It begins in the next round of the loop, awaited or not. A cancellation, or the close of a socket, ends it.
    """
    return run_beside(green.proxy, frontend, backend, capture, native=native, hub="asyncio")


def proxy_steerable(
    frontend: zmq.Socket[Any],
    backend: zmq.Socket[Any],
    capture: zmq.Socket[Any] | None = None,
    control: zmq.Socket[Any] | None = None,
    *,
    native: bool = False,
) -> Future[int]:
    """`proxy`, with a socket on which it takes commands; see `greenzmq.proxy_steerable`."""
    return run_beside(green.proxy_steerable, frontend, backend, capture, control, native=native, hub="asyncio")


def device(device_type: int, frontend: zmq.Socket[Any], backend: Any = None) -> Future[int]:
    """`proxy` under its old name; see `zmq.device`."""
    return run_beside(green.device, device_type, frontend, backend, hub="asyncio")
