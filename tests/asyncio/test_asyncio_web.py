"""A web application whose handlers make blocking-style calls on green sockets."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENTS = 100
#: Seconds for everything that has to happen.
LIMIT = 40


@pytest.fixture
def port() -> Iterator[int]:
    """The port of the application, in a process of its own that ends with the test and says nothing on stderr."""
    for module in ("uvloop", "starlette", "uvicorn"):
        pytest.importorskip(module)
    program = Path(__file__).parents[1] / "programs" / "web.py"
    child = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, f"the application did not start: {child.communicate(timeout=LIMIT)[1]}"
        yield int(line)
        asyncio.run(get(int(line), "/leave"))
        _, errors = child.communicate(timeout=LIMIT)
        assert (child.returncode, errors) == (0, "")
    finally:
        child.kill()
        child.wait()


async def get(port: int, path: str) -> str:
    """The body of the answer; every client has its own connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body.decode()


def test_clients_at_once(port: int) -> None:
    """100 clients wait for a service at once; other handlers answer meanwhile, and each client gets its answer."""

    async def main() -> None:
        asking = [asyncio.ensure_future(get(port, f"/ask/{number}")) for number in range(CLIENTS)]
        assert int(await get(port, f"/held/{CLIENTS}")) == CLIENTS
        assert await asyncio.gather(*(get(port, "/loop") for _ in range(20))) == ["uvloop"] * 20
        assert not any(task.done() for task in asking)
        assert await get(port, "/release") == "released"
        answers = await asyncio.gather(*asking)
        assert answers == [hashlib.sha256(b"%d" % number).hexdigest() for number in range(CLIENTS)]
        later = await asyncio.gather(*(get(port, "/ask/later") for _ in range(CLIENTS)))
        assert later == [hashlib.sha256(b"later").hexdigest()] * CLIENTS

    asyncio.run(asyncio.wait_for(main(), LIMIT))
