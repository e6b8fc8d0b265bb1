"""The programs of test_submodules.py: pyzmq's submodules under the names that greenzmq's namespaces have for them."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
import zmq

NAMESPACES = ("greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet", "greenzmq.asyncio")
NAMESPACES += ("greenzmq.threading",)
#: What a namespace has for itself under a name of pyzmq's, and why.
OURS = {
    "auth": "pyzmq's authenticators wait in a thread or on asyncio; the modules in there are one in greenzmq",
    "decorators": "pyzmq's make its own contexts and sockets",
    "devices": "pyzmq's stop a patched hub; the modules in there are one in greenzmq",
}
#: What greenzmq itself has for itself besides, and why.
OURS_AT_THE_TOP = {
    "asyncio": "a namespace; pyzmq's is zmq.asyncio",
}
#: These can be imported wherever pyzmq can, so not all that is compared has failed.
NO_EXCUSE = {"error", "constants", "sugar.socket", "backend", "utils.z85", "utils.jsonapi", "log.handlers", "ssh"}
NO_EXCUSE |= {"auth.thread", "auth.certs", "decorators", "devices.basedevice"}


def import_statement(package: str, name: str) -> Any:
    names: dict[str, Any] = {}
    exec(f"import {package}.{name}", names)
    return eval(f"{package}.{name}", names)


def from_package(package: str, name: str) -> Any:
    names: dict[str, Any] = {}
    parent, _, child = f"{package}.{name}".rpartition(".")
    exec(f"from {parent} import {child} as module", names)
    return names["module"]


def from_module(package: str, name: str) -> Any:
    names: dict[str, Any] = {}
    exec(f"from {package}.{name} import __name__ as full_name", names)
    return sys.modules[names["full_name"]]


def import_module(package: str, name: str) -> Any:
    return importlib.import_module(f"{package}.{name}")


def attribute(package: str, name: str) -> Any:
    """pyzmq's module has been imported by pyzmq's own name, or else it would be no attribute of `zmq`, either."""
    importlib.import_module(f"zmq.{name}")
    found = importlib.import_module(package)
    for part in name.split("."):
        found = getattr(found, part)
    return found


SPELLINGS: dict[str, Callable[[str, str], Any]] = {
    "import a.b.c": import_statement,
    "from a.b import c": from_package,
    "from a.b.c import name": from_module,
    "import_module": import_module,
    "attribute": attribute,
}


def compare(spelling: str) -> None:
    """Print what is wrong with each submodule of pyzmq in each namespace, imported there first."""
    found = [each.name for each in pkgutil.walk_packages(zmq.__path__, "zmq.", onerror=str)]
    names = [name.partition(".")[2] for name in found if not name.endswith(".__main__")]  # a program, which runs
    compared = set()
    for namespace in NAMESPACES:
        for name in names:
            ours, theirs = (outcome(SPELLINGS[spelling], package, name) for package in (namespace, "zmq"))
            wrong = difference(namespace, name, ours, theirs)
            if wrong:
                print(f"{namespace}.{name}: {wrong}")
            if not isinstance(theirs, Exception):
                compared.add(name)
    print("not compared:", *NO_EXCUSE - compared)


def outcome(spelling: Callable[[str, str], Any], package: str, name: str) -> Any:
    try:
        return spelling(package, name)
    except Exception as error:  # some of pyzmq's lack what they need: tornado, cffi
        return error


def difference(namespace: str, name: str, ours: Any, theirs: Any) -> str | None:
    """What is not as it has to be."""
    first, _, below = name.partition(".")
    if first in OURS_AT_THE_TOP and namespace == "greenzmq":
        right = isinstance(ours, (ImportError, AttributeError)) if below else ours is sys.modules[f"greenzmq.{first}"]
        return None if right else f"{ours!r}, not greenzmq's own"
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        return None if type(ours) is type(theirs) else f"{ours!r}, not {theirs!r}"
    expected = sys.modules[f"{namespace}.{first}"] if first in OURS else theirs
    if ours is not expected:
        return f"{ours!r}, not {expected!r}"
    module: Any = sys.modules[f"zmq.{name}"]  # zmq.green.device is a function and a module
    if not (module.__spec__.name == module.__name__ == f"zmq.{name}" and module.__spec__.loader is module.__loader__):
        return f"pyzmq's module has got the spec {module.__spec__}"
    return None


def import_first(name: str) -> Any:
    """Import a module by one of our names before anything has imported it."""
    module = importlib.import_module(name)
    assert module is sys.modules[name]
    return module


def others() -> None:
    """What else is done with modules by their names."""
    import pickle
    from importlib.util import find_spec

    import greenzmq.gevent

    spec = find_spec("greenzmq.gevent.utils.jsonapi")
    assert spec is not None
    assert spec.name == "greenzmq.gevent.utils.jsonapi"
    assert "greenzmq.gevent.utils.jsonapi" not in sys.modules, "to look for it imports it"
    error = import_first("greenzmq.gevent.error")
    assert importlib.reload(error) is error is zmq.error
    assert pickle.loads(pickle.dumps(error.Again)) is error.Again
    assert pkgutil.resolve_name("greenzmq.gevent.utils.z85:encode") is zmq.utils.z85.encode
    assert [*pkgutil.iter_modules(greenzmq.gevent.__path__)] == []
    for missing in ("greenzmq.gevent.nonsense", "greenzmq.gevent.utils.nonsense", "greenzmq.gevent.error.nonsense"):
        with pytest.raises(ModuleNotFoundError) as caught:
            importlib.import_module(missing)
        assert caught.value.name == missing
    for ours in ("auth", "decorators", "devices"):
        module = import_first(f"greenzmq.gevent.{ours}")
        assert module.__spec__.name == module.__name__ == f"greenzmq.gevent.{ours}"
        assert module is getattr(greenzmq.gevent, ours)
    print("all right")


def from_many_threads() -> None:
    """The same module, for the first time, from several threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    for namespace in NAMESPACES:
        importlib.import_module(namespace)  # here, since eventlet may not be imported first in another thread
    names = [f"{namespace}.log.handlers" for namespace in NAMESPACES] * 2
    with ThreadPoolExecutor(len(names)) as executor:
        modules = {*executor.map(importlib.import_module, names)}
    print(*(module.__name__ for module in modules))
