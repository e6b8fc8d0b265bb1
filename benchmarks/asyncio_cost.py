"""What one awaited call costs: ``await greenzmq.asyncio.run(sock.recv)`` against ``await sock.recv()`` of zmq.asyncio.

    python benchmarks/asyncio_cost.py [--blocks 200] [--loop asyncio | uvloop] [--json]

Two cases, each on the standard library's loop and on uvloop:

ready
    The message is there when the call is made, so that nobody need wait.
must wait
    The call is made first; then a callback of the loop sends the message. The send is part of the time, for both alike.

The libraries take turns, in short blocks of `CALLS` calls, and who begins changes from block to block: what slows the
machine down for a while slows both. Printed are the medians over the blocks, in microseconds for one call, and
the ratio: greenzmq's median divided by zmq.asyncio's, with the quartiles of the ratios of neighbouring blocks. The
sockets are PUSH and PULL over inproc, one pair for each library; messages have 100 bytes. The senders are plain pyzmq
sockets, so that only the receiving end differs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import zmq
import zmq.asyncio

import greenzmq.asyncio

#: Calls in one block; below the high-water mark, and a few milliseconds long.
CALLS = 200
MESSAGE = bytes(100)
LOOPS = ("asyncio", "uvloop")
CASES = ("ready", "must wait")

Receive = Callable[[], Awaitable[bytes]]


class Library:
    """One library's end of a pair of sockets."""

    def __init__(self, name: str, kind: type[zmq.Context[Any]]) -> None:
        self.name = name
        self.plain: zmq.Context[Any] = zmq.Context()
        self.push, self.pull = self.plain.socket(zmq.PUSH), kind(self.plain).socket(zmq.PULL)
        self.push.bind(f"inproc://{name}")
        self.pull.connect(f"inproc://{name}")
        self.receive: Receive = self.pull.recv

    def close(self) -> None:
        self.push.close(0)
        self.pull.close(0)
        self.plain.term()


def libraries() -> tuple[Library, Library]:
    """greenzmq and zmq.asyncio."""
    ours, theirs = Library("greenzmq", greenzmq.asyncio.Context), Library("zmq.asyncio", zmq.asyncio.Context)
    recv, run = ours.pull.recv, greenzmq.asyncio.run
    ours.receive = lambda: run(recv)
    return ours, theirs


async def ready(library: Library) -> float:
    """Seconds for `CALLS` calls that find their message."""
    receive, send = library.receive, library.push.send
    for _ in range(CALLS):
        send(MESSAGE, zmq.NOBLOCK)
    begun = time.thread_time()
    for _ in range(CALLS):
        await receive()
    return time.thread_time() - begun


async def must_wait(library: Library) -> float:
    """Seconds for `CALLS` calls that wait for a message which a callback sends."""
    receive, send, call_soon = library.receive, library.push.send, asyncio.get_running_loop().call_soon
    begun = time.thread_time()
    for _ in range(CALLS):
        call_soon(send, MESSAGE, zmq.NOBLOCK)
        await receive()
    return time.thread_time() - begun


async def measure(blocks: int) -> dict[str, dict[str, Any]]:
    """Both cases with both libraries, in turns."""
    pair = libraries()
    cases = {"ready": ready, "must wait": must_wait}
    times: dict[str, dict[str, list[float]]] = {case: {each.name: [] for each in pair} for case in cases}
    for case in cases.values():
        for library in pair:
            await case(library)  # the first call of all opens what stays
    gc.collect()
    gc.disable()
    for block in range(blocks):
        for name, case in cases.items():
            for library in pair[:: -1 if block % 2 else 1]:
                times[name][library.name].append(await case(library) / CALLS * 1e6)
    gc.enable()
    for library in pair:
        library.close()
    return {case: summary(times[case]) for case in CASES}


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours, theirs = times.values()
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        **medians,
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "quartiles": [ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]],
    }


def run_on(loop: str, blocks: int) -> dict[str, dict[str, Any]]:
    """`measure` on a new loop of package `loop`."""
    made = importlib.import_module(loop).new_event_loop()
    try:
        result: dict[str, dict[str, Any]] = made.run_until_complete(measure(blocks))
        made.run_until_complete(made.shutdown_asyncgens())
        return result
    finally:
        made.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=200, help=f"blocks of {CALLS} calls of each kind")
    parser.add_argument("--loop", choices=LOOPS, help="on this loop only")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    options = parser.parse_args()
    results = {loop: run_on(loop, options.blocks) for loop in LOOPS if options.loop in (None, loop)}
    if options.json:
        print(json.dumps(results))
        return
    print(
        f"Python {sys.version.split()[0]}, pyzmq {zmq.__version__}; µs for one call, medians of {options.blocks} blocks"
    )
    print(f"{'':20} {'greenzmq':>9} {'zmq.asyncio':>12} {'ratio':>6}   quartiles")
    for loop, cases in results.items():
        for case, row in cases.items():
            low, high = row["quartiles"]
            print(
                f"{loop:9} {case:10} {row['greenzmq']:9.2f} {row['zmq.asyncio']:12.2f} {row['ratio']:6.2f}   "
                f"{low:.2f}–{high:.2f}"
            )


if __name__ == "__main__":
    main()
