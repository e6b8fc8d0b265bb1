"""For type checkers: what the methods of the awaitable `Socket` take and give.

A method that receives or sends frames has the overloads of the green one (`greenzmq.sockets.signatures`), whose result
it gives as a future. So ``await socket.recv()`` is bytes, and ``await socket.recv(copy=False)`` is a `Frame`. The
others are pyzmq's own, which hand on what those methods give; nothing but their types is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pickle import DEFAULT_PROTOCOL
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from . import signatures
from .socket import Socket

if TYPE_CHECKING:
    import zmq
    from typing_extensions import Buffer, ParamSpec

    from ..hubs.asyncio import Future
    from .tracker import MessageTracker

    Parameters = ParamSpec("Parameters")

__all__ = ["ComposedCalls", "recv", "recv_multipart", "send", "send_multipart"]

Result = TypeVar("Result")
Sent = TypeVar("Sent")


def _awaited(signature: Callable[Parameters, Result]) -> Callable[Parameters, Future[Result]]:
    """The same overloads, with futures for the results."""
    return cast("Callable[Parameters, Future[Result]]", signature)


recv = _awaited(signatures.recv)
recv_multipart = _awaited(signatures.recv_multipart)
send = _awaited(signatures.send)
send_multipart = _awaited(signatures.send_multipart)


if TYPE_CHECKING:

    class ComposedCalls(Socket[Any]):
        """pyzmq's methods that hand on what the four above give."""

        def recv_string(  # type: ignore[override]
            self, flags: int = 0, encoding: str = "utf-8"
        ) -> Future[str]:
            """`zmq.Socket.recv_string`."""

        def recv_json(  # type: ignore[override]
            self, flags: int = 0, **kwargs: Any
        ) -> Future[Any]:
            """`zmq.Socket.recv_json`."""

        def recv_pyobj(self, flags: int = 0) -> Future[Any]:
            """`zmq.Socket.recv_pyobj`."""

        @overload  # type: ignore[override]
        def recv_serialized(
            self, deserialize: Callable[[list[bytes]], Result], flags: int = 0, copy: bool = True
        ) -> Future[Result]: ...
        @overload
        def recv_serialized(
            self, deserialize: Callable[[list[zmq.Frame]], Result], flags: int = 0, copy: bool = True
        ) -> Future[Result]: ...
        def recv_serialized(self, deserialize: Any, flags: int = 0, copy: bool = True) -> Future[Any]:
            """`zmq.Socket.recv_serialized`."""

        def send_string(  # type: ignore[override]
            self, u: str, flags: int = 0, copy: bool = True, encoding: str = "utf-8", **kwargs: Any
        ) -> Future[MessageTracker | None]:
            """`zmq.Socket.send_string`."""

        def send_json(  # type: ignore[override]
            self, obj: object, flags: int = 0, **kwargs: Any
        ) -> Future[MessageTracker | None]:
            """`zmq.Socket.send_json`."""

        def send_pyobj(  # type: ignore[override]
            self, obj: object, flags: int = 0, protocol: int = DEFAULT_PROTOCOL, **kwargs: Any
        ) -> Future[MessageTracker | None]:
            """`zmq.Socket.send_pyobj`."""

        def send_serialized(  # type: ignore[override]
            self,
            msg: Sent,
            serialize: Callable[[Sent], Sequence[zmq.Frame | Buffer]],
            flags: int = 0,
            copy: bool = True,
            **kwargs: Any,
        ) -> Future[MessageTracker | None]:
            """`zmq.Socket.send_serialized`."""

else:
    ComposedCalls = Socket
