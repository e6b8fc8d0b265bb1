"""libzmq's own proxy in a native thread, while a greenlet waits for it.

The thread takes commands on a REP made here. The greenlet has a DEALER connected to it: it forwards the commands of the
caller's control socket, and sends TERMINATE when it is killed. libzmq's sockets are not thread-safe, and the frontend,
the backend, the capture socket and the REP belong to the thread until it has ended. So a greenlet that is killed here
waits for the end of the thread first, and no socket is closed before that.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import WrongHubError
from ..polling.poller import Poller
from ..sockets.plain import PlainSocket, plain_proxy_steerable
from ..sockets.socket import Socket
from ..waiting.events import GreenEvent
from ..waiting.reasons import PROXY, Reason
from ..waiting.tasks import NativeCall, Task

if TYPE_CHECKING:
    from ..hubs import Hub
    from ..sockets.operations import SocketState

__all__ = ["run_native"]

_numbers = count()

#: The words to send to libzmq for a command, if they differ: 4.3.5 has mixed up PAUSE and RESUME (its proxy.cpp).
_SAID = {b"PAUSE": b"RESUME", b"RESUME": b"PAUSE"} if zmq.zmq_version_info() == (4, 3, 5) else {}


class Lease:
    """The green sockets that a native thread uses until it ends.

    Plain sockets are not part of it: if one is closed meanwhile, there is no way to notice.

    Attributes
    ----------
    recalled : GreenEvent
        Set when the program closes one of the sockets. Calls on that fail with ENOTSOCK from then on; libzmq closes it
        only when the thread has ended.
    """

    def __init__(self, *sockets: Any) -> None:
        self.recalled = GreenEvent()
        self._leased: list[SocketState] = []
        self._closed: list[tuple[Socket, int | None]] = []
        green = [socket for socket in dict.fromkeys(sockets) if isinstance(socket, Socket)]
        for socket in green:
            if socket._greenzmq_state.lease is not None or socket._greenzmq_state.is_parked_on():
                raise WrongHubError(
                    f"a native proxy has to be the only user of {socket!r}, but a greenlet waits on it, or another "
                    "proxy has it; end that first"
                )
        for socket in green:
            socket._greenzmq_state.lend(self)
            self._leased.append(socket._greenzmq_state)

    def close(self, socket: Socket, linger: int | None) -> None:
        """Called by `Socket.close`, in any thread: close the socket when the thread has ended."""
        socket._closed = True  # pyzmq refuses every call from now on
        self._closed.append((socket, linger))
        self.recalled.set()

    def end(self) -> None:
        """The thread has ended: give the sockets back, and close those that the program has closed meanwhile."""
        for state in self._leased:
            state.lend(None)
        for socket, linger in self._closed:
            socket._closed = False
            socket.close(linger)


def run_native(hub: Hub, frontend: Any, backend: Any, capture: Any, control: Any) -> int:
    """`zmq.proxy_steerable` in a native thread, while this greenlet waits on `hub`. Switches."""
    lease = Lease(frontend, backend, capture)
    reason = (PROXY, frontend, backend, capture, control)
    with ExitStack() as undo:  # undoes these steps if one of them fails
        undo.callback(lease.end)
        frontend.get(zmq.EVENTS)  # raises ETERM if the context has ended; a new socket would raise something else
        ours, theirs = _inner_pair(frontend.context, undo)
        call: NativeCall[int] = NativeCall(plain_proxy_steerable, frontend, backend, capture, theirs)
        undo.pop_all()
    try:
        _relay_commands(hub, call, ours, control, lease, reason)
        return call.get(hub, reason)
    finally:
        Task(hub, _end, (hub, call, ours, theirs, lease))._wait(hub, None, reason)


def _inner_pair(context: zmq.Context[Any], undo: ExitStack) -> tuple[Socket, zmq.Socket[bytes]]:
    """Make the REP for libzmq's proxy, and the DEALER connected to it. The context does not know, or close, them."""
    address = f"inproc://greenzmq.proxy.{next(_numbers)}"
    theirs = undo.enter_context(PlainSocket(context, zmq.REP))
    ours = undo.enter_context(Socket(context, zmq.DEALER))
    ours.linger = theirs.linger = 0
    theirs.bind(address)
    ours.connect(address)
    return ours, theirs


def _relay_commands(hub: Hub, call: NativeCall[int], ours: Socket, control: Any, lease: Lease, reason: Reason) -> None:
    """Forward commands and answers until the thread ends. One command at a time, since a REP answers each in turn."""
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
            except zmq.Again:  # another greenlet, which receives on it too, was faster
                continue
            ours.send_multipart([b"", _SAID.get(command, command)])
        elif command is not None and ours in ready:
            _answer(control, command, ours.recv_multipart()[1:])
            command = None
    if command is not None and ours.poll(0):  # the answer to the last command, sent before the thread ended
        _answer(control, command, ours.recv_multipart()[1:])


def _answer(control: Any, command: bytes, parts: list[bytes]) -> None:
    """Forward an answer. libzmq's REP answers every command; a control socket that is no REP gets only STATISTICS."""
    if command == b"STATISTICS" or control.type == zmq.REP:
        control.send_multipart(parts)


def _end(hub: Hub, call: NativeCall[int], ours: Socket, theirs: zmq.Socket[bytes], lease: Lease) -> None:
    """End the thread, wait for its end, and close the two inner sockets.

    Runs in a task of its own, so that a second kill of the greenlet that waits does not interrupt it.
    """
    if not call.done:
        try:
            ours.send_multipart([b"", b"TERMINATE"])
        except zmq.ZMQError:  # the context has ended, which ends the thread, too
            pass
    call._wait(hub, None)
    lease.end()
    ours.close()
    theirs.close()
