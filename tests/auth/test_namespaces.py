"""`greenzmq.<namespace>.auth`: greenzmq's own, whatever was imported before."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import zmq
import zmq.auth.asyncio
import zmq.auth.thread
from support.children import Child, need, run
from support.forked import RUNTIMES

import greenzmq.auth

NAMESPACES = (
    "greenzmq",
    "greenzmq.selector",
    "greenzmq.gevent",
    "greenzmq.eventlet",
    "greenzmq.asyncio",
    "greenzmq.aio",
    "greenzmq.threading",
)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_namespaces_have_their_own(namespace: str) -> None:
    """It guards the namespace's own context, and the modules below it are the same one."""
    module: Any = importlib.import_module(namespace)
    auth = module.auth
    assert auth is importlib.import_module(f"{namespace}.auth")
    assert issubclass(auth.Authenticator, greenzmq.auth.Authenticator)
    assert auth.Authenticator().context is module.Context.instance()
    module.Context.instance().term()
    for name in ("base", "certs", "thread", "asyncio"):
        assert importlib.import_module(f"{namespace}.auth.{name}") is auth
    assert auth.ThreadAuthenticator is auth.Authenticator
    assert issubclass(auth.AsyncioAuthenticator, greenzmq.auth.Authenticator)
    for name in ("CURVE_ALLOW_ANY", "create_certificates", "load_certificate", "load_certificates"):
        assert getattr(auth, name) is getattr(zmq.auth, name)
    assert {*zmq.auth.__all__} <= {*auth.__all__} if hasattr(zmq.auth, "__all__") else True


IMPORTS = (
    "import zmq.auth",
    "from zmq.auth.thread import ThreadAuthenticator",
    "import greenzmq.auth",
    "import zmq; zmq.auth = None",
    "from greenzmq.{0}.auth.thread import ThreadAuthenticator",
    "import greenzmq.{0}.auth",
    "pass",
)


@pytest.mark.parametrize("namespace", ["gevent", "eventlet", "selector", "asyncio", "aio", "threading"])
def test_whatever_was_imported_before(request: pytest.FixtureRequest, namespace: str) -> None:
    """Seen to fail when the namespaces asked pyzmq: an AttributeError, and pyzmq's module once somebody imported it."""
    for first in IMPORTS:
        then = f"import greenzmq.{namespace} as zmq\nprint(zmq.auth.Authenticator.__module__)"
        program = f"{first.format(namespace)}\n{then}"
        needs = (namespace,) if namespace in ("gevent", "eventlet") else ()
        child = Child(program, needs=needs, imported=RUNTIMES)
        need(request, child)
        done = run(child)
        assert (done.status, done.out.strip()) == (0, f"greenzmq.{namespace}.auth"), (first, done)


def test_the_interface_is_pyzmqs() -> None:
    """Each public method of `ThreadAuthenticator` is there with its parameters, in order and with their defaults.

    But for `handle_zap_message`, which is for those who receive the requests themselves.
    """
    theirs, ours = zmq.auth.thread.ThreadAuthenticator, greenzmq.auth.Authenticator
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if (name.startswith("_") and name != "__init__") or name == "handle_zap_message":
            continue
        expected = inspect.signature(method).parameters.values()
        found = [*inspect.signature(getattr(ours, name)).parameters.values()][: len(expected)]
        assert [(one.name, one.default, one.kind) for one in found] == [
            (one.name, one.default, one.kind) for one in expected
        ], name
    expected_names = [*inspect.signature(zmq.auth.asyncio.AsyncioAuthenticator).parameters]
    assert [*inspect.signature(greenzmq.auth.AsyncioAuthenticator).parameters][:4] == expected_names
