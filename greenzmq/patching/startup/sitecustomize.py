"""Patches a program that ``greenzmq run`` has started, and the Python processes that this one starts.

`greenzmq run` puts this file's folder into ``PYTHONPATH``, and what it was told into ``GREENZMQ_RUN``. So the
interpreter imports this file as it starts. Both variables are inherited by child processes.

Any interpreter may find this file, be it of another version or environment: it has to be readable for all of them, and
does nothing in those that are not the one that it is meant for.
"""

import json
import os
import sys


def _leave_path() -> None:
    """Take this folder out of `sys.path`, so that a program finds there what ``python`` would give it."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.abspath(entry) != folder]


def _begin(told: dict) -> None:  # type: ignore[type-arg]
    """Patch. Monkey patches come first, before anything is imported that they have to reach."""
    if told["monkey"]:
        module, function = told["monkey"]
        __import__(module)
        getattr(sys.modules[module], function)()
    # greenzmq may have been found by the current folder only, where `greenzmq run` was called.
    added = told["path"] not in sys.path
    if added:
        sys.path.append(told["path"])
    try:
        from greenzmq.patching.inherited import begin
    finally:
        if added:
            sys.path.remove(told["path"])
    begin(told)


def _run_other() -> None:
    """Run the `sitecustomize` that the interpreter would have found without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    sys.modules["sitecustomize"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


_leave_path()
_told = json.loads(os.environ.get("GREENZMQ_RUN") or "{}")
if _told.get("interpreter") == [sys.prefix, list(sys.version_info[:2])]:
    try:
        _begin(_told)
    except BaseException:
        # The interpreter would go on after an exception here, with a program that is not patched.
        sys.excepthook(*sys.exc_info())
        sys.stderr.write("greenzmq: the patch of `greenzmq run` has failed, so the program is not started\n")
        sys.stderr.flush()
        os._exit(1)
_run_other()
