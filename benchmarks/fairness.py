"""What the turn gives and what it costs: hot loops beside a ticker, with turns of 2 ms and with turns without an end.

    python benchmarks/fairness.py [--hub gevent] [--count 200000] [--rounds 5]

For each hub, in a process of its own, and each hot loop: the longest gap between two ticks of a greenlet that wants to
run every millisecond, in milliseconds, and the throughput with turns as a share of that without, medians of rounds that
alternate. Messages of 100 bytes are all at hand before a loop begins; of those of 64 KiB there are a hundredth as many.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import itertools
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import zmq

HUBS = ("gevent", "eventlet", "selector", "asyncio", "asyncio+uvloop")
TURNS = (2.0, 0.0)
NOBLOCK = int(zmq.NOBLOCK)


class Bench:
    """One hub, one turn: sockets, a ticker, and the hot loops."""

    def __init__(self, module: Any, turn: float) -> None:
        self.module = module
        self.hub = module.hub()
        self.context = module.Context(turn=turn)
        self.kept: list[Any] = []

    def pair(self, binds: int, connects: int) -> tuple[Any, Any]:
        bound, peer = self.context.socket(binds), self.context.socket(connects)
        for socket in (bound, peer):
            socket.sndhwm = socket.rcvhwm = 0
        bound.bind(f"inproc://{id(bound)}")
        peer.connect(f"inproc://{id(bound)}")
        self.kept += bound, peer
        return bound, peer

    def filled(self, message: Any, count: int) -> tuple[Any, Any]:
        pull, push = self.pair(zmq.PULL, zmq.PUSH)
        for _ in range(count):
            push.send_multipart(message, NOBLOCK)
        return pull, push

    # Each prepares, and returns what is to be timed.

    def send(self, body: bytes, count: int) -> Callable[[], None]:
        _, push = self.pair(zmq.PULL, zmq.PUSH)
        return lambda: repeat(count, push.send, body)

    def recv(self, body: bytes, count: int) -> Callable[[], None]:
        pull, _ = self.filled([body], count)
        return lambda: repeat(count, pull.recv)

    def send_multipart(self, body: bytes, count: int) -> Callable[[], None]:
        _, push = self.pair(zmq.PULL, zmq.PUSH)
        return lambda: repeat(count // 2, push.send_multipart, [body, body])

    def recv_multipart(self, body: bytes, count: int) -> Callable[[], None]:
        pull, _ = self.filled([body, body], count // 2)
        return lambda: repeat(count // 2, pull.recv_multipart)

    def poll(self, body: bytes, count: int) -> Callable[[], None]:
        pull, _ = self.filled([body], 1)
        return lambda: repeat(count, pull.poll, 1000)

    def publish(self, body: bytes, count: int) -> Callable[[], None]:
        pub, sub = self.pair(zmq.PUB, zmq.SUB)
        sub.subscribe(b"")
        return lambda: repeat(count, pub.send, body)

    def proxy(self, body: bytes, count: int) -> Callable[[], None]:
        front, _ = self.filled([body], count)
        back, pull = self.pair(zmq.PUSH, zmq.PULL)

        def run() -> None:
            task = self.hub.spawn(self.module.proxy, front, back)
            for _ in range(count):
                pull.recv()
            task.kill()

        return run

    def measure(self, name: str, body: bytes, count: int) -> tuple[float, float]:
        """Messages a second, and the longest gap between two ticks in ms."""
        hot = getattr(self, name)(body, count)
        ticks = [perf_counter()]

        def tick() -> None:
            while True:
                self.hub.sleep(0.001)
                ticks.append(perf_counter())

        ticker = self.hub.spawn(tick)
        self.hub.sleep(0.01)
        del ticks[:-1]
        begin = perf_counter()
        hot()
        end = perf_counter()
        self.hub.sleep(0.01)
        ticker.kill()
        times = [begin, *(tick for tick in ticks if begin < tick < end), end]
        gap = max(later - earlier for earlier, later in itertools.pairwise(times))
        return count / (end - begin), gap * 1000

    def close(self) -> None:
        self.context.destroy(linger=0)


LOOPS = ("send", "recv", "send_multipart", "recv_multipart", "poll", "publish", "proxy")


def repeat(count: int, call: Callable[..., object], *args: object) -> None:
    for _ in range(count):
        call(*args)


def measure_all(module: Any, hub: str, count: int, rounds: int) -> None:
    for size, messages in ((100, count), (65536, max(count // 100, 100))):
        for name in LOOPS:
            rates: dict[float, list[float]] = {turn: [] for turn in TURNS}
            gaps: dict[float, list[float]] = {turn: [] for turn in TURNS}
            for _ in range(rounds):
                for turn in TURNS:
                    bench = Bench(module, turn)
                    rate, gap = bench.measure(name, bytes(size), messages)
                    bench.close()
                    rates[turn].append(rate)
                    gaps[turn].append(gap)
            share = statistics.median(rates[TURNS[0]]) / statistics.median(rates[TURNS[1]])
            with_turns, without = (statistics.median(gaps[turn]) for turn in TURNS)
            print(
                f"| {hub} | {size} | {name} | {statistics.median(rates[TURNS[0]]):,.0f} | {share:.2f} "
                f"| {with_turns:.1f} | {max(gaps[TURNS[0]]):.1f} | {without:.0f} |",
                flush=True,
            )


def run_hub(hub: str, count: int, rounds: int) -> None:
    name, _, loop = hub.partition("+")
    module = importlib.import_module(f"greenzmq.{name}")
    if name != "asyncio":
        module.hub().run(measure_all, module, hub, count, rounds)
        return
    package = importlib.import_module(loop or "asyncio")
    runner = package.new_event_loop()
    asyncio.set_event_loop(runner)
    runner.run_until_complete(module.run(measure_all, module, hub, count, rounds))
    runner.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", action="append", choices=HUBS)
    parser.add_argument("--count", type=int, default=200_000, help="messages of 100 bytes at hand")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        run_hub(options.here, options.count, options.rounds)
        return
    print("| hub | bytes | hot loop | messages/s | share of the rate without turns | longest gap, ms: median", end="")
    print(" | worst | without turns |\n|---|---|---|---|---|---|---|---|", flush=True)
    for hub in options.hub or HUBS:
        command = [sys.executable, "-W", "ignore", __file__, "--here", hub]
        command += ["--count", str(options.count), "--rounds", str(options.rounds)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
