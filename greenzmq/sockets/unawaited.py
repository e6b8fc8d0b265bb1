"""The futures of an awaitable socket that nobody waits for yet; see `greenzmq.sockets.pending`."""

from __future__ import annotations

import sys
import weakref
from sys import getrefcount
from typing import Any, Protocol

from greenlet import getcurrent

from ..hubs.asyncio import Future, running_loop, running_tasks

__all__ = ["Unawaited", "UnawaitedFuture"]

_get_loop = Future.get_loop
_set_result = Future.set_result

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

    Attributes
    ----------
    loop : asyncio.AbstractEventLoop or None
        The loop on which one of the calls has waited last.
    """

    __slots__ = ("_greenlet", "_limit", "_sent", "loop")

    def __init__(self) -> None:
        super().__init__()
        self._limit = FEW
        self.loop: Any = None
        self._greenlet: Any = None
        self._sent: Any = None

    def note_loop(self, loop: Any) -> None:
        """A call is about to wait on `loop`, which runs here."""
        self.loop, self._greenlet = loop, getcurrent()

    def running_loop(self) -> Any:
        """`greenzmq.hubs.asyncio.running_loop`, in less time where the loop is that of the last wait.

        The greenlet tells the thread: each belongs to one.
        """
        loop = self.loop
        return loop if self._greenlet is getcurrent() and loop in running_tasks else running_loop()

    def sent(self, loop: Any) -> Future[None]:
        """The finished future of a call that has sent.

        It is the one of an earlier call if nobody refers to that any more, as the tuples of `zip` are used again: to
        make a future takes three times as long.
        """
        future = self._sent
        if getrefcount(future) != UNSHARED or _get_loop(future) is not loop:
            future = self._sent = Future(loop=loop)
            _set_result(future, None)
        return future  # type: ignore[no-any-return]

    def references_to_sent(self) -> int:
        """How many references to the future of `sent` there are, as that counts them."""
        future = self._sent
        return getrefcount(future)

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


_probe = Unawaited()
_probe._sent = object()
#: What `getrefcount` says in `Unawaited.sent` of a future to which nobody else refers.
UNSHARED = _probe.references_to_sent()

if sys.version_info >= (3, 12):
    Unawaited.running_loop = staticmethod(running_loop)  # type: ignore[method-assign,assignment]  # in C there


def _living(reference: weakref.ref[UnawaitedFuture]) -> UnawaitedFuture | None:
    future = reference()
    return future if future is not None and future.is_unawaited() else None
