"""All lines of what an authenticator has to do, run where they have to hold: each fails if its line is wrong.

`BETTER` are those that pyzmq's `ThreadAuthenticator` gets wrong; ``tests/auth/test_peers.py`` shows it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from programs import auth_callbacks, auth_policies
from support.auth import BETTER, KEY, LINES, NEVER, Green, Lab, Native

__all__ = ["BETTER", "KEY", "LINES", "NEVER", "auth_callbacks", "auth_policies", "run", "run_native", "run_on"]


def run(make_lab: Callable[[], Lab], *names: str) -> None:
    """Print what comes of each line."""
    for name in names:
        try:
            with make_lab() as lab:
                LINES[name](lab)
        except BaseException as error:
            print(name, "fails:", traceback.format_exception_only(error)[-1].strip().splitlines()[0], flush=True)
        else:
            print(name, "passes", flush=True)


def run_native(name: str) -> None:
    """With pyzmq's own, and then leave, whatever its threads do."""
    run(Native, name)
    os._exit(0)


def run_on(runtime: str) -> None:
    """All of them, on a runtime that has patched the process."""
    import greenzmq

    hub = greenzmq.hub()
    assert hub.name == runtime
    run(lambda: Green(hub), *LINES)
