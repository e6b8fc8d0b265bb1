"""What cannot be sent is refused with pyzmq's error, before anything of it is sent; what arrives may be, too."""

from __future__ import annotations

import json
import pickle

import pytest
import zmq
from support.sockets import (
    connected,
    each,
    fill,
    open_context,
    parked,
    receives,
    sends,
)


class NotABuffer:
    """What neither pickle nor JSON nor a frame can hold."""

    def __init__(self):
        self.function = lambda: None


def released():
    view = memoryview(b"gone")
    view.release()
    return view


def refuse(_):
    raise LookupError("the serializer's own")


#: What is called with what, the error, and whether pyzmq's own words are asked for.
REFUSED = {
    "send-str": ("send", ("text",), {}, TypeError),
    "send-int": ("send", (5,), {}, TypeError),
    "send-none": ("send", (None,), {}, TypeError),
    "send-str-zero-copy": ("send", ("text",), {"copy": False}, TypeError),
    "send-strided": ("send", (memoryview(b"abcd")[::2],), {}, (BufferError, ValueError)),
    "send-released": ("send", (released(),), {}, ValueError),
    "send-untracked-frame": ("send", (zmq.Frame(b"x"),), {"track": True}, ValueError),
    "send-keyword": ("send", (b"x",), {"colour": 1}, TypeError),
    "send-copy-twice": ("send", (b"x", 0, True), {"copy": True}, TypeError),
    "send-without-data": ("send", (), {}, TypeError),
    "send-flags": ("send", (b"x", "SNDMORE"), {}, TypeError),
    "send-routing_id": ("send", (b"x",), {"routing_id": 1}, RuntimeError),
    "multipart-nothing": ("send_multipart", ([],), {}, IndexError),
    "multipart-no-parts": ("send_multipart", (5,), {}, TypeError),
    "multipart-str": ("send_multipart", ([b"a", "text"],), {}, TypeError),
    "multipart-first-str": ("send_multipart", (["text", b"a"],), {}, TypeError),
    "multipart-middle-int": ("send_multipart", ([b"a", 5, b"c"],), {}, TypeError),
    "multipart-long": ("send_multipart", ([b"a", "x" * 99],), {}, TypeError),
    "multipart-list": ("send_multipart", ([b"a", [b"b"]],), {}, TypeError),
    "multipart-strided": ("send_multipart", ([b"a", memoryview(b"abcd")[::2]],), {}, (BufferError, TypeError)),
    "multipart-strided-zero-copy": (
        "send_multipart",
        ([b"a", memoryview(b"abcd")[::2]],),
        {"copy": False},
        (BufferError, TypeError),
    ),
    "multipart-released": ("send_multipart", ([b"a", released()],), {}, ValueError),
    "multipart-untracked-frame": ("send_multipart", ([b"a", zmq.Frame(b"b")],), {"track": True}, ValueError),
    "multipart-untracked-frame-zero-copy": (
        "send_multipart",
        ([b"a", zmq.Frame(b"b"), b"c"],),
        {"track": True, "copy": False},
        ValueError,
    ),
    "multipart-keyword": ("send_multipart", ([b"a", b"b"],), {"colour": 1}, TypeError),
    "multipart-routing_id": ("send_multipart", ([b"a", b"b"],), {"routing_id": 1}, RuntimeError),
    "string-bytes": ("send_string", (b"bytes",), {}, TypeError),
    "string-encoding": ("send_string", ("ü",), {"encoding": "ascii"}, UnicodeEncodeError),
    "string-no-encoding": ("send_string", ("ü",), {"encoding": "none-such"}, LookupError),
    "string-keyword": ("send_string", ("x",), {"colour": 1}, TypeError),
    "json": ("send_json", (NotABuffer(),), {}, TypeError),
    "json-nan": ("send_json", ([float("nan")],), {"allow_nan": False}, ValueError),
    "json-keyword": ("send_json", ([1],), {"colour": 1}, TypeError),
    "pyobj": ("send_pyobj", (NotABuffer(),), {}, (pickle.PicklingError, AttributeError)),
    "pyobj-protocol": ("send_pyobj", (1,), {"protocol": 99}, ValueError),
    "pyobj-keyword": ("send_pyobj", (1,), {"colour": 1}, TypeError),
    "serialized": ("send_serialized", (1, refuse), {}, LookupError),
    "serialized-nothing": ("send_serialized", (1, lambda _: []), {}, IndexError),
    "serialized-str": ("send_serialized", (1, lambda _: [b"a", "b"]), {}, TypeError),
    "serialized-keyword": ("send_serialized", (1, lambda _: [b"a"]), {"colour": 1}, TypeError),
}
if zmq.DRAFT_API:  # no error but libzmq's then
    REFUSED = {name: case for name, case in REFUSED.items() if "routing_id" not in name}
#: pyzmq's `send_multipart` drops the keywords that it does not know; ours hands them to `send`.
ONLY_OURS = {"multipart-keyword", "multipart-routing_id", "serialized-keyword"}


@each("name", [name for name in REFUSED if name not in ONLY_OURS])
def test_the_errors_are_pyzmqs(name):
    """The table above says what pyzmq raises, if only in the middle of a message."""
    method, args, keywords, error = REFUSED[name]
    with zmq.Context() as context, context.socket(zmq.PAIR) as left, context.socket(zmq.PAIR) as right:
        left.bind("inproc://x")
        right.connect("inproc://x")
        with pytest.raises(error):
            getattr(left, method)(*args, **keywords)


@each("name", REFUSED)
def test_a_refused_message_is_not_sent(hub, name):
    """Nothing arrives of it, not even a first part: the next message is whole and alone."""
    method, args, keywords, error = REFUSED[name]
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        with pytest.raises(error):
            getattr(left, method)(*args, **keywords)
        left.send_multipart([b"next", b"message"])
        assert right.recv_multipart() == [b"next", b"message"]
        with pytest.raises(zmq.Again):
            right.recv(zmq.NOBLOCK)


@each("name", REFUSED)
def test_a_message_refused_after_a_wait_is_not_sent(hub, name):
    """The same where there is no room, so that some errors show only when there is."""
    method, args, keywords, error = REFUSED[name]
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        fill(left)
        task = hub.spawn(getattr(left, method), *args, **keywords)
        while not (task.done or sends(left)):
            hub.sleep()
        assert [right.recv(), right.recv()] == [b"fill", b"fill"]
        with pytest.raises(error):
            task.get()
        left.send_multipart([b"next", b"message"])
        assert right.recv_multipart() == [b"next", b"message"]


@pytest.mark.parametrize("waits", [False, True], ids=["fast", "waiting"])
@each(
    "method, args, sent, error",
    {
        "json": ("recv_json", (), b"{", json.JSONDecodeError),
        "string": ("recv_string", (), b"\xff", UnicodeDecodeError),
        "pyobj": ("recv_pyobj", (), b"?", pickle.UnpicklingError),
        "serialized": ("recv_serialized", (refuse,), b"x", LookupError),
    },
)
def test_a_message_that_cannot_be_understood(hub, waits, method, args, sent, error):
    """The decoder's error comes out as it is, the message is gone as with pyzmq, the next one arrives."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        receive = getattr(right, method)
        task = parked(hub, receives, receive, *args) if waits else None
        left.send(sent)
        with pytest.raises(error):
            task.get() if task else receive(*args)
        left.send(b"next")
        assert right.recv() == b"next"


@each(
    "method, args, keywords",
    {
        "recv-keyword": ("recv", (), {"colour": 1}),
        "recv-too-many": ("recv", (0, True, False, None), {}),
        "recv_multipart": ("recv_multipart", (), {"colour": 1}),
        "recv_into-none": ("recv_into", (), {}),
        "recv_into-positional": ("recv_into", (bytearray(3), 3), {}),
        "recv_into-copy": ("recv_into", (bytearray(3),), {"copy": False}),
        "recv_string": ("recv_string", (), {"copy": False}),
        "recv_serialized": ("recv_serialized", (), {}),
        "poll": ("poll", (0, 1, 2), {}),
        "close": ("close", (0, 1), {}),
    },
)
def test_wrong_arguments_are_a_type_error(hub, method, args, keywords):
    """Where pyzmq knows no such argument there is its TypeError, at once, and no message is taken."""
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        left.send(b"kept")
        with pytest.raises(TypeError):
            getattr(zmq.Socket, method)(right, *args, **keywords)
        with pytest.raises(TypeError):
            getattr(right, method)(*args, **keywords)
        assert right.recv() == b"kept"


#: Flags that are no number, and pyzmq's calls with flags.
NO_FLAGS = [None, "", "1", "SNDMORE", b"", [], object()]
WITH_FLAGS = {
    "send": lambda s, flags: s.send(b"x", flags),
    "send, tracked": lambda s, flags: s.send(b"x", flags, copy=False, track=True),
    "send_multipart": lambda s, flags: s.send_multipart([b"x", b"y"], flags),
    "send_multipart, one part": lambda s, flags: s.send_multipart([b"x"], flags=flags),
    "send_multipart, tracked": lambda s, flags: s.send_multipart([b"x"], flags, False, True),
    "send_string": lambda s, flags: s.send_string("x", flags),
    "send_json": lambda s, flags: s.send_json(1, flags),
    "send_pyobj": lambda s, flags: s.send_pyobj(1, flags),
    "send_serialized": lambda s, flags: s.send_serialized(b"x", lambda one: [one], flags),
    "recv": lambda s, flags: s.recv(flags),
    "recv, no copy": lambda s, flags: s.recv(flags, copy=False),
    "recv_multipart": lambda s, flags: s.recv_multipart(flags),
    "recv_into": lambda s, flags: s.recv_into(bytearray(1), flags=flags),
    "recv_string": lambda s, flags: s.recv_string(flags),
    "recv_json": lambda s, flags: s.recv_json(flags),
    "recv_pyobj": lambda s, flags: s.recv_pyobj(flags),
    "recv_serialized": lambda s, flags: s.recv_serialized(list, flags),
    "poll": lambda s, flags: s.poll(0, flags),
}


def what_comes(call, *args):
    try:
        return call(*args)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("waited", [False, True], ids=["fast", "slow"])
@each("name", WITH_FLAGS)
def test_flags_that_are_no_number(hub, name, waited):
    """They are pyzmq's TypeError, with a message and room at hand or not; nothing is sent then, nor taken.

    Seen to fail: None and "" were taken for 0, "1" for 1, and others were a ValueError.
    """
    call = WITH_FLAGS[name]
    with zmq.Context() as plain, plain.socket(zmq.PAIR) as socket:
        expected = [what_comes(call, socket, flags) for flags in NO_FLAGS]
    assert set(expected) == ({TypeError} if name != "poll" else {TypeError, 0})
    with open_context(hub) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        if waited:
            task = parked(hub, receives, right.recv)
            left.send(b"first")
            task.get()
        for there in (False, True):
            if there:
                left.send(b"kept")
                right.send(b"kept")
            assert [what_comes(call, right, flags) for flags in NO_FLAGS] == expected
        assert (left.recv(), right.recv()) == (b"kept", b"kept")
        for socket in (left, right):
            with pytest.raises(zmq.Again):
                socket.recv(zmq.NOBLOCK)
