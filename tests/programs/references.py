"""A million of each operation of the compiled fast path, errors included, and what is left of them: nothing.

Counted are Python's blocks of memory and the references to what each call is given, and the process's size.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import Any

import zmq
from greenlet import getcurrent

import greenzmq
from greenzmq.sockets import accelerator
from greenzmq.sockets.accelerator import get_option

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
#: Blocks that may be left, of however many calls: caches fill, and a turn may end in one of two halves.
SLACK = 500
BIG = b"x" * 70_000


def operations(context: greenzmq.Context) -> dict[str, Callable[[], object]]:
    """Each makes one call, or one and its counterpart; none leaves a message behind."""
    one, other, full, closed, lonely, router = (
        context.socket(kind) for kind in (zmq.PAIR, zmq.PAIR, zmq.PUSH, zmq.PAIR, zmq.PAIR, zmq.ROUTER)
    )
    one.bind("inproc://references")
    other.connect("inproc://references")
    full.sndtimeo = lonely.rcvtimeo = lonely.sndtimeo = 0
    router.router_mandatory = True
    closed.close()
    data, parts, many, large = b"data", [b"a", b"", b"c" * 100], [b"%d" % n for n in range(20)], [BIG, b"b"]
    enum = zmq.RCVMORE

    def fails(error: type[BaseException], function: Callable[..., object], *args: object, **names: Any) -> None:
        try:
            function(*args, **names)
        except error:
            return
        raise AssertionError(f"{function} has not failed")

    return {
        "send, recv": lambda: (one.send(data), other.recv()),
        "send, recv, empty": lambda: (one.send(b""), other.recv()),
        "send, recv, big": lambda: (one.send(BIG), other.recv()),
        "send, recv, by names": lambda: (one.send(data, flags=0, copy=True), other.recv(copy=True, track=False)),
        "send, recv, in Python": lambda: (one.send(bytearray(data)), other.recv(copy=False)),
        "whole messages": lambda: (one.send_multipart(parts), other.recv_multipart()),
        "whole messages, tuple": lambda: (one.send_multipart(tuple(parts)), other.recv_multipart()),
        "whole messages, many parts": lambda: (one.send_multipart(many), other.recv_multipart()),
        "whole messages, big": lambda: (one.send_multipart(large), other.recv_multipart()),
        "recv, nothing there": lambda: fails(zmq.Again, lonely.recv),
        "recv_multipart, nothing there": lambda: fails(zmq.Again, lonely.recv_multipart),
        "send, no room": lambda: fails(zmq.Again, full.send, data),
        "send_multipart, no room": lambda: fails(zmq.Again, full.send_multipart, parts),
        "send, no such peer": lambda: fails(zmq.ZMQError, router.send_multipart, parts),
        "send, closed": lambda: fails(zmq.ZMQError, closed.send, data),
        "recv, closed": lambda: fails(zmq.ZMQError, closed.recv),
        "send_multipart, closed": lambda: fails(zmq.ZMQError, closed.send_multipart, parts),
        "recv_multipart, closed": lambda: fails(zmq.ZMQError, closed.recv_multipart),
        "send, no bytes": lambda: fails(TypeError, one.send, "text"),
        "send_multipart, no bytes": lambda: fails(TypeError, one.send_multipart, [data, "text"]),
        "send_multipart, nothing": lambda: fails(IndexError, one.send_multipart, []),
        "send, too many arguments": lambda: fails(TypeError, one.send, data, 0, True, False, None, None, None),
        "send, an argument twice": lambda: fails(TypeError, one.send, data, 0, flags=0),
        "recv, no such argument": lambda: fails(TypeError, one.recv, colour=1),
        "no socket": lambda: fails(AttributeError, greenzmq.Socket.recv, data),
        "no argument": lambda: fails(TypeError, greenzmq.Socket.send),
        "option": lambda: (get_option(one, 15), get_option(one, enum)),
        "option that is no integer": lambda: get_option(one, int(zmq.LAST_ENDPOINT)),
        "option of a closed socket": lambda: fails(zmq.ZMQError, get_option, closed, 15),
        "option that does not exist": lambda: fails(zmq.ZMQError, get_option, one, 10_000),
        "bound method": lambda: (one.send, greenzmq.Socket.recv),
        "a socket": lambda: context.socket(zmq.PAIR).close(),
    }


def count(operation: Callable[[], object], times: int) -> tuple[int, int]:
    """Blocks of memory, and references to common objects, that `times` operations have left."""
    watched = (None, True, False, 0, b"", BIG, getcurrent(), greenzmq.Socket, greenzmq.Socket.send, *range(90, 101))
    gc.collect()
    references = sum(map(sys.getrefcount, watched))
    blocks = sys.getallocatedblocks()
    for _ in range(times):
        operation()
    gc.collect()
    return sys.getallocatedblocks() - blocks, sum(map(sys.getrefcount, watched)) - references


def main() -> None:
    print(f"greenzmq {greenzmq.__version__}, fast path {accelerator.status()}, Python {sys.version.split()[0]}")
    wrong = []
    with greenzmq.Context(hub="selector") as context:
        table = operations(context)
        for name, operation in table.items():
            costly = ("big" in name) + (name == "a socket")
            times = TIMES // (100 if costly else 1)
            count(operation, min(times, 1000))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            blocks, references = count(operation, times)
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            fine = abs(blocks) <= SLACK and abs(references) <= SLACK and size < 16_000
            print(f"{name:32} {times:9} times: {blocks:5} blocks, {references:5} references, {size:6} KiB", flush=True)
            if not fine:
                wrong.append(name)
        context.destroy(0)
    if wrong:
        sys.exit(f"left behind: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
