"""Native threads with a socket each: ``greenzmq.threading`` against pyzmq as one writes it by hand, with `threading`.

    python benchmarks/threads.py [--rounds 9] [--pairs 1 4] [--json]

Two cases, over inproc and over tcp, with so many pairs of threads at once; each thread has a socket of its own:

stream
    One thread of a pair sends messages of 100 bytes on a PUSH as fast as it can, the other receives them on a PULL.
round trip
    One thread asks on a REQ, the other answers on a REP.

And one that pyzmq does not have: a stream where all threads share one PUSH and one PULL ("shared").

The libraries take turns, and who begins changes from round to round, since a machine's speed changes more from minute
to minute than they differ. A round is one process, so that nothing is left of the one before. Printed are the medians
over the rounds: messages, or round trips, a second, of all pairs together; and the processor time for one of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

LIBRARIES = ("pyzmq", "greenzmq")
#: The number of messages, or round trips, of all pairs together in one round.
AMOUNTS = {"stream": 100_000, "round trip": 8_000, "shared": 16_000}
MESSAGE = bytes(100)

Work = Callable[[Any, int], None]


def send(socket: Any, amount: int) -> None:
    for _ in range(amount):
        socket.send(MESSAGE)


def receive(socket: Any, amount: int) -> None:
    for _ in range(amount):
        socket.recv()


def ask(socket: Any, amount: int) -> None:
    for _ in range(amount):
        socket.send(MESSAGE)
        socket.recv()


def answer(socket: Any, amount: int) -> None:
    for _ in range(amount):
        socket.send(socket.recv())


CASES: dict[str, tuple[int, Work, int, Work]] = {
    "stream": (zmq.PULL, receive, zmq.PUSH, send),
    "round trip": (zmq.REP, answer, zmq.REQ, ask),
    "shared": (zmq.PULL, receive, zmq.PUSH, send),
}


def run_pyzmq(jobs: list[tuple[Work, Any, int]]) -> None:
    threads = [threading.Thread(target=work, args=arguments) for work, *arguments in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_greenzmq(jobs: list[tuple[Work, Any, int]]) -> None:
    import greenzmq.threading

    tasks = [greenzmq.threading.hub().spawn(*job) for job in jobs]
    for task in tasks:
        task.get()


def measure(library: str, case: str, transport: str, pairs: int) -> dict[str, float]:
    """One round, in this process."""
    if library == "greenzmq":
        import greenzmq.threading

        context: Any = greenzmq.threading.Context()
    else:
        context = zmq.Context()
    binds, one_end, connects, other_end = CASES[case]
    jobs: list[tuple[Work, Any, int]] = []
    amount = AMOUNTS[case] // pairs
    for number in range(pairs):
        if case != "shared" or not jobs:
            bound, connected = context.socket(binds), context.socket(connects)
            bound.bind("tcp://127.0.0.1:*" if transport == "tcp" else f"inproc://{number}")
            connected.connect(bound.last_endpoint.decode())
        jobs += [(one_end, bound, amount), (other_end, connected, amount)]
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    (run_greenzmq if library == "greenzmq" else run_pyzmq)(jobs)
    seconds, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    context.destroy(linger=0)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {"rate": amount * pairs / seconds, "microseconds": processor / (amount * pairs) * 1e6}


def measure_elsewhere(*arguments: object) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def compare(case: str, transport: str, pairs: int, rounds: int) -> dict[str, Any]:
    """The medians of both libraries, which take turns."""
    found: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    libraries = LIBRARIES if case != "shared" else LIBRARIES[1:]
    for number in range(rounds):
        for library in libraries if number % 2 else libraries[::-1]:
            found[library].append(measure_elsewhere(library, case, transport, pairs))
    row: dict[str, Any] = {"case": case, "transport": transport, "pairs": pairs}
    for library in libraries:
        for what in ("rate", "microseconds"):
            row[f"{library} {what}"] = statistics.median(each[what] for each in found[library])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each library and case; 9 by default")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 4], help="pairs of threads at once; 1 and 4")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    rows = [
        compare(case, transport, pairs, options.rounds)
        for case in CASES
        for transport in ("inproc", "tcp")
        for pairs in options.pairs
    ]
    if options.json:
        print(json.dumps(rows))
        return
    print(
        f"{'case':<11}{'transport':<10}{'pairs':>5}{'pyzmq /s':>12}{'greenzmq /s':>13}{'ratio':>7}{'CPU, us each':>18}"
    )
    for row in rows:
        theirs, ours = row.get("pyzmq rate"), row["greenzmq rate"]
        ratio = f"{ours / theirs:.2f}" if theirs else "-"
        processor = " / ".join(
            f"{row[f'{library} microseconds']:.1f}" for library in LIBRARIES if f"{library} rate" in row
        )
        shown = f"{theirs:,.0f}" if theirs else "-"
        start = f"{row['case']:<11}{row['transport']:<10}{row['pairs']:>5}"
        print(f"{start}{shown:>12}{ours:>13,.0f}{ratio:>7}{processor:>18}")


if __name__ == "__main__":
    main()
