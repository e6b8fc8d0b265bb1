"""The methods of `Socket` that have a compiled fast path, and what follows when that meets EAGAIN.

The extension calls the functions here after an attempt that has counted as one of the fast path: so they do what the
methods themselves do after their own attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any, TypeVar, cast

import zmq
from greenlet import getcurrent

from . import accelerator
from .calls import DONTWAIT, finish_message, receive_message, send_message, send_part
from .directions import Direction

__all__ = ["compiled", "fast", "use"]

Method = TypeVar("Method", bound=Callable[..., Any])

#: The methods, by the numbers that ``_fastpath.h`` has for them.
WAYS = ("recv", "send", "recv_multipart", "send_multipart")
#: The slots of a `Direction` that the gate of the fast path is made of.
COUNTED = ("fast_calls_left", "last_receiver")

#: What `SocketState.perform` makes for a method that has met EAGAIN, which the extension calls itself.
CALLS: dict[str, Callable[..., Any]] = {"send": send_part, "recv": accelerator.recv}


# Each has the name of its method: `greenzmq.diagnostics` shows that as the call in which a greenlet waits.


def send_multipart(socket: Any, parts: Any, sent: int, errno: int) -> Any:
    """Go on with a `Socket.send_multipart` that has met an error after `sent` parts; with none sent, it was EAGAIN."""
    if sent == 0:
        arguments = (parts[:], True, False)  # a wait may follow, in which other greenlets may change the list
        return socket._greenzmq_state.perform(socket, socket._greenzmq_sending, send_message, 0, arguments, True)
    try:
        _raise(errno)
    except zmq.ZMQError as error:
        return finish_message(socket, DONTWAIT, parts, sent, (True, False), error)


def recv_multipart(socket: Any) -> Any:
    """Go on with a `Socket.recv_multipart` that has met EAGAIN."""
    return socket._greenzmq_state.perform(socket, socket._greenzmq_receiving, receive_message, 0, (True, False), True)


def _raise(errno: int) -> None:
    """Raise what pyzmq raises for an error of libzmq."""
    if errno == zmq.EAGAIN:
        raise zmq.Again(errno)
    if errno == zmq.ETERM:
        raise zmq.ContextTerminated(errno)
    raise zmq.ZMQError(errno)


def fast(method: Method, goes_on: Mapping[str, Any] | None = None) -> Method:
    """Give a method of `Socket` its compiled fast path, if there is one.

    What is returned has the signature, the documentation and the name of the method, which it calls for all that is
    not usual. `goes_on` has functions by the names of methods, which take the place of those of this module: they know
    of threads that sleep by themselves (`greenzmq.sockets.sleeping`), so such a method may.
    """
    kind = method.__name__
    if goes_on is None and kind in CALLS:
        return compiled(kind, method, CALLS[kind], performs=True)
    return compiled(kind, method, (goes_on or globals())[kind], sleeps=goes_on is not None)


def compiled(
    kind: str, function: Method, then: Callable[..., Any], performs: bool = False, sleeps: bool = False
) -> Method:
    """Give a function that does what the method `kind` of `Socket` does its compiled fast path, if there is one.

    Where an attempt has met EAGAIN, `then` is called in its place: with the socket, and for a send with what was to be
    sent, the number of parts that were, and the errno. If it `performs`, rather `SocketState.perform` with `then` as
    its call, which takes less memory while it waits. If it `sleeps`, the thread may wait before that.
    """
    if accelerator.extension is None:
        return function
    method: Any = accelerator.extension.FastMethod(WAYS.index(kind), function, then, performs, sleeps)
    update_wrapper(method, function)
    return cast("Method", method)


def use(socket: type[Any]) -> None:
    """Tell the extension where `Socket` and others keep what it reads: its fast methods begin to be fast."""
    names = ("receiving", "sending", "message_receiving", "message_sending", "state")
    slots = [socket.__dict__[f"_greenzmq_{name}"] for name in names]
    slots += [accelerator.CompiledPath.__dict__["address"], *(Direction.__dict__[name] for name in COUNTED)]
    accelerator.use(tuple(slots), getcurrent, _raise)
