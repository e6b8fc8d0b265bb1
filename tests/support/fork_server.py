"""A process that has imported what programs need, and forks for each program that it is sent; see `support.forked`.

Such a child begins as ``python`` begins a program, but that some modules of others are imported already. The server
itself starts no thread, makes no context of libzmq and no hub, and never imports greenzmq, so neither do its children
find any. A child ends as every interpreter does: it waits for its threads, runs what `atexit` holds, prints the
traceback of its program, and leaves with its status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["LONGEST", "program"]

#: Bytes, more than any request has.
LONGEST = 1 << 18


class Forked(NamedTuple):
    """A child. ``ended`` is readable at its end, which is told on ``connection``; whoever hangs up kills the child."""

    pid: int
    ended: int
    connection: int


def program(imports: list[str]) -> CodeType:
    """Import modules, and serve on the standard input. Returns in each child, with what the child has to run.

    What cannot be imported here is left out: it is an error for those children that need it.
    """
    for name in imports:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child would copy the memory of all these objects, as its garbage is collected
    with socket.socket(fileno=os.dup(0)) as control:
        request, streams = serve(control)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return prepare(**request)


def serve(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each message, until the other end is closed. Return the message in the child.

    With each message, the JSON of what `prepare` takes, come a connection for the child, and its standard streams.
    """
    children: dict[int, Forked] = {}  # by the descriptors of each
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        fd, _ = poll.poll()[0]
        if fd == control.fileno():
            request, descriptors, _, _ = socket.recv_fds(control, LONGEST, 4)
            if not request:
                for child in {*children.values()}:
                    os.kill(child.pid, signal.SIGKILL)
                sys.exit()
            connection, *streams = descriptors
            if not (pid := os.fork()):
                for descriptor in (connection, *children):
                    os.close(descriptor)
                return json.loads(request), streams
            for stream in streams:
                os.close(stream)
            child = Forked(pid, os.pidfd_open(pid), connection)
            children[child.ended] = children[connection] = child
            poll.register(child.ended, select.POLLIN)
            poll.register(connection, 0)  # for the end of it
        elif fd == (child := children[fd]).connection:
            os.kill(child.pid, signal.SIGKILL)
            poll.unregister(fd)
        else:
            with suppress(BrokenPipeError, KeyError):
                poll.unregister(child.ended)
                os.write(child.connection, b"%d" % os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))
                poll.unregister(child.connection)
            for descriptor in (child.ended, child.connection):
                del children[descriptor]
                os.close(descriptor)


def prepare(arguments: list[str], environment: dict[str, str], folder: str) -> CodeType:
    """Make this process look as ``python`` with these arguments does. Return what it would run: -c, -m or a file."""
    before = paths()
    fixed = [path for path in sys.path[1:] if path not in before]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    what, *rest = arguments
    first = {"-c": "", "-m": folder}.get(what, str(Path(what).resolve().parent))
    sys.path[:] = [first, *paths(), *fixed]
    sys.argv[:] = arguments if what not in ("-c", "-m") else [what, *rest[1:]]
    sys.orig_argv[sys.orig_argv.index("-c") :] = arguments
    main = vars(sys.modules["__main__"])
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    if what == "-c":
        return compile(rest[0], "<string>", "exec")
    if what == "-m":
        return compile(f"__import__('runpy')._run_module_as_main({rest[0]!r})", "<string>", "exec")
    main.update(__file__=os.path.abspath(what), __cached__=None)
    return compile(Path(what).read_bytes(), main["__file__"], "exec")


def paths() -> list[str]:
    """What $PYTHONPATH adds to `sys.path`."""
    given = os.environ.get("PYTHONPATH", "")
    return [*dict.fromkeys(map(os.path.abspath, given.split(os.pathsep)))] if given else []
