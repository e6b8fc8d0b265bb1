"""uvicorn: coroutines that ask by the bridge of `greenzmq.asyncio`, by `greenzmq.aio`, by a patched `zmq.asyncio`."""

from __future__ import annotations

import signal
from functools import partial

from harness import RUN, Failure, free_port, processes, write
from service import REQUESTS, ask_all, start_service

BRIDGE = """
import greenzmq.asyncio as zmq
def ask_service(number):
    with context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(os.environ["SERVICE"])
        socket.send(number)
        return socket.recv()
async def ask(number):
    return await zmq.run(ask_service, number)
"""
AWAITABLE = """
import {module} as zmq
from zmq import REQ
assert zmq.Socket.__module__ == "{home}", zmq.Socket.__module__
assert [kind.__module__ for kind in zmq.Socket.__mro__].count("greenzmq.sockets.awaitable") == 1
async def ask(number):
    with context.socket(REQ) as socket:
        socket.linger = 0
        socket.connect(os.environ["SERVICE"])
        await socket.send(number)
        return await socket.recv()
"""
APP = """
import os
{ask}
context = zmq.Context()
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({{"type": "lifespan.startup.complete"}})
        context.destroy(linger=0)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    answer = await ask(scope["path"][1:].encode())
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}})
    await send({{"type": "http.response.body", "body": answer}})
"""


def serve(ask: str, *options: str) -> str:
    """All answers are right, and SIGINT ends it."""
    with processes() as start:
        write(start.folder, app=APP.format(ask=ask))  # type: ignore[attr-defined]
        port = free_port()
        server = start(
            *("uvicorn", *options, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "app:app"),
            SERVICE=start_service(start),
        )
        ask_all(port, server)
        server.stop(signal.SIGINT, 30)
        if server.output.strip():
            raise Failure(f"it has complained:\n{server.output}")
        return f"{REQUESTS} requests answered right"


CASES = {
    "asyncio (greenzmq.asyncio)": partial(serve, BRIDGE),
    "asyncio (greenzmq.aio)": partial(
        serve, AWAITABLE.format(module="greenzmq.aio", home="greenzmq.sockets.awaitable")
    ),
    "asyncio (run --aio)": partial(serve, AWAITABLE.format(module="zmq.asyncio", home="zmq.asyncio"), *RUN, "--aio"),
}
