"""The awaitable socket: `zmq.asyncio.Socket`'s methods on the same state as the green socket, so that it loses nothing.

Each call begins when it is made, and gives a future. Where nothing has to be waited for, the future is an ordinary one
that is done, and to await it takes no round of the loop. Otherwise it is a `greenzmq.sockets.pending.PendingCall`.

The fast path is that of `greenzmq.sockets.socket`, with the current task in the place of the current greenlet.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as BackendSocket

from ..hubs.asyncio import Future, current_task, ensure_future, isfuture, running_loop
from ..waiting.bridge import run_beside
from ..waiting.futures import PendingFuture, failed_future, finished_future, loop_to_run
from . import awaitable_signatures as signatures
from .calls import DONTWAIT, receive_into, receive_message, send_addressed, send_message, send_part
from .directions import POLLIN
from .fast_methods import compiled
from .monitors import open_monitor
from .outcomes import MUST_WAIT
from .parts import take_parts
from .pending import begin, begin_poll
from .plain import PlainSocket
from .signatures import typed_as
from .tracker import tracked
from .unawaited import Unawaited

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .operations import Call

__all__ = ["Socket"]

_send = BackendSocket.send
_recv = BackendSocket.recv
_set_result = Future.set_result
#: Errors on which ``async for`` ends: the socket was closed, or its context has ended.
_ENDS = (int(zmq.ENOTSOCK), int(zmq.ETERM))


def receives_by(call: Call[Any]) -> Callable[[Callable[..., Any]], Callable[..., Future[Any]]]:
    """Give a method of `Socket` its body: it receives by `call`. One body for two methods, neither with a call more."""

    def receive(self: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Future[Any]:
        state = self._greenzmq_state
        loop = state.futures.running_loop() or loop_to_run(self)
        receiving = state.receiving
        last_receiver = receiving.last_receiver  # a field, so this is quicker than `receiving.last_receiver()`
        if (
            receiving.fast_calls_left
            and not (-flags or state.futures)
            and last_receiver() is current_task(loop) is not None
        ):
            receiving.fast_calls_left = receiving.fast_calls_left - 1
            try:
                message = call(self, DONTWAIT, copy, track)
            except zmq.Again:
                return begin(loop, self, state, receiving, call, 0, (copy, track), True)
            except Exception as error:
                return failed_future(loop, error)
            future: Future[Any] = Future(loop=loop)
            _set_result(future, message)
            return future
        return begin(loop, self, state, receiving, call, index(flags), (copy, track))

    def named(method: Callable[..., Any]) -> Callable[..., Future[Any]]:
        receive.__name__, receive.__qualname__, receive.__doc__ = method.__name__, method.__qualname__, method.__doc__
        return receive

    return named


class Socket(signatures.ComposedCalls):
    """A `zmq.asyncio.Socket` that loses no message. Any number of tasks and greenlets may wait on it at once.

    Made by ``Context.socket``, or of a green or plain socket by ``Socket(socket)``, `from_socket` and `shadow`. Names,
    signatures and results are those of `zmq.asyncio.Socket`. Each call begins when it is made, and gives an
    `asyncio.Future`. Besides what the green socket promises (`greenzmq.Socket`):

    - The task that awaits receives the message itself. A cancellation, of whatever kind and at whatever time, loses
      none; one that comes too late comes out of the task's next ``await``.
    - A future that nobody awaits takes a message when it is asked for `done` or `result`, or when the message comes, if
      it has a callback; after it was dropped it takes none. What is to be sent is sent in any case; a send that still
      waits for room when its loop ends, and that no task awaits, is told to the loop's exception handler.
    - After 2 ms a task whose calls need not wait lets the loop go round, when it awaits the next one
      (``Context(turn=...)``).
    - `close` raises ``ZMQError(ENOTSOCK)`` in tasks that wait; with `zmq.asyncio` they are cancelled. A future that
      nobody waits for is cancelled here, too.
    - ``async with socket:`` closes it, ``async for message in socket:`` receives multipart messages until it is closed.

    Raises
    ------
    HubError
        By any call: no asyncio loop runs in this thread.
    WrongHubError
        By what has to wait: others wait on this socket in another loop or on another hub.
    """

    _repr_cls = "greenzmq.aio.Socket"
    _greenzmq_default_hub = "asyncio"
    _greenzmq_state: Any  # whose `futures` are never None
    #: `greenzmq.aio.Poller`, set there.
    _poller_class: Any

    def __init__(
        self,
        context: zmq.Context[Any] | zmq.Socket[Any] | None = None,
        socket_type: int = -1,
        io_loop: Any = None,
        _from_socket: zmq.Socket[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(context, PlainSocket):
            context, _from_socket = None, context
        if io_loop is not None:
            warnings.warn(
                f"{type(self).__name__}(io_loop) is deprecated: the running loop is used",
                DeprecationWarning,
                stacklevel=2,
            )
        if _from_socket is not None:
            super().__init__(shadow=_from_socket)
        else:
            super().__init__(context, socket_type, **kwargs)
        state = self._greenzmq_state
        if state.futures is None:
            state.keep_futures(Unawaited())

    @classmethod
    def from_socket(cls, socket: zmq.Socket[Any], io_loop: Any = None) -> Self:
        """An awaitable view of a green or plain socket; see `zmq.asyncio.Socket.from_socket`."""
        return cls(_from_socket=socket, io_loop=io_loop)

    # -- one frame ----------------------------------------------------------------------------------------------------

    @typed_as(signatures.send)
    def send(  # type: ignore[override]
        self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Future[Any]:
        """Send one frame; see `zmq.asyncio.Socket.send`. It is sent also if the future is not awaited."""
        state = self._greenzmq_state
        loop = state.futures.running_loop() or loop_to_run(self)
        sending = self._greenzmq_sending
        if sending.fast_calls_left and not (-flags or track or kwargs):
            try:
                tracker = _send_now(self, data, 0, copy)
            except BaseException as error:
                sending.close_fast_path()  # see `greenzmq.Socket.send`
                if isinstance(error, Exception):
                    return failed_future(loop, error)
                raise
            if tracker is MUST_WAIT:
                return begin(loop, self, state, sending, send_part, 0, (_as_it_is(data, copy), copy, track), True)
            if tracker is None:
                return state.futures.sent(loop)  # type: ignore[no-any-return]
            return finished_future(loop, tracker)
        flags = index(flags)
        try:
            data = tracked(data, copy, self.copy_threshold) if track else _as_it_is(data, copy)
            if not kwargs:
                return begin(loop, self, state, sending, send_part, flags, (data, copy, track))
            address = _address(**kwargs)
        except Exception as error:
            return failed_future(loop, error)
        return begin(loop, self, state, sending, send_addressed, flags, (data, copy, track, *address))

    @typed_as(signatures.recv)
    @receives_by(_recv)
    def recv(self) -> None:  # type: ignore[override]
        """Receive one frame; see `zmq.asyncio.Socket.recv`."""

    def recv_into(  # type: ignore[override]
        self, buf: Any, /, *, nbytes: int = 0, flags: int = 0
    ) -> Future[int]:
        """Receive one frame into a buffer; see `zmq.asyncio.Socket.recv_into`."""
        state = self._greenzmq_state
        loop = state.futures.running_loop() or loop_to_run(self)
        return begin(loop, self, state, state.receiving, receive_into, index(flags), (buf, nbytes))

    # -- whole messages -----------------------------------------------------------------------------------------------

    @typed_as(signatures.send_multipart)
    def send_multipart(  # type: ignore[override]
        self, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Future[Any]:
        """Send a message of several frames, in one piece; see `zmq.asyncio.Socket.send_multipart`.

        A change of the list, or of a part, after the call changes nothing in what is sent, unless ``copy=False``.
        """
        state = self._greenzmq_state
        loop = state.futures.running_loop() or loop_to_run(self)
        sending = self._greenzmq_sending
        try:
            parts = msg_parts[:]
            for part in parts:
                if type(part) is not bytes:
                    parts = take_parts(parts, copy, track)
                    break
            if sending.fast_calls_left and not (-flags or track or kwargs):
                sending.fast_calls_left = sending.fast_calls_left - 1
                try:
                    return finished_future(loop, send_message(self, DONTWAIT, parts, copy, track))
                except zmq.Again:
                    return begin(loop, self, state, sending, send_message, 0, (parts, copy, track), True)
                except BaseException:
                    sending.close_fast_path()
                    raise
            if track:
                parts = [tracked(part, copy, self.copy_threshold) for part in parts]
            arguments: tuple[Any, ...] = (parts, copy, track and not copy)  # a copied part leaves nothing to track
            if kwargs:
                arguments += (_sender(kwargs),)
        except Exception as error:
            return failed_future(loop, error)
        return begin(loop, self, state, sending, send_message, index(flags), arguments)

    @typed_as(signatures.recv_multipart)
    @receives_by(receive_message)
    def recv_multipart(self) -> None:  # type: ignore[override]
        """Receive a message of several frames, in one piece; see `zmq.asyncio.Socket.recv_multipart`."""

    def _deserialize(  # type: ignore[override]
        self, recvd: Any, load: Callable[[Any], Any]
    ) -> Future[Any]:
        """What `recv_string`, `recv_json`, … of pyzmq make of the future of `recv` or `recv_multipart`.

        The one who takes the message converts it, so no second future stands between the two.
        """
        if isinstance(recvd, PendingFuture):
            recvd.convert(load)
            return recvd
        if not (isfuture(recvd) and recvd.done()):  # of a subclass's own `recv`
            return cast("Future[Any]", ensure_future(_converted(recvd, load)))
        loop = recvd.get_loop()
        try:
            return finished_future(loop, load(recvd.result()))
        except Exception as error:
            return failed_future(loop, error)

    # -- events -------------------------------------------------------------------------------------------------------

    def get(self, key: int) -> Any:
        """Get an option; see `greenzmq.Socket.get`. Not awaitable: no option is waited for."""
        return super().get(key)

    def poll(  # type: ignore[override]
        self, timeout: float | None = None, flags: int = POLLIN
    ) -> Future[int]:
        """Wait until the socket can do one of `flags`; see `zmq.asyncio.Socket.poll`. `timeout` is in milliseconds."""
        if self.closed:
            raise zmq.ZMQError(zmq.ENOTSUP)
        if type(self)._poller_class is not Socket._poller_class:  # a subclass has chosen another, as pyzmq allows
            poller = self._poller_class()
            poller.register(self, flags)
            return self._deserialize(poller.poll(timeout), lambda events: dict(events).get(self, 0))
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        return begin_poll(running_loop() or loop_to_run(self), self, index(flags) if flags else 0, seconds)

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self:
        """An awaitable PAIR socket with this one's events; see `greenzmq.Socket.get_monitor_socket`."""
        return cast("Self", open_monitor(Socket, self, events, addr))

    # -- barriers -----------------------------------------------------------------------------------------------------

    def wait_connected(  # type: ignore[override]
        self, n: int = 1, timeout: float | None = None
    ) -> Future[None]:
        """Wait until at least `n` peers are connected; see `greenzmq.Socket.wait_connected`."""
        return run_beside(super().wait_connected, n, timeout)

    def wait_subscribed(  # type: ignore[override]
        self, topic: bytes | str = b"", timeout: float | None = None
    ) -> Future[list[bytes]]:
        """Wait until somebody has subscribed to `topic`; see `greenzmq.Socket.wait_subscribed`."""
        return run_beside(super().wait_subscribed, topic, timeout)

    def wait_drained(self, timeout: float | None = None) -> Future[None]:  # type: ignore[override]
        """Wait until everything that was sent before has left; see `greenzmq.Socket.wait_drained`."""
        return run_beside(super().wait_drained, timeout)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self, linger: int | None = None) -> None:
        """Close the socket; see `zmq.Socket.close`.

        Every task and greenlet that waits on it gets ``ZMQError(ENOTSOCK)``; so does whoever has a callback on a
        future. A future that nobody waits for is cancelled.
        """
        state = getattr(self, "_greenzmq_state", None)
        futures = state.futures.living() if state is not None and state.futures else ()
        super().close(linger)
        for future in futures:
            future.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the socket."""
        self.close()

    # -- messages one after another -----------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        """Iterate over the messages, as `recv_multipart` receives them, until the socket is closed."""
        return self

    async def __anext__(self) -> list[bytes]:
        try:
            return await self.recv_multipart()
        except zmq.ZMQError as error:
            if error.errno in _ENDS:
                raise StopAsyncIteration from None
            raise


def _attempt(socket: Any, data: Any, flags: int = 0, copy: bool = True) -> Any:
    """Send one frame on the fast path. Returns `MUST_WAIT` if it met EAGAIN."""
    sending = socket._greenzmq_sending
    sending.fast_calls_left = sending.fast_calls_left - 1
    try:
        return _send(socket, data, flags | DONTWAIT, copy)
    except zmq.Again:
        return MUST_WAIT


#: `_attempt`, with its usual case in C.
_send_now = compiled("send", _attempt, lambda *_: MUST_WAIT)


def _as_it_is(data: Any, copy: bool) -> Any:
    """What is to be sent, so that a later change of a buffer changes nothing. The call itself refuses what is wrong."""
    if copy and isinstance(data, (bytearray, memoryview)):
        return take_parts([data], copy, False)[0]
    return data


def _address(routing_id: int | None = None, group: str | None = None) -> tuple[int | None, str | None]:
    """The keyword arguments of pyzmq's `send`."""
    return routing_id, group


def _sender(kwargs: dict[str, Any]) -> Callable[..., Any]:
    """The `send` of a message's parts with routing id, group, or whatever else this release of pyzmq takes."""

    def send(socket: Any, *args: Any) -> Any:
        return PlainSocket.send(socket, *args, **kwargs)

    return send


async def _converted(awaitable: Awaitable[Any], function: Callable[[Any], Any]) -> Any:
    return function(await awaitable)
