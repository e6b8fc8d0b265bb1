"""What the tests of the commands share: ways to run them, mostly as a user does, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from greenzmq.cli import names

__all__ = ["INSTALLED", "KNOWN", "LIMIT", "MAIN", "WITHOUT", "Done", "greenzmq", "python"]

KNOWN = {hub.name: hub.installed for hub in names.known()}
INSTALLED = [name for name, installed in KNOWN.items() if installed]
#: Seconds for one command; one takes about a second.
LIMIT = 50

Done = subprocess.CompletedProcess[str]


def greenzmq(*args: str | Path, **environment: str) -> Done:
    """Run ``python -m greenzmq``."""
    return python("-m", "greenzmq", *args, **environment)


def python(*args: str | Path, **environment: str) -> Done:
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=os.environ | environment)


WITHOUT = "import sys; sys.modules.update(dict.fromkeys({without!r})); "
MAIN = "from greenzmq.__main__ import main; sys.exit(main(sys.argv[1:]))"
