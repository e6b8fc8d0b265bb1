"""locust: a master and three workers talk by `zmq.green`; forty users make a thousand requests, and all are counted."""

from __future__ import annotations

import json

from harness import RUN, Failure, free_port, processes, write

#: Each user makes 25 requests of its own, over nothing at all, and stops.
LOCUSTFILE = """
import gevent
from locust import User, task, constant
from locust.exception import StopUser

class Client(User):
    wait_time = constant(0)

    def on_start(self):
        self.left = 25

    @task
    def work(self):
        if not self.left:
            raise StopUser()
        self.left -= 1
        gevent.sleep(0.01)
        self.environment.events.request.fire(
            request_type="X", name="work", response_time=1, response_length=7, exception=None, context={})
"""
USERS, EACH, WORKERS = 40, 25, 3


def load() -> str:
    """All of it, by the counts of the master."""
    with processes() as start:
        write(start.folder, locustfile=LOCUSTFILE)  # type: ignore[attr-defined]
        port = str(free_port())
        common = (*RUN, "-m", "locust", "-f", "locustfile.py")
        master = start(
            *("master", *common, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port),
            *("--headless", "--users", str(USERS), "--spawn-rate", "40", "--expect-workers", str(WORKERS)),
            *("--run-time", "12s", "--json", "--only-summary", "--loglevel", "ERROR", "--stop-timeout", "5"),
        )
        workers = [
            start(f"worker{n}", *common, "--worker", "--master-host", "127.0.0.1", "--master-port", port)
            for n in range(WORKERS)
        ]
        output = master.succeed()
        for worker in workers:
            worker.succeed(20)
        # Beside warnings, if there are any.
        (stats,) = json.loads(output[output.index("[\n") : output.rindex("\n]") + 2])
        if (stats["num_requests"], stats["num_failures"]) != (USERS * EACH, 0):
            raise Failure(f"{stats['num_requests']} of {USERS * EACH} requests were counted:\n{output}")
        return f"{WORKERS} workers, {USERS} users, {stats['num_requests']} of {USERS * EACH} requests counted"


CASES = {"gevent": load}
