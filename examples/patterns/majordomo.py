"""Majordomo: a broker of services by name. A client names what it wants, a worker what it does.

Of a service that nobody offers the broker says so, rather than let the client wait.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque

import greenzmq as zmq

READY, ANSWER = b"READY", b"ANSWER"
FOUND, UNKNOWN = b"200", b"404"


def broker(context: zmq.Context, offered: dict[bytes, deque[bytes]]) -> None:
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    frontend.bind("inproc://clients")
    backend.bind("inproc://workers")
    poller = zmq.Poller()
    poller.register(frontend, zmq.POLLIN)
    poller.register(backend, zmq.POLLIN)
    waiting: dict[bytes, deque[list[bytes]]] = defaultdict(deque)
    while True:
        for socket, _ in poller.poll():
            if socket is frontend:
                client, empty, service, request = frontend.recv_multipart()
                if service not in offered:
                    frontend.send_multipart([client, empty, UNKNOWN, service])
                    continue
                waiting[service].append([client, empty, request])
            else:
                worker, command, service, *message = backend.recv_multipart()
                offered.setdefault(service, deque()).append(worker)
                if command == ANSWER:
                    client, empty, answer = message
                    frontend.send_multipart([client, empty, FOUND, answer])
            while waiting[service] and offered[service]:
                backend.send_multipart([offered[service].popleft(), service, *waiting[service].popleft()])


def worker(context: zmq.Context, service: bytes) -> None:
    work = {b"upper": bytes.upper, b"reverse": lambda text: text[::-1]}[service]
    socket = context.socket(zmq.DEALER)
    socket.connect("inproc://workers")
    socket.send_multipart([READY, service])
    while True:
        _, client, empty, request = socket.recv_multipart()
        socket.send_multipart([ANSWER, service, client, empty, work(request)])


def ask(context: zmq.Context, service: bytes, request: bytes) -> tuple[bytes, bytes]:
    with context.socket(zmq.REQ) as socket:
        socket.connect("inproc://clients")
        socket.send_multipart([service, request])
        status, answer = socket.recv_multipart()
        return status, answer


def program() -> str:
    """Two services, one of them with two workers, and a third that nobody offers."""
    hub, context = zmq.hub(), zmq.Context()
    offered: dict[bytes, deque[bytes]] = {}
    hub.spawn(broker, context, offered)
    for service in (b"upper", b"upper", b"reverse"):
        hub.spawn(worker, context, service)
    while sum(map(len, offered.values())) < 3:
        hub.sleep(0.01)
    asked = [hub.spawn(ask, context, service, b"abc") for service in (b"upper", b"reverse", b"sing") * 10]
    answers = [task.get() for task in asked]
    shown = [
        f"{status.decode()} {answer.decode()} {answers.count((status, answer))}"
        for status, answer in sorted(set(answers))
    ]
    return ", ".join(shown)


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
