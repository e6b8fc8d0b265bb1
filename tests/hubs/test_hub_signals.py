"""Signal handlers may schedule things while the loop is asleep; a handler's return does not end the sleep by itself.

Only the main thread of a process runs signal handlers, so each test is a process of its own.
"""

from __future__ import annotations

import os

import pytest
from support.children import Child, run
from support.forked import GREENZMQ
from support.variants import Variant

pytestmark = pytest.mark.all_loops


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signals to speak of")
@pytest.mark.runtime("gevent", "eventlet", "selector", "trio")
@pytest.mark.parametrize("method", ["call_soon", "call_later", "watch"])
def test_handler_wakes_the_loop(variant: Variant, method: str) -> None:
    """What a signal handler schedules happens at once, not when the loop wakes for another reason."""
    program = f"from programs import signals; signals.run({variant.id!r}, {method!r})"
    done = run(Child(program, imported=GREENZMQ))
    assert (done.out, done.err) == (f"{method}\n" * 2, "")
