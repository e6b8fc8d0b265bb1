"""What ``docs/security.md`` says of libzmq, and of the cures: with pyzmq alone, each in a process of its own.

Should libzmq have mended one of them, the test fails: take it out of the page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.children import Child, Children
from support.forked import RUNTIMES

PROGRAM = "import zmq\nfrom programs import libzmq_faults as faults\nfaults.{}"
#: The call, and what it prints.
FAULTS = {
    "a heartbeat lets a peer end the process": ("fill_and_hang_up(rcvhwm=10, heartbeat_ivl=50)", ""),
    "... not without heartbeats": ("fill_and_hang_up(rcvhwm=10)", "survived"),
    "... nor with TCP's": ("fill_and_hang_up(rcvhwm=10, tcp_keepalive=1, tcp_keepalive_idle=1)", "survived"),
    "... nor without a limit of messages": ("fill_and_hang_up(rcvhwm=0, heartbeat_ivl=50)", "survived"),
    "a REP loses the next answer": ("malformed_request(zmq.REP)", "no answer\nanswered"),
    "... a ROUTER does not": ("malformed_request(zmq.ROUTER)", "answered\nanswered"),
    "without a handler any key is let in": ("any_key(False)", "in"),
    "... with one it is not": ("any_key(True)", "out"),
    "a client that was refused never finds room": ("refused_client(False)", "no room"),
    "... unless it connects again": ("refused_client(True)", "room"),
    "a message that never ends stays in memory": ("endless_message()", "True True"),
    "subscribers that hang up stop a publisher": ("subscribers_hang_up()", "True"),
    "a PAIR keeps what it refuses": ("crowd_at_a_pair()", "True"),
    "a frame may be of any size": ("one_huge_frame()", "True False"),
    "... or MAXMSGSIZE": ("one_huge_frame(maxmsgsize=100_000)", "False True"),
}
CHILDREN = {name: Child(PROGRAM.format(call), imported=RUNTIMES) for name, (call, _) in FAULTS.items()}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", FAULTS)
def test_what_libzmq_does(child: str, children: Children) -> None:
    """It does what the page says."""
    done = children[child]
    assert done.out.rstrip() == FAULTS[child][1], done
    if not FAULTS[child][1]:
        assert done.status == -6
        assert "stream_engine_base.cpp" in done.err
