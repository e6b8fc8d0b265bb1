"""The contract between greenzmq and an event loop.

A hub is an event loop that greenlets can switch to. This module says what greenzmq needs of one, and no more: watch a
file descriptor, run a callback soon or later, switch. Everything that users call (`spawn`, `sleep`, `timeout`,
sockets, pollers) is written once on top of it, in `greenzmq.waiting` and the modules above.

The rules that hold for every backend:

1.  There is at most one `Hub` for a loop, and a loop belongs to one native thread. But for `Hub.call_soon_threadsafe`
    nothing here may be called from another thread.
2.  Callbacks run in the hub's own greenlet (`Hub.greenlet`). They must not block. They may switch into a greenlet that
    is parked in this hub, and go on when that one parks again.
3.  Only `Hub.switch` switches greenlets. Everything else returns at once and may be called from any greenlet of the
    thread, from a callback, and from a signal handler.
4.  A callback that raises an `Exception` is reported as the runtime reports such things; it harms neither the loop,
    nor the watch or timer that called it, nor the callbacks beside it. `KeyboardInterrupt` and `SystemExit` reach the
    thread's main greenlet.
5.  A hub keeps alive what it is going to call: the callbacks of started watches, the lazily stopped among them, of
    pending timers and of scheduled calls. It keeps nothing else: a stopped watch and a cancelled timer can be collected
    together with their owner.

`greenzmq.testing.check_hub` is this contract as code. To write a backend, subclass `Hub`, `Watch` and `Timer`, and
name the hub in the entry-point group ``greenzmq.hubs``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import getcurrent

from ..errors import WatchError
from ..process import unpatched

if TYPE_CHECKING:
    from greenlet import greenlet
    from typing_extensions import Self

__all__ = ["CALL_END_CALLBACKS", "HUB_ATTRIBUTE", "Hub", "Timer", "Watch", "at_call_end", "main_greenlet"]

#: The attribute of a greenlet that names the hub on which it was spawned.
HUB_ATTRIBUTE = "_greenzmq_hub"
#: The attribute of a pooled greenlet (`greenzmq.hubs.workers.Worker`): a list of functions to call when its current
#: call ends. It outlives the call, so that code which would test `greenlet.dead` uses `at_call_end` as well.
CALL_END_CALLBACKS = "_greenzmq_at_end"


class Hub(abc.ABC):
    """An event loop that greenlets can switch to. One object for each loop.

    Attributes
    ----------
    name : str
        The name under which the registry knows this kind of hub, such as ``"gevent"``. Set by each backend.
    cure : str
        What to do instead of waiting in the hub's own greenlet; ends the message of that error.
    thread_id : int
        The native thread whose loop this is, as `_thread.get_ident` numbers it.
    thread_name : str
        The same for messages.
    watching : dict
        The started watches, the lazily stopped among them, by ``(fd, write)``. Kept by `Watch`; backends may read it.
    inherited : bool
        This is a forked child and the loop is the parent's, of no use here. Set by backends that cannot take it over.
    supports_lazy_stop : bool
        Whether `Watch.stop_lazily` leaves a watch with the loop. Backends set it to False if that would do harm.
    local : dict
        Whatever the layers above keep once for each hub. Backends leave it alone.
    """

    name: ClassVar[str]
    supports_lazy_stop: bool = True
    cure: ClassVar[str] = "Do it in a task: greenzmq.hub().spawn(function, *args)"

    def __init__(self) -> None:
        self.thread_id: int = unpatched.get_ident()
        self.thread_name: str = unpatched.thread_name()
        self.watching: dict[tuple[int, bool], Watch] = {}
        self.inherited = False
        self.local: dict[Any, Any] = {}

    @classmethod
    @abc.abstractmethod
    def current(cls) -> Self | None:
        """This thread's running or existing hub of this kind, or None.

        Creates nothing, imports nothing. The same object each time as long as the loop lives.
        """

    @classmethod
    @abc.abstractmethod
    def get(cls) -> Self:
        """This thread's hub of this kind; a new one where there is none and the runtime allows one to be made.

        Raises
        ------
        HubError
            A loop of this kind cannot be started from here (asyncio without a running loop).
        """

    @property
    @abc.abstractmethod
    def greenlet(self) -> greenlet:
        """The greenlet in which the loop and all its callbacks run. A call that has to wait is an error in there."""

    @property
    @abc.abstractmethod
    def variant(self) -> str:
        """What the loop runs on, for people to read: ``"libev-cext, epoll"``, ``"epolls"``, ``"EpollSelector"``."""

    @abc.abstractmethod
    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        """A stopped watch that will call ``callback()`` whenever `fd` is readable (or writable), level-triggered.

        Touches no system state: a bad descriptor, or a second watch on the same one, shows at `Watch.start`. That
        leaves the file's flags as they are: another process may have it, too, and rely on its reads to block.

        Parameters
        ----------
        fd : int
            The file descriptor.
        callback : callable
            Called without arguments in the hub's greenlet, once in each round of the loop in which `fd` is ready.
        write : bool
            Watch for room to write instead of something to read.
        """

    @abc.abstractmethod
    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback(*args)`` in the hub, in the order of these calls, after what it is doing now.

        A callback that goes on calling `call_soon` does not starve watches and timers.
        """

    @abc.abstractmethod
    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """`call_soon` for other native threads: wakes a loop that is asleep. Order is kept for each calling thread.

        Does nothing once the loop is closed for good.
        """

    @abc.abstractmethod
    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback(*args)`` in the hub once `seconds` have gone by, never earlier; 0 or less means soon.

        However far away that is: what the system cannot wait for at once is waited for in steps. Infinity means
        never. NaN has no place in the order of timers; `greenzmq.waiting.limits` refuses it where a
        program gives a time.
        """

    @abc.abstractmethod
    def switch(self) -> object:
        """Give control to the loop until somebody switches back into this greenlet.

        Returns what it was switched with, raises what was thrown into it. The only method here that switches; not to be
        called in the hub's own greenlet. Only `greenzmq.waiting` calls it.
        """

    def call_next_round(self, callback: Callable[..., object], *args: Any) -> None:
        """`call_soon`, but not before the loop has looked at its watches and timers.

        For backends whose loop first runs on with what is called soon, for a while.
        """
        self.call_soon(callback, *args)

    def hold(self) -> None:  # noqa: B027  # most have nothing to do
        """Until `release`, notice `call_soon_threadsafe` of other threads even while no greenlet is in `switch`.

        For backends that notice such a call by a listener in their loop, which they remove while no greenlet waits.
        Their watches are stopped lazily only meanwhile.
        """

    def release(self) -> None:  # noqa: B027
        """Take one `hold` back."""

    def check_switch(self) -> None:  # noqa: B027  # most have nothing to add
        """Raise what `switch` would raise in this greenlet, for a call that does something before it waits.

        For backends on whose loops there are greenlets that cannot park.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({self.variant}) in {self.thread_name}>"


class Watch(abc.ABC):
    """One file descriptor's registration with a hub; started and stopped many times. Made by `Hub.watch`.

    After `stop`, `stop_lazily` or `close` has returned the callback is not called again, not even for an event that
    the loop had already collected. Backends fill in `_arm` and `_disarm`, and call `_fire` when the descriptor is
    ready.

    A signal handler, or a finalizer, may `close` a watch between any two bytecodes, also while it is being started or
    stopped, and start another one in its place. Then this one is stopped when that call returns, and the other one is
    not; a `start` that had yet to begin raises `WatchError`.

    Attributes
    ----------
    started : bool
        ``hub.watching[fd, write] is self`` exactly while this is true.
    can_stop_lazily : bool
        It has called back since it was started, so the loop has come to know the descriptor; False on a hub that does
        not stop lazily.
    lazily_stopped : bool
        See `stop_lazily`. Only while started. The caller of `stop_lazily` may clear this flag instead of calling
        `start`.
    """

    __slots__ = (
        "__weakref__",
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
        self.can_stop_lazily = False
        self.lazily_stopped = False
        self.closed = False

    def start(self) -> None:
        """Call the callback from now on. Nothing if started already.

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
        key = (self.fd, self.write)
        for write in (False, True):  # either may be left from another file under this number
            other = self.hub.watching.get((self.fd, write))
            if other is not None and other.lazily_stopped:
                other.stop()
        if self.hub.watching.setdefault(key, self) is not self:
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
                raise  # else the descriptor was closed with the watch
        if self.closed:  # meanwhile: what `close` took out of the loop, `_arm` may have put back
            self._drop()

    def stop(self) -> None:
        """Call the callback no more. Nothing if stopped already."""
        if self.started or self.hub.watching.get((self.fd, self.write)) is self:
            self._drop()

    def _drop(self) -> None:
        """Leave the hub's table and the loop. May be called again, by a signal handler that interrupts it, too."""
        self.lazily_stopped = self.can_stop_lazily = False
        watching, key = self.hub.watching, (self.fd, self.write)
        if watching.get(key) is self:
            found = watching.pop(key, None)
            if found is not self and found is not None:  # a signal handler has closed this one, and started that
                watching[key] = found
        self._disarm()
        self.started = False  # last: until then `stop` has something to do

    def stop_lazily(self) -> None:
        """Call the callback no more, for a while: a `stop` that costs nothing, nor does the `start` after it.

        The registration stays with the loop until `start`, or until the first event, which stops the watch. So does the
        start of another watch on the descriptor.

        A watch that has not called back yet is stopped at once: libev and libuv register a descriptor only when the
        loop goes round, and abort the process if it was closed before, by another thread or by code that does not know
        of the watch.
        """
        if self.can_stop_lazily:
            self.lazily_stopped = True
        else:
            self.stop()

    def close(self) -> None:
        """Stop for good and free what the loop holds. Has to come before the descriptor itself is closed."""
        self.closed = True  # first: a `start` that this interrupts checks it at its end
        self.stop()

    def detach_after_fork(self, keep: object = None) -> None:
        """`close` in a forked child, after the hub's own cleanup: the parent's watch is to go on.

        Parameters
        ----------
        keep : object
            What has to live for as long as the loop knows of the watch, such as the file itself.
        """
        self.close()

    def _fire(self, *_: object) -> None:
        """For backends: the descriptor is ready.

        Those whose loop wants something done around the callback write all of this anew, since each Python call more
        makes every wait longer.
        """
        if self.lazily_stopped:
            self.stop()
        elif self.started:
            self.can_stop_lazily = self.hub.supports_lazy_stop
            self.callback()

    @abc.abstractmethod
    def _arm(self) -> None:
        """Register with the loop. A `_disarm` that comes in the midst of this is followed by another one."""

    @abc.abstractmethod
    def _disarm(self) -> None:
        """Take back what `_arm` has done, or has begun to do; nothing if there is nothing. Must not raise, even if the
        descriptor is gone.
        """


class Timer(abc.ABC):
    """A call that is due later. Made by `Hub.call_later`."""

    __slots__ = ()

    @abc.abstractmethod
    def cancel(self) -> None:
        """The call will not be made. Nothing if it was made or cancelled already; frees the callback at once."""


def at_call_end(callback: Callable[[], object]) -> None:
    """Have ``callback()`` called in this greenlet when its current call ends. Nothing if the greenlet is not pooled."""
    callbacks = getattr(getcurrent(), CALL_END_CALLBACKS, None)
    if callbacks is not None:
        callbacks.append(callback)


def main_greenlet() -> greenlet:
    """The native thread's main greenlet, in which `KeyboardInterrupt` and `SystemExit` belong (rule 4)."""
    top = getcurrent()
    while top.parent is not None:
        top = top.parent
    return top
