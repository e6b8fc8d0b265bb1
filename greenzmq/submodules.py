"""pyzmq's submodules under our names: ``greenzmq.gevent.error`` *is* `zmq.error`.

A second copy would do harm: its `Again` catches nothing that a socket raises. So a submodule of a namespace is one more
entry in `sys.modules` for pyzmq's module, made when it is first imported. Two finders see to it:

- `_Namespaces`, the last of all, finds the direct submodules of a namespace. What greenzmq has for itself under a name
  (`greenzmq.asyncio`, `greenzmq.decorators`) has been found by then.
- `_BelowPyzmq`, the first of all, finds what is deeper, such as ``greenzmq.gevent.utils.z85``. Its parent is pyzmq's
  package, so the ``__path__`` leads the finders of the interpreter to pyzmq's file, and they would load it once more.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType

__all__ = ["alias", "open_namespace"]

#: Submodules that each namespace has for itself, since pyzmq's would wait in the wrong way. `greenzmq.<name>` has a
#: function `for_namespace` that makes them.
_OURS = ("auth", "decorators", "devices")
#: Of these, the ones that are packages in pyzmq. Here one module stands for all that pyzmq has in there.
_PACKAGES = ("auth", "devices")

_namespaces: set[str] = set()


def open_namespace(name: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Have pyzmq's submodules found in the module `name`, which needs a ``__path__``, as packages have; [] will do.

    Returns
    -------
    two functions
        The ``__getattr__`` and the ``__dir__`` of that module. The attributes are its own `auth`, `decorators` and
        `devices`, and what `zmq` has besides ``zmq.__all__``. An error names the module that was asked, not `zmq`.
    """
    _namespaces.add(name)

    def getattr_of_module(attribute: str) -> Any:
        if attribute in _OURS:
            return import_module(f"{name}.{attribute}")
        if attribute in zmq.__all__ or (hasattr(zmq, attribute) and not attribute.startswith("__")):
            return getattr(zmq, attribute)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    def dir_of_module() -> list[str]:
        module = sys.modules[name]
        special = (attribute for attribute in vars(module) if attribute.startswith("__"))
        submodules = (attribute for attribute in vars(zmq) if f"zmq.{attribute}" in sys.modules and attribute[0] != "_")
        return sorted({*module.__all__, *special, *submodules, *_OURS})

    return getattr_of_module, dir_of_module


class _Namespaces(MetaPathFinder):
    """Finds the direct submodules of a namespace."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, child = fullname.rpartition(".")
        if parent in _namespaces:
            return ModuleSpec(fullname, _Maker()) if child in _OURS else alias(fullname, f"zmq.{child}")
        above, _, package = parent.rpartition(".")
        if above in _namespaces and package in _PACKAGES and find_spec(f"zmq.{package}.{child}"):
            return alias(fullname, parent, package=False)
        return None


class _BelowPyzmq(MetaPathFinder):
    """Finds the submodules of pyzmq's packages, where these are imported under one of our names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("greenzmq."):
            return None
        parent, _, child = fullname.rpartition(".")
        name = sys.modules[parent].__name__ if parent in sys.modules else parent
        return None if name == parent else alias(fullname, f"{name}.{child}")


class _Maker(Loader):
    """Makes the submodules that a namespace has for itself."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        namespace, _, child = spec.name.rpartition(".")
        made: ModuleType = import_module(f"greenzmq.{child}").for_namespace(sys.modules[namespace])
        return made

    def exec_module(self, module: ModuleType) -> None:
        """It is whole already."""


class _Alias(Loader):
    """Has `target` imported under another name.

    The import system writes its ``__spec__`` into the module that a loader creates. pyzmq's module has to keep its own,
    so this one lets an empty module be created, and puts pyzmq's in the place of that in `sys.modules`, as any module
    may do while it is executed.
    """

    def __init__(self, target: ModuleSpec) -> None:
        self._target = target

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self._target.name)

    def get_code(self, fullname: str) -> CodeType | None:
        """For ``python -m greenzmq.gevent.log``."""
        loader: Any = self._target.loader
        code: CodeType | None = loader.get_code(self._target.name)
        return code

    def get_source(self, fullname: str) -> str | None:
        """For tracebacks out of what `get_code` gave."""
        loader: Any = self._target.loader
        source: str | None = loader.get_source(self._target.name)
        return source


def alias(fullname: str, target: str, *, package: bool = True) -> ModuleSpec | None:
    """The spec of `target` under the name `fullname`; None if there is no such module."""
    found = find_spec(target)
    if found is None:
        return None
    package = package and found.submodule_search_locations is not None
    return ModuleSpec(fullname, _Alias(found), origin=found.origin, is_package=package)


sys.meta_path.insert(0, _BelowPyzmq())
sys.meta_path.append(_Namespaces())
