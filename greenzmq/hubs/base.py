"""The contract between greenzmq and an event loop.

A hub is an event loop that greenlets can switch to. This module defines what greenzmq needs of one, and no more: watch
a file descriptor, run a callback soon or later, switch. Everything that users call (`spawn`, `sleep`, `timeout`,
sockets, pollers) is written once, on top of this contract, in `greenzmq.waiting` and the folders that import it.

The rules that hold for every backend:

1.  There is at most one `Hub` for a loop, and a loop belongs to one native thread. Only `Hub.call_soon_threadsafe` may
    be called from another thread.
2.  Callbacks run in the hub's own greenlet (`Hub.greenlet`). They must not block. They may switch into a greenlet that
    is parked in this hub, and go on when that one parks again.
3.  Only `Hub.switch` switches greenlets. Everything else returns at once and may be called from any greenlet of the
    thread, from a callback, and from a signal handler.
4.  If a callback raises an `Exception`, the error is reported in the way of the runtime. The loop goes on, and so do
    the watch or timer that made the call, and all other callbacks. `KeyboardInterrupt` and `SystemExit` are raised in
    the thread's main greenlet.
5.  A hub keeps alive what it is going to call: the callbacks of started watches (lazily stopped ones included), of
    pending timers, and of scheduled calls. It keeps nothing else alive: a stopped watch and a cancelled timer can be
    collected together with their owner.

What authors of hubs have stumbled over:

-   *Descriptors.* `Watch.start` has to say at once that the system refuses a descriptor, and to work while other code
    of the program watches the same one. A runtime in which a task waits for a descriptor gives neither. An epoll of the
    hub's own does: it is a descriptor, too, which the runtime watches. It is to be polled right after the runtime has
    polled, and not after callbacks, or the runtime's own watches miss what a callback has read meanwhile.
-   *Signal handlers* may call everything but `Hub.switch`, while the loop computes how long to sleep, too. So note that
    the loop sleeps *before* you look whether anything is scheduled; and have `call_soon`, `call_later` and
    `Watch.start` wake a loop for which that is noted.
-   *The main greenlet.* `KeyboardInterrupt` must not be raised inside of the runtime's own code. If the loop runs in a
    greenlet of its own, its handler of SIGINT is yours to choose: raise at once where a program's code runs, else have
    a callback throw the exception into the main greenlet.
-   *Other libraries' greenlets.* If the program's code runs inside of the loop's greenlet, as coroutines do, then a
    greenlet may park only if one of your callbacks has switched into it. Refuse the others in `Hub.check_switch`.
-   *The end of a loop.* Raise `GreenletExit` in the greenlets that are parked then, since nothing else can end them,
    and let `Hub.greenlet` return a greenlet of which nothing else knows. `Hub.switch` is an error from then on.
-   *The end of a thread.* Thread locals of other modules are gone when yours is dropped. A runtime that has some, and
    needs them to end, has to be ended before.
-   *Forks.* `os.register_at_fork` tells of them. In the child change nothing that the parent has, too: an inherited
    epoll is the same one. `os.dup2` puts an empty one in its place; set `inherited` if the loop cannot go on.
-   *Detection.* A greenlet whose ancestor is `Hub.greenlet` is found to run on the hub of another package. The main
    greenlet is not found to: the program has to say so (``hub=``, `use_hub`, ``$GREENZMQ_HUB``, `greenzmq.main`).

`greenzmq.testing.check_hub` tests a hub against this contract. To write a backend, subclass `Hub`, `Watch` and `Timer`,
and name the hub in the entry-point group ``greenzmq.hubs``. ``examples/trio_hub`` is one, in a package of its own.
"""

from __future__ import annotations

import abc
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import getcurrent

from ..errors import WatchError
from ..process import unpatched
from ..process.fork import living

if TYPE_CHECKING:
    from greenlet import greenlet
    from typing_extensions import Self

__all__ = ["CALL_END_CALLBACKS", "HUB_ATTRIBUTE", "Hub", "Timer", "Watch", "at_call_end", "guests_here"]
__all__ += ["live_hubs", "main_greenlet"]

#: Of `Watch.can_stop_lazily`.
BY_CALL, BY_FLAG = 1, 2
#: The attribute of a greenlet that holds the hub on which it was spawned.
HUB_ATTRIBUTE = "_greenzmq_hub"
#: The attribute of a pooled greenlet (`greenzmq.hubs.workers.Worker`): a list of functions to call when its current
#: call ends. The greenlet lives on after the call, so `greenlet.dead` does not tell that it has ended.
CALL_END_CALLBACKS = "_greenzmq_at_end"


class Hub(abc.ABC):
    """An event loop that greenlets can switch to. One object for each loop.

    Attributes
    ----------
    name : str
        The name under which the registry knows this kind of hub, such as ``"gevent"``. Set by each backend.
    runs_threads : bool
        A task on this hub is a native thread, with a hub of the same kind of its own; sockets may be shared by threads.
    goes_by_itself : bool
        The loop goes round whenever its thread is free. Not so on a hub that a test steers.
    cure : str
        What to do instead of waiting in the hub's own greenlet: the last sentence of that error's message.
    thread_id : int
        The native thread of the loop, as numbered by `_thread.get_ident`.
    thread_name : str
        The thread's name, for messages.
    readers, writers : dict
        The started watches by descriptor, lazily stopped ones included: those that wait until it is readable, and those
        that wait until it is writable. Written by `Watch`; backends may read them.
    inherited : bool
        This is a forked child and the loop is the parent's, which cannot be used here. Set by backends that cannot take
        the loop over.
    supports_lazy_stop : bool
        Whether `Watch.stop_lazily` leaves a watch with the loop. Backends set it to False if that would do harm.
    local : dict
        For the code above this contract: objects of which it has one for each hub. Backends do not touch it.
    """

    name: ClassVar[str]
    runs_threads: ClassVar[bool] = False
    goes_by_itself: ClassVar[bool] = True
    supports_lazy_stop: bool = True
    cure: ClassVar[str] = "Do it in a task: greenzmq.hub().spawn(function, *args)"

    def __init__(self) -> None:
        self.thread_id: int = unpatched.get_ident()
        self.thread_name: str = unpatched.thread_name()
        self.readers: dict[int, Watch] = {}
        self.writers: dict[int, Watch] = {}
        self.inherited = False
        self.local: dict[Any, Any] = {}
        _live.add(self)
        if not type(self).__module__.startswith("greenzmq."):
            _guests.add(self)

    @classmethod
    @abc.abstractmethod
    def current(cls) -> Self | None:
        """Return this thread's hub of this kind, or None if it has none.

        Creates nothing and imports nothing. Returns the same object as long as the loop lives.
        """

    @classmethod
    @abc.abstractmethod
    def get(cls) -> Self:
        """Return this thread's hub of this kind. If there is none, make one, where the runtime allows that.

        Raises
        ------
        HubError
            A loop of this kind cannot be started from here (asyncio without a running loop).
        """

    @property
    @abc.abstractmethod
    def greenlet(self) -> greenlet:
        """The greenlet in which the loop and all its callbacks run. A call that has to wait is an error in it.

        By it sockets know their hub again. So it is not that of another hub at any time: where loops run one after
        another in one greenlet, a hub whose loop has ended returns one that never runs.
        """

    @property
    @abc.abstractmethod
    def variant(self) -> str:
        """What the loop runs on, for people to read: ``"libev-cext, epoll"``, ``"epolls"``, ``"EpollSelector"``."""

    @abc.abstractmethod
    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        """Make a watch, not started, that calls ``callback()`` while `fd` is readable (or writable): level-triggered.

        Changes nothing in the system: a bad descriptor, or a second watch on the same one, is an error of
        `Watch.start`. A backend's `Watch.start` does not change the file's flags (``O_NONBLOCK``): other processes may
        have the same file open, and rely on blocking reads.

        Parameters
        ----------
        fd : int
            The file descriptor.
        callback : callable
            Called without arguments in the hub's greenlet, once in each round of the loop in which `fd` is ready.
        write : bool
            Watch whether `fd` is writable, instead of readable.
        """

    @abc.abstractmethod
    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback(*args)`` in the hub, after what it is doing now. Callbacks run in the order of these calls.

        A callback that schedules itself again and again does not keep watches and timers from being served.
        """

    @abc.abstractmethod
    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """`call_soon` for other native threads: it wakes a loop that sleeps. The calls of one thread stay in order.

        Does nothing once the loop is closed for good.
        """

    @abc.abstractmethod
    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback(*args)`` in the hub once `seconds` have gone by, never earlier; 0 or less means soon.

        Any number is allowed: a time that is too long for one system call is waited for in steps, and infinity means
        never. Only NaN is not, since it cannot be ordered; `greenzmq.waiting.limits` refuses it in what programs pass.
        """

    @abc.abstractmethod
    def switch(self) -> object:
        """Give control to the loop until a callback, or other code, switches back into this greenlet.

        Returns what was passed to that switch, or raises what was thrown into the greenlet. This is the only method
        here that switches. It must not be called in the hub's own greenlet. Only `greenzmq.waiting` calls it.
        """

    def idle_means(self) -> tuple[int, tuple[Any, ...]] | None:
        """How a thread can sleep without a switch to this hub, if it has nothing to do: for hubs of native threads.

        Returns
        -------
        tuple, or None
            A descriptor that is readable when the hub has to go round, and collections that have to be empty: else it
            has something to do. Of a pair of them the second is asked if the first is not empty. None where one has to
            switch.
        """
        return None

    def has_ended(self) -> bool:
        """Whether the loop is closed for good. To be overridden by backends whose loops can be. Any thread may ask."""
        return False

    def hear_threads(self) -> None:  # noqa: B027  # most hear them anyway
        """From now on, run the `call_soon_threadsafe` calls of other threads for good, as `hold` does for a while.

        To be overridden by backends for which `hold` does something. Idempotent.
        """

    def call_next_round(self, callback: Callable[..., object], *args: Any) -> None:
        """`call_soon` for ``callback(*args)``, but not before the loop has looked at its watches and timers.

        To be overridden by backends whose loop runs callbacks that are scheduled meanwhile in the same round.
        """
        self.call_soon(callback, *args)

    def hold(self) -> None:  # noqa: B027  # most have nothing to do
        """Until `release`, run the `call_soon_threadsafe` calls of other threads even while no greenlet is in `switch`.

        To be overridden by backends that remove their listener for such calls from the loop while no greenlet waits. A
        watch of theirs is stopped lazily only while a greenlet waits or holds.
        """

    def release(self) -> None:  # noqa: B027
        """Undo one `hold`."""

    def check_switch(self) -> None:  # noqa: B027  # most have nothing to add
        """Raise the error that `switch` would raise in this greenlet. For calls that do something before they wait.

        To be overridden by backends on whose loops some greenlets cannot park.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({self.variant}) in {self.thread_name}>"


_live: weakref.WeakSet[Hub] = weakref.WeakSet()
_guests: weakref.WeakSet[Hub] = weakref.WeakSet()


def live_hubs() -> list[Hub]:
    """The hubs of all threads that exist now. Any thread may ask."""
    return living(_live)


def guests_here() -> list[Hub]:
    """The hubs of other packages whose loops this thread has. Seldom any, so it costs nothing."""
    if not _guests:
        return []
    here = unpatched.get_ident()
    return [hub for hub in living(_guests) if hub.thread_id == here and not (hub.inherited or hub.has_ended())]


class Watch(abc.ABC):
    """One file descriptor's registration with a hub; started and stopped many times. Made by `Hub.watch`.

    After `stop`, `stop_lazily` or `close` has returned, the callback is not called again, not even for an event that
    the loop had already collected. Backends implement `_arm` and `_disarm`, and call `_fire` when the descriptor is
    ready.

    A signal handler or a finalizer may close a watch between any two bytecodes, also while it is being started or
    stopped, and may start another watch on the same descriptor. When the interrupted call returns, the closed watch is
    stopped, and the other one is still started. If the interrupted `start` had not got to work yet, it raises
    `WatchError`.

    Attributes
    ----------
    started : bool
        ``hub.readers[fd] is self``, or ``hub.writers[fd] is self``, exactly while this is true.
    can_stop_lazily : int
        0 until it has called back since it was started, so that the loop has registered the descriptor by now; always
        0 on a hub that does not support lazy stops. Then `BY_CALL`. `BY_FLAG`: that `stop_lazily` would only set
        `lazily_stopped`; whoever calls it for each wait may set that instead.
    lazily_stopped : bool
        See `stop_lazily`. True only while `started` is. Whoever called `stop_lazily` may clear this flag instead of
        calling `start`.
    """

    __slots__ = (
        "callback",
        "can_stop_lazily",
        "closed",
        "fd",
        "hub",
        "lazily_stopped",
        "started",
        "write",
    )

    def __init__(self, hub: Hub, fd: int, callback: Callable[[], object], write: bool) -> None:
        self.hub = hub
        self.fd = fd
        self.callback = callback
        self.write = write
        self.started = False
        self.can_stop_lazily = 0
        self.lazily_stopped = False
        self.closed = False

    def start(self) -> None:
        """Call the callback from now on. Does nothing if the watch is started already.

        Raises
        ------
        WatchError
            The watch is closed, or another one on this descriptor is started in this hub.
        OSError or ValueError
            The system does not take this descriptor.
        """
        self.lazily_stopped = False
        if self.started:
            return
        if self.closed:
            raise WatchError(f"the watch on file descriptor {self.fd} is closed; make a new one with hub.watch()")
        hub, fd = self.hub, self.fd
        for watches in (hub.readers, hub.writers):  # a lazily stopped one may be left from an earlier file
            other = watches.get(fd)
            if other is not None and other.lazily_stopped:
                other.stop()
        if (hub.writers if self.write else hub.readers).setdefault(fd, self) is not self:
            direction = "writing" if self.write else "reading"
            raise WatchError(
                f"file descriptor {self.fd} is already watched for {direction} in {self.hub!r}; "
                "let one greenlet wait for it, or share its watch"
            )
        self.started = True
        try:
            self._arm()
        except BaseException as error:
            self._drop()
            if not (self.closed and isinstance(error, (KeyError, OSError, ValueError, WatchError))):
                raise
            # Else a signal handler has closed the watch, and then its descriptor: the error is only a result of that.
        if self.closed:  # by a signal handler, during `_arm`, which may have registered it again after the close
            self._drop()

    def stop(self) -> None:
        """Stop calling the callback. Does nothing if the watch is stopped already."""
        if self.started or (self.hub.writers if self.write else self.hub.readers).get(self.fd) is self:
            self._drop()

    def _drop(self) -> None:
        """Leave the hub and its loop. Idempotent; a signal handler may call it in the middle of another call."""
        self.lazily_stopped = False
        self.can_stop_lazily = 0
        watches, fd = self.hub.writers if self.write else self.hub.readers, self.fd
        if watches.get(fd) is self:
            found = watches.pop(fd, None)
            if found is not self and found is not None:  # a signal handler has put another watch there: put it back
                watches[fd] = found
        self._disarm()
        self.started = False  # last: if an exception interrupts this, a second `stop` does the rest

    def stop_lazily(self) -> None:
        """Stop calling the callback, but leave the watch with the loop: this costs nothing, nor does the next `start`.

        The watch is really stopped by the first event, which it does not report, or when another watch on the
        descriptor is started.

        A watch that has not called back yet is stopped at once. For libev and libuv register a descriptor only in the
        loop's next round, and abort the process if it is closed by then; other threads, or code that does not know of
        the watch, may close it.
        """
        if self.can_stop_lazily:
            self.lazily_stopped = True
        else:
            self.stop()

    def close(self) -> None:
        """Stop for good, and free what the loop keeps for it. To be called before the descriptor is closed."""
        self.closed = True  # first: if this has interrupted a `start`, that checks the flag at its end
        self.stop()

    def detach_after_fork(self, keep: object = None) -> None:
        """Close the watch in a forked child, without an effect on the parent's. Called after the hub's own cleanup.

        Parameters
        ----------
        keep : object
            An object, such as the file itself, that has to live until the loop has forgotten the watch.
        """
        self.close()

    def _fire(self, *_: object) -> None:
        """Called by backends when the descriptor is ready.

        Backends that have to do something around the callback override this and repeat its lines, instead of calling
        it: a further Python call would make every wait longer.
        """
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            if not self.can_stop_lazily and self.hub.supports_lazy_stop:
                self.can_stop_lazily = BY_FLAG if type(self).stop_lazily is Watch.stop_lazily else BY_CALL
            callback = self.callback
            callback()

    @abc.abstractmethod
    def _arm(self) -> None:
        """Register with the loop. If a signal handler calls `_disarm` during this call, `_disarm` is called again."""

    @abc.abstractmethod
    def _disarm(self) -> None:
        """Undo what `_arm` has done, also if it was interrupted or has failed. Must not raise, even if `fd` is closed.

        Does nothing if there is nothing to undo.
        """


class Timer(abc.ABC):
    """A call that is due later. Made by `Hub.call_later`."""

    __slots__ = ()

    @abc.abstractmethod
    def cancel(self) -> None:
        """Do not make the call, and free the callback at once. Does nothing after the call, or if cancelled already."""


def at_call_end(callback: Callable[[], object]) -> None:
    """Have ``callback()`` called when the current call of this pooled greenlet ends. Does nothing in any other."""
    callbacks = getattr(getcurrent(), CALL_END_CALLBACKS, None)
    if callbacks is not None:
        callbacks.append(callback)


def main_greenlet() -> greenlet:
    """The native thread's main greenlet, in which `KeyboardInterrupt` and `SystemExit` belong (rule 4)."""
    top = getcurrent()
    while top.parent is not None:
        top = top.parent
    return top
