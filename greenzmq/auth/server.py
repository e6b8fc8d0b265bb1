"""The server that answers ZAP requests: a ROUTER, a greenlet that receives from it, and a greenlet for each callback.

The socket is a ROUTER, because a REP handles one request at a time, so that a slow callback would delay all handshakes.

Each request that can be answered is answered once, whatever happens. Otherwise libzmq would keep the client in the
handshake for ``HANDSHAKE_IVL``. No error ends the server, only `stop`, or the end of the context or of the program.
Without it, a PLAIN server of the context would let in anybody, and a CURVE server anybody who has its public key.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias

import zmq
from greenlet import GreenletExit, getcurrent

from .. import hubs
from ..errors import HubError
from ..hubs import Choice, Hub
from ..hubs.base import HUB_ATTRIBUTE
from ..process import unpatched
from ..process.fork import register_after_fork
from ..sockets.socket import Socket
from ..waiting.tasks import Task
from ..waiting.threads import task_class
from ..waiting.waiter import may_wait, yield_to_hub
from .zap import ENDPOINT, Request, Verdict, parse, refused, unavailable

__all__ = ["Server", "choice_of"]

#: Seconds for which `Server.stop` waits for greenlets that it has killed.
PATIENCE = 0.5
#: Seconds before the next attempt, when a `recv` has failed in a way that should not occur.
PAUSE = 0.1
#: At its end the server answers at most so many requests that have arrived and were not received yet.
LAST_ANSWERS = 10_000

FAILED = refused("Internal error", b"500")
BUSY = unavailable("Too many requests at once")
LATE = unavailable("No answer in time")
STOPPED = unavailable("The authenticator has stopped")

#: Judges a request: with a verdict, or with a function that returns one and may wait on the hub.
Judge: TypeAlias = Callable[[Request, Hub], "Verdict | Callable[[], Verdict]"]


class Server:
    """One run of an `Authenticator`, from `start` to `stop`.

    Parameters
    ----------
    context : zmq.Context
        The context whose sockets it guards.
    hub : Hub
        The hub on which it runs; that of this thread.
    judge : callable
        See `Judge`.
    log : logging.Logger
        The logger.
    encoding : str
        The encoding of the texts in requests.
    callback_timeout : float
        Seconds that a callback may take.
    max_callbacks : int
        How many callbacks may run at once.

    Raises
    ------
    zmq.ZMQError
        EADDRINUSE: the context has a server already. ENOTSUP and others: the context has ended. Nothing is left open.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        hub: Hub,
        judge: Judge,
        log: logging.Logger,
        *,
        encoding: str,
        callback_timeout: float,
        max_callbacks: int,
    ) -> None:
        self.hub = self.starter = hub
        self.callback_timeout = callback_timeout
        self.log = log
        self._context = context
        self._judge = judge
        self._encoding = encoding
        self._max_callbacks = max_callbacks
        self._calls: dict[_Call, None] = {}
        self._was_busy = False
        self._closing = False
        self._inherited = False
        self._begun = unpatched.allocate_lock()
        self._begun.acquire()
        # Not by `context.socket`, which would set options that the program means for its own sockets, such as RCVTIMEO.
        self.socket = Socket(context, zmq.ROUTER)
        try:
            self.socket.bind(ENDPOINT)
            # A context for one thread's hub alone has sockets for that one alone.
            self.task_class: type[Task[None]] = Task if isinstance(choice_of(context), Hub) else task_class(hub)
            self._task = self.task_class(hub, self._serve, name="greenzmq.auth.Authenticator")
            if self.task_class is not Task:
                self._wait_for_thread()
        except BaseException:
            self.socket.close(linger=0)
            raise
        register_after_fork(self)
        _announce(context, self)

    @property
    def alive(self) -> bool:
        """Whether the server answers requests."""
        return not (self._inherited or self._closing or self._task.done or self.socket.closed or self._context.closed)

    def _wait_for_thread(self) -> None:
        """The handler has a thread: come back when that has begun, and is the only one that uses the socket."""
        self._task.rawlink(lambda _: self._begun.release())  # else it cannot begin, for want of descriptors
        self._begun.acquire()
        if self._task.done:
            self._task.get()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self.hub = getattr(getcurrent(), HUB_ATTRIBUTE)
        self._begun.release()
        try:
            while not self._closing:
                try:
                    frames = self.socket.recv_multipart()
                except zmq.ZMQError as error:
                    if error.errno in (zmq.ETERM, zmq.ENOTSOCK, zmq.ENOTSUP):
                        break
                    self._pause(error)
                except Exception as error:
                    self._pause(error)
                else:
                    self._handle(frames)
        except BaseException as error:
            self.tell(
                logging.WARNING,
                "The authenticator of %r was ended by %r, not by its stop(). Until the context ends, its PLAIN servers "
                "let in anybody, and its CURVE servers whoever has their public key",
                self._context,
                error,
            )
            raise
        finally:
            self.close()

    def _pause(self, error: Exception) -> None:
        self.tell(logging.ERROR, "The authenticator goes on after %r", error, exc_info=error)
        yield_to_hub(self.hub, PAUSE)

    def _handle(self, frames: list[bytes]) -> None:
        """Answer a request, or begin a callback that will. Raises only exceptions that concern the whole program."""
        request = parse(frames, self._encoding)
        if request is None:
            self.tell(logging.ERROR, "A ZAP request of %s frames, with no envelope or no request id", len(frames))
            return
        try:
            verdict = self._judge(request, self.hub)
            if not isinstance(verdict, Verdict):
                self._begin_call(request, verdict)
                return
        except Exception as error:
            self.tell_failure(request, error)
            verdict = FAILED
        self.answer(request, verdict)

    def _begin_call(self, request: Request, decide: Callable[[], Verdict]) -> None:
        busy = len(self._calls) >= self._max_callbacks
        if not busy:
            _Call(self, request, decide)
        else:
            self.answer(request, BUSY)
        if busy and not self._was_busy:  # once, and not for each client, so that strangers cannot fill the log
            self.tell(
                logging.WARNING,
                "%s callbacks run at once, which is the limit: further clients have to try again",
                len(self._calls),
            )
        self._was_busy = busy

    def answer(self, request: Request, verdict: Verdict) -> None:
        """Send an answer. Never switches, so that nothing runs between this and the caller's note that it is sent."""
        try:
            self.socket.send_multipart(request.answer(verdict), zmq.NOBLOCK)
        except zmq.ZMQError:  # the context has ended, and the connection to the client with it
            return
        self.tell(logging.DEBUG, "%s: %s %s", request, verdict.status.decode(), verdict.text.decode())

    def tell_failure(self, request: Request, error: BaseException) -> None:
        """Log the error by which the check of a request has failed. Its client is refused."""
        self.tell(logging.ERROR, "A client was refused, since its check has failed: %s", request, exc_info=error)

    def tell(self, level: int, message: str, *args: Any, exc_info: Any = None) -> None:
        """Log a message. An exception of the logger does not come out, since it must not end the server."""
        with suppress(Exception):
            self.log.log(level, message, *args, exc_info=exc_info)

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def note_begin(self, call: _Call) -> None:
        """Note that a callback has begun."""
        self._calls[call] = None

    def note_end(self, call: _Call) -> None:
        """Note that a callback has ended."""
        self._calls.pop(call, None)

    # -- the end -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """See `Authenticator.stop`. May be called in any thread."""
        if self._inherited:
            return
        tasks = [self._task, *(call.task for call in self._calls)]
        self.end()
        deadline = monotonic() + PATIENCE
        for task in tasks:
            self._wait(task, deadline - monotonic())

    def end(self) -> None:
        """Call `close`, from any thread: at once in the hub's thread, else soon. Never switches."""
        if self.hub.thread_id == unpatched.get_ident():
            self.close()
        else:
            with suppress(RuntimeError, HubError):  # the loop has ended, and everything that ran on it
                self.hub.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Answer open requests, close the socket, and end the callbacks. In the hub's thread only. Never switches."""
        if self._inherited or self._closing:
            return
        self._closing = True
        for call in list(self._calls):
            call.cancel()
        if not self.socket.closed:
            self._answer_the_rest()
            with suppress(zmq.ZMQError):  # the context has ended
                # `close` alone frees the address later, in libzmq's reaper thread, so that a new `start` would fail.
                self.socket.unbind(ENDPOINT)
            self.socket.close(linger=0)

    def _answer_the_rest(self) -> None:
        with suppress(zmq.ZMQError):  # there are no more requests, or the context has ended
            for _ in range(LAST_ANSWERS):
                request = parse(self.socket.recv_multipart(zmq.NOBLOCK), self._encoding)
                if request is not None:
                    self.answer(request, STOPPED)

    def _wait(self, task: Task[Any], seconds: float) -> None:
        """Wait for the end of a task, in any thread, if this greenlet can wait. Does nothing for its own task."""
        if task.done or seconds <= 0 or task is _current_task():
            return
        if task.hub.thread_id == unpatched.get_ident():
            if may_wait(task.hub):
                task.join(seconds)
            return
        hub = hubs.current_hub()
        if hub is not None and may_wait(hub):
            task.join(seconds)
        else:
            task._block(seconds)

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: stop. The greenlets are copies that nobody runs, and the socket belongs to the parent."""
        self._inherited = True
        self._calls.clear()


class _Call:
    """One callback, in a greenlet of its own, with a time limit."""

    def __init__(self, server: Server, request: Request, decide: Callable[[], Verdict]) -> None:
        self._server = server
        self._request = request
        self._decide = decide
        self._answered = False
        name = f"{request.mechanism} check of greenzmq.auth.Authenticator"
        # A thread hands `SystemExit` on to its spawner, which would be the end of the server's.
        self.task = server.task_class(server.starter, self._run, name=name)
        self._timer = server.hub.call_later(server.callback_timeout, self._expire)
        self.task.rawlink(self._end)
        server.note_begin(self)

    def _run(self) -> None:
        try:
            verdict = self._decide()
        except BaseException as error:
            if not self._answered:
                self._server.tell_failure(self._request, error)
            self._answer(FAILED)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise  # they concern the whole program; the task passes them on
        else:
            self._answer(verdict)

    def _answer(self, verdict: Verdict) -> None:
        """Answer, unless that is done. Only the server's thread uses the socket; the callback may have its own."""
        hub = self._server.hub
        if hub.thread_id != unpatched.get_ident():
            hub.call_soon_threadsafe(self._answer, verdict)
        elif not self._answered:
            self._answered = True
            self._server.answer(self._request, verdict)

    def _expire(self) -> None:
        """End the callback, since its time is over. Called by the hub.

        A callback that goes on after the kill counts as a running one until it ends.
        """
        self._answer(LATE)
        greenlet = self.task._greenlet if self._server.task_class is Task else None  # nobody sees those of others
        frame = getattr(greenlet, "gr_frame", None)
        self._server.tell(
            logging.ERROR,
            "A client was refused, since its check has not ended within %g seconds: %s%s",
            self._server.callback_timeout,
            self._request,
            "" if frame is None else f". It is in\n{''.join(traceback.format_stack(frame))}",
        )
        self._kill(GreenletExit("the time limit of this check is over"))

    def cancel(self) -> None:
        """End the callback, since the server stops."""
        self._answer(STOPPED)
        self._kill(GreenletExit("the authenticator has stopped"))

    def _kill(self, error: GreenletExit) -> None:
        if self.task is not _current_task():  # else this very callback stops the authenticator
            self.task.kill(error, block=False)

    def _end(self, _: object) -> None:
        hub = self._server.hub
        if hub.thread_id != unpatched.get_ident():
            hub.call_soon_threadsafe(self._end, None)
            return
        self._timer.cancel()
        self._answer(FAILED)  # has an effect only if the task was killed before it began
        self._server.note_end(self)


def _current_task() -> Any:
    """Return the task whose greenlet this is, or None."""
    reference = getattr(getcurrent(), "task", None)
    return reference() if callable(reference) else None


def choice_of(context: zmq.Context[Any]) -> Choice | None:
    """The hub that a context names, if it is a green one and names any."""
    choice: Choice | None = getattr(context, "_greenzmq_choice", None)
    return choice


def _announce(context: zmq.Context[Any], server: Server) -> None:
    """Have the server end with the context, also where a greenlet cannot wait for that."""
    services = getattr(context, "_greenzmq_services", None)
    if services is not None:
        services.add(server)
    else:
        context._add_socket(server.socket)
