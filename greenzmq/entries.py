"""What is registered in a Poller: an entry for each object, which looks, and which has the Poller told."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from zmq.backend import Socket as BackendSocket

from .descriptors import POLLIN
from .directions import Listener
from .events import Waitable
from .readiness import Readiness
from .socket import Socket, _by_address, address_of
from .turns import default_turn

if TYPE_CHECKING:
    from .waiting import Waiter

__all__ = ["Entry", "Owner", "fileno", "is_waitable"]


class Owner(Protocol):
    """The Poller, as far as its entries know it."""

    _waiters: dict[Waiter, None]

    def _stir(self, entry: Entry) -> None: ...


class Entry:
    """One registered object.

    Attributes
    ----------
    what, events, order
        The object, what is asked of it, and its place in the order of registration.
    fd : int
        The number of its descriptor at the last poll; -1 if there was none yet.
    registered : bool
        Until it is unregistered.
    waitable : bool
        It is a `Waitable`, not a socket or descriptor.
    rests : bool
        It tells when to look at it again.
    readiness : Readiness or None
        Of a socket.
    """

    __slots__ = (
        "__weakref__",
        "events",
        "fd",
        "listener",
        "order",
        "poller",
        "readiness",
        "registered",
        "rests",
        "waitable",
        "what",
    )

    def __init__(self, poller: Owner, what: Any, events: int, order: int) -> None:
        self.poller = weakref.ref(poller)
        self.what = what
        self.order = order
        self.fd = -1
        self.registered = True
        self.waitable = is_waitable(what)
        self.rests = self.waitable or isinstance(what, Socket)
        self.readiness = _readiness_of(what) if isinstance(what, BackendSocket) else None
        self.ask(events)

    def ask(self, events: int) -> None:
        """Ask for `events`, from now on."""
        self.events = events
        self.listener = Listener(events, self.stir, self.is_waited_for)

    def stir(self, _: object = None) -> None:
        """Look at this one in the next poll, and at once if a greenlet waits in one. For a waitable, in any thread."""
        poller = self.poller()
        if poller is not None:
            poller._stir(self)

    def is_waited_for(self) -> bool:
        """Whether a greenlet waits in the Poller."""
        poller = self.poller()
        return poller is not None and bool(poller._waiters)

    def look(self) -> int:
        """Which of its events it has. With none it tells when it may have some."""
        if self.readiness is None:
            return POLLIN if self.what.ready() or self._link() else 0
        events = self.readiness.examine(self.what) & self.events
        if not events:
            self.readiness.listen(self.listener)
        return events

    def _link(self) -> bool:
        """Have a waitable call `stir`; whether it became ready before."""
        self.what.unlink(self.stir)
        self.what.rawlink(self.stir)
        return bool(self.what.ready())

    def forget(self) -> None:
        """Be told no more."""
        if self.waitable:
            self.what.unlink(self.stir)
        elif self.readiness is not None:
            self.readiness.forget(self.listener)

    def retire(self) -> None:
        """`forget`, for good. Another thread may be about to stir a waitable all the same."""
        self.registered = False
        self.forget()
        del self.listener  # which refers to this


def is_waitable(what: Any) -> bool:
    """Whether it is polled by the protocol of `Waitable`."""
    if isinstance(what, (int, BackendSocket)) or hasattr(what, "fileno"):
        return False
    return isinstance(what, Waitable)


def _readiness_of(socket: Any) -> Readiness:
    """A plain socket has one, too, shared with green objects for the same: what polls find there, others hear of."""
    if isinstance(socket, Socket):
        return socket._greenzmq_state
    address = address_of(socket)
    readiness = _by_address.get(address)
    if readiness is None or readiness.ended:  # an ended one is of a socket that had this address before
        readiness = _by_address[address] = Readiness(default_turn())
    return readiness


def fileno(what: Any) -> int:
    """The number of a descriptor, or pyzmq's error for what has none."""
    if isinstance(what, int):
        return what
    if not hasattr(what, "fileno"):
        raise TypeError(f"Socket must be a 0MQ socket, an integer fd or have a fileno() method: {what!r}")
    try:
        return int(what.fileno())
    except Exception as error:
        raise ValueError("fileno() must return a valid integer fd") from error
