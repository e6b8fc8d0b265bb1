"""celery with its gevent pool: many tasks at once ask a service by `zmq`, in one process."""

from __future__ import annotations

from harness import RUN, Failure, processes, write
from service import start_service

TASKS = """
import os, celery
app = celery.Celery("tasks")
for folder in ("queue", "control", "results"):
    os.makedirs(folder, exist_ok=True)
app.conf.update(
    broker_url="filesystem://", result_backend="file://results", task_ignore_result=False,
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"})
@app.task
def double(number):
    import gevent, zmq
    with zmq.Context.instance().socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(os.environ["SERVICE"])
        gevent.sleep(0.05)
        socket.send(b"%d" % number)
        return int(socket.recv()), [kind.__module__ for kind in zmq.Socket.__mro__][1]
"""
ASK = """
from tasks import double
results = [double.delay(number) for number in range(60)]
for number, result in enumerate(results):
    assert result.get(timeout=60) == [2 * number, "greenzmq.gevent"], (number, result.get())
print("right", len(results))
"""


def tasks() -> str:
    """Sixty tasks of twenty greenlets, all results right."""
    with processes() as start:
        write(start.folder, tasks=TASKS, ask=ASK)  # type: ignore[attr-defined]
        service = start_service(start)
        worker = start(
            *("worker", *RUN, "--hub", "gevent", "-m", "celery", "-A", "tasks", "worker", "-P", "gevent"),
            *("-c", "20", "--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            SERVICE=service,
            C_FORCE_ROOT="1",
        )
        output = start("ask", "ask.py").succeed(90)
        if "right 60" not in output or "Traceback" in worker.output:
            raise Failure(f"{output}\n{worker.output[-2000:]}")
        return "60 tasks in 20 greenlets of one process, all results right"


CASES = {"gevent": tasks}
