"""What a forked child does with what it inherits.

libzmq answers EINTR to a child that uses its parent's socket, and pyzmq retries EINTR: the child would spin for good.
And what a child takes out of an inherited epoll is gone from its parent's. So in the child every inherited object is
told, before anything else runs; a socket or context then answers as a closed one does.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol

__all__ = ["Inheritable", "register_after_fork", "unregister_after_fork"]


class Inheritable(Protocol):
    """Something that a forked child must not use as it is."""

    def _greenzmq_after_fork(self) -> None:
        """Become unusable, or new. The other threads are gone; the parent must not notice."""


_hubs: weakref.WeakSet[Any] = weakref.WeakSet()
_others: weakref.WeakSet[Any] = weakref.WeakSet()


def register_after_fork(inheritable: Inheritable, *, hub: bool = False) -> None:
    """Call its ``_greenzmq_after_fork`` in every child forked from now on, as long as it lives.

    Parameters
    ----------
    inheritable : Inheritable
        A weak reference to it is kept.
    hub : bool
        It is told before all that are not hubs: what they let go of is taken out of a hub that is the child's own.
    """
    (_hubs if hub else _others).add(inheritable)


def unregister_after_fork(inheritable: Inheritable) -> None:
    """Take `register_after_fork` back: something else that is told tells this one."""
    _others.discard(inheritable)


def _tell() -> None:
    for inheritable in [*_hubs, *_others]:
        inheritable._greenzmq_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
