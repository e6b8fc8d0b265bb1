"""Load balancing: a worker asks for a job when it is free, so a slow one gets fewer.

Where a DEALER would deal out in turn, this broker keeps the workers that are free in a queue, and takes a request only
when there is one.
"""

from __future__ import annotations

import sys
from collections import deque

import greenzmq as zmq

JOBS = 30
READY = b"READY"


def broker(context: zmq.Context) -> None:
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    frontend.bind("inproc://clients")
    backend.bind("inproc://workers")
    free: deque[bytes] = deque()
    both = zmq.Poller()
    both.register(backend, zmq.POLLIN)
    while True:
        # Without a free worker nobody looks at the clients: their requests wait in the socket.
        if free:
            both.register(frontend, zmq.POLLIN)
        elif frontend in both:
            both.unregister(frontend)
        ready = dict(both.poll())
        if backend in ready:
            who, _, *message = backend.recv_multipart()
            free.append(who)
            if message != [READY]:
                frontend.send_multipart(message)
        if frontend in ready and free:
            client, _, request = frontend.recv_multipart()
            backend.send_multipart([free.popleft(), b"", client, b"", request])


def worker(context: zmq.Context, seconds: float, done: list[bytes]) -> None:
    hub, socket = zmq.hub(), context.socket(zmq.REQ)
    socket.connect("inproc://workers")
    socket.send(READY)
    while True:
        client, empty, request = socket.recv_multipart()
        hub.sleep(seconds)
        done.append(request)
        socket.send_multipart([client, empty, request + b" done"])


def client(context: zmq.Context, number: int) -> bytes:
    socket = context.socket(zmq.REQ)
    socket.connect("inproc://clients")
    socket.send(b"job %d" % number)
    return socket.recv()


def program() -> str:
    """Two workers, one of them slow; tell who has done how much."""
    hub, context = zmq.hub(), zmq.Context()
    fast: list[bytes] = []
    slow: list[bytes] = []
    hub.spawn(broker, context)
    hub.spawn(worker, context, 0.001, fast)
    hub.spawn(worker, context, 0.1, slow)
    jobs = [hub.spawn(client, context, number) for number in range(JOBS)]
    right = sum(job.get() == b"job %d done" % number for number, job in enumerate(jobs))
    return f"{right} of {JOBS} right, the fast worker has done more: {len(fast) > len(slow) > 0}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
