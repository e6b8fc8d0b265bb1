"""What an authenticator has to do, line by line, on every hub; the lines are in ``tests/programs/auth_lines.py``."""

from __future__ import annotations

import threading

import pytest
import zmq
from programs.auth_lines import KEY, LINES
from support.auth import Awaitable, Green, Provider, Threads, frames
from support.threads import LOST, eventually

import greenzmq


@pytest.mark.parametrize("name", LINES)
def test_line(name: str, hub: greenzmq.GreenHub) -> None:
    """The line holds. Those of `BETTER` are seen to fail with pyzmq's; see ``test_peers.py``."""
    with Green(hub) as lab:
        LINES[name](lab)


@pytest.mark.runtime("asyncio")
@pytest.mark.parametrize("name", LINES)
def test_line_with_awaitable_sockets(name: str, hub: greenzmq.GreenHub) -> None:
    """The line holds for a context of `greenzmq.aio`."""
    with Awaitable(hub) as lab:
        LINES[name](lab)


@pytest.mark.runtime("threads")
@pytest.mark.parametrize("name", LINES)
def test_line_on_native_threads(name: str, hub: greenzmq.GreenHub) -> None:
    """The line holds for a context of `greenzmq.threading`, whatever the thread does that has started it."""
    with Threads(hub) as lab:
        LINES[name](lab)


@pytest.mark.runtime("threads")
def test_the_thread_that_has_started_it_may_block(hub: greenzmq.GreenHub) -> None:
    """And a callback may, too: others are answered meanwhile."""
    with Threads(hub) as lab:
        auth, release = lab.authenticator(), threading.Event()
        auth.configure_curve_callback(credentials_provider=Provider(lambda domain, key: release.wait(LOST)))
        slow, quick = lab.send(frames(b"CURVE", KEY)), lab.send(frames(b"NULL"))
        eventually(lambda: quick.poll(0))
        assert quick.recv_multipart(zmq.NOBLOCK)[3] == b"200"
        release.set()
        assert lab.answer(slow)[3] == b"200"
