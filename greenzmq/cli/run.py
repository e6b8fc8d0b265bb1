"""``python -m greenzmq run``: run a program with `greenzmq.patch`, and in all else as ``python`` runs it.

``python`` itself runs the program: this process becomes a new interpreter, which is patched as it starts (see
`greenzmq.patching.inherited`). So arguments, ``__main__``, exit status, tracebacks and signals are as always.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from .. import hubs
from ..errors import HubError
from ..patching.inherited import environment
from ..program import LOOPS
from .console import complain

__all__ = ["add_parser", "run", "split"]

_MONKEYS = ("gevent", "eventlet")


def add_parser(commands: Any) -> None:
    """Add the sub-command to an `argparse` parser's sub-commands."""
    parser = commands.add_parser(
        "run",
        help="run a program whose `import zmq` gets green classes",
        description="Run a Python program, unchanged, with greenzmq.patch(): the sockets that it, or a library, takes "
        "from zmq, zmq.green or eventlet.green.zmq wait on a hub. The Python processes that it starts are patched, "
        "too, unless they are started with other environment variables, or with -I, -E or -S.",
        epilog="exit status: the program's own; 2 for wrong usage. Options of the interpreter come before -m: "
        "python -X dev -m greenzmq run script.py",
        usage="greenzmq run [-h] [--hub HUB] [--monkey] [--aio] (SCRIPT | -m MODULE | -c CODE | -) [ARGUMENT ...]",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--hub",
        metavar="HUB",
        help="gevent, eventlet, selector, asyncio, or another package's; without it, each wait uses the hub that runs",
    )
    parser.add_argument(
        "--monkey",
        action="store_true",
        help="have gevent or eventlet, the one of --hub, patch the standard library first",
    )
    parser.add_argument(
        "--aio", action="store_true", help="put the sockets of greenzmq.aio in place of those of zmq.asyncio, too"
    )
    parser.set_defaults(run=run)


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the arguments of the command line into our own and those for ``python``.

    Those for ``python`` begin with the first one that is not an option of ours. `argparse` cannot do this: it would
    look for our options among the program's arguments, too.
    """
    if not argv or argv[0] != "run":
        return [*argv], []
    at = 1
    while at < len(argv) and (argv[at].startswith("--") or argv[at] == "-h"):
        if argv[at] == "--":
            return [*argv[:at]], [*argv[at + 1 :]]
        at += 2 if argv[at] == "--hub" else 1
    return [*argv[:at]], [*argv[at:]]


def run(options: argparse.Namespace) -> int:
    """Replace this process by ``python``, which runs the program.

    Returns
    -------
    int
        The exit status for wrong usage. On Windows also that of the program, which runs in a child process there.
    """
    fault = _fault(options)
    if fault:
        complain(fault)
        return 2
    command = [sys.executable, *_interpreter_options(), *options.program]
    changed = environment(os.environ, options.hub, monkey=options.monkey, aio=options.aio)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if sys.platform != "win32":
        os.execve(sys.executable, command, changed)
    with subprocess.Popen(command, env=changed) as process:  # on Windows `exec` does not wait for the program
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the program has got it as well, and decides what to do
                pass


def _fault(options: argparse.Namespace) -> str:
    """Return what is wrong with the arguments, or an empty string. Called before the program starts."""
    program: list[str] = options.program
    if not program:
        return "run needs a program: greenzmq run script.py, -m module, or -c code"
    if program[0].startswith("-") and not program[0].startswith(("-m", "-c")) and program[0] != "-":
        return (
            f"{program[0]} is no option of run; options of the interpreter come before -m: "
            f"python {program[0]} -m greenzmq run ..."
        )
    if sys.flags.ignore_environment:
        return "run passes the patch on in environment variables, which this interpreter ignores (option -I or -E)"
    if options.monkey and options.hub not in _MONKEYS:
        return "--monkey applies the patches of gevent or eventlet, so it needs --hub gevent or --hub eventlet"
    if options.hub in _MONKEYS and find_spec(options.hub) is not None:
        return ""  # its import takes long, and is for the program's own process
    try:
        if options.hub is not None:
            hubs.hub_class("asyncio" if options.hub in LOOPS else options.hub)
    except HubError as error:
        return str(error)
    return ""


def _interpreter_options() -> list[str]:
    """Return the interpreter's options with which this process was started, such as ``-X dev``."""
    given = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv)]
    return given[:-1] if given[-1:] == ["-m"] else given
