"""The kinds of `Waiter.reason` that are tuples: a kind, and what it needs to tell. `greenzmq.diagnostics` reads them.

A reason is put into no words before somebody asks, so that a wait costs no more for it. Nor does it outlive the wait.
"""

from __future__ import annotations

__all__ = ["DESCRIPTOR", "NEXT_TURN", "POLL", "PROXY", "SLEEP", "THREAD", "Reason"]

#: An object to be shown as it is, or one of the tuples below. None: nobody has said.
Reason = object

#: The socket, and the events.
POLL = "poll"
#: Its number, and whether to read and to write.
DESCRIPTOR = "descriptor"
#: The function that runs in a native thread.
THREAD = "thread"
#: The frontend, the backend, the capture and the control socket; None for those of the last two that there are not.
PROXY = "proxy"

#: For nothing: the others are to have their turn.
NEXT_TURN = ("turn",)
#: For its time to be over.
SLEEP = ("sleep",)
