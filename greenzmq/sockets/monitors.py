"""Monitors: a monitor is a PAIR socket on which libzmq reports the events of another socket's connections."""

from __future__ import annotations

import itertools
import weakref
from contextlib import nullcontext
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from ..process import unpatched

__all__ = ["end_monitoring", "is_opening", "open_monitor", "stop_monitoring"]

_numbers = itertools.count()
_thread = unpatched.local()


def open_monitor(
    green: type[zmq.Socket[Any]], socket: zmq.Socket[Any], events: int | None = None, addr: str | None = None
) -> Any:
    """Do the work of `Socket.get_monitor_socket`, for a green or a plain socket.

    Fact: libzmq's I/O thread waits until the monitor has taken an event, and meanwhile serves no connection of the
    context. Consequence: a monitor that is full, or that is closed before the monitoring ends, stops all connections.
    Choice: this monitor is never full, and its `close` ends the monitoring first. Cost: events that nobody receives
    stay in memory.

    Parameters
    ----------
    green : type
        The green `Socket` class.
    socket : Socket
        The socket to monitor.
    events : int, optional
        Which events; None means all.
    addr : str, optional
        The inproc address of the monitor; None chooses a new one.

    Returns
    -------
    Socket
        The monitor that the socket has already, or a new green one.
    """
    monitor: Any = socket._monitor_socket
    if monitor is not None and not monitor.closed:
        return monitor
    if addr is None:
        # A new address each time. pyzmq's is always the same for one socket, and libzmq frees the address of a closed
        # monitor only a while after the close.
        addr = f"inproc://greenzmq.monitor.{next(_numbers)}"
    context: zmq.Context[Any] = socket.context
    own = context._socket_class if issubclass(context._socket_class, green) else None
    _thread.opening = True
    try:
        monitor = context.socket(zmq.PAIR, socket_class=own or (type(socket) if isinstance(socket, green) else green))
    finally:
        _thread.opening = False
    began = False
    try:
        monitor.set(zmq.RCVHWM, 0)
        socket.monitor(addr, zmq.EVENT_ALL if events is None else events)
        began = True
        monitor.__dict__["_greenzmq_monitored"] = weakref.ref(socket)
        socket._monitor_socket = monitor
        monitor.connect(addr)
    except BaseException:
        try:
            if began:
                # An exception, such as that of a signal handler, has come before the connection. libzmq would wait
                # for a peer that it can tell of the end of the monitoring, and block this thread for good.
                BackendSocket.connect(monitor, addr)
                socket.disable_monitor()
        finally:
            monitor.close(linger=0)
        raise
    return monitor


def is_opening() -> bool:
    """Whether the socket that this thread makes now is a monitor."""
    return getattr(_thread, "opening", False)


def end_monitoring(self: zmq.Socket[Any]) -> None:
    """End the monitoring; see `zmq.Socket.disable_monitor`. Never switches.

    The monitor of `get_monitor_socket` then has its last event. If the program has not kept it, it is closed now.
    """
    # Fact: at the end of the monitoring libzmq waits until the monitor has taken the last event. Consequence: if the
    # monitor is closed before, this thread waits for good. pyzmq's own method does that: it first drops its reference,
    # which may be the last one. Choice: drop it only afterwards.
    try:
        self.monitor(None, 0)
    except zmq.ZMQError:  # the socket is closed, or the end of its context has ended the monitoring
        self._monitor_socket = None
        raise
    self._monitor_socket = None


def stop_monitoring(monitor: Any, socket: zmq.Socket[Any] | None) -> None:
    """End the monitoring of `socket`; to be called before `monitor` is closed.

    Does nothing if `socket` is closed, or has another monitor by now.
    """
    if socket is None:
        return
    lock: Any = getattr(socket, "_greenzmq_lock", None) or nullcontext()  # of a socket that native threads share
    with lock:
        if not socket.closed and socket._monitor_socket is monitor:
            try:
                socket.disable_monitor()
            except zmq.ContextTerminated:  # the end of the context has ended the monitoring
                pass
