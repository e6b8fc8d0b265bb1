"""Cancellations of tasks that await `greenzmq.aio`: none costs a message, and none is swallowed."""

from __future__ import annotations

from typing import Any

import pytest
from support import torture
from support.asyncio import loop_name, run_on
from support.races import CANCELS, OPERATIONS, ORDERS, RECEIVED, AwaitableSockets, race

__all__ = ["loop_name"]

#: Trials of each race.
TRIALS = torture.scale(1_000, 5)


@pytest.mark.torture
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cancel", CANCELS)
def test_no_message_is_lost_and_no_cancellation(loop_name: str, cancel: str, operation: str, order: str) -> None:
    """With the message and the cancellation in one turn of the loop, what was sent is what was returned or can be read.

    The task waits for ever after its message, so a cancellation that came too late comes out of that wait. Seen to fail
    with zmq.asyncio in place of `AwaitableSockets` (``tests/peers/asyncio_cancel.py``).
    """
    run_on(loop_name, lose_nothing(AwaitableSockets(), cancel, operation, order))


async def lose_nothing(library: Any, cancel: str, operation: str, order: str) -> None:
    counts = await race(library, cancel, operation, order, TRIALS, stays=True)
    await library.end()
    assert (counts["lost"], counts["swallowed"]) == (0, 0), counts
    assert counts["trials"] == TRIALS
    if order == RECEIVED:
        assert counts["returned"] == TRIALS or cancel == "wait_for"  # which a busy machine may end too early
