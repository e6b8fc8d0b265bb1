"""The programs of test_fork.py: a process forks while its greenlets wait; neither side may disturb the other.

Each prints the name of what it has found in order.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import zmq
from support.sockets import address, fill, receives, sends, tick, until
from support.variants import VARIANTS, Variant

import greenzmq
from greenzmq import GreenHub
from greenzmq.sockets.socket import address_of

#: Seconds of CPU time that a child has; one that spins is ended by the system.
CPU = 10
#: Seconds that a child has; the watchdog of its parent is a thread, which it has not inherited.
PATIENCE = 15
#: Large enough for pyzmq to send it from where it is.
LARGE = 200_000


class Parent:
    """Everything that a process may be doing when it forks."""

    def __init__(self, hub: GreenHub) -> None:
        self.hub = hub
        self.context = greenzmq.Context(hub=hub)
        self.pairs = {name: self._pair() for name in ("recv", "poll", "poller", "send", "zero-copy", "rested")}
        self.address = self.pairs["zero-copy"][0].underlying
        self.pipe = os.pipe()
        self.released = threading.Event()
        self.event = greenzmq.GreenEvent()
        self.poller = greenzmq.Poller(hub=hub)
        self.poller.register(self.pairs["poller"][0], zmq.POLLIN)
        self.of_plain = greenzmq.Poller(hub=hub)
        self.of_plain.register(self.context.socket(zmq.PULL, zmq.Socket), zmq.POLLIN)
        fill(self.pairs["send"][0])
        self.buffer = bytearray(b"x") * LARGE
        self.tracker = self.pairs["zero-copy"][1].send(self.buffer, copy=False, track=True)
        self.receive_again()
        calls: dict[str, Callable[[], Any]] = {
            "recv": self.pairs["recv"][0].recv,
            "poll": self.pairs["poll"][0].poll,
            "poller": self.poller.poll,
            "send": lambda: self.pairs["send"][0].send(b"last"),
            "zero-copy": self.tracker.wait,
            "wait_fd": lambda: hub.wait_fd(self.pipe[0]),
            "thread": lambda: hub.run_in_thread(self.released.wait, 20),
            "event": self.event.wait,
        }
        self.tasks = {name: hub.spawn(call) for name, call in calls.items()}
        until(hub, lambda: receives(self.pairs["recv"][0]) and sends(self.pairs["send"][0]))
        tick(hub, *self.tasks.values())

    def receive_again(self) -> None:
        """Wait on a socket whose watch the loop still has from the last time, stopped lazily."""
        socket, peer = self.pairs["rested"]
        task = self.hub.spawn(socket.recv)
        until(self.hub, lambda: receives(socket))
        peer.send(b"message")
        assert task.get() == b"message"

    def _pair(self) -> tuple[Any, Any]:
        bound, peer = self.context.socket(zmq.PAIR), self.context.socket(zmq.PAIR)
        bound.sndhwm = bound.rcvhwm = peer.sndhwm = peer.rcvhwm = 1
        bound.bind(address("inproc"))
        peer.connect(bound.last_endpoint.decode())
        return bound, peer

    def wait_for(self, process: int) -> int:
        """How a child has ended; the greenlets go on waiting meanwhile."""
        status: int = self.hub.run_in_thread(os.waitpid, process, 0)[1]
        return os.waitstatus_to_exitcode(status)

    def finish(self) -> None:
        """All that waits gets what it waits for, each by its own signal: a lost registration shows as a hang."""
        for task in self.tasks.values():
            assert not task.done
        self.receive_again()
        threading.Thread(target=self.released.set).start()
        threading.Thread(target=self.event.set_threadsafe).start()
        assert self.tasks["thread"].get() is True
        assert self.tasks["event"].get() is True
        for name in ("recv", "poll", "poller"):
            plain = zmq.Socket.shadow(address_of(self.pairs[name][1]))  # no look at anybody's EVENTS but by the signal
            plain.send(b"message")
        assert self.tasks["recv"].get() == b"message"
        assert self.tasks["poll"].get() == zmq.POLLIN
        assert self.tasks["poller"].get() == [(self.pairs["poller"][0], zmq.POLLIN)]
        os.write(self.pipe[1], b"x")
        assert self.tasks["wait_fd"].get() == 1
        plain = zmq.Socket.shadow(address_of(self.pairs["send"][1]))
        while plain.recv() != b"last":
            if plain.poll(0) == 0:
                self.tasks["send"].get()
        assert self.pairs["zero-copy"][0].recv() == self.buffer
        self.tasks["zero-copy"].get()
        self.buffer.append(0)
        self.context.destroy(linger=0)


def refusals(parent: Parent) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every call in the child that would spin there if it reached libzmq."""
    socket, peer = parent.pairs["recv"]
    yield "recv", socket.recv
    yield "recv_multipart", socket.recv_multipart
    yield "recv NOBLOCK", lambda: socket.recv(zmq.NOBLOCK)
    yield "recv_into", lambda: socket.recv_into(bytearray(1))
    yield "send", lambda: peer.send(b"x")
    yield "send zero-copy", lambda: peer.send(bytes(LARGE), copy=False)
    yield "send_multipart", lambda: peer.send_multipart([b"x", b"y"])
    yield "poll", socket.poll
    yield "poll 0", lambda: socket.poll(0)
    yield "EVENTS", lambda: socket.get(zmq.EVENTS)
    yield "FD", lambda: socket.FD
    yield "bind", lambda: socket.bind("inproc://child")
    yield "connect", lambda: socket.connect("inproc://child")
    yield "set", lambda: socket.set(zmq.LINGER, 0)
    yield "Poller", parent.poller.poll
    yield "new Poller", lambda: new_poller(socket).poll(10)
    yield "Poller of a plain socket", lambda: parent.of_plain.poll(0)
    yield "zmq_poll", lambda: greenzmq.zmq_poll([(socket, zmq.POLLIN)])
    yield "select", lambda: greenzmq.select([socket], [], [], 0.01)
    yield "proxy", lambda: greenzmq.proxy(socket, peer)
    yield "native proxy", lambda: greenzmq.proxy(socket, peer, native=True)
    yield "device", lambda: greenzmq.device(zmq.QUEUE, socket, peer)
    yield "monitor", lambda: socket.monitor("inproc://child", zmq.EVENT_ALL)
    yield "get_monitor_socket", socket.get_monitor_socket
    yield "disable_monitor", socket.disable_monitor
    yield "another object for its address", lambda: type(socket).shadow(parent.address)
    yield "socket", lambda: parent.context.socket(zmq.PULL)
    yield "get of a context", lambda: parent.context.get(zmq.MAX_SOCKETS)
    yield "set of a context", lambda: parent.context.set(zmq.MAX_SOCKETS, 1)


def be_child(parent: Parent, go_on: Callable[[Parent], None]) -> NoReturn:
    """What a forked child finds. Ends the process, with 0 if all is in order."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
        signal.alarm(PATIENCE)
        check_refusals(parent)
        go_on(parent)
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(status)


def new_poller(socket: greenzmq.Socket) -> greenzmq.Poller:
    poller = greenzmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return poller


def check_refusals(parent: Parent) -> None:
    for name, call in refusals(parent):
        try:
            result = call()
        except (zmq.ZMQError, RuntimeError) as error:
            if "before the fork" in str(error) or name == "Poller of a plain socket":
                continue
            raise
        raise AssertionError(f"{name} of an inherited object gives {result!r}")
    assert all(socket.closed for pair in parent.pairs.values() for socket in pair)
    assert parent.context.closed
    parent.context.term()
    parent.context.destroy()
    for pair in parent.pairs.values():
        for socket in pair:
            socket.close()


def exchange(hub: GreenHub) -> None:
    """A new context does all that the parent's did."""
    context = greenzmq.Context(hub=hub)
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint.decode())
    for number in range(10):
        task = hub.spawn(pull.recv)
        tick(hub, task)
        push.send(b"%d" % number)
        assert task.get() == b"%d" % number
    poller = greenzmq.Poller(hub=hub)
    poller.register(pull, zmq.POLLIN)
    polling = hub.spawn(poller.poll)
    tick(hub, polling)
    buffer = bytearray(b"x") * LARGE
    tracker = push.send(buffer, copy=False, track=True)
    assert polling.get() == [(pull, zmq.POLLIN)]
    assert pull.recv() == buffer
    tracker.wait()
    assert hub.run_in_thread(int, "1") == 1
    with hub.timeout(0.001, False):
        pull.recv()
    context.destroy(linger=0)


# -- how the child goes on ---------------------------------------------------------------------------------------------


def on_inherited_hub(parent: Parent) -> None:
    """On the hub in whose greenlet it was forked."""
    exchange(parent.hub)


def on_selector_hub(parent: Parent) -> None:
    """In a native thread; that of the inherited hub is gone."""
    forget_all(parent)
    hub = greenzmq.hub("selector")
    hub.run(exchange, hub)  # in this greenlet eventlet's asyncio hub pretends that its loop runs
    gc.collect()


def forget_all(parent: Parent) -> None:
    """The garbage collector gets all that was inherited, but for the frames that are parked."""
    parent.__dict__.clear()
    gc.collect()


def run(variant_id: str) -> None:
    (variant,) = (each for each in VARIANTS if each.id == variant_id)
    variant.load()
    hub = variant.make()

    def work() -> None:
        try:
            fork_in_all_ways(variant, variant.green(hub))
        except BaseException as error:  # nothing that waits need hold up the report
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)

    variant.drive(hub, work)


def fork_in_all_ways(variant: Variant, hub: GreenHub) -> None:
    def on_new_hub(parent: Parent) -> None:
        """On a new hub of the same kind; the old one is let go."""
        forget_all(parent)
        new = variant.make()
        assert new is not hub.hub or variant.name in ("selector", "threading")
        variant.drive(new, lambda: exchange(variant.green(new)))
        gc.collect()

    ways: dict[str, Callable[[Parent], None]] = {}
    if variant.id != "eventlet-asyncio":  # of which eventlet itself says in a child that its loop runs already
        ways["new hub"] = on_new_hub
    if variant.name != "asyncio":
        ways["inherited hub"] = on_inherited_hub
    for name, go_on in ways.items():
        parent = Parent(hub)
        process = os.fork()
        if not process:
            after_fork(variant)
            be_child(parent, go_on)
        status = parent.wait_for(process)
        assert status == 0, f"{name}: the child ended with {status}"
        parent.finish()
        print("os.fork", name, flush=True)
    parent = Parent(hub)

    def fork_here() -> int:
        return os.fork() or be_child(parent, on_selector_hub)

    assert parent.wait_for(hub.run_in_thread(fork_here)) == 0
    parent.finish()
    print("os.fork in another thread", flush=True)
    parent = Parent(hub)

    def target() -> None:
        after_fork(variant)
        be_child(parent, forget_all)

    child = multiprocessing.get_context("fork").Process(target=target)
    child.start()
    assert child.pid is not None
    hub.run_in_thread(child.join)
    assert child.exitcode == 0
    parent.finish()
    print("multiprocessing", flush=True)
    leave_open(Parent(hub))


def after_fork(variant: Variant) -> None:
    """What gevent wants to be told in a child; its own `os.fork` does so."""
    if variant.name == "gevent":
        import gevent

        gevent.reinit()


def leave_open(parent: Parent) -> None:
    """The program ends while greenlets wait in everything, a message lingers, and another thread has a hub of its own.

    Prints when that is.
    """
    lingering = parent.context.socket(zmq.PUSH)
    lingering.connect(address("ipc"))
    lingering.send(b"never delivered")
    ending = greenzmq.Context(hub=parent.hub)
    left = ending.socket(zmq.PULL)
    parent.tasks["term"] = parent.hub.spawn(ending.term)
    parent.tasks["proxy"] = parent.hub.spawn(greenzmq.proxy, parent.context.socket(zmq.PULL), lingering)
    there = greenzmq.Context(hub="selector").socket(zmq.PULL)
    native = threading.Thread(target=there.recv, daemon=True)
    native.start()
    until(parent.hub, lambda: receives(there))
    tick(parent.hub, *parent.tasks.values())
    LEFT.extend((parent, lingering, left, there))
    print(time.monotonic(), flush=True)


#: What is open to the very end.
LEFT: list[Any] = []

# -- prefork -----------------------------------------------------------------------------------------------------------


def prefork(name: str) -> None:
    """As gunicorn's arbiter: the parent knows no runtime, and each worker patches what it has inherited."""
    hub = greenzmq.hub()
    parent = Parent(hub)
    workers = []
    for _ in range(2):
        process = os.fork()
        workers.append(process or be_child(parent, PATCHES[name]))
    assert [parent.wait_for(process) for process in workers] == [0, 0]
    parent.finish()
    print("prefork", flush=True)


def patch_gevent(parent: Parent) -> None:
    """Without `gevent.reinit`: there was no gevent before the fork."""
    import gevent.monkey

    gevent.monkey.patch_all()
    gevent.spawn(on_detected_hub, "gevent").get()
    on_detected_hub("gevent")
    forget_all(parent)


def patch_eventlet(parent: Parent) -> None:
    import eventlet
    import eventlet.hubs

    eventlet.hubs.use_hub()
    eventlet.monkey_patch()
    eventlet.spawn(on_detected_hub, "eventlet").wait()
    on_detected_hub("eventlet")
    forget_all(parent)


def on_detected_hub(name: str) -> None:
    hub = greenzmq.hub()
    assert hub.name == name, hub
    exchange(hub)


PATCHES = {"gevent": patch_gevent, "eventlet": patch_eventlet}
