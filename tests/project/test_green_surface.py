"""Whatever can wait leaves the others their turns: every public callable of every namespace, and every method.

Two tables hold all of them: `WAITS`, with a way to make each wait until it is let go on, and `CANNOT_WAIT`, with the
reason why not. A new name is in neither, and the first test fails.
"""

from __future__ import annotations

import enum
import importlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.proxies import ticking
from support.sockets import until
from support.torture import scale
from support.ways_to_wait import WAITS, Stage, Way

import greenzmq

NAMESPACES = ["greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet", "greenzmq.asyncio"]
NAMESPACES.append("greenzmq.threading")

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
    "stats": SETTING,
    "strerror": SETTING,
    "use_hub": SETTING,
    "waiters": SETTING,
    "watchdog": SETTING,
    "zmq_errno": SETTING,
    "zmq_version": SETTING,
    "zmq_version_info": SETTING,
    # classes
    "AwaitableTask": LOOKS,
    "BoundedSemaphore": LOOKS,
    "Condition": LOOKS,
    "Context": LOOKS,
    "Frame": LOOKS,
    "GreenEvent": LOOKS,
    "GreenHub": LOOKS,
    "LifoQueue": LOOKS,
    "Lock": LOOKS,
    "Message": LOOKS,
    "MessageTracker": LOOKS,
    "MonitorEvents": LOOKS,
    "Poller": LOOKS,
    "Pool": LOOKS,
    "PriorityQueue": LOOKS,
    "Queue": LOOKS,
    "RLock": LOOKS,
    "Semaphore": LOOKS,
    "Socket": LOOKS,
    "Stats": LOOKS,
    "Stopwatch": SETTING,
    "SyncContext": "the namespace's Context",
    "SyncSocket": "the namespace's Socket",
    "Task": LOOKS,
    "TaskGroup": LOOKS,
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
    "Condition.notify": TELLS,
    "Condition.notify_all": TELLS,
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
    "GreenHub.group": LOOKS,
    "GreenHub.of": SETTING,
    "GreenHub.spawn": LOOKS,
    "GreenHub.submit": LOOKS,
    "GreenHub.timeout": LOOKS,
    "Lock.locked": SETTING,
    "Lock.release": TELLS,
    "MonitorEvents.close": NO_WAIT,
    "Poller.close": NO_WAIT,
    "Poller.modify": SETTING,
    "Poller.register": SETTING,
    "Poller.unregister": SETTING,
    "Pool.free_count": SETTING,
    "Pool.imap": "makes an iterator, which waits as a Queue does",
    "Pool.imap_unordered": "makes an iterator, which waits as a Queue does",
    "Pool.rawlink": TELLS,
    "Pool.ready": SETTING,
    "Pool.unlink": TELLS,
    "Queue.close": TELLS,
    "Queue.empty": SETTING,
    "Queue.full": SETTING,
    "Queue.get_nowait": TELLS,
    "Queue.put_nowait": TELLS,
    "Queue.qsize": SETTING,
    "Queue.rawlink": TELLS,
    "Queue.ready": SETTING,
    "Queue.shutdown": TELLS,
    "Queue.task_done": TELLS,
    "Queue.unlink": TELLS,
    "RLock.locked": SETTING,
    "RLock.release": TELLS,
    "Semaphore.locked": SETTING,
    "Semaphore.release": TELLS,
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
    "Stats.as_dict": SETTING,
    "Stats.reset": SETTING,
    "Stats.stop": SETTING,
    "Stopwatch.start": SETTING,
    "Stopwatch.stop": SETTING,
    "Task.failure": SETTING,
    "Task.rawlink": TELLS,
    "Task.ready": SETTING,
    "Task.unlink": TELLS,
    "TaskGroup.rawlink": TELLS,
    "TaskGroup.ready": SETTING,
    "TaskGroup.spawn": LOOKS,
    "TaskGroup.unlink": TELLS,
    "Waitable.rawlink": "a protocol",
    "Waitable.ready": "a protocol",
    "Waitable.unlink": "a protocol",
}

#: The classes whose methods are gone through.
CLASSES = ["Context", "Frame", "GreenEvent", "GreenHub", "MessageTracker", "MonitorEvents", "Poller", "Socket"]
CLASSES += ["Condition", "Lock", "Pool", "Queue", "RLock", "Semaphore", "TaskGroup"]
CLASSES += ["Stats", "Stopwatch", "Task", "Waitable"]

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
    special = {"Context.__exit__", "MonitorEvents.__next__", "TaskGroup.__exit__", "get_library_dirs"}
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
        tasks, stages = {}, {}
        for name, namespace, way in chosen:
            stages[name] = Stage(hub, namespace, contexts[namespace])
            tasks[name] = hub.spawn(way, stages[name])
        until(hub, lambda: all(stage.releases for stage in stages.values()))
        most = max_ticks(hub)
        assert [name for name, task in tasks.items() if task.done] == []
        assert most >= ENOUGH
        mains = [name for name in tasks if name.endswith(": main")]  # each ends what other threads have its hub run
        for names in ([name for name in tasks if name not in mains], mains):
            for name in names:
                stages[name].releases[-1]()
            for name in names:
                assert tasks[name].join(10), name
                tasks[name].get()


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
