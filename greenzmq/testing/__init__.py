"""The contract of `greenzmq.hubs.base` as code, for everyone who writes a backend.

`check_hub` makes all checks and stops at the first that fails. `HUB_CHECKS` has them one by one, for a test runner to
parametrize over: each takes the hub, is called in a greenlet that may park in it, and says in its docstring what rule
it holds the hub to. `MAIN_GREENLET_CHECKS` have to be called in the thread's main greenlet.

::

    @pytest.mark.parametrize("check", greenzmq.testing.HUB_CHECKS)
    def test_contract(check):
        check(MyHub.get())

A check that finds a rule broken raises `ContractError`. It takes over the loop while it runs, makes callbacks raise
(which the runtime reports on stderr), and leaves the hub as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import getcurrent

from . import loop, timers, watches
from .support import Check, ContractError, require

if TYPE_CHECKING:
    from ..hubs.base import Hub

__all__ = ["HUB_CHECKS", "MAIN_GREENLET_CHECKS", "Check", "ContractError", "check_hub"]

HUB_CHECKS: tuple[Check, ...] = (*loop.CHECKS, *timers.CHECKS, *watches.CHECKS)
MAIN_GREENLET_CHECKS: tuple[Check, ...] = loop.MAIN_GREENLET_CHECKS


def check_hub(make_hub: Callable[[], Hub]) -> None:
    """Hold a hub to every rule of the contract.

    Parameters
    ----------
    make_hub : callable
        Returns this thread's hub: ``MyHub.get``.

    Raises
    ------
    ContractError
        At the first rule that is broken.

    Notes
    -----
    Switches: always. Called in the thread's main greenlet it makes `MAIN_GREENLET_CHECKS` too. On a loop that itself
    runs in the main greenlet, as asyncio's does, call it in a greenlet of that loop.
    """
    hub = make_hub()
    require(make_hub() is hub, "there is at most one Hub object for a loop")
    for check in HUB_CHECKS:
        check(hub)
    if getcurrent().parent is None:
        for check in MAIN_GREENLET_CHECKS:
            check(hub)
