"""What the web servers and task queues ask: a service that doubles numbers, and those who ask by HTTP."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import Failure, Process, free_port, until

#: pyzmq's own, in a process of its own.
SERVICE = """
import sys, zmq
socket = zmq.Context().socket(zmq.ROUTER)
socket.bind(sys.argv[1])
print("ready", flush=True)
while True:
    *address, number = socket.recv_multipart()
    socket.send_multipart([*address, b"%d" % (2 * int(number))])
"""
REQUESTS = 200


def start_service(start: Any) -> str:
    """Start the service; its endpoint."""
    (start.folder / "service.py").write_text(SERVICE)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    start("service", "service.py", endpoint).until_printed("ready")
    return endpoint


def ask_all(port: int, *servers: Process) -> None:
    """Ask a web server for ``/NUMBER``, many at once, and check every answer."""

    def ask(number: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def is_up() -> bool:
        try:
            return ask(1) == "2"
        except OSError:
            return any(server.ended() is not None for server in servers)

    until(is_up, "the web server answers", 60, *servers)
    with ThreadPoolExecutor(16) as executor:
        answers = [*executor.map(ask, range(REQUESTS))]
    wrong = [(number, answer) for number, answer in enumerate(answers) if answer != str(2 * number)]
    if wrong:
        raise Failure(f"wrong answers: {wrong[:5]}\n" + "\n".join(server.output[-2000:] for server in servers))
