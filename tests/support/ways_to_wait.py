"""How to make each call of greenzmq wait that can: `WAITS`, for the test that goes through them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from support.polling import IN, OUT
from support.sockets import address, connected, fill

import greenzmq

__all__ = ["WAITS", "Stage", "Way"]


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

    task = stage.hub.spawn(hold_out, stage, event, begun := [])
    wait_for(stage, begun)
    task.kill()


def hold_out(stage: Stage, event: Any, begun: list[bool]) -> None:
    """Do not end when killed, before the ticker says so. On native threads a pool's task is in another thread."""
    try:
        begun.append(True)
        stage.zmq.hub().sleep(1000)
    finally:
        event.wait()


def wait_for(stage: Stage, begun: list[bool]) -> None:
    """A task may be a native thread, which begins when it likes."""
    while not begun:
        stage.hub.sleep(0.001)


def locked(stage: Stage, kind: str) -> Any:
    """A lock that somebody has until the ticker says so."""
    lock = getattr(stage.zmq, kind)()
    event = stage.event()

    def hold() -> None:
        with lock:
            event.wait()

    stage.hub.spawn(hold)
    stage.hub.sleep()
    return lock


def notified(stage: Stage, wait: Callable[[Any], object]) -> None:
    condition = stage.zmq.Condition()

    def notify() -> None:
        if condition.acquire(False):
            condition.notify()
            condition.release()

    stage.releases.append(notify)
    with condition:
        wait(condition)


def queued(stage: Stage) -> Any:
    """A queue that the ticker puts something into."""
    items = stage.zmq.Queue()
    stage.releases.append(lambda: items.put(1))
    return items


def full(stage: Stage) -> Any:
    """A full queue, of which the ticker takes something."""
    items = stage.zmq.Queue(1)
    items.put(1)
    stage.releases.append(lambda: (items.get(), items.task_done()))
    return items


def busy(stage: Stage) -> Any:
    """A pool all of whose places are taken until the ticker says so."""
    pool = stage.zmq.Pool(1, hub=stage.hub)
    pool.spawn(stage.event().wait)
    return pool


def pool_killed(stage: Stage) -> None:
    """As `killed`."""
    event, pool = stage.event(), stage.zmq.Pool(1, hub=stage.hub)

    pool.spawn(hold_out, stage, event, begun := [])
    wait_for(stage, begun)
    pool.kill()


def grouped(stage: Stage) -> None:
    with stage.hub.group() as group:
        group.spawn(stage.event().wait)


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
    "wait": lambda stage: stage.zmq.wait([stage.reader()]),
    "zmq_poll": lambda stage: stage.zmq.zmq_poll([(stage.reader(), IN)]),
    "Condition.wait": lambda stage: notified(stage, lambda condition: condition.wait()),
    "Condition.wait_for": lambda stage: notified(stage, lambda condition: condition.wait_for(iter([0, 1]).__next__)),
    "Context.__exit__": lambda stage: ended(stage, lambda context: context.__exit__(None, None, None)),
    "Context.destroy": lambda stage: ended(stage, lambda context: context.destroy()),
    "Context.term": lambda stage: ended(stage, lambda context: context.term()),
    "GreenEvent.wait": lambda stage: stage.event().wait(),
    "GreenHub.call_from_thread": lambda stage: stage.hub.call_from_thread(stage.event().wait),
    "GreenHub.run": lambda stage: stage.hub.run(stage.event().wait),
    "GreenHub.run_in_thread": block,
    "GreenHub.sleep": lambda stage: stage.proxied(stage.hub.sleep, 1000),
    "GreenHub.wait_fd": wait_for_descriptor,
    "Lock.acquire": lambda stage: locked(stage, "Lock").acquire(),
    "MessageTracker.wait": lambda stage: tracker(stage).wait(),
    "MonitorEvents.__next__": monitored,
    "Poller.poll": lambda stage: poller(stage).poll(),
    "Pool.join": lambda stage: busy(stage).join(),
    "Pool.kill": pool_killed,
    "Pool.map": lambda stage: busy(stage).map(abs, [1]),
    "Pool.spawn": lambda stage: busy(stage).spawn(int),
    "Queue.get": lambda stage: queued(stage).get(),
    "Queue.join": lambda stage: full(stage).join(),
    "Queue.put": lambda stage: full(stage).put(2),
    "RLock.acquire": lambda stage: locked(stage, "RLock").acquire(),
    "Semaphore.acquire": lambda stage: locked(stage, "Semaphore").acquire(),
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
    "TaskGroup.__exit__": grouped,
}
