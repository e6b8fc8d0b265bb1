"""The events of a socket's connections, as an iterator.

pyzmq's own way works on green sockets, too: ``socket.get_monitor_socket()`` with
`zmq.utils.monitor.recv_monitor_message`.
"""

from __future__ import annotations

import weakref
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar

import zmq

from .monitors import open_monitor, stop_monitoring
from .socket import Socket

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["EventSource", "MonitorEvents", "monitor_events"]

#: The first part of an event: its number and its value; see zmq_socket_monitor(3).
_HEADER = Struct("=hi")
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
    >>> import greenzmq as zmq
    >>> with zmq.Context() as context, context.socket(zmq.REP) as socket:
    ...     with zmq.monitor_events(socket, zmq.EVENT_LISTENING | zmq.EVENT_CLOSED) as events:
    ...         _ = socket.bind("tcp://127.0.0.1:*")
    ...         socket.unbind(socket.last_endpoint)
    ...         [next(events)["event"].name for _ in range(2)]
    ['LISTENING', 'CLOSED']
    """
    return MonitorEvents(socket, events)


class EventSource:
    """The monitor of one socket, for the iterators over its events."""

    _socket_class: ClassVar[type[Socket[Any]]] = Socket

    def __init__(self, socket: zmq.Socket[Any], events: int = zmq.EVENT_ALL) -> None:
        self._socket = socket
        self._events = int(events)
        theirs: zmq.Socket[Any]
        if isinstance(socket, Socket):
            theirs = socket.get_monitor_socket(self._events | _STOPPED)
        else:
            theirs = open_monitor(Socket, socket, self._events | _STOPPED)
        self._theirs: zmq.Socket[Any] | None = theirs
        made = isinstance(theirs, self._socket_class)
        self._monitor: Any = theirs if made else self._socket_class(shadow=theirs)
        self._monitor.__dict__["_greenzmq_monitored"] = weakref.ref(socket)

    def _parsed(self, parts: list[bytes]) -> dict[str, Any] | None:
        """The event in a message of the monitor; None if it is the last, and was not asked for."""
        # Not by pyzmq's function: its module imports asyncio, and this may be the first event of a native thread.
        header, endpoint = parts
        event, value = _HEADER.unpack(header)
        if event == _STOPPED:
            self.close()
            if not self._events & _STOPPED:
                return None
        return {"event": zmq.Event(event), "value": zmq.Event(value), "endpoint": endpoint}

    def _has_ended(self) -> bool:
        """After an error of the monitor: whether that means that the iteration is over. If not, monitor no more."""
        if self._theirs is None:  # closed by another greenlet or task
            return True
        self.close()
        return False

    def close(self) -> None:
        """Monitor no more. Whoever waits for an event finds the end. Never switches."""
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


class MonitorEvents(EventSource):
    """An iterator over the events of one socket; see `monitor_events`.

    Each event is a dict, as `zmq.utils.monitor.parse_monitor_message` makes it.
    """

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
        if self._theirs is None:
            raise StopIteration
        try:
            event = self._parsed(self._monitor.recv_multipart())
        except zmq.ZMQError:
            if self._has_ended():
                raise StopIteration from None
            raise
        if event is None:
            raise StopIteration
        return event
