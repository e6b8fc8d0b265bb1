"""The other side, in processes of its own: plain pyzmq, killed, stopped and restarted by the tests.

They are forked from one process that has pyzmq imported, the nursery, and so come within milliseconds. When the tests
are over, in whatever way, the nursery sees the end of its input and ends them all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

__all__ = ["Nursery", "Peer", "serve"]

#: Seconds within which a killed process has freed its address.
PATIENCE = 10.0


class Peer:
    """One process at the other end."""

    def __init__(self, pid: int, endpoint: str) -> None:
        self.pid = pid
        self.endpoint = endpoint

    def kill(self) -> None:
        """Without a word to those who are connected but what the system says for it."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """It says nothing any more, and its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class Nursery:
    """Starts peers."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
        program = "from support import peers; peers.serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )
        self._lock = threading.Lock()

    def start(self, role: str, *args: str) -> Peer:
        """A process that runs one of `ROLES`. Blocks until it is ready."""
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps([role, *args]) + "\n")
            return Peer(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


# -- in the nursery and its children -----------------------------------------------------------------------------------


def serve() -> None:
    """Fork a child for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody need wait for them
    pids = []
    for line in sys.stdin:
        role, *args = json.loads(line)
        pid = os.fork()
        if not pid:
            run(role, *args)
        pids.append(pid)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def run(role: str, *args: str) -> None:
    try:
        ROLES[role](zmq.Context(), *args)
    finally:
        os._exit(1)


def ready(endpoint: str = "") -> None:
    os.write(1, (json.dumps([os.getpid(), endpoint]) + "\n").encode())


def bind(socket: Any, endpoint: str) -> None:
    """Bind as soon as whoever had this address is gone."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.bind(endpoint)
            break
        except zmq.ZMQError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def echo(context: zmq.Context[Any], endpoint: str, mark: str = "1") -> None:
    """Send everything back to where it came from; `mark` is the high-water mark for what comes."""
    router = context.socket(zmq.ROUTER)
    router.rcvhwm, router.sndhwm, router.linger = int(mark), 0, 0
    router.rcvbuf = 65536
    bind(router, endpoint)
    ready(router.last_endpoint.decode())
    while True:
        router.send_multipart(router.recv_multipart())


def subscribe(context: zmq.Context[Any], publisher: str, reports: str) -> None:
    """Report the first frame of every publication."""
    sub, push = context.socket(zmq.SUB), context.socket(zmq.PUSH)
    sub.rcvhwm, sub.rcvbuf, push.sndhwm = 1, 65536, 0
    push.connect(reports)
    sub.subscribe(b"")
    sub.connect(publisher)
    ready()
    while True:
        push.send(sub.recv_multipart()[0])


ROLES: dict[str, Callable[..., None]] = {"echo": echo, "subscribe": subscribe}
