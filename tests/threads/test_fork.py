"""A process forks while its threads use shared sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_while_threads_hold_locks():
    """The child has none of the threads. Whatever lock one of them held, the child does not wait for it, nor for them.

    Seen to fail, for ever, with a lock that the child inherits.
    """
    command = [sys.executable, "-W", "ignore", "-m", "programs.fork_threads"]
    here = Path(__file__).parents[1]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55, cwd=here)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "all right\n", "")
