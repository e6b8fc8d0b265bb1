"""A Starlette application under uvicorn on uvloop, whose handlers ask a green service; run by ``test_asyncio_web.py``.

Prints the port that the system chose. The service answers nobody until ``/release`` is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import greenzmq.asyncio as zmq

context = zmq.Context()
held: list[list[bytes]] = []
released = zmq.GreenEvent()
received = zmq.GreenEvent()


def serve(router: Any) -> None:
    """Hold the requests until they are released, then answer all, and every one that comes later."""
    poller = zmq.Poller()
    poller.register(router, zmq.POLLIN)
    poller.register(released, zmq.POLLIN)
    while True:
        for what, _ in poller.poll():
            if what is released:
                poller.unregister(released)
            else:
                held.append(router.recv_multipart())
                received.set()
        while released.is_set() and held:
            *envelope, request = held.pop(0)
            router.send_multipart([*envelope, hashlib.sha256(request).hexdigest().encode()])


def ask(question: bytes) -> bytes:
    """What any blocking-style client does."""
    with context.socket(zmq.REQ) as socket:
        socket.connect("inproc://service")
        socket.send(question)
        return socket.recv()


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await zmq.run(ask, request.path_params["question"].encode()))


async def count(request: Request) -> PlainTextResponse:
    """Wait, in green code, until the service holds so many."""

    def until_held() -> int:
        while len(held) < request.path_params["number"]:
            received.clear()
            received.wait()
        return len(held)

    return PlainTextResponse(str(await zmq.run(until_held)))


async def loop_name(request: Request) -> PlainTextResponse:
    """A handler that has nothing to do with messages."""
    return PlainTextResponse(type(asyncio.get_running_loop()).__module__)


async def release(request: Request) -> PlainTextResponse:
    released.set()
    return PlainTextResponse("released")


async def leave(request: Request) -> PlainTextResponse:
    server.should_exit = True
    return PlainTextResponse("bye")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    router = context.socket(zmq.ROUTER)
    router.bind("inproc://service")
    service = zmq.spawn(serve, router)
    yield
    await zmq.run(service.kill)
    router.close(0)
    await zmq.run(context.term)


app = Starlette(
    routes=[
        Route("/ask/{question}", answer),
        Route("/held/{number:int}", count),
        Route("/loop", loop_name),
        Route("/release", release),
        Route("/leave", leave),
    ],
    lifespan=lifespan,
)
server = uvicorn.Server(uvicorn.Config(app, port=0, loop="uvloop", log_level="warning"))


class Announcer:
    """Prints the port once there is one."""

    async def run(self) -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)


async def main() -> None:
    announcing = asyncio.ensure_future(Announcer().run())
    await server.serve()
    await announcing


if __name__ == "__main__":
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
