"""The programs of test_interrupt.py: Ctrl-C while the main greenlet waits on a hub."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq
from variants import VARIANTS

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
    return GreenHub.of(variant.make())


def interrupt_when_parked(hub: GreenHub) -> None:
    """Ctrl-C, once this greenlet has given control to the hub."""
    parked = threading.Event()

    def interrupt() -> None:
        parked.wait()
        time.sleep(ASLEEP)
        os.kill(os.getpid(), signal.SIGINT)

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
    print("uncaught", flush=True)
    interrupt_when_parked(hub)
    pull.recv()


def term(hub: GreenHub) -> None:
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)  # that is what it waits for
    context.term()
    del socket


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
