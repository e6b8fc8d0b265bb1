"""What the tests of proxies share: a running proxy with the sockets around it, and ways to steer it and to drain it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import zmq
from support.sockets import address, open_context, until

import greenzmq

__all__ = ["NAMES", "TINY", "Running", "drain", "flood", "numbers", "running", "steer", "ticking"]

#: Options with which two connected inproc sockets have room for two messages.
TINY = {"sndhwm": 1, "rcvhwm": 1}
#: The names of the numbers that STATISTICS returns, in order.
NAMES = [
    f"{end} {way} {what}"
    for end in ("frontend", "backend")
    for way in ("received", "sent")
    for what in ("frames", "octets")
]


@dataclass
class Running:
    """A proxy: its task, its sockets, and the peers of these sockets."""

    hub: greenzmq.GreenHub
    context: greenzmq.Context
    frontend: greenzmq.Socket
    backend: greenzmq.Socket
    client: greenzmq.Socket
    worker: greenzmq.Socket
    native: bool
    capture: greenzmq.Socket | None = None
    captured: greenzmq.Socket | None = None
    control: greenzmq.Socket | None = None
    controller: greenzmq.Socket | None = None
    task: Any = None

    def start(self) -> None:
        sockets = (self.frontend, self.backend, self.capture, self.control)
        self.task = self.hub.spawn(greenzmq.proxy_steerable, *sockets, native=self.native)

    def all_sockets(self) -> list[greenzmq.Socket]:
        """The proxy's own sockets, without those that it does not have."""
        return [each for each in (self.frontend, self.backend, self.capture, self.control) if each is not None]


@contextmanager
def running(
    hub: greenzmq.GreenHub,
    frontend: int,
    client: int,
    backend: int,
    worker: int,
    *,
    capture: bool = False,
    control: tuple[int, int] | None = None,
    native: bool = False,
    transport: str = "inproc",
    options: dict[str, int] | None = None,
    start: bool = True,
) -> Iterator[Running]:
    """Run a proxy between a `client` and a `worker` during the block. It is ended and closed afterwards.

    `frontend` and `backend` are the types of the proxy's sockets, `client` and `worker` those of their peers. `control`
    has the types of the proxy's control socket, and of the socket that steers it. `native` means libzmq's own proxy.
    The `options` are set on all sockets except those of `control`.
    """
    with open_context(hub) as context:

        def pair(binds: int, connects: int) -> tuple[greenzmq.Socket, greenzmq.Socket]:
            bound, peer = context.socket(binds), context.socket(connects)
            for socket in (bound, peer):
                for name, value in (options or {}).items():
                    setattr(socket, name, value)
            bound.bind(address(transport))
            peer.connect(bound.last_endpoint.decode())
            return bound, peer

        front, user = pair(frontend, client)
        back, server = pair(backend, worker)
        proxy = Running(hub, context, front, back, user, server, native)
        if capture:
            proxy.capture, proxy.captured = pair(zmq.PUSH, zmq.PULL)
        if control is not None:
            proxy.control, proxy.controller = context.socket(control[0]), context.socket(control[1])
            proxy.control.bind(address("inproc"))
            proxy.controller.connect(proxy.control.last_endpoint.decode())
        if start:
            proxy.start()
        try:
            yield proxy
        finally:
            if proxy.task is not None:
                proxy.task.kill()


def steer(proxy: Running, command: bytes) -> list[bytes] | None:
    """Send a command to the proxy. Return the answer, if there is one: of a REP to any command, else to STATISTICS."""
    assert proxy.controller is not None
    proxy.controller.send(command)
    if proxy.controller.type == zmq.REQ or command == b"STATISTICS":
        return proxy.controller.recv_multipart()
    return None


def numbers(proxy: Running) -> dict[str, int]:
    """Return the numbers that STATISTICS returns, by name."""
    parts = steer(proxy, b"STATISTICS")
    assert parts is not None
    return dict(zip(NAMES, (struct.unpack("=Q", part)[0] for part in parts), strict=True))


def drain(hub: greenzmq.GreenHub, socket: greenzmq.Socket, expected: int) -> list[list[bytes]]:
    """Receive `expected` messages, and any others that come in the next rounds of the hub."""
    got = [socket.recv_multipart() for _ in range(expected)]
    for _ in range(20):
        hub.sleep()
    while socket.poll(0):
        got.append(socket.recv_multipart())
    return got


def flood(hub: greenzmq.GreenHub, socket: greenzmq.Socket) -> int:
    """Send numbers until there is no more room, even after many rounds of the hub. Return how many were sent."""
    sent = refused = 0
    while refused < 20:
        try:
            socket.send_multipart([b"%d" % sent, b"tail"], zmq.NOBLOCK)
            sent, refused = sent + 1, 0
        except zmq.Again:
            refused += 1
            hub.sleep(0.001)
    return sent


@contextmanager
def ticking(hub: greenzmq.GreenHub, seconds: float = 0.001) -> Iterator[list[int]]:
    """Run a ticker beside the block. It counts in the only item of the list, and has to tick at least once."""
    ticks = [0]

    def tick() -> None:
        while True:
            hub.sleep(seconds)
            ticks[0] += 1

    task = hub.spawn(tick)
    try:
        yield ticks
        until(hub, lambda: ticks[0])
    finally:
        task.kill()
