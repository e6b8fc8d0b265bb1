"""The program of test_tasks.py: a task that has failed, and that is kept to the end of the process and of a child."""

from __future__ import annotations

import atexit
import os

kept: list[object] = []


def divide(by: int) -> float:
    return 1 / by


def fail(variant_id: str) -> None:
    """Keep a failed task that nobody has asked, one that was asked, and one that is well."""
    from support.variants import VARIANTS

    (variant,) = (each for each in VARIANTS if each.id == variant_id)
    variant.load()
    hub = variant.make()
    variant.drive(hub, lambda: spawn(variant.green(hub)))
    child = os.fork()
    if not child:
        atexit._run_exitfuncs()
        os._exit(0)  # the rest of an exit waits for faulthandler's thread, which is the parent's
    os.waitpid(child, 0)


def spawn(hub) -> None:
    unasked, asked, well = hub.spawn(divide, 0, name="the divider"), hub.spawn(divide, 0), hub.spawn(divide, 1)
    kept.extend([unasked, asked, well])
    try:
        asked.get()
    except ZeroDivisionError:
        pass
    unasked.join()
    well.join()
