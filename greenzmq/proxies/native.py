"""libzmq's own proxy in a native thread, for the greenlet that waits for it.

The thread takes commands on an inner REP; this greenlet has the DEALER at the other end, hands on the commands of the
caller's control socket, and says TERMINATE when it is killed. libzmq's sockets are not thread-safe: all four are the
thread's until it has ended. So whoever ends the wait has to wait for that, and a socket is closed no earlier.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import WrongHubError
from ..polling.poller import Poller
from ..sockets.socket import Socket
from ..waiting.events import GreenEvent
from ..waiting.reasons import PROXY, Reason
from ..waiting.tasks import NativeCall, Task

if TYPE_CHECKING:
    from ..hubs import Hub
    from ..sockets.operations import SocketState

__all__ = ["run_native"]

_numbers = count()

#: What libzmq has to hear for a command: 4.3.5 takes PAUSE for RESUME and the other way round (its proxy.cpp).
_SAID = {b"PAUSE": b"RESUME", b"RESUME": b"PAUSE"} if zmq.zmq_version_info() == (4, 3, 5) else {}


class Lease:
    """Green sockets that a native thread has, until it ends. That plain ones are closed meanwhile nobody hears.

    Attributes
    ----------
    recalled : GreenEvent
        One of them was closed. It answers ENOTSOCK from then on; libzmq is told when the thread has ended.
    """

    def __init__(self, *sockets: Any) -> None:
        self.recalled = GreenEvent()
        self._leased: list[SocketState] = []
        self._closed: list[tuple[Socket, int | None]] = []
        green = [socket for socket in dict.fromkeys(sockets) if isinstance(socket, Socket)]
        for socket in green:
            if socket._greenzmq_state.lease is not None or socket._greenzmq_state.waiters.is_parked_on():
                raise WrongHubError(f"a native proxy needs {socket!r} for itself, but others wait on it or have it")
        for socket in green:
            socket._greenzmq_state.lend(self)
            self._leased.append(socket._greenzmq_state)

    def close(self, socket: Socket, linger: int | None) -> None:
        """`Socket.close`, for later. In any thread."""
        socket._closed = True  # as after a fork: pyzmq refuses every call
        self._closed.append((socket, linger))
        self.recalled.set()

    def end(self) -> None:
        """The thread has ended: the sockets are their owners' again."""
        for state in self._leased:
            state.lend(None)
        for socket, linger in self._closed:
            socket._closed = False
            socket.close(linger)


def run_native(hub: Hub, frontend: Any, backend: Any, capture: Any, control: Any) -> int:
    """`zmq.proxy_steerable` in a native thread, while this greenlet waits on `hub`. Switches."""
    lease = Lease(frontend, backend, capture)
    reason = (PROXY, frontend, backend, capture, control)
    with ExitStack() as undo:  # what has been done, if it cannot begin
        undo.callback(lease.end)
        frontend.get(zmq.EVENTS)  # an ended context has an error of its own here; a new socket would not
        ours, theirs = _inner_pair(frontend.context, undo)
        call: NativeCall[int] = NativeCall(zmq.proxy_steerable, frontend, backend, capture, theirs)
        undo.pop_all()
    try:
        _relay_commands(hub, call, ours, control, lease, reason)
        return call.get(hub, reason)
    finally:
        Task(hub, _end, (hub, call, ours, theirs, lease))._wait(hub, None, reason)


def _inner_pair(context: zmq.Context[Any], undo: ExitStack) -> tuple[Socket, zmq.Socket[bytes]]:
    """The control socket of libzmq's proxy and its peer. The context does not know them, and so does not close them."""
    address = f"inproc://greenzmq.proxy.{next(_numbers)}"
    theirs = undo.enter_context(zmq.Socket(context, zmq.REP))
    ours = undo.enter_context(Socket(context, zmq.DEALER))
    ours.linger = theirs.linger = 0
    theirs.bind(address)
    ours.connect(address)
    return ours, theirs


def _relay_commands(hub: Hub, call: NativeCall[int], ours: Socket, control: Any, lease: Lease, reason: Reason) -> None:
    """Hand commands and answers to and fro until the thread ends: one command at a time, as a REP wants it."""
    asking, answering = Poller(hub=hub), Poller(hub=hub)
    for poller, socket in ((asking, control), (answering, ours)):
        poller._greenzmq_serve(reason)
        for what in (call, lease.recalled, socket):
            if what is not None:
                poller.register(what, zmq.POLLIN)
    command: bytes | None = None
    while not call.done:
        if lease.recalled.is_set():
            raise zmq.ZMQError(zmq.ENOTSOCK)
        ready = dict((asking if command is None else answering).poll())
        if control in ready:
            try:
                command = control.recv(zmq.NOBLOCK)
            except zmq.Again:  # somebody else receives on it, too
                continue
            ours.send_multipart([b"", _SAID.get(command, command)])
        elif command is not None and ours in ready:
            _answer(control, command, ours.recv_multipart()[1:])
            command = None
    if command is not None and ours.poll(0):  # what it answered before it ended
        _answer(control, command, ours.recv_multipart()[1:])


def _answer(control: Any, command: bytes, parts: list[bytes]) -> None:
    """Hand an answer on. The inner REP has one to every command; others than a REP want to hear of STATISTICS alone."""
    if command == b"STATISTICS" or control.type == zmq.REP:
        control.send_multipart(parts)


def _end(hub: Hub, call: NativeCall[int], ours: Socket, theirs: zmq.Socket[bytes], lease: Lease) -> None:
    """End the thread, and close the inner sockets when it has ended. Goes on if who waits for it is killed again."""
    if not call.done:
        try:
            ours.send_multipart([b"", b"TERMINATE"])
        except zmq.ZMQError:  # the context has ended, and with it the thread
            pass
    call._wait(hub, None)
    lease.end()
    ours.close()
    theirs.close()
