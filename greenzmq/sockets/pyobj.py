"""Whether `Socket.send_pyobj` and `recv_pyobj` are allowed: pickle runs the code of whoever has sent the message."""

from __future__ import annotations

import os
from typing import Any

from ..errors import PyobjRefusedError

__all__ = ["default_pyobj", "refuse_pyobj"]

#: The environment variable that refuses or allows them, for contexts that are made without saying so.
ENVIRONMENT = "GREENZMQ_PYOBJ"


def default_pyobj() -> bool:
    """What the environment says; without a word of it, they are allowed, as in pyzmq.

    Raises
    ------
    ValueError
        ``$GREENZMQ_PYOBJ`` is neither 0 nor 1.
    """
    said = os.environ.get(ENVIRONMENT) or "1"
    if said not in ("0", "1"):
        raise ValueError(f"${ENVIRONMENT} is {said!r}; it takes 0, which refuses send_pyobj and recv_pyobj, or 1")
    return said == "1"


def refuse_pyobj(socket: Any, method: str) -> None:
    """Raise `PyobjRefusedError` if the socket's context says so, or the environment where the context says nothing."""
    said = getattr(socket.context, "_greenzmq_pyobj", None)
    if default_pyobj() if said is None else said:
        return
    speaker = f"${ENVIRONMENT}=0" if said is None else f"{type(socket.context).__name__}(pyobj=False)"
    serialized, json = (method.replace("pyobj", kind) for kind in ("serialized", "json"))
    raise PyobjRefusedError(
        f"{speaker} refuses {method}(): to unpickle a message runs whatever code its sender has put in it. Use "
        f"{json}() instead, or {serialized}() with a format that is nothing but data, such as msgpack"
    )
