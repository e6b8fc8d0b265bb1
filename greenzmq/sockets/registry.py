"""The `SocketState` of each open libzmq socket, by the socket's address.

Several `Socket` objects may shadow one libzmq socket. They have to share one state, to know of each other's waiters.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from ..process import unpatched
from ..process.fork import register_after_fork
from .operations import SocketState
from .waiters import get_option

__all__ = ["address_of", "forget_state", "living_states", "shared_state"]

FD = int(zmq.FD)

#: The address of a libzmq socket, for our own use: unlike `Socket.underlying`, it does not expose the socket.
address_of: Callable[[Any], int] = BackendSocket.underlying.__get__


class _Looking:
    """A lock that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self.lock: Any = unpatched.new_rlock()
        register_after_fork(self)

    def _greenzmq_after_fork(self) -> None:
        self.lock = unpatched.new_rlock()


_looking = _Looking()

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
    if is_new:
        state = _states[address] = make(turn)
        state.be_exclusive()
        return state
    with _looking.lock:  # two threads may shadow the same socket at once
        found = _states.get(address)
        # A socket closed behind our back leaves its state here, and libzmq may give its address to a new socket.
        if found is None or found.is_of_another(get_option(socket, FD)):
            found = _states[address] = make(turn)
        return found


def forget_state(socket: Any) -> None:
    """Remove the state of a socket that is about to be closed, since another socket may then get its address."""
    _states.pop(address_of(socket), None)


def living_states() -> list[SocketState]:
    """The states of all open sockets."""
    return list(_states.values())
