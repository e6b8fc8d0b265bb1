"""The `SocketState` of each open libzmq socket, by the socket's address.

Several `Socket` objects may shadow one libzmq socket. They have to share one state, to know of each other's waiters.
"""

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

#: The address of a libzmq socket, for our own use: unlike `Socket.underlying`, it does not expose the socket.
address_of: Callable[[Any], int] = BackendSocket.underlying.__get__

# Weak: a state is kept by the `Socket` objects that share it.
_states: weakref.WeakValueDictionary[int, SocketState] = weakref.WeakValueDictionary()


def shared_state(
    socket: Any, turn: float, make: Callable[[float], SocketState] = SocketState, *, is_new: bool = False
) -> SocketState:
    """Return the state of the libzmq socket behind `socket`, green or plain; ``make(turn)`` makes it if there is none.

    Parameters
    ----------
    is_new : bool
        The libzmq socket was made just now, and no other object knows it.
    """
    address = address_of(socket)
    state = None if is_new else _states.get(address)
    # A socket closed behind our back leaves its state here, and libzmq may give its address to a new socket.
    if state is None or state.is_of_another(get_option(socket, FD)):
        state = _states[address] = make(turn)
        if is_new:
            state.be_exclusive()
    return state


def forget_state(socket: Any) -> None:
    """Remove the state of a socket that is about to be closed, since another socket may then get its address."""
    _states.pop(address_of(socket), None)
