"""What a greenlet can wait for besides sockets: the `Waitable` protocol, and `GreenEvent`, with which to implement it.

Besides sockets and descriptors, `Poller.register` takes any object that is `Waitable`: a `GreenEvent`, a
`greenzmq.Task`, and gevent's own ``Event``, ``AsyncResult`` and ``Greenlet``, from which the names of the protocol's
three methods are taken. To make a class of your own `Waitable`, let it use the three methods of an event. A queue::

    class Queue:
        def __init__(self):
            self._items = collections.deque()
            self._filled = greenzmq.GreenEvent()
            self.ready, self.rawlink, self.unlink = self._filled.ready, self._filled.rawlink, self._filled.unlink

        def put(self, item):
            self._items.append(item)
            self._filled.set()

        def get(self):
            while not self._items:
                self._filled.wait()
            item = self._items.popleft()
            if not self._items:
                self._filled.clear()
            return item

    queue = Queue()
    poller = greenzmq.Poller()
    poller.register(socket, greenzmq.POLLIN)
    poller.register(queue, greenzmq.POLLIN)
    for what, _ in poller.poll():
        print(queue.get() if what is queue else socket.recv())
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .. import hubs
from ..errors import BlockingCallError, HubError, WrongHubError
from ..hubs.detection import detect
from ..process import unpatched
from .limits import as_limit
from .waiter import Waiter, new_waiter, refuse_to_wait

if TYPE_CHECKING:
    from ..hubs import Choice, Hub
    from .reasons import Reason

__all__ = ["GreenEvent", "Linkable", "Waitable", "hub_here", "park_for", "wake_anywhere"]

Link = Callable[[Any], object]


@runtime_checkable
class Waitable(Protocol):
    """An object that becomes ready, and then calls the callbacks linked to it. `Poller.register` takes it."""

    def ready(self) -> bool:
        """Whether it is ready. May be called in any thread. An exception raised here comes out of `Poller.poll`."""

    def rawlink(self, callback: Link, /) -> object:
        """Have ``callback(self)`` called at least once, in any thread, at once or soon after it becomes ready.

        The caller has to call `ready` afterwards: if the object became ready just before the link, the callback need
        not be called. The callback neither switches nor raises.
        """

    def unlink(self, callback: Link, /) -> object:
        """Undo `rawlink`. Does nothing if `callback` is not linked."""


class Linkable:
    """The base of greenzmq's own `Waitable` classes: the links, and the wait. A subclass adds `ready`."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}

    def ready(self) -> bool:
        """See `Waitable.ready`."""
        raise NotImplementedError

    def rawlink(self, callback: Link, /) -> None:
        """See `Waitable.rawlink`. The callback is called once, and is then no longer linked."""
        self._links[callback] = None

    def unlink(self, callback: Link, /) -> None:
        """See `Waitable.unlink`."""
        self._links.pop(callback, None)

    def _announce(self) -> None:
        """Call the linked callbacks, in whatever thread this is. The caller has made `ready` true before.

        That order matters: a waiter links first and calls `ready` then, so one of the two notices.
        """
        try:
            self._call_links()
        except BaseException:  # a signal handler has raised while a link was called: go on with that one
            self._call_links()
            raise

    def _call_links(self) -> None:
        for link in list(self._links):
            try:
                self._links.pop(link, None)
                link(self)
            except BaseException:
                self._links[link] = None
                raise

    def _wait(self, hub: Hub, timeout: float | None, reason: Reason = None) -> bool:
        """Park this greenlet on its `hub` until this is ready, or for `timeout` seconds; 0 does not park.

        Returns whether it became ready.

        `reason` is what to tell of the wait, if not this object.
        """
        if self.ready() or (timeout is not None and timeout <= 0):
            return self.ready()
        waiter = new_waiter(hub, timeout, None, self if reason is None else reason)
        try:
            return park_for(waiter, self) or self.ready()
        finally:
            waiter.close()

    def _block(self, timeout: float = -1) -> bool:
        """Block this native thread until this is ready, or for `timeout` seconds. Returns whether it became ready.

        Only for places where no greenlet can park, and only if another thread makes this ready: greenlets of this
        thread cannot run meanwhile.
        """
        lock = unpatched.allocate_lock()
        lock.acquire()

        def link(_: object) -> None:
            lock.release()

        self.rawlink(link)
        try:
            return self.ready() or lock.acquire(timeout=timeout) or self.ready()
        finally:
            self.unlink(link)


def hub_here(choice: Choice | None = None, owner: object = None) -> Hub:
    """The hub named by `choice`, if it can be used here, or else the one on which this greenlet runs. Never switches.

    For a wait that works on any hub. So it is no error if the chosen hub does not exist in this thread, as when the
    loop that a context was made for has ended.

    Raises
    ------
    BlockingCallError
        This greenlet cannot park: it is the hub's own, or a coroutine's.
    WrongHubError
        A wait on the chosen hub would stop the hub that runs here.
    """
    try:
        hub = hubs.hub_to_wait_on(choice, owner)
        refuse_to_wait(hub)
    except (BlockingCallError, WrongHubError):
        raise
    except HubError:
        hub = hubs.get_hub(detect().name)
        refuse_to_wait(hub)
    return hub


def park_for(waiter: Waiter, waitable: Waitable) -> bool:
    """Park until `waitable` is ready or the waiter's time is over. True if it was ready, or the waiter was woken."""
    link = partial(wake_anywhere, waiter)
    waitable.rawlink(link)
    try:
        # Ask after linking. Another thread first makes it ready and then calls the links, so either `ready` is true
        # here or the link is called.
        return waitable.ready() or waiter.park()
    finally:
        waitable.unlink(link)


def wake_anywhere(waiter: Waiter, _: object = None) -> None:
    """Call `Waiter.wake` from any thread. The second argument, which a link is called with, is not used."""
    if waiter.hub.thread_id == unpatched.get_ident():
        waiter.wake()
    else:
        waiter.wake_threadsafe()


class GreenEvent(Linkable):
    """A flag to wait for, as `threading.Event` is. Its waiters may be on any hubs, in any threads.

    It is not named `Event`, because pyzmq has that name for what a socket monitor reports.

    Examples
    --------
    A native thread, or a library that has one, wakes a greenlet:

    >>> import threading
    >>> import greenzmq
    >>> done = greenzmq.GreenEvent()
    >>> threading.Timer(0.01, done.set_threadsafe).start()
    >>> done.wait(timeout=5)
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self._flag = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._flag

    ready = is_set

    def set(self) -> None:
        """Set it, and wake every waiter.

        May be called in any greenlet, hub callback and signal handler, and in any thread.

        Notes
        -----
        Switches: never.
        """
        self._flag = True
        self._announce()

    def set_threadsafe(self) -> None:
        """`set`, under a name that says that native threads may call it."""
        self.set()

    def clear(self) -> None:
        """Undo `set`. A waiter that it has already woken goes on all the same.

        Notes
        -----
        Switches: never.
        """
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set.

        Parameters
        ----------
        timeout : float, optional
            Wait for this many seconds at most; None waits for ever, 0 does not wait.

        Returns
        -------
        bool
            True if it was set, False if the time is over.

        Raises
        ------
        TypeError or ValueError
            The timeout is no number of seconds.

        Notes
        -----
        Switches: when it has to wait.
        """
        timeout = as_limit(timeout, "GreenEvent.wait()")
        if self._flag or (timeout is not None and timeout <= 0):
            return self._flag
        return self._wait(hubs.hub_to_wait_on(), timeout)

    def __repr__(self) -> str:
        return f"<greenzmq.GreenEvent {'set' if self._flag else 'clear'}>"
