"""The public `Authenticator`: its configuration, and the verdicts on requests that follow from it."""

from __future__ import annotations

import codecs
import inspect
import logging
import os
from collections.abc import Mapping
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar

import zmq
from zmq.utils import z85

from .. import hubs
from ..errors import BlockingCallError
from ..hubs.detection import coroutine_loop
from ..sockets.context import Context
from ..waiting.limits import as_seconds
from .policies import Addresses, Callback, Domains, KeyRule, Passwords, key_rule
from .server import Server, choice_of
from .zap import Request, Verdict, allowed, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from ..hubs import Hub

__all__ = ["Authenticator"]

#: Seconds. libzmq gives up a handshake after ``HANDSHAKE_IVL``, which is 30 s by default.
CALLBACK_TIMEOUT = 10.0
#: Each callback is a greenlet of about 20 kB. So many new clients at once are rare, and a client that is turned away
#: tries again within a tenth of a second (``RECONNECT_IVL``).
MAX_CALLBACKS = 200


class Authenticator:
    """Decides who may connect to the sockets of a context. Runs in greenlets of the context's hub.

    It takes the place of pyzmq's `ThreadAuthenticator` and `AsyncioAuthenticator`, has their methods, and needs no
    thread; on `greenzmq.threading` it has one of its own, and so has each callback. While it runs, libzmq asks it about
    each connection to a PLAIN or CURVE server of the context, and to a NULL server that has a ``ZAP_DOMAIN``. Without
    any configuration,

    - NULL clients are let in, with the user id ``anonymous``;
    - PLAIN and CURVE clients are kept out;
    - GSSAPI clients are let in, with their principal as the user id, since Kerberos has checked them.

    It can be configured before `start`, and while it runs. A change takes effect at the next connection. Passwords and
    keys are configured for a domain, which is the ``ZAP_DOMAIN`` of the server's socket. The domain ``"*"`` stands for
    every domain that has no configuration of its own for the mechanism. A later call for a domain replaces an earlier
    one. If a call raises, its domain is closed.

    Start the authenticator before the servers bind. Without one, a PLAIN server lets in anybody, and a CURVE server
    anybody who has its public key.

    Parameters
    ----------
    context : Context, optional
        The context whose sockets it guards: a green one, one of `greenzmq.aio`, or pyzmq's own. None means
        ``Context.instance()``.
    encoding : str
        The encoding of domains, users' names and passwords.
    log : logging.Logger, optional
        The logger; None means ``zmq.auth``. No password is ever logged.
    callback_timeout : float
        Seconds that a callback may take. After that the client is refused, and the callback's greenlet is killed.
        libzmq itself gives up a client after the ``HANDSHAKE_IVL`` of the server's socket.
    max_callbacks : int
        How many callbacks may run at once. Further clients are turned away, and try again by themselves.

    Examples
    --------
    >>> import greenzmq as zmq
    >>> with zmq.Context() as context, zmq.auth.Authenticator(context) as auth, context.socket(zmq.REP) as server:
    ...     auth.configure_plain("*", {"user": "password"})
    ...     server.plain_server = True
    ...     port = server.bind_to_random_port("tcp://127.0.0.1")
    """

    _greenzmq_context_class: ClassVar[Any] = Context

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        encoding: str = "utf-8",
        log: Any = None,
        *,
        callback_timeout: float = CALLBACK_TIMEOUT,
        max_callbacks: int = MAX_CALLBACKS,
    ) -> None:
        codecs.lookup(encoding)
        self.callback_timeout = as_seconds(callback_timeout, "callback_timeout")
        self.max_callbacks = max_callbacks
        if min(self.callback_timeout, max_callbacks) < 0:
            raise ValueError(
                f"callback_timeout and max_callbacks have to be 0 or more, not {callback_timeout} and {max_callbacks}"
            )
        self.context: zmq.Context[Any] = self._greenzmq_context_class.instance() if context is None else context
        self.encoding = encoding
        self.log = log or logging.getLogger("zmq.auth")
        self._addresses = Addresses()
        self._plain = Domains(Passwords(None))
        self._curve = Domains(KeyRule())
        self._server: Server | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to guard the context, on the hub on which this greenlet or coroutine runs.

        Raises
        ------
        zmq.ZMQError
            ``EADDRINUSE``: this authenticator is started already, or the context has another one, which goes on.
        HubError
            The context's hub is not the one that runs here. The authenticator could not run, and nobody would get in.

        Notes
        -----
        Switches: never. On `greenzmq.threading` it blocks until its thread has begun.
        """
        if self.is_alive():
            raise zmq.ZMQError(zmq.EADDRINUSE, f"{self!r} is started already")
        self._server = Server(
            self.context,
            self._hub_here(),
            self._judge,
            self.log,
            encoding=self.encoding,
            callback_timeout=self.callback_timeout,
            max_callbacks=self.max_callbacks,
        )

    def stop(self) -> None:
        """End the guard. Clients in the handshake are turned away, and callbacks that still run are killed.

        Does nothing if the authenticator is not started. May be called in any thread, greenlet, coroutine and callback
        of the hub.

        Notes
        -----
        Switches: where it can wait. It waits until the greenlets have ended, but no longer than half a second.
        """
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def is_alive(self) -> bool:
        """Whether it runs: it was started, and neither `stop` nor the end of its context or hub has ended it."""
        return self._server is not None and self._server.alive

    @property
    def zap_socket(self) -> zmq.Socket[Any] | None:
        """The ROUTER with which it answers libzmq. None if it is not started."""
        return None if self._server is None else self._server.socket

    def __enter__(self) -> Self:
        """Start it, unless it is started."""
        if not self.is_alive():
            self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<greenzmq.auth.Authenticator of {self.context!r}, {'alive' if self.is_alive() else 'not alive'}>"

    # -- configuration -------------------------------------------------------------------------------------------------

    def allow(self, *addresses: str) -> None:
        """Keep out all clients except those with these addresses. These still need their password or key.

        Parameters
        ----------
        *addresses : str
            IP addresses, and networks such as ``"10.0.0.0/8"``. A client over ipc has no address, so it is kept out.

        Raises
        ------
        ValueError
            `deny` was called before, or one of these is no IP address. Nothing is changed.
        """
        self._addresses.allow(addresses)

    def deny(self, *addresses: str) -> None:
        """Keep out clients with these addresses, even if their password or key is right. See `allow`."""
        self._addresses.deny(addresses)

    def configure_plain(self, domain: str = "*", passwords: Mapping[str, str] | None = None) -> None:
        """Let in PLAIN clients of the domain by name and password. The name is the user id.

        Parameters
        ----------
        domain : str
            The ``ZAP_DOMAIN`` of the server's socket; ``"*"`` stands for all domains without passwords of their own.
        passwords : dict, optional
            The passwords by users' names, in place of earlier ones. The dict itself is read for each client, so a
            change in it takes effect at once. None, or an empty dict, keeps everybody out. A mapping of a class of your
            own is asked in a greenlet, as a callback is, and may wait.

        Raises
        ------
        TypeError
            The passwords are no dict of str.
        """
        self._plain.configure(domain, lambda: Passwords(passwords))

    def configure_curve(self, domain: str = "*", location: str | os.PathLike[str] = ".") -> None:
        """Let in CURVE clients of the domain by the public keys in a folder.

        Parameters
        ----------
        domain : str
            The ``ZAP_DOMAIN`` of the server's socket; ``"*"`` stands for all domains without a CURVE rule of their own.
        location : str or path
            A folder with ``*.key`` files, such as `create_certificates` makes. It is read in this call only. To revoke
            a key for new connections, delete its file and call this again. Or `CURVE_ALLOW_ANY`, which lets in every
            key.

        Raises
        ------
        OSError
            The folder or a file in it cannot be read.
        ValueError
            A file has no valid public key. As after each error, the domain is closed: keys that were let in before are
            kept out, too.
        """
        self._curve.configure(domain, lambda: key_rule(location))

    def configure_curve_callback(self, domain: str = "*", credentials_provider: Any = None) -> None:
        """Let in those CURVE clients of the domain whose keys a function of the program accepts.

        Parameters
        ----------
        domain : str
            The ``ZAP_DOMAIN`` of the server's socket; ``"*"`` stands for all domains without a CURVE rule of their own.
        credentials_provider : object
            Its method ``callback(domain, key)`` is called with the domain (``"*"`` if there is none) and the key in
            z85. If the result is true, the client is let in; otherwise it is refused. The callback runs in a greenlet
            of its own, and may wait, also for sockets of the same context. On asyncio it may be a coroutine function;
            on other hubs a coroutine is an error. If the callback raises, or takes longer than `callback_timeout`, its
            client is refused, and the traceback is logged.

        Raises
        ------
        TypeError
            The object has no such method.
        """
        self._curve.configure(domain, lambda: Callback(credentials_provider))

    def configure_gssapi(self, domain: str = "*", location: str | None = None) -> None:
        """Do nothing, as in pyzmq: there is nothing to configure."""

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Return the user id of a CURVE client that is let in: its key in z85. May be overridden, and may then wait.

        Parameters
        ----------
        client_public_key : bytes
            The key, in 32 bytes.
        """
        return z85.encode(client_public_key).decode("ascii")

    # -- judgement -----------------------------------------------------------------------------------------------------

    def _hub_here(self) -> Hub:
        choice = choice_of(self.context) or self._greenzmq_context_class._greenzmq_default_hub
        try:
            return hubs.hub_to_wait_on(choice, self.context)
        except BlockingCallError:
            if coroutine_loop() is None:
                raise
            return hubs.hub_to_wait_on(
                "asyncio", self.context
            )  # a coroutine cannot wait, but greenlets on its loop can

    def _judge(self, request: Request, hub: Hub) -> Verdict | Callable[[], Verdict]:
        fault = request.fault or self._addresses.fault(request.address)
        if fault is not None:
            return refused(fault)
        if request.mechanism == "NULL":
            return allowed(b"anonymous")
        if request.mechanism == "PLAIN":
            name, password = request.credentials
            rule = self._plain[request.domain]
            check = partial(rule.check, name, password, self.encoding)
            return check if rule.asks else check()
        if request.mechanism == "GSSAPI":
            principal = request.credentials[0].decode(self.encoding, "replace").encode(self.encoding, "replace")
            # `_as_user_id` would raise, but what a stranger sends is no error of ours.
            return refused("A principal with a NUL in it") if b"\0" in principal else allowed(principal)
        return self._judge_key(request, hub)

    def _judge_key(self, request: Request, hub: Hub) -> Verdict | Callable[[], Verdict]:
        (key,) = request.credentials
        rule = self._curve[request.domain]

        def decide() -> Verdict:
            if not _is_yes(rule.accepts(request.domain, z85.encode(key)), hub):
                return refused("Unknown key")
            return allowed(self._as_user_id(self.curve_user_id(key)))

        has_own_user_id = getattr(self.curve_user_id, "__func__", None) is not Authenticator.curve_user_id
        return decide if rule.asks or has_own_user_id else decide()

    def _as_user_id(self, user_id: str | bytes) -> bytes:
        if not isinstance(user_id, (str, bytes)):
            raise TypeError(f"a user id is a str, not {user_id!r}")
        encoded = user_id.encode(self.encoding, "replace") if isinstance(user_id, str) else user_id
        if b"\0" in encoded:
            raise ValueError(f"the user id {user_id!r} contains a NUL, and the server would get only what is before it")
        return encoded


def _is_yes(answer: Any, hub: Hub) -> bool:
    """Whether the result of a callback lets its client in. On asyncio an awaitable result is awaited."""
    if inspect.isawaitable(answer):
        if hub.name != "asyncio":
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError(
                f"a callback has returned {answer!r}, which can be awaited on asyncio only, and this is {hub.name}: "
                "make it a plain function; it may wait"
            )
        from ..waiting.bridge import await_

        answer = await_(answer)
    if isinstance(answer, (GeneratorType, AsyncGeneratorType)):
        raise TypeError(
            f"a callback has returned the generator {answer!r}, which is no answer: it must not contain yield"
        )
    return bool(answer)
