"""Which greenlet is in the middle of a multipart message, sent or received part by part.

Fact: libzmq lets a program send or receive the parts of a message one call at a time, and knows nothing of greenlets.
Consequence: a call by another greenlet in between would put its part into the middle of the message, or take a part
that is not its own. Choice: from the first part to the last the direction belongs to one greenlet, and others wait in
the queue. Cost: if that greenlet dies in the middle, greenzmq has to notice, or the others would wait for ever.
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
        The greenlet in the middle of it. Only a weak reference is kept, so that the owner can be collected.
    on_exit : callable
        Called with one argument when the owner ends in the middle of the message. Tasks, and gevent's and eventlet's
        greenlets, call it when they end, if `watch_exit` was called. For any other greenlet it is called when the
        greenlet is collected; if that one is dead but still referred to, the next signal on the socket finds it dead.
    """

    __slots__ = ("_on_exit", "_owner", "_watched")

    def __init__(self, owner: greenlet, on_exit: Callable[[Any], object]) -> None:
        self._owner = weakref.ref(owner, on_exit)
        self._on_exit = on_exit
        self._watched = False

    def owner(self) -> greenlet | None:
        """The greenlet that has begun the message, dead or alive; None if that greenlet has been collected."""
        return self._owner()

    def greenlet(self) -> greenlet | None:
        """The owner, if it is alive; else None."""
        owner = self._owner()
        return None if owner is None or owner.dead else owner

    def reserved_for_other(self) -> bool:
        """Whether a living greenlet other than the caller is in the middle of it."""
        owner = self.greenlet()
        return owner is not None and owner is not getcurrent()

    def watch_exit(self) -> None:
        """Have `on_exit` called when the owner ends. Called by a greenlet that is about to wait for the owner."""
        owner: Any = self.greenlet()
        # rawlink first: gevent's `link` would start a greenlet for the call.
        link = getattr(owner, "rawlink", None) or getattr(owner, "link", None)
        if link is not None and not self._watched:
            link(self._on_exit)
            self._watched = True

    def end(self) -> None:
        """The message is complete: undo `watch_exit`."""
        owner: Any = self._owner()
        if self._watched and owner is not None:
            owner.unlink(self._on_exit)
        self._watched = False
