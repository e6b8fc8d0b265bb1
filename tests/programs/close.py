"""The programs of test_close.py: a signal handler closes a socket; and all that may wait on one."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from typing import Any

import zmq
from support.variants import VARIANTS
from zmq.utils.monitor import recv_monitor_message

import greenzmq
from greenzmq import GreenHub

__all__ = ["ROUNDS", "WAITS", "run"]

#: Hot loops in which a signal comes, each after another number of microseconds.
ROUNDS = 20
_numbers = itertools.count()


def polled(socket: greenzmq.Socket) -> greenzmq.Poller:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return poller


#: All that waits on a socket which has neither a message nor room.
WAITS: dict[str, Callable[[greenzmq.Socket], Any]] = {
    "recv": lambda socket: socket.recv(),
    "recv, limited": lambda socket: (socket.set(zmq.RCVTIMEO, 60_000), socket.recv()),
    "recv_multipart": lambda socket: socket.recv_multipart(),
    "recv_into": lambda socket: socket.recv_into(bytearray(9)),
    "send": lambda socket: socket.send(b"more"),
    "send_multipart": lambda socket: socket.send_multipart([b"more", b"parts"]),
    "poll": lambda socket: socket.poll(),
    "poll, limited": lambda socket: socket.poll(60_000),
    "Poller": lambda socket: polled(socket).poll(),
    "select": lambda socket: greenzmq.select([socket], [], []),
    "zmq_poll": lambda socket: greenzmq.zmq_poll([(socket, zmq.POLLIN)]),
    "proxy": lambda socket: greenzmq.proxy(socket, socket.context.kept[-1]),
    "monitor": recv_monitor_message,
}


def run(name: str) -> None:
    """On the first loop of this runtime, in the main thread."""
    variant = next(variant for variant in VARIANTS if variant.id == name)
    variant.load()
    hub = variant.make()
    variant.drive(hub, lambda: programs(variant.green(hub)))
    variant.destroy(hub)


def programs(hub: GreenHub) -> None:
    with greenzmq.Context(hub=hub) as context:
        context.linger = 0
        context.__dict__["kept"] = [context.socket(zmq.PAIR)]
        close_while_asleep(hub, context)
        for n in range(ROUNDS):
            close_in_hot_loop(context, 0.0005 + 0.00007 * n)
        print(f"{ROUNDS} hot loops")
        context.kept.pop().close()


def pair(context: Any) -> list[Any]:
    sockets = [context.socket(zmq.PAIR) for _ in range(2)]
    for socket in sockets:
        socket.sndhwm = socket.rcvhwm = 1
    sockets[0].bind(f"inproc://{next(_numbers)}")
    sockets[1].connect(sockets[0].last_endpoint.decode())
    return sockets


def close_while_asleep(hub: GreenHub, context: Any) -> None:
    socket, peer = pair(context)
    while socket.poll(0, zmq.POLLOUT):
        socket.send(b"fill", zmq.NOBLOCK)
    tasks = {name: hub.spawn(wait, socket) for name, wait in WAITS.items()}
    for _ in range(5):
        hub.sleep()
    if hub.name == "asyncio":  # whose loop other handlers do not wake
        hub.hub.loop.add_signal_handler(signal.SIGALRM, socket.close)  # type: ignore[attr-defined]
    else:
        signal.signal(signal.SIGALRM, lambda *_: socket.close())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    for name, task in tasks.items():
        try:
            task.get(timeout=10)
        except zmq.ZMQError as error:
            print(name if error.errno == zmq.ENOTSOCK else repr(error))
    peer.close()
    if hub.name == "asyncio":
        hub.hub.loop.remove_signal_handler(signal.SIGALRM)  # type: ignore[attr-defined]


def close_in_hot_loop(context: Any, seconds: float) -> None:
    one, other = pair(context)
    signal.signal(signal.SIGALRM, lambda *_: [socket.close() for socket in (one, one, other)])
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        while True:
            one.send(b"x")
            other.recv()
            other.send_multipart([b"x", b"y"])
            one.recv_multipart()
    except zmq.ZMQError as error:
        if error.errno != zmq.ENOTSOCK:
            raise
