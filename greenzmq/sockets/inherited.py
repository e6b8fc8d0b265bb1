"""The error that a forked child gets when it uses its parent's sockets and contexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["REFUSED", "inherited_message", "refuse_after_fork"]

#: The methods of a socket that, in a forked child, become instance attributes which raise this error.
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
REFUSED += ("bind", "connect", "unbind", "disconnect", "monitor", "disable_monitor", "get_monitor_socket")


def inherited_message(what: str) -> str:
    """Return the message for an inherited object of the kind `what`."""
    return f"this {what} belongs to the parent process, which made it before the fork; make a new one in the child"


def refuse_after_fork(what: str, error: Callable[[str], Exception]) -> Callable[..., Any]:
    """Make a method for an inherited object of the kind `what`. It raises the error of a closed one, with this message.

    Parameters
    ----------
    what : str
        The kind of object: ``"socket"`` or ``"context"``.
    error : callable
        Makes the exception from the message.
    """

    def refuse(*args: object, **kwargs: object) -> Any:
        raise error(inherited_message(what))

    return refuse
