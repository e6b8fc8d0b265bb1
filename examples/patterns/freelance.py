"""Freelance: a client that knows several servers asks all of them, and takes the first answer. There is no broker.

A server that is dead, or slow, costs nothing. Answers that come late are known by their number, and dropped.
"""

from __future__ import annotations

import sys

import greenzmq as zmq

REQUESTS = 20


def server(context: zmq.Context, address: str, seconds: float) -> None:
    hub, socket = zmq.hub(), context.socket(zmq.REP)
    socket.bind(address)
    while True:
        number, request = socket.recv_multipart()
        hub.sleep(seconds)
        socket.send_multipart([number, request.upper() + b" by " + address.rpartition("/")[2].encode()])


class Client:
    """Asks whoever is there."""

    def __init__(self, context: zmq.Context, addresses: list[str]) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._number = 0
        for address in addresses:
            self._socket.connect(address)
        self._servers = len(addresses)

    def ask(self, request: bytes, seconds: float = 5) -> bytes:
        self._number += 1
        number = b"%d" % self._number
        with zmq.hub().timeout(seconds):
            for _ in range(self._servers):  # a DEALER deals: one for each
                self._socket.send_multipart([b"", number, request])
            while True:
                _, answered, answer = self._socket.recv_multipart()
                if answered == number:
                    return answer


def program() -> str:
    """A quick server, a slow one, and one that does not exist."""
    hub, context = zmq.hub(), zmq.Context()
    addresses = ["inproc://quick", "inproc://slow", "inproc://nobody"]
    serving = [hub.spawn(server, context, addresses[0], 0.001), hub.spawn(server, context, addresses[1], 0.02)]
    client = Client(context, addresses)
    answers = [client.ask(b"request") for _ in range(REQUESTS)]
    serving[0].kill()  # from now on the slow one is the only one
    after = client.ask(b"request")
    return f"{len(answers)} answers, the quick one was there: {b'REQUEST by quick' in answers}; then {after.decode()}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
