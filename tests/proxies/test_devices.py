"""Devices of the namespaces: in native threads, with plain sockets, whatever is patched; `join` waits on the hub."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import zmq
import zmq.devices
from support.children import Child, Children, need
from support.forked import RUNTIMES
from support.sockets import connected, each, open_context, tick, until

import greenzmq
from greenzmq.process import unpatched
from greenzmq.waiting.hub_api import GreenHub

PAIR_OF_TYPES = (zmq.PULL, zmq.PUSH)


def devices_of(hub: GreenHub) -> ModuleType:
    devices: ModuleType = importlib.import_module(f"greenzmq.{hub.name}").devices
    return devices


def prepared(device: Any, context: greenzmq.Context) -> Any:
    """A device whose sockets meet those of `context` on inproc. It ends with it."""
    device.context_factory = lambda: zmq.Context.shadow(context)
    device.bind_in("inproc://in")
    device.bind_out("inproc://out")
    return device


def at_work(hub: GreenHub, device: Any) -> None:
    """Wait until its thread has made its sockets. Where its context has ended before, it would be none at all."""
    until(hub, lambda: len(device._sockets) > 1)


IN_THREADS = {
    "ThreadDevice": (zmq.STREAMER, *PAIR_OF_TYPES),
    "ThreadProxy": (*PAIR_OF_TYPES, zmq.PUB),
    "ThreadMonitoredQueue": (*PAIR_OF_TYPES, zmq.PUB),
    "ThreadProxySteerable": (*PAIR_OF_TYPES, zmq.PUB, zmq.PAIR),
}


@each("kind", IN_THREADS)
def test_a_device_in_a_native_thread(hub: GreenHub, kind: str) -> None:
    """It relays while greenlets of this hub wait and run; its thread is native, its sockets are pyzmq's own."""
    threads: list[int] = []
    with open_context(hub) as context:
        device = prepared(getattr(devices_of(hub), kind)(*IN_THREADS[kind]), context)
        setup = device._setup_sockets
        device._setup_sockets = lambda: threads.append(threading.get_native_id()) or setup()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.connect("inproc://in")
        pull.connect("inproc://out")
        receiver = hub.spawn(pull.recv)
        tick(hub, receiver)
        device.start()
        push.send(b"message")
        assert receiver.get() == b"message"
        assert threads != [threading.get_native_id()]
        assert {type(socket) for socket in device._sockets} == {zmq.Socket}
        assert (device.launcher.is_alive(), device.launcher.daemon, device.done) == (True, True, False)
    device.join()
    assert (device.launcher.is_alive(), device.done) == (False, True)
    assert all(socket.closed for socket in device._sockets)


def test_join_parks_the_greenlet(hub: GreenHub) -> None:
    """Until the device ends, or for the time that is given; who need not wait may ask anywhere."""
    context = greenzmq.Context(hub=hub)
    device = prepared(devices_of(hub).ThreadDevice(zmq.QUEUE, *PAIR_OF_TYPES), context)
    device.start()
    at_work(hub, device)
    assert device.join(timeout=0.001) is None
    assert not device.done
    joiners = [hub.spawn(device.join), hub.spawn(device.join, timeout=1000)]
    tick(hub, *joiners)
    refused: list[BaseException] = []

    def in_the_hub() -> None:
        device.join(timeout=0)
        try:
            device.join()
        except greenzmq.BlockingCallError as error:
            refused.append(error)

    hub.hub.call_soon(in_the_hub)
    until(hub, lambda: refused)
    context.destroy()
    for joiner in joiners:
        assert joiner.join(10)
    device.join()
    assert device.done
    with greenzmq.Poller(hub=hub) as poller:
        poller.register(device.launcher, zmq.POLLIN)
        assert poller.poll(0) == [(device.launcher, zmq.POLLIN)]


@each("kind", ["Device", "Proxy", "MonitoredQueue"])
def test_a_device_in_the_foreground(hub: GreenHub, kind: str) -> None:
    """`start` comes back when the device ends, `join` likewise, and meanwhile the other greenlets run."""
    context = greenzmq.Context(hub=hub)
    types = (zmq.QUEUE, *PAIR_OF_TYPES) if kind == "Device" else PAIR_OF_TYPES
    device = prepared(getattr(devices_of(hub), kind)(*types), context)
    waiting = [hub.spawn(device.join), hub.spawn(device.start), hub.spawn(device.join)]
    tick(hub, *waiting)
    at_work(hub, device)
    device.join(timeout=0.001)
    assert not device.done
    context.destroy()
    for task in waiting:
        task.get(10)
    assert device.done


def test_an_error_in_the_foreground(hub: GreenHub, context: greenzmq.Context) -> None:
    """It comes out of `start`, and `join` knows that the device has ended."""
    device = prepared(devices_of(hub).Device(zmq.QUEUE, *PAIR_OF_TYPES), context)
    device.bind_in("nonsense://")
    with pytest.raises(zmq.ZMQError):
        device.start()
    device.join()


def test_an_error_in_a_thread(hub: GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`threading.excepthook` is told, as of every thread; SystemExit is silent. `join` comes back."""
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    with open_context(hub) as context:
        device = prepared(devices_of(hub).ThreadDevice(zmq.QUEUE, *PAIR_OF_TYPES), context)
        device.bind_in("nonsense://")
        device.start()
        device.join()
        assert [arguments.exc_type for arguments in told] == [zmq.ZMQError]
        assert device.done

    def leave() -> None:
        raise SystemExit

    device.run_device = leave
    device.start()
    device.join()
    assert len(told) == 1
    told.clear()


def test_a_thread_that_cannot_start(hub: GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` says so, and nobody waits for it. None starts twice."""

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    device = devices_of(hub).ThreadDevice(zmq.QUEUE, *PAIR_OF_TYPES)
    device.run_device = lambda: None
    with monkeypatch.context() as patch:
        patch.setattr(unpatched, "start_new_thread", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            device.start()
    device.join()
    go = unpatched.allocate_lock()
    go.acquire()
    device.run_device = go.acquire
    device.start()
    with pytest.raises(RuntimeError, match="once"):
        device.launcher.start()
    go.release()
    device.join()


def test_monitored_queue(hub: GreenHub, context: greenzmq.Context) -> None:
    """The function, on green sockets: messages both ways, copies with a prefix, ids of two ROUTERs swapped."""
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    front.bind("inproc://front")
    back.bind("inproc://back")
    publisher, monitor = connected(context, zmq.PUSH, zmq.PULL)
    client, server = context.socket(zmq.REQ), context.socket(zmq.REP)
    client.connect("inproc://front")
    server.connect("inproc://back")
    queue = hub.spawn(devices_of(hub).monitored_queue, front, back, publisher, b"to", b"fro")
    tick(hub, queue)
    client.send(b"question")
    assert server.recv() == b"question"
    server.send(b"answer")
    assert client.recv() == b"answer"
    copies = [monitor.recv_multipart() for _ in range(2)]
    assert [(copy[0], copy[-1]) for copy in copies] == [(b"to", b"question"), (b"fro", b"answer")]
    queue.kill()
    front.close()
    context.destroy(linger=0)


def test_two_routers(hub: GreenHub, context: greenzmq.Context) -> None:
    """Between two ROUTERs `monitored_queue` swaps the ids, as pyzmq's."""
    ends = [context.socket(zmq.ROUTER) for _ in range(2)]
    peers = [context.socket(zmq.DEALER) for _ in range(2)]
    for end, peer, name in zip(ends, peers, (b"one", b"two"), strict=True):
        end.router_mandatory = 1
        peer.routing_id = name
        end.bind(f"inproc://{name.decode()}")
        peer.connect(f"inproc://{name.decode()}")
    publisher, _ = connected(context, zmq.PUB, zmq.SUB)
    queue = hub.spawn(devices_of(hub).monitored_queue, *ends, publisher)
    peers[0].send_multipart([b"two", b"hello"])
    assert peers[1].recv_multipart() == [b"one", b"hello"]
    queue.kill()
    context.destroy(linger=0)


def test_the_common_context(hub: GreenHub) -> None:
    """Without a context of its own a device meets the program's sockets on inproc, as pyzmq's: `Context.instance()`."""
    namespace = importlib.import_module(f"greenzmq.{hub.name}")
    device = namespace.devices.ThreadDevice(zmq.STREAMER, *PAIR_OF_TYPES)
    device.bind_in("inproc://in")
    device.bind_out("inproc://out")
    device.start()
    context = namespace.Context.instance()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.connect("inproc://in")
    pull.connect("inproc://out")
    push.send(b"message")
    assert pull.recv() == b"message"
    assert type(device._context) is zmq.Context
    context.destroy(linger=0)
    device.join()


@pytest.mark.parametrize("namespace", ["greenzmq", "greenzmq.selector", "greenzmq.asyncio"])
def test_the_family(namespace: str) -> None:
    """Each class is a kind of pyzmq's of that name and of the namespace's own others, as pyzmq's are of each other."""
    devices = importlib.import_module(f"{namespace}.devices")
    assert devices.__all__ == zmq.devices.__all__
    in_processes = {name for name in devices.__all__ if name.startswith("Process")}
    classes = {name: getattr(devices, name) for name in devices.__all__ if name != "monitored_queue"}
    for name, kind in classes.items():
        theirs = getattr(zmq.devices, name)
        assert issubclass(kind, theirs)
        assert (kind is theirs) == (name in in_processes)
        if name not in in_processes:
            assert (kind.__module__, kind.__qualname__) == (f"{namespace}.devices", name)
            relatives = {other for other in classes if issubclass(theirs, getattr(zmq.devices, other))}
            assert {other for other in classes if issubclass(kind, classes[other])} == relatives
    for name in ("ProxyBase", "MonitoredQueueBase", "ProxySteerableBase", "BackgroundDevice"):
        assert isinstance(getattr(devices, name), type)


# -- programs ----------------------------------------------------------------------------------------------------------

PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
ORDERS = {
    "patched first": "{}",
    "devices first": "import zmq.devices\n{}",
    "ours first": "import greenzmq.{name}; greenzmq.{name}.devices\n{}",
}
PATCHED = """
import greenzmq.{name} as zmq
hub = zmq.hub()
device = zmq.devices.ThreadDevice(zmq.STREAMER, zmq.PULL, zmq.PUSH)
into, out = (bind("tcp://127.0.0.1") for bind in (device.bind_in_to_random_port, device.bind_out_to_random_port))
device.start()
context = zmq.Context()
push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
push.connect(f"tcp://127.0.0.1:{{into}}")
pull.connect(f"tcp://127.0.0.1:{{out}}")
joiner = hub.spawn(device.join)
push.send(b"message")
print(pull.recv(), joiner.done)
context.destroy()
zmq.Context.instance().destroy()
joiner.get()
print(device.done)
"""
NOT_DAEMON = """
import threading, time, greenzmq.selector as zmq
class Slow(zmq.devices.ThreadDevice):
    def run_device(self):
        go.wait()
        print("to its end")
go = threading.Event()
device = Slow(zmq.QUEUE, zmq.PULL, zmq.PUSH)
device.daemon = False
device.start()
import atexit
atexit.register(go.set)
"""
FORKED = """
import faulthandler, os, threading, greenzmq.selector as zmq
faulthandler.cancel_dump_traceback_later()  # its thread would not be in the child, which waits for it at its end
class Blocked(zmq.devices.ThreadDevice):
    def run_device(self):
        ended.wait()
ended = threading.Event()
device = Blocked(zmq.QUEUE, zmq.PULL, zmq.PUSH)
device.daemon = False
device.start()
child = os.fork()
device.join(timeout=None if not child else 0)
if child:
    print(os.waitpid(child, 0)[1], device.launcher.is_alive())
    ended.set()
"""
CHILDREN = {
    f"{name}, {order}": Child(ORDERS[order].format(patch, name=name) + PATCHED.format(name=name), needs=(name,))
    for name, patch in PATCHES.items()
    for order in ORDERS
}
CHILDREN |= {"not daemon": Child(NOT_DAEMON, imported=RUNTIMES), "forked": Child(FORKED, imported=RUNTIMES)}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", [name for name in CHILDREN if "," in name])
def test_under_a_patch(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The hub goes on while the device runs. Seen to hang with pyzmq's devices, whose thread is a greenlet there."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == ["b'message' False", "True"]


@pytest.mark.parametrize("child", ["not daemon"])
def test_a_device_that_is_no_daemon(child: str, children: Children) -> None:
    """It holds up the end of the interpreter until its thread has ended."""
    done = children[child]
    assert (done.status, done.out, done.err) == (0, "to its end\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork")
@pytest.mark.parametrize("child", ["forked"])
def test_in_a_forked_child(child: str, children: Children) -> None:
    """The thread is not there: `join` comes back, and the child can end. The parent notices nothing."""
    done = children[child]
    assert (done.status, done.out, done.err) == (0, "0 True\n", "")


def test_the_time_limit_of_a_join_is_a_number(hub: GreenHub) -> None:
    """NaN would be taken for a limit that is over, and the device for one that has been waited for."""
    device = devices_of(hub).Proxy(*PAIR_OF_TYPES)
    with pytest.raises(ValueError, match="join"):
        device.join(float("nan"))


def test_the_time_limit_of_the_join_of_a_device_in_a_thread_is_a_number(hub: GreenHub) -> None:
    """It is the thread that checks it."""
    with open_context(hub) as context:
        device = prepared(devices_of(hub).ThreadProxy(*PAIR_OF_TYPES), context)
        device.start()
        at_work(hub, device)
        with pytest.raises(ValueError, match="join"):
            device.join(float("nan"))


@each("place", range(3))
def test_a_monitored_queue_takes_sockets_only(hub: GreenHub, place: int) -> None:
    """As pyzmq's. It would relay until the first message, and lose that."""
    with open_context(hub) as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        sockets: list[Any] = [pull, push, pull]
        sockets[place] = "socket"
        with hub.timeout(5), pytest.raises(TypeError, match="has to be a Socket"):
            devices_of(hub).monitored_queue(*sockets)
