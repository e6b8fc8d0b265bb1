"""The program of test_hub_signals.py: schedules something in a signal handler while its hub is asleep."""

from __future__ import annotations

import signal

from greenlet import getcurrent
from support.variants import VARIANTS

from greenzmq.process import unpatched


def run(variant_id: str, method: str) -> None:
    """Print what woke the hub of a variant, twice; `method` is what the handler calls."""
    variant = next(variant for variant in VARIANTS if variant.id == variant_id)
    variant.load()
    hub = variant.make()
    waiting = getcurrent()
    ours, _theirs = unpatched.wakeup_pair()
    watch = hub.watch(ours.fileno(), lambda: waiting.switch("watch"), write=True)

    def handler(*_: object) -> None:
        if method == "call_soon":
            hub.call_soon(waiting.switch, "call_soon")
        elif method == "call_later":
            hub.call_later(0.01, waiting.switch, "call_later")
        else:
            watch.start()

    signal.signal(signal.SIGALRM, handler)
    hub.call_later(10, waiting.switch, "nothing, it slept on")
    for _ in range(2):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        print(hub.switch(), flush=True)
        watch.stop()
