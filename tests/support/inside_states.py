"""What tests know of the states that a socket leaves to a later one; see `support.inside`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

import greenzmq
from greenzmq.polling.poll_set import PollSet
from greenzmq.sockets import operations, registry, sharing, waiters

if TYPE_CHECKING:
    import pytest


def leave_state(earlier: greenzmq.Socket, later: zmq.Socket[Any]) -> None:
    """Put the state of one socket under the address of another, as when libzmq uses an address again."""
    registry._states[registry.address_of(later)] = earlier._greenzmq_state


def leave_ended_state(socket: greenzmq.Socket) -> None:
    """The same with the state of a closed socket."""
    before = registry._states[registry.address_of(socket)] = operations.SocketState(0)
    before.wake_all()


def leave_kernel_set(socket: greenzmq.Socket) -> None:
    """Have the kernel forget a socket that a Poller polls, as when its descriptor is closed past greenzmq."""
    PollSet.here()._descriptors.want(socket._greenzmq_state.fd, 0)


def directions_being_made() -> dict[int, Any]:
    """The directions of senders that some call is about to give to their sockets."""
    return waiters._being_made


class InterruptedLock:
    """The lock of a shared socket, of which the first `acquire` after a `release` is interrupted by an exception."""

    def __init__(self, socket: Any, error: BaseException) -> None:
        self._lock, self._errors = socket._greenzmq_state.lock, [error]
        self.release, self._is_owned = self._lock.release, self._lock._is_owned
        socket._greenzmq_state.lock = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __enter__(self) -> object:
        return self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)

    def acquire(self) -> object:
        if self._errors:
            raise self._errors.pop()
        return self._lock.acquire()


def act_before_queue(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have the next call that waits for a shared socket call `act` after its attempt, before it joins the queue."""
    acts = [act]

    def new_waiter(*args: Any, make: Any = sharing.SharedState._new_waiter) -> Any:
        if acts:
            acts.pop()()
        return make(*args)

    patch.setattr(sharing.SharedState, "_new_waiter", new_waiter)
