"""What becomes of a greenlet in recv() when another greenlet takes its signal: greenzmq beside its peers.

    python tests/peers/lost_wakeup.py [--limit SECONDS]

A greenlet waits in recv(); its message arrives; before the hub has looked a second greenlet makes one call on the same
socket. The table shows how long the first greenlet then went on waiting. Each cell is a process of its own; all run at
once, so the whole takes as long as the limit. `tests/sockets/test_lost_wakeups.py` holds greenzmq to its column.
"""

from __future__ import annotations

import argparse
import importlib
import select
import subprocess
import sys
import time
import warnings
from typing import Any

LIMIT = 20.0
#: The column's heading, the namespace, and the module whose sleep and spawn belong to it.
LIBRARIES = (
    ("zmq.green", "zmq.green", "gevent"),
    ("eventlet.green.zmq", "eventlet.green.zmq", "eventlet"),
    ("greenzmq.gevent", "greenzmq.gevent", "gevent"),
    ("greenzmq.eventlet", "greenzmq.eventlet", "eventlet"),
    ("greenzmq.selector", "greenzmq.selector", ""),
)


def raw_poll(zmq: Any, socket: Any) -> None:
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLOUT)
    poller.poll(0)


CALLS = {
    "get(EVENTS)": lambda zmq, socket: socket.get(zmq.EVENTS),
    "getsockopt(EVENTS)": lambda zmq, socket: socket.getsockopt(zmq.EVENTS),
    ".EVENTS": lambda zmq, socket: socket.EVENTS,
    "poll(0)": lambda zmq, socket: socket.poll(0),
    "Poller.poll(0)": raw_poll,
    "bind(inproc)": lambda zmq, socket: socket.bind("inproc://other"),
    "bind(tcp)": lambda zmq, socket: socket.bind("tcp://127.0.0.1:*"),
    "connect": lambda zmq, socket: socket.connect("inproc://other"),
    "send(NOBLOCK)": lambda zmq, socket: socket.send(b"x", zmq.NOBLOCK),
}


def child(namespace: str, runtime: str, call: str, limit: float) -> str:
    """How long the receiver waited after the call, in words."""
    warnings.simplefilter("ignore")
    zmq = importlib.import_module(namespace)
    if runtime:
        module = importlib.import_module(runtime)
        spawn, sleep = module.spawn, module.sleep
    else:
        spawn, sleep = zmq.hub().spawn, zmq.hub().sleep
    context = zmq.Context()
    socket, peer = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    socket.bind("inproc://here")
    peer.connect("inproc://here")
    received: list[float] = []
    spawn(lambda: (socket.recv(), received.append(time.monotonic())))
    for _ in range(10):
        sleep(0.01)
    peer.send(b"m")
    readable = select.poll()
    # The original one: these programs patch nothing.
    readable.register(socket.getsockopt(zmq.FD), select.POLLIN)
    if not readable.poll(5000):
        return "no signal"
    CALLS[call](zmq, socket)
    start = time.monotonic()
    while not received and time.monotonic() < start + limit:
        sleep(0.05)
    if not received:
        return f"never (> {limit:g} s)"
    waited = received[0] - start
    return "at once" if waited < 0.05 else f"{waited:.1f} s"


def start(library: tuple[str, str, str], call: str, limit: float) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--limit", str(limit), "--child", *library[1:], call]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str], limit: float) -> str:
    try:
        output, errors = process.communicate(timeout=limit + 30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "hangs"
    if process.returncode:
        last = (errors.strip().splitlines() or ["?"])[-1]
        return "not installed" if last.startswith("ModuleNotFoundError") else last[:24]
    return output.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds to wait for a wake-up (default: 20)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        namespace, runtime, call = options.child
        print(child(namespace, runtime, call, options.limit), flush=True)
        return
    running = {(call, library): start(library, call, options.limit) for call in CALLS for library in LIBRARIES}
    headings = ["the second greenlet calls", *(library[0] for library in LIBRARIES)]
    rows = [[call, *(outcome(running[call, library], options.limit) for library in LIBRARIES)] for call in CALLS]
    widths = [max(len(row[n]) for row in [headings, *rows]) for n in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
