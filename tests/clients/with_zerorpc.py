"""zerorpc: fifty clients at once, streams, heartbeats, a call that is ended, and a server that is killed."""

from __future__ import annotations

import signal

from harness import RUN, Failure, free_port, processes, write

SERVER = """
import sys, gevent, zerorpc
import zmq
class Service:
    def double(self, value):
        gevent.sleep(0.01)
        return value * 2
    @zerorpc.stream
    def count(self, to):
        for number in range(to):
            gevent.sleep(0)
            yield number
    def slow(self, seconds):
        gevent.sleep(seconds)
        return "slept"
    def fail(self):
        raise ValueError("on purpose")
    def kind(self):
        return [kind.__module__ for kind in zmq.Socket.__mro__][1]
server = zerorpc.Server(Service(), heartbeat=2)
server.bind(sys.argv[1])
print("ready", flush=True)
server.run()
"""
CLIENT = """
import sys, gevent, zerorpc
def client(**options):
    made = zerorpc.Client(**options)
    made.connect(sys.argv[1])
    return made
def work(number):
    one = client(timeout=30)
    results = [one.double(number * 100 + turn) for turn in range(20)]
    assert results == [(number * 100 + turn) * 2 for turn in range(20)], results
    assert list(one.count(50)) == list(range(50))
    one.close()
    return len(results)
assert client().kind() == "greenzmq.gevent", client().kind()
jobs = [gevent.spawn(work, number) for number in range(50)]
gevent.joinall(jobs, raise_error=True)
print("calls", sum(job.value for job in jobs))
one = client(heartbeat=2)
try:
    one.fail()
except zerorpc.RemoteError as error:
    print("error", error.name, error.msg)
print(one.slow(6))                       # longer than two heartbeats
limited = client(timeout=1)
try:
    limited.slow(10)
except zerorpc.TimeoutExpired:
    print("timeout")
print(limited.double("x"))
waiting = gevent.spawn(one.slow, 60)
gevent.sleep(0.5)
waiting.kill()
print(one.double("k"))
print("waits", flush=True)
try:
    one.slow(60)                         # the server is killed meanwhile
except zerorpc.LostRemote:
    print("lost")
"""


def calls() -> str:
    """All of it; server and client are both run by `greenzmq run`."""
    with processes() as start:
        write(start.folder, server=SERVER, client=CLIENT)  # type: ignore[attr-defined]
        endpoint = f"tcp://127.0.0.1:{free_port()}"
        server = start("server", *RUN, "--hub", "gevent", "server.py", endpoint)
        server.until_printed("ready")
        client = start("client", *RUN, "--hub", "gevent", "client.py", endpoint)
        client.until_printed("waits")
        server.stop(signal.SIGKILL)
        # zerorpc complains of its own socket class, and of late heartbeats.
        lines = [line for line in client.succeed().splitlines() if not line.startswith(("/!", "zerorpc."))]
        expected = ["calls 1000", "error ValueError on purpose", "slept", "timeout", "xx", "kk", "waits", "lost"]
        if lines != expected:
            raise Failure(f"{lines} are not {expected}")
        return "50 clients, 1,000 calls and 50 streams right; errors, time limits, heartbeats, a killed server"


CASES = {"gevent": calls}
