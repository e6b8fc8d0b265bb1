"""Hubs by name, and the choice between them.

A hub is given as a name (``"gevent"``), as a dotted path (``"package.module:Class"``), as a subclass of `Hub`, or as a
`Hub` itself. Names are the built-in ones and those in the entry-point group ``greenzmq.hubs``. A hub is chosen when a
greenlet first has to wait, never at import, by the first of these rules that applies:

1.  what was said: by a context or namespace, by `use_hub` for the thread, then for the process, by ``$GREENZMQ_HUB``;
2.  the hub this greenlet runs on; 3. a running asyncio loop and none of our greenlets: an error; 4. the gevent or
    eventlet hub that lives in this thread; 5. the runtime that has patched this main thread; 6. the selector loop.

Where rule 1 names another hub than the one that runs here, a wait is an error: it would stop that one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ..errors import HubError, WrongHubError
from ..process import unpatched
from .base import Hub, Timer, Watch
from .detection import Decision, asyncio_debugs, coroutine_loop, detect, is_debugged_coroutine, runs_elsewhere
from .registry import Choice, KnownHub, hub_class, install_line, known_hubs

__all__ = ["ENVIRONMENT", "Choice", "Decision", "Hub", "KnownHub", "Timer", "Watch", "current_hub", "decide", "get_hub"]
__all__ += [
    "asyncio_debugs",
    "coroutine_loop",
    "hub_class",
    "hub_to_wait_on",
    "install_line",
    "is_debugged_coroutine",
    "known_hubs",
    "thread_choice",
    "use_hub",
]

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
    follow at their next wait. Two parts of a program that want different hubs are a mistake of one of them, so a choice
    stands until it is taken back.

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
    HubError
        Another hub was said before, for the same process or thread.
    """
    global _process
    said = None
    if choice is not None:
        kind = hub_class(choice)
        caller = sys._getframe(1)
        said = _Said(choice, f"{caller.f_code.co_filename}:{caller.f_lineno}")
        before: _Said | None = getattr(_thread, "said", None) if thread else _process
        if before is not None and (kind is not hub_class(before.choice) or _differ(choice, before.choice)):
            whole = ", thread=True" if thread else ""
            raise HubError(
                f"use_hub({_shown(choice)}{whole}) at {said.place} contradicts use_hub({_shown(before.choice)}{whole}) "
                f"at {before.place}; take that back first: use_hub(None{whole})"
            )
        said = before or said
    if thread:
        _thread.said = said
    else:
        _process = said


@contextmanager
def thread_choice(choice: Choice, speaker: str) -> Iterator[None]:
    """`use_hub` for this native thread, as long as the block goes on; `speaker` says so, for messages."""
    before = getattr(_thread, "said", None)
    _thread.said = _Said(choice, speaker)
    try:
        yield
    finally:
        _thread.said = before


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


def hub_to_wait_on(choice: Choice | None = None, owner: object = None) -> Hub:
    """`get_hub` for a wait: a hub that was said must be the one on which this greenlet runs, if it runs on any.

    Parameters
    ----------
    choice : str, type or Hub, optional
        What a context or namespace says.
    owner : object
        Whose choice that is, for messages: a socket, a context, a Poller.

    Raises
    ------
    WrongHubError
        The wait would stop the hub that runs.
    HubError
        As `get_hub`.
    """
    decision = decide(choice)
    if decision.rule == 1:
        kind = _kind(decision)
        hub = decision.name if isinstance(decision.name, Hub) else _ask(decision, kind, kind.current)
        other = runs_elsewhere(kind.name, hub)
        if other is not None:
            raise _contradiction(decision, kind, other, owner)
    return _get(decision)


def current_hub(choice: Choice | None = None) -> Hub | None:
    """`get_hub`, but None where no hub exists yet, the rules choose none, or another one runs. Creates nothing."""
    try:
        decision = decide(choice)
        kind = _kind(decision)
        hub = decision.name if isinstance(decision.name, Hub) else _ask(decision, kind, kind.current)
    except HubError:
        return None
    if hub is None or hub.thread_id != unpatched.get_ident() or hub.inherited:
        return None
    return None if decision.rule == 1 and runs_elsewhere(kind.name, hub) is not None else hub


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


def _contradiction(decision: Decision, kind: type[Hub], other: Decision, owner: object) -> WrongHubError:
    running = getattr(other.name, "name", other.name)
    namespace = getattr(owner, "_greenzmq_default_hub", None)
    speaker, cure = decision.speaker, f"Let it say {running!r} or nothing"
    if not speaker and decision.name == namespace and hasattr(owner, "_greenzmq_speaker"):
        speaker, cure = owner._greenzmq_speaker, f"Let it say {running!r} or nothing"
    elif not speaker and decision.name == namespace:
        speaker, cure = f"the namespace greenzmq.{namespace}", f"Use greenzmq.{running} or greenzmq itself"
    elif not speaker:
        maker = getattr(owner, "context", owner)
        said = f"hub={_shown(decision.name)}"
        speaker = said if maker is None else f"{type(maker).__name__}({said})"
    if other.rule == 3:
        cure += ", and write: await greenzmq.asyncio.run(function, *args)"
    return WrongHubError(
        f"{speaker} says {kind.name}, but {other.why}, which this wait would stop. {cure}; or do it in a native thread"
    )


def _differ(choice: Choice, other: Choice) -> bool:
    """Whether one of two of a kind is a hub itself, and the other is not the same."""
    return choice is not other and (isinstance(choice, Hub) or isinstance(other, Hub))


def _shown(choice: object) -> str:
    return choice.__qualname__ if isinstance(choice, type) else repr(choice)
