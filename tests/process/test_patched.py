"""greenzmq beside monkey patches, made before or after it and pyzmq were imported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.children import Child, Children, need

CHECKS = ["waiting", "stdlib", "native_thread", "term", "foreign_exceptions", "selector", "pools", "instance"]
PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
#: What a program begins with; {} is the patch.
ORDERS = {
    "patched first": "{}",
    "zmq first": "import zmq\n{}",
    "greenzmq first": "import greenzmq\n{}",
    "garbage first": "import zmq.utils.garbage\n{}",
    "not patched": "",
}


def programs(function: str, orders: list[str]) -> dict[str, Child]:
    return {
        f"{runtime}, {order}": Child(
            f"{ORDERS[order].format(patch)}\nfrom programs import patched\npatched.{function}({runtime!r})",
            needs=(runtime,),
        )
        for runtime, patch in PATCHES.items()
        for order in orders
    }


RUN = programs("run", ["patched first", "zmq first", "greenzmq first", "not patched"])
ZERO_COPY = {f"zero-copy, {name}": child for name, child in programs("zero_copy", [*ORDERS]).items()}
FIRST_CALLS = {
    f"first calls, {runtime}": Child(
        f"{patch}\nfrom programs import first_calls\nfirst_calls.run()", needs=(runtime,), limit=20
    )
    for runtime, patch in PATCHES.items()
}
CHILDREN = RUN | ZERO_COPY | FIRST_CALLS


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", RUN)
def test_checks(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """Waiting is cooperative and native threads are native, whatever was imported first; so is the selector loop's.

    The instance of a context is seen to stop the process if greenlets wait for a native lock.
    """
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    assert done.out.split() == [f"check_{name}" for name in CHECKS]


@pytest.mark.parametrize("child", ZERO_COPY)
def test_zero_copy(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """A zero-copy message arrives, its buffer is let go, in a forked child too, and the program ends.

    Seen to hang without `greenzmq.sockets.zerocopy`: eventlet in every order but "not patched", gevent in "garbage
    first".
    """
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == ["tracked", "in a forked child", "and once more"]


@pytest.mark.parametrize("child", FIRST_CALLS)
def test_first_calls(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """What a wait, an event, an error or a dump needs is there for native threads that make their first calls at once.

    Seen to hang, and to fail with a KeyError or a deadlock of Python's import locks, which are green under a patch.
    """
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    assert done.out.split() == ["wait", "wrong_name", "monitor", "names"]
