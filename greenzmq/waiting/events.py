"""What a greenlet can wait for besides sockets: a protocol of three methods, and the event to build such things with.

`Poller.register` takes everything that is `Waitable`, next to sockets and descriptors: a `GreenEvent`, a
`greenzmq.Task`, and gevent's own ``Event``, ``AsyncResult`` and ``Greenlet``, from which the names of the protocol are.
To give a class of your own the protocol, hand its three methods on to an event. A queue::

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
    """Something that becomes ready, and tells who asks to be told. What `Poller.register` takes besides sockets."""

    def ready(self) -> bool:
        """Whether waiting for it is over. Any thread may ask. What this raises comes out of the poll that asks."""

    def rawlink(self, callback: Link, /) -> object:
        """Call ``callback(self)`` when it becomes ready, at least once, then or soon, in whatever thread.

        Who links has to ask `ready` afterwards: what it became just before need not be told. The callback neither
        switches nor raises.
        """

    def unlink(self, callback: Link, /) -> object:
        """Take `rawlink` back; nothing if there is nothing to take back."""


class Linkable:
    """The half of `Waitable` that all of ours share, and the wait for it."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}

    def ready(self) -> bool:
        """See `Waitable.ready`."""
        raise NotImplementedError

    def rawlink(self, callback: Link, /) -> None:
        """See `Waitable.rawlink`; the callback is called once for each time that it is linked."""
        self._links[callback] = None

    def unlink(self, callback: Link, /) -> None:
        """See `Waitable.unlink`."""
        self._links.pop(callback, None)

    def _announce(self) -> None:
        """It has become ready. In any thread: what `ready` answers has changed before."""
        for link in list(self._links):
            self._links.pop(link, None)
            link(self)

    def _wait(self, hub: Hub, timeout: float | None, reason: Reason = None) -> bool:
        """Park this greenlet on its `hub` until it is ready, or for `timeout` seconds; 0 looks only. Whether it was.

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
        """Stop this native thread until it is ready, or for `timeout` seconds. Whether it was.

        For where no greenlet can park, and only for what other threads bring about.
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
    """The hub that was said, if there is one here, or else the one on which this greenlet runs. Never switches.

    For a wait that any hub serves. So what was said need not exist in this thread: the loop that a context is named
    for, say, has ended.

    Raises
    ------
    BlockingCallError
        This greenlet cannot park: it is the hub's own, or a coroutine's.
    WrongHubError
        A wait on what was said would stop the hub that runs.
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
    """Park until `waitable` is ready or the waiter's time is over. True if woken, or ready before."""
    link = partial(wake_anywhere, waiter)
    waitable.rawlink(link)
    try:
        # Another thread makes it ready before it looks at the links; this one links before it asks.
        return waitable.ready() or waiter.park()
    finally:
        waitable.unlink(link)


def wake_anywhere(waiter: Waiter, _: object = None) -> None:
    """`Waiter.wake` from whatever thread this is."""
    if waiter.hub.thread_id == unpatched.get_ident():
        waiter.wake()
    else:
        waiter.wake_threadsafe()


class GreenEvent(Linkable):
    """A flag to wait for, as `threading.Event` is. Its waiters may be on any hubs, in any threads.

    Not named `Event`, because that is pyzmq's name for what a socket monitor reports, and stays so here.

    Examples
    --------
    A native thread, or a library that has one, tells a greenlet::

        done = greenzmq.GreenEvent()
        library.start(on_end=done.set_threadsafe)
        if not done.wait(timeout=5):
            ...
    """

    def __init__(self) -> None:
        super().__init__()
        self._flag = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._flag

    ready = is_set

    def set(self) -> None:
        """Set it, and wake all who wait.

        From any greenlet, hub callback and signal handler, and from any thread.

        Notes
        -----
        Switches: never.
        """
        self._flag = True
        self._announce()

    def set_threadsafe(self) -> None:
        """`set`, under the name that says what native threads may call."""
        self.set()

    def clear(self) -> None:
        """Take `set` back. Who was woken by it goes on all the same.

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
            Wait for this many seconds at most; None waits for ever, 0 looks only.

        Returns
        -------
        bool
            False if the time is over and it was not set.

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
