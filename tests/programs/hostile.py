"""Peers who mean harm, in a process of their own: they attack one tcp port, all at once, as long as they are told.

    python hostile.py PORT SOCKET_TYPE SECONDS SEED

Each of `ATTACKS` is one connection, or some. Prints how often each was made.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
GREETING = SIGNATURE + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\x00" + bytes(31)
#: Whom a socket of this type talks to.
PEER = {
    "DEALER": b"DEALER",
    "PAIR": b"PAIR",
    "PULL": b"PUSH",
    "REP": b"REQ",
    "ROUTER": b"DEALER",
    "SUB": b"PUB",
    "XPUB": b"SUB",
    "XSUB": b"PUB",
}
MORE, LONG, COMMAND = 1, 2, 4
#: Connections of one burst.
BURST = 20


def frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + struct.pack(">Q", len(body)) + body


def ready(kind: bytes) -> bytes:
    return frame(b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind, COMMAND)


def shake_hands(connection: socket.socket, kind: bytes) -> None:
    """A right handshake by NULL, to its end: until then libzmq takes whatever comes for a part of it."""
    connection.sendall(GREETING)
    receive(connection, len(GREETING))
    connection.sendall(ready(kind))
    receive(connection, receive(connection, 2)[1])


def receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError("the server has hung up")
        found += more
    return found


class Attacker:
    """One thread's worth of harm."""

    def __init__(self, port: int, kind: str, dice: random.Random, until: float) -> None:
        self.port, self.kind, self.dice, self.until = port, kind, dice, until

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        connection.settimeout(2)
        return connection

    def shaken_hands(self) -> socket.socket:
        """A connection after a right handshake."""
        connection = self.connect()
        try:
            shake_hands(connection, PEER[self.kind])
        except OSError:
            connection.close()
            raise
        return connection

    def random_bytes(self) -> None:
        with self.connect() as connection:
            connection.sendall(self.dice.randbytes(self.dice.randrange(1, 3000)))

    def random_bytes_after_a_greeting(self) -> None:
        with self.connect() as connection:
            connection.sendall(GREETING + self.dice.randbytes(self.dice.randrange(1, 3000)))

    def half_a_greeting(self) -> None:
        with self.connect() as connection:
            connection.sendall(GREETING[: self.dice.randrange(len(GREETING))])
            time.sleep(self.dice.random() * 0.05)

    def wrong_commands(self) -> None:
        with self.connect() as connection:
            body = self.dice.choice([b"", b"\x05READY", b"\xffREADY", b"\x05ERROR\xff", b"\x04PING", b"\x05HELLO"])
            connection.sendall(GREETING + frame(body + self.dice.randbytes(self.dice.randrange(40)), COMMAND))

    def oversized_lengths(self) -> None:
        """A frame that says it has up to 2 ** 63 bytes: libzmq allocates what it is told, if nothing limits it."""
        with self.shaken_hands() as connection:
            size = 1 << self.dice.choice([31, 40, 62, 63])
            connection.sendall(bytes([LONG]) + struct.pack(">Q", size) + b"x" * 100)

    def many_more_frames(self) -> None:
        """A message that never ends: it stays in memory until the connection goes."""
        with self.shaken_hands() as connection:
            for _ in range(self.dice.randrange(50)):
                connection.sendall(frame(b"more", MORE) * 100)

    def burst(self) -> None:
        """With the pause after each, 200 connections a second."""
        opened = [self.connect() for _ in range(BURST)]
        for connection in opened:
            connection.close()
        time.sleep(BURST / 200)

    def byte_by_byte(self) -> None:
        """Slowly: a connection that stays in the handshake."""
        with self.connect() as connection:
            for byte in GREETING[:20]:
                connection.sendall(bytes([byte]))
                time.sleep(1 if self.until - time.monotonic() > 20 else 0.005)

    def bad_subscriptions(self) -> None:
        with self.shaken_hands() as connection:
            for _ in range(20):
                body = self.dice.choice([b"\x01", b"\x00", b"\x02", b"", b"\x01" * 300])
                connection.sendall(frame(body + self.dice.randbytes(self.dice.randrange(300))))
                command = self.dice.choice([b"\x09SUBSCRIBE", b"\x06CANCEL"])
                connection.sendall(frame(command + self.dice.randbytes(9), COMMAND))

    def garbage_messages(self) -> None:
        """For `recv_json`, `recv_string` and `recv_serialized`, and for a REP, which wants an empty frame first."""
        with self.shaken_hands() as connection:
            for _ in range(10):
                body = self.dice.choice([b"[" * 5000, b"\xff\xfe", b"{", b"NaN", b"", self.dice.randbytes(50)])
                parts = [body] * self.dice.randrange(1, 4)
                message = [frame(part, MORE) for part in parts[:-1]] + [frame(parts[-1])]
                connection.sendall(b"".join(message))

    def hang_up_at_once(self) -> None:
        """With a reset."""
        connection = self.shaken_hands()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


ATTACKS: tuple[Callable[[Attacker], None], ...] = (
    *(Attacker.random_bytes, Attacker.random_bytes_after_a_greeting, Attacker.half_a_greeting, Attacker.burst),
    *(Attacker.wrong_commands, Attacker.oversized_lengths, Attacker.many_more_frames, Attacker.byte_by_byte),
    *(Attacker.bad_subscriptions, Attacker.garbage_messages, Attacker.hang_up_at_once),
)


def attack(port: int, kind: str, seconds: float, seed: int) -> Counter[str]:
    """All attacks, each in a thread of its own, again and again."""
    done: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        attacker = Attacker(port, kind, random.Random(seed + number), until)
        function: Any = ATTACKS[number]
        while True:
            try:
                function(attacker)
            except OSError:  # the server has hung up, as it should
                pass
            done[function.__name__] += 1
            if time.monotonic() > until:
                return
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(ATTACKS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


if __name__ == "__main__":
    print(dict(attack(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))))
