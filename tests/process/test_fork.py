"""Fork, with everything in use: the child's inherited objects answer at once, and the parent notices nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.children import Child, Children, need
from support.forked import RUNTIMES
from support.variants import VARIANTS, Variant

pytestmark = pytest.mark.all_loops

if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)

#: Seconds that the end of an interpreter may take on a machine that is busy.
PROMPTLY = 10.0

VARIANT_CHILDREN = {
    variant.id: Child(f"from programs import fork; fork.run({variant.id!r})", needs=variant.needs, imported=RUNTIMES)
    for variant in VARIANTS
}
PREFORK = {
    f"prefork, {name}": Child(f"from programs import fork; fork.prefork({name!r})", needs=(name,), imported=RUNTIMES)
    for name in ("gevent", "eventlet")
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, VARIANT_CHILDREN | PREFORK)
    yield running
    running.close()


def expected(variant: Variant) -> list[str]:
    ways = ["os.fork new hub"] if variant.id != "eventlet-asyncio" else []
    if variant.name != "asyncio":
        ways.append("os.fork inherited hub")
    return [*ways, "os.fork in another thread", "multiprocessing"]


def test_fork_and_exit(variant: Variant, children: Children) -> None:
    """A process forks while its greenlets wait in everything: in the child what is inherited raises at once, a new
    context does its work, and in the parent everybody who waited gets what it waits for. Then the program ends while
    greenlets and threads wait on open sockets: at once, without a word, with status 0.

    The fork was seen to fail, each time by a hang: where sockets are told of it before the hubs (eventlet, selector,
    asyncio); where the child takes watches from an inherited loop (asyncio, uvloop, gevent-libuv); where eventlet keeps
    its epoll (epolls, asyncio) or the adapter its wake-up (all of eventlet); where sockets are not told. Where a dead
    thread's hub is closed in the child, the selector's complains. The end was seen to hang where a `NativeCall` is a
    thread of `threading`, for which the interpreter waits.
    """
    done = children[variant.id]
    assert done.status == 0, done.err
    *checks, ended = done.out.splitlines()
    assert checks == expected(variant)
    if variant.id != "eventlet-asyncio":  # on which eventlet's own fork handlers complain, from Python 3.12 on
        assert done.err == ""
    assert done.when - float(ended) < PROMPTLY


@pytest.mark.parametrize("child", PREFORK)
def test_prefork(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """Workers that patch after the fork work on their runtime, zero-copy included, whatever the parent had in use.

    Seen to fail where sockets are told of the fork before the hubs: a worker takes the parent's watch away.
    """
    need(request, PREFORK[child])
    done = children[child]
    assert (done.status, done.err, done.out.splitlines()) == (0, "", ["prefork"])
