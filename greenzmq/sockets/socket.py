"""The green socket: pyzmq's `Socket`, whose blocking calls park the greenlet on a hub instead of blocking the thread.

A call takes the fast path while `Direction.fast_calls_left` is above 0: then nobody else has to be woken for it. It is
made at once, under NOBLOCK. Every other call, and one that met EAGAIN there, goes to `SocketState.perform`.

Methods that are not defined here are pyzmq's own. They neither wait nor consume a signal of ZMQ_FD, or they call a
method that is defined here (``tests/project/test_parity.py`` has the list, with reasons).

A test counts the bytecodes of the fast path (``tests/sockets/test_path_length.py``). That is why it is written
``fast_calls_left = fast_calls_left - 1``, which takes fewer bytecodes than ``-= 1``. And it tests ``-flags`` instead of
``flags``, since ``flags=None`` has to be a TypeError: None is as false as 0, but has no negative.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from operator import index
from pickle import DEFAULT_PROTOCOL
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from ..hubs import shares_sockets
from ..process.fork import register_after_fork
from . import fast_methods, signatures
from .accelerator import confirm, get_option
from .barriers import Barriers, ObservedSharedState, ObservedState
from .calls import DONTWAIT, receive_into, receive_message, send_addressed, send_message, send_part
from .coroutines import state_class
from .counting import count_new
from .directions import POLLIN
from .fairness import default_turn
from .inherited import REFUSED, refuse_after_fork
from .locked import LockedCalls
from .monitors import end_monitoring, open_monitor, stop_monitoring
from .parts import PART_BY_PART, send_part_by_part, take_parts
from .plain import PlainPoller, PlainSocket
from .pyobj import refuse_pyobj
from .registry import address_of, forget_state, publish_state, shared_state
from .sharing import SharedState
from .signatures import Received_co, typed_as
from .timeouts import forget_timeouts
from .tracker import tracked
from .waiters import EVENTS

if TYPE_CHECKING:
    from typing_extensions import Self
    from zmq.sugar.socket import _SocketContext

    from ..hubs import Choice
    from .directions import Direction
    from .operations import SocketState

__all__ = ["Socket"]

FD = int(zmq.FD)
LAST_ENDPOINT = int(zmq.LAST_ENDPOINT)
PAIR = int(zmq.PAIR)
TYPE = int(zmq.TYPE)

_get = get_option  # or pyzmq's own, for options that are no integers
_send = BackendSocket.send
_recv = BackendSocket.recv
T = TypeVar("T")


class Socket(PlainSocket[Received_co], Barriers):
    """A `zmq.Socket` for greenlets. Any number of them may wait on it at once, first come, first served.

    Made by ``Context.socket``. Signatures, results and errors are pyzmq's, with these additions:

    - A call that has to wait parks only its own greenlet. ``RCVTIMEO`` and ``SNDTIMEO`` limit the wait, as in libzmq.
    - While greenlets wait on the socket, it belongs to their thread and hub. While nobody waits, any other thread or
      hub may take it over. On the hub of native threads, `greenzmq.threading`, any number of threads may use it at
      once.
    - A message sent or received part by part stays in one piece, as long as the greenlet in the middle of it lives.
    - An exception thrown into a waiting greenlet comes out of its call as it is, and no message is lost.
    - A call that need not wait works everywhere: in callbacks of the hub, coroutines, signal handlers, other threads.
      Where a call cannot wait, it cannot stand in a queue either. It overtakes the greenlets in the queue, as a call
      under ``NOBLOCK`` does.

    Raises
    ------
    WrongHubError
        By any call that has to wait: greenlets of another hub or thread wait on this socket.
    BlockingCallError
        By any call that has to wait: it was made in the hub's own greenlet.
    """

    _repr_cls = "greenzmq.Socket"
    _greenzmq_default_hub: ClassVar[Choice | None] = None

    #: Slots, since the compiled fast path finds them by their place.
    __slots__ = (
        "_greenzmq_message_receiving",
        "_greenzmq_message_sending",
        "_greenzmq_receiving",
        "_greenzmq_sending",
        "_greenzmq_state",
    )
    _greenzmq_state: SocketState
    _greenzmq_receiving: Direction
    _greenzmq_sending: Direction
    _greenzmq_monitored: weakref.ref[zmq.Socket[Any]] | None = None  # the socket whose monitor this is
    #: The same directions, used for whole messages; `PART_BY_PART` if a subclass has its own `recv` or `send`.
    _greenzmq_message_receiving: Any
    _greenzmq_message_sending: Any
    _greenzmq_last_endpoint: bytes | None = None  # what was bound or connected last, if `wait_subscribed` has hidden it
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
        before_first = getattr(type(ctx_or_socket), "_greenzmq_before_first_socket", None)
        if before_first is not None:
            before_first(ctx_or_socket)
        arguments: Any = (ctx_or_socket, socket_type)
        super().__init__(*arguments, shadow=shadow, copy_threshold=copy_threshold)  # type: ignore[misc]  # of bytes only
        context: Any = self.context
        turn = getattr(context, "_greenzmq_turn", None)
        shares = shares_sockets(self._greenzmq_choice, turn is None)
        make: Any = SharedState if shares else state_class(getattr(context, "_greenzmq_debug", None))
        if getattr(context, "_greenzmq_barriers", False):
            make = ObservedSharedState if shares else ObservedState
        state = shared_state(self, default_turn() if turn is None else turn, make, is_new=not self._shadow)
        state.use_type(int(_get(self, TYPE)) if self._shadow else int(socket_type))
        count_new(state)
        # Past pyzmq's own `__setattr__`, which would first search libzmq's options for one of that name.
        keep = partial(object.__setattr__, self)
        keep("_greenzmq_state", state)
        keep("_greenzmq_receiving", state.receiving)
        keep("_greenzmq_message_receiving", PART_BY_PART if self._greenzmq_own_recv else state.receiving)
        if not self._shadow and confirm(self, socket_type):
            state.open_compiled_path(address_of(self))
        if isinstance(state, SharedState):
            self.__dict__["_greenzmq_lock"] = state.lock
            object.__setattr__(self, "__class__", shared_class(type(self)))
        register_after_fork(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note whether a subclass or its mixin overrides `send` or `recv`: whole messages then go through that."""
        super().__init_subclass__(**kwargs)
        own: Any = cls
        green: Any = LockedCalls if issubclass(cls, LockedCalls) else Socket
        cls._greenzmq_own_send = own.send is not green.send
        cls._greenzmq_own_recv = own.recv is not green.recv or own.getsockopt is not green.getsockopt

    def __getattr__(self, name: str) -> Any:
        """The slots for sending are filled by the first send. All other names are pyzmq's: options by attribute."""
        if name not in ("_greenzmq_sending", "_greenzmq_message_sending"):
            return super().__getattr__(name)
        sending = self._greenzmq_state.begin_sending()
        object.__setattr__(self, "_greenzmq_sending", sending)
        object.__setattr__(self, "_greenzmq_message_sending", PART_BY_PART if self._greenzmq_own_send else sending)
        return object.__getattribute__(self, name)

    if TYPE_CHECKING:  # pyzmq's has a type that is partly unknown

        @classmethod
        def shadow(cls, address: int | zmq.Socket[Any]) -> Self:
            """Shadow a libzmq socket; see `zmq.Socket.shadow`."""

    @property
    def _greenzmq_choice(self) -> Choice | None:
        """The hub that its context names, or else its namespace; None leaves the choice to `greenzmq.hubs.decide`."""
        return getattr(self.context, "_greenzmq_choice", None) or self._greenzmq_default_hub

    @property
    def underlying(self) -> int:
        """The address of the libzmq socket; see `zmq.Socket.underlying`. Never switches.

        Code that has the address can use the socket without this object. So from now on greenzmq caches none of the
        socket's options, and watches a duplicate of its descriptor.
        """
        state: SocketState | None = getattr(self, "_greenzmq_state", None)
        if state is None or self.closed:
            return address_of(self)
        state.close_compiled_path()
        state.expose()
        return publish_state(self, state)

    # -- one frame ----------------------------------------------------------------------------------------------------

    @typed_as(signatures.send)
    @fast_methods.fast
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
                # To a REQ or REP the countdown says "a send has happened", and none has: see `SocketState.use_type`.
                sending.close_fast_path()
                raise
            return self._greenzmq_state.perform(self, sending, send_part, 0, (data, copy, track), True)
        if track:
            data = tracked(data, copy, self.copy_threshold)
        if routing_id is None and group is None:
            return self._greenzmq_state.perform(self, sending, send_part, index(flags), (data, copy, track))
        return self._greenzmq_state.perform(
            self, sending, send_addressed, index(flags), (data, copy, track, routing_id, group)
        )

    @typed_as(signatures.recv)
    @fast_methods.fast
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
            args = (copy, track) if track or copy is not True else (True, False)
            return self._greenzmq_state.perform(self, receiving, _recv, 0, args, True)
        args = (copy, track) if track or copy is not True else (True, False)  # a constant takes no memory
        return self._greenzmq_state.perform(self, receiving, _recv, index(flags), args)

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        """Receive one frame into a buffer; see `zmq.Socket.recv_into`. Switches: as `recv`."""
        return self._greenzmq_state.perform(
            self, self._greenzmq_receiving, receive_into, index(flags), (buffer, nbytes)
        )

    # -- whole messages -----------------------------------------------------------------------------------------------

    @typed_as(signatures.send_multipart)
    @fast_methods.fast
    def send_multipart(
        self, msg_parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
    ) -> Any:
        """Send a message of several frames, in one piece; see `zmq.Socket.send_multipart`.

        A change of the list, or of a part, during the call changes nothing in what is sent. With ``copy=False`` the
        parts' buffers are shared with libzmq, as in pyzmq.

        Switches: as `send`.
        """
        parts = msg_parts[:]  # a wait may follow, in which other greenlets may change the list
        sending = self._greenzmq_message_sending
        for part in parts:
            if type(part) is not bytes:
                if sending is not PART_BY_PART:
                    parts = take_parts(parts, copy, track)
                break
        if sending.fast_calls_left and not (-flags or track or kwargs):
            sending.fast_calls_left = sending.fast_calls_left - 1
            try:
                return send_message(self, DONTWAIT, parts, copy, track)
            except zmq.Again:
                pass
            except BaseException:
                sending.close_fast_path()
                raise
            return self._greenzmq_state.perform(self, sending, send_message, 0, (parts, copy, track), True)
        if sending is PART_BY_PART:
            return send_part_by_part(self, parts, flags, copy, track, kwargs)
        if track:
            parts = [tracked(part, copy, self.copy_threshold) for part in parts]
        arguments: Any = (parts, copy, track and not copy)  # a copied part leaves nothing to track
        if kwargs:  # routing_id, group, and any others that this release of pyzmq takes
            arguments += (partial(PlainSocket.send, **kwargs),)
        return self._greenzmq_state.perform(self, sending, send_message, index(flags), arguments)

    @typed_as(signatures.recv_multipart)
    @fast_methods.fast
    def recv_multipart(  # type: ignore[override]  # a list of our frames is no list of pyzmq's
        self, flags: int = 0, copy: bool = True, track: bool = False
    ) -> Any:
        """Receive a message of several frames, in one piece; see `zmq.Socket.recv_multipart`. Switches: as `recv`."""
        receiving = self._greenzmq_message_receiving
        if receiving.fast_calls_left and not -flags and receiving.last_receiver() is getcurrent():
            receiving.fast_calls_left = receiving.fast_calls_left - 1
            try:
                return receive_message(self, DONTWAIT, copy, track)
            except zmq.Again:
                pass
            args = (copy, track) if track or copy is not True else (True, False)
            return self._greenzmq_state.perform(self, receiving, receive_message, 0, args, True)
        if receiving is PART_BY_PART:
            return PlainSocket.recv_multipart(self, flags, copy, track)
        args = (copy, track) if track or copy is not True else (True, False)  # a constant takes no memory
        return self._greenzmq_state.perform(self, receiving, receive_message, index(flags), args)

    def send_pyobj(self, obj: object, flags: int = 0, protocol: int = DEFAULT_PROTOCOL, **kwargs: Any) -> Any:
        """Pickle an object and send it as one frame; see `zmq.Socket.send_pyobj`, and `recv_pyobj` for the danger.

        Raises `PyobjRefusedError` if the context was made with ``pyobj=False``. Switches: as `send`.
        """
        refuse_pyobj(self, "send_pyobj")
        return super().send_pyobj(obj, flags, protocol, **kwargs)

    def recv_pyobj(self, flags: int = 0) -> Any:
        """Receive one frame and unpickle it; see `zmq.Socket.recv_pyobj`. For messages of trusted senders only.

        A pickle is a program: to load it calls whatever functions its sender has named, in this process. Nothing can be
        checked before. And it costs what the sender wants: 7 bytes make the unpickler allocate a GiB. Whoever can send
        to this socket can do both. `recv_json`, and `recv_serialized` with msgpack or the like, read data only; see
        ``examples/typed_messages.py``.

        Raises `PyobjRefusedError` if the context was made with ``pyobj=False``, or ``$GREENZMQ_PYOBJ`` is 0; then the
        message stays where it is. Switches: as `recv`.
        """
        refuse_pyobj(self, "recv_pyobj")
        return super().recv_pyobj(flags)

    # -- calls that may consume a signal that others wait for ----------------------------------------------------------

    def get(self, option: int) -> Any:
        """Get an option; see `zmq.Socket.get`. Never switches.

        To read ``EVENTS`` wakes the waiters that can go on. The program may watch the ``FD`` itself while greenlets
        wait on the socket, also on the same loop; for what that changes see `underlying`.
        """
        if option == EVENTS:
            return self._greenzmq_state.check_events(self)
        if option == FD:
            self._greenzmq_state.expose()
        elif option == LAST_ENDPOINT and self._greenzmq_last_endpoint is not None:
            return self._greenzmq_last_endpoint
        return _get(self, option)

    getsockopt = get

    def set(self, option: int, optval: int | bytes) -> None:
        """Set an option; see `zmq.Socket.set`. Never switches.

        Some options, such as ``REQ_RELAXED``, make the socket ready without a signal, so others are rechecked.
        """
        try:
            self._greenzmq_and_recheck(super().set, option, optval)
        finally:
            forget_timeouts(self._greenzmq_state)

    setsockopt = set  # noqa: A003

    def bind(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]  # as pyzmq's is
        """Bind to an address; see `zmq.Socket.bind`. Never switches."""
        self.__dict__.pop("_greenzmq_last_endpoint", None)
        return self._greenzmq_and_recheck(super().bind, addr)

    def connect(self, addr: str) -> _SocketContext[Self]:  # type: ignore[override]
        """Connect to an address; see `zmq.Socket.connect`. Never switches."""
        self.__dict__.pop("_greenzmq_last_endpoint", None)
        return self._greenzmq_and_recheck(super().connect, addr)

    def unbind(self, addr: str | bytes) -> None:
        """Undo a `bind`; see `zmq.Socket.unbind`. Never switches."""
        self._greenzmq_and_recheck(super().unbind, addr)

    def disconnect(self, addr: str | bytes) -> None:
        """Undo a `connect`; see `zmq.Socket.disconnect`. Never switches."""
        self._greenzmq_and_recheck(super().disconnect, addr)

    def _greenzmq_and_recheck(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return call(*args)
        finally:
            state = self._greenzmq_state
            if state.has_waiters:
                state.recheck_for_others(self)

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        """Wait until the socket can do one of `flags`; see `zmq.Socket.poll`. `timeout` is in milliseconds.

        Those who then receive under NOBLOCK until `zmq.Again` meet it when a turn is over, too: poll again after it.

        Switches: when it can do none of them; never with a timeout of 0.
        """
        if self.closed:
            raise zmq.ZMQError(zmq.ENOTSUP)
        if self._poller_class is not PlainPoller:  # a subclass has chosen a Poller class, as pyzmq allows
            return PlainSocket.poll(self, timeout, flags)  # type: ignore[arg-type]
        seconds = None if timeout is None or timeout < 0 else int(timeout) / 1000
        return self._greenzmq_state.poll(self, index(flags) if flags else 0, seconds)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self, linger: int | None = None) -> None:
        """Close the socket; see `zmq.Socket.close`. Never switches.

        Every greenlet that waits on it gets ``ZMQError(ENOTSOCK)``.
        """
        state: SocketState | None = getattr(self, "_greenzmq_state", None)
        if state is None or self.closed:  # no state: pyzmq's __del__ closes it also if __init__ has failed
            super().close(linger=linger)
            return
        if state.lease is not None:
            state.lease.close(self, linger)
            return
        if self._greenzmq_monitored is not None:
            stop_monitoring(self, self._greenzmq_monitored())
        # The order matters: no watch may stand on a descriptor that is closed, and the waiters must find the socket
        # closed when they are woken.
        state.close_compiled_path()
        state.close()
        forget_state(self)
        try:
            super().close(linger=linger)
        finally:
            state.wake_all()

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: answer every call with an error, ENOTSOCK in most cases.

        Greenlets that waited when the process forked are copies here. Nobody runs them.
        """
        self._closed = True
        self._greenzmq_state.close_compiled_path()
        self._greenzmq_state.detach_after_fork()
        refuse, refuse_poll = (
            refuse_after_fork("socket", partial(zmq.ZMQError, errno)) for errno in (zmq.ENOTSOCK, zmq.ENOTSUP)
        )
        self.__dict__.update(dict.fromkeys(REFUSED, refuse), poll=refuse_poll)

    # -- monitoring ---------------------------------------------------------------------------------------------------

    def get_monitor_socket(self, events: int | None = None, addr: str | None = None) -> Self:
        """A green PAIR socket with this one's events; see `zmq.Socket.get_monitor_socket`. Never switches.

        Events that nobody receives stay in memory, however many there are, until the monitor is closed.

        If you call `monitor` yourself and connect your own PAIR to its address, read it all the time, or set its
        ``RCVHWM`` to 0 before it connects; and keep it open until `disable_monitor`. While libzmq cannot deliver an
        event, no connection of the context works, and `close` and `disable_monitor` block the thread.
        """
        return cast("Self", open_monitor(Socket, self, events, addr))

    disable_monitor = end_monitoring


fast_methods.use(Socket)


class SharedSocket(LockedCalls, Socket[Received_co]):  # type: ignore[misc]  # where both have it, it is the same
    """A `Socket` that any number of native threads may use at once: what the hub of native threads makes."""

    _repr_cls = Socket._repr_cls


SharedSocket.__name__ = SharedSocket.__qualname__ = "Socket"  # in pyzmq's messages it is called that

_shared_classes: dict[type[Socket[Any]], type[Socket[Any]]] = {Socket: SharedSocket}


def shared_class(cls: type[Socket[Any]]) -> type[Socket[Any]]:
    """The class of a shared socket that was made as a `cls`.

    It is a subclass, in which `LockedCalls` comes after what the program has derived, and before `Socket`: so a
    program's own methods are called first, and get to the lock by their ``super()``.
    """
    if issubclass(cls, LockedCalls):
        return cls
    found = _shared_classes.get(cls)
    if found is None:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        found = _shared_classes.setdefault(cls, type(cls.__name__, (cls, SharedSocket), names))
    return found


# For proxies. Like libzmq's own, they do not call a `send` or `recv` that a subclass has overridden.


def send_directly(socket: Socket, parts: list[zmq.Frame]) -> None:
    """Send a message of frames, as `Socket.send_multipart` does. Switches: as that."""
    socket._greenzmq_state.perform(socket, socket._greenzmq_sending, send_message, 0, (parts, False, False))


def receive_directly(socket: Socket, flags: int, copy: bool, track: bool) -> list[Any]:
    """Receive a message, as `Socket.recv_multipart` does. Switches: as that."""
    return socket._greenzmq_state.perform(socket, socket._greenzmq_receiving, receive_message, flags, (copy, track))
