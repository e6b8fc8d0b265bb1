"""The calls of a socket that native threads share: the lock, and the fast path under it.

`LockedCalls` stands between `Socket`, or a class that a program has derived from it, and pyzmq's own. So the sockets of
other hubs pay nothing for the lock. How sharing works is told in `greenzmq.sockets.sharing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, cast

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from . import signatures
from .calls import DONTWAIT, receive_message, send_addressed, send_message, send_part
from .fast_methods import fast
from .monitors import stop_monitoring
from .parts import PART_BY_PART, send_part_by_part, take_parts
from .plain import PlainSocket
from .signatures import typed_as
from .sleeping import GOES_ON
from .tracker import tracked

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LockedCalls"]

RCVMORE = int(zmq.RCVMORE)

_send = BackendSocket.send
_recv = BackendSocket.recv


_fast = partial(fast, goes_on=GOES_ON)


class _LikeSocket(PlainSocket[Any] if TYPE_CHECKING else object):  # type: ignore[misc]
    """What `LockedCalls` finds behind it."""


class LockedCalls(_LikeSocket):
    """Those calls of `Socket` that need the lock. See there for what each does.

    In an operation the gate of the fast path is read under the lock, so the methods of `Socket`, which read it without
    one, are not called.
    """

    _greenzmq_lock: Any = nullcontext()  # the socket's, once pyzmq's `__init__` has made the socket
    _greenzmq_state: Any
    _greenzmq_receiving: Any
    _greenzmq_sending: Any
    _greenzmq_message_receiving: Any
    _greenzmq_message_sending: Any

    @typed_as(signatures.send)
    @_fast
    def send(
        self,
        data: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> Any:
        """See `Socket.send`."""
        sending = self._greenzmq_sending
        if not (-flags or track) and routing_id is None and group is None:
            met_again = False
            with self._greenzmq_lock:
                if sending.fast_calls_left:
                    sending.fast_calls_left = sending.fast_calls_left - 1
                    try:
                        return _send(self, data, DONTWAIT, copy)
                    except zmq.Again:
                        met_again = True
                    except BaseException:
                        sending.close_fast_path()
                        raise
            return self._greenzmq_state.perform(self, sending, send_part, 0, (data, copy, track), met_again)
        if track:
            data = tracked(data, copy, self.copy_threshold)
        if routing_id is None and group is None:
            return self._greenzmq_state.perform(self, sending, send_part, index(flags), (data, copy, track))
        return self._greenzmq_state.perform(
            self, sending, send_addressed, index(flags), (data, copy, track, routing_id, group)
        )

    @typed_as(signatures.recv)
    @_fast
    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """See `Socket.recv`."""
        receiving = self._greenzmq_receiving
        met_again, alternates = False, self._greenzmq_state.alternates
        if not -flags:
            with self._greenzmq_lock:
                if receiving.fast_calls_left and receiving.last_receiver() is getcurrent() and not alternates:
                    receiving.fast_calls_left = receiving.fast_calls_left - 1
                    try:
                        return _recv(self, DONTWAIT, copy, track)
                    except zmq.Again:
                        met_again = True
        return self._greenzmq_state.perform(self, receiving, _recv, index(flags), (copy, track), met_again)

    @typed_as(signatures.send_multipart)
    @_fast
    def send_multipart(
        self, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """See `Socket.send_multipart`."""
        sending = self._greenzmq_message_sending
        if sending is PART_BY_PART:
            return send_part_by_part(self, msg_parts[:], flags, copy, track, kwargs)
        parts = _taken(msg_parts[:], copy, track)  # a copy: others may change the list meanwhile
        met_again = False
        if not (-flags or track or kwargs):
            with self._greenzmq_lock:
                if sending.fast_calls_left:
                    sending.fast_calls_left = sending.fast_calls_left - 1
                    try:
                        return send_message(self, DONTWAIT, parts, copy, track)
                    except zmq.Again:
                        met_again = True
                    except BaseException:
                        sending.close_fast_path()
                        raise
            return self._greenzmq_state.perform(self, sending, send_message, 0, (parts, copy, track), met_again)
        if track:
            parts = [tracked(part, copy, self.copy_threshold) for part in parts]
        arguments: Any = (parts, copy, track and not copy)
        if kwargs:
            arguments += (partial(PlainSocket.send, **kwargs),)
        return self._greenzmq_state.perform(self, sending, send_message, index(flags), arguments)

    @typed_as(signatures.recv_multipart)
    @_fast
    def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """See `Socket.recv_multipart`."""
        receiving = self._greenzmq_message_receiving
        if receiving is PART_BY_PART:
            return PlainSocket.recv_multipart(self, flags, copy, track)
        met_again, alternates = False, self._greenzmq_state.alternates
        if not -flags:
            with self._greenzmq_lock:
                if receiving.fast_calls_left and receiving.last_receiver() is getcurrent() and not alternates:
                    receiving.fast_calls_left = receiving.fast_calls_left - 1
                    try:
                        return receive_message(self, DONTWAIT, copy, track)
                    except zmq.Again:
                        met_again = True
        return self._greenzmq_state.perform(self, receiving, receive_message, index(flags), (copy, track), met_again)

    # -- what is no operation ------------------------------------------------------------------------------------------

    def get(self, option: int) -> Any:
        """See `Socket.get`. ``RCVMORE`` tells of the message of which the caller has received a part.

        libzmq's own answer is of the socket's last part, which may be another thread's by now.
        """
        with self._greenzmq_lock:
            if option == RCVMORE and hasattr(self, "_greenzmq_state"):
                last: Any = self._greenzmq_receiving.last_receiver()
                if last is not getcurrent():
                    return 0
            return super().get(option)

    getsockopt = get

    def set(self, option: int, optval: int | bytes) -> None:
        """See `Socket.set`."""
        with self._greenzmq_lock:
            super().set(option, optval)
            if hasattr(self, "_greenzmq_state"):
                self._greenzmq_state.forbid_sleep()

    setsockopt = set  # noqa: A003

    def _greenzmq_and_recheck(self, call: Callable[..., Any], *args: Any) -> Any:
        with self._greenzmq_lock:
            return super()._greenzmq_and_recheck(call, *args)

    def join(self, group: str | bytes) -> None:
        """See `zmq.Socket.join`."""
        with self._greenzmq_lock:
            super().join(group)

    def leave(self, group: str | bytes) -> None:
        """See `zmq.Socket.leave`."""
        with self._greenzmq_lock:
            super().leave(group)

    def monitor(self, addr: str | bytes | None, events: int = zmq.EVENT_ALL) -> None:
        """See `zmq.Socket.monitor`."""
        with self._greenzmq_lock:
            super().monitor(addr, events)

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self:
        """See `Socket.get_monitor_socket`."""
        with self._greenzmq_lock:
            return cast("Self", super().get_monitor_socket(events, addr))

    def disable_monitor(self) -> None:
        """See `Socket.disable_monitor`."""
        with self._greenzmq_lock:
            super().disable_monitor()

    def close(self, linger: int | None = None) -> None:
        """See `Socket.close`. From any thread; an operation that another one makes ends first."""
        monitored = self.__dict__.get("_greenzmq_monitored")
        if monitored is not None and not self.closed:
            # This takes the lock of the monitored socket. A thread that has that one may wait for this one's.
            stop_monitoring(self, monitored())
            self.__dict__.pop("_greenzmq_monitored", None)
        with self._greenzmq_lock:
            super().close(linger)

    def _greenzmq_after_fork(self) -> None:
        super()._greenzmq_after_fork()
        self.__dict__["_greenzmq_lock"] = self._greenzmq_state.lock


def _taken(parts: Sequence[Any], copy: bool, track: bool) -> Sequence[Any]:
    """The parts as they can be sent; see `take_parts`."""
    for part in parts:
        if type(part) is not bytes:
            return take_parts(parts, copy, track)
    return parts
