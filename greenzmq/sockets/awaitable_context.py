"""The context of awaitable sockets: `zmq.asyncio.Context`, whose `term` and `destroy` can be awaited."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from ..errors import HubError
from ..hubs.asyncio import Future, running_loop
from ..waiting.events import hub_here
from ..waiting.futures import finished_future
from . import awaitable, context

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from typing_extensions import Self
    from typing_extensions import TypeVar as DefaultTypeVar

    from ..waiting.tasks import NativeCall

    Made_co = DefaultTypeVar("Made_co", bound=awaitable.Socket, default=awaitable.Socket, covariant=True)
else:
    Made_co = TypeVar("Made_co", covariant=True)

__all__ = ["Context"]

#: Seconds for which `Context.term` blocks the loop where nothing has to be waited for. So the context has ended after a
#: call that is not awaited, as with `zmq.asyncio`. libzmq needs well under a millisecond.
BRIEFLY = 0.005


class _Ended:
    """What `Context.term` gives where no loop runs: the context has ended."""

    def __await__(self) -> Any:
        return iter(())


class Context(context.Context[Made_co]):
    """A `zmq.asyncio.Context`. ``async with Context() as context:`` ends it while the loop goes round."""

    _repr_cls = "greenzmq.aio.Context"
    _socket_class: type[Made_co] = awaitable.Socket  # type: ignore[assignment]
    _instance = None
    _greenzmq_default_hub = "asyncio"

    def term(self) -> Awaitable[None]:  # type: ignore[override]
        """End the context; see `zmq.Context.term`. ``await`` it to wait for the end while the loop goes round.

        The end begins with the call, awaited or not. Every task that waits on one of its sockets gets
        `zmq.ContextTerminated`. A cancellation ends the wait, not the end. Where no loop runs, and in a greenlet, the
        call itself waits, as that of a green context.
        """
        loop = running_loop()
        if loop is None or self.closed or "_greenzmq_ending" not in self.__dict__ or self._greenzmq_unattended:
            super().term()
            return _Ended() if loop is None else finished_future(loop, None)
        try:
            hub_here(self._greenzmq_choice, self)
        except HubError:  # in a coroutine, or a callback of the loop
            pass
        else:
            super().term()
            return finished_future(loop, None)
        self._greenzmq_end_services()
        waits = any(not socket.closed for socket in list(self._sockets))
        ending = self._greenzmq_end()
        future: Future[None] = Future(loop=loop)
        ending.rawlink(partial(_tell_in_loop, future))
        if ending.ready() or (not waits and ending._block(BRIEFLY)):
            _tell(future, ending)
        return future

    def destroy(self, linger: int | None = None) -> Awaitable[None]:  # type: ignore[override]
        """Close all sockets, then `term`; see `zmq.Context.destroy`. ``await`` it as `term`."""
        super().destroy(linger)
        return self.term()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the context, as ``with`` does, while the loop goes round."""
        self.__exit__(kind, error, traceback)
        await self.term()


def _tell_in_loop(future: Future[None], ending: NativeCall[None]) -> None:
    """The context has ended: called in the native thread."""
    try:
        future.get_loop().call_soon_threadsafe(_tell, future, ending)
    except RuntimeError:  # the loop is closed by now
        pass


def _tell(future: Future[None], ending: NativeCall[None]) -> None:
    """In the loop."""
    if future.done():
        return
    try:
        ending._result()
    except zmq.ZMQError as error:
        future.set_exception(error)
    else:
        future.set_result(None)
