"""`main` runs a program's main function on any hub; `namespace` returns the namespace of a hub by name."""

from __future__ import annotations

import importlib
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent

from . import hubs
from .errors import HubError, MissingHubError, UnknownHubError
from .process import unpatched
from .waiting.hub_api import GreenHub
from .waiting.scope import Scope
from .waiting.tasks import plain_result, refuse_coroutine
from .waiting.waiter import interrupt, refuse_in_hub

if TYPE_CHECKING:
    from .hubs import Choice, Hub

__all__ = ["main", "namespace"]

#: The loops that have to be started before a hub can live on them, and the module whose ``run`` starts each.
LOOPS = {"asyncio": "asyncio", "uvloop": "uvloop"}

#: Seconds that threads have to end, once they are killed: they do where they wait next.
PATIENCE = 5.0

T = TypeVar("T")


def main(
    function: Callable[..., T],
    /,
    *args: Any,
    hub: Choice | GreenHub | None = None,
    signals: Iterable[int] = (),
    **kwargs: Any,
) -> T:
    """Run a program's main function in a greenlet of any hub, and clean up after it.

    For asyncio and uvloop a loop is started first. When the function has ended, those of its tasks that still run are
    killed, and the contexts that it and its tasks have made are destroyed. If the function returned, unsent messages
    are kept for as long as the ``LINGER`` of their socket says; if it raised, they are dropped.

    Parameters
    ----------
    function : callable
        The function. It is called with ``*args`` and ``**kwargs``.
    hub : str, type, Hub or GreenHub, optional
        The hub: ``"gevent"``, ``"eventlet"``, ``"selector"``, ``"asyncio"``, ``"uvloop"``, ``"threading"``, or another
        package's. None leaves the choice to `use_hub`, ``$GREENZMQ_HUB`` and detection.
    signals : iterable of int
        Signals that end the program with a clean-up, such as ``[signal.SIGTERM]``: each raises
        ``SystemExit(128 + number)`` in the function. In the process's main thread only.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    HubError
        The hub is unknown or not installed, or another hub or an asyncio loop runs here already.
    TypeError
        `function` is a coroutine function, or has returned a coroutine.
    ValueError
        `signals` were given, and this is not the main thread.

    Notes
    -----
    Switches: when the function has to wait.

    On every hub Ctrl-C raises `KeyboardInterrupt` in the function. So it does on asyncio, where `asyncio.run` would
    cancel the task instead.

    Examples
    --------
    >>> main(str.upper, "hello", hub="selector")
    'HELLO'
    """
    refuse_coroutine(function)
    call = partial(function, *args, **kwargs)
    choice = _choice(hub)
    if isinstance(choice, str) and choice in LOOPS:
        return _run_on_loop(choice, call, list(signals))
    green = GreenHub.of(hubs.hub_to_wait_on(choice))
    refuse_in_hub(green.hub)
    with hubs.thread_choice(green.choice, "greenzmq.main()"), _raised_here(green.hub, list(signals)):
        return _run_and_clean_up(green.hub, call)


def namespace(name: str) -> ModuleType:
    """Return the namespace of a hub by its name: ``namespace("gevent")`` is the module `greenzmq.gevent`.

    For programs that have the name in their settings.

    Parameters
    ----------
    name : str
        ``"gevent"``, ``"eventlet"``, ``"selector"``, ``"threading"`` or ``"asyncio"``; ``"uvloop"`` means asyncio's. Or
        a word that another program has for one of them, such as ``"gthread"``: ``python -m greenzmq info`` lists these.

    Raises
    ------
    UnknownHubError, MissingHubError
        There is no such hub, its runtime is not installed, or it comes from another package.
    """
    kind = hubs.hub_class("asyncio" if name in LOOPS else name)
    if not kind.__module__.startswith(f"{hubs.__name__}."):
        raise UnknownHubError(
            f"there is no namespace of hub {name!r}, which comes from another package; "
            f"use greenzmq itself, with greenzmq.use_hub({name!r}) or Context(hub={name!r})"
        )
    return importlib.import_module(f"greenzmq.{kind.name}")


def _choice(hub: Choice | GreenHub | None) -> Choice:
    """Return the hub that the caller has named; or else the one that is chosen elsewhere or detected."""
    if isinstance(hub, GreenHub):
        return hub.choice
    if isinstance(hub, str) and hub in LOOPS:
        return hub
    choice: Choice = hubs.decide(hub).name
    return hubs.hub_named(choice) if isinstance(choice, str) else choice


def _run_on_loop(name: str, call: Callable[[], T], signals: list[int]) -> T:
    from .hubs.asyncio import AsyncioHub
    from .waiting.bridge import run  # imports asyncio

    try:
        loop = importlib.import_module(LOOPS[name])
    except ModuleNotFoundError as error:
        raise MissingHubError(f"{name} needs a package that is not installed: python -m pip install {name}") from error
    if AsyncioHub.is_loop_running():
        raise HubError(
            "an asyncio loop runs in this thread already; write: await greenzmq.asyncio.run(function, *args)"
        )
    if unpatched.is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signals.append(signal.SIGINT)

    def program() -> T:
        with _raised_here(AsyncioHub.get(), signals):
            return _run_and_clean_up(AsyncioHub.get(), call)

    with hubs.thread_choice("asyncio", "greenzmq.main()"):
        result: T = loop.run(run(program))
    return result


def _run_and_clean_up(hub: Hub, call: Callable[[], T]) -> T:
    scope = Scope()
    outer, hub.local[Scope] = hub.local.get(Scope), scope  # for what other threads have the hub do
    try:
        with scope.entered():
            try:
                result = plain_result(call, call())
            except BaseException:
                _end(scope, linger=0)
                raise
            _end(scope)
    finally:
        hub.local[Scope] = outer
    return result


def _end(scope: Scope, linger: int | None = None) -> None:
    """Kill the tasks that still run, then destroy the contexts that are still open."""
    left: set[Any] = set()
    while tasks := [task for task in scope.unfinished() if task not in left]:
        for task in tasks:
            task.kill(block=False)
        until = monotonic() + PATIENCE
        for task in tasks:
            if not task.join(max(until - monotonic(), 0) if task.hub.runs_threads else None) and task.hub.runs_threads:
                left.add(task)
                _warn_of_thread(task)
    for context in list(scope.contexts):
        if not context.closed:
            context.destroy(linger)


def _warn_of_thread(task: Any) -> None:
    """Tell where a task is that is a native thread, was killed, and does not end, because it does not wait."""
    frame = sys._current_frames().get(task.hub.thread_id)
    place = "" if frame is None else f" It is in {frame.f_code.co_filename}:{frame.f_lineno}."
    warnings.warn(
        f"main() goes on without {task!r}: a thread is ended where it waits in greenzmq, and this one has not done so "
        f"in {PATIENCE:g} seconds.{place}",
        RuntimeWarning,
        stacklevel=2,
    )


@contextmanager
def _raised_here(hub: Hub, signals: list[int]) -> Iterator[None]:
    """During the block, have each of these signals raise its exception in this greenlet, whichever greenlet runs then.

    That is `KeyboardInterrupt` for ``SIGINT``, and `SystemExit` for any other signal.
    """
    target = getcurrent()

    def handle(number: int, _: FrameType | None) -> None:
        error = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if getcurrent() is target:
            raise error
        hub.call_soon_threadsafe(interrupt, target, error)

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
