"""The PAIR socket on which libzmq tells what happens to another socket's connections."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import zmq

__all__ = ["open_monitor", "stop_monitoring"]

_numbers = itertools.count()


def open_monitor(
    green: type[zmq.Socket[Any]], socket: zmq.Socket[Any], events: int | None = None, addr: str | None = None
) -> Any:
    """`Socket.get_monitor_socket` of a green or plain socket; `green` is the green class.

    Fact: libzmq's I/O thread waits until the monitor's PAIR takes an event, and meanwhile serves no connection of the
    context. Consequence: a monitor that is full, or closed before the monitoring ends, stops them all. So this one is
    never full, and its `close` ends the monitoring.
    """
    monitor: Any = socket._monitor_socket
    if monitor is not None and not monitor.closed:
        return monitor
    if addr is None:
        # Not pyzmq's address, which is the same each time: libzmq frees that of a closed monitor a while later.
        addr = f"inproc://greenzmq.monitor.{next(_numbers)}"
    context: zmq.Context[Any] = socket.context
    if issubclass(context._socket_class, green):
        monitor = context.socket(zmq.PAIR)
    else:
        monitor = context.socket(zmq.PAIR, socket_class=type(socket) if isinstance(socket, green) else green)
    try:
        monitor.set(zmq.RCVHWM, 0)
        socket.monitor(addr, zmq.EVENT_ALL if events is None else events)
        monitor.__dict__["_greenzmq_monitored"] = weakref.ref(socket)
        socket._monitor_socket = monitor
        monitor.connect(addr)
    except BaseException:
        monitor.close(linger=0)
        raise
    return monitor


def stop_monitoring(monitor: Any, socket: zmq.Socket[Any] | None) -> None:
    """End the monitoring of `socket`, before `monitor` is closed; nothing if `socket` has another monitor by now."""
    if socket is not None and not socket.closed and socket._monitor_socket is monitor:
        try:
            socket.disable_monitor()
        except zmq.ContextTerminated:  # which ends the monitoring, too
            pass
