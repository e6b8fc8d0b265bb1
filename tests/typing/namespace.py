# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A program on one namespace, under mypy --strict and pyright: whatever it gives is that namespace's own class.

`nox -s types` checks it once more for each of the other namespaces, with their names in the place of this one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq as pyzmq
from typing_extensions import assert_type

import greenzmq
import greenzmq.gevent as zmq

# --- annotations without parameters, and with pyzmq's -----------------------------------------------------------------


def annotated(context: zmq.Context, poller: zmq.Poller) -> zmq.Socket:
    """The natural annotations need no parameters."""
    socket: zmq.Socket = context.socket(zmq.PULL)
    monitor: zmq.Socket = socket.get_monitor_socket()
    frame: zmq.Frame = socket.recv(copy=False)
    frames: list[zmq.Frame] = socket.recv_multipart(copy=False)
    tracker: zmq.MessageTracker = socket.send(b"", copy=False, track=True)
    again: zmq.MessageTracker = socket.send(frame, copy=False, track=True)
    poller.register(monitor, zmq.POLLIN)
    socket.send_multipart(frames)
    tracker.wait(1)
    again.wait()
    return socket


def with_parameters(context: zmq.Context[Any], socket: zmq.Socket[bytes]) -> zmq.Context[zmq.Socket[bytes]]:
    """What a program has written for pyzmq is right here, too."""
    assert_type(socket.recv(), bytes)
    made: zmq.Context[zmq.Socket[bytes]] = context
    assert_type(made.socket(zmq.PULL), zmq.Socket)
    return made


def to_pyzmq(socket: zmq.Socket, context: zmq.Context) -> None:
    """They go wherever greenzmq's or pyzmq's own are expected."""
    green: greenzmq.Socket = socket
    plain: pyzmq.Socket[bytes] = socket
    contexts: list[greenzmq.Context] = [context]
    ours: pyzmq.Context[zmq.Socket] = context
    theirs: pyzmq.Context[pyzmq.Socket[bytes]] = context
    print(green, plain, contexts, ours, theirs)


# --- contexts ---------------------------------------------------------------------------------------------------------

ctx = zmq.Context()
assert_type(ctx, zmq.Context)
assert_type(zmq.Context(4, hub="selector", turn=1.5), zmq.Context)
assert_type(zmq.Context(shadow=ctx), zmq.Context)
assert_type(zmq.Context(ctx), zmq.Context)
assert_type(zmq.Context.shadow(ctx.underlying), zmq.Context)
assert_type(zmq.Context.shadow(pyzmq.Context()), zmq.Context)
assert_type(zmq.Context.instance(), zmq.Context)
assert_type(zmq.SyncContext(), zmq.Context)
with zmq.Context() as inner, inner.socket(zmq.PAIR) as pair:
    assert_type(inner, zmq.Context)
    assert_type(pair, zmq.Socket)

# --- sockets ----------------------------------------------------------------------------------------------------------

sock = ctx.socket(zmq.PUSH)
assert_type(sock, zmq.Socket)
assert_type(zmq.Context.instance().socket(zmq.REQ), zmq.Socket)
assert_type(zmq.Context.shadow(ctx).socket(zmq.SocketType.REP), zmq.Socket)
assert_type(zmq.Socket(ctx, zmq.PUSH), zmq.Socket)
assert_type(zmq.Socket(sock), zmq.Socket)
assert_type(zmq.Socket.shadow(sock), zmq.Socket)
assert_type(sock.get_monitor_socket(), zmq.Socket)
with sock.bind("tcp://127.0.0.1:5555") as bound, sock.connect("inproc://here"):
    assert_type(bound, zmq.Socket)


class Bus(zmq.Socket):
    """A subclass, as of a message bus."""


assert_type(Bus(ctx, zmq.PUSH), Bus)
assert_type(Bus.shadow(sock), Bus)

assert_type(sock.recv(), bytes)
assert_type(sock.recv(zmq.NOBLOCK), bytes)
assert_type(sock.recv(copy=False), zmq.Frame)
assert_type(sock.recv(0, False), zmq.Frame)
assert_type(sock.recv_multipart(), list[bytes])
assert_type(sock.recv_multipart(copy=False), list[zmq.Frame])
assert_type(sock.send(b"", copy=False, track=True), zmq.MessageTracker)
assert_type(sock.send(zmq.Frame(b"")), zmq.MessageTracker)
assert_type(sock.send_multipart([b"", memoryview(b"")], track=True), "zmq.MessageTracker | None")
assert_type(sock.poll(100, zmq.POLLOUT), int)

# --- polling, proxies, the hub ----------------------------------------------------------------------------------------

assert_type(zmq.Poller().poll(100), "list[tuple[Any, int]]")
assert_type(zmq.zmq_poll([(sock, zmq.POLLIN)], 100), "list[tuple[Any, int]]")
assert_type(zmq.select([sock], [], [], 1), "tuple[list[Any], list[Any], list[Any]]")
zmq.proxy(sock, sock, None)
zmq.proxy_steerable(sock, sock, None, sock)
assert_type(zmq.hub(), greenzmq.GreenHub)
assert_type(zmq.hub().spawn(sock.recv).get(), bytes)

# --- who may connect --------------------------------------------------------------------------------------------------

with zmq.auth.Authenticator(ctx, callback_timeout=5) as authenticator:
    assert_type(authenticator.is_alive(), bool)
    authenticator.allow("127.0.0.1", "10.0.0.0/8")
    authenticator.configure_plain("domain", {"user": "password"})
    authenticator.configure_curve(location=Path("clients"))
    authenticator.configure_curve("*", zmq.auth.CURVE_ALLOW_ANY)
    assert_type(authenticator.curve_user_id(b""), str)

# --- pyzmq's submodules -----------------------------------------------------------------------------------------------

assert_type(zmq.error.Again(), zmq.Again)
kind: zmq.SocketType = zmq.constants.SocketType.PUB
device = zmq.devices.ThreadDevice(zmq.STREAMER, zmq.PULL, zmq.PUSH)
device.bind_in("tcp://127.0.0.1:5556")
device.start()
device.join(timeout=1)


@zmq.decorators.socket(zmq.PUSH)
def decorated(socket: zmq.Socket) -> None:
    socket.send(b"")


# --- what has to be refused -------------------------------------------------------------------------------------------

zmq.Context(hub=5)  # type: ignore[arg-type]
sock.recv("NOBLOCK")  # type: ignore[call-overload]
annotated(pyzmq.Context(), zmq.Poller())  # type: ignore[arg-type]
print(zmq.PUHS)  # type: ignore[attr-defined]
