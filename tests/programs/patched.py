"""The programs of test_patched.py: greenzmq where a runtime has patched the standard library, earlier or later.

Each check leaves the hub as it was and prints its name when it has passed. What a check waits for comes from a ticker
which does it only after some turns: so it shows that the others have their turns while somebody waits.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import socket as stdlib_socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import greenlet
import zmq
from support.inside import hub_of

import greenzmq
from greenzmq.process import unpatched

#: Turns that the others have before the ticker does what the waiting one waits for.
TICKS = 5


class Runtime:
    """gevent or eventlet, by its own means."""

    def __init__(self, name: str) -> None:
        self.name = name
        module: Any = __import__(name)
        self.spawn: Callable[..., Any] = module.spawn
        self.sleep: Callable[..., None] = module.sleep
        self.Timeout: Any = module.Timeout
        self.join: Callable[[Any], Any] = lambda task: task.get() if name == "gevent" else task.wait()

    def later(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it in a greenlet of the runtime, after some turns."""

        def tick() -> None:
            for _ in range(TICKS):
                self.sleep(0)
            function(*args)

        return self.spawn(tick)

    def pool(self, function: Callable[[], Any]) -> Any:
        """Call it in a native thread of the runtime's own pool."""
        if self.name == "gevent":
            return importlib.import_module("gevent").get_hub().threadpool.apply(function)
        return importlib.import_module("eventlet.tpool").execute(function)

    def executor(self, function: Callable[[], Any]) -> Any:
        """Call it in a thread of `concurrent.futures`, which is a greenlet where `threading` is patched."""
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            future = executor.submit(function)
            while not future.done():
                self.sleep(0.001)
            return future.result()


def sockets(context: greenzmq.Context) -> tuple[Any, Any]:
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint.decode())
    return pull, push


def check_waiting(runtime: Runtime) -> None:
    """A receiver waits on the runtime's hub, without being told which one that is; a sender and a poller likewise."""
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        ticker = runtime.later(push.send, b"message")
        assert pull.recv() == b"message"
        assert hub_of(pull).name == runtime.name
        runtime.join(ticker)
        context.destroy(linger=0)


def check_stdlib(runtime: Runtime) -> None:
    """The standard library's sockets, patched or not, work beside a receiver that waits."""
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        ours, theirs = stdlib_socket.socketpair()
        receiver = runtime.spawn(pull.recv)
        runtime.sleep(0)
        ticker = runtime.later(theirs.send, b"bytes")
        assert greenzmq.hub().wait_fd(ours) == 1
        assert ours.recv(10) == b"bytes"
        runtime.join(ticker)
        push.send(b"message")
        assert runtime.join(receiver) == b"message"
        ours.close()
        theirs.close()
        context.destroy(linger=0)


def check_native_thread(runtime: Runtime) -> None:
    """`run_in_thread` has a thread that can block, whatever `threading` has become."""
    lock = unpatched.allocate_lock()
    lock.acquire()
    ticker = runtime.later(lock.release)

    def block() -> int:
        lock.acquire()
        return threading.get_native_id()

    assert greenzmq.hub().run_in_thread(block) != threading.get_native_id()
    runtime.join(ticker)


def check_term(runtime: Runtime) -> None:
    """`term` waits for the last socket to be closed, and only the one who called it waits."""
    context = greenzmq.Context()
    pull, push = sockets(context)
    push.close()
    ticker = runtime.later(pull.close)
    context.term()
    assert pull.closed
    runtime.join(ticker)


def check_foreign_exceptions(runtime: Runtime) -> None:
    """The runtime's own Timeout and kill end a wait of ours, come out as they are, and cost no message."""
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        seen: list[BaseException] = []

        def receive() -> None:
            try:
                pull.recv()
            except BaseException as error:
                seen.append(error)
                raise

        try:
            with runtime.Timeout(0.01) as limit:
                receive()
        except runtime.Timeout:
            assert seen.pop() is limit

        receiver = runtime.spawn(receive)
        runtime.sleep(0)
        receiver.kill()
        runtime.sleep(0)
        assert [type(error) for error in seen] == [greenlet.GreenletExit]
        push.send(b"message")
        assert pull.recv() == b"message"
        context.destroy(linger=0)


def check_selector(runtime: Runtime) -> None:
    """In a native thread the selector loop does everything with the originals, while this thread's hub goes on."""
    outcome: list[Any] = []
    done = unpatched.allocate_lock()
    done.acquire()

    def native() -> None:
        try:
            outcome.append(use_selector())
        except BaseException as error:
            outcome.append(error)
        finally:
            done.release()

    turns = [0]

    def tick() -> None:
        while not outcome:
            turns[0] += 1
            runtime.sleep(0.001)

    ticker = runtime.spawn(tick)
    unpatched.start_new_thread(native, ())
    greenzmq.hub().run_in_thread(done.acquire)
    runtime.join(ticker)
    assert outcome == ["EpollSelector" if sys.platform == "linux" else "KqueueSelector"], outcome
    assert turns[0] >= TICKS


def use_selector() -> str:
    hub = greenzmq.hub()
    assert hub.name == "selector"
    reader, writer = os.pipe()
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        for _ in range(TICKS):
            hub.sleep(0.002)
        sender = hub.spawn(push.send, b"message")
        assert pull.recv() == b"message"
        sender.get()
        assert hub.run_in_thread(threading.get_native_id) != threading.get_native_id()
        with hub.timeout(0.01, False):
            pull.recv()
        assert hub.wait_fd(reader, timeout=0.01) == 0
        waiter = hub.spawn(hub.wait_fd, reader)
        hub.sleep()
        os.write(writer, b"x")
        assert waiter.get() == 1
        assert hub_of(pull) is hub.hub
        context.destroy(linger=0)
    os.close(reader)
    os.close(writer)
    return hub.hub.variant


def check_pools(runtime: Runtime) -> None:
    """In a thread of each pool a message is received, by the hub that is right in there, while this one goes on."""
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        for pool in (runtime.pool, runtime.executor):
            receiver = runtime.spawn(pool, pull.recv)
            ticker = runtime.later(push.send, b"message")
            assert runtime.join(receiver) == b"message"
            runtime.join(ticker)
        context.destroy(linger=0)


def check_instance(runtime: Runtime) -> None:
    """`Context.instance()` is one in greenlets and in threads of each pool, whoever makes it, however long it takes."""

    class Sleeps(greenzmq.Context):
        _instance = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            runtime.sleep(0.01)
            super().__init__(*args, **kwargs)

    ways: list[Callable[[Callable[[], Any]], Any]] = [lambda call: call(), runtime.pool, runtime.executor]
    for first in ways:
        asking = [runtime.spawn(way, Sleeps.instance) for way in (first, *ways)]
        (instance,) = {runtime.join(task) for task in asking}
        assert type(instance) is Sleeps
        instance.term()


CHECKS = (
    check_waiting,
    check_stdlib,
    check_native_thread,
    check_term,
    check_foreign_exceptions,
    check_selector,
    check_pools,
    check_instance,
)


def run(name: str) -> None:
    """All checks, in the main greenlet and in one of the runtime's."""
    runtime = Runtime(name)
    runtime.sleep(0)  # without a patch the hub has to exist; with one the first wait makes it
    for check in CHECKS:
        check(runtime)
        runtime.join(runtime.spawn(check, runtime))
        print(check.__name__, flush=True)


# -- zero-copy ---------------------------------------------------------------------------------------------------------


def zero_copy(name: str) -> None:
    """A large buffer that libzmq sends from where it is: it arrives, it is let go, and the program ends."""
    from greenzmq.sockets.zerocopy import use_native_thread

    use_native_thread()
    runtime = Runtime(name)
    runtime.sleep(0)
    send_large(runtime, "tracked")
    process = os.fork()
    if not process:
        os._exit(0 if send_large_again() else 1)
    assert os.waitpid(process, 0)[1] == 0
    print("in a forked child")
    send_large(runtime, "and once more")


def send_large(runtime: Runtime, done: str) -> None:
    with greenzmq.Context() as context:
        pull, push = sockets(context)
        buffer = bytearray(b"x") * 200_000
        receiver = runtime.spawn(pull.recv)
        tracker = push.send(buffer, copy=False, track=True)
        assert runtime.join(receiver) == buffer
        while not tracker.done:
            runtime.sleep(0.001)
        buffer.append(0)  # a buffer that is still exported cannot change its size
        print(done, flush=True)
        context.destroy(linger=0)


def send_large_again() -> bool:
    """In a child, with pyzmq alone: no hub need survive the fork for this."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind("inproc://child")
    push.connect("inproc://child")
    tracker = push.send(bytearray(200_000), copy=False, track=True)
    received = pull.recv()
    native_wait = unpatched.allocate_lock()
    native_wait.acquire()
    for _ in range(1000):
        if tracker.done:
            return len(received) == 200_000
        native_wait.acquire(timeout=0.01)
    return False
