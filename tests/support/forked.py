"""Programs in child processes that are forked from one which has imported much of what they need.

A short program spends nearly all of its time in the start of its interpreter and in imports: 65 ms with greenzmq, 190
with eventlet. A forked one has most of that behind it. Where the start itself is tested, or the order of imports and
patches, a program needs an interpreter of its own: `subprocess`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from support.fork_server import LONGEST

__all__ = ["BARE", "COMMANDS", "EVENTLET", "GREENZMQ", "LEAKS_TOLD", "PYTEST", "RUNTIMES", "run", "stop_servers"]

#: What greenzmq imports itself, and no runtime.
BARE = ("faulthandler", "json", "logging", "multiprocessing", "queue", "textwrap", "traceback")
BARE += ("zmq", "zmq.decorators", "zmq.utils.garbage")
#: The runtime whose import takes longest, for programs that begin with this import.
EVENTLET = (*BARE, "eventlet")
#: All of them, for programs on any hub. None has a hub, nor has patched anything; but modules that nobody had imported
#: before eventlet would wait on eventlet's hub.
RUNTIMES = (*BARE, "asyncio", "concurrent.futures.thread", "importlib.metadata", "importlib.resources", "tempfile")
RUNTIMES += ("zipfile", "gevent", "gevent.monkey", "uvloop", "eventlet")
#: Greenzmq as well, for programs that import it first of all, and set none of the variables that it reads then.
GREENZMQ = (*RUNTIMES, "greenzmq", "greenzmq.asyncio", "greenzmq.eventlet", "greenzmq.gevent", "greenzmq.selector")
#: Greenzmq with its commands, and no runtime.
COMMANDS = (*BARE, "importlib.metadata", "greenzmq", "greenzmq.cli.demo", "greenzmq.cli.info", "greenzmq.cli.proxy")
#: What a run of these tests imports, but for their own modules.
PYTEST = (
    *GREENZMQ,
    "pytest",
    "_pytest.junitxml",
    "_pytest.pytester",
    "_pytest.terminal",
    "_pytest.unraisableexception",
)
#: How the names of variables begin that an interpreter reads as it starts, or a module when it is imported; and those
#: of which that is not true. Of warnings the options have the last word.
READ_AT_START = ("LANG", "LC_", "LD_", "MALLOC_", "PYTHON", "TZ")
READ_BY_IMPORTS = {"eventlet": "EVENTLET_", "gevent": "GEVENT_", "greenzmq": "GREENZMQ_"}
READ_LATE = ("EVENTLET_HUB", "GREENZMQ_HUB", "GREENZMQ_TEST_", "PYTHONPATH", "PYTHONWARNINGS")
#: Options with which Python says what was left open, and nothing else.
LEAKS_TOLD = ("-W", "ignore", "-W", "default::ResourceWarning")

_servers: dict[tuple[tuple[str, ...], tuple[str, ...]], ForkServer] = {}
_starting = threading.Lock()


def run(
    arguments: list[str],
    *,
    environment: dict[str, str],
    timeout: float,
    imports: tuple[str, ...] = BARE,
    options: tuple[str, ...] = ("-W", "ignore"),
    folder: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``python`` with options and with arguments that begin with -c, -m or a file, as `subprocess.run` does.

    With variables that an interpreter reads as it starts, or one of the imported modules, it is `subprocess.run`.
    """
    with _starting:
        if (imports, options) not in _servers:
            _servers[imports, options] = ForkServer(imports, options)
        server = _servers[imports, options]
    command = [sys.executable, *options, *arguments]
    if not server.is_as_good(environment):
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=folder)
    request = {"arguments": arguments, "environment": environment, "folder": folder or os.getcwd()}
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(open(end, "rb", 0)) for end in server.send(request)]
        status, out, err = read(streams, command, timeout)
    return subprocess.CompletedProcess(command, int(status), out, err)


def stop_servers() -> None:
    """End them, with all children. Each is started for the first program that asks for its imports."""
    while _servers:
        _servers.popitem()[1].stop()


class ForkServer:
    """A process of `support.fork_server`."""

    def __init__(self, imports: tuple[str, ...], options: tuple[str, ...]) -> None:
        paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.has_read = (*READ_AT_START, *(READ_BY_IMPORTS[name] for name in READ_BY_IMPORTS if name in imports))
        self.control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        program = f"from support.fork_server import program; exec(program({[*imports]}))"
        command = [sys.executable, *options, "-c", program]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, env=self.environment, start_new_session=True
        )
        theirs.close()

    def is_as_good(self, environment: dict[str, str]) -> bool:
        """Whether a fork of it is as good as a process of its own in this environment."""
        changed = dict(environment.items() ^ self.environment.items())
        return not any(name.startswith(self.has_read) and not name.startswith(READ_LATE) for name in changed)

    def send(self, request: dict[str, object]) -> list[int]:
        """Have a child forked. Return the descriptors on which to read its status, its output and its errors."""
        message = json.dumps(request).encode()
        assert len(message) < LONGEST
        connection, its_end = (end.detach() for end in socket.socketpair())
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        try:
            socket.send_fds(self.control, [message], [its_end, 0, its_out, its_err])
        finally:
            for end in (its_end, its_out, its_err):
                os.close(end)
        return [connection, out, err]

    def stop(self) -> None:
        """End it, and the children that still run."""
        self.control.close()
        self.process.communicate()


def read(streams: list[Any], command: list[str], timeout: float) -> list[str]:
    """Read all of each stream. The error, when the time is over, has the caller close them, which kills the child."""
    end = time.monotonic() + timeout
    got: dict[Any, bytearray] = {stream: bytearray() for stream in streams}
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            if not (ready := selector.select(end - time.monotonic())):
                raise subprocess.TimeoutExpired(command, timeout, *(bytes(got[stream]) for stream in streams[1:]))
            for key, _ in ready:
                if chunk := key.fileobj.read(1 << 16):
                    got[key.fileobj] += chunk
                else:
                    selector.unregister(key.fileobj)
    return [bytes(text).decode() for text in got.values()]
