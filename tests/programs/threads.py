"""The programs of test_threads.py: several hubs and threads in one process. Each prints its result at the end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import greenlet
import zmq as pyzmq
from support.inside import hub_of

import greenzmq
from greenzmq.hubs.base import Hub

#: Handed from thread to thread this many times.
ROUNDS = 100


class Worker(threading.Thread):
    """A native thread with a hub of its own, named after it; `end` has its exception, if it ended with one."""

    def __init__(self, hub: str, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(name=f"{hub}-thread", daemon=True)
        self.hub, self.function, self.args = hub, function, args
        namespace(hub)  # a thread in which eventlet is imported for the first time can never be joined
        self.end: BaseException | None = None
        self.result: Any = None

    def run(self) -> None:
        try:
            if self.hub == "asyncio":
                asyncio.run(self._run_on_asyncio())
                return
            green = greenzmq.hub(self.hub)
            assert green.name == self.hub
            self.result = green.run(self.function, green, *self.args)
            leave(self.hub)
        except BaseException as error:
            self.end = error

    async def _run_on_asyncio(self) -> None:
        green = greenzmq.hub(self.hub)
        self.result = await namespace(self.hub).run(self.function, green, *self.args)


def together(workers: Sequence[Worker]) -> list[Any]:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.end is not None:
            raise worker.end
    return [worker.result for worker in workers]


def leave(hub: str) -> None:
    """What gevent and eventlet want to be told at the end of a thread."""
    if hub == "gevent":
        importlib.import_module("gevent").get_hub().destroy()
    elif hub == "eventlet":
        importlib.import_module("eventlet.hubs").get_hub().abort(wait=True)


def namespace(hub: str) -> Any:
    return importlib.import_module(f"greenzmq.{hub}")


# -- round trips -------------------------------------------------------------------------------------------------------


def serve(socket: Any, trips: int) -> None:
    for _ in range(trips):
        socket.send_multipart([*socket.recv_multipart(), b"seen"])


def ask(socket: Any, name: str, trips: int) -> int:
    """Requests one after the other; each answer has to be the one to its request."""
    for number in range(trips):
        request = [name.encode(), b"%d" % number]
        socket.send_multipart(request)
        assert socket.recv_multipart() == [*request, b"seen"]
    return trips


def at_once(trips: int, trips_across: int, *hubs: str) -> None:
    """Each hub has a REQ and a REP of its own, and besides a DEALER whose ROUTER is served by the next thread's hub."""
    shared = pyzmq.Context()
    workers = []
    for number, hub in enumerate(hubs):  # made here, used there
        context = namespace(hub).Context(shadow=shared)
        following = (number + 1) % len(hubs)
        inside = bound(context, pyzmq.REP, f"{number}"), connected(context, pyzmq.REQ, f"{number}"), trips
        router, dealer = bound(context, pyzmq.ROUTER, f"{number}-across"), context.socket(pyzmq.DEALER)
        dealer.connect(f"inproc://{following}-across")
        workers.append(Worker(hub, work, inside, (router, dealer, trips_across)))
    print(json.dumps(together(workers)))
    shared.destroy(linger=0)


def bound(context: Any, kind: int, name: str) -> Any:
    socket = context.socket(kind)
    socket.bind(f"inproc://{name}")
    return socket


def connected(context: Any, kind: int, name: str) -> Any:
    socket = context.socket(kind)
    socket.connect(f"inproc://{name}")
    return socket


def work(green: Any, *jobs: tuple[Any, Any, int]) -> list[int]:
    serving = [green.spawn(serve, server, trips) for server, _, trips in jobs]
    asking = [green.spawn(ask, client, green.name, trips) for _, client, trips in jobs]
    answers = [task.get() for task in asking]
    for task in serving:
        task.get()
    for socket in (socket for job in jobs for socket in job[:2]):
        assert hub_of(socket) is green.hub
        socket.close()
    return answers


# -- one socket, several threads ---------------------------------------------------------------------------------------


def pairs(*hubs: str) -> None:
    """Every hub with every other, and with another one of its own kind."""
    checks = (made_here_used_there, two_wait)
    print(json.dumps({f"{one}, {other}": [check(one, other) for check in checks] for one in hubs for other in hubs}))


def made_here_used_there(maker: str, user: str) -> bool:
    """One thread makes, binds and connects the sockets, another is the first to wait on them."""
    context = greenzmq.Context()

    def make(green: Any) -> Any:
        pull = bound(context, pyzmq.PULL, "pull")
        return pull, connected(context, pyzmq.PUSH, "pull")

    def use(green: Any, pull: Any, push: Any) -> bytes:
        return wait_for(green, pull, push, b"message")

    ((pull, push),) = together([Worker(maker, make)])
    assert together([Worker(user, use, pull, push)]) == [b"message"]
    pull.close()
    push.close()
    context.term()
    return True


def wait_for(green: Any, pull: Any, push: Any, message: bytes) -> bytes:
    """Receive what is sent only after this greenlet has parked."""
    sender = green.spawn(push.send, message)
    received: bytes = pull.recv()
    sender.get()
    assert hub_of(pull) is green.hub
    return received


def handed_on(*hubs: str) -> None:
    """A pair of sockets goes round the threads; whoever has it waits on it."""
    context = greenzmq.Context()
    inboxes: list[queue.Queue[Any]] = [queue.Queue() for _ in hubs]
    pull = bound(context, pyzmq.PULL, "pull")
    push = connected(context, pyzmq.PUSH, "pull")
    inboxes[0].put((pull, push))

    def work(green: Any, number: int) -> int:
        for trip in range(ROUNDS):
            pull, push = green.run_in_thread(inboxes[number].get)
            message = b"%d by %d" % (trip, number)
            assert wait_for(green, pull, push, message) == message
            inboxes[(number + 1) % len(hubs)].put((pull, push))
            del pull, push
        return ROUNDS

    print(json.dumps(together([Worker(hub, work, number) for number, hub in enumerate(hubs)])))
    pull.close()
    push.close()
    context.term()


def two_wait(first: str, second: str) -> Any:
    """The second thread to wait gets an error that names both; the first one gets its message. Then the second may."""
    context = greenzmq.Context()
    pull = bound(context, pyzmq.PULL, "pull")
    push = connected(context, pyzmq.PUSH, "pull")
    waits, refused = threading.Event(), threading.Event()

    def wait(green: Any) -> bytes:
        green.hub.call_soon(waits.set)  # runs when recv() has parked
        received: bytes = pull.recv()
        return received

    def intrude(green: Any) -> str:
        waits.wait()
        try:
            pull.recv()
        except greenzmq.WrongHubError as error:
            push.send(b"one")
            refused.set()
            return str(error)
        raise AssertionError("two threads wait on one socket")

    workers = [Worker(first, wait), Worker(second, intrude)]
    workers[1].name = "intruder"
    received, message = together(workers)
    assert received == b"one"
    assert together([Worker(second, wait_for, pull, push, b"two")]) == [b"two"]
    pull.close()
    push.close()
    context.term()
    return message


# -- short lives -------------------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))


def census() -> dict[str, int]:
    """What a dead thread could leave: descriptors, greenlets, hubs, and objects altogether."""
    gc.collect()
    gc.collect()
    objects = gc.get_objects()
    return {
        "descriptors": descriptors(),
        "greenlets": sum(isinstance(item, greenlet.greenlet) for item in objects),
        "hubs": sum(isinstance(item, Hub) for item in objects),
        "objects": len(objects),
    }


def short_lives(hub: str, leaving: str, threads: int) -> None:
    """Print how the census differs after `threads` threads, each of which used a hub and left something in it."""
    context = greenzmq.Context()
    pull = bound(context, pyzmq.PULL, "pull")
    push = connected(context, pyzmq.PUSH, "pull")

    def live(green: Any) -> None:
        assert wait_for(green, pull, push, b"message") == b"message"
        assert green.run_in_thread(int, "42") == 42
        LEFT[leaving](green)

    def generation(size: int) -> dict[str, int]:
        for _ in range(size):
            together([Worker(hub, live)])
        assert wait_for(greenzmq.hub("selector"), pull, push, b"mine") == b"mine"
        return census()

    generation(threads // 10)
    before = generation(threads // 10)
    after = generation(threads)
    print(json.dumps({name: count - before[name] for name, count in after.items()}))
    pull.close()
    push.close()


def leave_task(green: Any) -> None:
    green.spawn(green.sleep, 1000)
    green.sleep(0)


def leave_watch(green: Any) -> None:
    reader, writer = os.pipe()
    watch = green.hub.watch(reader, int)
    watch.start()
    os.close(writer)
    os.close(reader)


LEFT: dict[str, Callable[[Any], object]] = {
    "nothing": lambda green: None,
    "callback": lambda green: green.hub.call_soon(int),
    "timer": lambda green: green.hub.call_later(1000, int),
    "unstarted task": lambda green: green.spawn(int),
    "waiting task": leave_task,
    "started watch": leave_watch,
}
