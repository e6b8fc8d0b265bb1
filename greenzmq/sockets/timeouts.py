"""``RCVTIMEO`` and ``SNDTIMEO`` of one socket, cached, since to read one from libzmq is 5 % of a short wait's cost.

They are cached in `Direction.timeout`, and only while green objects alone know the socket (`FdWatch.exclusive`): then
no option is set past `Socket.set`, which forgets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from .waiters import get_option

if TYPE_CHECKING:
    from .directions import Direction
    from .waiters import SocketWaiters

__all__ = ["ask_timeout", "forget_timeouts"]


def ask_timeout(waiters: SocketWaiters, socket: Any, direction: Direction) -> int:
    """Ask libzmq for the timeout of a direction, in milliseconds; negative waits for ever. Never switches.

    If libzmq cannot tell, because the context has ended or the socket is closed, everybody who waits is woken.
    """
    try:
        milliseconds = get_option(socket, direction.timeout_option)
        if waiters.exclusive:
            direction.keep_timeout(milliseconds)
            # A signal handler, or another thread, may have set it, or got the socket's address, after libzmq was asked
            # and before the answer was kept. What happens from here on forgets the answer.
            if get_option(socket, direction.timeout_option) != milliseconds or not waiters.exclusive:
                direction.forget_timeout()
    except zmq.ZMQError:
        waiters.wake_all()
        raise
    return milliseconds


def forget_timeouts(waiters: SocketWaiters) -> None:
    """Ask libzmq again: an option was set, the socket has ended, or others have its address and may set its options."""
    waiters.receiving.forget_timeout()
    waiters.sending.forget_timeout()
