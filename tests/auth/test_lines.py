"""What an authenticator has to do, line by line, on every hub; the lines are in ``tests/programs/auth_lines.py``."""

from __future__ import annotations

import pytest
from programs.auth_lines import LINES
from support.auth import Awaitable, Green

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
