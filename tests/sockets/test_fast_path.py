"""The compiled fast path: when it is taken, when it steps aside, and that nothing can be told from the outside."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import zmq
from support.inside import (
    fast_receives_left,
    fast_sends_left,
    is_compiled,
    is_shared,
    knows_sleepers,
    opens_compiled_path,
    state_of,
)
from support.sockets import connected, parked, receives, until
from support.waiters import signalled
from zmq.backend import Socket as BackendSocket

import greenzmq
from greenzmq.sockets import accelerator

compiled = pytest.mark.skipif(not is_compiled(), reason="the extension is not used")
METHODS = ("send", "recv", "send_multipart", "recv_multipart")
BIG = b"x" * 200_000


@pytest.fixture
def both(context):
    """Two connected sockets."""
    return connected(context, zmq.PAIR, zmq.PAIR, sndhwm=0, rcvhwm=0)


def skip_if_shared(socket: greenzmq.Socket) -> None:
    """What native threads share has a lock, and no compiled fast path."""
    if is_shared(socket):
        pytest.skip("a shared socket")


def warm_up(one: greenzmq.Socket, other: greenzmq.Socket) -> None:
    """Have both send and receive in this greenlet: then they are on their fast paths, with some calls left."""
    for sender, receiver in ((one, other), (other, one)):
        open_for(10, sender, receiver)
        sender.send(b"1")
        receiver.recv()


def open_for(calls: int, one: greenzmq.Socket, other: greenzmq.Socket) -> None:
    """Send from one to the other until so many more sends and receives can take the fast path."""
    while fast_sends_left(one) < calls or fast_receives_left(other) < calls:
        one.send(b"1")
        other.recv()


def python_calls(call: Callable[[], object]) -> list[str]:
    """The names of greenzmq's own Python functions that `call` enters."""
    entered: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and os.sep + "greenzmq" + os.sep in frame.f_code.co_filename:
            entered.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [name for name in entered if name != "<lambda>"]


FAST: dict[str, Callable[[Any, Any], object]] = {
    "send, recv": lambda one, other: (one.send(b"a"), other.recv()),
    "by position": lambda one, other: (one.send(b"a", 0, True, False), other.recv(0, True, False)),
    "by name": lambda one, other: (one.send(b"a", copy=True, flags=0), other.recv(track=False, copy=True)),
    "by class": lambda one, other: (greenzmq.Socket.send(one, b"a"), greenzmq.Socket.recv(other)),
    "empty": lambda one, other: (one.send(b""), other.recv()),
    "big": lambda one, other: (one.send(BIG), other.recv()),
    "list": lambda one, other: (one.send_multipart([b"a", b"", b"c"]), other.recv_multipart()),
    "tuple": lambda one, other: (one.send_multipart((b"a",)), other.recv_multipart(copy=True)),
    "many parts": lambda one, other: (one.send_multipart([b"%d" % n for n in range(50)]), other.recv_multipart()),
    "big parts": lambda one, other: (one.send_multipart([BIG, b"", BIG]), other.recv_multipart()),
}


@compiled
@pytest.mark.parametrize("name", FAST)
def test_no_python(both, name):
    """Plain bytes go by no Python function, however the usual arguments are given."""
    skip_if_shared(both[0])
    warm_up(*both)
    assert python_calls(lambda: FAST[name](*both)) == []


@pytest.mark.parametrize("name", FAST)
def test_what_arrives(both, name):
    """It is what was sent, each octet of it; with the extension and without."""
    one, other = both
    sent = {
        "empty": b"",
        "big": BIG,
        "list": [b"a", b"", b"c"],
        "tuple": [b"a"],
        "many parts": [b"%d" % n for n in range(50)],
        "big parts": [BIG, b"", BIG],
    }.get(name, b"a")
    for _ in range(5):
        result = FAST[name](one, other)
        assert isinstance(result, tuple)
        assert result == (None, sent)


WRONG: dict[str, Callable[[Any], object]] = {
    "no argument": lambda socket: socket.send(),
    "too many": lambda socket: socket.recv(0, True, False, 1),
    "twice": lambda socket: socket.send(b"a", 0, flags=0),
    "twice, copy": lambda socket: socket.recv(0, True, copy=True),
    "unknown": lambda socket: socket.recv(colour=1),
    "None as flags": lambda socket: socket.send(b"a", None),
    "text": lambda socket: socket.send("text"),
    "text among parts": lambda socket: socket.send_multipart([b"a", "text"]),
    "no parts": lambda socket: socket.send_multipart([]),
    "no sequence": lambda socket: socket.send_multipart(5),
    "number": lambda socket: socket.send(1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(both, name):
    """The same error as without the extension, and nothing is sent."""
    one, other = both
    skip_if_shared(one)  # its methods have another name in these errors
    with pytest.raises(Exception) as found:  # noqa: PT011
        WRONG[name](one)
    with pytest.raises(type(found.value)) as expected:
        python(one, WRONG[name])
    assert str(found.value) == str(expected.value)
    assert not other.poll(0)


def python(socket: Any, call: Callable[[Any], object]) -> object:
    """`call` with the socket's methods in Python."""

    class InPython:
        def __getattr__(self, name: str) -> Any:
            method = inspect.unwrap(inspect.getattr_static(greenzmq.Socket, name))
            return method.__get__(socket)

    return call(InPython())


def test_other_kinds_of_data(both):
    """Subclasses of bytes, other buffers, frames, tracked and shared ones take Python's way, and arrive."""

    class Bytes(bytes):
        pass

    one, other = both
    for data in (Bytes(b"a"), bytearray(b"a"), memoryview(b"a"), zmq.Frame(b"a")):
        one.send(data)
        assert other.recv() == b"a"
        one.send_multipart([b"b", data])
        assert other.recv_multipart() == [b"b", b"a"]
    tracker = one.send(b"a", copy=False, track=True)
    assert other.recv(copy=False).bytes == b"a"
    tracker.wait(5)
    one.send(b"a", zmq.SNDMORE)
    one.send(b"b")
    assert (other.recv(), other.recv(zmq.NOBLOCK)) == (b"a", b"b")


def test_it_counts_as_a_call_in_python_does(both):
    """The turn's countdown goes down by one with each call, however it is made; without it no turn would end."""
    one, other = both
    large = {"big": len(BIG) // 4096, "big parts": 2 * (len(BIG) // 4096)} if is_compiled() else {}  # see the next test
    for name, call in FAST.items():
        calls = 1 + large.get(name, 0)
        warm_up(one, other)
        open_for(calls + 2, one, other)
        before = fast_sends_left(one), fast_receives_left(other)
        call(one, other)
        after = fast_sends_left(one), fast_receives_left(other)
        expected = tuple(number - calls for number in before)
        assert after == expected, name
        python(one, lambda socket: socket.send(b"a"))
        python(other, lambda socket: socket.recv())
        assert (fast_sends_left(one), fast_receives_left(other)) == tuple(number - 1 for number in expected)


# -- when it steps aside -----------------------------------------------------------------------------------------------


@compiled
def test_large_messages_count_as_several_calls(both):
    """4 KB count as one more: so the clock is looked at after a bounded time, and not only after so many calls."""
    one, other = both
    for message, calls in ([b"x" * 4095], 1), ([b"x" * 4096], 2), ([b"x" * 70_000, b"", b"x" * 9_000], 1 + 17 + 2):
        open_for(30, *both)
        before = fast_sends_left(one), fast_receives_left(other)
        if len(message) == 1:
            one.send(message[0])
            assert other.recv() == message[0]
        else:
            one.send_multipart(message)
            assert other.recv_multipart() == message
        assert (fast_sends_left(one), fast_receives_left(other)) == (before[0] - calls, before[1] - calls)
    open_for(1, *both)
    one.send(bytes(5_000_000))
    other.recv()
    assert (fast_sends_left(one), fast_receives_left(other)) == (0, 0)


def test_which_sockets_have_it(both):
    """The extension may use a new socket; one that native threads share by way of a lock that it knows."""
    for socket in both:
        assert opens_compiled_path(socket) == is_compiled()
        assert knows_sleepers(socket) == (is_compiled() and is_shared(socket))


@compiled
@pytest.mark.parametrize(
    "expose",
    [
        lambda socket: socket.underlying,
        copy.copy,
        lambda socket: zmq.Socket(shadow=socket),
        lambda socket: greenzmq.Socket(shadow=socket),
        lambda socket: greenzmq.Socket.shadow(socket.underlying),
    ],
    ids=["underlying", "copy", "plain-shadow", "green-shadow", "shadow-of-address"],
)
def test_an_exposed_socket(both, expose):
    """Once somebody else may have the address, and close the socket in C, every call is pyzmq's again."""
    one, other = both
    skip_if_shared(one)
    assert opens_compiled_path(one)
    shadow = expose(one)
    assert not opens_compiled_path(one)
    assert python_calls(lambda: one.send(b"a")) != []
    assert other.recv() == b"a"
    if isinstance(shadow, greenzmq.Socket):
        assert python_calls(lambda: shadow.send(b"b")) != []
        assert other.recv() == b"b"


def close_by_pyzmq(socket: Any) -> None:
    BackendSocket.close(socket)


def close_in_a_thread(socket: Any) -> None:
    thread = threading.Thread(target=socket.close)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "close",
    [
        lambda socket: socket.close(),
        lambda socket: socket.close(0),
        close_by_pyzmq,
        zmq.Socket.close,
        close_in_a_thread,
        lambda socket: socket.context.destroy(0),
        lambda socket: socket.__exit__(None, None, None),
    ],
    ids=["close", "linger", "backend", "pyzmq", "thread", "destroy", "with"],
)
def test_a_closed_socket(hub, close):
    """However it was closed: each call is an error, and no call touches libzmq's socket."""
    context = greenzmq.Context(hub=hub.hub)
    one, other = connected(context, zmq.PAIR, zmq.PAIR)
    warm_up(one, other)
    close(one)
    calls = (lambda: one.send(b"a"), one.recv, lambda: one.send_multipart([b"a"]), one.recv_multipart)
    for call in calls:
        with pytest.raises(zmq.ZMQError) as error:
            call()
        assert error.value.errno == zmq.ENOTSOCK
    with pytest.raises(zmq.ZMQError):
        one.get(zmq.EVENTS)
    context.destroy(0)


def test_an_ended_context(hub):
    """ETERM, from each call, once the context has ended."""
    context = greenzmq.Context(hub=hub.hub)
    one, other = connected(context, zmq.PAIR, zmq.PAIR)
    warm_up(one, other)
    one.get(zmq.EVENTS), other.get(zmq.EVENTS)
    term = hub.spawn(context.term)
    until(hub, lambda: signalled(one) and signalled(other))  # of the end: all else they know
    hub.sleep(0.005)  # libzmq's send looks at its commands once in a millisecond
    for call in (lambda: one.send(b"a"), one.recv, lambda: one.send_multipart([b"a"]), one.recv_multipart):
        with pytest.raises(zmq.ContextTerminated):
            call()
    one.close(), other.close(), term.get(5)


def test_foreign_sockets(both):
    """The methods called on a socket that is not green, or on no socket, are errors in Python, not crashes in C."""
    with zmq.Socket(both[0].context, zmq.PAIR) as socket:
        for stranger in (socket, object(), None, b"bytes", 5):
            for name, args in (("send", (b"a",)), ("recv", ()), ("send_multipart", ([b"a"],)), ("recv_multipart", ())):
                with pytest.raises((AttributeError, TypeError)):
                    getattr(greenzmq.Socket, name)(stranger, *args)
        assert accelerator.get_option(socket, int(zmq.EVENTS)) == socket.get(zmq.EVENTS)


def test_a_socket_that_was_not_made():
    """One whose `__init__` has failed, or was not called, has nothing for the extension."""
    empty = greenzmq.Socket.__new__(greenzmq.Socket)
    for name, args in (("send", (b"a",)), ("recv", ()), ("send_multipart", ([b"a"],)), ("recv_multipart", ())):
        with pytest.raises(AttributeError):
            getattr(empty, name)(*args)


def test_damaged_state(both):
    """What it reads is checked: with something else in a slot, or nothing, Python does the call, or fails."""
    one, other = both
    direction = state_of(one).begin_sending()
    direction.fast_calls_left = "many"
    with pytest.raises(TypeError):
        one.send(b"a")
    direction.fast_calls_left = 0
    one.send(b"a")
    assert other.recv() == b"a"
    del direction.fast_calls_left
    with pytest.raises(AttributeError):
        one.send(b"a")
    direction.fast_calls_left = 0


def test_a_send_of_the_subclass_is_called(context):
    """Whole messages go by the `send` and `recv` of a subclass that has its own, and these by `super` to ours."""

    class Own(greenzmq.Socket):
        log: list[str] = []  # noqa: RUF012

        def send(self, *args: Any, **kwargs: Any) -> Any:
            self.log.append("send")
            return super().send(*args, **kwargs)

        def recv(self, *args: Any, **kwargs: Any) -> Any:
            self.log.append("recv")
            return super().recv(*args, **kwargs)

    one, other = (context.socket(zmq.PAIR, socket_class=Own) for _ in range(2))
    one.bind("inproc://own")
    other.connect("inproc://own")
    for _ in range(3):
        one.send_multipart([b"a", b"b"])
        assert other.recv_multipart() == [b"a", b"b"]
    assert Own.log == ["send", "send", "recv", "recv"] * 3


def test_where_it_must_wait(hub, both):
    """It waits as ever: behind others, and first come, first served; a kill loses nothing."""
    one, other = both
    tasks = [parked(hub, receives, other.recv) for _ in range(3)]
    tasks[0].kill()
    for data in (b"1", b"2"):
        one.send(data)
    assert [task.get() for task in tasks[1:]] == [b"1", b"2"]


def test_another_greenlet_in_the_middle(hub, both):
    """The rest of a message belongs to the greenlet that has received its first part."""
    one, other = both
    one.send_multipart([b"1", b"2"])
    assert other.recv() == b"1"
    task = hub.spawn(other.recv)
    hub.sleep(0)
    assert not task.done
    one.send(b"3")
    assert other.recv() == b"2"
    assert task.get() == b"3"


def test_a_list_that_changes_meanwhile(both):
    """Another thread changes the list of parts all the time: each message is one of those that it ever was."""
    one, other = both
    parts, going = [BIG, b"a", BIG], [True]

    def change() -> None:
        while going:
            parts[1] = b"b"
            parts.append(b"more")
            parts.pop()
            parts[1] = b"a"

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            one.send_multipart(parts)
            found = other.recv_multipart()
            assert found[0] == found[2] == BIG
            assert found[1] in {b"a", b"b"}
            assert found[3:] in ([], [b"more"])
    finally:
        going.clear()
        thread.join()


def test_closed_by_another_thread_during_big_copies(context):
    """A close in another thread, while large messages are copied without the GIL, is an error and no crash."""
    for number in range(20):
        one, other = (context.socket(zmq.PAIR) for _ in range(2))
        one.bind(f"inproc://closed-{number}")
        other.connect(f"inproc://closed-{number}")
        one.send(b"1"), other.recv()
        thread = threading.Thread(target=one.close)
        thread.start()
        with pytest.raises(zmq.ZMQError) as error:
            send_and_receive(one, other)
        assert error.value.errno == zmq.ENOTSOCK
        thread.join()
        one.close(), other.close()


def send_and_receive(one: greenzmq.Socket, other: greenzmq.Socket) -> None:
    while True:
        one.send_multipart([BIG, BIG])
        other.recv_multipart()


# -- what one sees of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_looks_as_a_function_does(name, both):
    """Name, documentation, signature, annotations; pickled, copied and referred to weakly; bound to a socket."""
    method = getattr(greenzmq.Socket, name)
    function = inspect.unwrap(method)
    assert (method.__name__, method.__qualname__, method.__module__, method.__doc__, method.__annotations__) == (
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__doc__,
        function.__annotations__,
    )
    assert inspect.isroutine(method)
    assert next(iter(inspect.signature(method).parameters)) == "self"
    assert list(inspect.signature(getattr(both[0], name)).parameters)[:1] != ["self"]
    assert pickle.loads(pickle.dumps(method)) is copy.deepcopy(method) is method
    skip_if_shared(both[0])
    bound = getattr(both[0], name)
    assert (bound.__self__, bound.__func__, bound.__name__) == (both[0], method, name)
    assert bound == getattr(both[0], name)
    assert weakref.WeakMethod(bound)() == bound
    assert weakref.ref(method)() is method


def test_a_socket_is_collected(hub):
    """A socket with its fast path is freed as soon as nobody refers to it."""
    context = greenzmq.Context(hub=hub.hub)
    socket = context.socket(zmq.PAIR)
    socket.close()
    gone = weakref.ref(socket)
    gc.disable()
    try:
        del socket
        assert gone() is None
    finally:
        gc.enable()
    context.term()


# -- options -----------------------------------------------------------------------------------------------------------


def test_options(both):
    """`get_option` answers for each option as pyzmq's own `get`: the value, its type, and the error."""
    for socket in (*both, zmq.Socket(both[0].context, zmq.SUB)):
        for option in [*zmq.SocketOption, -1, 255, 256, 10_000, 2**40]:
            expected = outcome(partial(BackendSocket.get, socket, option))
            assert outcome(partial(accelerator.get_option, socket, option)) == expected, option
            assert outcome(partial(accelerator.get_option, socket, int(option))) == expected, option
    socket.close()
    assert outcome(partial(accelerator.get_option, socket, 15)) == (zmq.ZMQError, zmq.ENOTSOCK)


def outcome(call: Callable[[], object]) -> tuple[Any, Any]:
    try:
        result = call()
    except Exception as error:
        return type(error), getattr(error, "errno", None)
    return type(result), result
