"""Find out on which hub this greenlet runs, without side effects.

Nothing here imports a runtime or creates a hub. A runtime that is not in `sys.modules` cannot be running; for each of
the others, a `_Probe` only reads what is there. That a package is installed does not mean that the program uses it. Nor
does an imported asyncio, since ``import eventlet`` imports it.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from greenlet import getcurrent

from ..errors import AmbiguousHubError, BlockingCallError
from ..process import unpatched
from .base import HUB_ATTRIBUTE, Hub, Watch, guests_here

__all__ = [
    "DEFAULT_RULE",
    "Decision",
    "asyncio_debugs",
    "coroutine_loop",
    "detect",
    "is_debugged_coroutine",
    "new_loops_debug",
    "runs_elsewhere",
]


#: The number of the rule that applies where no other does.
DEFAULT_RULE = 6


class Decision(NamedTuple):
    """A hub's name, and why it is this one.

    Attributes
    ----------
    name : str
        The hub's name in the registry; or the class or hub that was given instead of a name.
    rule : int
        The number of the rule that decided, as in "How the hub is found" in docs/choose.md.
    why : str
        The reason in words.
    speaker : str
        For messages, if rule 1 decided: what has named the hub, unless that was a context or a namespace.
    """

    name: Any
    rule: int
    why: str
    speaker: str = ""


class _Probe(NamedTuple):
    """Functions that inspect one runtime.

    They return its hub's greenlet in this thread, whether it has monkey-patched the process, and whether its hub is
    busy: something waits for it to run, so that no other wait may stop it.
    """

    name: str
    greenlet: Callable[[], Any]
    patched: Callable[[], bool]
    busy: Callable[[], bool]


def _loaded(module: str, name: str) -> Any:
    """The attribute `name` of `module`. None if it is not imported, or another thread is still importing it."""
    return getattr(sys.modules.get(module), name, None)


def _gevent_greenlet() -> Any:
    get_hub_if_exists = _loaded("gevent._hub_local", "get_hub_if_exists")
    return None if get_hub_if_exists is None else get_hub_if_exists()


def _gevent_patched() -> bool:
    is_patched = _loaded("gevent.monkey", "is_module_patched")
    return is_patched is not None and bool(is_patched("socket"))


def _gevent_busy() -> bool:
    loop = _gevent_greenlet().loop
    if loop is None:
        return False
    # On libuv gevent keeps no count of active watchers, so go through the handles, without those of the loop itself.
    handles = loop.debug() if hasattr(loop, "debug") else ()
    waiting = (handle.active and handle.ref and handle.watcher is not loop for handle in handles)
    return bool(loop._callbacks or loop.activecnt or any(waiting))


def _eventlet_hub() -> Any:
    return getattr(_loaded("eventlet.hubs", "_threadlocal"), "hub", None)


def _eventlet_greenlet() -> Any:
    return getattr(_eventlet_hub(), "greenlet", None)


def _eventlet_patched() -> bool:
    is_patched = _loaded("eventlet.patcher", "is_monkey_patched")
    return is_patched is not None and bool(is_patched("socket"))


def _eventlet_busy() -> bool:
    hub = _eventlet_hub()
    callbacks = [listener.cb for listeners in hub.listeners.values() for listener in listeners.values()]
    return bool(hub.next_timers or len(hub.timers) > hub.timers_canceled or any(map(_is_waited_for, callbacks)))


def _is_waited_for(callback: Any) -> bool:
    """Whether something waits for a listener of eventlet's hub. For our wake-up, and a lazily stopped watch, not."""
    owner = getattr(callback, "__self__", None)
    return not (isinstance(owner, Hub) or (isinstance(owner, Watch) and owner.lazily_stopped))


def _loop_probe(name: str, module: str, kind: str) -> _Probe:
    """The probe of a loop of our own."""

    def hub() -> Any:
        found = _loaded(module, kind)
        return None if found is None else found.current()

    return _Probe(name, lambda: getattr(hub(), "greenlet", None), lambda: False, lambda: bool(hub().has_work()))


_RUNTIMES = (
    _Probe("gevent", _gevent_greenlet, _gevent_patched, _gevent_busy),
    _Probe("eventlet", _eventlet_greenlet, _eventlet_patched, _eventlet_busy),
)
_SELECTOR = _loop_probe("selector", "greenzmq.hubs.selector", "SelectorHub")
_THREADING = _loop_probe("threading", "greenzmq.hubs.threading", "ThreadingHub")
_OURS = (_SELECTOR, _THREADING)
_PROBES = (*_RUNTIMES, *_OURS)


def detect() -> Decision:
    """Apply rules 2 to 6, by what this greenlet, thread and process show.

    Raises
    ------
    BlockingCallError
        An asyncio loop runs in this thread and this is not one of its greenlets (rule 3).
    AmbiguousHubError
        Both gevent and eventlet have a hub in this thread (rule 4) or have patched this process (rule 5).
    """
    alive = _alive(_RUNTIMES)
    return (
        _by_ancestry({**alive, **_alive(_OURS)}) or _by_running_loop() or _by_life(alive) or _by_patch() or _default()
    )


def runs_elsewhere(name: str, hub: Hub | None) -> Decision | None:
    """Return the other hub that a wait on `hub` in this greenlet would stop. None if there is none.

    That is the hub on which this greenlet runs, if it is not `hub`. A main greenlet runs on no hub; but if another hub
    of this thread is busy, a wait on `hub` would stop that one.

    Parameters
    ----------
    name : str
        The name of the hub to wait on.
    hub : Hub or None
        That hub; None if it does not exist yet in this thread.
    """
    greenlet: Any = getcurrent()
    while hub is not None and greenlet is not None:
        if greenlet is hub.greenlet or getattr(greenlet, HUB_ATTRIBUTE, None) is hub:
            return None
        greenlet = greenlet.parent
    alive = _alive(_PROBES)
    found = _by_ancestry(alive)
    if found is None and coroutine_loop() is not None:
        found = Decision("asyncio", 3, "an asyncio loop is running in this thread")
    if found is None:
        found = _by_work(hub, alive)
    return None if found is None or getattr(found.name, "name", found.name) == name else found


def coroutine_loop() -> Any:
    """The asyncio loop that is running in this thread; None if there is none.

    Not meant is the loop of eventlet's asyncio hub: for asyncio it is "running" in green threads and in the main
    greenlet, too. In a forked child, the parent's loop may still be noted as running, in whatever thread has forked.
    """
    running_loop = _loaded("asyncio.events", "_get_running_loop")
    loop = None if running_loop is None else running_loop()
    if loop is None or loop is getattr(_eventlet_hub(), "loop", None):
        return None
    here = threading.get_ident()  # the loop's `_thread_id` is from this function, which may be monkey-patched
    return loop if getattr(loop, "_thread_id", here) in (here, unpatched.get_ident()) else None


def is_plain() -> bool:
    """Whether no other runtime has a hub or a loop in this thread that a wait here could stop."""
    return not _alive(_RUNTIMES) and coroutine_loop() is None and not guests_here()


#: The greenlets of hubs that existed before a fork. What waits on them in the child is a copy, and is not counted.
_inherited: weakref.WeakSet[Any] = weakref.WeakSet()


def _note_fork() -> None:
    _inherited.update(_alive(_PROBES).values())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def is_debugged_coroutine() -> bool:
    """Whether this is a coroutine or a callback on an asyncio loop in debug mode, and not a greenlet that can wait."""
    loop = coroutine_loop()
    return loop is not None and loop.get_debug() and _by_ancestry(_alive(_PROBES)) is None


def asyncio_debugs(otherwise: bool | None = None) -> bool:
    """Whether the running asyncio loop is in debug mode; if none runs, whether a new one would be.

    `otherwise` is what `new_loops_debug` has said before: to ask it is 5 % of what a socket costs.
    """
    loop = coroutine_loop()
    if loop is not None:
        return bool(loop.get_debug())
    return new_loops_debug() if otherwise is None else otherwise


def new_loops_debug() -> bool:
    """Whether a new asyncio loop would be in debug mode."""
    environment = not sys.flags.ignore_environment and os.environ.get("PYTHONASYNCIODEBUG")
    return bool(sys.flags.dev_mode or environment)


def _by_work(hub: Hub | None, alive: dict[str, Any]) -> Decision | None:
    """A hub of this thread, other than `hub`, that is busy. `alive` has the greenlets of all."""
    for probe in _PROBES:
        greenlet = alive.get(probe.name)
        if greenlet is None or greenlet in _inherited or (hub is not None and greenlet is hub.greenlet):
            continue
        if probe.busy():
            return Decision(probe.name, 4, f"others wait on {probe.name}'s hub in this thread")
    return None


def _alive(probes: tuple[_Probe, ...]) -> dict[str, Any]:
    """The greenlets of this thread's existing hubs, by name."""
    found = {}
    for probe in probes:
        greenlet = probe.greenlet()
        if greenlet is not None:
            found[probe.name] = greenlet
    return found


def _by_ancestry(alive: dict[str, Any]) -> Decision | None:
    """Rule 2: this greenlet is a hub's greenlet, or a descendant of one, or is marked as a task of ours.

    It comes before rule 3, because on eventlet's asyncio hub a loop is "running" in ordinary green threads. On an
    asyncio loop only the mark counts. Greenlets of other libraries are descendants of the loop's greenlet, too, and
    must not be switched away from.
    """
    greenlet: Any = getcurrent()
    guests = guests_here()
    while greenlet is not None:
        mark = getattr(greenlet, HUB_ATTRIBUTE, None)
        for name, hub in alive.items():
            if greenlet is hub or (mark is not None and mark.name == name):
                return Decision(name, 2, f"this greenlet runs on {name}'s hub")
        mark = next((guest for guest in guests if guest.greenlet is greenlet), mark)
        if mark is not None and not mark.inherited:
            return Decision(mark, 2, f"this greenlet runs on {mark.name}'s hub")
        greenlet = greenlet.parent
    return None


def _by_running_loop() -> Decision | None:
    """Rule 3: an asyncio loop runs in this thread."""
    if coroutine_loop() is not None:
        raise BlockingCallError(
            "an asyncio loop is running in this thread, and a call that waits would stop it; "
            "write: await greenzmq.asyncio.run(function, *args); or await sockets of greenzmq.aio"
        )
    return None


def _by_life(alive: dict[str, Any]) -> Decision | None:
    """Rule 4: a green runtime, or else the hub of native threads, has a hub in this thread."""
    if len(alive) > 1:
        patched = [probe.name for probe in _RUNTIMES if probe.patched()]
        if len(patched) != 1:
            raise _ambiguous("have a hub in this thread", alive)
        return Decision(
            patched[0], 4, f"{' and '.join(alive)} have hubs in this thread; {patched[0]} has patched the process"
        )
    for name in alive or _alive((_THREADING,)):
        return Decision(name, 4, f"{name} has a hub in this thread")
    return None


def _by_patch() -> Decision | None:
    """Rule 5: a green runtime has patched this process. In the main thread only.

    In other threads a patch is no evidence: in a thread of gevent's pool, modules are patched, but there is no hub.
    """
    patched = [probe.name for probe in _RUNTIMES if probe.patched()]
    if not patched or not unpatched.is_main_thread():
        return None
    if len(patched) > 1:
        raise _ambiguous("have patched this process", patched)
    return Decision(patched[0], 5, f"{patched[0]} has patched this process and this is its main thread")


def _default() -> Decision:
    """Rule 6: otherwise, our own loop."""
    return Decision("selector", DEFAULT_RULE, "no green runtime is at work in this thread")


def _ambiguous(what: str, names: Any) -> AmbiguousHubError:
    return AmbiguousHubError(
        f"{' and '.join(names)} both {what}; choose one of them: greenzmq.Context(hub=...), "
        "greenzmq.use_hub(...) or $GREENZMQ_HUB"
    )
