"""`wait_fd` on a descriptor that another process may have, as standard input: its flags stay as they were found."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.sockets import tick

pytestmark = pytest.mark.all_loops


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("end", ["ready", "timeout", "kill"])
def test_the_flags_stay_as_they_are(hub, pipe, end):
    """Neither while a greenlet waits nor afterwards, however that ends, does the file stop to block.

    Seen to fail on uvloop and gevent's libuv, which set O_NONBLOCK on whatever they watch.
    """
    reader, writer = pipe
    waiting = [
        hub.spawn(hub.wait_fd, reader, timeout=0.02 if end == "timeout" else None),
        hub.spawn(hub.wait_fd, writer, write=True, read=False),
    ]
    assert waiting[1].get() == 2
    if end != "timeout":
        tick(hub, waiting[0])
        assert os.get_blocking(reader)
    if end == "ready":
        os.write(writer, b"x")
        assert waiting[0].get() == 1
    elif end == "timeout":
        assert waiting[0].get() == 0
    else:
        waiting[0].kill()
    hub.sleep()
    assert os.get_blocking(reader)
    assert os.get_blocking(writer)


def test_two_directions_of_one_file_that_blocks(hub):
    """Reading and writing are waited for in one call, and both are told."""
    reader, writer = os.openpty()
    try:
        assert hub.wait_fd(reader, read=True, write=True) == 2
        os.write(writer, b"x")
        while hub.wait_fd(reader, read=True, write=True) != 3:
            pass
        assert os.get_blocking(reader)
    finally:
        os.close(reader)
        os.close(writer)
