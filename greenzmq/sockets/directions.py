"""The two directions of a socket, receiving and sending: who waits in each, and whether calls may take the fast path.

No method here switches, and none touches libzmq.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import zmq
from greenlet import getcurrent, greenlet

from ..hubs.base import at_call_end
from ..waiting.waiter import WaitQueue
from .fairness import FAST_CALLS
from .messages import PartialMessage, Party

if TYPE_CHECKING:
    from ..waiting.waiter import Waiter

__all__ = ["POLLIN", "POLLOUT", "Direction", "Receiving", "Sending", "whom_to_wake"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
POLLIN = int(zmq.POLLIN)
POLLOUT = int(zmq.POLLOUT)


def _nobody() -> None:
    """Return None, as a weak reference to a greenlet that is gone does."""


class Direction(WaitQueue):
    """One direction of one socket: the queue of its waiters, the gate of the fast path, and the message in progress.

    Attributes
    ----------
    event : int
        ``POLLIN`` or ``POLLOUT``.
    timeout_option : int
        ``RCVTIMEO`` or ``SNDTIMEO``.
    timeout : int or None
        The value of this option, in milliseconds, where it is known; see `greenzmq.sockets.timeouts`.
    fast_calls_left : int
        How many calls may still take the fast path. Above 0 only while nobody waits on the socket, nobody is in the
        middle of a message of this direction, the turn is not over and the last call did not have to wait. Written by
        the methods of this class only, except that the fast path itself (`greenzmq.sockets.socket`) counts it down.
    fast_calls_max : int
        What `fast_calls_left` is when the fast path opens; 0 if it never does.
    expect_eagain : bool
        The last call had to wait, so the next one probably has to as well. It therefore waits without a first attempt:
        an attempt in vain costs an exception (3–5 µs), and the wait reads ``EVENTS`` anyway (1 µs).
    last_receiver : weak reference to a greenlet or asyncio.Task
        Who received last. Nobody else takes the fast path: the message may have more parts, and they belong to the
        greenlet that received the first.
    mid_message : PartialMessage or None
        The message that a greenlet is sending or receiving part by part. Other greenlets wait until it is complete.
    """

    __slots__ = ("expect_eagain", "fast_calls_left", "fast_calls_max", "last_receiver", "mid_message", "timeout")
    event: ClassVar[int]
    timeout_option: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.fast_calls_left = self.fast_calls_max = FAST_CALLS
        self.expect_eagain = False
        self.last_receiver: Callable[[], Party | None] = _nobody
        self.mid_message: PartialMessage | None = None
        self.timeout: int | None = None

    # -- the fast path ------------------------------------------------------------------------------------------------

    def open_fast_path(self, used: int = 0) -> None:
        """Let calls take the fast path, less the `used` calls already made, unless this direction's state forbids it.

        The caller makes sure that nobody waits on the socket and that the turn is not over.
        """
        if self.fast_calls_max and not self.expect_eagain and self.mid_message is None:
            self.fast_calls_left = self.fast_calls_max - used

    def close_fast_path(self) -> None:
        """Send every call by the slow path, until `open_fast_path`."""
        self.fast_calls_left = 0

    def is_exhausted(self) -> bool:
        """Whether the calls of the fast path are used up, or it is closed for a while."""
        return self.fast_calls_max > self.fast_calls_left == 0

    def never_fast(self) -> None:
        """Send every call by the slow path, for good."""
        self.fast_calls_left = self.fast_calls_max = 0

    def may_be_fast(self) -> None:
        """Undo `never_fast`."""
        self.fast_calls_left = self.fast_calls_max = FAST_CALLS

    def count_calls(self) -> int:
        """Send every call by the slow path, where it can be counted. Returns what `stop_counting` needs."""
        most, self.fast_calls_max = self.fast_calls_max, 0
        self.fast_calls_left = 0
        return most

    def stop_counting(self, most: int) -> None:
        """Undo `count_calls`: the fast path may open again."""
        self.fast_calls_max = most

    def refill(self) -> None:
        """Forget how many calls have used the fast path. Does nothing while it is closed."""
        if self.fast_calls_left:
            self.fast_calls_left = FAST_CALLS

    def begin_wait(self) -> None:
        """A call is about to wait: expect that the next one has to wait, too."""
        self.expect_eagain = True

    def need_not_wait(self) -> None:
        """A call did not have to wait: expect that the next one need not wait either."""
        self.expect_eagain = False

    # -- the time limit -----------------------------------------------------------------------------------------------

    def keep_timeout(self, milliseconds: int) -> None:
        """The option has this value, until `forget_timeout`."""
        self.timeout = milliseconds

    def forget_timeout(self) -> None:
        """The option may have another value by now."""
        self.timeout = None

    # -- whose message it is ------------------------------------------------------------------------------------------

    def note_receiver(self, who: Party) -> None:
        """Remember `who` as the last receiver. Called only when it was not that already."""
        # Weak, or a socket would keep a greenlet that has ended, with all that its frames refer to.
        self.last_receiver = weakref.ref(who)
        if who is getcurrent():
            at_call_end(self._forget_receiver)

    def _forget_receiver(self) -> None:
        if self.last_receiver() is getcurrent():
            self.last_receiver = _nobody

    def party_inside(self) -> Party | None:
        """The living greenlet or task that is in the middle of a message, if any."""
        message = self.mid_message
        return None if message is None else message.living_owner()

    def first_to_wake(self) -> Waiter | None:
        """The first waiter in the queue. In the middle of a message: the first of the task that is in it, if any.

        A greenlet that is in the middle of a message stands in no queue. But a task may have made several calls.
        """
        inside = self.party_inside()
        if inside is None:
            return self.first
        if isinstance(inside, greenlet):
            return None
        return next((waiter for waiter in self if waiter.party is inside), None)

    def reserved_for_other(self, who: Party) -> bool:
        """Whether a greenlet or task other than `who` is in the middle of a message."""
        message = self.mid_message
        return message is not None and message.reserved_for_other(who)

    def begin_message(self, owner: Party, on_exit: Callable[[Any], object]) -> None:
        """Reserve the direction for `owner`, which has begun a message or goes on with one; see `PartialMessage`."""
        message = self.mid_message
        if message is None or message.living_owner() is not owner:
            self.end_message()
            self.mid_message = PartialMessage(owner, on_exit)
        self.close_fast_path()

    def end_message(self) -> None:
        """The message is complete: others may use the direction again. Does nothing if there is no message."""
        message, self.mid_message = self.mid_message, None
        if message is not None:
            message.end()


class Receiving(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLIN
    timeout_option = int(zmq.RCVTIMEO)


class Sending(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLOUT
    timeout_option = int(zmq.SNDTIMEO)


def whom_to_wake(
    events: int, receiving: Direction, sending: Direction, generation: int
) -> tuple[Waiter | None, Waiter | None]:
    """Choose the receiver and the sender to wake, given an ``EVENTS`` mask; None where there is none. Changes nothing.

    At most one waiter of each direction is woken. It wakes the next one when it leaves (`SocketWaiters.leave`).

    Parameters
    ----------
    events : int
        What libzmq says the socket can do.
    receiving, sending : Direction
        The queues.
    generation : int
        The number of the observation of ``EVENTS`` that gave `events`. A sender that this observation has already
        promised room in vain is passed over; see `greenzmq.sockets.spurious`.
    """
    reader = receiving.first_to_wake() if events & POLLIN else None
    writer = sending.first_to_wake() if events & POLLOUT else None
    while writer is not None and writer.spurious is not None and writer.spurious.generation == generation:
        writer = writer.next
    return reader, writer
