"""For authors of hubs, and of code that runs on them: the contract as code, and what tests of green code need.

`check_hub` holds a hub to the contract of `greenzmq.hubs.base`, and stops at the first rule that is broken.
`HUB_CHECKS` has the checks one by one, for a test runner to parametrize over: each takes the hub, is called in a
greenlet that may park in it, and says in its docstring what rule it holds the hub to. `MAIN_GREENLET_CHECKS` have to be
called in the thread's main greenlet.

::

    @pytest.mark.parametrize("check", greenzmq.testing.HUB_CHECKS)
    def test_contract(check):
        check(MyHub.get())

A check that finds a rule broken raises `ContractError`. It takes over the loop while it runs, makes callbacks raise
(which the runtime reports on stderr), and leaves the hub as it was.

On any hub:

- `assert_no_switch`, `assert_switches`: a block gives up control never, or exactly so often;
- `wait_all_parked`: come back when all others wait;
- `check_socket`: the invariants of a green socket.

`SteppingHub` is a hub whose steps, clock and order a test has in its hands; see `greenzmq.testing.stepping`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import getcurrent

from .contract import calls as loop
from .contract import timers, watches
from .contract.support import Check, ContractError, require
from .parking import wait_all_parked
from .sockets import check_socket
from .stepping import StalledError, SteppingHub
from .switches import Switches, assert_no_switch, assert_switches

if TYPE_CHECKING:
    from ..hubs.base import Hub

__all__ = ["HUB_CHECKS", "MAIN_GREENLET_CHECKS", "Check", "ContractError", "StalledError", "SteppingHub", "Switches"]
__all__ += ["assert_no_switch", "assert_switches", "check_hub", "check_socket", "wait_all_parked"]

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
