"""The two directions of a socket: who waits in each, and whether calls may take the fast path."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import zmq
from greenlet import getcurrent

from ..hubs.base import at_call_end
from ..waiting.waiter import WaitQueue
from .fairness import FAST_CALLS
from .messages import PartialMessage

if TYPE_CHECKING:
    from greenlet import greenlet

    from ..waiting.waiter import Waiter

__all__ = ["POLLIN", "POLLOUT", "Direction", "Receiving", "Sending", "whom_to_wake"]

# Plain ints: an operation on pyzmq's enums costs more than a whole recv.
POLLIN = int(zmq.POLLIN)
POLLOUT = int(zmq.POLLOUT)


def _nobody() -> None:
    """A reference to no greenlet."""


class Direction(WaitQueue):
    """`Receiving`, or `Sending`, on one socket: the queue of those who wait, and what they have to know of each other.

    Attributes
    ----------
    event : int
        ``POLLIN`` or ``POLLOUT``.
    timeout_option : int
        ``RCVTIMEO`` or ``SNDTIMEO``.
    index : int
        0 or 1, the place of what is kept for each direction.
    fast_calls_left : int
        How many calls may still take the fast path. Above 0 only while nobody waits on the socket, nobody is in the
        middle of a message of this direction, the turn is not over and the last call did not have to wait. The
        methods here write it, and in line the fast path itself (`greenzmq.sockets.socket`), which counts it down.
    fast_calls_max : int
        What `fast_calls_left` is when the fast path opens; 0 if it never does.
    expect_eagain : bool
        The last call had to wait. The next one does not try first, since to try in vain costs more (an exception,
        3–5 µs) than the look at ``EVENTS`` that is due in any wait (1 µs).
    last_receiver : weak reference to a greenlet
        The greenlet that received last. No other one takes the fast path: the message may have more parts, which are
        that greenlet's.
    mid_message : PartialMessage or None
        The message that a greenlet has begun, part by part; the others stand back until its end.
    """

    __slots__ = ("expect_eagain", "fast_calls_left", "fast_calls_max", "last_receiver", "mid_message")
    event: ClassVar[int]
    timeout_option: ClassVar[int]
    index: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.fast_calls_left = self.fast_calls_max = FAST_CALLS
        self.expect_eagain = False
        self.last_receiver: Callable[[], greenlet | None] = _nobody
        self.mid_message: PartialMessage | None = None

    # -- the fast path ------------------------------------------------------------------------------------------------

    def open_fast_path(self, used: int = 0) -> None:
        """Let calls take the fast path, unless something of this direction forbids it; `used` of them have been made.

        Only while nobody waits on the socket and the turn is not over.
        """
        if self.fast_calls_max and not self.expect_eagain and self.mid_message is None:
            self.fast_calls_left = self.fast_calls_max - used

    def close_fast_path(self) -> None:
        """Send every call by the slow path, until `open_fast_path`."""
        self.fast_calls_left = 0

    def never_fast(self) -> None:
        """Send every call by the slow path, for good."""
        self.fast_calls_left = self.fast_calls_max = 0

    def used_since_refill(self) -> bool:
        """Whether a call has been made on the fast path, or has opened it, since `refill`."""
        return 0 < self.fast_calls_left < FAST_CALLS

    def refill(self) -> None:
        """Forget how many calls have been made; nothing where the fast path is closed."""
        if self.fast_calls_left:
            self.fast_calls_left = FAST_CALLS

    def begin_wait(self) -> None:
        """A call is about to wait: expect the next one to have to."""
        self.expect_eagain = True

    def need_not_wait(self) -> None:
        """A call did not have to wait: expect the same of the next one."""
        self.expect_eagain = False

    # -- whose message it is ------------------------------------------------------------------------------------------

    def note_receiver(self) -> None:
        """The current greenlet has received last, and is not the one that did before."""
        self.last_receiver = weakref.ref(getcurrent())
        at_call_end(self._forget_receiver)

    def _forget_receiver(self) -> None:
        if self.last_receiver() is getcurrent():
            self.last_receiver = _nobody

    def greenlet_inside(self) -> greenlet | None:
        """The living greenlet that is in the middle of a message, if any."""
        message = self.mid_message
        return None if message is None else message.greenlet()

    def reserved_for_other(self) -> bool:
        """Whether a greenlet other than the caller is in the middle of a message."""
        message = self.mid_message
        return message is not None and message.reserved_for_other()

    def begin_message(self, owner: greenlet, on_exit: Callable[[Any], object]) -> None:
        """`owner` has begun a message, or goes on with it; see `PartialMessage`."""
        message = self.mid_message
        if message is None or message.greenlet() is not owner:
            self.end_message()
            self.mid_message = PartialMessage(owner, on_exit)
        self.close_fast_path()

    def end_message(self) -> None:
        """The message has come to its end; nothing if there is none."""
        message, self.mid_message = self.mid_message, None
        if message is not None:
            message.end()


class Receiving(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLIN
    index = 0
    timeout_option = int(zmq.RCVTIMEO)


class Sending(Direction):
    """See `Direction`."""

    __slots__ = ()
    event = POLLOUT
    index = 1
    timeout_option = int(zmq.SNDTIMEO)


def whom_to_wake(
    events: int, receiving: Direction, sending: Direction, generation: int
) -> tuple[Waiter | None, Waiter | None]:
    """The receiver and the sender that an ``EVENTS`` mask lets go on; None where there is none. Changes nothing.

    Parameters
    ----------
    events : int
        What the socket can do, as libzmq says.
    receiving, sending : Direction
        The queues.
    generation : int
        The number of the observation behind `events`: a sender that it has promised room in vain is passed over.
    """
    reader = receiving.first if events & POLLIN and receiving.greenlet_inside() is None else None
    writer = sending.first if events & POLLOUT and sending.greenlet_inside() is None else None
    while writer is not None and writer.spurious is not None and writer.spurious.generation == generation:
        writer = writer.next
    return reader, writer
