"""Espresso: a proxy between publishers and subscribers, and a listener that gets a copy of all that passes.

Publications go one way and subscriptions the other, and the capture socket sees both.
"""

from __future__ import annotations

import sys

import greenzmq as zmq

LETTERS = [b"A", b"B", b"C"]


def publisher(context: zmq.Context) -> None:
    hub, socket = zmq.hub(), context.socket(zmq.PUB)
    socket.connect("inproc://publishers")
    number = 0
    while True:
        socket.send(b"%s%05d" % (LETTERS[number % 3], number))
        number += 1
        hub.sleep(0.001)


def subscriber(context: zmq.Context, letter: bytes, count: int) -> list[bytes]:
    socket = context.socket(zmq.SUB)
    socket.connect("inproc://subscribers")
    socket.subscribe(letter)
    received = [socket.recv() for _ in range(count)]
    socket.close()
    return received


def program() -> str:
    """Two subscribers come and go; the listener has heard of them, and of what they got."""
    hub, context = zmq.hub(), zmq.Context()
    frontend, backend, capture = (context.socket(kind) for kind in (zmq.XSUB, zmq.XPUB, zmq.PUSH))
    frontend.bind("inproc://publishers")
    backend.bind("inproc://subscribers")
    capture.bind("inproc://capture")
    listener = context.socket(zmq.PULL)
    listener.connect("inproc://capture")
    hub.spawn(zmq.proxy, frontend, backend, capture)
    hub.spawn(publisher, context)
    subscribers = [hub.spawn(subscriber, context, letter, 5) for letter in LETTERS[:2]]
    received = [task.get() for task in subscribers]
    heard: set[bytes] = set()
    wanted = {b"\1A", b"\1B", b"\0A", b"\0B", *received[0], *received[1]}
    while not wanted <= heard:
        heard.add(listener.recv())
    pure = all(text.startswith(letter) for letter, texts in zip(LETTERS[:2], received, strict=True) for text in texts)
    nobody = not any(text.startswith(b"C") for text in heard)
    return f"each got its own: {pure}; all of it was heard: {wanted <= heard}; nobody wanted C: {nobody}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
