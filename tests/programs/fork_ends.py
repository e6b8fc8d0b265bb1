"""The programs of test_fork_ends.py: a child ends in some way, and the parent's greenlets go on waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from programs.fork import PATIENCE, Parent
from support.variants import VARIANTS, Variant

from greenzmq import GreenHub


def by_system_exit() -> None:
    raise SystemExit


def by_an_exception() -> None:
    raise ValueError("of the child")


def by_returning() -> None:
    """The program runs on to its end, in the child too."""


def by_os_exit() -> None:
    os._exit(0)


WAYS: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (by_system_exit, by_an_exception, by_returning, by_os_exit)
}


def run(variant_id: str, way: str, in_executor: bool) -> None:
    """Fork in a greenlet while others wait in everything. The parent prints what has become of both."""
    (variant,) = (each for each in VARIANTS if each.id == variant_id)
    variant.load()
    if variant.name == "asyncio":
        loop: Any = __import__("uvloop" if "uvloop" in variant.id else "asyncio").new_event_loop()
        run_on_loop(loop, way, in_executor)
        return
    hub = variant.make()
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            fork(variant, variant.green(hub), way)
        except BaseException as error:
            outcome.append(error)

    variant.drive(hub, work)
    if outcome:
        raise outcome[0]


def run_on_loop(loop: Any, way: str, in_executor: bool) -> None:
    """As ``asyncio.run`` does it, which ends all that the loop has, in the child too."""
    import greenzmq.asyncio

    async def main() -> None:
        if in_executor:
            await asyncio.get_running_loop().run_in_executor(None, int)
        await greenzmq.asyncio.run(lambda: fork(None, greenzmq.asyncio.hub(), way))

    try:
        loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def fork(variant: Variant | None, hub: GreenHub, way: str) -> None:
    parent = Parent(hub)
    process = os.fork()
    if not process:
        signal.alarm(PATIENCE)
        KEPT.append(parent)
        WAYS[way]()
        return
    print("the child ended with", parent.wait_for(process), flush=True)
    parent.finish()
    print("the parent goes on", flush=True)
    sys.stdout.flush()
    os._exit(0)


#: What a child has to its very end.
KEPT: list[Any] = []
