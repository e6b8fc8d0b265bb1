"""`zmq.green` and `eventlet.green.zmq` while `greenzmq.patch` holds: modules with what greenzmq's namespaces have.

One that was imported before keeps its place, and its names are replaced in it. Else a finder makes it when a program
imports it, so that no runtime is imported unasked.
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

#: The modules, and the namespace that each stands for.
GREEN = {"zmq.green": "gevent", "eventlet.green.zmq": "eventlet"}
#: What a namespace has instead of pyzmq's.
WAITING = (
    *("Context", "Socket", "Poller", "Frame", "Message", "MessageTracker", "SyncContext", "SyncSocket"),
    *("select", "zmq_poll", "proxy", "proxy_steerable", "device"),
)
#: The submodules of `zmq.green` that have names of their own for what waits.
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
        """Find them from now on."""
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Find them no more. What was found is forgotten, so that an import brings pyzmq's and eventlet's own again."""
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
    """Makes the module, and its parts."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        vars(module).update(_members(namespace(GREEN[spec.name])))
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ != "zmq.green":
            return
        # Put there now, not found later: an import would set `zmq.green.device`, which is a function, to the module.
        for name, members in _parts(module).items():
            part = sys.modules[name] = ModuleType(name)
            vars(part).update(members, __loader__=self)


def in_place() -> Iterator[tuple[ModuleType, str, Any]]:
    """What to replace in those that were imported before: the module, the name and the new object."""
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
    """What a program finds in the module: all of `zmq`, with what the namespace `ours` has instead."""
    members = {name: getattr(ours, name) for name in zmq.__all__}
    return {"__doc__": ours.__doc__, "__all__": list(zmq.__all__), "__getattr__": ours.__getattr__, **members}


def _parts(ours: ModuleType) -> dict[str, dict[str, Any]]:
    return {
        f"zmq.green.{part}": {name: getattr(ours, member) for name, member in names.items()}
        for part, names in _PARTS.items()
    }
