"""How a forked child ends is nothing to its parent, whose greenlets wait in everything meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from programs.fork_ends import WAYS
from support.children import Child, Children
from support.forked import RUNTIMES
from support.variants import Variant

if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)

pytestmark = pytest.mark.all_loops

#: With which status the child ends.
STATUS = {"by_system_exit": 0, "by_an_exception": 1, "by_returning": 0, "by_os_exit": 0}


def programs(variant: Variant, way: str) -> dict[str, Child]:
    """On asyncio with threads of an executor, for which the end of a loop waits, and without."""
    return {
        f"{variant.id}, {way}{', executor' * executor}": Child(
            f"from programs import fork_ends; fork_ends.run({variant.id!r}, {way!r}, {executor})",
            needs=variant.needs,
            watchdog=False,
            imported=RUNTIMES,
        )
        for executor in ((False, True) if variant.name == "asyncio" else (False,))
    }


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    asked = [item.callspec.params for item in request.session.items if item.module is request.module]
    wanted = [programs(params["variant"], params["way"]) for params in asked if not params["variant"].missing]
    running = Children({name: child for each in wanted for name, child in each.items()})
    yield running
    running.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_parent_goes_on(variant: Variant, way: str, children: Children) -> None:
    """The child leaves by SystemExit, by an exception, by the end of its program, or at once. In the parent everybody
    gets what it waits for.

    Seen to hang on asyncio, uvloop and gevent's libuv for all ends but `os._exit`: the child's loop took what it had
    out of the epoll that is the parent's, too.
    """
    for name in programs(variant, way):
        done = children[name]
        assert done.out.splitlines() == [f"the child ended with {STATUS[way]}", "the parent goes on"], done
        assert done.status == 0, name
        assert ("ValueError: of the child" in done.err) == (way == "by_an_exception"), name
