"""How ``greenzmq run`` has the patch made in the interpreter that runs the program, and in its child processes.

Two environment variables do that. ``PYTHONPATH`` leads to our `sitecustomize`, which an interpreter imports when it
starts. ``GREENZMQ_RUN`` has the options of ``greenzmq run``, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import HubError
from .patch import begin_as

__all__ = ["VARIABLE", "begin", "environment"]

#: The environment variable with the options of ``greenzmq run``.
VARIABLE = "GREENZMQ_RUN"
_FOLDER = str(Path(__file__).resolve().with_name("startup"))
_PACKAGES = str(Path(__file__).resolve().parents[2])
#: The module and function by which each runtime patches the standard library.
_MONKEY = {"gevent": ("gevent.monkey", "patch_all"), "eventlet": ("eventlet", "monkey_patch")}

#: What `multiprocessing` has an interpreter run as its fork server.
_FORK_SERVER = "from multiprocessing.forkserver import main"


def environment(before: Mapping[str, str], hub: str | None, *, monkey: bool, aio: bool) -> dict[str, str]:
    """Return an environment in which a new interpreter makes the patch when it starts.

    Parameters
    ----------
    before : mapping
        The environment of this process.
    hub : str, optional
        As for `greenzmq.patch`.
    monkey : bool
        Have the hub's runtime, gevent or eventlet, patch the standard library first.
    aio : bool
        As for `greenzmq.patch`.
    """
    told = {
        "hub": hub,
        "monkey": _MONKEY[hub or ""] if monkey else None,
        "aio": aio,
        "path": _PACKAGES,
        "interpreter": [sys.prefix, list(sys.version_info[:2])],
    }
    others = [entry for entry in before.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != _FOLDER]
    return {**before, "PYTHONPATH": os.pathsep.join([_FOLDER, *others]), VARIABLE: json.dumps(told)}


def begin(told: dict[str, Any]) -> None:
    """Make the patch in the new interpreter. `told` is the content of ``GREENZMQ_RUN``.

    Raises
    ------
    HubError
        This is a fork server that would hang.
    """
    hub = told["hub"]
    if told["monkey"] and any(_FORK_SERVER in argument for argument in sys.orig_argv):
        _refuse_fork_server()
    begin_as(f"python -m greenzmq run{f' --hub {hub}' if hub else ''}", hub, aio=told["aio"])


def _refuse_fork_server() -> None:
    """Raise if gevent's patch, which is made, keeps a fork server from learning that a process of its own has ended.

    The fork server waits for that by `signal.set_wakeup_fd`, and older releases of gevent do not patch this function.
    """
    gevents = sys.modules.get("gevent.signal")
    if gevents is not None and "set_wakeup_fd" not in gevents.__implements__:
        raise HubError(
            "under the monkey patch of gevent before 25.8.1 processes of multiprocessing's start method 'forkserver' "
            "would never end; install gevent>=25.8.1, or say multiprocessing.set_start_method('spawn')"
        )
