"""The futures of an awaitable socket that nobody waits for yet; see `greenzmq.sockets.pending`."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

__all__ = ["Unawaited", "UnawaitedFuture"]

#: How many there may be before those that are gone are searched for.
FEW = 16


class UnawaitedFuture(Protocol):
    """What is said here of a `greenzmq.sockets.pending.PendingCall` or `PendingPoll`.

    Attributes
    ----------
    takes : bool
        It is to receive a message.
    """

    takes: bool

    def is_unawaited(self) -> bool:
        """Whether it is not done, and nobody waits for it."""

    def work_now(self) -> bool:
        """Do the work if it is possible now. Returns whether the future is done."""


class Unawaited(list["weakref.ref[UnawaitedFuture]"]):
    """The unawaited futures of one socket, in the order of the calls.

    The references are weak: a future that the program has dropped takes nothing. One that somebody waits for by now may
    still be here, and is passed over.
    """

    __slots__ = ("_limit",)

    def __init__(self) -> None:
        super().__init__()
        self._limit = FEW

    def add(self, future: UnawaitedFuture) -> None:
        """Add a future at the end."""
        if len(self) >= self._limit:
            self[:] = [reference for reference in self if _living(reference) is not None]
            self._limit = max(FEW, 2 * len(self))
        self.append(weakref.ref(future))

    def take_up_to(self, future: UnawaitedFuture) -> list[Any]:
        """Remove `future`, and the receives before it. Returns these."""
        at = next((place for place, reference in enumerate(self) if reference() is future), None)
        if at is None:
            return []
        before = [(reference, _living(reference)) for reference in self[:at]]
        self[: at + 1] = [reference for reference, other in before if other is not None and not other.takes]
        return [other for _, other in before if other is not None and other.takes]

    def serve_before(self, future: UnawaitedFuture | None = None) -> bool:
        """Have the receives before `future`, or all, take what is there. Returns whether none of them is left.

        All those that have ended are forgotten then, since no call is fast while there are others to ask.
        """
        for reference in list(self):
            if future is not None and reference() is future:
                return True
            other = _living(reference)
            if other is not None and other.takes and not other.work_now():
                return False
        if future is None:
            self[:] = [reference for reference in self if _living(reference) is not None]
        return True

    def living(self) -> list[Any]:
        """Those that are still unawaited."""
        return [future for reference in list(self) if (future := _living(reference)) is not None]


def _living(reference: weakref.ref[UnawaitedFuture]) -> UnawaitedFuture | None:
    future = reference()
    return future if future is not None and future.is_unawaited() else None
