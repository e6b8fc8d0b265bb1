"""How a forked child ends is nothing to its parent, whose greenlets wait in everything meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from programs.fork_ends import WAYS
from support.children import Child, Children, need
from support.variants import VARIANTS

if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)

#: With which status the child ends.
STATUS = {"by_system_exit": 0, "by_an_exception": 1, "by_returning": 0, "by_os_exit": 0}
CHILDREN = {
    f"{variant.id}, {way}{', executor' * executor}": Child(
        f"from programs import fork_ends; fork_ends.run({variant.id!r}, {way!r}, {executor})",
        needs=variant.needs,
        watchdog=False,
    )
    for variant in VARIANTS
    for way in WAYS
    for executor in ((False, True) if variant.name == "asyncio" else (False,))
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", CHILDREN)
def test_the_parent_goes_on(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The child leaves by SystemExit, by an exception, by the end of its program, or at once; on asyncio with threads
    of an executor, for which the end of a loop waits, and without. In the parent everybody gets what it waits for.

    Seen to hang on asyncio, uvloop and gevent's libuv for all ends but `os._exit`: the child's loop took what it had
    out of the epoll that is the parent's, too.
    """
    need(request, CHILDREN[child])
    done = children[child]
    way = child.split(", ")[1]
    assert done.out.splitlines() == [f"the child ended with {STATUS[way]}", "the parent goes on"], done.err
    assert done.status == 0
    assert ("ValueError: of the child" in done.err) == (way == "by_an_exception")
