"""`zmq.green` and `eventlet.green.zmq` during a patch: modules with the same green names as `zmq`.

Their sockets wait on the hub that was said, or on the one that runs, whatever the module is called: python-socketio
imports `eventlet.green.zmq` on gevent, too. If such a module was imported before the patch, the names in it are
replaced. Otherwise a finder makes the module when a program imports it; so the patch imports no runtime unasked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import zmq

from ..submodules import alias

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object  # see `greenzmq.submodules`

__all__ = ["GREEN", "WAITING", "Finder", "in_place"]

GREEN = ("zmq.green", "eventlet.green.zmq")
#: The names of `zmq` that are replaced.
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
    """Finds `zmq.green` and `eventlet.green.zmq`. `zmq.green.eventloop` is `zmq.eventloop`.

    Parameters
    ----------
    names : dict
        What is in the place of pyzmq's names.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if fullname in GREEN:
            return ModuleSpec(fullname, _Maker(self._names), is_package=fullname == "zmq.green")
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

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name, __doc__)
        vars(module).update({name: vars(zmq)[name] for name in zmq.__all__} | self._names)
        vars(module).update(__all__=list(zmq.__all__), __getattr__=_like_zmq)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ != "zmq.green":
            return
        # Make the submodules now, so that they are not imported later: the import would replace the function
        # `zmq.green.device` by the module of the same name.
        for name, members in _parts(self._names).items():
            part = sys.modules[name] = ModuleType(name)
            vars(part).update(members, __loader__=self)


def in_place(names: dict[str, Any]) -> Iterator[tuple[ModuleType, str, Any]]:
    """Yield what to replace in modules that were imported before: the module, the name and the new object."""
    for name in GREEN:
        module = sys.modules.get(name)
        if module is None:
            continue
        for member in WAITING:
            if member in vars(module):
                yield module, member, names[member]
        if name == "zmq.green":
            for part, members in _parts(names).items():
                if part in sys.modules:
                    for member, value in members.items():
                        yield sys.modules[part], member, value


def _parts(names: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the names of each submodule of `zmq.green`, with the objects in `names`."""
    return {
        f"zmq.green.{part}": {name: names[member] for name, member in members.items()}
        for part, members in _PARTS.items()
    }


def _like_zmq(name: str) -> Any:
    """What `zmq` has besides, such as `zmq.error`."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(zmq, name)
