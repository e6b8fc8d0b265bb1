"""Which hub this greenlet runs on, asked without side effects.

Nothing here imports a runtime or creates a hub: a runtime that is not in `sys.modules` runs nothing, and each has a
probe that only looks. An installed package is no evidence of its use, and neither is an imported asyncio, since
``import eventlet`` pulls it in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent

from .. import unpatched
from ..errors import AmbiguousHubError, BlockingCallError
from .base import MARK

__all__ = ["Decision", "detect"]


@dataclass(frozen=True)
class Decision:
    """A hub's name, and why it is this one.

    Attributes
    ----------
    name : str
        The hub's name in the registry, or whatever was given instead of a name.
    rule : int
        The rule of "How the hub is chosen" in the README that decided.
    why : str
        The same in words.
    speaker : str
        Who has said so, for messages, where rule 1 has decided and it is no context or namespace.
    """

    name: Any
    rule: int
    why: str
    speaker: str = ""


@dataclass(frozen=True)
class _Probe:
    """How to look at one runtime: its hub's greenlet in this thread, and whether it has patched."""

    name: str
    greenlet: Callable[[], Any]
    patched: Callable[[], bool]


def _loaded(module: str, name: str) -> Any:
    """What `module` has under `name`; None if it is not imported, or not that far: another thread may be at it."""
    return getattr(sys.modules.get(module), name, None)


def _gevent_greenlet() -> Any:
    get_hub_if_exists = _loaded("gevent._hub_local", "get_hub_if_exists")
    return None if get_hub_if_exists is None else get_hub_if_exists()


def _gevent_patched() -> bool:
    is_patched = _loaded("gevent.monkey", "is_module_patched")
    return is_patched is not None and bool(is_patched("socket"))


def _eventlet_hub() -> Any:
    return getattr(_loaded("eventlet.hubs", "_threadlocal"), "hub", None)


def _eventlet_greenlet() -> Any:
    return getattr(_eventlet_hub(), "greenlet", None)


def _eventlet_patched() -> bool:
    is_patched = _loaded("eventlet.patcher", "is_monkey_patched")
    return is_patched is not None and bool(is_patched("socket"))


def _selector_greenlet() -> Any:
    kind = _loaded("greenzmq.hubs.selector", "SelectorHub")
    hub = None if kind is None else kind.current()
    return None if hub is None else hub.greenlet


_RUNTIMES = (
    _Probe("gevent", _gevent_greenlet, _gevent_patched),
    _Probe("eventlet", _eventlet_greenlet, _eventlet_patched),
)
_SELECTOR = _Probe("selector", _selector_greenlet, lambda: False)


def detect() -> Decision:
    """Rules 2 to 6: what this greenlet, thread and process show.

    Raises
    ------
    BlockingCallError
        An asyncio loop runs in this thread and this is not one of its greenlets (rule 3).
    AmbiguousHubError
        Both gevent and eventlet live in this thread (rule 4) or have patched this process (rule 5).
    """
    alive = _alive(_RUNTIMES)
    return (
        _by_ancestry({**alive, **_alive((_SELECTOR,))})
        or _by_running_loop()
        or _by_life(alive)
        or _by_patch()
        or _default()
    )


def _alive(probes: tuple[_Probe, ...]) -> dict[str, Any]:
    """The greenlets of this thread's existing hubs, by name."""
    found = {}
    for probe in probes:
        greenlet = probe.greenlet()
        if greenlet is not None:
            found[probe.name] = greenlet
    return found


def _by_ancestry(alive: dict[str, Any]) -> Decision | None:
    """Rule 2. On eventlet's asyncio hub a loop is "running" in ordinary green threads, so this comes before rule 3.

    Tasks of ours are marked, and only they run on an asyncio loop: other libraries' greenlets are its children, too,
    and must not be switched away from.
    """
    greenlet: Any = getcurrent()
    while greenlet is not None:
        mark = getattr(greenlet, MARK, None)
        for name, hub in alive.items():
            if greenlet is hub or (mark is not None and mark.name == name):
                return Decision(name, 2, f"this greenlet runs on {name}'s hub")
        if mark is not None and not mark.inherited:
            return Decision(mark, 2, f"this greenlet runs on {mark!r}")
        greenlet = greenlet.parent
    return None


def _by_running_loop() -> Decision | None:
    """Rule 3. The loop of eventlet's asyncio hub "runs" for the thread's main greenlet, too: that is rule 4's case."""
    running_loop = _loaded("asyncio.events", "_get_running_loop")
    loop = None if running_loop is None else running_loop()
    if loop is not None and loop is not getattr(_eventlet_hub(), "loop", None):
        raise BlockingCallError(
            "an asyncio loop is running in this thread, and a call that waits would stop it; "
            "write: await greenzmq.asyncio.run(function, *args)"
        )
    return None


def _by_life(alive: dict[str, Any]) -> Decision | None:
    """Rule 4."""
    if len(alive) > 1:
        patched = [probe.name for probe in _RUNTIMES if probe.patched()]
        if len(patched) != 1:
            raise _ambiguous("live in this thread", alive)
        return Decision(patched[0], 4, f"{' and '.join(alive)} live in this thread, {patched[0]} has patched it")
    for name in alive:
        return Decision(name, 4, f"{name} has a hub in this thread")
    return None


def _by_patch() -> Decision | None:
    """Rule 5. Patched is not cooperative: in gevent's threadpool modules look patched, too, and there is no hub."""
    patched = [probe.name for probe in _RUNTIMES if probe.patched()]
    if not patched or not unpatched.is_main_thread():
        return None
    if len(patched) > 1:
        raise _ambiguous("have patched this process", patched)
    return Decision(patched[0], 5, f"{patched[0]} has patched this process and this is its main thread")


def _default() -> Decision:
    """Rule 6."""
    return Decision("selector", 6, "no green runtime is at work in this thread")


def _ambiguous(what: str, names: Any) -> AmbiguousHubError:
    return AmbiguousHubError(
        f"{' and '.join(names)} both {what}; say which one is meant: greenzmq.Context(hub=...), "
        "greenzmq.use_hub(...) or $GREENZMQ_HUB"
    )
