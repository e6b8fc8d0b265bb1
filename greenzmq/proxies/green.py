"""proxy, proxy_steerable and device, for greenlets, as libzmq's ``proxy.cpp`` defines them.

One greenlet moves the messages of both ways, in bounded bursts, first one way and then the other. It parks only between
messages, when each way is blocked: there is no message to receive, or no room to send it. So if the greenlet is killed,
or a socket is closed, while it is parked, it holds no message that would be lost.

- A message is received only when its target, and the capture socket, report room for it (``POLLOUT``). libzmq's own
  proxy reads ``EVENTS`` once a burst, and then may wait while it holds a message.
- The report may be false: see fact 4 of `greenzmq.sockets.waiters`. The received message is then handed to a task,
  which waits for room like any other sender, and outlives the proxy. Meanwhile the other way and the control socket go
  on. The blocked way waits for the task, which is `Waitable`.
- libzmq's functions are called directly, without the bookkeeping of the green socket. They may consume signals that
  other greenlets wait for on the same sockets, so these are rechecked after each burst. Other greenlets may also be in
  the middle of a message: that is checked before each burst, and cannot change in it, since nobody else runs.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as BackendSocket

from .. import hubs
from ..polling.poller import Poller
from ..sockets.calls import receive_message, send_message
from ..sockets.directions import POLLIN, POLLOUT
from ..sockets.fairness import Turn, default_turn
from ..sockets.inherited import inherited_message
from ..sockets.locked import LockedCalls
from ..sockets.operations import DONTWAIT
from ..sockets.registry import address_of
from ..sockets.socket import Socket, receive_directly, send_directly
from ..sockets.waiters import EVENTS
from ..waiting.reasons import PROXY
from ..waiting.tasks import Task
from ..waiting.threads import task_class
from ..waiting.waiter import yield_to_hub
from .native import run_native

if TYPE_CHECKING:
    from ..hubs import Choice, Hub

__all__ = ["device", "proxy", "proxy_steerable"]

#: Messages that one way moves before it is the other's turn: enough for the checks around a burst to cost little, and
#: much less than a `Turn`.
BURST = 100
#: Polled for on a socket from which nothing else is awaited: the poll still ends if it is closed, or its context ends.
_THE_END = int(zmq.POLLERR)
_REP = int(zmq.REP)
_TYPE = int(zmq.TYPE)

_get = BackendSocket.get
_recv = BackendSocket.recv


def proxy(
    frontend: zmq.Socket[Any],
    backend: zmq.Socket[Any],
    capture: zmq.Socket[Any] | None = None,
    *,
    native: bool = False,
    hub: Choice | None = None,
) -> int:
    """Pass messages on between two sockets, both ways; see `zmq.proxy`. Other greenlets run meanwhile.

    Parameters
    ----------
    frontend, backend : Socket
        Green or plain sockets. If both are the same, each message is sent back. While the proxy runs, other code
        should not use them.
    capture : Socket, optional
        A copy of every message is sent to it.
    native : bool
        Let libzmq's own proxy do it in a native thread, while this greenlet waits. That is several times faster, and
        does not need the GIL.

        Until it has ended, no other call may be made on the sockets, except `close` of a green one. That call ends the
        proxy, and so does a kill of this greenlet. If libzmq waits for room at that moment, to send a message that it
        has received, the proxy ends only when there is room. The socket counts as closed at once; libzmq closes it
        when the thread has ended. In a forked child the sockets are closed and the thread does not exist.
    hub : str, type or Hub, optional
        The hub to wait on. None takes that of the sockets' context, or else leaves the choice to the rules.

    Raises
    ------
    TypeError
        One of the arguments is not a socket.
    zmq.ContextTerminated
        The context has ended.
    zmq.ZMQError
        Any error of libzmq, such as ``ENOTSOCK`` if a socket is closed.
    WrongHubError
        With `native`: greenlets wait on one of the sockets, or another native proxy uses it.

    Notes
    -----
    Switches: always. It does not return: only an exception ends it.
    """
    return proxy_steerable(frontend, backend, capture, native=native, hub=hub)


def proxy_steerable(
    frontend: zmq.Socket[Any],
    backend: zmq.Socket[Any],
    capture: zmq.Socket[Any] | None = None,
    control: zmq.Socket[Any] | None = None,
    *,
    native: bool = False,
    hub: Choice | None = None,
) -> int:
    """`proxy`, with a socket on which it takes commands; see `zmq.proxy_steerable`.

    Parameters
    ----------
    frontend, backend, capture, native, hub
        As for `proxy`.
    control : Socket, optional
        A PAIR, PULL, SUB, REP or the like. A command is a single frame: ``PAUSE``, ``RESUME``, ``TERMINATE`` or
        ``STATISTICS``. The answer to ``STATISTICS`` has eight frames, each a ``uint64`` in the machine's byte order:
        the frames and the octets that the frontend received, that the frontend sent, that the backend received, and
        that the backend sent. On a REP, every other command is answered with an empty frame.

    Returns
    -------
    int
        0, after ``TERMINATE``.

    Notes
    -----
    Switches: always.
    """
    required: dict[str, Any] = {"frontend": frontend, "backend": backend}
    optional = {name: socket for name, socket in (("capture", capture), ("control", control)) if socket is not None}
    for name, socket in (required | optional).items():
        if not isinstance(socket, BackendSocket):
            raise TypeError(f"{name} has to be a Socket, not {socket!r}")
        if isinstance(socket, Socket) and socket._greenzmq_state.inherited:
            raise zmq.ZMQError(zmq.ENOTSOCK, inherited_message("socket"))
    sockets = [*required.values(), *optional.values()]
    chooser = None if hub else next((socket for socket in sockets if _choice(socket) is not None), None)
    here = hubs.hub_to_wait_on(hub if chooser is None else _choice(chooser), chooser)
    if native:
        return run_native(here, frontend, backend, capture, control)
    return _Proxy(here, frontend, backend, capture, control).run()


def device(device_type: int, frontend: zmq.Socket[Any], backend: Any = None, *, hub: Choice | None = None) -> int:
    """`proxy` under its old name; see `zmq.device`. Without a `backend`, the frontend is both, as in `zmq.green`.

    Parameters
    ----------
    device_type : int
        Has no effect, as in pyzmq.
    frontend, backend, hub
        As for `proxy`.

    Notes
    -----
    Switches: always.
    """
    return proxy(frontend, frontend if backend is None or backend == -1 else backend, hub=hub)


def _choice(socket: zmq.Socket[Any]) -> Choice | None:
    return socket._greenzmq_choice if isinstance(socket, Socket) else None


class _Flow:
    """One way through a proxy: from `source` to each of `targets`. The last target is the other side.

    If there is a capture socket, it is the first target.
    """

    __slots__ = (
        "delivered",
        "frames",
        "hub",
        "in_hand",
        "octets",
        "pending",
        "source",
        "target_differs",
        "targets",
        "waits_for_room",
    )

    def __init__(self, hub: Hub, source: Any, target: Any, capture: Any) -> None:
        self.hub = hub
        self.source = source
        self.targets = [target] if capture is None else [capture, target]
        self.target_differs = address_of(source) != address_of(target)
        # If a message goes back through the socket that it came from, do not ask that for room before the receive: a
        # REP, for one, cannot send until it has received.
        self.waits_for_room = self.targets if self.target_differs else self.targets[:-1]
        self.frames = 0
        self.octets = 0
        self.delivered = 0
        self.in_hand: list[zmq.Frame] = []
        self.pending: Task[BaseException | None] | None = None

    def move(self) -> tuple[Any, int] | None:
        """Move one burst. If the way is blocked then, return an object and the event to poll it for; else None."""
        if self.pending is not None:
            if not self.pending.done:
                return self.pending, POLLIN
            self._finish_pending(self.pending)
        if not _events(self.source) & POLLIN:
            return self.source, POLLIN
        try:
            contested = self._is_contested()
            return self._burst(1 if contested else BURST, contested)
        finally:
            for socket in (self.source, *self.targets):
                if isinstance(socket, Socket) and socket._greenzmq_state.has_waiters:
                    socket._greenzmq_state.recheck_for_others(socket)

    def _burst(self, messages: int, contested: bool) -> tuple[Any, int] | None:
        source, waits_for_room, deliver = self.source, self.waits_for_room, self._deliver
        first = receive = receive_directly if isinstance(source, Socket) else receive_message
        for _ in range(messages):
            for socket in waits_for_room:
                if not int(_get(socket, EVENTS)) & POLLOUT:
                    return socket, POLLOUT
            try:
                parts: list[Any] = receive(source, DONTWAIT, False, False)
            except zmq.Again:
                # The first receive of a burst also meets this if a greenlet is in the middle of a message. Then EVENTS
                # says POLLIN all the same, and to poll for it would not wait.
                held = receive is first and isinstance(source, Socket)
                return None if held else (source, POLLIN)
            receive = receive_message  # past the bookkeeping: nobody else runs until the burst is over
            self.frames += len(parts)
            self.octets += sum(map(len, parts))
            if contested or not deliver(parts):
                return self._send_blocking(parts), POLLIN
        return None

    def _deliver(self, parts: list[zmq.Frame]) -> bool:
        """Send to all targets without a wait. If one has no room, return False; `delivered` counts those before it."""
        for socket in self.targets:
            try:
                send_message(socket, DONTWAIT, parts, False, False)
            except zmq.Again:
                return False
            self.delivered += 1
        self.delivered = 0
        return True

    def _send_blocking(self, parts: list[zmq.Frame]) -> Task[BaseException | None]:
        """Start a task that sends the message to the targets that `_deliver` has not reached."""
        self.pending = task_class(self.hub)(self.hub, _send_blocking, (self.targets[self.delivered :], parts))
        self.in_hand = parts
        self.delivered = 0
        return self.pending

    def _is_contested(self) -> bool:
        """Whether other greenlets wait to send to a target, or are in the middle of a message."""
        return any(
            isinstance(socket, Socket)
            and (socket._greenzmq_sending.mid_message is not None or socket._greenzmq_sending.first is not None)
            for socket in self.targets
        )

    def received(self) -> tuple[int, int]:
        """How many frames and octets were received from the source."""
        return self.frames, self.octets

    def sent(self) -> tuple[int, int]:
        """How many of these were sent to the target: all but those of a pending message."""
        return self.frames - len(self.in_hand), self.octets - sum(map(len, self.in_hand))

    def _finish_pending(self, pending: Task[BaseException | None]) -> None:
        self.pending = None
        self.in_hand = []
        error = pending.get()
        if error is not None:
            raise error


class _SharedFlow(_Flow):
    """A `_Flow` between sockets of which threads share some: a burst holds their locks.

    They are taken in the order of the sockets' addresses, so that no two proxies wait for each other.
    """

    __slots__ = ("locks",)

    def __init__(self, hub: Hub, source: Any, target: Any, capture: Any) -> None:
        super().__init__(hub, source, target, capture)
        shared = {address_of(each): each for each in (source, *self.targets) if isinstance(each, LockedCalls)}
        self.locks = [shared[address]._greenzmq_lock for address in sorted(shared)]

    def move(self) -> tuple[Any, int] | None:
        """See `_Flow.move`. Nobody else uses the sockets until the burst is over, in whatever thread."""
        with ExitStack() as held:
            for lock in self.locks:
                held.enter_context(lock)
            return super().move()


def _flow(hub: Hub, source: Any, target: Any, capture: Any) -> _Flow:
    is_shared = any(isinstance(each, LockedCalls) for each in (source, target, capture))
    return (_SharedFlow if is_shared else _Flow)(hub, source, target, capture)


def _send_blocking(targets: list[Any], parts: list[zmq.Frame]) -> BaseException | None:
    """Send to each of `targets`, however long it takes. The function of a task.

    An error is returned and not raised, since the proxy may have ended: then nobody would call the task's `get`, and
    the error would be reported.
    """
    try:
        for socket in targets:
            send_directly(socket if isinstance(socket, Socket) else Socket(shadow=socket), parts)
    except zmq.ZMQError as error:
        return error
    return None


class _Proxy:
    """A running proxy."""

    def __init__(self, hub: Hub, frontend: Any, backend: Any, capture: Any, control: Any) -> None:
        self.hub = hub
        self.control = control
        self.control_lock = control._greenzmq_lock if isinstance(control, LockedCalls) else nullcontext()
        self.reason = (PROXY, frontend, backend, capture, control)
        self.paused = False
        there = _flow(hub, frontend, backend, capture)
        self.ways = [there]
        if there.target_differs:
            self.ways.append(_flow(hub, backend, frontend, capture))
        self.sockets = [socket for socket in dict.fromkeys((frontend, backend, capture, control)) if socket is not None]
        # A Poller for each combination of events that was needed, so that none has to be registered anew each time.
        self.pollers: dict[tuple[int, ...], Poller] = {}
        green = [socket for socket in (frontend, backend) if isinstance(socket, Socket)]
        self.turn = Turn(green[0]._greenzmq_state.turn_seconds if green else default_turn())

    def run(self) -> int:
        try:
            while self.control is None or self._handle_command():
                blocked_on = [] if self.paused else [way.move() for way in self.ways]
                if None in blocked_on:
                    self._yield_to_hub()
                else:
                    self._wait(cast("list[tuple[Any, int]]", blocked_on))
            return 0
        finally:
            for poller in self.pollers.values():  # a traceback may keep them, and they would keep the sockets
                poller.close()

    def _yield_to_hub(self) -> None:
        if self.turn.is_over():
            yield_to_hub(self.hub)
            self.turn.begin()

    def _wait(self, blocked_on: list[tuple[Any, int]]) -> None:
        wanted = dict.fromkeys(self.sockets, _THE_END)
        for what, event in blocked_on:
            wanted[what] = wanted.get(what, 0) | event
        if self.control is not None:
            wanted[self.control] = POLLIN
        key = tuple(wanted[socket] for socket in self.sockets)
        poller = self.pollers.get(key)
        if poller is None:
            poller = self.pollers[key] = Poller(hub=self.hub)
            poller._greenzmq_serve(self.reason)
            for socket, events in zip(self.sockets, key, strict=True):
                poller.register(socket, events)
        tasks = [what for what in wanted if isinstance(what, Task)]
        for task in tasks:
            poller.register(task, POLLIN)
        try:
            poller.poll()
        finally:
            for task in tasks:
                poller.unregister(task)
        self.turn.begin()

    # -- control ------------------------------------------------------------------------------------------------------

    def _handle_command(self) -> bool:
        """Receive a command, if there is one, and carry it out. Returns False after ``TERMINATE``."""
        if not _events(self.control) & POLLIN:
            return True
        try:
            with self.control_lock:
                command = _recv(self.control, DONTWAIT)
        except zmq.Again:  # another greenlet, which receives on it too, was faster
            return True
        if command == b"STATISTICS":
            self._answer([struct.pack("=Q", number) for number in self._statistics()])
            return True
        if command in {b"PAUSE", b"RESUME"}:
            self.paused = command == b"PAUSE"
        with self.control_lock:
            must_answer = _get(self.control, _TYPE) == _REP
        if must_answer:
            self._answer([b""])
        return command != b"TERMINATE"

    def _statistics(self) -> tuple[int, ...]:
        there = self.ways[0]
        received, sent = (self.ways[1].received(), self.ways[1].sent()) if there.target_differs else ((0, 0), (0, 0))
        return (*there.received(), *sent, *received, *there.sent())

    def _answer(self, parts: list[bytes]) -> None:
        try:
            with self.control_lock:
                send_message(self.control, DONTWAIT, parts, True, False)
        except zmq.Again:
            task_class(self.hub)(self.hub, _send_blocking, ([self.control], parts))


def _events(socket: Any) -> int:
    """Read ``EVENTS``. For a green socket, this wakes its waiters that can go on."""
    return int(socket._greenzmq_state.check_events(socket) if isinstance(socket, Socket) else _get(socket, EVENTS))
