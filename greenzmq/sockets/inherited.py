"""What a forked child meets when it uses its parent's sockets and contexts: an error that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq

__all__ = ["REFUSED", "refuse_after_fork"]

#: What a forked child calls of its parent's sockets by way of an instance attribute: an error that says why.
REFUSED: tuple[str, ...] = (
    "send",
    "recv",
    "recv_into",
    "send_multipart",
    "recv_multipart",
    "get",
    "getsockopt",
    "set",
    "setsockopt",
)
REFUSED += ("bind", "connect", "unbind", "disconnect")


def refuse_after_fork(what: str, errno: int) -> Callable[..., Any]:
    """A method for an inherited object. With the errno of a closed one, and with more to say."""

    def refuse(*args: object, **kwargs: object) -> Any:
        raise zmq.ZMQError(
            errno, f"this {what} is the parent process's, it was made before a fork; make a new one after the fork"
        )

    return refuse
