"""A `Lab` to test authenticators: greenzmq's on any hub, and pyzmq's in native threads, by the same tests.

`Lab.ask` sends a ZAP request to the handler, as libzmq does. A test chooses its frames, and so can send requests that
no client causes. Tests with real clients are in ``test_handshakes.py``.
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
__all__ += ["Threads", "line"]

Line = Callable[[Any], None]
LINES: dict[str, Line] = {}
#: The names of those that pyzmq's authenticator gets wrong.
BETTER: list[str] = []

KEY = bytes(range(32))
Z85 = z85.encode(KEY)
#: Seconds: longer than any test.
NEVER = 1000.0
ENDPOINT = "inproc://zeromq.zap.01"
#: Seconds that an answer may take.
PATIENCE = 5.0


def line(function: Line) -> Line:
    """Add a function to `LINES`. Each is a line of the list of what an authenticator has to do."""
    LINES[function.__name__] = function
    return function


def better(function: Line) -> Line:
    """Add a function to `LINES`, and to `BETTER`: pyzmq's authenticator gets it wrong."""
    BETTER.append(function.__name__)
    return line(function)


def frames(
    mechanism: bytes, *credentials: bytes, domain: bytes = b"", address: bytes = b"127.0.0.1", number: bytes = b"1"
) -> list[bytes]:
    """Return the frames of a request, as libzmq sends them."""
    return [b"", b"1.0", number, domain, address, b"routing id", mechanism, *credentials]


class Provider:
    """A credentials_provider that calls this function as its callback."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback


class Lab:
    """A context, its authenticators, and the sockets that send requests to them. Ends all of them."""

    patience = PATIENCE
    runs_threads = False  # whether callbacks have threads of their own, into which nobody can look

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

    # Different in each kind of Lab:

    def new_context(self) -> Any:
        raise NotImplementedError

    def make(self, context: Any, **options: Any) -> Any:
        """Make an authenticator. It is not started."""
        raise NotImplementedError

    def sleep(self, seconds: float = 0) -> None:
        raise NotImplementedError

    def socket(self, kind: int, context: Any = None) -> Any:
        """Make a socket for a test to send a request, or to receive from."""
        return (context or self.context).socket(kind)

    # The same in all:

    def authenticator(self, context: Any = None, *, start: bool = True, **options: Any) -> Any:
        auth = self.make(context or self.context, log=self.log, **options)
        self._authenticators.append(auth)
        if start:
            auth.start()
        return auth

    def send(self, request: list[bytes], context: Any = None) -> Any:
        """Send a request. Return the socket that will get the answer."""
        dealer = self.socket(zmq.DEALER, context)
        dealer.linger, dealer.rcvtimeo = 0, int(self.patience * 1000)
        dealer.connect(ENDPOINT)
        dealer.send_multipart(request)
        self._asking.append(dealer)
        return dealer

    def answer(self, dealer: Any, seconds: float | None = None) -> list[bytes] | None:
        """Return the frames of the answer, or None if no answer comes in time."""
        if seconds is not None:
            dealer.rcvtimeo = int(seconds * 1000)
        try:
            found: list[bytes] = dealer.recv_multipart()
        except zmq.Again:
            return None
        return found

    def ask(self, mechanism: bytes, *credentials: bytes, **where: Any) -> tuple[bytes, bytes] | None:
        """Send a request. Return the status and the user id of the answer, or None if no answer comes."""
        found = self.answer(self.send(frames(mechanism, *credentials, **where)))
        return None if found is None else (found[3], found[5])

    def lets_in(self, mechanism: bytes, *credentials: bytes, **where: Any) -> bool:
        """Whether a client is let in. That no answer comes is an error."""
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
        """Make a folder with certificates of these names. Return it and their public keys, as a request has them."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        keys = []
        for name in names:
            from zmq.auth import create_certificates, load_certificate

            public, _ = create_certificates(folder, name)
            keys.append(z85.decode(load_certificate(public)[0]))
        return folder, keys

    def logged(self) -> str:
        """Return everything that was logged, with tracebacks."""
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
    """A Lab for greenzmq's authenticator, on a hub."""

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
        self._zmq.hub().sleep(seconds)  # of this thread: on native threads a callback has its own

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.hub.spawn(function, *args)


class Awaitable(Green):
    """A Lab for the contexts of `greenzmq.aio`. The same authenticator guards them; greenlets send the requests."""

    def new_context(self) -> Any:
        import greenzmq.aio

        return greenzmq.aio.Context()

    def socket(self, kind: int, context: Any = None) -> Any:
        import greenzmq.asyncio

        return (context or self.context).socket(kind, socket_class=greenzmq.asyncio.Socket)


class Threads(Green):
    """`greenzmq.threading`, whose authenticators and callbacks have threads of their own."""

    runs_threads = True

    def new_context(self) -> Any:
        import greenzmq.threading

        return greenzmq.threading.Context()


class Native(Lab):
    """A Lab for pyzmq's `ThreadAuthenticator`, which calls callbacks in its own thread."""

    patience = 1.0

    def new_context(self) -> Any:
        return zmq.Context()

    def make(self, context: Any, **options: Any) -> Any:
        from zmq.auth.thread import ThreadAuthenticator

        options.pop("callback_timeout", None)
        return ThreadAuthenticator(context, **options)

    def sleep(self, seconds: float = 0) -> None:
        time.sleep(seconds)
