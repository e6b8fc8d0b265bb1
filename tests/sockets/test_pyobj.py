"""Pickle, refused: `Context(pyobj=False)` and ``$GREENZMQ_PYOBJ``."""

from __future__ import annotations

import asyncio
import pickle
import resource
import subprocess
import sys
from typing import Any

import pytest
import zmq
from support.sockets import connected

import greenzmq
import greenzmq.aio
from greenzmq import PyobjRefusedError

#: Whoever unpickles this allocates a GiB, for a table with room for 2 ** 27 objects.
COSTLY = b"Nr\xff\xff\xff\x03."


def test_a_context_refuses(hub: greenzmq.GreenHub) -> None:
    """Both methods, and the message is still there for another one."""
    with greenzmq.Context(hub=hub, pyobj=False) as context:
        left, right = connected(context, zmq.PAIR, zmq.PAIR)
        for call in (lambda: left.send_pyobj(1), lambda: left.send_pyobj(1, 0, 2, copy=False), left.recv_pyobj):
            with pytest.raises(PyobjRefusedError) as caught:
                call()
            name = "recv" if call == left.recv_pyobj else "send"
            for part in (f"{name}_pyobj", f"{name}_serialized", f"{name}_json", "Context(pyobj=False)", "msgpack"):
                assert part in str(caught.value)
        right.send_json([1])
        with pytest.raises(PyobjRefusedError):
            left.recv_pyobj(zmq.NOBLOCK)
        assert left.recv_json() == [1]
        context.destroy(linger=0)
        context.__dict__.pop("kept")


@pytest.mark.parametrize(
    ("environment", "argument", "refused"),
    [
        (None, None, False),
        ("", None, False),
        ("1", None, False),
        ("0", None, True),
        (None, False, True),
        ("1", False, True),
        (None, True, False),
        ("0", True, False),
    ],
)
def test_who_says_so(environment: Any, argument: Any, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context, or else the environment; and a shadow says what its context says."""
    monkeypatch.delenv("GREENZMQ_PYOBJ", raising=False)
    if environment is not None:
        monkeypatch.setenv("GREENZMQ_PYOBJ", environment)
    with greenzmq.Context(pyobj=argument) as context:
        for each in (context, greenzmq.Context(context), greenzmq.Context.shadow(context)):
            left, right = connected(each, zmq.PAIR, zmq.PAIR)
            if refused:
                culprit = "pyobj=False" if argument is False else "GREENZMQ_PYOBJ=0"
                with pytest.raises(PyobjRefusedError, match=culprit):
                    left.send_pyobj({1})
            else:
                left.send_pyobj({1}, protocol=2)
                assert right.recv_pyobj() == {1}
            for socket in (left, right):
                socket.close(linger=0)
            each.__dict__.pop("kept")


def test_a_socket_of_pyzmqs_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """A green socket there asks the environment."""
    with zmq.Context() as context:
        socket = greenzmq.Socket(context, zmq.PAIR)
        socket.bind("inproc://pyobj")
        with pytest.raises(zmq.Again):
            socket.send_pyobj(1, zmq.NOBLOCK)
        monkeypatch.setenv("GREENZMQ_PYOBJ", "0")
        with pytest.raises(PyobjRefusedError):
            socket.send_pyobj(1, zmq.NOBLOCK)
        socket.close(linger=0)


def test_awaitable_sockets_refuse_too() -> None:
    """Those of `greenzmq.aio`."""

    async def main() -> None:
        async with greenzmq.aio.Context(pyobj=False) as context, context.socket(zmq.PAIR) as socket:
            socket.bind("inproc://pyobj")
            with pytest.raises(PyobjRefusedError, match="send_serialized"):
                await socket.send_pyobj(1)
            with pytest.raises(PyobjRefusedError, match="recv_serialized"):
                await socket.recv_pyobj()

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["no", "False", "2", " "])
def test_a_word_that_says_nothing(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error where a context is made: who writes ``False`` must not be taken to allow."""
    monkeypatch.setenv("GREENZMQ_PYOBJ", wrong)
    with pytest.raises(ValueError, match="GREENZMQ_PYOBJ"):
        greenzmq.Context()


def test_what_the_documentation_says_of_pickle() -> None:
    """It runs the sender's code, and seven bytes ask for a GiB."""
    ran = pickle.loads(b"cbuiltins\nlen\n(S'seen'\ntR.")
    assert ran == 4
    program = f"""
import pickle, resource
resource.setrlimit(resource.RLIMIT_AS, ({2**30}, {2**30}))
try:
    pickle.loads({COSTLY!r})
except MemoryError:
    print("too much")
"""
    assert resource.RLIMIT_AS
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "too much\n", done
    assert len(COSTLY) == 7
