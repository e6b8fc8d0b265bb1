"""Ten thousand sockets, each with a greenlet that waits on it: greenzmq beside its peers.

    python tests/peers/scale.py [--sockets N] [--only NAMESPACE]

Each row is a process of its own, one after the other. A ROUTER has one DEALER for each greenlet, over inproc, so that
any of them can be woken by name:

- *set up*: the sockets are made and connected, the greenlets spawned, until all wait; *wake all*: a message to each,
  until all have answered; *wake one*: the same for one alone, the mean of 100; *tear down*: all end, every socket is
  closed, and the context.
- *socket*, *wait*: bytes of memory that belong to this process alone, for each socket made and for each greenlet that
  waits.
- *added*: bytes beyond pyzmq's own socket and a greenlet of the same runtime that merely parks: what the library costs.
- *heap*: the same, of Python's allocator alone (tracemalloc). The stack that a greenlet leaves behind is part of it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

SOCKETS = 10_000
#: Of the runs under tracemalloc, which are slow.
TRACED = 1_000
WAKES = 100
#: The namespace; the runtime, whose spawn and sleep belong to it.
CONTENDERS = (
    ("zmq.green", "gevent"),
    ("greenzmq.gevent", "gevent"),
    ("eventlet.green.zmq", "eventlet"),
    ("greenzmq.eventlet", "eventlet"),
    ("greenzmq.selector", "selector"),
    ("greenzmq.asyncio", "asyncio"),
)
COLUMNS = ("set up", "wake all", "wake one", "tear down", "socket", "wait", "added", "heap")


class Program:
    """A program of one namespace on one runtime. With the namespace ``zmq`` its greenlets do not receive, but park."""

    def __init__(self, namespace: str, runtime: str, sockets: int, trace: bool) -> None:
        self.zmq: Any = importlib.import_module(namespace)
        self.bare = namespace == "zmq"
        self.spawn, self.sleep, self.park = means_of(runtime)
        self.sockets = sockets
        self.trace = trace
        self.waiting = 0
        self.context = self.zmq.Context()
        self.context.set(self.zmq.MAX_SOCKETS, sockets + 100)
        self.router = self.context.socket(self.zmq.ROUTER)
        self.router.bind("inproc://router")

    def run(self) -> dict[str, float]:
        warm_up = [self.dealer(b"warm-up %d" % number) for number in range(20)]
        for socket in warm_up:
            self.spawn(self.wait, socket)
        self.until_waiting(len(warm_up))
        before = self.memory()
        start = time.perf_counter()
        dealers = [self.dealer(b"%d" % number) for number in range(self.sockets)]
        made = time.perf_counter() - start
        with_sockets = self.memory()
        start = time.perf_counter()
        for socket in dealers:
            self.spawn(self.wait, socket)
        self.until_waiting(len(warm_up) + self.sockets)
        found = {"set up": made + time.perf_counter() - start}
        self.sleep(0.1)
        found["socket"] = (with_sockets - before) / self.sockets
        found["wait"] = (self.memory() - with_sockets) / self.sockets
        return found if self.bare or self.trace else {**found, **self.wake(), **self.end([*warm_up, *dealers])}

    def dealer(self, name: bytes) -> Any:
        socket = self.context.socket(self.zmq.DEALER)
        socket.setsockopt(self.zmq.IDENTITY, name)
        socket.connect("inproc://router")
        return socket

    def wait(self, socket: Any) -> None:
        self.waiting += 1
        if self.bare:
            self.park()
        while (message := socket.recv()) != b"end":
            socket.send(message)
        self.waiting -= 1

    def until_waiting(self, expected: int) -> None:
        while self.waiting < expected:
            self.sleep(0)

    def wake(self) -> dict[str, float]:
        start = time.perf_counter()
        for number in range(self.sockets):
            self.router.send_multipart([b"%d" % number, b"go on"])
        for _ in range(self.sockets):
            self.router.recv_multipart()
        found = {"wake all": time.perf_counter() - start}
        start = time.perf_counter()
        for number in range(0, self.sockets, max(self.sockets // WAKES, 1)):
            self.router.send_multipart([b"%d" % number, b"go on"])
            self.router.recv_multipart()
        return {**found, "wake one": (time.perf_counter() - start) / min(WAKES, self.sockets)}

    def end(self, dealers: list[Any]) -> dict[str, float]:
        start = time.perf_counter()
        for socket in dealers:
            self.router.send_multipart([socket.getsockopt(self.zmq.IDENTITY), b"end"])
        while self.waiting:
            self.sleep(0)
        for socket in (*dealers, self.router):
            socket.close(linger=0)
        self.context.term()
        return {"tear down": time.perf_counter() - start}

    def memory(self) -> int:
        """Bytes: of Python's allocator under `trace`, else of the pages that are this process's alone."""
        gc.collect()
        if self.trace:
            return tracemalloc.get_traced_memory()[0]
        with open("/proc/self/smaps_rollup") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


def means_of(runtime: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The runtime's spawn and sleep, and what parks a greenlet for good."""
    if runtime == "gevent":
        import gevent

        return gevent.spawn, gevent.sleep, gevent.get_hub().switch
    if runtime == "eventlet":
        import eventlet

        return eventlet.spawn, eventlet.sleep, eventlet.hubs.get_hub().switch
    hub = importlib.import_module(f"greenzmq.{runtime}").hub()
    return hub.spawn, hub.sleep, hub.hub.switch


def child(namespace: str, runtime: str, sockets: int, trace: bool) -> None:
    warnings.simplefilter("ignore")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if trace:
        tracemalloc.start()

    def measure() -> None:
        print(json.dumps(Program(namespace, runtime, sockets, trace).run()), flush=True)
        os._exit(0)  # what still waits has no end

    if runtime == "asyncio":
        import asyncio

        import greenzmq.asyncio

        asyncio.run(greenzmq.asyncio.run(measure))  # type: ignore[arg-type]
    else:
        measure()


def measured(namespace: str, runtime: str, sockets: int, trace: bool = False) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", namespace, runtime, str(sockets), "trace" if trace else ""]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if ran.returncode:
        sys.exit(f"{namespace} on {runtime}: {(ran.stderr.strip().splitlines() or [ran.returncode])[-1]}")
    result: dict[str, float] = json.loads(ran.stdout)
    return result


def total(namespace: str, runtime: str, sockets: int, trace: bool = False) -> float:
    """Bytes for each socket with its greenlet."""
    found = measured(namespace, runtime, sockets, trace)
    return found["socket"] + found["wait"]


def row(namespace: str, runtime: str, sockets: int) -> list[str]:
    found = measured(namespace, runtime, sockets)
    found["added"] = found["socket"] + found["wait"] - total("zmq", runtime, sockets)
    traced = min(TRACED, sockets)
    found["heap"] = total(namespace, runtime, traced, trace=True) - total("zmq", runtime, traced, trace=True)
    cells = {name: f"{value:.0f} B" for name, value in found.items()}
    for name in ("set up", "wake all", "tear down"):
        cells[name] = f"{found[name]:.2f} s"
    cells["wake one"] = f"{found['wake one'] * 1e6:.0f} µs"
    return [namespace, *(cells[name] for name in COLUMNS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=SOCKETS, help=f"how many (default: {SOCKETS})")
    parser.add_argument("--only", metavar="NAMESPACE", help="one row")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        namespace, runtime, sockets, trace = options.child
        child(namespace, runtime, int(sockets), bool(trace))
        return
    print(f"{options.sockets} sockets".ljust(20), *(name.rjust(10) for name in COLUMNS))
    for namespace, runtime in CONTENDERS:
        if options.only in (None, namespace):
            name, *cells = row(namespace, runtime, options.sockets)
            print(name.ljust(20), *(cell.rjust(10) for cell in cells), flush=True)


if __name__ == "__main__":
    main()
