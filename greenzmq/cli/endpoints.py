"""Read the arguments of ``greenzmq proxy`` that describe its sockets: ``router@tcp://*:5555,+tcp://peer:5556``."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

import zmq

__all__ = ["CAPTURES", "PAIRS", "Side", "capture_side", "side", "wrong_pair"]

#: For each type of one socket, the types of the other one.
PAIRS = {
    "router": ("dealer",),
    "dealer": ("router",),
    "xsub": ("xpub",),
    "xpub": ("xsub",),
    "pull": ("push", "pub"),
    "push": ("pull",),
    "pub": ("pull",),
}
#: The types of a capture socket, which only sends.
CAPTURES = ("pub", "push", "dealer", "pair")
#: Types that a user may write by mistake, and the right one.
_MEANT = {"sub": "xsub", "req": "dealer", "rep": "router", "xreq": "dealer", "xrep": "router"}
_SIGNS = {"@": "bind", "+": "connect", ">": "connect"}
_TRANSPORTS = ("tcp", "ipc", "inproc", "ws", "wss", "pgm", "epgm", "tipc", "vmci", "norm", "udp")


@dataclass(frozen=True)
class Side:
    """One socket of a proxy.

    Attributes
    ----------
    kind : str
        The type, such as ``router``.
    endpoints : tuple of (str, str)
        For each endpoint: ``bind`` or ``connect``, and the endpoint itself.
    """

    kind: str
    endpoints: tuple[tuple[str, str], ...]

    @property
    def socket_type(self) -> int:
        """The type, as libzmq's number."""
        return int(getattr(zmq, self.kind.upper()))

    @property
    def ways(self) -> set[str]:
        """``bind``, ``connect``, or both."""
        return {way for way, _ in self.endpoints}


def side(text: str) -> Side:
    """Read the argument for the frontend or the backend."""
    return _read(text, tuple(PAIRS))


def capture_side(text: str) -> Side:
    """Read the argument for the capture socket."""
    return _read(text, CAPTURES)


def wrong_pair(frontend: Side, backend: Side) -> str:
    """Return what is wrong with the two types, or an empty string."""
    wanted = PAIRS[frontend.kind]
    if backend.kind in wanted:
        return ""
    meant = " or a ".join(wanted)
    fitting = ", ".join(f"{one} and {other}" for one, others in PAIRS.items() for other in others if one > other)
    return f"a {frontend.kind} goes with a {meant}, and not with a {backend.kind}; the pairs are {fitting}"


def _read(text: str, kinds: tuple[str, ...]) -> Side:
    found = re.match(r"([A-Za-z]+)(?=[@+>])", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not begin with a type and a sign, as router@tcp://*:5555 (bind) or "
            "router+tcp://host:5555 (connect)"
        )
    kind = found[1].lower()
    if kind not in kinds:
        meant = f"; use {_MEANT[kind]}" if _MEANT.get(kind) in kinds else ""
        raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(kinds)}{meant}")
    endpoints: list[tuple[str, str]] = []
    way = "bind"
    for part in re.split(r",(?=[@+>]|[a-z]+://)", text[found.end() :]):
        way = _SIGNS.get(part[:1], way)
        endpoint = part.lstrip("@+>")
        transport, separator, rest = endpoint.partition("://")
        if not (separator and rest) or transport not in _TRANSPORTS:
            raise argparse.ArgumentTypeError(f"{endpoint!r} is no endpoint, such as tcp://*:5555 or ipc:///run/broker")
        port = rest.rpartition(":")[2]
        if transport in {"tcp", "ws", "wss"} and not (port == "*" or (port.isdecimal() and int(port) < 65536)):
            raise argparse.ArgumentTypeError(f"{endpoint!r} has no port, from 1 to 65535 or * for any")
        endpoints.append((way, endpoint))
    return Side(kind, tuple(endpoints))
