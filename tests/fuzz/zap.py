"""A coverage-guided fuzzer on the ZAP handler: whatever frames it gets, it answers once, and lets in whom it should.

    nox -s fuzz                          # ten minutes; $GREENZMQ_TORTURE is a factor
    python tests/fuzz/zap.py SECONDS     # needs atheris

It drives the handler itself, from the frames to the answer, with a socket that only records, and calls the callbacks at
once. What it has found that is wrong it prints, with a file that reproduces it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["greenzmq.auth", "ipaddress"]):
    import zmq

    import greenzmq.auth
    from greenzmq.auth import server as server_module
    from greenzmq.auth import zap

USER, WORD = b"user", b"word"
#: What a request may have in it, so that the fuzzer need not guess it.
WORDS = (
    b"",
    b"1.0",
    b"NULL",
    b"PLAIN",
    b"CURVE",
    b"GSSAPI",
    USER,
    WORD,
    b"closed",
    b"asked",
    b"127.0.0.1",
    b"10.1.2.3",
)
KEY = bytes(range(32))


class Recorder:
    """Stands in for the ROUTER."""

    closed = False

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []

    def send_multipart(self, parts: list[bytes], flags: int) -> None:
        self.sent.append(parts)


class Handler(server_module.Server):
    """The handler without a hub: its callbacks run at once."""

    def __init__(self, judge: Any) -> None:
        log = logging.getLogger("fuzz")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        self.log, self._judge, self._encoding = log, judge, "utf-8"
        self.hub: Any = type("Hub", (), {"name": "selector"})
        self.socket: Any = Recorder()

    def _begin_call(self, request: Any, decide: Callable[[], Any]) -> None:
        try:
            verdict = decide()
        except Exception as error:
            self.tell_failure(request, error)
            verdict = server_module.FAILED
        self.answer(request, verdict)


class Provider:
    """Half of the keys may come in; the other ones raise."""

    def callback(self, domain: str, key: bytes) -> bool:
        if key[0] % 2:
            raise ValueError(domain)
        return True


def make_handler() -> Handler:
    auth = greenzmq.auth.Authenticator(zmq.Context.instance())
    auth.configure_plain(passwords={USER.decode(): WORD.decode()})
    auth.configure_plain("closed", {})
    auth.configure_curve(location="*")
    auth.configure_curve_callback("asked", Provider())
    auth.deny("10.0.0.0/8", "fe80::/10")
    return Handler(auth._judge)


HANDLER = make_handler()


def frame_of(provider: Any) -> bytes:
    choice = provider.ConsumeIntInRange(0, len(WORDS) + 4)
    if choice < len(WORDS):
        return WORDS[choice]
    return KEY if choice == len(WORDS) else provider.ConsumeBytes(provider.ConsumeIntInRange(0, 40))


def frames_of(data: bytes) -> list[bytes]:
    """Any frames; or a request that is right as far as its mechanism, so that the fuzzer gets there."""
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        return [frame_of(provider) for _ in range(provider.ConsumeIntInRange(0, 14))]
    mechanism, count = ((b"NULL", 0), (b"PLAIN", 2), (b"CURVE", 1), (b"GSSAPI", 1))[provider.ConsumeIntInRange(0, 3)]
    head = [b"peer", b"", b"1.0", b"id", frame_of(provider), frame_of(provider), b"routing id", mechanism]
    return head + [frame_of(provider) for _ in range(count + provider.ConsumeIntInRange(-1, 1) % 3 // 2)]


def try_one(data: bytes) -> None:
    """One request."""
    frames = frames_of(data)
    sent = HANDLER.socket.sent
    sent.clear()
    HANDLER._handle(list(frames))
    answerable = b"" in frames[1:] and len(frames) - frames.index(b"", 1) >= 3
    assert len(sent) == answerable, (frames, sent)
    if not answerable:
        return
    body = frames.index(b"", 1) + 1
    (answer,) = sent
    assert answer[: body + 2] == [*frames[:body], b"1.0", frames[body + 1]], (frames, answer)
    status, _, user, metadata = answer[body + 2 :]
    assert metadata == b""
    if status != b"200":
        assert (status in (b"400", b"500"), user) == (True, b""), (frames, answer)
        return
    version, _, domain, address, _, mechanism, *credentials = frames[body:]
    assert version == zap.VERSION
    assert not address.startswith(b"10.1."), frames
    assert mechanism != b"PLAIN" or (credentials == [USER, WORD] and domain != b"closed" and user == USER), frames
    assert mechanism != b"CURVE" or len(credentials[0]) == 32, frames
    assert b"\0" not in user


if __name__ == "__main__":
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={sys.argv[1]}", "-print_final_stats=1", "-rss_limit_mb=4096"], try_one
    )
    atheris.Fuzz()
