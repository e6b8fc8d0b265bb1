"""What a workload makes of a runtime: tasks to run, again and again, and what to say of each time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

if TYPE_CHECKING:
    from .runtimes import Runtime

__all__ = ["HWM", "Job", "Task", "connect", "listen", "pair", "pin_to_one_core"]

HWM = 1000
"""Every socket's high-water mark, both ways, unless a workload says otherwise. libzmq's own default."""

Task = tuple[Any, ...]
"""A function, or coroutine function, and its arguments."""

directory = ""
"""Where the sockets of ipc are."""

_names = itertools.count()


class Job(NamedTuple):
    """One workload on one contender, set up."""

    tasks: Sequence[Task]
    """What one repetition spawns and waits for."""
    metrics: Callable[[float], dict[str, float]]
    """From the seconds that a repetition took, what it says."""
    background: Sequence[Task] = ()
    """What runs beside, from the start."""
    peer: dict[str, Any] | None = None
    """Parameters for a process of its own that plays the other side."""


def pin_to_one_core() -> None:
    """Keep this thread, and all that it starts from now on, on one core, which is the same in every process.

    libzmq starts its I/O thread with the first socket of a context. So call this before there is a socket.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def listen(runtime: Runtime, kind: str, transport: str, *, hwm: int = HWM, **options: int) -> tuple[Any, str]:
    """A socket that is bound, and its address."""
    socket = _socket(runtime, kind, hwm, options)
    if transport == "tcp":
        socket.bind("tcp://127.0.0.1:*")
        return socket, socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")
    name = f"{os.getpid()}-{next(_names)}"
    address = f"inproc://{name}" if transport == "inproc" else f"ipc://{directory}/{name}"
    socket.bind(address)
    return socket, address


def connect(runtime: Runtime, kind: str, address: str, *, hwm: int = HWM, **options: int) -> Any:
    """A socket that is connected."""
    socket = _socket(runtime, kind, hwm, options)
    socket.connect(address)
    return socket


def pair(runtime: Runtime, connected: str, bound: str, transport: str, **options: int) -> tuple[Any, Any]:
    """Two sockets of these kinds, connected."""
    listening, address = listen(runtime, bound, transport, **options)
    return connect(runtime, connected, address, **options), listening


def _socket(runtime: Runtime, kind: str, hwm: int, options: dict[str, int]) -> Any:
    socket = runtime.context.socket(getattr(zmq, kind))
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.LINGER, 0)
    for option, value in options.items():
        socket.setsockopt(getattr(zmq, option), value)
    return socket
