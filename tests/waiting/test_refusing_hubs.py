"""A hub of another package that refuses to be asked by a native thread: `stats` and the watchdog say so."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.threads import eventually

import greenzmq
from greenzmq.hubs.selector import SelectorHub


class Refuses(SelectorHub):
    """Is asked in vain, while it has an error."""

    asked = 0
    error: Exception | None = KeyError("no such thread")

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        super().call_soon_threadsafe(callback, *args)


@pytest.fixture
def refusing() -> Iterator[Refuses]:
    hub = Refuses()
    yield hub
    hub.close()


def test_there_is_no_lag(refusing: Refuses) -> None:
    """A warning where it is read, and a word in the `repr`; the thread asks again. Seen to have 0 lags silently."""
    why = "hub cannot be asked for a sign of life: KeyError: 'no such thread'"
    with greenzmq.stats(refusing) as counted:
        eventually(lambda: why in repr(counted))
        assert ", no lag (" in repr(counted)
        for read in (lambda: counted.lag, counted.as_dict):
            with pytest.warns(RuntimeWarning, match=f"there is no lag of .*Refuses.*: its {why}"):
                read()
        refusing.error = None
        eventually(lambda: why not in repr(counted))
        assert counted.lag.count == 0


def test_it_is_not_watched(refusing: Refuses) -> None:
    """Which is told, once. Seen to be left out silently, so that its stalls were nobody's business."""
    written = io.StringIO()
    greenzmq.watchdog(0.01, written)
    try:
        before = refusing.asked
        eventually(lambda: refusing.asked > before + 5)
    finally:
        greenzmq.watchdog(None)
    (report,) = [line for line in written.getvalue().splitlines() if "test_refusing_hubs:Refuses" in line]
    assert report.startswith("greenzmq: the watchdog cannot watch a hub of ")
    assert report.endswith("which it asks for a sign of life: KeyError: 'no such thread'")
