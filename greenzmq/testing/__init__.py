"""For authors of hubs, and of code on hubs: the contract of a hub as tests, and tools for tests of green code.

`check_hub` tests a hub against the contract of `greenzmq.hubs.base`, and stops at the first rule that is broken.
`HUB_CHECKS` contains the checks one by one, for a test runner to parametrize over. A check takes the hub, and is called
in a greenlet that may park in it; its docstring is the rule that it tests. The checks in `MAIN_GREENLET_CHECKS` have to
be called in the thread's main greenlet.

::

    @pytest.mark.parametrize("check", greenzmq.testing.HUB_CHECKS)
    def test_contract(check):
        check(MyHub.get())

A check raises `ContractError` if a rule is broken. While it runs, it uses the loop for itself, and some callbacks raise
on purpose, which the runtime reports on stderr. At its end the hub is as it was before.

Tools for tests on any hub:

- `assert_no_switch` and `assert_switches`: a block of code switches never, or exactly so many times;
- `wait_all_parked`: return when all other greenlets wait;
- `check_socket`: test the invariants of a green socket.

pytest has them as fixtures, by the plugin ``pytest_greenzmq``, which comes with greenzmq; docs/testing.md tells of it.

`SteppingHub` is a hub whose steps, clock and order the test controls; see `greenzmq.testing.stepping`.
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
    """Test a hub against every rule of the contract.

    Parameters
    ----------
    make_hub : callable
        Returns this thread's hub, as ``MyHub.get`` does.

    Raises
    ------
    ContractError
        A rule is broken; the message says which.

    Notes
    -----
    Switches: always. If it is called in the thread's main greenlet, it runs `MAIN_GREENLET_CHECKS` as well. If the loop
    itself runs in the main greenlet, as asyncio's does, call it in a greenlet of that loop.
    """
    hub = make_hub()
    require(make_hub() is hub, "there is at most one Hub object for a loop")
    for check in HUB_CHECKS:
        check(hub)
    if getcurrent().parent is None:
        for check in MAIN_GREENLET_CHECKS:
            check(hub)
