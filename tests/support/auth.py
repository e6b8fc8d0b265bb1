"""A place in which authenticators are tried: the same for greenzmq's on any hub, and for pyzmq's in native threads.

`Lab.ask` sends a ZAP request to the handler as libzmq does, with whatever frames, and so tries what no client can do by
itself. Real clients are in ``test_handshakes.py``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

__all__ = [
    "BETTER",
    "ENDPOINT",
    "KEY",
    "LINES",
    "NEVER",
    "Z85",
    "Green",
    "Lab",
    "Native",
    "Provider",
    "better",
    "frames",
]
__all__ += ["line"]

Line = Callable[[Any], None]
LINES: dict[str, Line] = {}
#: Those that pyzmq's gets wrong.
BETTER: list[str] = []

KEY = bytes(range(32))
Z85 = z85.encode(KEY)
#: Longer than any test.
NEVER = 1000.0
ENDPOINT = "inproc://zeromq.zap.01"
#: Seconds after which there will be no answer.
PATIENCE = 5.0


def line(function: Line) -> Line:
    """One of the lines of what an authenticator has to do; see ``programs/auth_lines.py``."""
    LINES[function.__name__] = function
    return function


def better(function: Line) -> Line:
    """One that pyzmq's gets wrong."""
    BETTER.append(function.__name__)
    return line(function)


def frames(
    mechanism: bytes, *credentials: bytes, domain: bytes = b"", address: bytes = b"127.0.0.1", number: bytes = b"1"
) -> list[bytes]:
    """A request as libzmq sends it."""
    return [b"", b"1.0", number, domain, address, b"routing id", mechanism, *credentials]


class Provider:
    """A credentials_provider whose callback is this function."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback


class Lab:
    """One context, its authenticators, and whoever asks them. Ends everything it has made."""

    patience = PATIENCE

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gz"))
        self.log_records: list[logging.LogRecord] = []
        self.log = logging.Logger("lab", logging.DEBUG)  # noqa: LOG001  # of this lab alone
        handler = logging.Handler()
        handler.emit = self.log_records.append  # type: ignore[method-assign]
        self.log.addHandler(handler)
        self.context = self.new_context()
        self._asking: list[Any] = []
        self._authenticators: list[Any] = []

    # What the two kinds have each in their own way:

    def new_context(self) -> Any:
        raise NotImplementedError

    def make(self, context: Any, **options: Any) -> Any:
        """An authenticator that is not started."""
        raise NotImplementedError

    def sleep(self, seconds: float = 0) -> None:
        raise NotImplementedError

    def socket(self, kind: int, context: Any = None) -> Any:
        """A socket whose calls wait here."""
        return (context or self.context).socket(kind)

    # What they have in common:

    def authenticator(self, context: Any = None, *, start: bool = True, **options: Any) -> Any:
        auth = self.make(context or self.context, log=self.log, **options)
        self._authenticators.append(auth)
        if start:
            auth.start()
        return auth

    def send(self, request: list[bytes], context: Any = None) -> Any:
        """Ask, and come back with the one who has asked."""
        dealer = self.socket(zmq.DEALER, context)
        dealer.linger, dealer.rcvtimeo = 0, int(self.patience * 1000)
        dealer.connect(ENDPOINT)
        dealer.send_multipart(request)
        self._asking.append(dealer)
        return dealer

    def answer(self, dealer: Any, seconds: float | None = None) -> list[bytes] | None:
        """The frames of the answer; None if there comes none."""
        if seconds is not None:
            dealer.rcvtimeo = int(seconds * 1000)
        try:
            found: list[bytes] = dealer.recv_multipart()
        except zmq.Again:
            return None
        return found

    def ask(self, mechanism: bytes, *credentials: bytes, **where: Any) -> tuple[bytes, bytes] | None:
        """The status and the user id that are answered to one request."""
        found = self.answer(self.send(frames(mechanism, *credentials, **where)))
        return None if found is None else (found[3], found[5])

    def lets_in(self, mechanism: bytes, *credentials: bytes, **where: Any) -> bool:
        """Whether a client is let in; one that has no answer is neither in nor out."""
        found = self.ask(mechanism, *credentials, **where)
        assert found is not None, "no answer"
        return found[0] == b"200"

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition`."""
        end = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < end, f"{condition} does not come true"
            self.sleep(0.001)

    def keys(self, *names: str) -> tuple[Path, list[bytes]]:
        """A folder of certificates by these names, and their public keys as they come in a request."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        keys = []
        for name in names:
            from zmq.auth import create_certificates, load_certificate

            public, _ = create_certificates(folder, name)
            keys.append(z85.decode(load_certificate(public)[0]))
        return folder, keys

    def logged(self) -> str:
        """All that was logged, tracebacks included."""
        return "\n".join(map(logging.Formatter().format, self.log_records))

    def close(self) -> None:
        for auth in self._authenticators:
            auth.stop()
        for dealer in self._asking:
            dealer.close()
        self.context.destroy(linger=0)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Green(Lab):
    """greenzmq's, on a hub."""

    def __init__(self, hub: Any, **options: Any) -> None:
        import greenzmq.auth

        self.hub = hub
        self._zmq = greenzmq
        self._options = options
        super().__init__()

    def new_context(self) -> Any:
        return self._zmq.Context(hub=self.hub)

    def make(self, context: Any, **options: Any) -> Any:
        return self._zmq.auth.Authenticator(context, **self._options, **options)

    def sleep(self, seconds: float = 0) -> None:
        self.hub.sleep(seconds)

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.hub.spawn(function, *args)


class Awaitable(Green):
    """`greenzmq.aio`: its contexts are guarded by the same authenticator. Those who ask are greenlets on the loop."""

    def new_context(self) -> Any:
        import greenzmq.aio

        return greenzmq.aio.Context()

    def socket(self, kind: int, context: Any = None) -> Any:
        import greenzmq.asyncio

        return (context or self.context).socket(kind, socket_class=greenzmq.asyncio.Socket)


class Native(Lab):
    """pyzmq's `ThreadAuthenticator`, whose callbacks are called in its thread."""

    patience = 1.0

    def new_context(self) -> Any:
        return zmq.Context()

    def make(self, context: Any, **options: Any) -> Any:
        from zmq.auth.thread import ThreadAuthenticator

        options.pop("callback_timeout", None)
        return ThreadAuthenticator(context, **options)

    def sleep(self, seconds: float = 0) -> None:
        time.sleep(seconds)
