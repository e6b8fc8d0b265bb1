"""Hubs by name: the built-in ones, those of other packages, and the errors for a name that cannot be used.

Other packages name theirs in entry points (`greenzmq.hubs.foreign`), which are looked at only when they are needed.
Such an entry may be wrong, or the module that it names may be broken. That is an error only for a program that uses
this hub.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ..errors import MissingHubError, UnknownHubError
from ..process.fork import ForkSafeLock
from .base import Hub
from .words import WORDS, hub_named

if TYPE_CHECKING:
    from .foreign import ForeignHub

__all__ = ["Choice", "KnownHub", "hub_class", "install_line", "known_hubs", "left_out", "may_run_threads"]
__all__ += ["runs_threads"]

Choice = Union[str, "type[Hub]", Hub]


class KnownHub(NamedTuple):
    """A hub that the registry knows by name.

    Attributes
    ----------
    name : str
        The name to pass as ``hub=`` and to `use_hub`.
    path : str
        The place of its class: ``"package.module:Class"``.
    package : str
        The package that it needs; empty if it needs none.
    installed : bool
        Whether that package is installed here. It is not imported for that.
    fault : str
        Why the name cannot be used, if an entry point is wrong in a way that shows without an import. Else empty.
    """

    name: str
    path: str
    package: str
    installed: bool
    fault: str = ""


_BUILT_IN = (
    ("gevent", "greenzmq.hubs.gevent:GeventHub", "gevent"),
    ("eventlet", "greenzmq.hubs.eventlet:EventletHub", "eventlet"),
    ("selector", "greenzmq.hubs.selector:SelectorHub", ""),
    ("asyncio", "greenzmq.hubs.asyncio:AsyncioHub", ""),
    ("threading", "greenzmq.hubs.threading:ThreadingHub", ""),
)
_ALIASES = {"threads": "threading"}
#: Advice for names that no hub has, where the name meant cannot be guessed from the spelling.
_UVLOOP = "uvloop is a loop for the asyncio hub: use 'asyncio', and run your program with uvloop.run(main())"
_MEANT = {"uvloop": _UVLOOP, "asyncio+uvloop": _UVLOOP}

#: Held while something is imported that a wait needs, or an error. Fact: under gevent's monkey patch the locks of
#: Python's imports are gevent's. Consequence: if two native threads import a module at once, they fail or hang, or have
#: a hub of gevent's afterwards. Choice: one thread at a time, by a lock that is none of gevent's.
_importing = ForkSafeLock()

_of_threads: set[type[Hub]] = set()  # those asked for so far that run threads
_classes: dict[str, type[Hub]] = {}  # those imported so far, by the name or path that was given


def known_hubs() -> list[KnownHub]:
    """The built-in hubs, then those of the entry-point group ``greenzmq.hubs``."""
    known = [KnownHub(name, path, package, not package or _is_installed(package)) for name, path, package in _BUILT_IN]
    for name, hub in _foreign().items():
        package = "" if hub.fault else hub.path.partition(":")[0].partition(".")[0]
        known.append(KnownHub(name, hub.path, package, not hub.fault, hub.fault))
    return known


def left_out() -> list[str]:
    """The packages that may name a hub, but whose entry points cannot be read; each with the reason, for messages."""
    with _importing.lock:
        from .foreign import left_out as found

        return found()


def install_line(package: str) -> str:
    """The command that installs what a hub runs on."""
    return f"python -m pip install {package}"


def hub_class(choice: Choice) -> type[Hub]:
    """Return the class that `choice` names. Imports it, and with it its runtime.

    Raises
    ------
    UnknownHubError
        No hub has this name; or the object found there is not a hub, or cannot be imported.
    MissingHubError
        The runtime is not installed.
    """
    if isinstance(choice, Hub):
        found = type(choice)
    elif not isinstance(choice, str):
        found = _checked(choice, repr(choice))
    else:
        if choice not in _classes:
            _classes[choice] = _load(choice)
        found = _classes[choice]
    if found.runs_threads:
        _of_threads.add(found)
    return found


def runs_threads(choice: Choice) -> bool:
    """Whether `choice` names a hub whose tasks are native threads. Imports nothing: no for what nobody has loaded."""
    if isinstance(choice, str):
        name = hub_named(_ALIASES.get(choice, choice))
        return name == "threading" or (name in _classes and _classes[name].runs_threads)
    return bool(choice.runs_threads)


def may_run_threads(name: str | None = None) -> bool:
    """Whether a hub that runs threads was ever asked for, or `name` is that of one: else none can have been chosen."""
    return bool(_of_threads) or (name is not None and runs_threads(name))


def _checked(found: object, shown: str) -> type[Hub]:
    if not (isinstance(found, type) and issubclass(found, Hub)):
        raise UnknownHubError(f"{shown} is not a hub: give a name, 'package.module:Class', or a subclass of Hub")
    if lacking := ", ".join(sorted(found.__abstractmethods__)):
        raise UnknownHubError(
            f"{shown} is no complete hub: {found.__module__}:{found.__qualname__} is abstract and lacks {lacking}"
        )
    return found


def _load(name: str) -> type[Hub]:
    path, package, source = _find(name)
    try:
        found = _import(path)
    except ModuleNotFoundError as error:
        if package and error.name == package:
            raise MissingHubError(
                f"hub {name!r} needs the package {package}, which is not installed: {install_line(package)}. "
                f"{_installed()}"
            ) from error
        raise UnknownHubError(f"hub {name!r}{source} cannot be imported: {error}. {_installed()}") from error
    except (ImportError, AttributeError) as error:
        raise UnknownHubError(f"hub {name!r}{source} cannot be imported: {error}. {_installed()}") from error
    except Exception as error:  # a module of another package may raise anything when it is imported
        raise UnknownHubError(
            f"hub {name!r}{source} cannot be imported: {type(error).__name__}: {error}. {_installed()}"
        ) from error
    return _checked(found, f"{name!r}{source}")


def _find(name: str) -> tuple[str, str, str]:
    """The path of a hub's class, the package that it needs, and, for messages, which other package has named it."""
    alias = _ALIASES.get(name, name)
    for known, path, package in _BUILT_IN:
        if alias == known:
            return path, package, ""
    if hub := _foreign().get(name):
        if hub.fault:
            raise UnknownHubError(f"hub {name!r} cannot be used: {hub.fault}. {_installed(name)}")
        return hub.path, "", f", from {hub.origin},"
    if (meant := hub_named(name)) != name:
        return _find(meant)
    if ":" in name:
        if not is_path(name):
            raise UnknownHubError(f"{name!r} is not a path to a hub: give 'package.module:Class'. {_installed()}")
        return name, "", ""
    raise UnknownHubError(
        f"no hub is named {name!r}. {_installed()} {_suggestion(name)}"
        "A hub of your own is given as 'package.module:Class' or through the entry-point group greenzmq.hubs"
    )


def _installed(asked: str = "") -> str:
    """For messages: what hubs are installed; the names, besides `asked`, and the packages that cannot be used."""
    known = known_hubs()
    said = f"Installed here: {', '.join(hub.name for hub in known if hub.installed)}."
    faults = [f"Unusable: {hub.name!r} ({hub.fault})." for hub in known if hub.fault and hub.name != asked]
    unread = [f"Left out, since its entry points cannot be read: {package}." for package in left_out()]
    return " ".join((said, *faults, *unread))


def _suggestion(name: str) -> str:
    """A sentence with the name that may have been meant by a wrong one; empty if there is none."""
    with _importing.lock:
        import difflib

    asked = name.strip().lower()
    if asked in _MEANT:
        return f"{_MEANT[asked]}. "
    names = sorted(hub.name for hub in known_hubs())
    others = sorted({*_ALIASES, *(word for word, _, _ in WORDS)})
    close = difflib.get_close_matches(asked, names, 1) or difflib.get_close_matches(asked, others, 1)
    return f"Did you mean {close[0]!r}? " if close else ""


def is_path(path: str) -> bool:
    """Whether it is written as the path to an object, such as ``"package.module:Class"``."""
    module, _, attribute = path.partition("[")[0].partition(":")  # extras may follow in brackets
    return all(part.strip().isidentifier() for part in (*module.split("."), *attribute.split(".")))


def _import(path: str) -> Any:
    """Import the object at a path that `is_path`."""
    module, _, attribute = path.partition("[")[0].partition(":")
    with _importing.lock:
        found = importlib.import_module(module.strip())
    for name in filter(None, attribute.strip().split(".")):
        found = getattr(found, name.strip())
    return found


def _foreign() -> dict[str, ForeignHub]:
    """The hubs of other packages, by name. A name that is taken here means what it means here."""
    with _importing.lock:
        from .foreign import foreign_hubs

        return foreign_hubs({*_ALIASES, *(name for name, _, _ in _BUILT_IN)}, is_path)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # its module has no spec: it was put into sys.modules by hand
        return package in sys.modules
