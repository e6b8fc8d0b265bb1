"""Makes the patch in a program that ``greenzmq run`` has started, and in the Python processes that the program starts.

``greenzmq run`` puts the folder of this file into ``PYTHONPATH``, and its own options into ``GREENZMQ_RUN``. So the
interpreter imports this file when it starts. Child processes inherit both variables.

Interpreters of other versions or environments may find this file, too. So all of them have to be able to compile it. It
does nothing in an interpreter that is not the one of ``greenzmq run``.
"""

import json
import os
import sys


def _leave_path() -> None:
    """Remove this folder from `sys.path`, so that the program has the same `sys.path` as under ``python``."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.abspath(entry) != folder]


def _begin(told: dict) -> None:  # type: ignore[type-arg]
    """Make the patch. Monkey patches come first, before the modules are imported that they have to reach."""
    if told["monkey"]:
        module, function = told["monkey"]
        __import__(module)
        getattr(sys.modules[module], function)()
    # Where `greenzmq run` was called, greenzmq may have been found only because it was in the current folder.
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
        # After an exception here the interpreter would go on, and run the program without the patch.
        sys.excepthook(*sys.exc_info())
        sys.stderr.write("greenzmq: the patch of `greenzmq run` has failed, so the program is not started\n")
        sys.stderr.flush()
        os._exit(1)
_run_other()
