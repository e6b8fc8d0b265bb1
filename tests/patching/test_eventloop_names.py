"""`eventloop` of the namespaces, and of `zmq.green` under the patch: tornado's loop and pyzmq's streams, as circus uses
them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.children import Child, Children, need

PROGRAM = "{before}\nfrom programs import patching\npatching.eventloop({namespace!r})"
PATCH = "import greenzmq; greenzmq.patch()"
CHILDREN = {
    "greenzmq.gevent": Child(PROGRAM.format(before="", namespace="greenzmq.gevent"), needs=("gevent", "tornado")),
    "greenzmq.eventlet": Child(PROGRAM.format(before="", namespace="greenzmq.eventlet"), needs=("eventlet", "tornado")),
    "greenzmq.selector": Child(PROGRAM.format(before="", namespace="greenzmq.selector"), needs=("tornado",)),
    "greenzmq.asyncio": Child(PROGRAM.format(before="", namespace="greenzmq.asyncio"), needs=("tornado",)),
    "zmq.green": Child(PROGRAM.format(before=PATCH, namespace="zmq.green"), needs=("gevent", "tornado")),
    "zmq.green, before": Child(
        PROGRAM.format(before=f"import zmq.green\n{PATCH}", namespace="zmq.green"), needs=("gevent", "tornado")
    ),
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", CHILDREN)
def test_the_names_are_there(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """`IOLoop`, `ioloop`, `zmqstream`, and a ZMQStream on a green socket, with a loop and with the current one."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err, done.out) == (0, "", "eventloop\n")
