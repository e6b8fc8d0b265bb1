"""`zmq.green` and `eventlet.green.zmq` during a patch: modules with the objects of greenzmq's own namespaces.

If such a module was imported before the patch, the names in it are replaced. Otherwise a finder makes the module when a
program imports it; so the patch does not import a runtime that the program does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import zmq

from ..program import namespace
from ..submodules import alias

__all__ = ["GREEN", "WAITING", "Finder", "in_place"]

#: The modules, and the namespace of greenzmq whose names each gets.
GREEN = {"zmq.green": "gevent", "eventlet.green.zmq": "eventlet"}
#: The names of `zmq` for which a namespace has objects of its own.
WAITING = (
    *("Context", "Socket", "Poller", "Frame", "Message", "MessageTracker", "SyncContext", "SyncSocket"),
    *("select", "zmq_poll", "proxy", "proxy_steerable", "device"),
)
#: The submodules of `zmq.green`, with their own names for some of these objects.
_PARTS = {
    "core": {"_Context": "Context", "_Socket": "Socket"},
    "poll": {"_Poller": "Poller"},
    "device": {"device": "device"},
}
_EVENTLOOP = "zmq.green.eventloop"


class Finder(MetaPathFinder):
    """Finds `zmq.green` and `eventlet.green.zmq`. `zmq.green.eventloop` is `zmq.eventloop`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if fullname in GREEN:
            return ModuleSpec(fullname, _Maker(), is_package=fullname == "zmq.green")
        if fullname == _EVENTLOOP or fullname.startswith(f"{_EVENTLOOP}."):
            return alias(fullname, fullname.replace("zmq.green", "zmq", 1))
        return None

    def start(self) -> None:
        """Find these modules from now on."""
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Stop finding these modules. Forget those that were found, so that a new import finds the original modules."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name in GREEN or name.startswith("zmq.green.")]:
            module = sys.modules[name]
            if module.__name__ != name or isinstance(module.__loader__, _Maker):
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                members = vars(sys.modules[parent]) if parent in sys.modules else {}
                if members.get(child) is module:
                    del members[child]


class _Maker(Loader):
    """Makes such a module, and its submodules."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        vars(module).update(_members(namespace(GREEN[spec.name])))
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ != "zmq.green":
            return
        # Make the submodules now, so that they are not imported later: the import would replace the function
        # `zmq.green.device` by the module of the same name.
        for name, members in _parts(module).items():
            part = sys.modules[name] = ModuleType(name)
            vars(part).update(members, __loader__=self)


def in_place() -> Iterator[tuple[ModuleType, str, Any]]:
    """Yield what to replace in modules that were imported before: the module, the name and the new object."""
    for name, hub in GREEN.items():
        module = sys.modules.get(name)
        if module is None:
            continue
        ours = namespace(hub)
        members = _members(ours)
        for member in WAITING:
            if member in vars(module):
                yield module, member, members[member]
        if name == "zmq.green":
            for part, names in _parts(ours).items():
                if part in sys.modules:
                    for member, value in names.items():
                        yield sys.modules[part], member, value


def _members(ours: ModuleType) -> dict[str, Any]:
    """Return the names of a module: all those of `zmq`, with the objects of the namespace `ours`."""
    members = {name: getattr(ours, name) for name in zmq.__all__}
    return {"__doc__": ours.__doc__, "__all__": list(zmq.__all__), "__getattr__": ours.__getattr__, **members}


def _parts(ours: ModuleType) -> dict[str, dict[str, Any]]:
    """Return the names of each submodule of `zmq.green`, with the objects of the namespace `ours`."""
    return {
        f"zmq.green.{part}": {name: getattr(ours, member) for name, member in names.items()}
        for part, names in _PARTS.items()
    }
