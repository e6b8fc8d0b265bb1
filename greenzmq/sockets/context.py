"""The green context: pyzmq's, whose sockets are green and whose end stops nobody else."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import zmq

from .. import hubs
from ..errors import HubError
from ..process.fork import register_after_fork, unregister_after_fork
from ..waiting.events import hub_here
from ..waiting.hub_api import GreenHub
from ..waiting.locks import ParkingLock
from ..waiting.scope import note_context
from ..waiting.tasks import NativeCall
from .fairness import default_turn, turn_in_seconds
from .inherited import refuse_after_fork
from .socket import Socket
from .zerocopy import use_native_thread

if TYPE_CHECKING:
    from typing_extensions import Self
    from typing_extensions import TypeVar as DefaultTypeVar

    from ..hubs import Choice

    #: What its sockets are. It has a default only for type checkers, see `greenzmq.sockets.signatures`.
    Made_co = DefaultTypeVar("Made_co", bound=Socket[Any], default=Socket, covariant=True)
else:
    Made_co = TypeVar("Made_co", covariant=True)

__all__ = ["Context"]

use_native_thread()

#: Seconds for which `Context.term` may stop a thread where nothing can park. With nothing to wait for, libzmq needs
#: well under a millisecond; to start a thread for it, on a machine that is busy, may take a good deal more.
PATIENCE = 0.5


class Context(zmq.Context[Made_co]):
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
        Milliseconds for which a greenlet may go on with one socket before the others have their turn, where it need not
        wait; 0 never stops it. None leaves it to ``$GREENZMQ_TURN``, or else it is 2.

    Raises
    ------
    UnknownHubError, MissingHubError
        At once, not at the first wait.
    ValueError
        The turn is not a number of milliseconds.
    """

    _repr_cls = "greenzmq.Context"
    _socket_class: type[Made_co] = Socket  # type: ignore[assignment]  # as in pyzmq: a class says which one it makes
    _greenzmq_default_hub: ClassVar[Choice | None] = None
    _instance: Any = None  # else pyzmq's attribute would be found; each namespace has one for the same reason
    _instance_lock: Any = ParkingLock("Context.instance()")  # a subclass's __init__ may switch

    _greenzmq_choice: Choice | None
    _greenzmq_turn: float
    _greenzmq_ending: NativeCall[None] | None
    _greenzmq_unattended = False  # nobody waits for the end that is begun

    def __init__(
        self,
        io_threads: int | zmq.Context[Any] = 1,
        shadow: zmq.Context[Any] | int = 0,
        *,
        hub: Choice | GreenHub | None = None,
        turn: float | None = None,
    ) -> None:
        other = io_threads if isinstance(io_threads, zmq.Context) else shadow
        choice = hub.hub if isinstance(hub, GreenHub) else hub
        if choice is not None:
            hubs.hub_class(choice)
        seconds = getattr(other, "_greenzmq_turn", None) if turn is None else turn_in_seconds(turn)
        arguments: Any = (io_threads, shadow)
        self.__dict__.update(
            _greenzmq_choice=choice or getattr(other, "_greenzmq_choice", None) or self._greenzmq_default_hub,
            _greenzmq_turn=default_turn() if seconds is None else seconds,
            _greenzmq_ending=None,
        )
        super().__init__(*arguments)
        register_after_fork(self)
        if not self._shadow:
            note_context(self)

    if TYPE_CHECKING:  # pyzmq's has a type that is partly unknown

        @classmethod
        def shadow(cls, address: int | zmq.Context[Any]) -> Self:
            """Shadow a libzmq context; see `zmq.Context.shadow`."""

    def _add_socket(self, socket: Any) -> None:
        super()._add_socket(socket)
        if isinstance(socket, Socket):
            unregister_after_fork(socket)  # one weak reference to each is enough

    def _greenzmq_after_fork(self) -> None:
        self.closed = True
        self.__dict__["socket"] = refuse_after_fork("context", partial(zmq.ZMQError, zmq.ENOTSUP))
        self.__dict__.update(dict.fromkeys(("get", "set"), refuse_after_fork("context", RuntimeError)))
        for socket in list(self._sockets):
            if isinstance(socket, Socket):
                socket._greenzmq_after_fork()

    def term(self) -> None:
        """End the context; see `zmq.Context.term`. The others run on meanwhile.

        Whoever waits on one of its sockets gets `zmq.ContextTerminated`; this greenlet waits until all are closed and
        their messages are sent, or their ``LINGER`` is over. The waiting itself is done by a native thread, which goes
        on if this greenlet is killed.

        With nothing to wait for it ends at once, also in a coroutine, in a callback of the hub, and without any hub.

        Raises
        ------
        HubError
            There is something to wait for, where this would stop the hub. With open sockets the context is as it was.
            With unsent messages of closed ones its end has begun, has stopped the hub for half a second, and goes on;
            `term` called in a greenlet waits for it.

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the context; see `zmq.Context.__exit__`. The error that has ended the block is what comes out of it."""
        try:
            super().__exit__(kind, error, traceback)
        except Exception as trouble:
            if error is None:
                raise
            with suppress(RuntimeWarning):  # which would be raised under ``-W error``, in the place of `error`
                warnings.warn(f"after {error!r}: {trouble}", RuntimeWarning, stacklevel=2)

    def __del__(self) -> None:
        # A finalizer may run in any greenlet, the hub's included.
        self.__dict__["_greenzmq_unattended"] = True
        super().__del__()

    def _greenzmq_end_without_hub(self, refusal: HubError) -> None:
        """`term` where nothing can park."""
        kind = type(refusal)
        if any(not socket.closed for socket in list(self._sockets)):
            raise kind(f"{self!r} has open sockets, for whose end its own has to wait. {refusal}") from None
        ending = self._greenzmq_end()
        if not ending._block(PATIENCE):
            raise kind(
                f"{self!r} is ending in a native thread, which waits for unsent messages (LINGER) or for sockets that "
                f"others have opened; call term() once more where it can wait. {refusal}"
            ) from None
        ending._result()

    def _greenzmq_end(self) -> NativeCall[None]:
        """The one native thread that ends this context, however many greenlets ask for it."""
        ending: NativeCall[None] | None = self._greenzmq_ending
        if ending is None:
            ending = self.__dict__["_greenzmq_ending"] = NativeCall(super().term)
        return ending
