"""Situations for the tests of wake-ups: a greenlet waits, a signal has arrived, and the hub has not polled since."""

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
from greenzmq.sockets.registry import address_of, publish_state

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

#: Options with which two connected sockets have room for only a few messages as large as `BIG`, over tcp as well.
TIGHT = {"sndhwm": 1, "rcvhwm": 1, "sndbuf": 65536, "rcvbuf": 65536}
BIG = bytes(65536)
#: How many rounds the hub may make between the signal for a waiter and the end of its call.
TURNS = 2


def plain(socket: zmq.Socket[Any]) -> zmq.Socket[bytes]:
    """Return pyzmq's own object for the same libzmq socket. greenzmq does not learn what is done with it.

    Nor that the address was given away: the socket goes on as one that nobody else knows.
    """
    state = getattr(socket, "_greenzmq_state", None)
    return zmq.Socket.shadow(address_of(socket) if state is None else publish_state(socket, state))


def signalled(socket: zmq.Socket[Any], seconds: float = 0) -> bool:
    """Whether the socket's descriptor is readable, or becomes so in time. Uses neither libzmq nor the hub."""
    poll = select.poll()
    poll.register(plain(socket).FD, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def await_signal(socket: zmq.Socket[Any]) -> None:
    """Block the thread, and so the hub, until the socket is signalled. Nobody has noticed that signal yet."""
    assert signalled(socket, 5), "no signal came"


def fill_up(socket: zmq.Socket[Any], message: list[bytes]) -> int:
    """Send, without greenzmq's knowledge, until there is no more room. Return how many messages were sent."""
    sent = 0
    while True:
        try:
            plain(socket).send_multipart(message, zmq.NOBLOCK)
        except zmq.Again:
            return sent
        sent += 1


def fill_completely(socket: zmq.Socket[Any]) -> None:
    """`fill_up` until ``EVENTS`` says that there is no room: libzmq may notice new room only at a later call."""
    while plain(socket).get(zmq.EVENTS) & zmq.POLLOUT:
        fill_up(socket, [b"fill"])


def drain(socket: zmq.Socket[Any]) -> list[list[bytes]]:
    """Receive, without greenzmq's knowledge, all messages that are there."""
    got = []
    while True:
        try:
            got.append(plain(socket).recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return got


def waiting_receiver(hub: greenzmq.GreenHub, socket: greenzmq.Socket) -> greenzmq.Task[Any]:
    """Spawn ``socket.recv_multipart()``, and return the task when it is parked."""
    return parked(hub, receives, socket.recv_multipart)


def fill_for_good(hub: greenzmq.GreenHub, socket: greenzmq.Socket, message: list[bytes]) -> None:
    """`fill_up` again and again, until the system's buffers are full as well. Over tcp they take messages over."""
    pause, quiet = (0.002, 30) if socket.last_endpoint.startswith(b"tcp") else (0, 2)
    still = 0
    while still < quiet:
        still = 0 if fill_up(socket, message) else still + 1
        hub.sleep(pause)


def waiting_sender(hub: greenzmq.GreenHub, socket: greenzmq.Socket, message: list[bytes]) -> greenzmq.Task[Any]:
    """Spawn ``socket.send_multipart(message)`` where there is no room, and return the task when it is parked.

    On a busy machine libzmq's own thread may make room late, over tcp. Then the message is sent, and helps to fill.
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
    """Assert that `task` ends within `TURNS` rounds of the hub after the signal was cleared."""
    until(hub, lambda: task.done or not signalled(socket))
    for _ in range(TURNS):
        check(socket)
        if not task.done:
            hub.sleep()
    check(socket)
    assert task.done, f"still waits; signalled: {signalled(socket)}"


def handshake(socket: greenzmq.Socket, peer: greenzmq.Socket) -> None:
    """Block the thread until both sockets are connected. From then on only messages and room are signalled."""
    for one, other in ((socket, peer), (peer, socket)):
        plain(one).send(b"hello")
        assert plain(other).recv() == b"hello"
    for one in (socket, peer):
        plain(one).get(zmq.EVENTS)
        assert not signalled(one)


def from_fd_callback(hub: greenzmq.GreenHub, act: Callable[[], object]) -> None:
    """Call ``act()`` in the callback of a watch. What it schedules runs before the hub polls its descriptors again."""
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
    """Spawn a receiver. Return the task when it stands at this place in the queue, counted from 1, or has ended."""
    task = hub.spawn(receiver.recv_multipart)
    until(hub, lambda: len(receivers_of(receiver)) >= place or task.done)
    return task
