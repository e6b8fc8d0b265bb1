"""The hubs that the commands know by name: those of the registry, and ``asyncio+uvloop`` beside ``asyncio``.

asyncio's hub needs a loop that runs already. So on these two a function is run by way of a coroutine, and the name
tells which module's ``run`` starts the loop.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import TypeVar

import greenzmq

from ..errors import MissingHubError, UnknownHubError
from ..hubs import KnownHub, hub_class, install_line, known_hubs

__all__ = ["check", "known", "run_on"]

UVLOOP = "asyncio+uvloop"
LOOPS = {"asyncio": "asyncio", UVLOOP: "uvloop"}

T = TypeVar("T")


def known() -> list[KnownHub]:
    """Return the hubs on which the commands can run. Imports nothing."""
    hubs = known_hubs()
    if any(hub.name == "asyncio" for hub in hubs):
        hubs.append(KnownHub(UVLOOP, "", "uvloop", importlib.util.find_spec("uvloop") is not None))
    return hubs


def check(name: str) -> None:
    """Raise an error unless the commands can run on a hub. Imports nothing if its name is known and it is installed.

    Raises
    ------
    UnknownHubError, MissingHubError
        The message tells which hubs there are, or how to install this one.
    """
    hubs = {hub.name: hub for hub in known()}
    if name in hubs and hubs[name].installed:
        return
    if name == UVLOOP and UVLOOP in hubs:
        raise MissingHubError(f"{UVLOOP} needs the package uvloop, which is not installed: {install_line('uvloop')}")
    try:
        hub_class(name)
    except UnknownHubError as error:
        if ":" not in name and UVLOOP in hubs and hubs[UVLOOP].installed:  # the registry lists the others
            raise UnknownHubError(f"{error}; the command line also knows {UVLOOP}") from error
        raise


def run_on(name: str, function: Callable[[greenzmq.GreenHub], T]) -> T:
    """Call ``function(hub)`` in a greenlet of the named hub. Return its result, or raise its exception.

    Raises
    ------
    HubError
        There is no such hub, or it cannot be started here.
    """
    if name not in LOOPS:
        hub = greenzmq.hub(name)
        return hub.run(function, hub)
    bridge = importlib.import_module("greenzmq.asyncio")
    loop = importlib.import_module(LOOPS[name])
    result: T = loop.run(bridge.run(lambda: function(bridge.hub())))
    return result
