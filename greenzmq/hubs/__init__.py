"""Hubs by name, and the choice between them.

A hub is given as a name (``"gevent"``), as a dotted path (``"package.module:Class"``), as a subclass of `Hub`, or as a
`Hub` itself. Names are the built-in ones and those in the entry-point group ``greenzmq.hubs``. A hub is chosen when a
greenlet first has to wait, never at import. The first of these rules that applies decides:

1.  The program has named a hub. A context or namespace comes first, then `use_hub` for the thread, then `use_hub` for
    the process, then ``$GREENZMQ_HUB``.
2.  This greenlet runs on a hub: it is that one.
3.  An asyncio loop runs in this thread, and this greenlet is none of the bridge's: an error.
4.  gevent or eventlet has a hub in this thread: it is that one. Or else the hub of native threads has one.
5.  gevent or eventlet has patched the process, and this is its main thread: it is that runtime's hub.
6.  Otherwise it is the selector loop.

If rule 1 names another hub than the one that runs here, a wait is an error, because it would stop the running hub.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import NamedTuple, TypeVar

from greenlet import getcurrent

from ..errors import HubError, WrongHubError
from ..process import unpatched
from .base import Hub, Timer, Watch
from .detection import (
    DEFAULT_RULE,
    Decision,
    asyncio_debugs,
    coroutine_loop,
    detect,
    is_debugged_coroutine,
    new_loops_debug,
    runs_elsewhere,
)
from .registry import Choice, KnownHub, hub_class, install_line, known_hubs, left_out, may_run_threads, runs_threads
from .words import WORDS, hub_named

__all__ = ["ENVIRONMENT", "Choice", "Decision", "Hub", "KnownHub", "Timer", "Watch", "current_hub", "decide", "get_hub"]
__all__ += [
    "DEFAULT_RULE",
    "WORDS",
    "LateChoice",
    "asyncio_debugs",
    "coroutine_loop",
    "hub_class",
    "hub_named",
    "hub_to_wait_on",
    "install_line",
    "is_debugged_coroutine",
    "known_hubs",
    "lasting",
    "left_out",
    "load_threads",
    "new_loops_debug",
    "shares_sockets",
    "thread_choice",
    "use_hub",
]

#: The environment variable that names the process's hub.
ENVIRONMENT = "GREENZMQ_HUB"

T = TypeVar("T")


#: What `use_hub` takes: a choice, or a function that is called at each decision, and returns one, or None.
LateChoice = Callable[[], Choice | None]


class _Said(NamedTuple):
    """What `use_hub` was given, and where it was called."""

    choice: Choice | LateChoice
    place: str

    def now(self) -> Choice | None:
        """The choice at this moment; None if the function that was given makes none."""
        choice = self.choice
        if isinstance(choice, (str, type, Hub)):
            return choice
        return choice()


#: The last choice of a context or namespace that a wait has asked for, and a weak reference to its hub.
_recent: tuple[Choice | None, Callable[[], Hub | None]] = (None, lambda: None)
_process: _Said | None = None
_thread = unpatched.local()


def use_hub(choice: Choice | LateChoice | None, *, thread: bool = False) -> None:
    """Choose the hub on which this process, or this thread, waits.

    The choice comes before ``$GREENZMQ_HUB`` and before any detection, and after a context's own ``hub=`` and the
    namespaces (`greenzmq.gevent`, …). A socket on which nobody waits uses the new hub from its next wait on. If two
    parts of a program choose different hubs, one of them is mistaken; so a second, different choice is an error until
    the first one is withdrawn.

    Parameters
    ----------
    choice : str, type, Hub or callable, or None
        The hub; None withdraws the choice. A function decides late: it is called without arguments whenever a hub is
        looked for, and returns the choice, or None to leave it to the other rules. It should be quick.
    thread : bool
        Choose for this native thread only.

    Raises
    ------
    UnknownHubError, MissingHubError
        The hub cannot be used. Raised here, not at the first wait; but for the answer of a function, where it is used.
    HubError
        Another hub was chosen before, for the same process or thread.

    Notes
    -----
    Switches: never.
    """
    global _process
    said = None
    if choice is not None:
        if isinstance(choice, (str, type, Hub)) or not callable(choice):
            hub_class(choice)
        caller = sys._getframe(1)
        said = _Said(choice, f"{caller.f_code.co_filename}:{caller.f_lineno}")
        before: _Said | None = getattr(_thread, "said", None) if thread else _process
        if before is not None and _differ(choice, before.choice):
            whole = ", thread=True" if thread else ""
            raise HubError(
                f"use_hub({_shown(choice)}{whole}) at {said.place} contradicts use_hub({_shown(before.choice)}{whole}) "
                f"at {before.place}; withdraw that first: use_hub(None{whole})"
            )
        said = before or said
    if thread:
        _thread.said = said
    else:
        _process = said


@contextmanager
def thread_choice(choice: Choice, speaker: str) -> Iterator[None]:
    """`use_hub` for this native thread and the time of the block. Messages name `speaker` as what has chosen."""
    before = getattr(_thread, "said", None)
    _thread.said = _Said(choice, speaker)
    try:
        yield
    finally:
        _thread.said = before


def decide(choice: Choice | None = None) -> Decision:
    """Find out which hub a wait would use here and now, and by which rule. Creates no hub and imports no runtime.

    Parameters
    ----------
    choice : str, type or Hub, optional
        The hub that the context or namespace names.

    Raises
    ------
    BlockingCallError, AmbiguousHubError
        As `greenzmq.hubs.detection.detect`.
    """
    return next(_said(choice), None) or detect()


def get_hub(choice: Choice | None = None) -> Hub:
    """Return this thread's hub, by the rules above. It is made if there is none yet.

    Parameters
    ----------
    choice : str, type or Hub, optional
        The hub that the context or namespace names.

    Raises
    ------
    HubError
        There is no such hub here. The subclass tells why, and the message what to do.
    """
    return _get(decide(choice))


def hub_to_wait_on(choice: Choice | None = None, owner: object = None) -> Hub:
    """`get_hub` for a wait. If another hub runs here than the one that the program has named, that is an error.

    Parameters
    ----------
    choice : str, type or Hub, optional
        The hub that the context or namespace names.
    owner : object
        The socket, context or Poller that has this choice, for messages.

    Raises
    ------
    WrongHubError
        The wait would stop the hub that runs.
    HubError
        As `get_hub`.
    """
    global _recent
    if choice is not None and choice is _recent[0]:
        recent = _recent[1]()  # what this choice meant the last time
        if recent is not None and not recent.inherited:
            parent = getcurrent().parent
            if recent.greenlet is parent:
                return recent  # this greenlet runs on it
            kind = type(recent)
            if parent is None and _guarded(kind, kind.current) is recent and not runs_elsewhere(recent.name, recent):
                return recent  # a main greenlet, in the thread of that hub
    decision = decide(choice)
    if decision.rule != 1:
        return _get(decision)
    kind = _kind(decision)
    existing = decision.name if isinstance(decision.name, Hub) else _ask(decision, kind, kind.current)
    other = runs_elsewhere(kind.name, existing)
    if other is not None:
        raise _contradiction(decision, kind, other, owner)
    hub = _get(decision)
    _recent = choice, weakref.ref(hub)
    return hub


def current_hub(choice: Choice | None = None) -> Hub | None:
    """`get_hub` of `choice` that creates nothing. None if there is none yet, or if a wait on it is an error here."""
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
    """Rule 1: the hubs that the program has named, the one that counts first."""
    if choice is not None:
        yield Decision(lasting(choice), 1, "the context or namespace says so")
    if (said := getattr(_thread, "said", None)) is not None and (chosen := said.now()) is not None:
        speaker = f"use_hub(..., thread=True) at {said.place}"
        yield Decision(lasting(chosen), 1, "use_hub(..., thread=True) says so", speaker)
    if (said := _process) is not None and (chosen := said.now()) is not None:
        yield Decision(lasting(chosen), 1, "use_hub() says so", f"use_hub() at {said.place}")
    if name := os.environ.get(ENVIRONMENT):
        yield Decision(name, 1, f"${ENVIRONMENT} says so", f"${ENVIRONMENT}")


def shares_sockets(choice: Choice | None = None, ask_environment: bool = True) -> bool:
    """Whether a socket that is made here may be used by several native threads at once. Creates and imports nothing.

    Parameters
    ----------
    choice : str, type or Hub, optional
        What a context or namespace says.
    ask_environment : bool
        False spares the look at ``$GREENZMQ_HUB``, if `load_threads` has looked. That is 3 % of what a socket costs.
    """
    if not may_run_threads(os.environ.get(ENVIRONMENT) if ask_environment and choice is None else None):
        return False
    try:
        return runs_threads(decide().name if choice is None else choice)
    except HubError:
        return False


def load_threads() -> None:
    """Import the hub of native threads, if ``$GREENZMQ_HUB`` names it."""
    name = os.environ.get(ENVIRONMENT)
    if name and runs_threads(name):
        hub_class(name)


def lasting(choice: Choice) -> Choice:
    """`choice`, as it holds in any thread: the hub of one native thread stands for its kind."""
    return type(choice) if isinstance(choice, Hub) and choice.runs_threads else choice


def _get(decision: Decision) -> Hub:
    hub = decision.name
    if isinstance(hub, Hub):
        if hub.thread_id != unpatched.get_ident():
            raise HubError(
                f"{hub!r} was chosen for a wait in thread {unpatched.thread_name()}, which is not its own; "
                f"choose it by name instead: {hub.name!r}"
            )
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
    """Raise the same error with the name of what has chosen this hub: an environment variable is easily forgotten."""
    if decision.speaker:
        ours = next(kind for kind in type(error).__mro__ if kind.__module__ == HubError.__module__)
        raise ours(f"{decision.speaker} says {_shown(decision.name)}: {error}") from error


def _ask(decision: Decision, kind: type[Hub], method: Callable[[], T]) -> T:
    """Call a class method of the hub that was decided on. An error names what has chosen this hub."""
    try:
        return _guarded(kind, method)
    except HubError as error:
        _blame_speaker(error, decision)
        raise


def _guarded(kind: type[Hub], method: Callable[[], T]) -> T:
    """Call a class method of a hub. What a hub of another package raises becomes a HubError that names the hub."""
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
    """Make the error for a wait on the hub `kind` while the hub of `other` runs. It names who has chosen `kind`."""
    running = getattr(other.name, "name", other.name)
    namespace = getattr(owner, "_greenzmq_default_hub", None)
    speaker, cure = decision.speaker, f"Change that to {running!r}, or remove it"
    if not speaker and decision.name == namespace and hasattr(owner, "_greenzmq_speaker"):
        speaker, cure = owner._greenzmq_speaker, f"Change that to {running!r}, or remove it"
    elif not speaker and decision.name == namespace:
        speaker, cure = f"the namespace greenzmq.{namespace}", f"Use greenzmq.{running} or greenzmq itself"
    elif not speaker:
        maker = getattr(owner, "context", owner)
        said = f"hub={_shown(decision.name)}"
        speaker = said if maker is None else f"{type(maker).__name__}({said})"
    if other.rule == 3:
        cure += ", and write: await greenzmq.asyncio.run(function, *args)"
    return WrongHubError(
        f"{speaker} says {kind.name}, but {other.why}, which this wait would stop. {cure}; or wait in a native thread"
    )


def _differ(choice: Choice | LateChoice, other: Choice | LateChoice) -> bool:
    """Whether two choices cannot both hold.

    They do not differ if they name the same kind of hub, unless one of them is a hub itself, or a function.
    """
    if choice is other:
        return False
    known = (str, type)
    return not (isinstance(choice, known) and isinstance(other, known) and hub_class(choice) is hub_class(other))


def _shown(choice: object) -> str:
    return choice.__qualname__ if isinstance(choice, (type, FunctionType)) else repr(choice)
