"""gunicorn with gevent and with threads, loaded before and after the fork: each request asks a service by `zmq`."""

from __future__ import annotations

import signal
from functools import partial

from harness import RUN, Failure, free_port, processes, write
from service import REQUESTS, ask_all, start_service

APP = """
import os, zmq
def app(environ, start_response):
    with zmq.Context.instance().socket(zmq.REQ) as socket:      # one context for each process
        socket.linger = 0
        socket.connect(os.environ["SERVICE"])
        socket.send(environ["PATH_INFO"][1:].encode())
        answer = socket.recv()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


def serve(worker: str, *options: str) -> str:
    """Two workers; all answers are right, and SIGTERM ends it."""
    with processes() as start:
        write(start.folder, app=APP)  # type: ignore[attr-defined]
        port = free_port()
        server = start(
            *("gunicorn", *RUN, "-m", "gunicorn", "-k", worker, "-w", "2", "--bind", f"127.0.0.1:{port}"),
            *("--log-level", "warning", "--graceful-timeout", "5", *options, "app:app"),
            SERVICE=start_service(start),
        )
        ask_all(port, server)
        if (status := server.stop(signal.SIGTERM, 30)) != 0:
            raise Failure(f"it has ended with {status}:\n{server.output}")
        return f"2 workers, {REQUESTS} requests answered right"


CASES = {
    "gevent": partial(serve, "gevent"),
    "gevent, --preload": partial(serve, "gevent", "--preload"),
    "threads": partial(serve, "gthread", "--threads", "8"),
    "threads, --preload": partial(serve, "gthread", "--threads", "8", "--preload"),
}
