"""Every way to spell send and recv, with something to wait for and without; messages part by part; NOBLOCK."""

from __future__ import annotations

import array
import errno
import pickle

import pytest
import zmq
from support.sockets import (
    address,
    connected,
    count_switches,
    each,
    fill,
    never_switches,
    open_context,
    parked,
    receives,
    sends,
    tick,
    until,
)

BIG = b"0123456789abcdef" * 16384  # 256 KiB: beyond pyzmq's copy threshold


def pair(context, **options):
    return connected(context, zmq.PAIR, zmq.PAIR, **options)


def narrow_pair(context):
    """A pair whose first end is full: one more message and its sender has to wait."""
    left, right = pair(context, sndhwm=1, rcvhwm=1)
    assert fill(left) == 2
    return left, right


def drain(socket, fillers=2):
    """Take what `fill` has put in."""
    for _ in range(fillers):
        assert socket.recv() == b"fill"


def recv_into(socket, **kw):
    buffer = bytearray(16)
    size = socket.recv_into(buffer, **kw)
    return bytes(buffer[:size])


def frames(parts):
    return [part.bytes for part in parts]


OBJECT = {"name": ["ü", 1, None, 2.5]}
PICKLED = {"set": {1, 2}, "bytes": b"\0"}

#: How a message is sent, as a method with its arguments; the frames that it consists of.
SENDS = {
    "send": ("send", (b"x",), {}, [b"x"]),
    "send-memoryview": ("send", (memoryview(b"-x-")[1:2],), {}, [b"x"]),
    "send-bytearray": ("send", (bytearray(b"x"),), {}, [b"x"]),
    "send-array": ("send", (array.array("B", b"xy"),), {}, [b"xy"]),
    "send-frame": ("send", (zmq.Frame(b"x"),), {}, [b"x"]),
    "send-nothing": ("send", (b"",), {}, [b""]),
    "send-big": ("send", (BIG,), {}, [BIG]),
    "send-zero-copy": ("send", (BIG,), {"copy": False}, [BIG]),
    "send-zero-copy-positional": ("send", (BIG, 0, False, True), {}, [BIG]),
    "send-zero-copy-memoryview": ("send", (memoryview(BIG),), {"copy": False}, [BIG]),
    "send_multipart": ("send_multipart", ([b"x", b"", b"z"],), {}, [b"x", b"", b"z"]),
    "send_multipart-one": ("send_multipart", ([b"x"],), {}, [b"x"]),
    "send_multipart-tuple": ("send_multipart", ((b"x", b"y"),), {}, [b"x", b"y"]),
    "send_multipart-mixed": (
        "send_multipart",
        ([b"x", zmq.Frame(b"y"), memoryview(b"z"), bytearray(b"0"), array.array("B", b"1")],),
        {},
        [b"x", b"y", b"z", b"0", b"1"],
    ),
    "send_multipart-zero-copy": ("send_multipart", ([b"x", BIG, BIG],), {"copy": False}, [b"x", BIG, BIG]),
    "send_string": ("send_string", ("grün",), {}, ["grün".encode()]),
    "send_string-encoding": ("send_string", ("grün",), {"encoding": "latin-1"}, ["grün".encode("latin-1")]),
    "send_unicode": ("send_unicode", ("grün",), {}, ["grün".encode()]),
    "send_json": ("send_json", (OBJECT,), {}, [zmq.utils.jsonapi.dumps(OBJECT)]),
    "send_json-keywords": ("send_json", ({"b": 1, "a": 2},), {"sort_keys": True}, [b'{"a": 2, "b": 1}']),
    "send_pyobj": ("send_pyobj", (PICKLED,), {}, [pickle.dumps(PICKLED)]),
    "send_pyobj-protocol": ("send_pyobj", (PICKLED,), {"protocol": 0}, [pickle.dumps(PICKLED, 0)]),
    "send_serialized": ("send_serialized", ("a b", lambda text: text.encode().split()), {}, [b"a", b"b"]),
    "send_serialized-zero-copy": ("send_serialized", (BIG, lambda one: [one]), {"copy": False}, [BIG]),
}

#: What is received and how; what is sent for it; what then is returned.
RECEIVES = {
    "recv": (lambda s, **kw: s.recv(**kw), [b"x"], b"x"),
    "recv-frame": (lambda s, **kw: s.recv(copy=False, **kw).bytes, [b"x"], b"x"),
    "recv-big": (lambda s, **kw: s.recv(**kw), [BIG], BIG),
    "recv_into": (recv_into, [b"x"], b"x"),
    "recv_into-nbytes": (lambda s, **kw: recv_into(s, nbytes=3, **kw), [b"xyz"], b"xyz"),
    "recv_multipart": (lambda s, **kw: s.recv_multipart(**kw), [b"x", b"", b"z"], [b"x", b"", b"z"]),
    "recv_multipart-frames": (lambda s, **kw: frames(s.recv_multipart(copy=False, **kw)), [b"x", b"y"], [b"x", b"y"]),
    "recv_string": (lambda s, **kw: s.recv_string(**kw), ["grün".encode()], "grün"),
    "recv_string-encoding": (lambda s, **kw: s.recv_string(encoding="latin-1", **kw), [b"gr\xfcn"], "grün"),
    "recv_unicode": (lambda s, **kw: s.recv_unicode(**kw), ["grün".encode()], "grün"),
    "recv_json": (lambda s, **kw: s.recv_json(**kw), [zmq.utils.jsonapi.dumps(OBJECT)], OBJECT),
    "recv_json-keywords": (lambda s, **kw: s.recv_json(parse_int=str, **kw), [b"[1]"], ["1"]),
    "recv_pyobj": (lambda s, **kw: s.recv_pyobj(**kw), [pickle.dumps(PICKLED)], PICKLED),
    "recv_serialized": (lambda s, **kw: s.recv_serialized(b"-".join, **kw), [b"x", b"y"], b"x-y"),
    "recv_serialized-frames": (lambda s, **kw: s.recv_serialized(frames, copy=False, **kw), [b"x", b"y"], [b"x", b"y"]),
}


# -- the fast path and the waiting path -------------------------------------------------------------------------------


@each("name", SENDS)
def test_a_send_with_room(hub, name):
    """Each way to send arrives as what it is and switches to nobody where there is room."""
    method, args, keywords, expected = SENDS[name]
    with open_context(hub) as context:
        left, right = pair(context)
        with never_switches():
            getattr(left, method)(*args, **keywords)
        assert right.recv_multipart() == expected


@each("name", SENDS)
def test_a_send_that_waits_for_room(hub, name):
    """The same messages arrive, whole and once, when they had to wait for room."""
    method, args, keywords, expected = SENDS[name]
    with open_context(hub) as context:
        left, right = narrow_pair(context)
        task = parked(hub, sends, getattr(left, method), *args, **keywords)
        drain(right)
        assert right.recv_multipart() == expected
        task.get()
        assert left.getsockopt(zmq.EVENTS) & zmq.POLLOUT
        with pytest.raises(zmq.Again):
            right.recv(zmq.NOBLOCK)


@each("name", RECEIVES)
def test_a_recv_of_what_is_there(hub, name):
    """Each way to receive gives what pyzmq's gives and switches to nobody where a message is there."""
    receive, parts, expected = RECEIVES[name]
    with open_context(hub) as context:
        left, right = pair(context)
        left.send_multipart(parts)
        with never_switches():
            assert receive(right) == expected
        left.send_multipart(parts)
        with never_switches():
            assert receive(right, flags=zmq.NOBLOCK) == expected


@each("name", RECEIVES)
def test_a_recv_that_waits(hub, name):
    """Each way to receive gives the same when it had to wait for the message."""
    receive, parts, expected = RECEIVES[name]
    with open_context(hub) as context:
        left, right = pair(context)
        task = hub.spawn(receive, right)
        until(hub, lambda: receives(right))
        tick(hub, task)
        left.send_multipart(parts)
        assert task.get() == expected


# -- NOBLOCK ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", ["nobody waits", "another waits"])
@each("name", SENDS)
def test_a_send_without_room_under_noblock(hub, name, others):
    """NOBLOCK without room is Again at once, without a switch, whoever waits; nothing of the message is sent."""
    method, args, keywords, _ = SENDS[name]
    if len(args) > 1 and method == "send":
        args, keywords = args[:1], dict(zip(("copy", "track"), args[2:], strict=False))
    with open_context(hub) as context:
        left, right = narrow_pair(context)
        task = parked(hub, sends, left.send, b"first") if others == "another waits" else None
        with never_switches(), pytest.raises(zmq.Again):
            getattr(left, method)(*args, flags=zmq.NOBLOCK, **keywords)
        drain(right)
        if task is not None:
            task.get()
            assert right.recv() == b"first"
        left.send(b"next")
        assert right.recv_multipart() == [b"next"]


@pytest.mark.parametrize("others", ["nobody waits", "another waits"])
@each("name", RECEIVES)
def test_a_recv_of_nothing_under_noblock(hub, name, others):
    """NOBLOCK without a message is Again at once, without a switch, whoever waits."""
    receive, _, _ = RECEIVES[name]
    with open_context(hub) as context:
        left, right = pair(context)
        task = parked(hub, receives, right.recv) if others == "another waits" else None
        with never_switches(), pytest.raises(zmq.Again):
            receive(right, flags=zmq.NOBLOCK)
        if task is not None:
            left.send(b"x")
            assert task.get() == b"x"


@each("flags", [zmq.NOBLOCK, int(zmq.NOBLOCK)])
def test_noblock_in_each_of_its_types(hub, flags):
    """NOBLOCK is one flag, as an enum or a plain int, by keyword or position."""
    with open_context(hub) as context:
        left, _ = pair(context)
        with never_switches():
            for receive in (left.recv, left.recv_multipart, left.recv_string, left.recv_json, left.recv_pyobj):
                with pytest.raises(zmq.Again):
                    receive(flags)
                with pytest.raises(zmq.Again):
                    receive(flags=flags)


def test_the_counter_of_switches_counts(hub):
    """What the tests above rely on: a wait is a switch, and is seen."""
    with count_switches() as switches:
        hub.sleep()
    assert len(switches) >= 2


# -- part by part -----------------------------------------------------------------------------------------------------


@each("flags", [zmq.SNDMORE, int(zmq.SNDMORE), zmq.SNDMORE | zmq.NOBLOCK])
def test_a_message_part_by_part(hub, flags):
    """Parts sent with SNDMORE by any spelling are one message; received part by part they say how many follow."""
    with open_context(hub) as context:
        left, right = pair(context)
        left.send(b"a", flags)
        left.send_string("b", flags)
        left.send_multipart([b"c", b"d"], flags)
        left.send_json([1], flags)
        left.send_pyobj(None, flags)
        left.send_serialized(b"e", lambda one: [one], flags)
        left.send(zmq.Frame(b"f"), flags)
        left.send(BIG, flags, copy=False)
        left.send(b"")
        expected = [b"a", b"b", b"c", b"d", b"[1]", pickle.dumps(None), b"e", b"f", BIG, b""]
        for part in expected[:-1]:
            assert right.recv() == part
            assert right.getsockopt(zmq.RCVMORE) == right.rcvmore == 1
        frame = right.recv(copy=False)
        assert (frame.bytes, frame.more, right.rcvmore) == (b"", False, 0)


def test_the_first_part_of_a_fresh_socket(context):
    """Where there is room a first part is no reason to switch, and no later one is."""
    left, _ = pair(context)
    with never_switches():
        left.send(b"1", zmq.SNDMORE)
        left.send(b"2", zmq.SNDMORE)
        left.send(b"3")


def test_parts_that_wait_for_room(hub):
    """The first part waits for room, the others follow it at once, and nobody else's message comes between.

    Seen to fail while who left the queue as the owner of a message woke the next in it.
    """

    def parts() -> None:
        left.send(b"1", zmq.SNDMORE)
        hub.sleep()
        left.send(b"2", zmq.SNDMORE)
        hub.sleep()
        left.send_string("3")

    with open_context(hub) as context:
        left, right = narrow_pair(context)
        first = hub.spawn(parts)
        until(hub, lambda: sends(left))
        second = parked(hub, sends, left.send_multipart, [b"other", b"message"])
        drain(right)
        received = [right.recv_multipart(), right.recv_multipart()]
        first.get()
        second.get()
        assert received == [[b"1", b"2", b"3"], [b"other", b"message"]]


def test_a_woken_sender_stands_back_from_a_message(hub, context):
    """A sender that was woken, but not resumed yet, waits again when another begins a message under NOBLOCK before.

    Seen to fail while a woken sender did not ask whether somebody is inside a message.
    """
    left, right = narrow_pair(context)
    woken = parked(hub, sends, left.send, b"other")
    drain(right)
    assert left.getsockopt(zmq.EVENTS) & zmq.POLLOUT
    left.send(b"1", zmq.SNDMORE | zmq.NOBLOCK)
    tick(hub, woken)
    left.send(b"2")
    assert right.recv_multipart() == [b"1", b"2"]
    assert right.recv_multipart() == [b"other"]
    woken.get()


def test_parts_are_not_shared_out(hub):
    """Two greenlets that receive part by part get whole messages, though one gives way in the middle of its own.

    Seen to fail while who left the queue as the owner of a message woke the next in it.
    """

    def receive() -> list[bytes]:
        parts = [right.recv()]
        while right.rcvmore:
            hub.sleep()
            parts.append(right.recv())
        return parts

    with open_context(hub) as context:
        left, right = pair(context)
        tasks = [hub.spawn(receive) for _ in range(2)]
        until(hub, lambda: receives(right))
        tick(hub, *tasks)
        left.send_multipart([b"1", b"2", b"3"])
        left.send_multipart([b"4", b"5", b"6"])
        assert [task.get() for task in tasks] == [[b"1", b"2", b"3"], [b"4", b"5", b"6"]]


def test_recv_into_cuts_and_skips(context):
    """recv_into returns the frame's size, cuts what does not fit, and skips a frame into an empty buffer."""
    left, right = pair(context)
    left.send_multipart([b"12345", b"skipped", b"12345"])
    buffer = bytearray(3)
    assert right.recv_into(buffer) == 5
    assert buffer == b"123"
    assert right.recv_into(bytearray()) == 7
    wide = array.array("B", bytes(8))
    assert right.recv_into(wide, nbytes=2) == 5
    assert wide.tobytes() == b"12\0\0\0\0\0\0"


@each(
    "buffer, keywords, error",
    {
        "readonly": (b"readonly", {}, BufferError),
        "too-small": (bytearray(2), {"nbytes": 3}, ValueError),
        "text": ("text", {}, TypeError),
    },
)
def test_recv_into_the_wrong_buffer(hub, buffer, keywords, error):
    """A buffer that cannot be filled is pyzmq's error at once, with a message there or without, and loses none."""
    with open_context(hub) as context:
        left, right = pair(context)
        with pytest.raises(error):
            right.recv_into(buffer, **keywords)
        left.send(b"kept")
        with pytest.raises(error):
            right.recv_into(buffer, **keywords)
        assert right.recv() == b"kept"


def test_a_long_ipc_path_is_pyzmqs_error(hub):
    """A path beyond the system's limit says so, with the limit."""
    too_long = address("ipc") + "x" * zmq.IPC_PATH_MAX_LEN
    with open_context(hub) as context, context.socket(zmq.PULL) as socket:
        for call in (socket.bind, socket.connect):
            with pytest.raises(zmq.ZMQError) as caught:
                call(too_long)
            assert caught.value.errno == errno.ENAMETOOLONG
