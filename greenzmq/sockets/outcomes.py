"""What an attempt ends with that has no result: it has to wait, or it raises `zmq.Again`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq
from greenlet import getcurrent, greenlet

from .. import hubs
from ..waiting.waiter import Waiter, may_wait
from .waiters import get_option

if TYPE_CHECKING:
    from .messages import Party

__all__ = ["MUST_WAIT", "end_run", "in_vain", "reserved"]

DONTWAIT = int(zmq.DONTWAIT)
RCVMORE = int(zmq.RCVMORE)
#: Returned in place of a result: the operation met EAGAIN, or was not tried because it would probably meet EAGAIN.
MUST_WAIT: Any = object()


def in_vain(waiter: Waiter) -> Any:
    """After EAGAIN: return `MUST_WAIT`, or raise `zmq.Again` if the time is over."""
    if waiter.expired:
        error = zmq.Again()
        error.is_timeout = True  # type: ignore[attr-defined]  # so that ``eventlet.is_timeout(error)`` is true
        try:
            raise error from None
        finally:
            del error  # its traceback refers to this frame, and so would make a reference cycle with the socket in it
    return MUST_WAIT


def reserved(flags: int) -> Any:
    """Another greenlet is in the middle of a message: return `MUST_WAIT`, or raise `zmq.Again` if `flags` say so."""
    if flags & DONTWAIT:
        raise zmq.Again()
    return MUST_WAIT


def end_run(state: Any, who: Party, socket: Any) -> bool:
    """A run of calls under NOBLOCK has lasted for a turn: whether it ends here, with `zmq.Again`; see `fairness`.

    Not if others may watch ZMQ_FD, which an `Again` tells that there will be a signal for the next message. Not inside
    a message. And not where the caller could not let the hub go round anyway.
    """
    if not state.exclusive or get_option(socket, RCVMORE):
        return False
    if isinstance(who, greenlet):  # a task can yield where it awaits the next poll
        hub = hubs.current_hub(socket._greenzmq_choice)
        if who is not getcurrent() or hub is None or not may_wait(hub):
            return False
    state.turn.end_run()
    state.turn.put_off_its_end()  # so that the next poll yields
    return True
