"""Trackers of zero-copy messages, whose `wait` parks the greenlet.

pyzmq makes one `threading.Event` for each tracked frame. Its collector, in a thread of its own, sets the event when
libzmq is done with the frame. A thread that waits for an event puts a lock into the queue of the event's condition, and
`set` releases this lock. For a greenlet we put an object of our own there, whose `release` wakes the greenlet.

pyzmq keeps the tracker on the `Frame`, and each send of that frame returns it. So it is enough that frames have green
trackers. A green socket makes such a frame of each buffer that it is to track, and the namespaces export this `Frame`.
Frames that pyzmq itself has made, such as received ones, count as its instances, too.
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
    """A metaclass: instances of pyzmq's own class count as instances of ours, as code written for pyzmq expects."""

    def __instancecheck__(cls, instance: object) -> bool:
        kind = cls.__bases__[0] if cls.__module__ == __name__ else cls
        return type.__instancecheck__(kind, instance)


class MessageTracker(PlainMessageTracker, metaclass=_LikeItsParent):
    """A `zmq.MessageTracker` whose `wait` parks the greenlet, on any hub.

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
            Seconds. A negative number waits for ever, 0 does not wait.

        Raises
        ------
        zmq.NotDone
            The time is over, and libzmq is not done with the message.
        TypeError or ValueError
            The timeout is not a number of seconds.

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
    """A `zmq.Frame` whose `tracker` is a green `MessageTracker`."""

    def __init__(self, data: Any = None, track: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, track, *args, **kwargs)
        if track and self.tracker is not zmq._FINISHED_TRACKER:  # pyzmq's tracker for a frame that it has copied
            self.tracker = MessageTracker(self.tracker)

    def __repr__(self) -> str:
        """As pyzmq's, ``<zmq.Frame(...)>``. A subclass shows its own name."""
        shown, ours = super().__repr__(), f"<{__name__}."
        return f"<zmq.{shown.removeprefix(ours)}" if shown.startswith(ours) else shown


def tracked(data: Any, copy: bool, copy_threshold: int | None) -> Any:
    """Return what to send in place of `data`, so that the send returns a green tracker."""
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
    """A `threading.Event` for greenlets to wait for.

    It stands in the queue of the event's condition, like the lock of a thread that waits, and is released like those.
    It stays there until the event is set, even if no greenlet waits any more. To remove it while another thread may
    walk through the queue, we would need the condition's lock; where `threading` is patched, that is a green lock,
    which does not protect against other threads.
    """

    def __init__(self, event: Any) -> None:
        super().__init__()
        self._event = event

    def ready(self) -> bool:
        return bool(self._event.is_set())

    def release(self) -> None:
        self._announce()


def _waitable(event: Any) -> Waitable:
    """Return the `Waitable` that becomes ready when `event` is set."""
    if isinstance(event, Waitable):  # an Event of gevent's, which patched `threading` before pyzmq was imported
        return event
    condition = getattr(event, "_cond", None)
    if condition is None:
        return NativeCall(event.wait)
    new = _EventWaitable(event)
    bell: _EventWaitable = vars(event).setdefault("_greenzmq_bell", new)
    if bell is new:
        # If the event is set during this line, before `bell` is in the queue, nobody releases `bell`. The caller parks
        # by `park_for`, which asks `ready` once more after it has linked itself.
        condition._waiters.append(bell)
    return bell
