"""Peers: processes with plain pyzmq at the other end of a connection, which the tests kill, stop and restart.

One process, the *nursery*, has imported pyzmq and forks the peers, so they start within milliseconds. When the tests
end, in whatever way, the nursery finds the end of its input, and ends all peers.
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

#: Seconds that the system may take to free the address of a killed process.
PATIENCE = 10.0


class Peer:
    """One process at the other end of a connection."""

    def __init__(self, pid: int, endpoint: str) -> None:
        self.pid = pid
        self.endpoint = endpoint

    def kill(self) -> None:
        """Kill the process. Those that are connected to it learn that only from the system."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process. It sends nothing any more, but its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `stop`."""
        os.kill(self.pid, signal.SIGCONT)


class Nursery:
    """Starts peers. See above."""

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
        """Start a peer that plays one of the `ROLES`. Blocks until it is ready."""
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
    """Fork a peer for each line of standard input. At its end, kill them all."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that ended peers do not become zombies
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
    """Bind to an address, as soon as the process that had it before is gone."""
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
    """Send each message back to its sender. `mark` is the high-water mark of the messages that come in."""
    router = context.socket(zmq.ROUTER)
    router.rcvhwm, router.sndhwm, router.linger = int(mark), 0, 0
    router.rcvbuf = 65536
    bind(router, endpoint)
    ready(router.last_endpoint.decode())
    while True:
        router.send_multipart(router.recv_multipart())


def subscribe(context: zmq.Context[Any], publisher: str, reports: str) -> None:
    """Subscribe to everything, and send the first frame of each message to `reports`."""
    sub, push = context.socket(zmq.SUB), context.socket(zmq.PUSH)
    sub.rcvhwm, sub.rcvbuf, push.sndhwm = 1, 65536, 0
    push.connect(reports)
    sub.subscribe(b"")
    sub.connect(publisher)
    ready()
    while True:
        push.send(sub.recv_multipart()[0])


ROLES: dict[str, Callable[..., None]] = {"echo": echo, "subscribe": subscribe}
