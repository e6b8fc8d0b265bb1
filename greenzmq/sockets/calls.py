"""The calls of a socket as `SocketState.perform` wants them: the whole of it in one call, EAGAIN only if nothing was
done.

libzmq's own functions do the work, under the flags that they are given. None of them switches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from .parts import has_come_as_far

__all__ = ["DONTWAIT", "SNDMORE", "receive_into", "receive_message", "send_addressed", "send_message", "send_part"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
DONTWAIT = int(zmq.DONTWAIT)
SNDMORE = int(zmq.SNDMORE)
PAIR = int(zmq.PAIR)
TYPE = int(zmq.TYPE)

_get = BackendSocket.get
_send = BackendSocket.send
_recv = BackendSocket.recv


def send_part(socket: Any, flags: int, data: Any, copy: bool, track: bool) -> zmq.MessageTracker | None:
    """One part."""
    return _send(socket, data, flags, copy, track)


def send_addressed(
    socket: Any, flags: int, data: Any, copy: bool, track: bool, routing_id: int | None, group: str | None
) -> zmq.MessageTracker | None:
    """One part, by way of pyzmq's own method, which knows of routing ids and groups."""
    tracker: zmq.MessageTracker | None = zmq.Socket.send(socket, data, flags, copy, track, routing_id, group)
    return tracker


def receive_into(socket: Any, flags: int, buffer: Any, nbytes: int) -> int:
    """One part, into a buffer."""
    return BackendSocket.recv_into(socket, buffer, nbytes=nbytes, flags=flags)


def send_message(
    socket: Any, flags: int, parts: Sequence[Any], copy: bool, track: bool, send: Callable[..., Any] = _send
) -> Any:
    """All parts, without a switch. Only the first can meet the high-water mark (libzmq's pipe.cpp counts messages)."""
    more = flags | SNDMORE
    others: Any = iter(parts[:-1])
    try:
        for part in others:
            send(socket, part, more, copy, track)
        others = None
        return send(socket, parts[-1], flags, copy, track)
    except BaseException as error:
        at = len(parts) - (1 if others is None else len([*others]) + 2)
        if at < 0 or (at == 0 and _has_failed(send, error)):
            raise
        return _finish_message(socket, flags, parts, at, (copy, track), error)


def _finish_message(
    socket: Any, flags: int, parts: Sequence[Any], at: int, arguments: tuple[bool, bool], error: BaseException
) -> Any:
    """Send the rest of a message that has begun, whose part number `at` has met `error`; then raise it, if it matters.

    libzmq takes nothing back: what is begun would be completed by the next message, another one's perhaps.

    - EAGAIN means that the peer is gone and the message with it (lb.cpp). Where libzmq balances load it waits for the
      remaining parts, to drop them: a blocking send does just that. A PAIR would give them to its next peer.
    - A signal handler has raised, before the part was sent or after.
    - Else there was no memory, to copy or not to copy: the other one of these may do. If not, the message ends here.
    """
    copy, track = arguments
    raised: BaseException | None = None
    if isinstance(error, zmq.Again):
        if _get(socket, TYPE) == PAIR:
            return None
        at += 1
    elif _has_failed(_send, error):
        copy = not copy
    else:
        raised = error
        at = at + _was_sent(socket, parts[at], copy, track, error) or len(parts)  # 0: nothing has begun
    result = None
    try:
        while at < len(parts):
            try:
                result = _send(socket, parts[at], flags | (SNDMORE if at < len(parts) - 1 else 0), copy, track)
            except zmq.Again:
                if raised is not None:  # nothing has begun: there was no room for the first part, and there is none
                    break
                result = None
            except BaseException as another:
                if _has_failed(_send, another):
                    _send(socket, b"", flags)
                    raise
                raised = another
                at -= not _was_sent(socket, parts[at], copy, track, another)
            at += 1
        if raised is not None:
            raise raised
        return result
    finally:
        del error, raised  # whose tracebacks refer to this frame


def _has_failed(send: Callable[..., Any], error: BaseException) -> bool:
    """Whether `send` has raised that by itself, and not a signal handler meanwhile: libzmq, or for lack of memory."""
    kinds = (zmq.ZMQError, MemoryError) if send is _send else Exception
    return isinstance(error, kinds)


def _was_sent(socket: Any, part: Any, copy: bool, track: bool, error: BaseException) -> bool:
    """Whether the part was sent when a signal handler raised `error`: pyzmq looks for signals before and after that.

    Which of the two it was is in the traceback: what comes after has come as far as EAGAIN would have.
    """
    try:
        with zmq.Socket(socket.context, zmq.PUSH) as full:  # it has no peer
            _send(full, part, DONTWAIT, copy, track)
    except zmq.Again as again:
        return has_come_as_far(error, again)
    except zmq.ZMQError:  # the context has ended
        pass
    return True


def receive_message(socket: Any, flags: int, copy: bool, track: bool) -> list[Any]:
    """All parts, without a switch: they arrive together (libzmq's pipe.cpp flushes whole messages)."""
    if not copy:
        frames: list[zmq.Frame] = [_recv(socket, flags, False, track)]
        while frames[-1].more:
            frames.append(_recv(socket, DONTWAIT, False, track))
        return frames
    # A frame knows whether it is the last one. To copy at once and ask the socket that costs more.
    frame: zmq.Frame = _recv(socket, flags, False)
    parts = [frame.bytes]
    while frame.more:
        frame = _recv(socket, DONTWAIT, False)
        parts.append(frame.bytes)
    return parts
