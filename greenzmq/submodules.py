"""pyzmq's submodules under our names: ``greenzmq.gevent.error`` *is* `zmq.error`.

A second copy of a module would do harm: an ``except`` with the copy's `Again` would not catch the one that a socket
raises. So a submodule of a namespace is pyzmq's own module, entered in `sys.modules` under a second name when it is
first imported. Two finders do that:

- `_Namespaces` is the last of all finders. It finds the direct submodules of a namespace, except those that greenzmq
  has as files of its own (`greenzmq.asyncio`, `greenzmq.decorators`): the interpreter's finders find these before.
- `_BelowPyzmq` is the first of all finders. It finds deeper modules, such as ``greenzmq.gevent.utils.z85``. The
  interpreter's finders would follow the ``__path__`` of the parent, which is pyzmq's package, and load pyzmq's file a
  second time.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader, MetaPathFinder
    from types import CodeType, ModuleType
else:
    # The import system asks for methods, not for these classes; and up to Python 3.11 `importlib.abc` imports
    # `tempfile`, `urllib.parse` and 20 more, which take a fifth of the import of greenzmq.
    Loader = MetaPathFinder = object

__all__ = ["alias", "open_namespace"]

#: Each namespace has modules of its own under these names, because pyzmq's would wait in the wrong way. The function
#: `for_namespace` of `greenzmq.<name>` makes them.
_OURS = ("auth", "decorators", "devices")
#: Those of them that are packages in pyzmq. Here one module also stands for all submodules of the package.
_PACKAGES = ("auth", "devices")

_namespaces: set[str] = set()


def open_namespace(name: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Have pyzmq's submodules found as submodules of `name`. That module needs a ``__path__``, which may be empty.

    Returns
    -------
    two functions
        The ``__getattr__`` and the ``__dir__`` of that module. They add its own `auth`, `decorators` and `devices`, and
        the names of `zmq`. The error for an unknown attribute names this module, not `zmq`.
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
    """Finds the submodules of pyzmq's packages, if they are imported under one of our names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("greenzmq."):
            return None
        parent, _, child = fullname.rpartition(".")
        name = sys.modules[parent].__name__ if parent in sys.modules else parent
        return None if name == parent else alias(fullname, f"{name}.{child}")


class _Maker(Loader):
    """Makes the modules that a namespace has of its own."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        namespace, _, child = spec.name.rpartition(".")
        made: ModuleType = import_module(f"greenzmq.{child}").for_namespace(sys.modules[namespace])
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: `create_module` has filled the module already."""


class _Alias(Loader):
    """Imports the module `target` under another name.

    Fact: the import system writes a new ``__spec__`` into the module that a loader creates. Consequence: to return
    pyzmq's module there would overwrite its own. Choice: an empty module is created, and `exec_module` puts pyzmq's in
    its place in `sys.modules`, as any module may do for itself while it is executed.
    """

    def __init__(self, target: ModuleSpec) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None: the module is made as usual."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self._target.name)

    def get_code(self, fullname: str) -> CodeType | None:
        """For ``python -m greenzmq.gevent.log``."""
        loader: Any = self._target.loader
        code: CodeType | None = loader.get_code(self._target.name)
        return code

    def get_source(self, fullname: str) -> str | None:
        """For tracebacks from the code that `get_code` has returned."""
        loader: Any = self._target.loader
        source: str | None = loader.get_source(self._target.name)
        return source


def alias(fullname: str, target: str, *, package: bool = True) -> ModuleSpec | None:
    """Return a spec that imports the module `target` as `fullname`. None if there is no such module."""
    found = find_spec(target)
    if found is None:
        return None
    package = package and found.submodule_search_locations is not None
    return ModuleSpec(fullname, _Alias(found), origin=found.origin, is_package=package)


sys.meta_path.insert(0, _BelowPyzmq())
sys.meta_path.append(_Namespaces())
