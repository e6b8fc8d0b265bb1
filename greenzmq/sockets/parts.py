"""The parts of a message, checked before the first of them is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from .plain import PlainFrame

__all__ = ["PART_BY_PART", "has_come_as_far", "send_part_by_part", "take_parts"]


class _PartByPart:
    """Stands in for a `Direction` where a subclass has its own `send` or `recv`: whole messages have no fast path."""

    fast_calls_left = 0


PART_BY_PART = _PartByPart()


def take_parts(parts: Sequence[Any], copy: bool, track: bool) -> list[Any]:
    """Check and convert the parts of a message, so that none of them can fail once the message has begun.

    A part that is to be copied is copied here. Of a part that is to be shared, a `memoryview` is returned: while it
    exists the program cannot release or resize the buffer.

    Parameters
    ----------
    parts : sequence
        Frames, and objects with the buffer interface.
    copy, track : bool
        As for `zmq.Socket.send_multipart`.

    Returns
    -------
    list
        For each part a Frame, bytes, or a `memoryview`.

    Raises
    ------
    TypeError
        A part does not have the buffer interface, or its memory is not contiguous.
    ValueError
        A part is a released buffer; or the message is to be tracked, and a part is a Frame that is not.
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
    """Call `socket.send` for each part, as pyzmq's `send_multipart` does. Only the first part may have to wait.

    From the first part to the last the socket belongs to this greenlet, as when a program sends them one by one.
    """
    for number, part in enumerate(parts):
        if not isinstance(part, (PlainFrame, bytes, memoryview)):
            _view(number, part)
    for part in parts[:-1]:
        socket.send(part, zmq.SNDMORE | flags, copy=copy, track=track, **kwargs)
    return socket.send(parts[-1], flags, copy=copy, track=track, **kwargs)


def _copied(part: Any, view: memoryview) -> bytes | PlainFrame:
    """Copy a part, in the order of its bytes in memory. A large part is copied once, into libzmq's own message."""
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
    """Whether the call that raised `error` had reached the line of pyzmq's backend in which `other` was raised.

    The tracebacks tell: compiled code, too, leaves its functions and lines there. If one of the tracebacks has none
    from the backend, the answer is yes.
    """
    come, needed = _lines(error), _lines(other)
    if not come or not needed:
        return True
    function = list(needed)[-1]
    return come.get(function, 0) >= needed[function]


def _lines(error: BaseException) -> dict[str, int]:
    """Map each function of pyzmq's backend in the traceback to its line. Functions that only raise are left out."""
    lines = {}
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        # By names: pyzmq 26 notes its file without a folder. Compiled for Python 3.12 and later (abi3), its frames have
        # no module, but the function's name has it.
        names = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        if any(name.startswith("zmq.backend.") for name in names) and not frame.f_code.co_name.endswith("_check_rc"):
            lines[frame.f_code.co_name] = traceback.tb_lineno
        traceback = traceback.tb_next
    return lines
