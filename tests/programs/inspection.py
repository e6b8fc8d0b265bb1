"""The programs of test_inspection.py: a signal that makes them dump, while the hub is busy and while it is asleep."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

#: Seconds between the moment when the greenlet has parked and the signal: the hub is asleep by then. The hub still
#: awake would be the easier case.
ASLEEP = 0.02

received: list[int] = []
then: list[Callable[[], object]] = [lambda: None]


def handle(*_: object) -> None:
    received.append(1)
    then[-1]()


def run(variant_id: str) -> None:
    """Dump when busy, then when asleep. The handler that was there before is called as well, and ends the sleep."""
    signal.signal(signal.SIGUSR1, handle)
    from support.variants import VARIANTS

    import greenzmq

    (variant,) = (each for each in VARIANTS if each.id == variant_id)
    variant.load()
    hub = variant.make()
    variant.drive(hub, lambda: dump_twice(greenzmq, variant.green(hub)))


def dump_twice(greenzmq, hub) -> None:
    context = greenzmq.Context(hub=hub)
    socket = context.socket(greenzmq.PULL)
    socket.bind("inproc://address")
    task = hub.spawn(socket.recv)
    hub.sleep(0)
    keep_hub_busy()
    mark("asleep")
    event = greenzmq.GreenEvent()
    then.append(lambda: hub.hub.call_soon_threadsafe(event.set))  # on asyncio a handler can do nothing else
    parked = threading.Event()

    def kill_when_parked() -> None:
        parked.wait()
        time.sleep(ASLEEP)
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=kill_when_parked)
    thread.start()
    hub.hub.call_soon(parked.set)
    wait_asleep(event)
    thread.join()
    mark("end")
    task.kill()
    socket.close()
    context.term()


def keep_hub_busy() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    while len(received) < 1:
        pass


def wait_asleep(event) -> None:
    event.wait()


def mark(name: str) -> None:
    print(f"---{name}", file=sys.stderr, flush=True)
