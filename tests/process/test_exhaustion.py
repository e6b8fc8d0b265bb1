"""No descriptors, sockets or threads to be had: an error to the caller, nothing left behind, the program goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import zmq
from support.children import Child, Children, need
from support.forked import RUNTIMES
from support.sockets import open_context, until

import greenzmq
import greenzmq.auth

PROGRAM = "import greenzmq\nfrom programs import exhaustion\ngreenzmq.main(exhaustion.{}, hub={!r})"
HUBS = {"gevent": ("gevent",), "eventlet": ("eventlet",), "selector": (), "asyncio": (), "uvloop": ("uvloop",)}
CALLS = {
    "descriptors": "run, 'descriptors'",
    "threads": "run, 'threads'",
    "zero-copy": "zero_copy_without_thread",
    "memory": "no_memory",
    "allocations": "failed_allocations",
}
CHILDREN = {
    f"{what} on {hub}": Child(PROGRAM.format(call, hub), needs=needs, limit=50, imported=RUNTIMES)
    for hub, needs in HUBS.items()
    for what, call in CALLS.items()
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


def lines(child: str, children: Children, request: pytest.FixtureRequest) -> list[str]:
    need(request, CHILDREN[child])
    done = children[child]
    assert done.status == 0, done
    assert child.startswith("allocations") or not done.err, done  # finalizers without memory tell of it there
    return done.out.splitlines()


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("descriptors")])
def test_no_descriptors(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """With none to 13 left: each place succeeds or says EMFILE, and the process does not end.

    The first socket of a context, and the first zero-copy message, are seen to end it (libzmq's epoll.cpp).
    """
    found = {words[0]: words[1:] for words in map(str.split, lines(child, children, request))}
    assert {place for place, (works, _) in found.items() if works != "True"} == set(), "one has never worked"
    refused = {place for place, (_, refuses) in found.items() if refuses == "True"}
    assert refused >= {"new_socket", "new_context", "first_wait", "term", "native_proxy", "authenticator", "monitor"}


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("threads")])
def test_no_threads(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The caller gets Python's own error; the context that could not end ends later."""
    assert lines(child, children, request) == [
        f"{place} RuntimeError: can't start new thread" for place in ("thread", "native_proxy", "term")
    ]


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("zero-copy")])
def test_no_collector(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """A zero-copy message for which pyzmq's thread cannot start is an error, and the next one starts it."""
    assert lines(child, children, request) == ["RuntimeError can't start new thread", "ZMQError Too many open files"]


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("memory")])
def test_no_memory(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """A message for which there is none is ENOMEM, and a peer whose frame is too large for it is hung up on.

    One whose first part is sent already is sent to its end, without a copy. What cannot be tried is no memory for a
    switch: there greenlet itself ends the process.
    """
    no_memory = "Cannot allocate memory"
    assert lines(child, children, request) == [no_memory, no_memory, "[5, 314572800]", "b''"]


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("allocations")])
def test_failed_allocations(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The caller gets the MemoryError, and all goes on.

    The SystemError is CPython's, of a built-in function that returns nothing and no error.
    """
    pytest.importorskip("_testcapi", reason="only CPython's own tests can have allocations fail")
    found = {words[0]: {*words[1:]} for words in map(str.split, lines(child, children, request))}
    assert all("MemoryError" in errors for errors in found.values()), found
    assert {error for errors in found.values() for error in errors} <= {"MemoryError", "SystemError"}
    assert [*found] == ["new_socket", "poller_at_once", "monitor"]


def test_no_sockets(hub: greenzmq.GreenHub) -> None:
    """``MAX_SOCKETS``: EMFILE for each that makes one, and nothing is left of it."""
    with open_context(hub) as context:
        context.max_sockets = 3
        sockets = [context.socket(zmq.PAIR) for _ in range(3)]
        auth = greenzmq.auth.Authenticator(context)
        for make in (lambda: context.socket(zmq.PULL), auth.start, sockets[0].get_monitor_socket):
            with pytest.raises(zmq.ZMQError) as caught:
                make()
            assert caught.value.errno == 24
        assert not auth.is_alive()
        sockets.pop().close(0)

        def started() -> bool:
            with contextlib.suppress(zmq.ZMQError):  # libzmq counts a closed one until its reaper has seen it
                auth.start()
            return auth.is_alive()

        until(hub, started)
        auth.stop()
        for socket in sockets:
            socket.close(0)
