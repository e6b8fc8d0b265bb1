"""The calls that `SocketState.perform` makes. Each does a whole operation, and raises EAGAIN only if it did nothing.

They call pyzmq's bindings of libzmq with the flags that they are given. None of them switches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EINTR
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket
from zmq.backend import zmq_errno

from .parts import has_come_as_far
from .plain import PlainSocket

__all__ = [
    "DONTWAIT",
    "SNDMORE",
    "finish_message",
    "receive_into",
    "receive_message",
    "send_addressed",
    "send_message",
    "send_part",
]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
DONTWAIT = int(zmq.DONTWAIT)
SNDMORE = int(zmq.SNDMORE)
PAIR = int(zmq.PAIR)
TYPE = int(zmq.TYPE)

_get = BackendSocket.get
_send = BackendSocket.send
_recv = BackendSocket.recv


def send_part(socket: Any, flags: int, data: Any, copy: bool, track: bool) -> zmq.MessageTracker | None:
    """Send one part."""
    return _send(socket, data, flags, copy, track)


def send_addressed(
    socket: Any, flags: int, data: Any, copy: bool, track: bool, routing_id: int | None, group: str | None
) -> zmq.MessageTracker | None:
    """Send one part through pyzmq's `Socket.send`, which takes a routing id and a group."""
    tracker: zmq.MessageTracker | None = PlainSocket.send(socket, data, flags, copy, track, routing_id, group)
    return tracker


def receive_into(socket: Any, flags: int, buffer: Any, nbytes: int) -> int:
    """Receive one part into a buffer."""
    return BackendSocket.recv_into(socket, buffer, nbytes=nbytes, flags=flags)


def send_message(
    socket: Any, flags: int, parts: Sequence[Any], copy: bool, track: bool, send: Callable[..., Any] = _send
) -> Any:
    """Send all parts. Only the first can meet the high-water mark, since libzmq counts messages (pipe.cpp)."""
    # Nothing but the loop stands on the fast path; where an error came is found out afterwards, from what is left.
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
        return finish_message(socket, flags, parts, at, (copy, track), error)


def finish_message(
    socket: Any, flags: int, parts: Sequence[Any], at: int, arguments: tuple[bool, bool], error: BaseException
) -> Any:
    """Complete a message whose part number `at` met `error`, then raise the error, if the caller has to know of it.

    libzmq cannot take back the parts that it has got. If the message were left as it is, the next message on the
    socket, perhaps another greenlet's, would become its end. There are three cases:

    - EAGAIN: the peer is gone, and the message with it (lb.cpp). A socket that balances load waits for the remaining
      parts and drops them, so they are sent, as by libzmq's blocking send. A PAIR would give them to its next peer, so
      there they are not sent.
    - A signal handler has raised `error`. The part may have been sent before that or not; see `_was_sent`.
    - Anything else: memory was short. Copying and not copying need different amounts, so the other way is tried. If
      that fails too, an empty last part ends the message.
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
        at = at + _was_sent(socket, parts[at], copy, track, error) or len(parts)  # 0: nothing was sent, so send nothing
    result = None
    try:
        while at < len(parts):
            try:
                result = _send(socket, parts[at], flags | (SNDMORE if at < len(parts) - 1 else 0), copy, track)
            except zmq.Again:
                # Without `raised`, the peer is gone: drop the part. With it, the handler's error may have hidden that
                # the first part met EAGAIN; then nothing was sent, and there is still no room.
                if raised is not None:
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
        del error, raised  # their tracebacks refer to this frame, and so would make reference cycles


def _has_failed(send: Callable[..., Any], error: BaseException) -> bool:
    """Whether `error` comes from `send` itself: from libzmq, or for lack of memory. Else a signal handler raised it."""
    kinds = (zmq.ZMQError, MemoryError) if send is _send else Exception
    return isinstance(error, kinds)


def _was_sent(socket: Any, part: Any, copy: bool, track: bool, error: BaseException) -> bool:
    """Whether the part had been sent when a signal handler raised `error`.

    pyzmq checks for signals both before and after it calls libzmq. The traceback tells which check it was: pyzmq raises
    EAGAIN at the same place as the later check. So a send that is sure to meet EAGAIN is made on another socket, and
    the two tracebacks are compared.

    If the signal came while libzmq looked for commands, the later check finds it, too. But then libzmq has sent nothing
    (socket_base.cpp, process_commands), and has left EINTR in ``errno``.
    """
    if zmq_errno() == EINTR:
        return False
    try:
        with PlainSocket(socket.context, zmq.PUSH) as full:  # it has no peer
            _send(full, part, DONTWAIT, copy, track)
    except zmq.Again as again:
        return has_come_as_far(error, again)
    except zmq.ZMQError:  # the context has ended
        pass
    return True


def receive_message(socket: Any, flags: int, copy: bool, track: bool) -> list[Any]:
    """Receive all parts. After the first, none has to be waited for: libzmq hands over whole messages (pipe.cpp)."""
    if not copy:
        frames: list[zmq.Frame] = [_recv(socket, flags, False, track)]
        while frames[-1].more:
            frames.append(_recv(socket, DONTWAIT, False, track))
        return frames
    # A frame says whether it is the last one. To receive bytes, and read RCVMORE from the socket each time, costs more.
    frame: zmq.Frame = _recv(socket, flags, False)
    parts = [frame.bytes]
    while frame.more:
        frame = _recv(socket, DONTWAIT, False)
        parts.append(frame.bytes)
    return parts
