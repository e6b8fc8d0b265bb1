"""Request-reply broker: clients and workers know the broker only, so both may come and go.

The ROUTER remembers where each request has come from, and the DEALER deals the requests out to the workers in turn. The
broker itself is `zmq.proxy`.
"""

from __future__ import annotations

import sys

import greenzmq as zmq

CLIENTS, WORKERS, REQUESTS = 4, 2, 10


def broker(context: zmq.Context) -> None:
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    frontend.bind("inproc://clients")
    backend.bind("inproc://workers")
    zmq.proxy(frontend, backend)


def worker(context: zmq.Context, served: list[int], number: int) -> None:
    socket = context.socket(zmq.REP)
    socket.connect("inproc://workers")
    while True:
        text = socket.recv_string()
        served[number] += 1
        socket.send_string(text.upper())


def client(context: zmq.Context, name: str) -> int:
    socket = context.socket(zmq.REQ)
    socket.connect("inproc://clients")
    right = 0
    for number in range(REQUESTS):
        socket.send_string(f"{name} {number}")
        right += socket.recv_string() == f"{name} {number}".upper()
    return right


def program() -> str:
    """Run the broker, the workers and the clients; tell how it went."""
    hub, context = zmq.hub(), zmq.Context()
    served = [0] * WORKERS
    hub.spawn(broker, context)
    for number in range(WORKERS):
        hub.spawn(worker, context, served, number)
    clients = [hub.spawn(client, context, name) for name in "abcd"]
    right = sum(task.get() for task in clients)
    return f"{right} of {CLIENTS * REQUESTS} right, every worker has served: {all(served)}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
