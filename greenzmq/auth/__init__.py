"""Who may connect: an authenticator that runs in greenlets, on every hub. It takes the place of pyzmq's `zmq.auth`.

::

    from greenzmq.auth import Authenticator     # or: from greenzmq.gevent.auth import …

The key files are the same as pyzmq's. Here, and in each namespace, this module also stands for the modules of
`zmq.auth` (``auth.thread``, ``auth.asyncio``, …). `ThreadAuthenticator` and `AsyncioAuthenticator` are other names for
`Authenticator`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zmq.auth import CURVE_ALLOW_ANY as CURVE_ALLOW_ANY
from zmq.auth import create_certificates as create_certificates
from zmq.auth import load_certificate as load_certificate
from zmq.auth import load_certificates as load_certificates

from .authenticator import Authenticator as Authenticator
from .zap import VERSION as VERSION

if TYPE_CHECKING:
    import zmq

__all__ = ["CURVE_ALLOW_ANY", "Authenticator", "create_certificates", "load_certificate", "load_certificates"]

#: The modules of `zmq.auth`. In a namespace each of them is the module `auth` itself.
_MODULES = ("asyncio", "base", "certs", "ioloop", "thread")

ThreadAuthenticator = Authenticator


class AsyncioAuthenticator(Authenticator):
    """`Authenticator` with the arguments of pyzmq's class of this name; `loop` is not used."""

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        loop: Any = None,
        encoding: str = "utf-8",
        log: Any = None,
        **limits: Any,
    ) -> None:
        super().__init__(context, encoding, log, **limits)


class IOLoopAuthenticator(Authenticator):
    """`Authenticator` with the arguments of pyzmq's class of this name; `io_loop` is not used."""

    def __init__(
        self,
        context: zmq.Context[Any] | None = None,
        encoding: str = "utf-8",
        log: Any = None,
        io_loop: Any = None,
        **limits: Any,
    ) -> None:
        super().__init__(context, encoding, log, **limits)


def for_namespace(namespace: ModuleType) -> ModuleType:
    """Make the module `auth` of one of greenzmq's namespaces. Its authenticator guards that namespace's contexts."""
    module = ModuleType(f"{namespace.__name__}.auth", __doc__)
    own = {"_greenzmq_context_class": namespace.Context, "__module__": module.__name__}
    members: dict[str, Any] = {name: globals()[name] for name in (*__all__, "VERSION")}
    members["Authenticator"] = members["ThreadAuthenticator"] = type("Authenticator", (Authenticator,), own)
    for kind in (AsyncioAuthenticator, IOLoopAuthenticator):
        members[kind.__name__] = type(kind.__name__, (kind, members["Authenticator"]), own)
    vars(module).update(members, __all__=__all__, __path__=[], **dict.fromkeys(_MODULES, module))
    return module


globals().update(dict.fromkeys(_MODULES, sys.modules[__name__]))
