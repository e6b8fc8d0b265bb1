"""Paranoid pirate: broker and workers send each other heartbeats, so each notices when the other has gone.

The broker deals jobs to the workers that were heard of lately. A worker that is killed is dropped when it has been
silent for three heartbeats; until then it may get a job, which the client asks for again (see `lazy_pirate`).
"""

from __future__ import annotations

import sys
from time import monotonic

import greenzmq as zmq

HEARTBEAT = 0.05  # seconds
LIVES = 3
READY, BEAT = b"\1", b"\2"


def broker(context: zmq.Context, known: dict[bytes, float]) -> None:
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    frontend.bind("inproc://clients")
    backend.bind("inproc://workers")
    poller = zmq.Poller()
    poller.register(frontend, zmq.POLLIN)
    poller.register(backend, zmq.POLLIN)
    next_beat = monotonic()
    waiting: list[list[bytes]] = []
    while True:
        ready = dict(poller.poll(HEARTBEAT * 1000))
        if backend in ready:
            worker, *message = backend.recv_multipart()
            known[worker] = monotonic() + LIVES * HEARTBEAT  # whatever it says, it lives
            if len(message) == 3:
                frontend.send_multipart(message)
        if frontend in ready:
            waiting.append(frontend.recv_multipart())
        for worker in [worker for worker, until in known.items() if until < monotonic()]:
            del known[worker]
        while waiting and known:
            worker = next(iter(known))
            known[worker] = known.pop(worker)  # the next one is another's turn
            backend.send_multipart([worker, *waiting.pop(0)])
        if monotonic() >= next_beat:
            for worker in known:
                backend.send_multipart([worker, BEAT])
            next_beat = monotonic() + HEARTBEAT


def worker(context: zmq.Context, name: bytes) -> None:
    socket = context.socket(zmq.DEALER)
    socket.routing_id = name
    socket.connect("inproc://workers")
    socket.send(READY)
    while True:
        if not socket.poll(HEARTBEAT * 1000):
            socket.send(BEAT)
            continue
        message = socket.recv_multipart()
        if message != [BEAT]:
            client, empty, request = message
            socket.send_multipart([client, empty, name + b" did " + request])


def ask(context: zmq.Context, request: bytes) -> bytes:
    while True:
        with context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect("inproc://clients")
            socket.send(request)
            if socket.poll(300):
                return socket.recv()


def program() -> str:
    """Two workers; one is killed, and the broker finds out."""
    hub, context = zmq.hub(), zmq.Context()
    known: dict[bytes, float] = {}
    hub.spawn(broker, context, known)
    workers = {name: hub.spawn(worker, context, name) for name in (b"A", b"B")}
    while len(known) < len(workers):
        hub.sleep(0.01)
    answers = {ask(context, b"job")[:1] for _ in range(4)}
    workers[b"A"].kill()
    while b"A" in known:
        hub.sleep(0.01)
    after = {ask(context, b"job")[:1] for _ in range(4)}
    return f"both served: {answers == {b'A', b'B'}}, after the kill only B: {after == {b'B'}}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
