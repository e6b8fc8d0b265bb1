"""Lazy pirate: a client that tries again, a number of times, with a new socket each time.

A REQ that has sent waits for the answer and for nothing else. If that is lost, the socket is of no use any more: it is
closed, and the request goes out again on a new one.
"""

from __future__ import annotations

import sys

import greenzmq as zmq

PATIENCE = 200  # milliseconds
TRIES = 5


def server(context: zmq.Context, lost: set[int]) -> None:
    """Answer, but not the requests whose numbers are in `lost`: there the server has crashed, say."""
    socket = context.socket(zmq.ROUTER)
    socket.bind("inproc://server")
    count = 0
    while True:
        client, empty, request = socket.recv_multipart()
        if count not in lost:
            socket.send_multipart([client, empty, request])
        count += 1


def ask(context: zmq.Context, request: bytes) -> tuple[bytes, int]:
    """The answer, and how many tries it took."""
    for attempt in range(1, TRIES + 1):
        with context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect("inproc://server")
            socket.send(request)
            if socket.poll(PATIENCE):
                return socket.recv(), attempt
    raise TimeoutError(f"the server does not answer, {TRIES} times")


def program() -> str:
    """Three requests; of the second one two tries are lost. Then nobody is there."""
    hub, context = zmq.hub(), zmq.Context()
    serving = hub.spawn(server, context, {1, 2})
    tries = []
    for request in (b"one", b"two", b"three"):
        answer, attempts = ask(context, request)
        tries.append(attempts if answer == request else 0)
    serving.kill()
    try:
        ask(context, b"four")
    except TimeoutError as error:
        return f"tries: {tries}, then {error}"
    return "an answer from nobody"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
