"""The compiled fast path steps aside: where something is not as it was when it was written, and in forked children."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import threading
from typing import Any, ClassVar

import pytest
import zmq
from support import forked
from support.inside import is_compiled, observe_perform
from support.sockets import connected, parked, receives
from support.threads import LOST

import greenzmq
from greenzmq.sockets import accelerator

compiled = pytest.mark.skipif(not is_compiled(), reason="the extension is not used")

PROGRAM = """
import importlib.machinery, importlib.util, os, sys
name, path = "greenzmq.sockets._fastpath", {path!r}
if path:  # before greenzmq is imported
    spec = importlib.util.spec_from_file_location(name, path)
    f = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(f)
    load, use, use_pyzmq = f.load, f.use, f.use_pyzmq
{before}
import zmq, greenzmq
from greenzmq.sockets import accelerator
context = greenzmq.Context(hub="selector")
one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
one.bind("inproc://one")
other.connect("inproc://one")
for _ in range(3):
    one.send(b"a")
    assert other.recv() == b"a"
    one.send_multipart([b"a", b"b"])
    assert other.recv_multipart() == [b"a", b"b"]
assert other.get(zmq.EVENTS) == zmq.POLLOUT
one.close(), other.close(), context.term()
print(accelerator.status())
"""
UNEXPECTED = "the classes of greenzmq, pyzmq or greenlet are not as expected"

#: What is not as it was when the extension was written, and what `status` says of it.
DIFFERENT = {
    "switched off": ("os.environ['GREENZMQ_PURE'] = '1'", "$GREENZMQ_PURE is set"),
    "not built": ("sys.modules[name] = None", "it was not built"),
    "an older build": ("f.INTERFACE -= 1", "it was built from an older source"),
    "another libzmq": (
        "f.load = lambda path: (load(path), (5, 1, 0))[1]",
        "it was not written for libzmq 5.1.0",
    ),
    "a static libzmq": (
        "import _zoneinfo; f.load = lambda path: load(_zoneinfo.__file__)",
        "there is no zmq_version",
    ),
    "a library that is not loaded": (
        "f.load = lambda path: load('/nowhere.so')",
        "is not a loaded library",
    ),
    "another Socket of pyzmq": (
        "f.use_pyzmq = lambda closed, *others: use_pyzmq(property(), *others)",
        "must be getset_descriptor, not property",
    ),
    "another greenlet": (
        "f.use = lambda slots, current, error: use(slots, lambda: current(), error)",
        "must be builtin_function_or_method, not function",
    ),
    "another function of greenlet": ("f.use = lambda slots, current, error: use(slots, len, error)", UNEXPECTED),
    "other classes": ("f.use = lambda slots, *others: use((slots[5], *slots[1:]), *others)", UNEXPECTED),
    "fewer slots": ("f.use = lambda slots, *others: use(slots[:7], *others)", UNEXPECTED),
    "a libzmq that says another type": (
        "get = f.get_option; f.get_option = lambda socket, option: 99 if option == 16 else get(socket, option)",
        "a socket of type 0 seems to be of type 99",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_it_steps_aside(name):
    """Where something is not as expected greenzmq runs without it, says so, and a message gets through all the same."""
    before, reason = DIFFERENT[name]
    if name != "switched off" and not is_compiled():
        pytest.skip("the extension is not used")
    path = accelerator.extension.__file__ if is_compiled() else None
    status = run(PROGRAM.format(before=before, path=path))
    assert status.startswith("pure Python: ")
    assert reason in status


@compiled
def test_it_is_used():
    """A process of its own uses it, unasked."""
    assert run(PROGRAM.format(before="", path=None)) == "compiled"


def run(program: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    done = forked.run(["-c", program], environment=environment, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


FORKS = """
import json, os, sys
import zmq, greenzmq
from greenzmq.sockets import accelerator

def outcome(call, *args):
    try:
        return repr(call(*args))
    except zmq.ZMQError as error:
        return error.errno
    except BaseException as error:
        return repr(error)

context = greenzmq.Context(hub="selector")
one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
one.bind("inproc://one")
other.connect("inproc://one")
for _ in range(3):
    one.send(b"a"), other.recv(), other.send(b"a"), one.recv()
if (child := os.fork()) == 0:
    green = greenzmq.Socket
    calls = [(one.send, b"a"), (green.send, one, b"a"), (green.recv, one), (green.send_multipart, one, [b"a"])]
    calls += [(green.recv_multipart, one), (accelerator.get_option, one, zmq.EVENTS)]
    print(json.dumps([outcome(*call) for call in calls]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
one.send(b"a")
assert other.recv() == b"a"
one.close(), other.close(), context.term()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child():
    """In the child the inherited socket is an error, by its class's methods, too; the parent's goes on."""
    assert json.loads(run(FORKS)) == [zmq.ENOTSOCK] * 6


@pytest.mark.parametrize("name", ["send", "recv", "send_multipart", "recv_multipart"])
def test_pickled_by_a_pickler_with_its_own_table(name):
    """As any function: by its name, whatever the pickler knows of `copyreg`."""

    class Pickler(pickle.Pickler):
        dispatch_table: ClassVar[dict[type, Any]] = {}

    method, written = getattr(greenzmq.Socket, name), io.BytesIO()
    Pickler(written).dump(method)
    assert pickle.loads(written.getvalue()) is method


def test_its_address_is_asked_for_during_a_big_copy(hub, context):
    """By another thread, while a message is copied without the GIL. It is received to its end: the socket is open."""
    parts = [b"x" * 1_000_000] * 4 + [b"end"]
    before = sys.getswitchinterval()
    sys.setswitchinterval(LOST)  # the other thread runs during a copy, or once this one waits for it
    try:
        for _ in range(5):
            one, other = connected(context, zmq.PAIR, zmq.PAIR)
            one.send(b"1"), other.recv()
            one.send_multipart(parts)
            turn = threading.Lock()
            turn.acquire()
            asks = threading.Thread(target=lambda: turn.acquire() and other.underlying)  # noqa: B023
            asks.start()
            turn.release()
            assert other.recv_multipart() == parts
            asks.join()
    finally:
        sys.setswitchinterval(before)


def test_a_wait_that_is_observed(hub, context, monkeypatch):
    """What stands in the place of `SocketState.perform` need not have its signature, and need not be a function."""
    one, other = connected(context, zmq.PAIR, zmq.PAIR)
    seen: list[object] = []
    observe_perform(monkeypatch, seen)
    task = parked(hub, receives, one.recv)
    other.send(b"1")
    assert task.get() == b"1"
    assert one in seen
