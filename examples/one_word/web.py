"""A web service that asks a pool of workers in other processes: a handler for each connection, a limit for each answer.

A worker that has crashed is found by the time limit; its request goes to another one, and the client notices nothing.
"""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import Any

from children import end, main, start

import greenzmq as zmq

#: Seconds that a worker has for an answer, and that everything may take.
LIMIT = 2.0
PATIENCE = 60.0


class Service:
    """Answers ``GET /square/7``. The addresses of the workers that are free stand in a queue."""

    def __init__(self, context: zmq.Context) -> None:
        self.context = context
        self.workers = zmq.Queue[str]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        """Accept connections until killed; what is still being answered then ends as well."""
        with zmq.hub().group() as connections:
            while True:
                zmq.hub().wait_fd(self.listener)
                connection, _ = self.listener.accept()
                connections.spawn(self.handle, connection)

    def handle(self, connection: socket.socket) -> None:
        """One request."""
        with connection:
            connection.setblocking(False)
            request = b""
            while b"\r\n\r\n" not in request:
                zmq.hub().wait_fd(connection, timeout=PATIENCE)
                if not (chunk := connection.recv(65536)):
                    return
                request += chunk
            status, body = self.answer(request.split()[1].decode())
            connection.setblocking(True)  # a few bytes, for which there is room
            connection.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    def answer(self, path: str) -> tuple[str, str]:
        """Ask one worker after the other, until one answers in time."""
        kind, _, number = path[1:].partition("/")
        if kind != "square" or not number.isdigit():
            return "404 Not Found", "no such thing"
        while True:
            address = self.workers.get(timeout=PATIENCE)
            with self.context.socket(zmq.REQ) as asked:
                asked.linger, asked.rcvtimeo = 0, int(LIMIT * 1000)
                asked.connect(address)
                asked.send_string(number)
                try:
                    answer = asked.recv_string()
                except zmq.Again:
                    continue  # that worker is gone
            self.workers.put(address)
            return "200 OK", answer


def work(port: str) -> None:
    """What a worker's process does."""
    with zmq.Context() as context, context.socket(zmq.REP) as replies, context.socket(zmq.PUSH) as registry:
        address = f"tcp://127.0.0.1:{replies.bind_to_random_port('tcp://127.0.0.1')}"
        registry.connect(f"tcp://127.0.0.1:{port}")
        registry.send_string(address)
        while True:
            replies.send_string(str(int(replies.recv_string()) ** 2))


def fetch(url: str) -> str:
    """What a browser does, in a native thread: `urllib` knows no hub."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            return f"{response.status} {response.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"


def program(hub: str) -> None:
    """A service with three workers, of which one crashes and one is new, and twelve requests."""
    children: list[Any] = []
    with zmq.Context() as context, context.socket(zmq.PULL) as registry:
        port = registry.bind_to_random_port("tcp://127.0.0.1")
        service = Service(context)
        serving = zmq.hub().spawn(service.run)
        registry.rcvtimeo = int(PATIENCE * 1000)

        def get(path: str) -> str:
            return f"{path}: {zmq.hub().run_in_thread(fetch, service.url + path)}"

        try:
            for _ in range(2):
                children.append(start(hub, "worker", port))
                service.workers.put(registry.recv_string())
            with zmq.Pool(4) as pool:
                print(*pool.map(get, [f"/square/{number}" for number in range(6)]), get("/cube/2"), sep="\n")
                end(children.pop(0))
                children.append(start(hub, "worker", port))
                service.workers.put(registry.recv_string())
                print(*pool.map(get, [f"/square/{number}" for number in range(6, 12)]), sep="\n")
        finally:
            serving.kill()
            service.listener.close()
            for child in children:
                end(child)


if __name__ == "__main__":
    main(program, worker=work)
