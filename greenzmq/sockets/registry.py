"""The `SocketState` of each open libzmq socket, by the socket's address.

Several `Socket` objects may shadow one libzmq socket. They have to share one state, to know of each other's waiters.

A state is found here once the program has got the address: before, there cannot be another object.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from ..process.fork import ForkSafeLock, registered_objects
from .inherited import inherited_message
from .operations import SocketState
from .waiters import get_option

__all__ = ["address_of", "forget_state", "living_states", "publish_state", "shared_state"]

FD = int(zmq.FD)

#: The address of a libzmq socket, for our own use: unlike `Socket.underlying`, it does not expose the socket.
address_of: Callable[[Any], int] = BackendSocket.underlying.__get__


_looking = ForkSafeLock()

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

    Raises
    ------
    zmq.ZMQError
        This is a forked child, and the socket is its parent's.
    """
    if is_new:
        state = make(turn)
        state.set_exclusive(True)
        return state
    address = address_of(socket)
    with _looking.lock:  # two threads may shadow the same socket at once
        found = _states.get(address)
        if found is not None and found.inherited:
            raise zmq.ZMQError(zmq.ENOTSOCK, inherited_message("socket"))
        # A socket closed behind our back leaves its state here, and libzmq may give its address to a new socket.
        if found is None or found.is_of_another(get_option(socket, FD)):
            found = _states[address] = make(turn)
        else:
            found.watch_anew()
        return found


def publish_state(socket: Any, state: SocketState) -> int:
    """The program asks for the socket's address: let objects made by it find the state. Returns the address."""
    address = address_of(socket)
    _states[address] = state
    return address


def forget_state(socket: Any) -> None:
    """Remove the state of a socket that is about to be closed, since another socket may then get its address."""
    _states.pop(address_of(socket), None)


def living_states() -> list[SocketState]:
    """The states of all open sockets: of those that contexts have made, and of all others. Any thread may ask."""
    while True:
        try:
            owners = registered_objects()
            sockets = [socket for owner in owners for socket in list(getattr(owner, "_sockets", ()))]
            break
        except RuntimeError:  # another thread has made or closed one meanwhile
            continue
    states = [getattr(each, "_greenzmq_state", None) for each in (*owners, *sockets)]
    living = {id(state): state for state in (*states, *_states.values()) if state is not None}
    return [state for state in living.values() if not state.closed]
