"""What a greenlet waits for, as `Waiter.reason` has it for `greenzmq.diagnostics`.

A reason is either the object that is waited for, or a tuple of one of the kinds below and the objects that belong to
it. It is put into words only when somebody asks, so that a wait does not become slower. When the wait ends, the waiter
drops it.
"""

from __future__ import annotations

__all__ = ["DESCRIPTOR", "NEXT_TURN", "POLL", "PROXY", "SLEEP", "THREAD", "Reason"]

#: The object, or one of the tuples below. None means that the reason is not known.
Reason = object

#: In ``(POLL, socket, events)``: events of one socket.
POLL = "poll"
#: In ``(DESCRIPTOR, number, read, write)``: a file descriptor.
DESCRIPTOR = "descriptor"
#: In ``(THREAD, function)``: the end of a function in a native thread.
THREAD = "thread"
#: In ``(PROXY, frontend, backend, capture, control)``: messages for a proxy. The last two sockets may be None.
PROXY = "proxy"

#: The next round of the hub: the greenlet only yields.
NEXT_TURN = ("turn",)
#: The end of a time.
SLEEP = ("sleep",)
