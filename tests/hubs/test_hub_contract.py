"""Every backend keeps the contract of `greenzmq.hubs.base`, and the checks notice one that does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.broken_hubs import BROKEN_HUBS, BrokenHub
from support.hub_thread import HubThread
from support.variants import VARIANTS

from greenzmq.hubs.base import Hub
from greenzmq.process import unpatched
from greenzmq.testing import HUB_CHECKS, MAIN_GREENLET_CHECKS, Check, ContractError, check_hub
from greenzmq.testing.contract import calls as loop
from greenzmq.testing.contract import support, watches
from greenzmq.waiting.waiter import yield_to_hub


@pytest.mark.all_loops
@pytest.mark.parametrize("check", HUB_CHECKS, ids=lambda check: check.__name__)
def test_contract(contract_hub: Hub, check: Check) -> None:
    """Each backend passes each check of the contract."""
    check(contract_hub)


@pytest.mark.all_loops
@pytest.mark.parametrize("check", watches.CHECKS, ids=lambda check: check.__name__)
def test_contract_of_descriptors_that_block(contract_hub: Hub, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backend passes each check of watches with descriptors that block, too.

    Seen to fail in `check_watch_flags` on uvloop and gevent's libuv, which set O_NONBLOCK and leave it there.
    """
    make_pair = watches.pair

    @contextmanager
    def blocking_pair() -> Iterator[Any]:
        with make_pair() as (ours, theirs):
            ours.setblocking(True)
            yield ours, theirs

    monkeypatch.setattr(watches, "pair", blocking_pair)
    check(contract_hub)


@pytest.mark.all_loops
@pytest.mark.main_greenlet
@pytest.mark.parametrize("check", MAIN_GREENLET_CHECKS, ids=lambda check: check.__name__)
def test_contract_of_the_main_greenlet(contract_hub: Hub, check: Check) -> None:
    """Each backend passes each check that belongs into the main greenlet."""
    check(contract_hub)


def test_contract_without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no epoll the selector hub keeps the contract with what `selectors` has."""
    monkeypatch.setattr(unpatched, "epoll", None)
    thread = HubThread(next(variant for variant in VARIANTS if variant.id == "selector"))
    assert isinstance(thread.hub._selector, unpatched.DefaultSelector)
    thread.call_in_main(lambda: check_hub(lambda: thread.hub))
    thread.close()


def test_a_loop_that_cannot_ask_the_system() -> None:
    """Where something has closed the loop's epoll, whoever waits in the main greenlet gets the error, each time.

    Seen to hang, and print without an end, when the loop reported it as a callback's and went round again.
    """
    thread = HubThread(next(variant for variant in VARIANTS if variant.id == "selector"))
    thread.hub._selector.close()

    def use() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="closed epoll"):
                yield_to_hub(thread.hub, 0.001)

    thread.call_in_main(use)
    thread.close()


@pytest.mark.parametrize("broken", BROKEN_HUBS, ids=lambda broken: broken.__name__)
def test_checks_notice(broken: type[BrokenHub], monkeypatch: pytest.MonkeyPatch) -> None:
    """For each rule that is broken on purpose the check that belongs to it fails, and says so."""
    monkeypatch.setattr(support, "PATIENCE", 0.2)
    monkeypatch.setattr(loop, "PATIENCE", 0.2)
    check = next(check for check in (*HUB_CHECKS, *MAIN_GREENLET_CHECKS) if check.__name__ == broken.noticed_by)
    selector = next(variant for variant in VARIANTS if variant.id == "selector")
    thread = HubThread(dataclasses.replace(selector, make=broken.get))
    with pytest.raises(ContractError, match=rf"^{broken.noticed_by}: .* breaks a rule"):
        thread.call_in_main(lambda: check(thread.hub))
    thread.close()


@pytest.mark.main_greenlet
def test_check_hub(contract_hub: Hub) -> None:
    """`check_hub` makes every check, also those of the main greenlet, one after the other on one hub."""
    check_hub(type(contract_hub).get)


def test_check_hub_in_a_greenlet(contract_hub: Hub) -> None:
    """`check_hub` may be called in a greenlet of the hub, too."""
    check_hub(type(contract_hub).get)
