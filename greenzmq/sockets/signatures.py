"""For type checkers: the type parameter of `Socket`, and the overloads of its methods.

`Socket` is generic, as pyzmq's is, but can be written without an argument, because its type parameter has a default.
Type checkers know such defaults; the interpreter knows them from Python 3.13 on. The methods have pyzmq's overloads,
with green classes in place of pyzmq's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

if TYPE_CHECKING:
    import zmq
    from typing_extensions import Buffer
    from typing_extensions import TypeVar as DefaultTypeVar

    from .tracker import Frame, MessageTracker

    Received_co = DefaultTypeVar("Received_co", default=bytes, covariant=True)
else:
    Received_co = TypeVar("Received_co", covariant=True)

__all__ = ["Received_co", "recv", "recv_multipart", "send", "send_multipart", "typed_as"]

Method = TypeVar("Method", bound=Callable[..., Any])


def typed_as(signature: Method) -> Callable[[Callable[..., Any]], Method]:
    """Give the decorated method the overloads of `signature`, for type checkers. Nothing else changes."""
    return lambda method: cast("Method", method)


@overload  # copy=True
def send(
    self: Any,
    data: Buffer,
    flags: int = 0,
    copy: Literal[True] = True,
    track: bool = False,
    routing_id: int | None = None,
    group: str | None = None,
) -> None: ...
@overload  # copy=False by name
def send(
    self: Any,
    data: Buffer,
    flags: int = 0,
    *,
    copy: Literal[False],
    track: bool = False,
    routing_id: int | None = None,
    group: str | None = None,
) -> MessageTracker: ...
@overload  # copy=False by position
def send(
    self: Any,
    data: Buffer,
    flags: int,
    copy: Literal[False],
    track: bool = False,
    routing_id: int | None = None,
    group: str | None = None,
) -> MessageTracker: ...
@overload  # copy is not known to the type checker
def send(
    self: Any,
    data: Buffer,
    flags: int = 0,
    copy: bool = True,
    track: bool = False,
    routing_id: int | None = None,
    group: str | None = None,
) -> MessageTracker | None: ...
@overload
def send(
    self: Any,
    data: zmq.Frame,
    flags: int = 0,
    copy: bool = True,
    track: bool = False,
    routing_id: int | None = None,
    group: str | None = None,
) -> MessageTracker: ...
def send(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
    """`zmq.Socket.send`."""


def send_multipart(
    self: Any, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
) -> MessageTracker | None:
    """`zmq.Socket.send_multipart`."""


@overload
def recv(self: Any, flags: int = 0, copy: Literal[True] = True, track: bool = False) -> bytes: ...
@overload
def recv(self: Any, flags: int = 0, *, copy: Literal[False], track: bool = False) -> Frame: ...
@overload
def recv(self: Any, flags: int, copy: Literal[False], track: bool = False) -> Frame: ...
@overload
def recv(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> bytes | Frame: ...
def recv(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
    """`zmq.Socket.recv`."""


@overload
def recv_multipart(self: Any, flags: int = 0, copy: Literal[True] = True, track: bool = False) -> list[bytes]: ...
@overload
def recv_multipart(self: Any, flags: int = 0, *, copy: Literal[False], track: bool = False) -> list[Frame]: ...
@overload
def recv_multipart(self: Any, flags: int, copy: Literal[False], track: bool = False) -> list[Frame]: ...
@overload
def recv_multipart(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> list[bytes] | list[Frame]: ...
def recv_multipart(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
    """`zmq.Socket.recv_multipart`."""
