"""The programs of test_interrupt.py: Ctrl-C while the main greenlet waits on a hub."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import zmq
from support.variants import VARIANTS

import greenzmq
from greenzmq import GreenHub

#: Seconds between the moment when the main greenlet has parked and the signal: the hub is asleep by then. The hub still
#: awake would be the easier case.
ASLEEP = 0.02


def make_hub(variant_id: str) -> GreenHub:
    """The main thread's hub, on this runtime and loop."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are told to ignore it
    (variant,) = (each for each in VARIANTS if each.id == variant_id)
    variant.load()
    if variant.guest:
        greenzmq.use_hub(variant.name)  # a main greenlet is not seen to wait on a hub of another package
    return variant.green(variant.make())


def interrupt_when_parked(hub: GreenHub, signum: int = signal.SIGINT) -> None:
    """Ctrl-C, or another signal, once this greenlet has given control to the hub."""
    parked = threading.Event()

    def interrupt() -> None:
        parked.wait()
        time.sleep(ASLEEP)
        os.kill(os.getpid(), signum)

    threading.Thread(target=interrupt).start()
    hub.hub.call_soon(parked.set)


def run(variant_id: str) -> None:
    """Interrupt each way to wait; after each the sockets and the hub are as good as before. Then leave one uncaught."""
    hub = make_hub(variant_id)
    context = greenzmq.Context(hub=hub.name)
    pull, push = connect(context, "first")
    check_usable(hub, pull, push)
    for name, wait in WAYS.items():
        if name == "send":
            fill(push)
        interrupt_when_parked(hub)
        try:
            wait(hub, pull, push)
        except KeyboardInterrupt:
            print(name)
        if variant_id == "eventlet-asyncio":  # does not survive an interrupt, with or without greenzmq; sockets do
            hub = make_hub(variant_id)
            if name == "run recv":  # but this one's receiver has gone down with the hub
                pull, push = connect(context, "second")
        check_usable(hub, pull, push)
    for handler in HANDLERS:
        handler(hub, *connect(context, handler.__name__))
        check_usable(hub, pull, push)
        print(handler.__name__)
    print("uncaught", flush=True)
    interrupt_when_parked(hub)
    pull.recv()


def run_asyncio(package: str) -> None:
    """The same from coroutines: Ctrl-C is raised by `asyncio.run`, and the sockets are good for the next one."""
    import greenzmq.asyncio

    signal.signal(signal.SIGINT, signal.default_int_handler)
    context = greenzmq.asyncio.Context()
    pull, push = connect(context, "first")

    async def wait_in_greenlet(name: str) -> None:
        if name == "send":
            fill(push)
        hub = greenzmq.asyncio.hub()
        interrupt_when_parked(hub)
        await greenzmq.asyncio.run(WAYS[name], hub, pull, push)

    async def check() -> None:
        await greenzmq.asyncio.run(check_usable, greenzmq.asyncio.hub(), pull, push)

    for name in WAYS:
        try:
            run_loop(package, wait_in_greenlet(name))
        except KeyboardInterrupt:
            print(name)
        run_loop(package, check())

    async def handle(handler: Callable[..., None]) -> None:
        await greenzmq.asyncio.run(handler, greenzmq.asyncio.hub(), *connect(context, handler.__name__))

    for handler in HANDLERS:
        run_loop(package, handle(handler))
        print(handler.__name__)
    print("uncaught", flush=True)
    run_loop(package, wait_in_greenlet("recv"))


def run_loop(package: str, main: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run` on a loop of this package, which Python 3.10 has no word for."""
    new_event_loop = importlib.import_module(package).new_event_loop
    if hasattr(asyncio, "Runner"):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main)
    else:
        asyncio.set_event_loop_policy(
            getattr(importlib.import_module(package), "EventLoopPolicy", asyncio.DefaultEventLoopPolicy)()
        )
        asyncio.run(main)


def term(hub: GreenHub) -> None:
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)  # that is what it waits for
    context.term()
    del socket


def poller(hub: GreenHub, pull: Any) -> greenzmq.Poller:
    made = greenzmq.Poller(hub=hub)
    made.register(pull, zmq.POLLIN)
    return made


def tracked(hub: GreenHub, push: Any) -> None:
    """Wait for a message that nobody takes."""
    lonely = greenzmq.Context(hub=hub).socket(zmq.PUSH)
    lonely.connect(f"ipc://{tempfile.gettempdir()}/nobody-{os.getpid()}")
    try:
        lonely.send(bytearray(200_000), copy=False, track=True).wait()
    finally:
        lonely.close(linger=0)  # no destroy(), which would wait: eventlet's asyncio hub is out of order now


def signal_when_parked(hub: GreenHub, handler: Callable[[], object]) -> None:
    """Have `handler` called as a signal's, once this greenlet has given control to the hub."""
    signal.signal(signal.SIGUSR1, lambda *_: handler())
    interrupt_when_parked(hub, signal.SIGUSR1)


def send_in_handler(hub: GreenHub, pull: Any, push: Any) -> None:
    """What a signal handler sends is received at once by who waits for it."""
    signal_when_parked(hub, lambda: push.send(b"from the handler"))
    assert pull.recv() == b"from the handler"
    task = hub.spawn(pull.recv)
    signal_when_parked(hub, lambda: push.send(b"once more"))
    assert task.get() == b"once more"
    pull.close()
    push.close()


def close_in_handler(hub: GreenHub, pull: Any, push: Any) -> None:
    """What a signal handler closes is an error at once to who waits on it."""
    task = hub.spawn(pull.poll)
    errors: list[Any] = []
    signal_when_parked(hub, pull.close)
    for wait in (pull.recv, task.get):
        try:
            wait()
        except zmq.ZMQError as error:
            errors.append(error.errno)
    assert errors == [zmq.ENOTSOCK] * 2
    push.close(linger=0)


def end_in_handler(hub: GreenHub, pull: Any, push: Any) -> None:
    """A signal handler ends a context that has nothing to wait for, wherever it comes."""
    context = greenzmq.Context(hub=hub)
    context.socket(zmq.PULL).close()
    ended = greenzmq.GreenEvent()

    def end() -> None:
        context.term()
        ended.set()

    signal_when_parked(hub, end)
    ended.wait()
    assert context.closed
    pull.close()
    push.close()


HANDLERS = (send_in_handler, close_in_handler, end_in_handler)
WAYS: dict[str, Callable[[GreenHub, Any, Any], object]] = {
    "recv": lambda hub, pull, push: pull.recv(),
    "send": lambda hub, pull, push: push.send(b"more"),
    "sleep": lambda hub, pull, push: hub.sleep(1000),
    "sleep again": lambda hub, pull, push: hub.sleep(1000),
    "run": lambda hub, pull, push: hub.run(hub.sleep, 1000),
    "run recv": lambda hub, pull, push: hub.run(pull.recv),
    "join": lambda hub, pull, push: hub.spawn(hub.sleep, 1000).join(),
    "wait_fd": lambda hub, pull, push: hub.wait_fd(os.pipe()[0]),
    "run_in_thread": lambda hub, pull, push: hub.run_in_thread(threading.Event().wait),
    "term": lambda hub, pull, push: term(hub),
    "recv_multipart": lambda hub, pull, push: pull.recv_multipart(),
    "poll": lambda hub, pull, push: pull.poll(),
    "Poller": lambda hub, pull, push: poller(hub, pull).poll(),
    "zmq_poll": lambda hub, pull, push: greenzmq.zmq_poll([(pull, zmq.POLLIN)]),
    "select": lambda hub, pull, push: greenzmq.select([pull], [], []),
    "proxy": lambda hub, pull, push: greenzmq.proxy(pull, push),
    "event": lambda hub, pull, push: greenzmq.GreenEvent().wait(),
    "tracker": lambda hub, pull, push: tracked(hub, push),
    "monitor": lambda hub, pull, push: next(greenzmq.monitor_events(pull)),
}


def connect(context: greenzmq.Context, name: str) -> tuple[Any, Any]:
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.rcvhwm = push.sndhwm = 1
    pull.bind(f"inproc://{name}")
    push.connect(f"inproc://{name}")
    return pull, push


def fill(push: Any) -> None:
    while push.get(zmq.EVENTS) & zmq.POLLOUT:
        push.send(b"fill", zmq.NOBLOCK)


def check_usable(hub: GreenHub, pull: Any, push: Any) -> None:
    """Messages that wait are received, a receiver that waits gets what is sent then, and a task runs."""
    while pull.get(zmq.EVENTS) & zmq.POLLIN:
        pull.recv()
    task = hub.spawn(push.send, b"message")
    assert pull.recv() == b"message"
    task.get()
    assert hub.run(int, "1") == 1
    assert hub.run_in_thread(int, "2") == 2


def leave(variant_id: str) -> None:
    """A task ends the program."""
    hub = make_hub(variant_id)
    hub.spawn(sys.exit, 3)
    hub.sleep(1000)
