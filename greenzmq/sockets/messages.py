"""Who is in the middle of a message: a multipart message that one greenlet sends or receives part by part.

Fact: libzmq lets a socket's user send or receive the parts of a message one call at a time, and knows nothing of
greenlets. Consequence: another greenlet's call in between would put its own part into the middle, or take a part that
is not its own. Choice: from the first part to the last the direction belongs to one greenlet; the others stand in the
queue. Cost: the end of that greenlet has to be noticed, or they would stand there for ever.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

if TYPE_CHECKING:
    from greenlet import greenlet

__all__ = ["PartialMessage"]


class PartialMessage:
    """A message that `owner` has begun and not yet ended.

    Parameters
    ----------
    owner : greenlet
        The greenlet in the middle of it. A weak reference is kept.
    on_exit : callable
        Called with one argument when the owner ends in the middle of the message. Tasks tell of their end, and
        gevent's and eventlet's greenlets do, once `watch_exit` has asked them to. Of any other greenlet its collection
        is noticed, and that it is dead at the next signal.
    """

    __slots__ = ("_on_exit", "_owner", "_watched")

    def __init__(self, owner: greenlet, on_exit: Callable[[Any], object]) -> None:
        self._owner = weakref.ref(owner, on_exit)
        self._on_exit = on_exit
        self._watched = False

    def owner(self) -> greenlet | None:
        """The greenlet that has begun it, dead or alive; None if it is collected."""
        return self._owner()

    def greenlet(self) -> greenlet | None:
        """The owner, if it lives."""
        owner = self._owner()
        return None if owner is None or owner.dead else owner

    def reserved_for_other(self) -> bool:
        """Whether a living greenlet other than the caller is in the middle of it."""
        owner = self.greenlet()
        return owner is not None and owner is not getcurrent()

    def watch_exit(self) -> None:
        """Have `on_exit` called at the owner's end; for greenlets that are about to wait behind it."""
        owner: Any = self.greenlet()
        link = getattr(owner, "rawlink", None) or getattr(owner, "link", None)
        if link is not None and not self._watched:
            link(self._on_exit)
            self._watched = True

    def end(self) -> None:
        """The owner has come to the end of the message: take `watch_exit` back."""
        owner: Any = self._owner()
        if self._watched and owner is not None:
            owner.unlink(self._on_exit)
        self._watched = False
