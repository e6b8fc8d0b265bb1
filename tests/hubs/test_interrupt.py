"""Ctrl-C, and `sys.exit` in a task, reach the main greenlet on every hub.

On asyncio's the main greenlet runs the loop itself, and `asyncio.run` has Ctrl-C cancel the main task.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from programs.interrupt import WAYS
from support.children import Child, Children
from support.forked import GREENZMQ
from support.variants import VARIANTS, Variant

pytestmark = pytest.mark.all_loops

PROGRAMS = ("run", "leave")
CHILDREN = {
    f"{program} {variant.id}": Child(
        f"from programs import interrupt; interrupt.{program}({variant.id!r})", imported=GREENZMQ
    )
    for program in PROGRAMS
    for variant in VARIANTS
    if variant.main_parks
} | {
    f"run {variant.id}": Child(
        f"from programs import interrupt; interrupt.run_asyncio({(*variant.needs, 'asyncio')[0]!r})", imported=GREENZMQ
    )
    for variant in VARIANTS
    if not variant.main_parks
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """One for each program and hub of this run."""
    asked = [item.callspec.params["variant"] for item in request.session.items if item.module is request.module]
    names = [
        f"{program} {variant.id}" for program in PROGRAMS for variant in dict.fromkeys(asked) if not variant.missing
    ]
    running = Children({name: CHILDREN[name] for name in names if name in CHILDREN})
    yield running
    running.close()


def test_interrupt(variant: Variant, children: Children) -> None:
    """Ctrl-C ends any wait of the main greenlet at once; sockets and hub go on; uncaught it ends the program. From
    asyncio it comes out of `asyncio.run`. What a handler sends or closes is known at once to who waits, and it may end
    a context.

    Seen to hang where asyncio slept on after a handler's `close`, and to fail where `term` had to wait in the hub.
    """
    done = children[f"run {variant.id}"]
    assert done.out.splitlines() == [*WAYS, "send_in_handler", "close_in_handler", "end_in_handler", "uncaught"], (
        done.err
    )
    assert done.err.rstrip().endswith("KeyboardInterrupt")
    assert done.status == -signal.SIGINT


@pytest.mark.main_greenlet
def test_exit_from_a_task(variant: Variant, children: Children) -> None:
    """`sys.exit(3)` in a task ends the process with status 3, though the main greenlet waits."""
    done = children[f"leave {variant.id}"]
    assert (done.status, done.out, done.err) == (3, "", "")
