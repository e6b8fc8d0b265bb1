"""What the five programs share: ``--hub``, and their child processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import greenzmq as zmq


def main(program: Callable[[str], None], **roles: Callable[..., None]) -> None:
    """Run `program`, or in a child process the role that was asked for, on the hub that ``--hub`` names."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--hub", default="selector", help="gevent, eventlet, asyncio, uvloop, selector or threading")
    parser.add_argument("role", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        zmq.main(roles[options.role[0]], *options.role[1:], hub=options.hub)
    else:
        zmq.main(program, options.hub, hub=options.hub)


def start(hub: str, role: str, *args: object) -> subprocess.Popen[bytes]:
    """Start a child process of this program, in a role."""
    return subprocess.Popen([sys.executable, sys.argv[0], "--hub", hub, role, *map(str, args)])


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a child process, as a crash would, and wait for its end; the others go on meanwhile."""
    process.kill()
    zmq.hub().run_in_thread(process.wait)


@contextmanager
def started(hub: str, role: str, *args: object) -> Iterator[Any]:
    """A child process for a block."""
    process = start(hub, role, *args)
    try:
        yield process
    finally:
        end(process)
