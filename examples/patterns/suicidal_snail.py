"""Suicidal snail: a subscriber that finds itself too slow gives up, rather than work on what is long out of date.

What it cannot take in time lies in queues, which grow, or drop what is new. Each message carries the time at which it
was sent; who is later than allowed ends, and tells why. Somebody else can start it again, or buy a faster one.
"""

from __future__ import annotations

import sys
from time import monotonic

import greenzmq as zmq

ALLOWED = 0.2  # seconds


def publisher(context: zmq.Context) -> None:
    hub, socket = zmq.hub(), context.socket(zmq.PUB)
    socket.bind("inproc://publisher")
    while True:
        socket.send_string(f"{monotonic()}")
        hub.sleep(0.002)


def subscriber(context: zmq.Context, seconds: float, count: int) -> str:
    """Receive `count` messages, with so much work for each; or end early."""
    hub, socket = zmq.hub(), context.socket(zmq.SUB)
    socket.connect("inproc://publisher")
    socket.subscribe(b"")
    for _ in range(count):
        if monotonic() - float(socket.recv_string()) > ALLOWED:
            return "gives up"
        hub.sleep(seconds)
    return "keeps up"


def program() -> str:
    """One that is quick enough, and a snail."""
    hub, context = zmq.hub(), zmq.Context()
    hub.spawn(publisher, context)
    quick = hub.spawn(subscriber, context, 0, 100)
    snail = hub.spawn(subscriber, context, 0.02, 1000)
    return f"the quick one {quick.get()}, the snail {snail.get()}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
