"""Hubs by name, and the choice between them.

A hub is given as a name (``"gevent"``), as a dotted path (``"package.module:Class"``), as a subclass of `Hub`, or as a
`Hub` itself. Names are the built-in ones and those in the entry-point group ``greenzmq.hubs``. A hub is chosen when a
greenlet first has to wait, never at import, by the first of these rules that applies:

1.  what was said: by a context or namespace, by `use_hub` for the thread, then for the process, by ``$GREENZMQ_HUB``;
2.  the hub this greenlet runs on; 3. a running asyncio loop and none of our greenlets: an error; 4. the gevent or
    eventlet hub that lives in this thread; 5. the runtime that has patched this main thread; 6. the selector loop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .. import unpatched
from ..errors import HubError
from .base import Hub, Timer, Watch
from .detection import Decision, detect
from .registry import Choice, KnownHub, hub_class, install_line, known_hubs

__all__ = ["ENVIRONMENT", "Choice", "Decision", "Hub", "KnownHub", "Timer", "Watch", "current_hub", "decide", "get_hub"]
__all__ += ["hub_class", "install_line", "known_hubs", "use_hub"]

#: The environment variable that names the process's hub.
ENVIRONMENT = "GREENZMQ_HUB"

T = TypeVar("T")


@dataclass(frozen=True)
class _Said:
    """What `use_hub` was given, and where."""

    choice: Choice
    place: str


_process: _Said | None = None
_thread = unpatched.local()


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
    global _process
    said = None
    if choice is not None:
        hub_class(choice)
        caller = sys._getframe(1)
        said = _Said(choice, f"{caller.f_code.co_filename}:{caller.f_lineno}")
    if thread:
        _thread.said = said
    else:
        _process = said


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
    return _get(decide(choice))


def current_hub(choice: Choice | None = None) -> Hub | None:
    """`get_hub`, but None where there is no hub yet, or none that could be told. Creates nothing."""
    try:
        decision = decide(choice)
        kind = _kind(decision)
        hub = decision.name if isinstance(decision.name, Hub) else _ask(decision, kind, kind.current)
    except HubError:
        return None
    if hub is None or hub.thread_id != unpatched.get_ident() or hub.inherited:
        return None
    return hub


def _said(choice: Choice | None) -> Iterator[Decision]:
    """Rule 1, in its own order."""
    if choice is not None:
        yield Decision(choice, 1, "the context or namespace says so")
    if (said := getattr(_thread, "said", None)) is not None:
        yield Decision(
            said.choice, 1, "use_hub(..., thread=True) says so", f"use_hub(..., thread=True) at {said.place}"
        )
    if (said := _process) is not None:
        yield Decision(said.choice, 1, "use_hub() says so", f"use_hub() at {said.place}")
    if name := os.environ.get(ENVIRONMENT):
        yield Decision(name, 1, f"${ENVIRONMENT} says so", f"${ENVIRONMENT}")


def _get(decision: Decision) -> Hub:
    hub = decision.name
    if isinstance(hub, Hub):
        if hub.thread_id != unpatched.get_ident():
            raise HubError(f"{hub!r} was asked for in thread {unpatched.thread_name()}; name its kind instead")
        return hub
    kind = _kind(decision)
    return _ask(decision, kind, kind.get)


def _kind(decision: Decision) -> type[Hub]:
    try:
        return hub_class(decision.name)
    except HubError as error:
        _blame_speaker(error, decision)
        raise


def _blame_speaker(error: HubError, decision: Decision) -> None:
    """Raise the same error with the name of what has said so: a variable of the environment is easily forgotten."""
    if decision.speaker:
        ours = next(kind for kind in type(error).__mro__ if kind.__module__ == HubError.__module__)
        raise ours(f"{decision.speaker} says {_shown(decision.name)}: {error}") from error


def _ask(decision: Decision, kind: type[Hub], method: Callable[[], T]) -> T:
    """Call a class method of a hub that was decided on."""
    try:
        return _guarded(kind, method)
    except HubError as error:
        _blame_speaker(error, decision)
        raise


def _guarded(kind: type[Hub], method: Callable[[], T]) -> T:
    """Whatever other people's hubs raise becomes an error that names them."""
    try:
        return method()
    except HubError:
        raise
    except Exception as error:
        if kind.__module__.startswith(f"{__name__}."):
            raise
        path = f"{kind.__module__}:{kind.__qualname__}"
        raise HubError(f"hub {path} cannot be started: {type(error).__name__}: {error}") from error


def _shown(choice: object) -> str:
    return choice.__qualname__ if isinstance(choice, type) else repr(choice)
