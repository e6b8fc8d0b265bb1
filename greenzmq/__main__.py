"""``python -m greenzmq``, and the console script ``greenzmq``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import greenzmq

from .cli import run as run_program
from .cli.console import run_quietly, say

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments. None means those of the process.

    Returns
    -------
    int
        The exit status: 0 after success, also of the help; 1 after a failure; 2 for wrong usage; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="greenzmq",
        description="Cooperative ZeroMQ on any greenlet hub. Without a command it shows this help.",
        epilog="exit status: 0 is success, 1 failure, 2 wrong usage, 130 Ctrl-C",
    )
    parser.add_argument("--version", action="version", version=f"greenzmq {greenzmq.__version__}")
    parser.set_defaults(run=lambda options: _show_help(parser))
    commands = parser.add_subparsers(metavar="COMMAND")
    ours, program = run_program.split(sys.argv[1:] if argv is None else argv)
    for command in _commands(*ours[:1]):
        command.add_parser(commands)
    options = parser.parse_args(ours, argparse.Namespace(program=program))
    return run_quietly(options.run, options)


def _commands(name: str = "") -> tuple[ModuleType, ...]:
    """Return the modules of the commands. For ``run`` it alone: a program should not wait for what others import."""
    if name == "run":
        return (run_program,)
    from .cli import demo, info, proxy

    return run_program, proxy, demo, info


def _show_help(parser: argparse.ArgumentParser) -> int:
    say(parser.format_help().rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
