"""A request broker: clients ask, workers in other processes answer, and each request has a time limit.

A worker that hangs costs its client an answer, and nobody else anything: the broker takes it out, and a new one comes.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from children import end, main, start

import greenzmq as zmq

#: Seconds that a worker has for a request, and that a client waits for its answer.
LIMIT = 2.0
PATIENCE = 60.0


class Broker:
    """Gives each request to the worker that has been idle longest, and each answer to the client that has asked."""

    def __init__(self, context: zmq.Context) -> None:
        self.clients, self.workers = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        self.client_port = self.clients.bind_to_random_port("tcp://127.0.0.1")
        self.worker_port = self.workers.bind_to_random_port("tcp://127.0.0.1")
        self.idle: deque[bytes] = deque()
        self.requests: deque[tuple[bytes, bytes]] = deque()
        self.busy: dict[bytes, tuple[bytes, bytes, float]] = {}  # worker -> client, request, deadline
        self.lost = zmq.Queue[bytes]()

    def run(self) -> None:
        """Serve until killed."""
        while True:
            deadlines = [deadline for *_, deadline in self.busy.values()]
            left = max(min(deadlines) - monotonic(), 0) if deadlines else None
            for socket in zmq.wait([self.workers, self.clients], left):
                if socket is self.clients:
                    client, _, request = socket.recv_multipart()
                    self.requests.append((client, request))
                else:
                    worker, *answer = socket.recv_multipart()
                    self.note_worker(worker, answer)
            self.give_up_late_ones()
            while self.requests and self.idle:
                worker, (client, request) = self.idle.popleft(), self.requests.popleft()
                self.busy[worker] = (client, request, monotonic() + LIMIT)
                self.workers.send_multipart([worker, request])

    def note_worker(self, worker: bytes, answer: list[bytes]) -> None:
        """A worker has come, or has answered."""
        if worker in self.busy:
            client, *_ = self.busy.pop(worker)
            self.clients.send_multipart([client, b"", *answer])
        self.idle.append(worker)

    def give_up_late_ones(self) -> None:
        """Tell the clients whose time is over; their workers are not asked again."""
        for worker, (client, _, deadline) in list(self.busy.items()):
            if deadline <= monotonic():
                del self.busy[worker]
                self.clients.send_multipart([client, b"", b"gave up"])
                self.lost.put(worker)


def work(port: str) -> None:
    """What a worker's process does: squares; and it hangs if it is asked to."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        socket.send(b"ready")
        while True:
            request = socket.recv()
            if request == b"hang":
                zmq.hub().sleep(1000)
            socket.send(b"%d" % int(request) ** 2)


def ask(context: zmq.Context, port: int, request: str) -> str:
    """What a client does."""
    with zmq.hub().timeout(PATIENCE), context.socket(zmq.REQ) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        socket.send_string(request)
        answer = socket.recv_string()
    return f"{request}: {answer}"


def program(hub: str) -> None:
    """A broker, two workers, one of which is to be replaced, and eight clients."""
    workers: list[Any] = []
    with zmq.Context() as context:
        broker = Broker(context)
        serving = zmq.hub().spawn(broker.run)
        try:
            workers += [start(hub, "worker", broker.worker_port) for _ in range(2)]
            with zmq.Pool(8) as pool:
                answers = pool.imap_unordered(
                    lambda request: ask(context, broker.client_port, request), ["1", "2", "hang", "3", "4", "5", "6"]
                )
                broker.lost.get(timeout=PATIENCE)
                workers.append(start(hub, "worker", broker.worker_port))
                print(*sorted(answers), ask(context, broker.client_port, "7"), sep="\n")
        finally:
            serving.kill()
            for worker in workers:
                end(worker)
            broker.clients.close(0)
            broker.workers.close(0)


if __name__ == "__main__":
    main(program, worker=work)
