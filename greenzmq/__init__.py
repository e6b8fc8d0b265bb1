"""greenzmq: one green ØMQ for every Python runtime.

::

    import greenzmq as zmq            # the hub: $GREENZMQ_HUB, or what this greenlet runs on
    import greenzmq.gevent as zmq     # always gevent; likewise eventlet, selector, asyncio, threading
    import greenzmq.aio as zmq        # sockets to await, in place of zmq.asyncio

    def program():
        with zmq.Context() as context, context.socket(zmq.REP) as socket:
            socket.bind("tcp://127.0.0.1:5555")
            while True:
                socket.send(socket.recv())    # waits, and everybody else in this thread runs on

    zmq.main(program)

All names of `zmq` are here, with the same signatures, results and errors. What waits is green: ``Context``, ``Socket``,
``Poller``, ``select``, ``zmq_poll``, ``proxy``, ``proxy_steerable``, ``device``, ``MessageTracker``. Besides, on every
runtime alike:

programs
    `main` runs a function on a hub, and cleans up. `hub` is this thread's, a `GreenHub`: ``spawn`` (a `Task`), ``run``,
    ``group`` (a `TaskGroup`), ``sleep``, ``timeout`` (`Timeout`), ``wait_fd``, ``run_in_thread``, ``submit``. `Pool`,
    `use_hub`, `namespace`.
waiting
    `wait` for the first of many things (`Waitable`). `Queue`, `LifoQueue`, `PriorityQueue` (`Empty`, `Full`,
    `ShutDown`); `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`, `Condition`, `GreenEvent`. `monitor_events`
    (`MonitorEvents`) for the events of connections.
a program that hangs, stalls or is slow
    `dump`, `waiters`, `watchdog`, `stats` (`Stats`).
other people's programs
    `patch`, `unpatch`, `patched`, and ``python -m greenzmq run``.
errors
    `HubError`: `BlockingCallError`, `WrongHubError`, `AmbiguousHubError`, `UnknownHubError`, `MissingHubError`,
    `WatchError`. `PyobjRefusedError`. Each message says what to do.

Modules: `greenzmq.auth` (who may connect), `greenzmq.testing`, `greenzmq.errors`, `greenzmq.hubs` (for authors of
hubs), `greenzmq.devices`, `greenzmq.decorators`. These are public, with the names that the reference lists (``nox -s
docs`` builds it); everything else is private.

The map of the package, from the bottom up. A folder imports from those above it only, and a file from those before it
in its folder. ``tests/project/test_layering.py`` holds that, and that this map names every file::

    errors              the errors between a program and its hub
    process/            matters of the whole process; knows neither hub nor socket
        unpatched       the standard library without monkey patches
        descriptors     whether the process may open more
        objects         all objects of a class, without harm to other threads
        fork            what happens in a forked child to the objects that it inherits
    hubs/               event loops that greenlets can switch to; knows nothing of zmq
        base            the contract: Hub, Watch, Timer
        workers         pooled greenlets, which make one call after another
        _per_thread     one object for each thread, freed when the thread ends
        _timers         a heap of timers, for loops that have none
        _wakeup         a descriptor by which other threads wake a loop
        _epoll          one interface to epoll, or to selectors
        selector        a greenlet loop of our own; each of these four files is the only one that imports its runtime
        gevent          gevent's hub
        eventlet        eventlet's hub
        asyncio         the running asyncio loop, or uvloop's
        threading       a selector loop for each native thread
        detection       which hub a greenlet runs on, asked without side effects
        words           the words of other programs for these hubs
        foreign         the hubs of other packages, by their entry points
        registry        hubs by name
    waiting/            greenlets, and what they wait for besides sockets; knows nothing of zmq
        limits          checks of the times that programs give
        reasons         what a greenlet waits for, for diagnostics
        waiter          the one place where a greenlet parks
        counting        counts of waits, for stats
        turns           the turn: how long a greenlet may go on before it yields to the hub
        events          GreenEvent, and what else can be waited for
        lines           waiters that are served in order, and the things that they take one at a time
        sync            Lock, RLock, Semaphore
        conditions      Condition
        items           the items of a queue, and the room for more
        queues          Queue, LifoQueue, PriorityQueue
        locks           a lock for greenlets of any hub, and threads
        scope           the tasks and contexts that a function makes, so that its caller can end them
        tasks           Task, and calls in native threads
        threads         tasks that are native threads
        time_limit      with hub.timeout(seconds):
        bridge          between an asyncio loop's coroutines and its greenlets
        futures         futures whose work the task does that awaits them
        from_threads    calls that other threads submit to a hub
        groups          TaskGroup: tasks that end together
        hub_api         GreenHub: spawn, run, group, sleep, timeout, wait_fd, run_in_thread, submit
        pool            Pool: a limited number of tasks at a time
    sockets/            one libzmq socket
        plain           pyzmq's own classes, whatever `patch` has put in their place
        inherited       the error that a forked child gets from its parent's sockets
        pyobj           whether pickle is refused
        accelerator     whether the compiled fast path is used (the C files, optional), and if not, why
        fairness        the turn of a socket, and its runs under NOBLOCK
        messages        who is in the middle of a multipart message
        spurious        readiness that libzmq reports in error
        listeners       Pollers and Socket.poll, which wait for events and take no message
        directions      receiving and sending: the queues, and the gate of the fast path
        fd_watch        the watch on ZMQ_FD
        waiters         ZMQ_FD explained; who waits on a socket, and whom to wake
        event_wait      the wait of Socket.poll
        timeouts        a cache of RCVTIMEO and SNDTIMEO
        unawaited       the futures of an awaitable socket that nobody waits for yet
        outcomes        what follows an attempt without a result
        operations      the slow path: try, enter, park, try again, leave
        coroutines      the warnings of asyncio's debug mode
        parts           the parts of a message, checked before the first is sent
        calls           libzmq's calls, a whole message in each
        fast_methods    the methods that have a compiled fast path
        shared_waiters  who waits on a socket that native threads share, on many hubs
        sleeping        a thread that alone waits on a socket sleeps by itself
        sharing         a socket that several native threads use: how, and the lock around each operation
        registry        the state of each libzmq socket, by its address
        counting        counts of messages and of reads of EVENTS, for stats
        pending         operations for asyncio tasks: calls that return a future
        tracker         the green MessageTracker, and the Frame that has one
        signatures      the overloads of send and recv, for type checkers
        monitors        the PAIR socket that reports another socket's connections
        locked          the calls of a socket that native threads share
        barriers        wait for peers, for subscriptions, and until all is sent
        socket          the green Socket, with the fast path
        zerocopy        a native thread for pyzmq's collector of zero-copy buffers
        context         the green Context
        monitoring      the events of a socket's connections, as an iterator
        awaitable_signatures    the types of the methods of the awaitable Socket
        awaitable       the awaitable Socket
        awaitable_context       the awaitable Context
        awaitable_monitoring    monitoring for async for
    polling/            many sockets and descriptors at once
        fd_set          many file descriptors behind one
        file_poll       one poll(2) for the plain descriptors of a Poller
        poll_set        the one set of all Pollers of a thread
        entries         the entries of a Poller, one for each registered object
        poller_state    what a Poller knows and does
        poller          the green Poller, select, zmq_poll
        wait            the first of sockets, queues, events, tasks and descriptors that is ready
        awaitable       the awaitable Poller, select, zmq_poll
    proxies/            messages passed on between sockets
        native          libzmq's own proxy, in a native thread
        green           proxy, proxy_steerable, device
        awaitable       the awaitable proxy, proxy_steerable, device
    decorators          contexts and sockets as arguments
    devices             pyzmq's devices, in native threads
    auth/               who may connect
        zap             the protocol by which libzmq asks who may connect
        policies        the rules: addresses, and passwords and keys by domain
        server          the server that answers libzmq: a ROUTER and its greenlets
        authenticator   the Authenticator
    program             main: a program's main function on any hub
    task_frames     where an asyncio task waits
    diagnostics         who waits, for what, and where in the code
    counts              stats: messages, waits and switches of a socket or hub, counted
    stalls              watchdog: which greenlet keeps a hub from going round
    testing/            tools for authors of hubs, and of code that runs on hubs
    names               the names of pyzmq that never wait
    submodules          pyzmq's submodules under our names
    patching/           other people's `import zmq` gets green classes
        stand_ins       the green classes that take the place of pyzmq's
        namespaces      zmq.green and eventlet.green.zmq
        late            the modules that have taken pyzmq's names before
        patch           patch, unpatch, patched
        inherited       how `greenzmq run` patches a program and its child processes
        startup         the sitecustomize that these processes import
    gevent, eventlet, selector, asyncio, threading, aio     the drop-in namespaces, a few lines each
    cli/                python -m greenzmq

The words that all of it is written in:

hub
    A loop of callbacks that greenlets can switch to: gevent's, eventlet's, an asyncio loop, our selector loop.
watch
    One file descriptor's registration with a hub. It is started and stopped; *stopped lazily*, it stays with the loop
    until the next start, or until the descriptor is ready.
park, wake
    A greenlet parks when it gives control to the hub until it is woken. To wake it is to schedule that it goes on.
waiter
    The record of one greenlet's wait, with its deadline. Waiters for messages, or for room, stand in a *queue*.
listener
    A party that waits for a socket's events and takes no message: a Poller, or `Socket.poll`.
fast path
    The short way of a call that need not wait, while no other greenlet waits on the socket. Open while
    `fast_calls_left` is above 0.
slow path
    The way of a call that has to wait, or after which others may have to be woken.
recheck
    To read ``EVENTS`` after a call that may have cleared the signal for others, and to wake those that can go on.
turn
    The run of operations that one greenlet makes on one socket, or queue, before it yields to the hub.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

import zmq as _zmq

from . import decorators as decorators  # zmq.decorators would make pyzmq's own contexts and sockets
from . import diagnostics as _inspection
from . import submodules as _submodules
from .counts import Stats, stats
from .diagnostics import dump, waiters
from .errors import (
    AmbiguousHubError,
    BlockingCallError,
    HubError,
    MissingHubError,
    PyobjRefusedError,
    Timeout,
    UnknownHubError,
    WatchError,
    WrongHubError,
)
from .hubs import use_hub
from .names import *  # noqa: F403
from .names import backend as backend
from .names import constants as constants
from .names import error as error
from .names import sugar as sugar
from .names import utils as utils
from .patching import patch as patch
from .patching import patched as patched
from .patching import unpatch as unpatch
from .polling.poller import Poller as Poller
from .polling.poller import select as select
from .polling.poller import zmq_poll as zmq_poll
from .polling.wait import wait as wait
from .program import main as main
from .program import namespace as namespace
from .proxies.green import device as device
from .proxies.green import proxy as proxy
from .proxies.green import proxy_steerable as proxy_steerable
from .sockets.context import Context as Context
from .sockets.monitoring import MonitorEvents, monitor_events
from .sockets.socket import Socket as Socket
from .stalls import install_from_environment as _install_watchdog
from .stalls import watchdog
from .waiting.conditions import Condition
from .waiting.events import GreenEvent, Waitable
from .waiting.groups import TaskGroup
from .waiting.hub_api import GreenHub, hub
from .waiting.pool import Pool
from .waiting.queues import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from .waiting.sync import BoundedSemaphore, Lock, RLock, Semaphore
from .waiting.tasks import Task

if TYPE_CHECKING:
    from types import ModuleType

SyncContext, SyncSocket = Context, Socket

__version__ = "0.1.0"

__all__ = [
    "AmbiguousHubError",
    "BlockingCallError",
    "BoundedSemaphore",
    "Condition",
    "Empty",
    "Full",
    "GreenEvent",
    "GreenHub",
    "HubError",
    "LifoQueue",
    "Lock",
    "MissingHubError",
    "MonitorEvents",
    "Pool",
    "PriorityQueue",
    "PyobjRefusedError",
    "Queue",
    "RLock",
    "Semaphore",
    "ShutDown",
    "Stats",
    "Task",
    "TaskGroup",
    "Timeout",
    "UnknownHubError",
    "Waitable",
    "WatchError",
    "WrongHubError",
    "dump",
    "hub",
    "main",
    "monitor_events",
    "namespace",
    "stats",
    "use_hub",
    "wait",
    "waiters",
    "watchdog",
]
__all__ += _zmq.__all__

_inspection.install_from_environment()
_install_watchdog()


#: Not in `__all__`, since the namespaces take all of that, and each of them has a fixed hub.
_PATCHING = ("patch", "patched", "unpatch")
_NAMESPACES = ("aio", "asyncio", "eventlet", "gevent", "selector", "threading")
_getattr, _dir = _submodules.open_namespace(__name__)


def __getattr__(name: str) -> ModuleType:
    """Import a namespace at the first use of its name: `greenzmq.gevent` imports gevent, or raises its error."""
    if name in _NAMESPACES:
        return _import_module(f"{__name__}.{name}")
    module: ModuleType = _getattr(name)
    return module


def __dir__() -> list[str]:
    """List the public names, and the namespaces that are imported already. Imports no runtime."""
    return sorted({*_dir(), *_PATCHING, *(globals().keys() & {*_NAMESPACES, "hubs", "testing"})})
