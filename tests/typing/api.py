# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A user's program under mypy --strict and pyright. It is checked, never run: `nox -s types` reads it against what is
installed.

`assert_type` fails when a type is not exactly this one, and so also when it has become `Any`.
"""

from __future__ import annotations

import sys
from typing import Any

import zmq as pyzmq
from typing_extensions import assert_type

import greenzmq
import greenzmq as zmq
import greenzmq.eventlet
import greenzmq.gevent
import greenzmq.selector
import greenzmq.testing

# --- contexts and sockets ---------------------------------------------------------------------------------------------

ctx = zmq.Context()
assert_type(ctx, greenzmq.Context)
assert_type(zmq.Context(hub="gevent"), greenzmq.Context)
assert_type(zmq.Context(4, hub="package.module:Class"), greenzmq.Context)
assert_type(zmq.Context.shadow(ctx), greenzmq.Context)
assert_type(zmq.Context.instance(), greenzmq.Context)

with zmq.Context() as inner, inner.socket(zmq.PAIR) as pair:
    assert_type(inner, greenzmq.Context)
    assert_type(pair, greenzmq.Socket)

sock = ctx.socket(zmq.PUSH)
assert_type(sock, greenzmq.Socket)
assert_type(ctx.socket(zmq.SocketType.ROUTER), greenzmq.Socket)


def annotated(context: zmq.Context[Any], socket: zmq.Socket[bytes]) -> zmq.Context[zmq.Socket[bytes]]:
    """What a program has written for pyzmq is right here, too."""
    monitor: zmq.Socket = socket.get_monitor_socket()
    frame: zmq.Frame = monitor.recv(copy=False)
    tracker: zmq.MessageTracker = socket.send(frame, track=True)
    tracker.wait()
    return context


def takes_pyzmqs(socket: greenzmq.Socket) -> bytes:
    """A green socket goes wherever pyzmq's own is expected."""
    plain: pyzmq.Socket[bytes] = socket
    return plain.recv()


# --- receiving: bytes, or frames with copy=False ----------------------------------------------------------------------

assert_type(sock.recv(), bytes)
assert_type(sock.recv(zmq.NOBLOCK), bytes)
assert_type(sock.recv(zmq.NOBLOCK, copy=True), bytes)
assert_type(sock.recv(copy=False), zmq.Frame)
assert_type(sock.recv(copy=False, track=True), zmq.Frame)
assert_type(sock.recv_multipart(), list[bytes])
assert_type(sock.recv_multipart(copy=False), list[zmq.Frame])
assert_type(sock.recv_into(bytearray(10)), int)
assert_type(sock.recv_into(bytearray(10), nbytes=5, flags=zmq.NOBLOCK), int)
assert_type(sock.recv_string(), str)

# --- sending: nothing, or a tracker with track=True -------------------------------------------------------------------

sock.send(b"one frame")
sock.send(memoryview(b"one frame"), zmq.SNDMORE)
assert_type(sock.send(b"", copy=False, track=True), zmq.MessageTracker)
sock.send(zmq.Frame(b""), routing_id=1, group="g")
sock.send_multipart([b"a", memoryview(b"b"), zmq.Frame(b"c")], zmq.NOBLOCK)
sock.send_multipart([b"a"], routing_id=1)
sock.send_string("text")
sock.send_json({"a": 1})

# --- options and addresses --------------------------------------------------------------------------------------------

sock.rcvtimeo = 100
sock.setsockopt(zmq.LINGER, 0)
sock.set(zmq.RCVHWM, 10)
sock.close(linger=0)
sock.unbind("tcp://127.0.0.1:5555")
sock.disconnect(b"tcp://127.0.0.1:5555")
with sock.bind("tcp://127.0.0.1:5555"), sock.connect("inproc://here"):
    pass
assert_type(sock.bind_to_random_port("tcp://127.0.0.1"), int)

# --- polling ----------------------------------------------------------------------------------------------------------

poller = zmq.Poller()
assert_type(poller, greenzmq.Poller)
poller.register(sock, zmq.POLLIN)
poller.register(0)
poller.unregister(0)
for _ready, event in poller.poll(100):
    assert_type(event, int)
assert_type(sock.poll(), int)
assert_type(sock.poll(100, zmq.POLLOUT), int)
zmq.select([sock], [0], [], 1.5)

# --- the hub ----------------------------------------------------------------------------------------------------------


def size(text: str, *, factor: int = 1) -> int:
    return len(text) * factor


def nothing() -> None: ...


hub = zmq.hub()
assert_type(hub, greenzmq.GreenHub)
assert_type(hub.name, str)

task = hub.spawn(size, "abc", factor=2)
assert_type(task, greenzmq.Task[int])
assert_type(task.get(), int)
assert_type(task.get(timeout=1.5), int)
assert_type(task.join(), bool)
assert_type(task.join(timeout=0), bool)
assert_type(task.done, bool)
task.kill()
task.kill(KeyError("k"), block=False)
task.kill(KeyError)

assert_type(hub.spawn(nothing), greenzmq.Task[None])
assert_type(hub.spawn(size, "abc", name="sizer"), greenzmq.Task[int])
assert_type(task.name, str)
assert_type(hub.run(size, "abc"), int)
assert_type(hub.run_in_thread(size, "abc", factor=3), int)
hub.sleep()
hub.sleep(0.1)
assert_type(hub.wait_fd(0, read=True, write=False, timeout=0.1), int)

with hub.timeout(1) as limit:
    hub.sleep(2)
with hub.timeout(None, KeyError), hub.timeout(1, False):
    pass
try:
    task.get(timeout=1)
except greenzmq.Timeout as error:
    assert_type(error.seconds, float | None)

# --- locks, queues, groups, pools -------------------------------------------------------------------------------------

with zmq.Lock() as taken, zmq.RLock(), zmq.Semaphore(2), zmq.Semaphore(2, bounded=True), zmq.BoundedSemaphore(3):
    assert_type(taken, bool)
assert_type(zmq.Lock().acquire(timeout=1.5), bool)
assert_type(zmq.Semaphore().acquire(False), bool)
condition = zmq.Condition(zmq.Lock())
with condition:
    assert_type(condition.wait(1), bool)
    assert_type(condition.wait_for(lambda: "text"), str)
    condition.notify_all()

items: zmq.Queue[int] = zmq.Queue(10)
items.put(1, timeout=1)
assert_type(items.get(), int)
assert_type(items.join(), bool)
for item in items:
    assert_type(item, int)
items.put("text")  # type: ignore[arg-type]
try:
    zmq.PriorityQueue[int]().get_nowait()
except (zmq.Empty, zmq.Full, zmq.ShutDown):
    zmq.LifoQueue[int]().close()

with hub.group() as group:
    assert_type(group, greenzmq.TaskGroup)
    assert_type(group.spawn(size, "abc", name="sizer"), greenzmq.Task[int])
with zmq.Pool(3) as pool:
    assert_type(pool.map(size, ["a", "b"]), list[int])
    assert_type(pool.spawn(size, "abc"), greenzmq.Task[int])
    for found in pool.imap_unordered(size, ["a"]):
        assert_type(found, int)

# --- who waits, and tests ---------------------------------------------------------------------------------------------

for parked in greenzmq.waiters():
    assert_type(parked.call, str)
    assert_type(parked.deadline, float | None)
    assert_type(parked.place, str)
greenzmq.dump()
greenzmq.dump(sys.stderr)

with greenzmq.testing.SteppingHub(seed=1) as stepping:
    assert_type(stepping, greenzmq.testing.SteppingHub)
    assert_type(stepping.step(), bool)
    assert_type(stepping.settle(), int)
    stepping.advance(1.5)
    assert_type(greenzmq.hub(stepping), greenzmq.GreenHub)
with greenzmq.testing.assert_no_switch(), greenzmq.testing.assert_switches(0) as switches:
    assert_type(switches.count, int)
greenzmq.testing.check_socket(sock, idle=True)
greenzmq.testing.wait_all_parked(hub)
greenzmq.testing.wait_all_parked([task], seconds=1)

# --- counts -----------------------------------------------------------------------------------------------------------

with greenzmq.stats(sock) as counted:
    assert_type(counted, greenzmq.Stats)
    assert_type((counted.sent, counted.lag.count, counted.lag.max), tuple[int, int, float])
    assert_type(counted.as_dict(), dict[str, float])
assert_type(greenzmq.stats(hub), greenzmq.Stats)
greenzmq.stats(greenzmq.gevent.Context().socket(zmq.PULL)).stop()

# --- which hub --------------------------------------------------------------------------------------------------------

greenzmq.use_hub("eventlet")
greenzmq.use_hub("eventlet", thread=True)

try:
    sock.recv()
except (greenzmq.BlockingCallError, greenzmq.WrongHubError) as wrong:
    refused: greenzmq.HubError = wrong
except zmq.Again as again:
    assert_type(again, zmq.Again)
except (zmq.ContextTerminated, zmq.ZMQError):
    pass

# --- the drop-ins: the same types, and their own contexts are greenzmq's too ------------------------------------------

assert_type(greenzmq.gevent.hub(), greenzmq.GreenHub)
assert_type(greenzmq.gevent.Context().socket(greenzmq.gevent.PULL).recv(), bytes)
assert_type(greenzmq.eventlet.Context(), greenzmq.eventlet.Context)
contexts: list[greenzmq.Context] = [greenzmq.gevent.Context(), greenzmq.eventlet.Context(), greenzmq.selector.Context()]
sockets: list[greenzmq.Socket] = [greenzmq.selector.Socket(contexts[0], zmq.PULL)]

# --- what has to be refused: a line without the error named is an "unused ignore", which is an error too --------------

zmq.Context(hub=5)  # type: ignore[arg-type]
sock.recv("NOBLOCK")  # type: ignore[call-overload]
hub.sleep("1")  # type: ignore[arg-type]
takes_pyzmqs(5)  # type: ignore[arg-type]
ctx.socket(zmq.PUHS)  # type: ignore[arg-type]
