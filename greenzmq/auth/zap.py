"""ZAP, the ZeroMQ Authentication Protocol (RFC 27): its requests and answers. Nothing here waits, and nothing raises.

For each connection libzmq asks whoever is bound to `ENDPOINT`, and waits for the answer:

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
#: How many frames each mechanism's credentials have.
CREDENTIALS = {"NULL": 0, "PLAIN": 2, "CURVE": 1, "GSSAPI": 1}
CURVE_KEY_SIZE = 32


@dataclass(frozen=True)
class Verdict:
    """What is answered to a request. libzmq lets a client in for the status 200 only.

    Attributes
    ----------
    status : bytes
        ``200``: let in. ``300``: not now; libzmq hangs up, without a word to the client, which tries again by itself.
        ``400``: refused. ``500``: something here has failed.
    text : bytes
        The reason. libzmq passes it on to nobody.
    user_id : bytes
        For 200: what the server finds as ``frame.get("User-Id")``.
    """

    status: bytes
    text: bytes
    user_id: bytes = b""


def allowed(user_id: bytes) -> Verdict:
    """Let the client in."""
    return Verdict(b"200", b"OK", user_id)


def refused(text: str, status: bytes = b"400") -> Verdict:
    """Keep the client out."""
    return Verdict(status, text.encode())


def unavailable(text: str) -> Verdict:
    """Keep the client out for now."""
    return refused(text, b"300")


@dataclass(frozen=True)
class Request:
    """One request, with its texts decoded. What is no text has U+FFFD in it.

    Attributes
    ----------
    envelope : list of bytes
        Where the answer goes: all frames up to the first empty one, and that.
    request_id : bytes
        To be repeated in the answer.
    domain, address, mechanism : str
        What the server's socket has as its ``ZAP_DOMAIN``; the client's IP address, or what libzmq gives in its place;
        and the name of the mechanism.
    credentials : tuple of bytes
        As many as the mechanism has, if `fault` is None.
    fault : str or None
        What is wrong with the request.
    """

    envelope: list[bytes]
    request_id: bytes
    domain: str = ""
    address: str = ""
    mechanism: str = ""
    credentials: tuple[bytes, ...] = ()
    fault: str | None = None

    def answer(self, verdict: Verdict) -> list[bytes]:
        """The frames to send."""
        return [*self.envelope, VERSION, self.request_id, verdict.status, verdict.text, verdict.user_id, b""]

    def __str__(self) -> str:
        """For the log: without the credentials, one of which may be a password."""
        return f"{self.mechanism or '?'} from {self.address!r}, domain {self.domain!r}"


def parse(frames: Sequence[bytes], encoding: str = "utf-8") -> Request | None:
    """What a ROUTER has received, as a request. None if it has no envelope or no request id: nobody can be answered.

    Parameters
    ----------
    frames : sequence of bytes
        The first one is the routing id of the peer, by which the ROUTER sends the answer to it.
    encoding : str
        That of the texts.
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
