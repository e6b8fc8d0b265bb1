"""Situations for the tests of wake-ups: a greenlet that waits, a signal that has arrived, and a hub that has not
looked.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

import zmq
from support.inside import receivers_of
from support.invariants import check
from support.sockets import TICKS, parked, receives, sends, until

import greenzmq
from greenzmq.sockets.socket import address_of

__all__ = [
    "BIG",
    "TIGHT",
    "await_signal",
    "drain",
    "fill_completely",
    "fill_for_good",
    "fill_up",
    "handshake",
    "must_finish",
    "plain",
]
__all__ += ["from_fd_callback", "parked_soon", "signalled", "waiting_receiver", "waiting_sender"]

#: In flight between two sockets with these options are at most a few of `BIG`, over tcp as well.
TIGHT = {"sndhwm": 1, "rcvhwm": 1, "sndbuf": 65536, "rcvbuf": 65536}
BIG = bytes(65536)
#: How often the hub may go round between what makes a waiter go on and the end of its call.
TURNS = 2


def plain(socket: zmq.Socket[Any]) -> zmq.Socket[bytes]:
    """pyzmq's own socket for the same libzmq socket: greenzmq learns neither of it, nor what is done with it."""
    return zmq.Socket.shadow(address_of(socket))


def signalled(socket: zmq.Socket[Any], seconds: float = 0) -> bool:
    """Whether the descriptor is readable, or becomes so; looked at without libzmq, and without the hub."""
    poll = select.poll()
    poll.register(plain(socket).FD, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def await_signal(socket: zmq.Socket[Any]) -> None:
    """Block the thread, hub and all, until there is a signal that nobody has looked at."""
    assert signalled(socket, 5), "no signal came"


def fill_up(socket: zmq.Socket[Any], message: list[bytes]) -> int:
    """Send, behind greenzmq's back, until there is no more room. How often."""
    sent = 0
    while True:
        try:
            plain(socket).send_multipart(message, zmq.NOBLOCK)
        except zmq.Again:
            return sent
        sent += 1


def fill_completely(socket: zmq.Socket[Any]) -> None:
    """`fill_up`, however short ago there was no room: libzmq does not always look at once."""
    while plain(socket).get(zmq.EVENTS) & zmq.POLLOUT:
        fill_up(socket, [b"fill"])


def drain(socket: zmq.Socket[Any]) -> list[list[bytes]]:
    """Receive, behind greenzmq's back, all that is there."""
    got = []
    while True:
        try:
            got.append(plain(socket).recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return got


def waiting_receiver(hub: greenzmq.GreenHub, socket: greenzmq.Socket) -> greenzmq.Task[Any]:
    """A greenlet that is parked in ``socket.recv_multipart()``."""
    return parked(hub, receives, socket.recv_multipart)


def fill_for_good(hub: greenzmq.GreenHub, socket: greenzmq.Socket, message: list[bytes]) -> None:
    """`fill_up`, and go on while the system's buffers take some of it over, which they do over tcp."""
    pause, quiet = (0.002, 30) if socket.last_endpoint.startswith(b"tcp") else (0, 2)
    still = 0
    while still < quiet:
        still = 0 if fill_up(socket, message) else still + 1
        hub.sleep(pause)


def waiting_sender(hub: greenzmq.GreenHub, socket: greenzmq.Socket, message: list[bytes]) -> greenzmq.Task[Any]:
    """A greenlet that is parked in ``socket.send_multipart(message)``, for lack of room.

    Over tcp libzmq's own thread may have made room late, as on a busy machine: then the message is one that fills.
    """
    while True:
        fill_for_good(hub, socket, [BIG])
        task = hub.spawn(socket.send_multipart, message)
        until(hub, lambda task=task: sends(socket) or task.done)
        for _ in range(TICKS):
            hub.sleep()
        if not task.done:
            return task


def must_finish(hub: greenzmq.GreenHub, task: greenzmq.Task[Any], socket: greenzmq.Socket) -> None:
    """`task` ends within `TURNS` rounds of the hub, from when the signal was taken."""
    until(hub, lambda: task.done or not signalled(socket))
    for _ in range(TURNS):
        check(socket)
        if not task.done:
            hub.sleep()
    check(socket)
    assert task.done, f"still waits; signalled: {signalled(socket)}"


def handshake(socket: greenzmq.Socket, peer: greenzmq.Socket) -> None:
    """Block the thread until these two have met: from now on only messages and room are signalled."""
    for one, other in ((socket, peer), (peer, socket)):
        plain(one).send(b"hello")
        assert plain(other).recv() == b"hello"
    for one in (socket, peer):
        plain(one).get(zmq.EVENTS)
        assert not signalled(one)


def from_fd_callback(hub: greenzmq.GreenHub, act: Callable[[], object]) -> None:
    """``act()`` in a callback of the hub that comes from a descriptor: what it schedules runs before the next look."""
    end, other_end = os.pipe()
    watch = hub.hub.watch(end, lambda: (watch.close(), act(), done.append(True)))
    done: list[bool] = []
    try:
        os.write(other_end, b"x")
        watch.start()
        until(hub, lambda: done)
    finally:
        os.close(end)
        os.close(other_end)


def parked_soon(hub: greenzmq.GreenHub, receiver: greenzmq.Socket, place: int) -> greenzmq.Task[Any]:
    """A receiver that stands at this place in the queue, counted from 1, or has ended already."""
    task = hub.spawn(receiver.recv_multipart)
    until(hub, lambda: len(receivers_of(receiver)) >= place or task.done)
    return task
