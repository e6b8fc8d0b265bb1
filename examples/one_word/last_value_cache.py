"""Publish and subscribe, with a last-value cache: whoever comes late, or again, gets the last value of its topics.

Stations in other processes send what they measure to the cache. One of them crashes, and another takes its place.
"""

from __future__ import annotations

from children import main, started

import greenzmq as zmq

PATIENCE = 60.0


class Cache:
    """Passes values on, and answers each new subscription with the last value there was."""

    def __init__(self, context: zmq.Context) -> None:
        self.values: dict[bytes, bytes] = {}
        self.inlet, self.outlet = context.socket(zmq.PULL), context.socket(zmq.XPUB)
        self.outlet.xpub_verbose = True  # tell of each subscription, not of the first one of its topic only
        self.inlet_port = self.inlet.bind_to_random_port("tcp://127.0.0.1")
        self.outlet_port = self.outlet.bind_to_random_port("tcp://127.0.0.1")

    def run(self) -> None:
        """Serve until killed."""
        while True:
            for socket in zmq.wait([self.inlet, self.outlet]):
                message = socket.recv_multipart()
                if socket is self.inlet:
                    topic, value = message
                    self.values[topic] = value
                    self.outlet.send_multipart(message)
                elif message[0][:1] == b"\1" and (topic := message[0][1:]) in self.values:
                    self.outlet.send_multipart([topic, self.values[topic]])


def measure(port: str, *values: str) -> None:
    """What a station's process does: it sends what it was given, and then waits for its end."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        for value in values:
            topic, _, number = value.partition("=")
            socket.send_multipart([topic.encode(), number.encode()])
        zmq.hub().sleep(1000)


def last_values(context: zmq.Context, port: int, topics: list[str], wanted: dict[str, str]) -> str:
    """Subscribe, and wait until the values are the wanted ones. What a subscriber has seen last of each topic."""
    seen: dict[str, str] = {}
    with zmq.hub().timeout(PATIENCE), context.socket(zmq.SUB) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        for topic in topics:
            socket.subscribe(topic)
        while seen != wanted:
            topic, value = (part.decode() for part in socket.recv_multipart())
            seen[topic] = value
    return " ".join(f"{topic}={value}" for topic, value in sorted(seen.items()))


def program(hub: str) -> None:
    """A cache, a station that crashes, one that takes over, and subscribers who come early, late and again."""
    with zmq.Context() as context:
        cache = Cache(context)
        serving = zmq.hub().spawn(cache.run)

        def subscribe(name: str, *wanted: str) -> str:
            values = dict(value.split("=") for value in wanted)
            return f"{name}: {last_values(context, cache.outlet_port, list(values), values)}"

        try:
            early = zmq.hub().spawn(subscribe, "early", "rain=3", "wind=2")
            with started(hub, "station", cache.inlet_port, "wind=1", "rain=3", "wind=2"):
                print(early.get())
                print(subscribe("late", "rain=3"))
            print(subscribe("after the crash", "wind=2"))
            with started(hub, "station", cache.inlet_port, "wind=5", "sun=8"):
                print(subscribe("again", "rain=3", "sun=8", "wind=5"))
            many = [zmq.hub().spawn(subscribe, f"one of many, {n}", "sun=8") for n in range(5)]
            print(*(task.get() for task in many), sep="\n")
        finally:
            serving.kill()
            cache.inlet.close(0)
            cache.outlet.close(0)


if __name__ == "__main__":
    main(program, station=measure)
