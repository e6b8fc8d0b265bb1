"""The parts of a message, looked at before any of them is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from .plain import PlainFrame

__all__ = ["has_come_as_far", "send_part_by_part", "take_parts"]


def take_parts(parts: Sequence[Any], copy: bool, track: bool) -> list[Any]:
    """The parts, such that nothing can fail once the message has begun.

    What cannot be sent is refused. A buffer that is to be copied is copied now; one that is to be shared cannot be
    released any more.

    Raises
    ------
    TypeError
        A part is not a buffer, or not in one piece.
    ValueError
        A part is a released buffer, or is to be tracked and cannot be.
    """
    taken: list[Any] = []
    for number, part in enumerate(parts):
        if isinstance(part, PlainFrame):
            if track and not part.tracker:
                raise ValueError("Not a tracked message")
            taken.append(part)
        elif type(part) is bytes:
            taken.append(part)
        else:
            view = _view(number, part)
            if not view.contiguous:
                raise _unsendable(number, part)
            taken.append(_copied(part, view) if copy else view)
    return taken


def send_part_by_part(
    socket: Any, parts: Sequence[Any], flags: int, copy: bool, track: bool, kwargs: dict[str, Any]
) -> Any:
    """What pyzmq's `send_multipart` does: `socket.send` for each part. After the first, the rest need not wait.

    From the first part to the last the socket is this greenlet's, as when the caller sends them one by one.
    """
    for number, part in enumerate(parts):
        if not isinstance(part, (PlainFrame, bytes, memoryview)):
            _view(number, part)
    for part in parts[:-1]:
        socket.send(part, zmq.SNDMORE | flags, copy=copy, track=track, **kwargs)
    return socket.send(parts[-1], flags, copy=copy, track=track, **kwargs)


def _copied(part: Any, view: memoryview) -> bytes | PlainFrame:
    """What is in it, in the order in which it lies in memory. A large one is copied once, into libzmq's message."""
    return view.tobytes("A") if view.nbytes < zmq.COPY_THRESHOLD else PlainFrame(part, copy=True)


def _view(number: int, part: Any) -> memoryview:
    try:
        return memoryview(part)
    except TypeError:
        raise _unsendable(number, part) from None


def _unsendable(number: int, part: object) -> TypeError:
    shown = repr(part)
    return TypeError(
        f"Frame {number} ({shown[:32]}{'...' * (len(shown) > 32)}) does not support the buffer interface, "
        "or is not contiguous."
    )


def has_come_as_far(error: BaseException, other: BaseException) -> bool:
    """Whether what raised `error` in pyzmq's backend had come as far as what raised `other`, or had left it again.

    Compiled code, too, leaves its lines in tracebacks.
    """
    come, needed = _lines(error), _lines(other)
    if not come or not needed:
        return True
    function = list(needed)[-1]
    return come.get(function, 0) >= needed[function]


def _lines(error: BaseException) -> dict[str, int]:
    """The functions of pyzmq's backend that an exception came through, without what only raises; the line in each."""
    lines = {}
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if "zmq/backend" in code.co_filename.replace("\\", "/") and not code.co_name.endswith("_check_rc"):
            lines[code.co_name] = traceback.tb_lineno
        traceback = traceback.tb_next
    return lines
