"""What libzmq itself gets wrong under peers who mean harm, with pyzmq alone: the programs of test_libzmq_faults.py."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from programs.hostile import LONG, MORE, attack, frame, shake_hands

#: How often a race is tried before it counts as lost for good.
ATTEMPTS = 60


def server(kind: int, **options: Any) -> tuple[Any, int]:
    made = zmq.Context.instance().socket(kind)
    for name, value in options.items():
        setattr(made, name, value)
    return made, made.bind_to_random_port("tcp://127.0.0.1")


def peer(port: int, kind: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    shake_hands(connection, kind)
    return connection


def fill_and_hang_up(**options: Any) -> None:
    """A peer fills the pipe of a server that is busy, and goes."""
    pull, port = server(zmq.PULL, **options)
    for attempt in range(ATTEMPTS if "heartbeat_ivl" in options else 15):
        connection = peer(port, b"PUSH")
        connection.setblocking(False)
        try:
            connection.send(frame(b"hello") * 20_000)
        except BlockingIOError:
            pass
        time.sleep(0.01 * (attempt % 6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        time.sleep(0.08)
    assert not pull.closed
    print("survived", flush=True)
    os._exit(0)


def malformed_request(answering: int) -> None:
    """A request without its empty frame, from a peer that has gone; and then a client."""
    rep, port = server(answering)
    connection = peer(port, b"REQ")
    connection.sendall(frame(b"no empty frame"))
    time.sleep(0.2)
    connection.close()
    time.sleep(0.2)
    for _ in range(2):
        client = zmq.Context.instance().socket(zmq.REQ)
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(b"hello")
        end = time.monotonic() + 5
        while time.monotonic() < end and not client.poll(0):
            if rep.poll(20):
                parts = rep.recv_multipart()
                if parts[-1] == b"hello":
                    rep.send_multipart(parts)
                    end = min(end, time.monotonic() + 1)
        print("answered" if client.poll(0) else "no answer", flush=True)
        client.close(0)
    os._exit(0)


def stranger(with_handler: bool) -> tuple[Any, Any, str]:
    """A CURVE server, a client whose key nobody knows, and where that may connect."""
    public, secret = zmq.curve_keypair()
    if with_handler:
        from zmq.auth.thread import ThreadAuthenticator

        ThreadAuthenticator(zmq.Context.instance()).start()
    pull, port = server(zmq.PULL, curve_server=True, curve_secretkey=secret)
    client = zmq.Context.instance().socket(zmq.PUSH)
    client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
    client.curve_serverkey = public
    return pull, client, f"tcp://127.0.0.1:{port}"


def any_key(with_handler: bool) -> None:
    """Whether a key that nobody knows is let in."""
    pull, client, address = stranger(with_handler)
    client.connect(address)
    client.send(b"let me in")
    print("in" if pull.poll(1000 if with_handler else 5000) else "out", flush=True)
    os._exit(0)


def refused_client(connects_again: bool) -> None:
    """Whether a client that was refused finds room to send, a second later."""
    _, client, address = stranger(with_handler=True)
    refusals = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    client.connect(address)
    refusals.recv_multipart()
    assert holds(lambda: not client.poll(0, zmq.POLLOUT))
    if connects_again:
        client.disconnect(address)
        client.connect(address)
    print("room" if client.poll(1000, zmq.POLLOUT) else "no room", flush=True)
    os._exit(0)


def memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def holds(condition: Callable[[], bool]) -> bool:
    """Whether it comes true: libzmq's own thread has to do its work first."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def endless_message() -> None:
    """Frames of a message that never ends, to a server that takes one message at a time and small frames only."""
    pull, port = server(zmq.PULL, rcvhwm=1, maxmsgsize=100_000)
    connection = peer(port, b"PUSH")
    before = memory()
    for _ in range(1000):
        connection.sendall(frame(b"x" * 60_000, MORE))
    kept = holds(lambda: memory() - before > 50)
    connection.close()
    freed = holds(lambda: memory() - before < 30)
    assert not pull.poll(0)
    print(f"{kept} {freed}", flush=True)
    os._exit(0)


def one_huge_frame(**options: Any) -> None:
    """The head of a frame that says it has 4 GiB: whether that takes address space, and whether the server hangs up."""
    pull, port = server(zmq.PULL, **options)
    connection = peer(port, b"PUSH")

    def space() -> float:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() / 2**30

    before = space()
    connection.sendall(bytes([LONG]) + struct.pack(">Q", 4 << 30))
    connection.settimeout(1)
    try:
        hung_up = connection.recv(100) == b""
    except TimeoutError:
        hung_up = False
    assert not pull.poll(0)
    print(f"{space() - before > 3.9} {hung_up}", flush=True)
    os._exit(0)


def subscribers_hang_up() -> None:
    """Peers with many subscriptions go at once: how much longer a call takes that must not wait, than before."""
    publisher, port = server(zmq.XPUB, linger=0)

    def longest_call() -> float:
        longest, end = 0.0, time.monotonic() + 1
        while time.monotonic() < end:
            start = time.thread_time()
            try:
                publisher.recv(zmq.NOBLOCK)
            except zmq.Again:
                time.sleep(0.001)
            longest = max(longest, time.thread_time() - start)
        return longest

    peers = []
    for _ in range(120):
        connection = peer(port, b"SUB")
        topics = [b"\x01" + os.urandom(200) for _ in range(20)]
        connection.sendall(b"".join(frame(topic) for topic in topics))
        peers.append(connection)
    before = longest_call()
    for connection in peers:
        connection.close()
    print(longest_call() > 10 * before, flush=True)
    os._exit(0)


def crowd_at_a_pair() -> None:
    """Peers that a PAIR refuses, since it has one; what stays open when they have gone."""
    pair, port = server(zmq.PAIR)
    client = zmq.Context.instance().socket(zmq.PAIR)
    client.connect(f"tcp://127.0.0.1:{port}")
    client.send(b"x")
    pair.recv()
    before = len(os.listdir("/proc/self/fd"))
    attackers = threading.Thread(target=attack, args=(port, "PAIR", 1, 7))
    attackers.start()
    while attackers.is_alive():
        while pair.poll(10):
            pair.recv_multipart()
    time.sleep(2)
    print(len(os.listdir("/proc/self/fd")) - before > 20, flush=True)
    os._exit(0)
