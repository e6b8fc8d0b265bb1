"""Trackers of zero-copy messages, whose `wait` parks the greenlet.

pyzmq has one `threading.Event` for each tracked frame, and its collector sets it in a thread of its own. A greenlet
that waits for it stands in the event's queue as a thread would, with something in place of the thread's lock: to
release it wakes the greenlet.

pyzmq keeps the tracker on the `Frame` and returns it from every send of that frame. So it is enough to make frames with
green trackers: the socket makes one of what it is told to track, and this `Frame` is what the namespaces export. Frames
made by pyzmq itself, such as received ones, count as instances of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from .. import hubs
from ..waiting.events import Linkable, Waitable, park_for
from ..waiting.limits import as_seconds
from ..waiting.tasks import NativeCall
from ..waiting.waiter import new_waiter
from .plain import PlainFrame, PlainMessageTracker

__all__ = ["Frame", "MessageTracker", "tracked"]


class _LikeItsParent(type):
    """Of these classes, pyzmq's own instances are instances, too; a drop-in may not tell them apart."""

    def __instancecheck__(cls, instance: object) -> bool:
        kind = cls.__bases__[0] if cls.__module__ == __name__ else cls
        return type.__instancecheck__(kind, instance)


class MessageTracker(PlainMessageTracker, metaclass=_LikeItsParent):
    """A `zmq.MessageTracker` for greenlets, which may be on any hub.

    Parameters
    ----------
    *towatch : Event, MessageTracker or Frame
        As for `zmq.MessageTracker`.
    """

    def wait(self, timeout: float | bool = -1) -> None:
        """Wait until libzmq is done with the message; see `zmq.MessageTracker.wait`.

        Parameters
        ----------
        timeout : float
            Seconds; a negative number waits for ever, 0 looks only.

        Raises
        ------
        zmq.NotDone
            The time is over.
        TypeError or ValueError
            The timeout is no number of seconds.

        Notes
        -----
        Switches: when it has to wait.
        """
        timeout = as_seconds(timeout, "MessageTracker.wait()")
        if self.done:
            return
        if timeout != 0 or timeout is False:
            _wait(self, None if timeout < 0 or timeout is False else timeout)
        if not self.done:
            raise zmq.NotDone()


class Frame(PlainFrame, metaclass=_LikeItsParent):
    """A `zmq.Frame` whose `tracker` waits for greenlets."""

    def __init__(self, data: Any = None, track: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, track, *args, **kwargs)
        if track and self.tracker is not zmq._FINISHED_TRACKER:  # which is what pyzmq gives to what it has copied
            self.tracker = MessageTracker(self.tracker)

    def __repr__(self) -> str:
        """As pyzmq's; a subclass is called by its own name."""
        shown, ours = super().__repr__(), f"<{__name__}."
        return f"<zmq.{shown.removeprefix(ours)}" if shown.startswith(ours) else shown


def tracked(data: Any, copy: bool, copy_threshold: int | None) -> Any:
    """What to send in place of `data` so that the tracker which comes back is green."""
    if copy or isinstance(data, PlainFrame):
        return data
    return Frame(data, track=True, copy_threshold=copy_threshold)


def _wait(tracker: zmq.MessageTracker, seconds: float | None) -> None:
    waiter = new_waiter(hubs.hub_to_wait_on(), seconds, None, tracker)
    try:
        for event in _events(tracker):
            while not (event.is_set() or waiter.expired):
                park_for(waiter, _waitable(event))
    finally:
        waiter.close()


def _events(tracker: zmq.MessageTracker) -> Iterator[Any]:
    yield from tracker.events
    for peer in tracker.peers:
        yield from _events(peer)


class _EventWaitable(Linkable):
    """A `threading.Event`, to be waited for by greenlets.

    In the queue of the event's condition it stands where a waiting thread has its lock, and is released like those.
    There it stays: to take it out of a queue that another thread goes through would need the condition's lock, which is
    a green one where `threading` is patched, and no good between threads.
    """

    def __init__(self, event: Any) -> None:
        super().__init__()
        self._event = event

    def ready(self) -> bool:
        return bool(self._event.is_set())

    def release(self) -> None:
        self._announce()


def _waitable(event: Any) -> Waitable:
    """What to wait for until `event` is set."""
    if isinstance(event, Waitable):  # gevent's, if it patched `threading` before pyzmq was imported
        return event
    condition = getattr(event, "_cond", None)
    if condition is None:
        return NativeCall(event.wait)
    new = _EventWaitable(event)
    bell: _EventWaitable = vars(event).setdefault("_greenzmq_bell", new)
    if bell is new:
        condition._waiters.append(bell)  # who sets the event does so before it looks at the queue
    return bell
