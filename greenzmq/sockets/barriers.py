"""Barriers: wait until a socket's peers are there, have subscribed, or until what was sent has left.

libzmq tells little of these things, and each barrier says what it can know:

- Connections are told by a monitor, and only those that are made after it was opened. So a context has to say
  ``barriers=True``; its sockets then have a monitor from their first moment on.
- What was sent is told by the trackers of zero-copy messages. So with ``barriers=True`` everything is sent as such.
- Of a PUB's subscriptions libzmq tells how many different topics there are. Whether a topic is one of them is found by
  a subscription of our own, over inproc: if the number does not change, the topic was there. An XPUB receives the
  subscriptions as messages, so there is nothing to find out.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq
from zmq.backend import Socket as BackendSocket

from ..errors import BarrierTimeout
from ..waiting.events import wake_anywhere
from ..waiting.limits import as_limit
from ..waiting.waiter import Waiter
from .calls import DONTWAIT
from .directions import POLLIN
from .listeners import WaitingListener
from .monitors import is_opening, open_monitor
from .operations import SocketState
from .plain import PlainFrame, PlainSocket
from .sharing import SharedState
from .tracker import MessageTracker
from .waiters import EVENTS

if TYPE_CHECKING:
    from typing_extensions import Self

    from .directions import Direction

__all__ = ["Barriers", "ObservedSharedState", "ObservedState", "default_barriers", "observe"]

#: The environment variable that makes all contexts ready for barriers.
ENVIRONMENT = "GREENZMQ_BARRIERS"

_get = BackendSocket.get
_recv = BackendSocket.recv
_PUB, _XPUB = int(zmq.PUB), int(zmq.XPUB)
_TYPE = int(zmq.TYPE)
#: A mask of all events: whatever is observed wakes the waiter, which then looks for itself.
_ANY = -1
#: Listed in zmq.h among what may change still, but in every build of libzmq since 4.3.
_TOPICS_COUNT = 116
_SUCCEEDED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_FAILED = {
    int(event): event.name
    for event in (
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    )
}
_EVENTS = sum(_FAILED) + _SUCCEEDED + int(zmq.EVENT_DISCONNECTED)
_numbers = itertools.count()


def default_barriers() -> bool:
    """What ``$GREENZMQ_BARRIERS`` says."""
    return os.environ.get(ENVIRONMENT, "") not in {"", "0"}


class ObservedState(SocketState):
    """The state of a socket in a context with ``barriers=True``.

    Attributes
    ----------
    monitor : Socket or None
        What tells of its connections.
    connected : int
        How many peers are connected, as far as the monitor was read.
    failures : list of str
        The handshakes that have failed, for messages.
    sent : deque of MessageTracker
        Those of what was sent; the oldest ones are removed when they are done.
    """

    def __init__(self, turn: float) -> None:
        super().__init__(turn)
        self.begin_sending().never_fast()
        self.monitor: Any = None
        self.connected = 0
        self.failures: list[str] = []
        self._failing = 0
        self.sent: deque[Any] = deque()

    def open_monitor(self, green: type[PlainSocket[Any]], socket: Any) -> None:
        """Have `socket` monitored, which is new."""
        self.monitor = open_monitor(green, socket, _EVENTS)

    def close(self) -> None:
        """See `SocketState.close`. Those who wait for connections meet the end of the monitor."""
        monitor, self.monitor = self.monitor, None
        if monitor is not None:
            monitor.close(linger=0)
        super().close()

    def read_monitor(self) -> None:
        """Count what the monitor has told since the last time. Never switches."""
        before, monitor = self.connected, self.monitor
        if monitor is None:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        while True:
            try:
                header, endpoint = _recv(monitor, DONTWAIT), _recv(monitor, DONTWAIT)
            except zmq.Again:
                break
            event: int = struct.unpack_from("=H", header)[0]
            if event == _SUCCEEDED:
                self.connected += 1
            elif event in _FAILED:
                self._failing += 1
                self.failures.append(f"{_FAILED[event]} at {endpoint.decode('utf8', 'replace')}")
            elif self._failing:  # the end of a connection whose handshake has failed
                self._failing -= 1
            elif self.connected:
                self.connected -= 1
        if before != self.connected:
            monitor._greenzmq_state.tell_all_listeners()  # the signal was theirs as well

    def _attempt(self, who: Any, socket: Any, direction: Direction, call: Any, flags: int, args: Any) -> Any:
        """See `SocketState._attempt`."""
        if direction is self.sending:
            call = partial(self._send_tracked, call)
        return super()._attempt(who, socket, direction, call, flags, args)

    def try_again(
        self, socket: Any, direction: Direction, call: Any, flags: int, args: Any, waiter: Waiter, woken: bool
    ) -> Any:
        """See `SocketState.try_again`."""
        if direction is self.sending:
            call = partial(self._send_tracked, call)
        return super().try_again(socket, direction, call, flags, args, waiter, woken)

    def _send_tracked(
        self, call: Any, socket: Any, flags: int, data: Any, copy: bool, track: bool, *others: Any
    ) -> Any:
        """Make the call with trackable frames in place of what is to be sent, and keep their trackers."""
        whole = isinstance(data, (list, tuple))
        parts = [_trackable(part, copy) for part in (data if whole else [data])]
        tracker = call(socket, flags, parts if whole else parts[0], False, True, *others)
        self.sent.extend(part.tracker for part in parts)
        while self.sent and self.sent[0].done:
            self.sent.popleft()
        return tracker if track else None


class ObservedSharedState(ObservedState, SharedState):
    """The same for a socket that native threads share."""


def _trackable(part: Any, copy: bool) -> PlainFrame:
    """A frame with the same bytes, and a tracker."""
    if isinstance(part, PlainFrame):
        if part.tracker is not None:
            return part
        part = part.buffer
    elif copy and not isinstance(part, bytes):
        part = bytes(part)
    return PlainFrame(part, track=True, copy=False, copy_threshold=0)


def observe(green: type[PlainSocket[Any]], socket: Any) -> None:
    """Open the monitor of a new socket in a context with ``barriers=True``."""
    state = socket._greenzmq_state
    if isinstance(state, ObservedState) and state.monitor is None and not is_opening():
        state.open_monitor(green, socket)


class Barriers:
    """The methods of `greenzmq.Socket` that wait for its peers."""

    def wait_connected(self, n: int = 1, timeout: float | None = None) -> None:
        """Wait until at least `n` peers are connected, on whichever side the socket is.

        It knows: the peers with which the handshake is complete, security included, less those that have been lost.
        It cannot know: who they are; peers over inproc, of which libzmq tells nothing; and which of those that it
        counts this socket has left by its own `disconnect` or `unbind`.

        Parameters
        ----------
        n : int
            How many peers.
        timeout : float, optional
            Seconds; None waits for ever.

        Raises
        ------
        RuntimeError
            The context was not made with ``barriers=True``: peers may have come before anybody has counted.
        BarrierTimeout
            The time is over. It is a `TimeoutError`, and tells how many there are and which handshakes have failed.
        zmq.ZMQError
            The socket is closed.

        Notes
        -----
        Switches: when it has to wait.
        """
        _wait_connected(self, n, timeout)

    def wait_subscribed(self, topic: bytes | str = b"", timeout: float | None = None) -> list[bytes]:
        """For a PUB or XPUB: wait until somebody has subscribed to `topic`, or to a beginning of it.

        It knows: that a message with this topic would be sent to somebody. It cannot know: to whom, and to how many.

        On an XPUB, subscriptions are messages that the program receives. There this call receives them in the
        program's place and returns them; it knows of none that the program has received before.

        Parameters
        ----------
        topic : bytes or str
            The beginning of the messages to be sent. b"" means: somebody who has subscribed to everything.
        timeout : float, optional
            Seconds; None waits for ever.

        Returns
        -------
        list of bytes
            What an XPUB has received meanwhile, in order; of a PUB nothing.

        Raises
        ------
        BarrierTimeout
            The time is over.
        TypeError
            The socket is no PUB or XPUB.

        Notes
        -----
        Switches: when it has to wait.
        """
        return _wait_subscribed(self, topic, timeout)

    def wait_drained(self, timeout: float | None = None) -> None:
        """Wait until everything that was sent before has left libzmq's queues.

        It knows: that libzmq is done with each frame. It has been handed to the system, but for the last 8 kB for
        each connection, or was dropped, as a PUB drops what nobody has subscribed to; over inproc it has been received.
        It cannot know: whether the peer has received it.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever.

        Raises
        ------
        RuntimeError
            The context was not made with ``barriers=True``.
        BarrierTimeout
            The time is over; tells how many frames are left.

        Notes
        -----
        Switches: when it has to wait.
        """
        _wait_drained(self, timeout)


# -- the waits ---------------------------------------------------------------------------------------------------------


def _wait_connected(socket: Any, n: int, timeout: float | None) -> None:
    """See `Socket.wait_connected`."""
    state = _observed(socket, "wait_connected")
    if state.monitor is None:
        if socket.closed:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        raise RuntimeError("wait_connected() is for sockets that were made by context.socket(), which observes them")

    def are_there() -> bool:
        state.read_monitor()
        return state.connected >= n

    if not _wait_until(state.monitor, are_there, as_limit(timeout, "the timeout of wait_connected()")):
        told = f"{state.connected} of {n} peers are connected"
        raise BarrierTimeout(timeout, "; ".join([told, *state.failures[-3:]]))


def _wait_drained(socket: Any, timeout: float | None) -> None:
    """See `Socket.wait_drained`."""
    state = _observed(socket, "wait_drained")
    limit = as_limit(timeout, "the timeout of wait_drained()")
    deadline = None if limit is None else monotonic() + limit
    trackers = list(state.sent)
    for number, tracker in enumerate(trackers):
        try:
            _green(tracker).wait(-1 if deadline is None else max(deadline - monotonic(), 0))
        except zmq.NotDone:
            raise BarrierTimeout(timeout, f"{len(trackers) - number} frames have not left yet") from None


def _wait_subscribed(socket: Any, topic: bytes | str, timeout: float | None) -> list[bytes]:
    """See `Socket.wait_subscribed`."""
    wanted = topic.encode("utf8") if isinstance(topic, str) else bytes(topic)
    limit = as_limit(timeout, "the timeout of wait_subscribed()")
    with _lock_of(socket):
        kind = int(_get(socket, _TYPE))
    if kind == _XPUB:
        return _receive_until_subscribed(socket, wanted, timeout, limit)
    if kind != _PUB:
        raise TypeError(f"wait_subscribed() is for PUB and XPUB, and this is {socket!r}")
    with _Probe(socket, wanted) as probe:
        if not _wait_until(socket, probe.find, limit):
            with _lock_of(socket):
                count = int(_get(socket, _TOPICS_COUNT))
            raise BarrierTimeout(
                timeout, f"nobody has subscribed to {wanted!r}; {count} other topics are subscribed to"
            )
    return []


def _receive_until_subscribed(socket: Any, wanted: bytes, timeout: float | None, limit: float | None) -> list[bytes]:
    state = socket._greenzmq_state
    taken: list[bytes] = []
    deadline = None if limit is None else monotonic() + limit
    topics: set[bytes] = set()
    while not any(wanted.startswith(topic) for topic in topics):
        left = None if deadline is None else max(deadline - monotonic(), 0)
        if not state.poll(socket, POLLIN, left):  # not by the socket's methods, which may give futures
            raise BarrierTimeout(timeout, f"nobody has subscribed to {wanted!r}; received meanwhile: {taken}")
        message: bytes = state.perform(socket, state.receiving, _recv, 0, (True, False))
        taken.append(message)
        if message[:1] == b"\x01":
            topics.add(message[1:])
        elif message[:1] == b"\x00":
            topics.discard(message[1:])
    return taken


class _Probe:
    """Finds whether somebody has subscribed to a topic of a PUB, or to a beginning of it."""

    def __init__(self, socket: Any, topic: bytes) -> None:
        self._socket = socket
        self._topic = topic
        self._address = f"inproc://greenzmq.subscriber.{next(_numbers)}"
        self._seen = -1

    def __enter__(self) -> Self:
        socket = self._socket
        endpoint = socket.get(zmq.LAST_ENDPOINT)
        self._subscriber = PlainSocket(socket.context, zmq.SUB)
        try:
            self._subscriber.bind(self._address)
            socket.connect(self._address)
            self._subscriber.get(zmq.EVENTS)  # has it process the connection; else it would send no subscriptions
        except BaseException:
            self._subscriber.close(linger=0)
            raise
        socket.__dict__["_greenzmq_last_endpoint"] = endpoint  # what the program has bound or connected last
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._socket.disconnect(self._address)
        except zmq.ZMQError:  # closed meanwhile, or its context has ended
            pass
        self._subscriber.close(linger=0)

    def find(self) -> bool:
        """Whether it is there. Asks again while the subscriptions of others change.

        Reads ``EVENTS`` past the other waiters: of a PUB nobody waits for an event but in calls of this kind. Those are
        woken if this one may have consumed a signal, and not if it met none: they would wake each other for ever.
        """
        state = self._socket._greenzmq_state
        signalled = state.is_signalled()
        found = any(self._is_subscribed(self._topic[:length]) for length in range(len(self._topic) + 1))
        seen, self._seen = self._seen, self._count()
        if signalled or seen != self._seen:
            state.tell_all_listeners()
        return found

    def _is_subscribed(self, topic: bytes) -> bool:
        while True:
            before = self._count()
            if not before:
                return False
            self._subscriber.set(zmq.SUBSCRIBE, topic)
            with_ours = self._count()
            self._subscriber.set(zmq.UNSUBSCRIBE, topic)
            if self._count() == before:
                return with_ours == before

    def _count(self) -> int:
        """How many topics there are, after what has come is processed."""
        _get(self._socket, EVENTS)
        return int(_get(self._socket, _TOPICS_COUNT))


def _wait_until(socket: Any, condition: Callable[[], bool], timeout: float | None) -> bool:
    """Park until `condition` holds, and ask it whenever something happens to `socket`. Returns whether it holds."""
    began_at = monotonic()
    state = socket._greenzmq_state
    lock = _lock_of(socket)
    with lock:
        if condition():
            return True
    if timeout is not None and timeout <= 0:
        return False
    waiter = Waiter(state.bind_hub(socket), timeout, began_at, socket)
    listener = WaitingListener(_ANY, partial(wake_anywhere, waiter))
    try:
        state.enter(socket, waiter)
        while True:
            state.listen(listener)
            with lock:
                if condition():
                    return True
            if waiter.expired:
                return False
            waiter.park()
    finally:
        try:
            _leave(state, socket, listener, waiter)
        except BaseException:  # a signal handler has raised while it ran: it is idempotent, so repeat it
            _leave(state, socket, listener, waiter)
            raise


def _lock_of(socket: Any) -> Any:
    """The lock of a socket that native threads share; one that does nothing for any other."""
    return getattr(socket._greenzmq_state, "lock", None) or nullcontext()


def _leave(state: Any, socket: Any, listener: WaitingListener, waiter: Waiter) -> None:
    state.forget(listener)
    state.leave(socket, waiter)


def _observed(socket: Any, method: str) -> ObservedState:
    state = socket._greenzmq_state
    if not isinstance(state, ObservedState):
        raise RuntimeError(  # noqa: TRY004
            f"{method}() cannot know what was before it: let the socket be observed from its first moment on, by "
            f"greenzmq.Context(barriers=True) or ${ENVIRONMENT}=1"
        )
    return state


def _green(tracker: Any) -> Any:
    return MessageTracker(tracker)
