"""libzmq's own proxy in a native thread, for the greenlet that waits for it.

The thread takes commands on an inner REP; this greenlet has the DEALER at the other end, hands on the commands of the
caller's control socket, and says TERMINATE when it is killed. libzmq's sockets are not thread-safe: all four are the
thread's until it has ended, so whoever ends the wait has to wait for that.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import zmq

from .poller import Poller
from .socket import Socket
from .tasks import NativeCall, Task

if TYPE_CHECKING:
    from .hubs import Hub

__all__ = ["run_native"]

_numbers = count()

#: What libzmq has to hear for a command: 4.3.5 takes PAUSE for RESUME and the other way round (its proxy.cpp).
_SAID = {b"PAUSE": b"RESUME", b"RESUME": b"PAUSE"} if zmq.zmq_version_info() == (4, 3, 5) else {}


def run_native(hub: Hub, frontend: Any, backend: Any, capture: Any, control: Any) -> int:
    """`zmq.proxy_steerable` in a native thread, while this greenlet waits on `hub`. Switches."""
    address = f"inproc://greenzmq.proxy.{next(_numbers)}"
    theirs = zmq.Socket(frontend.context, zmq.REP)
    ours = Socket(frontend.context, zmq.DEALER)
    ours.linger = theirs.linger = 0
    theirs.bind(address)
    ours.connect(address)
    call: NativeCall[int] = NativeCall(zmq.proxy_steerable, frontend, backend, capture, theirs)
    try:
        _hand_on(hub, call, ours, control)
        return call.get(hub)
    finally:
        Task(hub, _end, (hub, call, ours, theirs)).join()


def _hand_on(hub: Hub, call: NativeCall[int], ours: Socket, control: Any) -> None:
    """Hand commands and answers to and fro until the thread ends: one command at a time, as a REP wants it."""
    asking, answering = Poller(hub=hub), Poller(hub=hub)
    for poller, socket in ((asking, control), (answering, ours)):
        poller.register(call, zmq.POLLIN)
        if socket is not None:
            poller.register(socket, zmq.POLLIN)
    command: bytes | None = None
    while not call.done:
        ready = dict((asking if command is None else answering).poll())
        if control in ready:
            command = control.recv(zmq.NOBLOCK)
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


def _end(hub: Hub, call: NativeCall[int], ours: Socket, theirs: zmq.Socket[bytes]) -> None:
    """End the thread, and close the inner sockets when it has ended. Goes on if who waits for it is killed again."""
    if not call.done:
        try:
            ours.send_multipart([b"", b"TERMINATE"])
        except zmq.ZMQError:  # the context has ended, and with it the thread
            pass
    call._wait(hub, None)
    ours.close()
    theirs.close()
