"""Whatever can wait leaves the others their turns: every public callable of every namespace, and every method.

Two tables hold all of them: `WAITS`, with a way to make each wait until it is let go on, and `CANNOT_WAIT`, with the
reason why not. A new name is in neither, and the first test fails.
"""

from __future__ import annotations

import enum
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq
from support.polling import IN, OUT
from support.proxies import ticking
from support.sockets import address, connected, fill, until
from support.torture import scale

import greenzmq

NAMESPACES = ["greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet", "greenzmq.asyncio"]

SETTING = "sets or tells something"
NO_WAIT = "libzmq does it at once, or in its own threads"
LOOKS = "makes an object, which has methods of its own here"
TELLS = "tells others, and never switches"
CALLS_GREEN = "pyzmq composes it of a method that is in the table of those that wait"
MODULE = "an import of the module itself"

CANNOT_WAIT = {
    # functions
    "Any": MODULE,
    "curve_keypair": "computes for less than a millisecond",
    "curve_public": "computes for less than a millisecond",
    "dump": SETTING,
    "get_includes": SETTING,
    "get_library_dirs": SETTING,
    "has": SETTING,
    "hub": SETTING,
    "install_from_environment": MODULE,
    "namespace": "imports a module",
    "patch": "imports modules",
    "patched": "as patch",
    "unpatch": "puts names back",
    "partial": MODULE,
    "pyzmq_version": SETTING,
    "pyzmq_version_info": SETTING,
    "strerror": SETTING,
    "use_hub": SETTING,
    "waiters": SETTING,
    "zmq_errno": SETTING,
    "zmq_version": SETTING,
    "zmq_version_info": SETTING,
    # classes
    "AwaitableTask": LOOKS,
    "Context": LOOKS,
    "Frame": LOOKS,
    "GreenEvent": LOOKS,
    "GreenHub": LOOKS,
    "Message": LOOKS,
    "MessageTracker": LOOKS,
    "MonitorEvents": LOOKS,
    "Poller": LOOKS,
    "Socket": LOOKS,
    "Stopwatch": SETTING,
    "SyncContext": "the namespace's Context",
    "SyncSocket": "the namespace's Socket",
    "Task": LOOKS,
    "Waitable": "a protocol",
    "monitor_events": "makes a MonitorEvents",
    # asyncio's own
    "AsyncioHub": MODULE,
    "Awaitable": MODULE,
    "Callable": MODULE,
    "CancelledError": MODULE,
    "Coroutine": MODULE,
    "Generator": MODULE,
    "GreenletExit": MODULE,
    "T": MODULE,
    "TypeVar": MODULE,
    "cast": MODULE,
    "current_task": MODULE,
    "ensure_future": MODULE,
    "getcurrent": MODULE,
    "run": "for coroutines, which await it",
    "spawn": "makes an AwaitableTask",
    # methods
    "Context.get": SETTING,
    "Context.getsockopt": SETTING,
    "Context.instance": LOOKS,
    "Context.set": SETTING,
    "Context.setsockopt": SETTING,
    "Context.shadow": LOOKS,
    "Context.shadow_pyczmq": LOOKS,
    "Context.socket": LOOKS,
    "Frame.get": SETTING,
    "Frame.set": SETTING,
    "GreenEvent.clear": SETTING,
    "GreenEvent.is_set": SETTING,
    "GreenEvent.rawlink": TELLS,
    "GreenEvent.ready": SETTING,
    "GreenEvent.set": TELLS,
    "GreenEvent.set_threadsafe": TELLS,
    "GreenEvent.unlink": TELLS,
    "GreenHub.of": SETTING,
    "GreenHub.spawn": LOOKS,
    "GreenHub.submit": LOOKS,
    "GreenHub.timeout": LOOKS,
    "MonitorEvents.close": NO_WAIT,
    "Poller.close": NO_WAIT,
    "Poller.modify": SETTING,
    "Poller.register": SETTING,
    "Poller.unregister": SETTING,
    "Socket.bind": NO_WAIT,
    "Socket.bind_to_random_port": NO_WAIT,
    "Socket.close": NO_WAIT,
    "Socket.connect": NO_WAIT,
    "Socket.disable_monitor": NO_WAIT,
    "Socket.disconnect": NO_WAIT,
    "Socket.fileno": SETTING,
    "Socket.get": SETTING,
    "Socket.get_hwm": SETTING,
    "Socket.get_monitor_socket": NO_WAIT,
    "Socket.get_string": SETTING,
    "Socket.getsockopt": SETTING,
    "Socket.getsockopt_string": SETTING,
    "Socket.getsockopt_unicode": SETTING,
    "Socket.join": NO_WAIT,
    "Socket.leave": NO_WAIT,
    "Socket.monitor": NO_WAIT,
    "Socket.set": SETTING,
    "Socket.set_hwm": SETTING,
    "Socket.set_string": SETTING,
    "Socket.setsockopt": SETTING,
    "Socket.setsockopt_string": SETTING,
    "Socket.setsockopt_unicode": SETTING,
    "Socket.shadow": LOOKS,
    "Socket.subscribe": NO_WAIT,
    "Socket.unbind": NO_WAIT,
    "Socket.unsubscribe": NO_WAIT,
    "Stopwatch.start": SETTING,
    "Stopwatch.stop": SETTING,
    "Task.rawlink": TELLS,
    "Task.ready": SETTING,
    "Task.unlink": TELLS,
    "Waitable.rawlink": "a protocol",
    "Waitable.ready": "a protocol",
    "Waitable.unlink": "a protocol",
}

#: The classes whose methods are gone through.
CLASSES = ["Context", "Frame", "GreenEvent", "GreenHub", "MessageTracker", "MonitorEvents", "Poller", "Socket"]
CLASSES += ["Stopwatch", "Task", "Waitable"]

# --- how to make each wait --------------------------------------------------------------------------------------------


class Stage:
    """A hub, a namespace, a context of that, and connected sockets, for one callable that is to wait."""

    def __init__(self, hub: greenzmq.GreenHub, namespace: Any, context: greenzmq.Context) -> None:
        self.hub = hub
        self.zmq = namespace
        self.context = context
        self.releases: list[Callable[[], object]] = []

    def pair(self, **options: int) -> tuple[Any, Any]:
        return connected(self.context, zmq.PAIR, zmq.PAIR, **options)

    def reader(self, *message: bytes) -> Any:
        """A socket that the ticker sends a message to."""
        socket, peer = self.pair()
        self.releases.append(lambda: peer.send_multipart(message or [b"message"], zmq.NOBLOCK))
        return socket

    def writer(self) -> Any:
        """A full socket, of which the ticker reads."""
        socket, peer = self.pair(sndhwm=1, rcvhwm=1)
        fill(socket)
        self.releases.append(lambda: [peer.recv(zmq.NOBLOCK) for _ in range(2)])
        return socket

    def observed(self, kind: int) -> Any:
        """A socket that can tell of its peers; it has none."""
        context = self.zmq.Context(self.context, barriers=True)
        socket = context.socket(kind)
        socket.linger = 0
        self.context._sockets.add(socket)  # which ends it
        return socket

    def unsent(self) -> Any:
        """One with a message that nobody receives."""
        socket = self.observed(zmq.PUSH)
        socket.connect("inproc://nobody-is-here")
        socket.send(b"message")
        return socket

    def event(self) -> greenzmq.GreenEvent:
        """An event that the ticker sets."""
        event = self.zmq.GreenEvent()
        self.releases.append(event.set)
        return event

    def busy_task(self) -> greenzmq.Task[Any]:
        """A task that goes on until the ticker says so."""
        return self.hub.spawn(self.event().wait)

    def proxied(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> object:
        """A call that is over when the ticker ends what it does."""
        task = self.hub.spawn(function, *args, **kwargs)
        self.releases.append(lambda: task.kill(block=False))
        return task.get()


def ended(stage: Stage, end: Callable[[greenzmq.Context], object]) -> None:
    """`end` a context with a socket that it does not know of, and that the ticker closes."""
    context = stage.zmq.Context(hub=stage.hub)
    stage.releases.append(zmq.Socket(context, zmq.PAIR).close)
    end(context)


def tracker(stage: Stage) -> zmq.MessageTracker:
    socket, peer = stage.pair()
    stage.releases.append(lambda: peer.recv(zmq.NOBLOCK))
    return socket.send(bytes(100_000), copy=False, track=True)


def poller(stage: Stage) -> greenzmq.Poller:
    poller = stage.zmq.Poller()
    poller.register(stage.reader(), IN)
    return poller


def ends(stage: Stage) -> tuple[Any, Any]:
    return stage.context.socket(zmq.PULL), stage.context.socket(zmq.PUSH)


def wait_for_descriptor(stage: Stage) -> None:
    socket = stage.reader()
    socket.get(zmq.EVENTS)
    stage.hub.wait_fd(socket)


def block(stage: Stage) -> None:
    """In a native thread: wait for a lock that the ticker releases."""
    lock = greenzmq.process.unpatched.allocate_lock()
    lock.acquire()
    stage.releases.append(lock.release)
    stage.hub.run_in_thread(lock.acquire)
    lock.release()


def await_event(stage: Stage) -> None:
    """asyncio's own: a greenlet that waits for a future."""
    future = stage.hub.hub.loop.create_future()
    stage.releases.append(lambda: future.set_result(None))
    stage.zmq.await_(future)


def killed(stage: Stage) -> None:
    """A kill waits for a task that takes its time to end."""
    event = stage.event()

    def stubborn() -> None:
        try:
            stage.hub.sleep(1000)
        finally:
            event.wait()

    task = stage.hub.spawn(stubborn)
    stage.hub.sleep()
    task.kill()


def monitored(stage: Stage) -> None:
    socket, address_of_it = stage.context.socket(zmq.PAIR), address("tcp")
    stage.releases.append(lambda: socket.bind(address_of_it))
    with stage.zmq.monitor_events(socket, zmq.EVENT_LISTENING) as events:
        next(events)


Way = Callable[[Stage], object]
WAITS: dict[str, Way] = {
    "await_": await_event,
    "device": lambda stage: stage.proxied(stage.zmq.device, zmq.QUEUE, *ends(stage)),
    "main": lambda stage: stage.zmq.main(stage.event().wait, hub=stage.hub),
    "proxy": lambda stage: stage.proxied(stage.zmq.proxy, *ends(stage)),
    "proxy, native": lambda stage: stage.proxied(stage.zmq.proxy, *ends(stage), native=True),
    "proxy_steerable": lambda stage: stage.proxied(stage.zmq.proxy_steerable, *ends(stage)),
    "proxy_steerable, native": lambda stage: stage.proxied(stage.zmq.proxy_steerable, *ends(stage), native=True),
    "select": lambda stage: stage.zmq.select([stage.reader()], [], []),
    "zmq_poll": lambda stage: stage.zmq.zmq_poll([(stage.reader(), IN)]),
    "Context.__exit__": lambda stage: ended(stage, lambda context: context.__exit__(None, None, None)),
    "Context.destroy": lambda stage: ended(stage, lambda context: context.destroy()),
    "Context.term": lambda stage: ended(stage, lambda context: context.term()),
    "GreenEvent.wait": lambda stage: stage.event().wait(),
    "GreenHub.call_from_thread": lambda stage: stage.hub.call_from_thread(stage.event().wait),
    "GreenHub.run": lambda stage: stage.hub.run(stage.event().wait),
    "GreenHub.run_in_thread": block,
    "GreenHub.sleep": lambda stage: stage.proxied(stage.hub.sleep, 1000),
    "GreenHub.wait_fd": wait_for_descriptor,
    "MessageTracker.wait": lambda stage: tracker(stage).wait(),
    "MonitorEvents.__next__": monitored,
    "Poller.poll": lambda stage: poller(stage).poll(),
    "Socket.poll": lambda stage: stage.reader().poll(),
    "Socket.poll, POLLOUT": lambda stage: stage.writer().poll(flags=OUT),
    "Socket.recv": lambda stage: stage.reader().recv(),
    "Socket.recv_into": lambda stage: stage.reader().recv_into(bytearray(10)),
    "Socket.recv_json": lambda stage: stage.reader(b"[1]").recv_json(),
    "Socket.recv_multipart": lambda stage: stage.reader(b"two", b"parts").recv_multipart(),
    "Socket.recv_pyobj": lambda stage: stage.reader(b"N.").recv_pyobj(),
    "Socket.recv_serialized": lambda stage: stage.reader().recv_serialized(list),
    "Socket.recv_string": lambda stage: stage.reader().recv_string(),
    "Socket.recv_unicode": lambda stage: stage.reader().recv_unicode(),
    "Socket.send": lambda stage: stage.writer().send(b"message"),
    "Socket.send_json": lambda stage: stage.writer().send_json([1]),
    "Socket.send_multipart": lambda stage: stage.writer().send_multipart([b"two", b"parts"]),
    "Socket.send_pyobj": lambda stage: stage.writer().send_pyobj(None),
    "Socket.send_serialized": lambda stage: stage.writer().send_serialized(b"message", lambda data: [data]),
    "Socket.send_string": lambda stage: stage.writer().send_string("message"),
    "Socket.wait_connected": lambda stage: stage.proxied(stage.observed(zmq.PULL).wait_connected),
    "Socket.wait_drained": lambda stage: stage.proxied(stage.unsent().wait_drained),
    "Socket.wait_subscribed": lambda stage: stage.proxied(stage.context.socket(zmq.PUB).wait_subscribed),
    "Socket.send_unicode": lambda stage: stage.writer().send_unicode("message"),
    "Task.get": lambda stage: stage.busy_task().get(),
    "Task.join": lambda stage: stage.busy_task().join(),
    "Task.kill": killed,
}

# --- the tests --------------------------------------------------------------------------------------------------------


def callables(namespace: str) -> Iterator[str]:
    """The public callables of a namespace, enums and exceptions apart, and the public methods of its classes."""
    module = importlib.import_module(namespace)
    for name in dir(module):
        value = getattr(module, name)
        kinds = (enum.Enum, BaseException)
        if callable(value) and not name.startswith("_") and not (isinstance(value, type) and issubclass(value, kinds)):
            yield name
    for kind in CLASSES:
        cls = getattr(module, kind)
        options = {name for name in dir(cls) if name.isupper()}
        for name in set(dir(cls)) - options - {name.lower() for name in options}:
            if not name.startswith("_") and callable(getattr(cls, name)):
                yield f"{kind}.{name}"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_callable_is_known(namespace):
    """Each is in exactly one of the two tables."""
    waits = {name.partition(",")[0] for name in WAITS}
    assert waits & set(CANNOT_WAIT) == set()
    assert set(callables(namespace)) - waits - set(CANNOT_WAIT) == set()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_class_is_known(namespace):
    """Each public class is one whose methods are gone through, or has no others than one of those."""
    module = importlib.import_module(namespace)
    classes = {name: getattr(module, name) for name in dir(module) if isinstance(getattr(module, name), type)}
    known = tuple(getattr(module, name) for name in CLASSES)
    for name, kind in classes.items():
        if name.startswith("_") or CANNOT_WAIT.get(name) == MODULE or issubclass(kind, (enum.Enum, BaseException)):
            continue
        assert any(set(dir(base)) >= public(kind) for base in known if issubclass(kind, base)), name


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_tables_speak_of_what_there_is():
    """No entry is left of what is gone."""
    known = {name for namespace in NAMESPACES for name in callables(namespace)}
    special = {"Context.__exit__", "MonitorEvents.__next__", "get_library_dirs"}
    tables = {name.partition(",")[0] for name in WAITS} | {name for name, why in CANNOT_WAIT.items() if why != MODULE}
    assert tables - known == special


def ways(hub: greenzmq.GreenHub) -> Iterator[tuple[str, Any, Way]]:
    """Each callable that can wait, of greenzmq itself and of this hub's namespace: its name, the namespace, the way."""
    for namespace in (greenzmq, importlib.import_module(f"greenzmq.{hub.name}")):
        for name, way in WAITS.items():
            if name != "await_" or hasattr(namespace, name):
                yield f"{namespace.__name__}: {name}", namespace, way


@pytest.mark.torture
def test_others_have_their_turns(hub):
    """All that can wait waits at once, for half a second, in which a ticker that is due every 20 ms ticks 20 times.

    Seen to hang with pyzmq's own Context in place of ours, and with ``zmq.proxy`` and ``zmq.select``. Its long form
    does the same for each alone.
    """
    chosen = list(ways(hub))
    wait_beside_a_ticker(hub, *chosen)
    for way in chosen[: scale(len(chosen), 0)]:
        wait_beside_a_ticker(hub, way)


def wait_beside_a_ticker(hub, *chosen):
    """Make all of the chosen wait, look how the ticker fares, let them go on, and see each end."""
    with ExitStack() as stack:
        contexts = {namespace: namespace.Context(hub=hub) for namespace in {namespace for _, namespace, _ in chosen}}
        for context in contexts.values():
            stack.callback(context.destroy, linger=0)
        tasks, stages = {}, []
        for name, namespace, way in chosen:
            stages.append(Stage(hub, namespace, contexts[namespace]))
            tasks[name] = hub.spawn(way, stages[-1])
        until(hub, lambda: all(stage.releases for stage in stages))
        most = max_ticks(hub)
        assert [name for name, task in tasks.items() if task.done] == []
        assert most >= ENOUGH
        for stage in stages:
            stage.releases[-1]()
        for name, task in tasks.items():
            assert task.join(10), name
            task.get()


#: Of 25 ticks in half a second, so many at least.
ENOUGH = 20


def max_ticks(hub):
    """How often a greenlet ticks while a native thread ticks 25 times, the best of a few: a busy machine slows both."""
    most = 0
    for _ in range(5):
        with ticking(hub, 0.02) as ticks:
            hub.run_in_thread(lambda: [time.sleep(0.02) for _ in range(25)])
            most = max(most, ticks[0])
        if most >= ENOUGH:
            break
    return most
