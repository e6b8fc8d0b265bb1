"""``python -m greenzmq info``: show what is installed, and which hub a program that names none would use."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
from typing import Any

import greenlet
import zmq

import greenzmq

from .. import hubs
from ..errors import HubError
from ..sockets import accelerator
from . import names, table
from .child import Child, ChildError
from .console import complain, printable, say, width

__all__ = ["add_parser", "run"]

CAPABILITIES = ("ipc", "pgm", "tipc", "norm", "curve", "gssapi", "draft")

SILENCE = 30.0
"""Seconds that a child process may take to import a runtime and to make its hub."""


def add_parser(commands: Any) -> None:
    """Add the sub-command to an `argparse` parser's sub-commands."""
    parser = commands.add_parser(
        "info",
        help="show versions, the hubs, and which of them a plain call uses",
        description="Show versions, the hubs that are installed, and which of them a plain greenzmq.Context() uses.",
        epilog=f"exit status: 0; 1 if a plain call that has to wait would fail, for example because "
        f"${hubs.ENVIRONMENT} or $GREENZMQ_TURN is wrong, or because it names asyncio, whose loop has to run first.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the versions, the hubs, and the choice.

    Returns
    -------
    int
        The exit status: 1 if a plain call would fail.
    """
    decided = _decide()  # first: if a runtime has patched this process, the wait for the child processes makes its hub
    say(table.fields(_versions(), width()))
    table.show(("hub", "runtime", "runs on"), [_row(hub) for hub in names.known()], left=3)
    for package in hubs.left_out():
        say(f"Left out, since its entry points cannot be read: {printable(package)}")
    table.show(("the words of", "are taken for"), _words(), left=2)
    setting = os.environ.get(hubs.ENVIRONMENT)
    say(f"${hubs.ENVIRONMENT} is {printable(setting) if setting else 'not set'}")
    return _say_choice(decided)


def _versions() -> list[tuple[str, str]]:
    here = [name for name in CAPABILITIES if zmq.has(name)]
    lacking = [name for name in CAPABILITIES if name not in here]
    return [
        ("greenzmq", greenzmq.__version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"),
        ("greenlet", greenlet.__version__),
        ("pyzmq", zmq.__version__),
        ("libzmq", f"{zmq.zmq_version()} with {', '.join(here)}; without {', '.join(lacking)}"),
        ("fast path", accelerator.status()),
    ]


def _row(hub: hubs.KnownHub) -> tuple[str, str, str]:
    if not hub.installed:
        return (
            (hub.name, "broken", hub.fault)
            if hub.fault
            else (hub.name, "not installed", hubs.install_line(hub.package))
        )
    return hub.name, _runtime(hub.package), _variant(hub.name)


def _words() -> list[tuple[str, str]]:
    """One row for each word of another program."""
    return [(f"{who}: {word}", hub) for word, hub, who in hubs.WORDS]


def _runtime(package: str) -> str:
    if not package:
        return "built in"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _variant(name: str) -> str:
    """Return what the loop of this hub runs on. Only an existing hub can tell, so a child process makes one."""
    try:
        with Child({"hub": name}) as child:
            return str(child.outcome(SILENCE)["variant"])
    except ChildError as error:
        return f"fails: {error}"


def _decide() -> hubs.Decision | HubError:
    try:
        return hubs.decide()
    except HubError as error:
        return error


def _say_choice(decided: hubs.Decision | HubError) -> int:
    """Print which hub a plain call waits on, or why it fails. Returns the exit status.

    The call is tried in a child process, because a wait leaves a hub behind.
    """
    try:
        if isinstance(decided, HubError):
            raise decided
        # Rule 1 gives the same result in the child process. The other rules depend on the state of this process, so
        # their result is passed to the child.
        with Child({"hub": None if decided.rule == 1 else decided.name, "plain": True}) as child:
            name = child.outcome(SILENCE)["hub"]
    except (HubError, ChildError) as error:
        complain(f"a plain greenzmq.Context() would fail here: {error}")
        return 1
    say(f"A plain greenzmq.Context() uses the {name} hub here, by rule {decided.rule}: {decided.why}")
    return 0
