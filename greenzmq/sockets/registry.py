"""The state of each open libzmq socket, by its address: objects that shadow one socket share one."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from .operations import SocketState
from .waiters import get_option

__all__ = ["address_of", "forget_state", "shared_state"]

FD = int(zmq.FD)

#: The number of a libzmq socket, for our own use: see `Socket.underlying`.
address_of: Callable[[Any], int] = BackendSocket.underlying.__get__

_states: weakref.WeakValueDictionary[int, SocketState] = weakref.WeakValueDictionary()


def shared_state(
    socket: Any, turn: float, make: Callable[[float], SocketState] = SocketState, *, is_new: bool = False
) -> SocketState:
    """The state of the libzmq socket behind `socket`, green or plain; ``make(turn)`` if there is none yet.

    Parameters
    ----------
    is_new : bool
        The socket was made just now, and only `socket` knows it.
    """
    address = address_of(socket)
    state = None if is_new else _states.get(address)
    if state is None or state.is_of_another(get_option(socket, FD)):  # a closed socket's, which had this address before
        state = _states[address] = make(turn)
        if is_new:
            state.be_exclusive()
    return state


def forget_state(socket: Any) -> None:
    """`socket` is about to be closed: another one may get its address."""
    _states.pop(address_of(socket), None)
