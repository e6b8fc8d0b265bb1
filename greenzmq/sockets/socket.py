"""The green socket: pyzmq's, with every call that would block the thread waiting on a hub instead.

Fast path: the call is made at once, under NOBLOCK; a `Direction` with credit says that nobody else needs to hear of it.
Everything else is `SocketState.perform`. Methods that are not here are pyzmq's own; they neither wait nor touch the
signals of ZMQ_FD, or do so through a method that is here (``tests/test_parity.py`` has the list, with reasons).

The bytecodes of the fast path are counted (``tests/test_path_length.py``). To write ``fast_calls_left =
fast_calls_left - 1`` saves one of ``-= 1``, which pays for ``-flags``: None is as false as 0, but it has no negative,
and so is a TypeError.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from ..process.fork import register_after_fork
from . import signatures
from .coroutines import readiness_for
from .directions import POLLIN
from .fairness import default_turn
from .operations import DONTWAIT, SNDMORE, SocketState
from .parts import has_come_as_far, send_part_by_part, take_parts
from .signatures import Received_co, typed_as
from .tracker import tracked
from .waiters import EVENTS

if TYPE_CHECKING:
    from typing_extensions import Self
    from zmq.sugar.socket import _SocketContext

    from ..hubs import Choice
    from .directions import Direction

__all__ = ["Socket"]

FD = int(zmq.FD)
PAIR = int(zmq.PAIR)
TYPE = int(zmq.TYPE)
ALTERNATING = (int(zmq.REQ), int(zmq.REP))

_get = BackendSocket.get
#: The number of a libzmq socket, for our own use: see `Socket.underlying`.
address_of: Callable[[Any], int] = BackendSocket.underlying.__get__
_send = BackendSocket.send
_recv = BackendSocket.recv

#: The readiness of each open libzmq socket, by its address: objects that shadow one socket share one.
_by_address: weakref.WeakValueDictionary[int, SocketState] = weakref.WeakValueDictionary()


class _PartByPart:
    """In the place of a `Direction`: it has no fast path."""

    fast_calls_left = 0


PART_BY_PART = _PartByPart()

T = TypeVar("T")


class Socket(zmq.Socket[Received_co]):
    """A `zmq.Socket` for greenlets. Any number of them may wait on it at once, first come, first served.

    Made by ``Context.socket``. Signatures, results and errors are pyzmq's, with these additions:

    - A call that cannot go on parks this greenlet only. ``RCVTIMEO`` and ``SNDTIMEO`` limit it, as in libzmq.
    - It belongs to one thread and hub at a time: the one on which it waits. While nobody waits it may be handed on.
    - A message sent or received part by part stays in one piece, as long as the greenlet in the middle of it lives.
    - Exceptions thrown into a waiting greenlet come out as they are, and cost nobody a message.
    - A call that need not wait works everywhere: in callbacks of the hub, coroutines, signal handlers, other threads.
      Where it cannot wait it cannot stand in a queue either: it goes past those who do, as under ``NOBLOCK``.

    Raises
    ------
    WrongHubError
        By any call that has to wait: greenlets of another hub or thread wait on this socket.
    BlockingCallError
        By any call that has to wait: it was made in the hub's own greenlet.
    """

    _repr_cls = "greenzmq.Socket"
    _greenzmq_default_hub: ClassVar[Choice | None] = None

    _greenzmq_state: SocketState
    _greenzmq_receiving: Direction
    _greenzmq_sending: Direction
    _greenzmq_monitored: weakref.ref[zmq.Socket[Any]] | None = None  # the socket whose monitor this is
    #: The same for whole messages; `PART_BY_PART` where they go by way of the subclass's own `recv` or `send`.
    _greenzmq_message_receiving: Any
    _greenzmq_message_sending: Any
    _greenzmq_own_recv: ClassVar[bool] = False
    _greenzmq_own_send: ClassVar[bool] = False

    def __init__(
        self,
        ctx_or_socket: zmq.Context[Any] | zmq.Socket[Any] | None = None,
        socket_type: int = 0,
        *,
        shadow: zmq.Socket[Any] | int = 0,
        copy_threshold: int | None = None,
    ) -> None:
        arguments: Any = (ctx_or_socket, socket_type)
        super().__init__(*arguments, shadow=shadow, copy_threshold=copy_threshold)  # type: ignore[misc]  # of bytes only
        address = address_of(self)
        readiness = _by_address.get(address) if self._shadow else None
        if readiness is not None and readiness.is_of_another(int(_get(self, FD))):
            readiness = None  # of a socket that has gone without close(), whose address is another's now
        if readiness is None:
            turn = getattr(self.context, "_greenzmq_turn", None)
            readiness = _by_address[address] = readiness_for(default_turn() if turn is None else turn)
            readiness.exclusive = not self._shadow
        if _get(self, TYPE) in ALTERNATING:
            readiness.use_alternation()
        # pyzmq looks every attribute that is set up among libzmq's options first.
        self.__dict__.update(
            _greenzmq_state=readiness,
            _greenzmq_receiving=readiness.receiving,
            _greenzmq_sending=readiness.sending,
            _greenzmq_message_receiving=PART_BY_PART if self._greenzmq_own_recv else readiness.receiving,
            _greenzmq_message_sending=PART_BY_PART if self._greenzmq_own_send else readiness.sending,
        )
        register_after_fork(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Where a subclass, or a mixin of its, has a `send` or `recv` of its own, whole messages go by way of it."""
        super().__init_subclass__(**kwargs)
        own: Any = cls
        green: Any = Socket
        cls._greenzmq_own_send = own.send is not green.send
        cls._greenzmq_own_recv = own.recv is not green.recv or own.getsockopt is not green.getsockopt

    if TYPE_CHECKING:  # pyzmq's has a type that is partly unknown

        @classmethod
        def shadow(cls, address: int | zmq.Socket[Any]) -> Self:
            """Shadow a libzmq socket; see `zmq.Socket.shadow`."""

    @property
    def _greenzmq_choice(self) -> Choice | None:
        """What its context, or else its namespace, says about the hub; None leaves it to `greenzmq.hubs.decide`."""
        return getattr(self.context, "_greenzmq_choice", None) or self._greenzmq_default_hub

    @property
    def underlying(self) -> int:
        """The address of the libzmq socket; see `zmq.Socket.underlying`. Never switches.

        What others make of it may change the socket without a word, so from now on less is taken for granted.
        """
        readiness: SocketState | None = self.__dict__.get("_greenzmq_state")
        if readiness is not None:
            readiness.expose()
        return address_of(self)

    # -- one frame ----------------------------------------------------------------------------------------------------

    @typed_as(signatures.send)
    def send(  # type: ignore[override]  # as pyzmq's is
        self,
        data: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> zmq.MessageTracker | None:
        """Send one frame; see `zmq.Socket.send`.

        Switches: when the socket cannot take it, or when this greenlet's turn is over; never with NOBLOCK.
        """
        sending = self._greenzmq_sending
        if sending.fast_calls_left and not (-flags or track) and routing_id is None and group is None:
            sending.fast_calls_left = sending.fast_calls_left - 1
            try:
                return _send(self, data, DONTWAIT, copy)
            except zmq.Again:
                pass
            except BaseException:
                sending.fast_calls_left = 0  # it has not sent: see `SocketState.use_alternation`
                raise
            return self._greenzmq_state.perform(self, sending, _send_part, 0, (data, copy, track), True)
        if track:
            data = tracked(data, copy, self.copy_threshold)
        if routing_id is None and group is None:
            return self._greenzmq_state.perform(self, sending, _send_part, index(flags), (data, copy, track))
        return self._greenzmq_state.perform(
            self, sending, _send_addressed, index(flags), (data, copy, track, routing_id, group)
        )

    @typed_as(signatures.recv)
    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive one frame; see `zmq.Socket.recv`.

        Switches: when there is none, or when this greenlet's turn is over; never with NOBLOCK.
        """
        receiving = self._greenzmq_receiving
        if receiving.fast_calls_left and not -flags and receiving.last_receiver() is getcurrent():
            receiving.fast_calls_left = receiving.fast_calls_left - 1
            try:
                return _recv(self, DONTWAIT, copy, track)
            except zmq.Again:
                pass
            return self._greenzmq_state.perform(self, receiving, _recv, 0, (copy, track), True)
        return self._greenzmq_state.perform(self, receiving, _recv, index(flags), (copy, track))

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        """Receive one frame into a buffer; see `zmq.Socket.recv_into`. Switches: as `recv`."""
        return self._greenzmq_state.perform(
            self, self._greenzmq_receiving, _receive_into, index(flags), (buffer, nbytes)
        )

    # -- whole messages -----------------------------------------------------------------------------------------------

    @typed_as(signatures.send_multipart)
    def send_multipart(
        self, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """Send a message of several frames, in one piece; see `zmq.Socket.send_multipart`.

        What is sent is what the parts were when the call began; with ``copy=False`` their buffers are shared, as ever.

        Switches: as `send`.
        """
        parts = msg_parts[:]
        sending = self._greenzmq_message_sending
        for part in parts:
            if type(part) is not bytes:
                if sending is not PART_BY_PART:
                    parts = take_parts(parts, copy, track)
                break
        if sending.fast_calls_left and not (-flags or track or kwargs):
            sending.fast_calls_left = sending.fast_calls_left - 1
            try:
                return _send_message(self, DONTWAIT, parts, copy, track)
            except zmq.Again:
                pass
            except BaseException:
                sending.fast_calls_left = 0
                raise
            return self._greenzmq_state.perform(self, sending, _send_message, 0, (parts, copy, track), True)
        if sending is PART_BY_PART:
            return send_part_by_part(self, parts, flags, copy, track, kwargs)
        if track:
            parts = [tracked(part, copy, self.copy_threshold) for part in parts]
        arguments: Any = (parts, copy, track and not copy)  # to copy makes nothing that could be tracked
        if kwargs:  # routing_id, group, and what this pyzmq may know besides
            arguments += (partial(zmq.Socket.send, **kwargs),)
        return self._greenzmq_state.perform(self, sending, _send_message, index(flags), arguments)

    @typed_as(signatures.recv_multipart)
    def recv_multipart(  # type: ignore[override]  # a list of our frames is no list of pyzmq's
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Any:
        """Receive a message of several frames, in one piece; see `zmq.Socket.recv_multipart`. Switches: as `recv`."""
        receiving = self._greenzmq_message_receiving
        if receiving.fast_calls_left and not -flags and receiving.last_receiver() is getcurrent():
            receiving.fast_calls_left = receiving.fast_calls_left - 1
            try:
                return _receive_message(self, DONTWAIT, copy, track)
            except zmq.Again:
                pass
            return self._greenzmq_state.perform(self, receiving, _receive_message, 0, (copy, track), True)
        if receiving is PART_BY_PART:
            return zmq.Socket.recv_multipart(self, flags, copy, track)
        return self._greenzmq_state.perform(self, receiving, _receive_message, index(flags), (copy, track))

    # -- calls that take signals from those who wait -------------------------------------------------------------------

    def get(self, option: int) -> Any:
        """Get an option; see `zmq.Socket.get`. ``EVENTS`` read here wakes whoever can go on. Never switches.

        Others may watch the ``FD`` beside greenlets that wait, on the same loop too; see `underlying`.
        """
        if option == EVENTS:
            return self._greenzmq_state.check_events(self)
        if option == FD:
            self._greenzmq_state.expose()
        return _get(self, option)

    getsockopt = get

    def set(self, option: int, optval: int | bytes) -> None:
        """Set an option; see `zmq.Socket.set`. Some make the socket ready (``REQ_RELAXED``). Never switches."""
        try:
            self._greenzmq_and_look(super().set, option, optval)
        finally:
            self._greenzmq_state.forget_timeouts()

    setsockopt = set  # noqa: A003

    def bind(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]  # as pyzmq's is
        """Bind to an address; see `zmq.Socket.bind`. Never switches."""
        return self._greenzmq_and_look(super().bind, addr)

    def connect(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]
        """Connect to an address; see `zmq.Socket.connect`. Never switches."""
        return self._greenzmq_and_look(super().connect, addr)

    def unbind(self, addr: str | bytes) -> None:
        """Undo a `bind`; see `zmq.Socket.unbind`. Never switches."""
        self._greenzmq_and_look(super().unbind, addr)

    def disconnect(self, addr: str | bytes) -> None:
        """Undo a `connect`; see `zmq.Socket.disconnect`. Never switches."""
        self._greenzmq_and_look(super().disconnect, addr)

    def _greenzmq_and_look(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(*args)
        finally:
            if self._greenzmq_state.has_waiters:
                self._greenzmq_state.recheck_for_others(self)

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        """Wait until the socket can do one of `flags`; see `zmq.Socket.poll`. `timeout` is in milliseconds.

        Switches: when it can do none of them; never with a timeout of 0.
        """
        if self.closed:
            raise zmq.ZMQError(zmq.ENOTSUP)
        if self._poller_class is not zmq.Poller:  # a subclass has said with what to poll
            return zmq.Socket.poll(self, timeout, flags)  # type: ignore[arg-type]
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        return self._greenzmq_state.poll(self, index(flags) if flags else 0, seconds)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self, linger: int | None = None) -> None:
        """Close the socket; see `zmq.Socket.close`. All who wait on it get ``ZMQError(ENOTSOCK)``. Never switches."""
        readiness: SocketState | None = self.__dict__.get("_greenzmq_state")
        if readiness is None or self.closed:  # pyzmq closes in __del__ what __init__ did not finish, too
            super().close(linger=linger)
            return
        if readiness.lease is not None:
            readiness.lease.close(self, linger)
            return
        if self._greenzmq_monitored is not None:
            stop_monitoring(self, self._greenzmq_monitored())
        readiness.ended = True
        readiness.forget_timeouts()
        readiness.drop_watch()  # libzmq frees the descriptor at any time from now on
        readiness.leave_poll_set()
        _by_address.pop(address_of(self), None)
        try:
            super().close(linger=linger)
        finally:
            readiness.wake_all()

    def _greenzmq_after_fork(self) -> None:
        """Answer ENOTSOCK to everything. Greenlets that the fork has copied in a wait stay there: nobody runs them."""
        self._closed = True
        self._greenzmq_state.detach_after_fork()
        refuse = refuse_after_fork("socket", zmq.ENOTSOCK)
        self.__dict__.update(dict.fromkeys(REFUSED, refuse), poll=refuse_after_fork("socket", zmq.ENOTSUP))

    # -- monitoring ---------------------------------------------------------------------------------------------------

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self:
        """A green PAIR socket with this one's events; see `zmq.Socket.get_monitor_socket`. Never switches.

        Events that nobody receives are kept in memory, any number of them; to close the monitor ends that.

        A PAIR of your own, at an address that you gave to `monitor`, has to be read, or connected with ``RCVHWM`` 0,
        and kept until `disable_monitor`: as long as libzmq cannot get rid of an event, no connection of the context
        works, and `close` and `disable_monitor` stop the thread.
        """
        return cast("Self", open_monitor(self, events, addr))


def open_monitor(socket: zmq.Socket[Any], events: int | None = None, addr: str | None = None) -> Any:
    """`Socket.get_monitor_socket` of a green or plain socket.

    Fact: libzmq's I/O thread waits until the monitor's PAIR takes an event, and meanwhile serves no connection of the
    context. Consequence: a monitor that is full, or closed before the monitoring ends, stops them all. So this one is
    never full, and its `close` ends the monitoring.
    """
    monitor: Any = socket._monitor_socket
    if monitor is not None and not monitor.closed:
        return monitor
    if addr is None:
        addr = f"inproc://monitor.s-{int(_get(socket, FD))}"
    context: zmq.Context[Any] = socket.context
    if issubclass(context._socket_class, Socket):
        monitor = context.socket(zmq.PAIR)
    else:
        monitor = context.socket(zmq.PAIR, socket_class=type(socket) if isinstance(socket, Socket) else Socket)
    try:
        monitor.set(zmq.RCVHWM, 0)
        socket.monitor(addr, zmq.EVENT_ALL if events is None else events)
        monitor.__dict__["_greenzmq_monitored"] = weakref.ref(socket)
        socket._monitor_socket = monitor
        monitor.connect(addr)
    except BaseException:
        monitor.close(linger=0)
        raise
    return monitor


def stop_monitoring(monitor: Any, socket: zmq.Socket[Any] | None) -> None:
    """End the monitoring of `socket`, before `monitor` is closed; nothing if `socket` has another monitor by now."""
    if socket is not None and not socket.closed and socket._monitor_socket is monitor:
        try:
            socket.disable_monitor()
        except zmq.ContextTerminated:  # which ends the monitoring, too
            pass


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


# The operations as `SocketState.perform` wants them: the whole of it in one call, EAGAIN only if nothing was done.


def _send_part(socket: Socket, flags: int, data: Any, copy: bool, track: bool) -> zmq.MessageTracker | None:
    return _send(socket, data, flags, copy, track)


def _send_addressed(
    socket: Socket, flags: int, data: Any, copy: bool, track: bool, routing_id: int | None, group: str | None
) -> zmq.MessageTracker | None:
    tracker: zmq.MessageTracker | None = zmq.Socket.send(socket, data, flags, copy, track, routing_id, group)
    return tracker


def _receive_into(socket: Socket, flags: int, buffer: Any, nbytes: int) -> int:
    return BackendSocket.recv_into(socket, buffer, nbytes=nbytes, flags=flags)


def _send_message(
    socket: Socket[Any], flags: int, parts: Sequence[Any], copy: bool, track: bool, send: Callable[..., Any] = _send
) -> Any:
    """All parts, without a switch. Only the first can meet the high-water mark (libzmq's pipe.cpp counts messages)."""
    more = flags | SNDMORE
    others: Any = iter(parts[:-1])
    try:
        for part in others:
            send(socket, part, more, copy, track)
        others = None
        return send(socket, parts[-1], flags, copy, track)
    except BaseException as error:
        at = len(parts) - (1 if others is None else len([*others]) + 2)
        if at < 0 or (at == 0 and _has_failed(send, error)):
            raise
        return _finish_message(socket, flags, parts, at, (copy, track), error)


def _finish_message(
    socket: Socket, flags: int, parts: Sequence[Any], at: int, arguments: tuple[bool, bool], error: BaseException
) -> Any:
    """Send the rest of a message that has begun, whose part number `at` has met `error`; then raise it, if it matters.

    libzmq takes nothing back: what is begun would be completed by the next message, another one's perhaps.

    - EAGAIN means that the peer is gone and the message with it (lb.cpp). Where libzmq balances load it waits for the
      remaining parts, to drop them: a blocking send does just that. A PAIR would give them to its next peer.
    - A signal handler has raised, before the part was sent or after.
    - Else there was no memory, to copy or not to copy: the other one of these may do. If not, the message ends here.
    """
    copy, track = arguments
    raised: BaseException | None = None
    if isinstance(error, zmq.Again):
        if _get(socket, TYPE) == PAIR:
            return None
        at += 1
    elif _has_failed(_send, error):
        copy = not copy
    else:
        raised = error
        at = at + _was_sent(socket, parts[at], copy, track, error) or len(parts)  # 0: nothing has begun
    result = None
    try:
        while at < len(parts):
            try:
                result = _send(socket, parts[at], flags | (SNDMORE if at < len(parts) - 1 else 0), copy, track)
            except zmq.Again:
                if raised is not None:  # nothing has begun: there was no room for the first part, and there is none
                    break
                result = None
            except BaseException as another:
                if _has_failed(_send, another):
                    _send(socket, b"", flags)
                    raise
                raised = another
                at -= not _was_sent(socket, parts[at], copy, track, another)
            at += 1
        if raised is not None:
            raise raised
        return result
    finally:
        del error, raised  # whose tracebacks refer to this frame


def _has_failed(send: Callable[..., Any], error: BaseException) -> bool:
    """Whether `send` has raised that by itself, and not a signal handler meanwhile: libzmq, or for lack of memory."""
    kinds = (zmq.ZMQError, MemoryError) if send is _send else Exception
    return isinstance(error, kinds)


def _was_sent(socket: Socket, part: Any, copy: bool, track: bool, error: BaseException) -> bool:
    """Whether the part was sent when a signal handler raised `error`: pyzmq looks for signals before and after that.

    Which of the two it was is in the traceback: what comes after has come as far as EAGAIN would have.
    """
    try:
        with zmq.Socket(socket.context, zmq.PUSH) as full:  # it has no peer
            _send(full, part, DONTWAIT, copy, track)
    except zmq.Again as again:
        return has_come_as_far(error, again)
    except zmq.ZMQError:  # the context has ended
        pass
    return True


def _receive_message(socket: Socket[Any], flags: int, copy: bool, track: bool) -> list[Any]:
    """All parts, without a switch: they arrive together (libzmq's pipe.cpp flushes whole messages)."""
    if not copy:
        frames: list[zmq.Frame] = [_recv(socket, flags, False, track)]
        while frames[-1].more:
            frames.append(_recv(socket, DONTWAIT, False, track))
        return frames
    # A frame knows whether it is the last one. To copy at once and ask the socket that costs more.
    frame: zmq.Frame = _recv(socket, flags, False)
    parts = [frame.bytes]
    while frame.more:
        frame = _recv(socket, DONTWAIT, False)
        parts.append(frame.bytes)
    return parts


# For proxies: libzmq's know nothing of a `send` or `recv` that a subclass has for itself.


def send_directly(socket: Socket, parts: list[zmq.Frame]) -> None:
    """`Socket.send_multipart` of frames. Switches: as that."""
    socket._greenzmq_state.perform(socket, socket._greenzmq_sending, _send_message, 0, (parts, False, False))


def receive_directly(socket: Socket, flags: int, copy: bool, track: bool) -> list[Any]:
    """`Socket.recv_multipart`. Switches: as that."""
    return socket._greenzmq_state.perform(socket, socket._greenzmq_receiving, _receive_message, flags, (copy, track))
