"""``python -m greenzmq``, and the console script ``greenzmq``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .benchmarks import command as bench
from .cli import demo, info
from .cli.console import complain

__all__ = ["main"]

COMMANDS = (demo, info, bench)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if None.

    Returns
    -------
    int
        The exit status: 0 is success, 1 failure, 2 wrong usage, 130 Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="greenzmq", description="Cooperative ZeroMQ on any greenlet hub.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    options = parser.parse_args(argv)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:  # who read our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
