"""Which greenlet, or asyncio task, is in the middle of a multipart message, sent or received part by part.

Fact: libzmq lets a program send or receive the parts of a message one call at a time, and knows nothing of greenlets.
Consequence: a call by another greenlet in between would put its part into the middle of the message, or take a part
that is not its own. Choice: from the first part to the last the direction belongs to one greenlet, and others wait in
the queue. Cost: if that greenlet dies in the middle, greenzmq has to notice, or the others would wait for ever.

The same holds for asyncio tasks, which make the calls of awaitable sockets. `Party` is the word for either.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["PartialMessage", "Party", "has_ended"]

#: Who makes a call: a greenlet, or an `asyncio.Task`. Compared by identity.
Party = Any


def has_ended(who: Party) -> bool:
    """Whether a greenlet is dead, or a task done."""
    dead: bool | None = getattr(who, "dead", None)
    return bool(who.done()) if dead is None else dead


class PartialMessage:
    """A message that `owner` has begun and not yet ended.

    Parameters
    ----------
    owner : greenlet or asyncio.Task
        Who is in the middle of it. Only a weak reference is kept, so that the owner can be collected.
    on_exit : callable
        Called with one argument when the owner ends in the middle of the message. Tasks, also asyncio's, and gevent's
        and eventlet's greenlets call it when they end, if `watch_exit` was called. For any other greenlet it is called
        when the greenlet is collected; if that one is dead but still referred to, the next signal on the socket finds
        it dead.
    """

    __slots__ = ("_on_exit", "_owner", "_watched")

    def __init__(self, owner: Party, on_exit: Callable[[Any], object]) -> None:
        self._owner = weakref.ref(owner, on_exit)
        self._on_exit = on_exit
        self._watched = False

    def owner(self) -> Party | None:
        """Who has begun the message, dead or alive; None if that greenlet or task has been collected."""
        return self._owner()

    def living_owner(self) -> Party | None:
        """The owner, if it is alive; else None."""
        owner = self._owner()
        return None if owner is None or has_ended(owner) else owner

    def reserved_for_other(self, who: Party) -> bool:
        """Whether a living greenlet or task other than `who` is in the middle of it."""
        owner = self.living_owner()
        return owner is not None and owner is not who

    def watch_exit(self) -> None:
        """Have `on_exit` called when the owner ends. Called by a greenlet that is about to wait for the owner."""
        owner = self.living_owner()
        # rawlink first: gevent's `link` would start a greenlet for the call. An asyncio task has the last one.
        names = ("rawlink", "link", "add_done_callback")
        link = next((getattr(owner, name) for name in names if hasattr(owner, name)), None)
        if link is not None and not self._watched:
            link(self._on_exit)
            self._watched = True

    def end(self) -> None:
        """The message is complete: undo `watch_exit`."""
        owner: Any = self._owner()
        if self._watched and owner is not None:
            (getattr(owner, "unlink", None) or owner.remove_done_callback)(self._on_exit)
        self._watched = False
