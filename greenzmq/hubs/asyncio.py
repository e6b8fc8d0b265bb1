"""The hub of asyncio: greenlets on the running loop, be it the standard library's or uvloop.

The loop runs in a greenlet like any other, mostly the thread's main one. Greenlets spawned here have it as their
parent: a loop callback switches into one of them, and comes back when that one parks. The greenlet of the loop itself,
with all its coroutines and callbacks, can not park: that would stop the loop. Its way in is ``await
greenzmq.asyncio.run(...)``.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, current_task, ensure_future
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ..errors import BlockingCallError, HubError
from .base import MARK, Hub, Timer, Watch

if TYPE_CHECKING:
    from greenlet import greenlet

__all__ = ["AsyncioHub", "CancelledError", "current_task", "ensure_future"]

_ATTRIBUTE = "_greenzmq_hub"  # on the loop; they are collected together


class AsyncioHub(Hub):
    """See `Hub`. Exists as long as its loop; each ``asyncio.run`` has a new one."""

    name = "asyncio"
    cure = "Write: await greenzmq.asyncio.run(function, *args)"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self._greenlet = getcurrent()
        # Another library's bridge may have put this very call into a greenlet of its own; a callback is in the loop's.
        loop.call_soon(self._note_greenlet)

    @classmethod
    def current(cls) -> AsyncioHub | None:
        loop = asyncio._get_running_loop()
        return getattr(loop, _ATTRIBUTE, None)

    @classmethod
    def get(cls) -> AsyncioHub:
        loop = asyncio._get_running_loop()
        if loop is None:
            raise HubError(
                "no asyncio loop is running in this thread; start one: asyncio.run(main()), and in main() write "
                "await greenzmq.asyncio.run(function, *args)"
            )
        hub: AsyncioHub | None = getattr(loop, _ATTRIBUTE, None)
        if hub is None:
            if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
                raise HubError(
                    f"{type(loop).__name__} cannot watch file descriptors, which greenzmq needs; on Windows run "
                    "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
                )
            hub = cls(loop)
            setattr(loop, _ATTRIBUTE, hub)
        return hub

    @property
    def greenlet(self) -> greenlet:
        return self._greenlet

    @property
    def variant(self) -> str:
        package = type(self.loop).__module__.partition(".")[0]
        return type(getattr(self.loop, "_selector", None)).__name__ if package == "asyncio" else package

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _AsyncioWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.loop.call_soon(callback, *args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        return _AsyncioTimer(self, seconds, callback, args)

    def switch(self) -> object:
        if self.loop.is_closed():
            raise HubError(f"{self!r} is closed: nothing can be waited for on it any more")
        if not self._is_ours(getcurrent()):
            # To its bridge the switch would look like the end of a step (SQLAlchemy: something to await).
            raise BlockingCallError(
                f"a call that has to wait was made on {self!r} in a greenlet of another library. {self.cure}"
            )
        return self._greenlet.switch()

    def _is_ours(self, current: Any) -> bool:
        while current is not None and getattr(current, MARK, None) is not self:
            current = current.parent
        return current is not None

    def _note_greenlet(self) -> None:
        self._greenlet = getcurrent()


class _AsyncioWatch(Watch):
    __slots__ = ()
    hub: AsyncioHub

    def _arm(self) -> None:
        if self.write:
            self.hub.loop.add_writer(self.fd, self._fire)
        else:
            self.hub.loop.add_reader(self.fd, self._fire)

    def _disarm(self) -> None:
        loop = self.hub.loop
        if not loop.is_closed():
            if self.write:
                loop.remove_writer(self.fd)
            else:
                loop.remove_reader(self.fd)


class _AsyncioTimer(Timer):
    """uvloop counts in whole milliseconds and rounds down: what comes too early is put off by the rest."""

    __slots__ = ("args", "callback", "handle", "hub", "when")

    def __init__(self, hub: AsyncioHub, seconds: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.hub = hub
        self.when = monotonic() + max(seconds, 0)
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.handle: asyncio.Handle = hub.loop.call_later(max(seconds, 0), self._run)

    def _run(self) -> None:
        rest = self.when - monotonic()
        if rest > 0:
            self.handle = self.hub.loop.call_later(max(rest, 0.001), self._run)
            return
        callback, args = self.callback, self.args
        self.callback, self.args = None, ()
        if callback is not None:
            callback(*args)

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback, self.args = None, ()
            self.handle.cancel()
