"""The demo's service and its clients, on one hub, written as a user of greenzmq would write them.

::

    N clients            this process' tasks             M workers
    REQ  ── tcp ──  ROUTER ── two forwarders ── DEALER  ── tcp ──  REP

All sockets are green, and all tasks run in one thread. Both forwarders use both sockets in the middle: while one
forwarder receives from a socket, the other one sends on it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import greenzmq as zmq

from .inputs import Request, describe
from .ticker import Ticker, percentile

if TYPE_CHECKING:
    from ..waiting.hub_api import GreenHub

__all__ = ["Exchange", "Failure", "Outcome", "answer"]

CHUNK = 1 << 16
"""Bytes in one frame of a request."""

LOOK = 0.05
"""Seconds between two reports of progress, and between two checks of whether the run has failed or hangs."""

ENDS = 0.5
"""Seconds that threads may take to end, once they are killed."""


class Failure(NamedTuple):
    """A request whose answer is wrong or missing, and the reason."""

    name: str
    why: str


class Outcome(NamedTuple):
    """The result of one run on one hub. Times are in seconds."""

    answered: int
    seconds: float
    p50: float
    p99: float
    stall: float
    wrong: list[Failure]
    missing: list[Failure]


def answer(socket: Any) -> None:
    """Serve as a worker, for ever.

    A request is a name and the chunks of a file. The answer is the name, the SHA-256 and the number of lines.
    """
    while True:
        name, *chunks = socket.recv_multipart()
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        lines = sum(chunk.count(b"\n") for chunk in chunks)
        socket.send_multipart([name, digest.hexdigest().encode(), b"%d" % lines])


def forward(source: Any, target: Any) -> None:
    """Pass each message on, unchanged, for ever."""
    while True:
        target.send_multipart(source.recv_multipart(copy=False), copy=False)


class Exchange:
    """One run: each request is sent once, by the next client that is free, and each answer is checked.

    Parameters
    ----------
    hub : GreenHub
        The hub on which all tasks run.
    root : str
        The directory to which the requests' paths are relative.
    requests : sequence of Request
        The files to send, and the right answers.
    clients, workers : int
        The numbers of tasks.
    patience : float
        Seconds without an answer after which the run is given up.
    worker : callable
        The function that each worker calls with its REP socket.
    """

    def __init__(
        self,
        hub: GreenHub,
        root: str,
        requests: Sequence[Request],
        *,
        clients: int,
        workers: int,
        patience: float,
        worker: Callable[[Any], object] = answer,
    ) -> None:
        self.hub = hub
        self.root = root
        self.requests = requests
        self.clients = clients
        self.workers = workers
        self.patience = patience
        self.worker = worker
        self.pending = iter(requests)
        self.unanswered: dict[Request, str] = {}
        self.latencies: list[float] = []
        self.wrong: list[Failure] = []
        self.last_answer = 0.0
        self.service: list[Any] = []
        self.asking: list[Any] = []
        self.errors: list[Exception] = []

    def run(self, report: Callable[[int], object] = lambda answered: None) -> Outcome:
        """Make the run, and return its outcome. Switches: always.

        Parameters
        ----------
        report : callable
            Called with the number of answers so far, about twenty times a second, and at the end.
        """
        context = zmq.Context(hub=self.hub)
        context.set(zmq.MAX_SOCKETS, self.clients + self.workers + 8)
        ticker = Ticker(self.hub)
        try:
            sockets = self._start_service(context)
            self._serve(ticker.run)
            self._serve(self._report, report)
            started = self.last_answer = time.perf_counter()
            self._start_clients(sockets)
            self._watch()
            report(len(self.latencies))
        finally:
            self._end_tasks()
            context.destroy(linger=0)
        return self._outcome(self.last_answer - started, ticker.stall)

    def _start_service(self, context: Any) -> list[Any]:
        """Start the workers and the forwarders. Return the sockets of the clients, already connected."""
        front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        for socket, peers in (front, self.clients), (back, self.workers):
            socket.backlog = peers
            socket.bind("tcp://127.0.0.1:*")
        for _ in range(self.workers):
            self._serve(self.worker, _connected(context, zmq.REP, back))
        self._serve(forward, front, back)
        self._serve(forward, back, front)
        return [_connected(context, zmq.REQ, front) for _ in range(self.clients)]

    def _serve(self, function: Callable[..., object], *args: Any) -> None:
        self.service.append(self.hub.spawn(self._note_error, function, *args))

    def _note_error(self, function: Callable[..., object], *args: Any) -> None:
        """Run a task's function, and keep its error. Only the first is raised later: other tasks often fail alike."""
        try:
            function(*args)
        except Exception as error:
            self.errors.append(error)

    def _start_clients(self, sockets: Sequence[Any]) -> None:
        for socket in sockets:
            self.asking.append(self.hub.spawn(self._note_error, self._ask, socket))
            self.hub.sleep(0)  # or all clients would read their first file in the same round of the hub

    def _ask(self, socket: Any) -> None:
        """Serve as a client: send the next request and check the answer, until no request is left."""
        for request in self.pending:
            self.unanswered[request] = "no answer"
            try:
                content = request.read(self.root)
            except OSError as error:
                self.unanswered[request] = f"cannot be read any more: {error.strerror}"
                continue
            asked = time.perf_counter()
            socket.send_multipart([os.fsencode(request.name), *_chunks(content)])
            got = socket.recv_multipart()
            self.last_answer = time.perf_counter()
            self.latencies.append(self.last_answer - asked)
            self._check(request, content, got)

    def _check(self, request: Request, content: bytes, got: list[bytes]) -> None:
        del self.unanswered[request]
        right = [os.fsencode(request.name), request.sha256.encode(), b"%d" % request.lines]
        if got == right:
            return
        if describe(content) != (request.sha256, request.lines):
            self.unanswered[request] = "the file was changed while the demo ran"
        else:
            self.wrong.append(Failure(request.name, f"the answer was {_words(got)}, and should be {_words(right)}"))

    def _report(self, report: Callable[[int], object]) -> None:
        """Report progress, for ever. In a task of its own: most answers come while clients are still being started."""
        while True:
            self.hub.sleep(LOOK)
            report(len(self.latencies))

    def _watch(self) -> None:
        """Wait until all clients have ended, no answer has come for `patience` seconds, or a task has failed."""
        for client in self.asking:
            while not client.join(timeout=LOOK) and not self.errors:
                if time.perf_counter() - self.last_answer > self.patience:
                    return
            if self.errors:
                raise self.errors[0]

    def _end_tasks(self) -> None:
        """Kill all tasks. On native threads, one that blocks does not end: it is left alone, and its socket closed."""
        tasks = self.asking + self.service
        for task in tasks:
            task.kill(block=False)
        until = time.perf_counter() + ENDS
        for task in tasks:
            task.join(max(until - time.perf_counter(), 0) if task.hub.runs_threads else None)

    def _outcome(self, seconds: float, stall: float) -> Outcome:
        missing = [Failure(request.name, why) for request, why in self.unanswered.items()]
        missing += [Failure(request.name, "never sent") for request in self.pending]
        p50, p99 = (percentile(self.latencies, share) for share in (0.50, 0.99))
        return Outcome(len(self.latencies), seconds, p50, p99, stall, self.wrong, missing)


def _connected(context: Any, kind: int, to: Any) -> Any:
    socket = context.socket(kind)
    socket.connect(to.getsockopt_string(zmq.LAST_ENDPOINT))
    return socket


def _chunks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + CHUNK] for start in itertools.chain((0,), range(CHUNK, len(content), CHUNK)))


def _words(frames: Sequence[bytes]) -> str:
    return repr([frame.decode("utf-8", "backslashreplace") for frame in frames])
