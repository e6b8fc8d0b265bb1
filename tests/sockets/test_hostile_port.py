"""A port that anybody can reach: legitimate clients lose nothing while others attack it, and nothing is left of those.

The attacks are in ``tests/programs/hostile.py``. The long form takes a minute for each kind of socket and hub.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.hub_thread import new_descriptors, open_descriptors
from support.sockets import open_context
from support.torture import FACTOR, scale

import greenzmq

HOSTILE = Path(__file__).parents[1] / "programs" / "hostile.py"
#: Seconds. In a normal run, until each attack was made.
LONG, SHORT = 60, 0.1
#: What a frame may have. Without it a peer may have libzmq allocate 2 ** 63 bytes.
MAX_SIZE = 100_000
#: Megabytes by which the process may have grown: what small pieces leave behind in the heap of libc.
GROWTH = 40
OURS = b"legitimate "


class Port:
    """A server on one kind of socket, its clients, and the attack on it."""

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context, outside: greenzmq.Context) -> None:
        self.hub, self.context, self.outside = hub, context, outside
        self.errors: set[str] = set()
        self.number = 0
        self.sockets: list[Any] = []

    def bound(self, kind: int, **options: Any) -> Any:
        socket = self._make(self.context, kind, **{"maxmsgsize": MAX_SIZE, **options})
        socket.bind("tcp://127.0.0.1:*")
        self.endpoint = socket.last_endpoint.decode()
        return socket

    def client(self, kind: int, **options: Any) -> Any:
        socket = self._make(self.outside, kind, **options)
        socket.connect(self.endpoint)
        return socket

    def _make(self, context: greenzmq.Context, kind: int, **options: Any) -> Any:
        socket = context.socket(kind)
        for name, value in {"linger": 0, **options}.items():
            setattr(socket, name, value)
        self.sockets.append(socket)
        return socket

    def next(self) -> bytes:
        self.number += 1
        return OURS + b"%d" % self.number

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether `condition` comes true in time."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.hub.sleep(0.001)
        return bool(condition())

    def attack(self, kind: str, seconds: float) -> dict[str, int]:
        """What the attackers have done, when they are done."""
        port = self.endpoint.rpartition(":")[2]
        command = [sys.executable, "-I", "-S", str(HOSTILE), port, kind, str(seconds), "7"]
        done: Any = self.hub.run_in_thread(subprocess.run, command, capture_output=True, timeout=seconds + 60)
        assert done.returncode == 0, done.stderr
        counts: dict[str, int] = json.loads(done.stdout.decode().replace("'", '"'))
        return counts


# Each gives two functions: what the server does for ever, and one exchange of the client.
Exchange = Callable[[], None]


def rep(port: Port) -> tuple[Exchange, Exchange]:
    """libzmq's REP loses the answer after a malformed request whose peer has gone. So the client asks again."""
    server = port.bound(zmq.REP)
    client = port.client(zmq.REQ, req_relaxed=True, req_correlate=True, rcvtimeo=100)

    def serve() -> None:
        server.send_multipart(server.recv_multipart())

    def exchange() -> None:
        asked = port.next()
        for _ in range(300):
            client.send(asked)
            try:
                assert client.recv() == asked
            except zmq.Again:
                continue
            return
        raise AssertionError("no answer")

    return serve, exchange


def router(port: Port) -> tuple[Exchange, Exchange]:
    server, client = port.bound(zmq.ROUTER), port.client(zmq.DEALER)

    def serve() -> None:
        server.send_multipart(server.recv_multipart())

    def exchange() -> None:
        asked = port.next()
        client.send(asked)
        assert client.recv() == asked

    return serve, exchange


def collector(bound: int, connected: int, **options: Any) -> Callable[[Port], tuple[Exchange, Exchange]]:
    """What the client sends arrives, in order, among whatever else arrives."""

    def make(port: Port) -> tuple[Exchange, Exchange]:
        server, client = port.bound(bound, **options), port.client(connected)
        if bound == zmq.SUB:
            server.subscribe(b"")
        if bound == zmq.XSUB:
            server.send(b"\x01")
        arrived: list[bytes] = []

        def serve() -> None:
            parts = server.recv_multipart()
            if parts[0].startswith(OURS):
                arrived.append(parts[0])

        def exchange() -> None:
            sent = port.next()
            for _ in range(1 if arrived or connected != zmq.PUB else 1000):  # a PUB's first ones have no subscriber yet
                client.send(sent)
                if port.wait(lambda: arrived, 0.01):
                    break
            assert port.wait(lambda: arrived and arrived[-1] == sent, 10), "lost"
            assert sorted(arrived, key=len) == arrived
            del arrived[:-1]

        return serve, exchange

    return make


def xpub(port: Port) -> tuple[Exchange, Exchange]:
    """Subscriptions, right or wrong, are read; the subscriber has all that is published for it.

    Long topics are refused: with them, libzmq does not keep up with subscribers that hang up (``docs/security.md``).
    """
    server, client = port.bound(zmq.XPUB, maxmsgsize=64), port.client(zmq.SUB, rcvtimeo=10_000)
    client.subscribe(OURS)

    def serve() -> None:
        server.recv_multipart()

    def exchange() -> None:
        sent = port.next()
        for _ in range(1 if port.number > 1 else 1000):
            server.send(sent)
            if port.number > 1 or client.poll(10):
                break
        while (received := client.recv()) != sent:
            assert received == OURS + b"1"  # of which some may have been sent before the subscription was seen to hold

    return serve, exchange


def readers(port: Port) -> tuple[Exchange, Exchange]:
    """`recv_json`, `recv_string` and `recv_serialized` in turn: what they raise is a ValueError, or says nothing new.

    JSON that is nested too deeply is a RecursionError; that is Python's.
    """
    server, client = port.bound(zmq.PULL), port.client(zmq.PUSH)
    arrived: list[bytes] = []

    def receive() -> Any:
        way = len(port.errors) + port.number
        if way % 3 == 0:
            return server.recv_json()
        if way % 3 == 1:
            return server.recv_string()
        return server.recv_serialized(lambda parts: json.loads(b"".join(parts)))

    def serve() -> None:
        try:
            found = receive()
        except (ValueError, RecursionError) as error:
            port.errors.add(type(error).__name__)
        else:
            if isinstance(found, str) and found.lstrip('"').startswith(OURS.decode()):
                arrived.append(found.strip('"').encode())

    def exchange() -> None:
        sent = port.next()
        client.send(b'"' + sent + b'"')
        assert port.wait(lambda: sent in arrived, 10), "lost"
        arrived.clear()

    return serve, exchange


KINDS: dict[str, tuple[str, Callable[[Port], tuple[Exchange, Exchange]]]] = {
    "REP": ("REP", rep),
    "ROUTER": ("ROUTER", router),
    "DEALER": ("DEALER", collector(zmq.DEALER, zmq.DEALER)),
    "PULL": ("PULL", collector(zmq.PULL, zmq.PUSH)),
    "SUB": ("SUB", collector(zmq.SUB, zmq.PUB)),
    "XSUB": ("XSUB", collector(zmq.XSUB, zmq.PUB)),
    "PAIR": ("PAIR", collector(zmq.PAIR, zmq.PAIR)),
    "XPUB": ("XPUB", xpub),
    "texts and objects": ("PULL", readers),
}


def memory() -> float:
    """What the process has now, in megabytes, without what libc only keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_legitimate_clients_lose_nothing(kind: str, hub: greenzmq.GreenHub) -> None:
    """While all attacks go on, and after it; then descriptors and memory are what they were."""
    theirs, make = KINDS[kind]
    before_fds, before_memory = open_descriptors(), memory()
    with open_context(hub) as context, open_context(hub) as outside:
        port = Port(hub, context, outside)
        serve, exchange = make(port)

        def serve_on() -> None:
            while True:
                serve()

        server = hub.spawn(serve_on)
        try:
            exchange()
            quiet = open_descriptors()
            attackers = hub.spawn(port.attack, theirs, scale(LONG, SHORT))
            exchanges = 0
            while not attackers.done:
                exchange()
                exchanges += 1
            counts = attackers.get()
            for _ in range(10):
                exchange()
            # Threads sleep on epolls, which a socket gets sooner or later, and keeps: one to receive, one to send.
            epolls = 2 * len(port.sockets) if hub.hub.runs_threads else 0
            # A PAIR refuses a second peer, and libzmq keeps some of these connections until the PAIR is closed.
            assert kind == "PAIR" or hub.run_in_thread(new_descriptors, quiet, epolls) == []
        finally:
            server.kill()
            for socket in port.sockets:
                socket.close()
    assert len(counts) == 11
    assert exchanges > 10
    assert port.errors <= {"JSONDecodeError", "UnicodeDecodeError", "RecursionError"}
    if kind == "texts and objects":
        assert port.errors
    gc.collect()
    assert hub.run_in_thread(new_descriptors, before_fds) == []
    grown = memory() - before_memory
    if FACTOR:
        print(f"{kind}: {sum(counts.values())} attacks, {exchanges} exchanges, {grown:.0f} MB more")
    assert grown < GROWTH
