"""The events of a socket's connections, as an iterator.

pyzmq's own way works on green sockets, too: ``socket.get_monitor_socket()`` with
`zmq.utils.monitor.recv_monitor_message`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import zmq

from .monitors import open_monitor, stop_monitoring
from .socket import Socket

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["MonitorEvents", "monitor_events"]

_STOPPED = int(zmq.EVENT_MONITOR_STOPPED)


def monitor_events(socket: zmq.Socket[Any], events: int = zmq.EVENT_ALL) -> MonitorEvents:
    """Monitor the connections of `socket`, from this call on.

    Events that nobody reads stay in memory, however many there are. Close an iterator that is not read any more.

    Parameters
    ----------
    socket : Socket
        Green or plain. libzmq allows one monitor for each socket: if it has one already, the iterator takes that over.
    events : int
        Which events, such as ``zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED``.

    Returns
    -------
    MonitorEvents
        An iterator. It ends when `socket` is closed or its monitor is disabled. Its last event is then
        ``EVENT_MONITOR_STOPPED``, if `events` contains that.

    Notes
    -----
    Switches: never; the iterator does when it has to wait for an event.

    Examples
    --------
    ::

        with monitor_events(socket, zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED) as events:
            for event in events:
                print(event["event"].name, event["endpoint"])
    """
    return MonitorEvents(socket, events)


class MonitorEvents:
    """An iterator over the events of one socket; see `monitor_events`.

    Each event is a dict, as `zmq.utils.monitor.parse_monitor_message` makes it.
    """

    def __init__(self, socket: zmq.Socket[Any], events: int = zmq.EVENT_ALL) -> None:
        self._socket = socket
        self._events = int(events)
        theirs: zmq.Socket[Any]
        if isinstance(socket, Socket):
            theirs = socket.get_monitor_socket(self._events | _STOPPED)
        else:
            theirs = open_monitor(Socket, socket, self._events | _STOPPED)
        self._theirs: zmq.Socket[Any] | None = theirs
        self._monitor = theirs if isinstance(theirs, Socket) else Socket(shadow=theirs)
        self._monitor.__dict__["_greenzmq_monitored"] = weakref.ref(socket)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Return the next event. Switches: when it has to wait for one.

        Raises
        ------
        StopIteration
            There will be no more events.
        zmq.ContextTerminated
            The context has ended.
        """
        from zmq.utils.monitor import parse_monitor_message  # imports asyncio

        if self._theirs is None:
            raise StopIteration
        try:
            event = parse_monitor_message(self._monitor.recv_multipart())
        except zmq.ZMQError:
            if self._theirs is None:  # closed by another greenlet
                raise StopIteration from None
            self.close()
            raise
        if event["event"] == _STOPPED:
            self.close()
            if not self._events & _STOPPED:
                raise StopIteration
        return event

    def close(self) -> None:
        """End the monitoring. For a greenlet that waits for an event, the iterator ends. Never switches."""
        theirs, self._theirs = self._theirs, None
        if theirs is None:
            return
        stop_monitoring(theirs, self._socket)
        self._monitor.close(linger=0)
        theirs.close(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "_theirs" in self.__dict__:
            self.close()
