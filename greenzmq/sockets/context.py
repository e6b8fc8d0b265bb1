"""The green context: pyzmq's `Context`, whose sockets are green and whose `term` blocks only its own greenlet."""

from __future__ import annotations

import warnings
import weakref
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import zmq

from .. import hubs
from ..errors import HubError
from ..process.descriptors import refuse_without_room
from ..process.fork import register_after_fork, unregister_after_fork
from ..waiting.events import hub_here
from ..waiting.hub_api import GreenHub
from ..waiting.locks import ParkingLock
from ..waiting.scope import note_context
from ..waiting.tasks import NativeCall
from .barriers import default_barriers, observe
from .fairness import default_turn, turn_in_seconds
from .inherited import refuse_after_fork
from .plain import PlainContext
from .pyobj import default_pyobj
from .socket import Socket
from .zerocopy import use_native_thread

if TYPE_CHECKING:
    from typing_extensions import Self
    from typing_extensions import TypeVar as DefaultTypeVar

    from ..hubs import Choice

    #: The class of its sockets. It has a default only for type checkers, see `greenzmq.sockets.signatures`.
    Made_co = DefaultTypeVar("Made_co", bound=Socket[Any], default=Socket, covariant=True)
else:
    Made_co = TypeVar("Made_co", covariant=True)

__all__ = ["Context"]

use_native_thread()

#: Seconds for which `Context.term` may block the thread where it cannot park. With nothing to wait for, libzmq needs
#: well under a millisecond. But on a busy machine the start of the native thread may take much longer.
PATIENCE = 0.5
#: What a context opens with its first socket, besides two for each I/O thread: two for its reaper, one for the socket.
DESCRIPTORS = 3


class Context(PlainContext[Made_co]):
    """A `zmq.Context` whose sockets wait on a hub.

    Parameters
    ----------
    io_threads : int or Context
        As for `zmq.Context`.
    shadow : Context or int
        As for `zmq.Context`. A shadow of a green context keeps its hub.
    hub : str, type, Hub or GreenHub, optional
        The hub that its sockets wait on: a name such as ``"gevent"``, ``"package.module:Class"``, or a class. None
        leaves it to the rules (`greenzmq.hubs.decide`) at each wait.
    turn : float, optional
        Milliseconds for which a greenlet whose calls need not wait may go on with one socket before it lets others run;
        0 never stops it. None means ``$GREENZMQ_TURN``, or 2 if that is not set.
    pyobj : bool, optional
        False makes `Socket.send_pyobj` and `recv_pyobj` an error: to unpickle runs whatever code the sender has put in
        the message. None means what ``$GREENZMQ_PYOBJ`` says, 0 or 1; if that is not set, they are allowed.
    barriers : bool, optional
        True lets its sockets tell of their peers: `Socket.wait_connected`, `wait_drained`. It costs a monitor for each
        socket and a tracker for each frame that is sent, so it is for tests and for starting up. None means what
        ``$GREENZMQ_BARRIERS`` says, 0 or 1. `Socket.wait_subscribed` works without it.

    Raises
    ------
    UnknownHubError, MissingHubError
        `hub` cannot be used. Raised at once, not at the first wait.
    TypeError or ValueError
        The turn is not a number of milliseconds, or is negative; ``$GREENZMQ_PYOBJ`` is neither 0 nor 1.
    """

    _repr_cls = "greenzmq.Context"
    _socket_class: type[Made_co] = Socket  # type: ignore[assignment]  # as in pyzmq: a class says which one it makes
    _greenzmq_default_hub: ClassVar[Choice | None] = None
    # Each namespace has its own, so that `instance()` never returns the context of pyzmq or of another namespace.
    _instance: Any = None
    _instance_lock: Any = ParkingLock("Context.instance()")  # a subclass's __init__ may switch

    _greenzmq_choice: Choice | None
    _greenzmq_turn: float
    _greenzmq_pyobj: bool | None
    _greenzmq_barriers: bool
    _greenzmq_debug: bool  # whether sockets that are made while no asyncio loop runs warn; see `coroutines`
    _greenzmq_ending: NativeCall[None] | None
    _greenzmq_services: weakref.WeakSet[Any]  # what runs in it, with sockets of its own, until it ends
    _greenzmq_started = False  # it has, or has had, a socket
    _greenzmq_unattended = False  # a finalizer ends it, so `term` must not wait

    def __init__(
        self,
        io_threads: int | zmq.Context[Any] = 1,
        shadow: zmq.Context[Any] | int = 0,
        *,
        hub: Choice | GreenHub | None = None,
        turn: float | None = None,
        pyobj: bool | None = None,
        barriers: bool | None = None,
    ) -> None:
        other = io_threads if isinstance(io_threads, PlainContext) else shadow
        choice = hub.choice if isinstance(hub, GreenHub) else hub
        if choice is not None:
            hubs.hub_class(choice)
        else:
            hubs.load_threads()
        seconds = getattr(other, "_greenzmq_turn", None) if turn is None else turn_in_seconds(turn)
        default_pyobj()
        arguments: Any = (io_threads, shadow)
        self.__dict__.update(
            _greenzmq_choice=choice or getattr(other, "_greenzmq_choice", None) or self._greenzmq_default_hub,
            _greenzmq_turn=default_turn() if seconds is None else seconds,
            _greenzmq_pyobj=getattr(other, "_greenzmq_pyobj", None) if pyobj is None else bool(pyobj),
            _greenzmq_barriers=(
                getattr(other, "_greenzmq_barriers", default_barriers()) if barriers is None else bool(barriers)
            ),
            _greenzmq_debug=hubs.new_loops_debug(),
            _greenzmq_ending=None,
            _greenzmq_services=weakref.WeakSet(),
        )
        super().__init__(*arguments)
        register_after_fork(self)
        if not self._shadow:
            note_context(self)

    if TYPE_CHECKING:  # pyzmq's has a type that is partly unknown

        @classmethod
        def shadow(cls, address: int | zmq.Context[Any]) -> Self:
            """Shadow a libzmq context; see `zmq.Context.shadow`."""

    def _greenzmq_before_first_socket(self) -> None:
        """Raise ``ZMQError(EMFILE)`` if libzmq could not start its threads: it would end the process (epoll.cpp).

        They start with the first socket, and each of them needs a signaler and an epoll.
        """
        if not (self._greenzmq_started or self.closed):
            try:
                refuse_without_room(self.get(zmq.IO_THREADS) * 2 + DESCRIPTORS)
            except OSError as error:
                raise zmq.ZMQError(error.errno) from None
            self.__dict__["_greenzmq_started"] = True

    def _add_socket(self, socket: Any) -> None:
        super()._add_socket(socket)
        if isinstance(socket, Socket):
            if self._greenzmq_barriers:
                observe(Socket, socket)
            unregister_after_fork(socket)  # the context keeps a weak reference to it, and tells it of a fork

    def _greenzmq_after_fork(self) -> None:
        self.closed = True
        self.__dict__["socket"] = refuse_after_fork("context", partial(zmq.ZMQError, zmq.ENOTSUP))
        self.__dict__.update(dict.fromkeys(("get", "set"), refuse_after_fork("context", RuntimeError)))
        for socket in list(self._sockets):
            if isinstance(socket, Socket):
                socket._greenzmq_after_fork()

    def term(self) -> None:
        """End the context; see `zmq.Context.term`. Other greenlets run meanwhile.

        Every greenlet that waits on one of its sockets gets `zmq.ContextTerminated`. This greenlet waits until all its
        sockets are closed and their messages are sent, or their ``LINGER`` is over. libzmq's blocking call is made in a
        native thread, which goes on if this greenlet is killed.

        If there is nothing to wait for, the context ends at once, also in a coroutine, in a callback of the hub, and
        without any hub.

        Raises
        ------
        HubError
            It would have to wait, in a place where a wait would stop the hub. If sockets are open, nothing has changed.
            If only messages of closed sockets are unsent, the end has begun: this call has blocked the hub for half a
            second, and the end goes on in its thread. To wait for it, call `term` again in a greenlet.

        Notes
        -----
        Switches: always in a greenlet; never where that is not possible.
        """
        if self.closed or "_greenzmq_ending" not in self.__dict__:
            super().term()  # ended, a forked child's, or never begun: nothing to wait for
        elif self._greenzmq_unattended:
            self._greenzmq_end()
        else:
            try:
                hub = hub_here(self._greenzmq_choice, self)
            except HubError as refusal:
                self._greenzmq_end_without_hub(refusal)
            else:
                self._greenzmq_end().get(hub, self)

    def destroy(self, linger: int | None = None) -> None:
        """Close all sockets, and end the context; see `zmq.Context.destroy` and `term`. Switches: as `term`."""
        self._greenzmq_end_services()
        super().destroy(linger)

    def _greenzmq_end_services(self) -> None:
        for service in list(self.__dict__.get("_greenzmq_services", ())):  # none if `__init__` has failed
            service.end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the context; see `zmq.Context.__exit__`. If an error has ended the block, that error is what comes out.

        An error of the end itself is then only a warning.
        """
        try:
            super().__exit__(kind, error, traceback)
        except Exception as trouble:
            if error is None:
                raise
            with suppress(RuntimeWarning):  # under ``-W error`` it would be raised, and hide `error`
                warnings.warn(f"after {error!r}: {trouble}", RuntimeWarning, stacklevel=2)

    def __del__(self) -> None:
        # A finalizer may run in any greenlet, also in the hub's, so it must not wait.
        self.__dict__["_greenzmq_unattended"] = True
        super().__del__()

    def _greenzmq_end_without_hub(self, refusal: HubError) -> None:
        """`term` where this greenlet cannot park, as `refusal` says."""
        kind = type(refusal)
        if any(not socket.closed for socket in list(self._sockets)):
            raise kind(
                f"{self!r} cannot end here: it would have to wait until its open sockets are closed. {refusal}"
            ) from None
        self._greenzmq_end_services()  # a greenlet of theirs would do it, if the hub could go round
        ending = self._greenzmq_end()
        if not ending._block(PATIENCE):
            raise kind(
                f"{self!r} is ending in a native thread, which waits for unsent messages (LINGER) or for sockets that "
                f"others have opened; call term() once more where it can wait. {refusal}"
            ) from None
        ending._result()

    def _greenzmq_end(self) -> NativeCall[None]:
        """The call in a native thread that ends this context; made by the first call, however many greenlets call."""
        ending: NativeCall[None] | None = self._greenzmq_ending
        if ending is None:
            ending = self.__dict__["_greenzmq_ending"] = NativeCall(super().term)
        return ending
