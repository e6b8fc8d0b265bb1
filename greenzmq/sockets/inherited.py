"""What a forked child meets when it uses its parent's sockets and contexts: an error that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["REFUSED", "inherited_message", "refuse_after_fork"]

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
REFUSED += ("bind", "connect", "unbind", "disconnect", "monitor", "disable_monitor", "get_monitor_socket")


def inherited_message(what: str) -> str:
    """What is said of an inherited object."""
    return f"this {what} is the parent process's, it was made before a fork; make a new one after the fork"


def refuse_after_fork(what: str, error: Callable[[str], Exception]) -> Callable[..., Any]:
    """A method for an inherited object: it raises the `error` that a closed one has, with more to say."""

    def refuse(*args: object, **kwargs: object) -> Any:
        raise error(inherited_message(what))

    return refuse
