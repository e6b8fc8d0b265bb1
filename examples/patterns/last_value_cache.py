"""Last-value cache: who subscribes late gets the last value of its topic at once, and then what is new.

An XPUB receives each subscription as a message. The cache answers it with what it remembers. With ``XPUB_VERBOSE`` it
hears of every subscription, also to topics that others have subscribed to.
"""

from __future__ import annotations

import sys

import greenzmq as zmq


def cache(context: zmq.Context, known: dict[bytes, bytes]) -> None:
    source, sink = context.socket(zmq.SUB), context.socket(zmq.XPUB)
    sink.set(zmq.XPUB_VERBOSE, 1)
    source.subscribe(b"")
    source.connect("inproc://publisher")
    sink.bind("inproc://cache")
    poller = zmq.Poller()
    poller.register(source, zmq.POLLIN)
    poller.register(sink, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            if socket is source:
                topic, value = source.recv_multipart()
                known[topic] = value
                sink.send_multipart([topic, value])
            else:
                subscription = sink.recv()
                if subscription[:1] == b"\1" and subscription[1:] in known:
                    sink.send_multipart([subscription[1:], known[subscription[1:]]])


def program() -> str:
    """Values are published before anybody listens."""
    hub, context = zmq.hub(), zmq.Context()
    known: dict[bytes, bytes] = {}
    publisher = context.socket(zmq.PUB)
    publisher.bind("inproc://publisher")
    hub.spawn(cache, context, known)
    publisher.wait_subscribed()
    for number in range(100):
        publisher.send_multipart([b"topic %d" % (number % 10), b"%d" % number])
    while len(known) < 10 or known[b"topic 9"] != b"99":
        hub.sleep(0.01)
    subscribers = []
    for topic in (b"topic 3", b"topic 3", b"topic 7"):
        subscriber = context.socket(zmq.SUB)
        subscriber.connect("inproc://cache")
        subscriber.subscribe(topic)
        subscribers.append((subscriber, subscriber.recv_multipart()[1].decode()))
    publisher.send_multipart([b"topic 3", b"new"])
    # Those who were there get the cached value once more, when another one subscribes to their topic.
    new = [value for value in iter(lambda: subscribers[0][0].recv_multipart()[1], b"new") if value != b"93"]
    return f"late subscribers got {[value for _, value in subscribers]}, then what is new, and {new} besides"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
