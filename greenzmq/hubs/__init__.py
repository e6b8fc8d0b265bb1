"""Hubs by name, and the choice between them.

A hub is given as a name (``"gevent"``), as a dotted path (``"package.module:Class"``), as a subclass of `Hub`, or as a
`Hub` itself. Names are the built-in ones and those in the entry-point group ``greenzmq.hubs``. A hub is chosen when a
greenlet first has to wait, never at import, by the first of these rules that applies:

1.  what was said: by a context or namespace, by `use_hub` for the thread, then for the process, by ``$GREENZMQ_HUB``;
2.  the hub this greenlet runs on; 3. a running asyncio loop and none of our greenlets: an error; 4. the gevent or
    eventlet hub that lives in this thread; 5. the runtime that has patched this main thread; 6. the selector loop.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Union

from .. import unpatched
from ..errors import HubError, MissingHubError, UnknownHubError
from .base import Hub, Timer, Watch
from .detection import Decision, detect

__all__ = ["ENVIRONMENT", "Choice", "Decision", "Hub", "KnownHub", "Timer", "Watch", "current_hub", "decide", "get_hub"]
__all__ += ["hub_class", "known_hubs", "use_hub"]

#: The environment variable that names the process's hub.
ENVIRONMENT = "GREENZMQ_HUB"
#: The entry-point group in which other packages name their hubs.
GROUP = "greenzmq.hubs"

Choice = Union[str, "type[Hub]", Hub]


@dataclass(frozen=True)
class KnownHub:
    """A hub that the registry knows by name.

    Attributes
    ----------
    name : str
        What to pass as ``hub=`` and to `use_hub`.
    path : str
        Where its class is: ``"package.module:Class"``.
    package : str
        The package that it needs; empty if it needs none.
    installed : bool
        Whether that package can be imported here. Not imported to find out.
    """

    name: str
    path: str
    package: str
    installed: bool


_BUILT_IN = (
    ("gevent", "greenzmq.hubs.gevent:GeventHub", "gevent"),
    ("eventlet", "greenzmq.hubs.eventlet:EventletHub", "eventlet"),
    ("selector", "greenzmq.hubs.selector:SelectorHub", ""),
    ("asyncio", "greenzmq.hubs.asyncio:AsyncioHub", ""),
)
_ALIASES = {"threading": "selector"}

_process_choice: Choice | None = None
_classes: dict[str, type[Hub]] = {}  # by the names under which they were found
_thread = unpatched.local()


def known_hubs() -> list[KnownHub]:
    """The built-in hubs, then those of the entry-point group ``greenzmq.hubs``."""
    known = [
        KnownHub(name, path, package, not package or importlib.util.find_spec(package) is not None)
        for name, path, package in _BUILT_IN
    ]
    names = {hub.name for hub in known}
    known += [
        KnownHub(entry.name, entry.value, entry.module.partition(".")[0], True)
        for entry in entry_points(group=GROUP)
        if entry.name not in names
    ]
    return known


def hub_class(choice: Choice) -> type[Hub]:
    """The class that `choice` means; imports it, and so its runtime.

    Raises
    ------
    UnknownHubError
        No hub has this name, or what is found there is not a hub.
    MissingHubError
        The runtime is not installed.
    """
    if isinstance(choice, Hub):
        return type(choice)
    found: object = choice
    if isinstance(choice, str):
        if choice in _classes:
            return _classes[choice]
        found = _load(choice)
    if not (isinstance(found, type) and issubclass(found, Hub)):
        raise UnknownHubError(f"{choice!r} is not a hub: give a name, 'package.module:Class', or a subclass of Hub")
    if isinstance(choice, str):
        _classes[choice] = found
    return found


def use_hub(choice: Choice | None, *, thread: bool = False) -> None:
    """Say which hub this process, or this thread, waits on, ahead of ``$GREENZMQ_HUB`` and of any look around.

    A context's own ``hub=`` and the namespaces (`greenzmq.gevent`, …) stand above it. Sockets on which nobody waits
    follow at their next wait.

    Parameters
    ----------
    choice : str, type or Hub, or None
        The hub; None takes back what was said.
    thread : bool
        For this native thread only.

    Raises
    ------
    UnknownHubError, MissingHubError
        At once, not at the first wait.
    """
    global _process_choice
    if choice is not None:
        hub_class(choice)
    if thread:
        _thread.choice = choice
    else:
        _process_choice = choice


def decide(choice: Choice | None = None) -> Decision:
    """Which hub a wait would use here and now, and by which rule. Creates no hub and imports no runtime.

    Parameters
    ----------
    choice : str, type or Hub, optional
        What a context or namespace says.

    Raises
    ------
    BlockingCallError, AmbiguousHubError
        As `greenzmq.hubs.detection.detect`.
    """
    return next(_said(choice), None) or detect()


def get_hub(choice: Choice | None = None) -> Hub:
    """This thread's hub, by the rules above; made if there is none yet.

    Parameters
    ----------
    choice : str, type or Hub, optional
        What a context or namespace says.

    Raises
    ------
    HubError
        Its kinds tell what is wrong, and what to do.
    """
    decided = decide(choice).name
    if isinstance(decided, Hub):
        if decided.thread_id != unpatched.get_ident():
            raise HubError(f"{decided!r} was asked for in thread {unpatched.thread_name()}; name its kind instead")
        return decided
    return hub_class(decided).get()


def current_hub(choice: Choice | None = None) -> Hub | None:
    """`get_hub`, but None where there is no hub yet, or none that could be told. Creates nothing."""
    try:
        decided = decide(choice).name
        hub = decided if isinstance(decided, Hub) else hub_class(decided).current()
    except HubError:
        return None
    return hub if hub is not None and hub.thread_id == unpatched.get_ident() and not hub.inherited else None


def _said(choice: Choice | None) -> Iterator[Decision]:
    """Rule 1, in its own order."""
    if choice is not None:
        yield Decision(choice, 1, "the context or namespace says so")
    if (choice := getattr(_thread, "choice", None)) is not None:
        yield Decision(choice, 1, "use_hub(..., thread=True) says so")
    if _process_choice is not None:
        yield Decision(_process_choice, 1, "use_hub() says so")
    if choice := os.environ.get(ENVIRONMENT):
        yield Decision(choice, 1, f"${ENVIRONMENT} says so")


def _load(name: str) -> object:
    path, package = _find(name)
    try:
        return EntryPoint(name, path, GROUP).load()
    except ModuleNotFoundError as error:
        if package and error.name == package:
            raise MissingHubError(
                f"hub {name!r} needs the package {package}, which is not installed: "
                f'python -m pip install "greenzmq[{package}]". {_installed()}'
            ) from error
        raise UnknownHubError(f"hub {name!r} cannot be imported: {error}. {_installed()}") from error
    except (ImportError, AttributeError) as error:
        raise UnknownHubError(f"hub {name!r} cannot be imported: {error}. {_installed()}") from error


def _find(name: str) -> tuple[str, str]:
    """The path and the package behind a name."""
    name = _ALIASES.get(name, name)
    for known, path, package in _BUILT_IN:
        if name == known:
            return path, package
    if ":" in name:
        return name, ""
    for entry in entry_points(group=GROUP, name=name):
        return entry.value, ""
    raise UnknownHubError(
        f"no hub is named {name!r}. {_installed()} "
        "A hub of your own is given as 'package.module:Class' or through the entry-point group greenzmq.hubs"
    )


def _installed() -> str:
    return f"Installed here: {', '.join(hub.name for hub in known_hubs() if hub.installed)}."
