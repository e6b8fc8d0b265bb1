"""proxy, proxy_steerable and device, for greenlets, as libzmq's ``proxy.cpp`` defines them.

One greenlet moves the messages of both ways, a bounded burst of one way at a time. It parks only between messages, when
each way lacks something: a message, or room for one. So a kill, a timeout or a closed socket finds nothing in hand.

- A message is read only when its target, and the capture socket, promise room for it (``POLLOUT``). libzmq looks once a
  burst and then waits with a message in hand.
- A promise may be false: see fact 4 of `greenzmq.sockets.operations`. The message in hand then goes to a task, which
  waits for room as any sender does and outlives the proxy, while the other way and the control socket go on. The way
  itself waits for the task, which is `Waitable`.
- libzmq's functions are called directly, without the green socket's bookkeeping. What this may have taken from
  greenlets that wait on the same sockets is made good once a burst. Others may be in the middle of a message, too: they
  are asked about once a burst, during which nobody else runs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as BackendSocket

from .. import hubs
from ..polling.poller import Poller
from ..sockets.calls import receive_message, send_message
from ..sockets.directions import POLLIN, POLLOUT
from ..sockets.fairness import Turn, default_turn
from ..sockets.inherited import inherited_message
from ..sockets.operations import DONTWAIT
from ..sockets.registry import address_of
from ..sockets.socket import Socket, receive_directly, send_directly
from ..sockets.waiters import EVENTS
from ..waiting.reasons import PROXY
from ..waiting.tasks import Task
from ..waiting.waiter import yield_to_hub
from .native import run_native

if TYPE_CHECKING:
    from ..hubs import Choice, Hub

__all__ = ["device", "proxy", "proxy_steerable"]

#: Messages that one way moves before the other has its turn: enough to make the looks around a burst cheap, and well
#: under a turn.
BURST = 100
#: Asked of what has nothing else to tell: the end of its context, or its being closed, is told all the same.
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
    """Pass messages on between two sockets, both ways; see `zmq.proxy`. Only this greenlet is busy with it.

    Parameters
    ----------
    frontend, backend : Socket
        Green or plain sockets; the same one twice sends each message back. While the proxy runs they are its own.
    capture : Socket, optional
        Is sent every message, too.
    native : bool
        Let libzmq do it in a native thread, while this greenlet waits: several times faster, and beside the GIL.
        No other call may be made on the sockets until it has ended, but for a green one's `close`. That ends it, and so
        does a kill; if libzmq waits for room with a message in hand, not before there is room. The socket is closed for
        others at once, and for libzmq when the thread has ended. A forked child has its sockets closed and no thread.
    hub : str, type or Hub, optional
        The hub to wait on; None takes it from the sockets' context, or else leaves it to the rules.

    Raises
    ------
    TypeError
        One of them is no socket.
    zmq.ContextTerminated
        The context has ended.
    zmq.ZMQError
        What libzmq answers: ``ENOTSOCK`` if a socket is closed.
    WrongHubError
        `native`, and others wait on one of the sockets, or it has one of them already.

    Notes
    -----
    Switches: always, and does not return of its own accord.
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
    """`proxy`, with a socket for commands to it; see `zmq.proxy_steerable`.

    Parameters
    ----------
    frontend, backend, capture, native, hub
        As for `proxy`.
    control : Socket, optional
        A PAIR, PULL, SUB, REP, … on which it takes commands, of one frame each: ``PAUSE``, ``RESUME``, ``TERMINATE``,
        and ``STATISTICS``, which is answered with eight frames, each a ``uint64`` in the machine's byte order: frames
        and octets that the frontend received, that it sent, that the backend received, that it sent. A REP answers the
        others with an empty frame.

    Returns
    -------
    int
        0, after ``TERMINATE``.
    """
    required: dict[str, Any] = {"frontend": frontend, "backend": backend}
    optional = {name: socket for name, socket in (("capture", capture), ("control", control)) if socket is not None}
    for name, socket in (required | optional).items():
        if not isinstance(socket, BackendSocket):
            raise TypeError(f"{name} has to be a Socket, not {socket!r}")
        if isinstance(socket, Socket) and socket._greenzmq_state.waiters.inherited:
            raise zmq.ZMQError(zmq.ENOTSOCK, inherited_message("socket"))
    sockets = [*required.values(), *optional.values()]
    chooser = None if hub else next((socket for socket in sockets if _choice(socket) is not None), None)
    here = hubs.hub_to_wait_on(hub if chooser is None else _choice(chooser), chooser)
    if native:
        return run_native(here, frontend, backend, capture, control)
    return _Proxy(here, frontend, backend, capture, control).run()


def device(device_type: int, frontend: zmq.Socket[Any], backend: Any = None, *, hub: Choice | None = None) -> int:
    """`proxy` under its name of old; see `zmq.device`. Without a `backend` it is the frontend, as in `zmq.green`."""
    return proxy(frontend, frontend if backend is None or backend == -1 else backend, hub=hub)


def _choice(socket: zmq.Socket[Any]) -> Choice | None:
    return socket._greenzmq_choice if isinstance(socket, Socket) else None


class _Flow:
    """One way through a proxy: from `source` to each of `targets`, of which the last is the one meant."""

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
        # A message that goes back through its own socket cannot wait for room: a REP has none until it has received.
        self.waits_for_room = self.targets if self.target_differs else self.targets[:-1]
        self.frames = 0
        self.octets = 0
        self.delivered = 0
        self.in_hand: list[zmq.Frame] = []
        self.pending: Task[BaseException | None] | None = None

    def move(self) -> tuple[Any, int] | None:
        """Move a burst. What is lacking to move more, as an object and its event to poll for; None if nothing is."""
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
                if isinstance(socket, Socket) and socket._greenzmq_state.waiters.has_waiters:
                    socket._greenzmq_state.waiters.recheck_for_others(socket)

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
                held = receive is first and isinstance(source, Socket)  # by a greenlet that has a part of its message
                return None if held else (source, POLLIN)
            receive = receive_message
            self.frames += len(parts)
            self.octets += sum(map(len, parts))
            if contested or not deliver(parts):
                return self._send_blocking(parts), POLLIN
        return None

    def _deliver(self, parts: list[zmq.Frame]) -> bool:
        """Send to all targets at once, or note how far it went."""
        for socket in self.targets:
            try:
                send_message(socket, DONTWAIT, parts, False, False)
            except zmq.Again:
                return False
            self.delivered += 1
        self.delivered = 0
        return True

    def _send_blocking(self, parts: list[zmq.Frame]) -> Task[BaseException | None]:
        """Leave to a task what `_deliver` has left."""
        self.pending = Task(self.hub, _send_blocking, (self.targets[self.delivered :], parts))
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
        """How many frames and octets the source has received."""
        return self.frames, self.octets

    def sent(self) -> tuple[int, int]:
        """How many of them the target has sent."""
        return self.frames - len(self.in_hand), self.octets - sum(map(len, self.in_hand))

    def _finish_pending(self, pending: Task[BaseException | None]) -> None:
        self.pending = None
        self.in_hand = []
        error = pending.get()
        if error is not None:
            raise error


def _send_blocking(targets: list[Any], parts: list[zmq.Frame]) -> BaseException | None:
    """Send to each of `targets`, however long it takes. Returns what is raised: perhaps there is no proxy any more."""
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
        self.reason = (PROXY, frontend, backend, capture, control)
        self.paused = False
        there = _Flow(hub, frontend, backend, capture)
        self.ways = [there]
        if there.target_differs:
            self.ways.append(_Flow(hub, backend, frontend, capture))
        self.sockets = [socket for socket in dict.fromkeys((frontend, backend, capture, control)) if socket is not None]
        self.pollers: dict[tuple[int, ...], Poller] = {}  # one for each set of things that may be lacking
        green = [socket for socket in (frontend, backend) if isinstance(socket, Socket)]
        self.turn = Turn(green[0]._greenzmq_state.turn.seconds if green else default_turn())

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
            for poller in self.pollers.values():  # which live as long as the traceback does
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
        """Take a command, if there is one. Whether to go on."""
        if not _events(self.control) & POLLIN:
            return True
        try:
            command = _recv(self.control, DONTWAIT)
        except zmq.Again:  # somebody else receives on it, too
            return True
        if command == b"STATISTICS":
            self._answer([struct.pack("=Q", number) for number in self._statistics()])
            return True
        if command in {b"PAUSE", b"RESUME"}:
            self.paused = command == b"PAUSE"
        if _get(self.control, _TYPE) == _REP:
            self._answer([b""])
        return command != b"TERMINATE"

    def _statistics(self) -> tuple[int, ...]:
        there = self.ways[0]
        received, sent = (self.ways[1].received(), self.ways[1].sent()) if there.target_differs else ((0, 0), (0, 0))
        return (*there.received(), *sent, *received, *there.sent())

    def _answer(self, parts: list[bytes]) -> None:
        try:
            send_message(self.control, DONTWAIT, parts, True, False)
        except zmq.Again:
            Task(self.hub, _send_blocking, ([self.control], parts))


def _events(socket: Any) -> int:
    """``EVENTS``; of a green socket, so that those who wait on it hear of it, too."""
    return int(
        socket._greenzmq_state.waiters.check_events(socket) if isinstance(socket, Socket) else _get(socket, EVENTS)
    )
