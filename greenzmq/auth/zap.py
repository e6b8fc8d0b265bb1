"""ZAP, the ZeroMQ Authentication Protocol (RFC 27): its requests and answers. Nothing here waits, and nothing raises.

For each connection libzmq sends a request to the socket that is bound to `ENDPOINT`, and waits for the answer:

    request   envelope, empty frame, "1.0", request id, domain, address, routing id, mechanism, credentials
    answer    envelope, empty frame, "1.0", the same request id, status, text, user id, metadata

NULL has no credentials, PLAIN a user's name and a password, CURVE 32 bytes of public key, GSSAPI a principal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ENDPOINT", "VERSION", "Request", "Verdict", "allowed", "parse", "refused", "unavailable"]

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
#: The number of frames of each mechanism's credentials.
CREDENTIALS = {"NULL": 0, "PLAIN": 2, "CURVE": 1, "GSSAPI": 1}
CURVE_KEY_SIZE = 32


@dataclass(frozen=True)
class Verdict:
    """The answer to a request. libzmq lets a client in only if the status is 200.

    Attributes
    ----------
    status : bytes
        ``200``: the client is let in. ``300``: not now; libzmq closes the connection without telling the client, which
        tries again by itself. ``400``: the client is refused. ``500``: the check has failed.
    text : bytes
        The reason. libzmq passes it on to nobody.
    user_id : bytes
        With 200: the value that the server reads as ``frame.get("User-Id")``.
    """

    status: bytes
    text: bytes
    user_id: bytes = b""


def allowed(user_id: bytes) -> Verdict:
    """Return the verdict that lets the client in."""
    return Verdict(b"200", b"OK", user_id)


def refused(text: str, status: bytes = b"400") -> Verdict:
    """Return the verdict that keeps the client out."""
    return Verdict(status, text.encode())


def unavailable(text: str) -> Verdict:
    """Return the verdict that keeps the client out for now."""
    return refused(text, b"300")


@dataclass(frozen=True)
class Request:
    """One request, with its texts decoded. Bytes that cannot be decoded become U+FFFD.

    Attributes
    ----------
    envelope : list of bytes
        The first frames of the answer: all frames of the request up to the first empty one, and that one.
    request_id : bytes
        The id, which the answer repeats.
    domain, address, mechanism : str
        The ``ZAP_DOMAIN`` of the server's socket; the client's IP address, or what libzmq gives in its place; and the
        name of the mechanism.
    credentials : tuple of bytes
        The credentials. If `fault` is None, they are as many as the mechanism has.
    fault : str or None
        What is wrong with the request; None if it is correct.
    """

    envelope: list[bytes]
    request_id: bytes
    domain: str = ""
    address: str = ""
    mechanism: str = ""
    credentials: tuple[bytes, ...] = ()
    fault: str | None = None

    def answer(self, verdict: Verdict) -> list[bytes]:
        """Return the frames of the answer."""
        return [*self.envelope, VERSION, self.request_id, verdict.status, verdict.text, verdict.user_id, b""]

    def __str__(self) -> str:
        """Describe the request for the log, without the credentials, which may contain a password."""
        return f"{self.mechanism or '?'} from {self.address!r}, domain {self.domain!r}"


def parse(frames: Sequence[bytes], encoding: str = "utf-8") -> Request | None:
    """Make a request of the frames that a ROUTER has received.

    Returns None if they have no envelope or no request id: then it cannot be answered.

    Parameters
    ----------
    frames : sequence of bytes
        The frames. The first one is the routing id of the peer, which gets the answer.
    encoding : str
        The encoding of the texts.
    """
    try:
        body = frames.index(b"", 1) + 1
    except ValueError:
        return None
    if len(frames) < body + 2:
        return None
    envelope, (version, request_id, *rest) = list(frames[:body]), frames[body:]
    if version != VERSION:
        return Request(envelope, request_id, fault="Invalid version")
    if len(rest) < 4:
        return Request(envelope, request_id, fault="Not enough frames")
    domain, address, _, mechanism = (frame.decode(encoding, "replace") for frame in rest[:4])
    credentials = tuple(rest[4:])
    fault = _fault(mechanism, credentials)
    return Request(envelope, request_id, domain, address, mechanism, credentials, fault)


def _fault(mechanism: str, credentials: tuple[Any, ...]) -> str | None:
    if mechanism not in CREDENTIALS:
        return "Unknown mechanism"
    wrong_key = mechanism == "CURVE" and any(len(key) != CURVE_KEY_SIZE for key in credentials)
    return "Invalid credentials" if wrong_key or len(credentials) != CREDENTIALS[mechanism] else None
