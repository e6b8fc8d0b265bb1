"""What happens in a forked child to the sockets, contexts and hubs that it inherits.

A child must not use its parent's sockets: libzmq fails with EINTR, and pyzmq retries on EINTR, so the child would spin
for ever. Nor may it change an inherited epoll: the parent has the same one, and what the child removes is gone there,
too. Therefore each such object registers here. In a forked child its ``_greenzmq_after_fork`` is called before anything
else runs; from then on a socket or context raises the errors of a closed one.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol, TypeVar

from . import unpatched

__all__ = ["ForkSafeLock", "Inheritable", "living", "register_after_fork", "registered_objects"]
__all__ += ["unregister_after_fork"]

T = TypeVar("T")


class Inheritable(Protocol):
    """An object that a forked child must not use as it is."""

    def _greenzmq_after_fork(self) -> None:
        """In the child: become unusable, or begin anew, without an effect on the parent. No other threads run."""


_hubs: weakref.WeakSet[Any] = weakref.WeakSet()
_others: weakref.WeakSet[Any] = weakref.WeakSet()


def register_after_fork(inheritable: Inheritable, *, hub: bool = False) -> None:
    """Have ``inheritable._greenzmq_after_fork()`` called in every child that is forked from now on.

    Parameters
    ----------
    inheritable : Inheritable
        Only a weak reference to it is kept.
    hub : bool
        It is a hub. Hubs are called before all others: these close their watches, and by then the hub has to have a
        loop or epoll of the child's own.
    """
    (_hubs if hub else _others).add(inheritable)


def unregister_after_fork(inheritable: Inheritable) -> None:
    """Undo `register_after_fork`, for an object that another registered object calls in the child."""
    _others.discard(inheritable)


def registered_objects() -> list[Any]:
    """What is registered now, without the hubs. Any thread may ask."""
    return living(_others)


def living(members: weakref.WeakSet[T]) -> list[T]:
    """The members that live now. Any thread may ask."""
    while True:
        try:
            return list(members)
        except RuntimeError:  # another thread has added one meanwhile
            continue


class ForkSafeLock:
    """A native lock that is free in a forked child, whoever held it in the parent.

    Attributes
    ----------
    lock : lock
        The lock, which its owner may take again.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock: Any = unpatched.new_rlock()
        register_after_fork(self)

    def _greenzmq_after_fork(self) -> None:
        self.lock = unpatched.new_rlock()


def _tell() -> None:
    for inheritable in [*_hubs, *_others]:
        inheritable._greenzmq_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
