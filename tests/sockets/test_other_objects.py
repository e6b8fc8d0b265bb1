"""Several objects for one libzmq socket, one after another: how long they share what, and what a later socket finds."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

import pytest
import zmq
from support.inside import state_of, watch_of
from support.inside_states import directions_being_made, leave_kernel_set, leave_state
from support.interruptions import Interruption, at_each_bytecode
from support.sockets import connected, parked, receives
from support.threads import eventually

import greenzmq
import greenzmq.selector
import greenzmq.threading


def wait_once(hub: greenzmq.GreenHub, pull: greenzmq.Socket, push: greenzmq.Socket) -> None:
    task = parked(hub, receives, pull.recv)
    push.send(b"waited for")
    assert task.get() == b"waited for"


def test_a_later_socket_with_the_same_descriptor(hub, push_pull):
    """Libzmq may give the address and the descriptor of a socket to the next one; what watched the first is no use.

    Seen to sleep until the time limit, if the objects of the first one were still there.
    """
    push, pull = push_pull
    address = pull.underlying
    wait_once(hub, pull, push)
    ends = os.pipe()
    os.dup2(ends[0], watch_of(pull).fd)  # now it watches another file than the socket's, as it would then
    later = greenzmq.Socket.shadow(address)
    task = parked(hub, receives, later.recv)
    push.send(b"for the later one")
    with hub.timeout(5):
        assert task.get() == b"for the later one"
    for end in ends:
        os.close(end)


def test_a_later_socket_in_the_set_of_the_pollers(hub, push_pull):
    """The same, where a Poller has polled the first one."""
    push, pull = push_pull
    address = pull.underlying
    with greenzmq.Poller(hub=hub) as first, greenzmq.Poller(hub=hub) as second:
        first.register(pull, zmq.POLLIN)
        assert first.poll(1) == []
        leave_kernel_set(pull)
        later = greenzmq.Socket.shadow(address)
        second.register(later, zmq.POLLIN)
        hub.hub.call_later(0.01, push.send, b"for the later one")
        with hub.timeout(5):
            assert second.poll() == [(later, zmq.POLLIN)]


def test_a_later_socket_with_another_descriptor(hub, context):
    """It is another one by its descriptor, although only a Poller has ever waited on the first one."""
    first, second = (context.socket(zmq.PULL, zmq.Socket) for _ in range(2))
    earlier = greenzmq.Socket(shadow=first)
    with greenzmq.Poller(hub=hub) as poller:
        poller.register(earlier, zmq.POLLIN)
        assert poller.poll(1) == []
        leave_state(earlier, second)
        assert state_of(greenzmq.Socket(shadow=second)) is not state_of(earlier)
        assert state_of(greenzmq.Socket(shadow=first)) is state_of(earlier)


@pytest.mark.parametrize("ends", ["a message", "a time limit"])
def test_what_is_known_goes_with_the_last_object(hub, context, ends):
    """No cycle keeps a socket's state, with its queues and its watch, once a wait on it is over."""
    plain = context.socket(zmq.PULL, zmq.Socket)
    plain.bind("inproc://dropped")
    push = context.socket(zmq.PUSH)
    push.connect("inproc://dropped")

    def wait() -> Any:
        shadow = greenzmq.Socket(shadow=plain)
        if ends == "a message":
            wait_once(hub, shadow, push)
        else:
            shadow.rcvtimeo = 1
            with pytest.raises(zmq.Again):
                shadow.recv()
        return weakref.ref(state_of(shadow))

    gc.disable()
    try:
        known = hub.spawn(wait).get()
        hub.sleep(0)  # the loop was in the middle of a callback
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("namespace", [greenzmq.selector, greenzmq.threading], ids=["selector", "threading"])
def test_what_is_known_goes_after_the_end_of_its_thread(namespace):
    """The loop of a thread that has ended keeps nothing, although other threads cannot close the watches there.

    Seen to be kept by a lazily stopped watch until the next garbage collection.
    """
    known: list[weakref.ref[Any]] = []
    sockets: list[greenzmq.Socket] = []

    def wait() -> None:
        push, pull = connected(context, zmq.PUSH, zmq.PULL)
        pull.rcvtimeo = 5000
        for _ in range(3):
            wait_once(namespace.hub(), pull, push)
        sockets.extend((push, pull))
        known.append(weakref.ref(state_of(pull)))

    with namespace.Context() as context:
        gc.disable()
        try:
            thread = threading.Thread(target=wait)
            thread.start()
            thread.join()
            del context.__dict__["kept"], thread
            for socket in sockets:
                socket.close(linger=0)
            del socket
            sockets.clear()
            eventually(lambda: known[0]() is None)  # a task of native threads is done a moment before its thread ends
        finally:
            gc.enable()


def test_stopped_in_the_middle_of_a_callback(hub, push_pull):
    """Another thread, whose wait has ended, may stop the watch while the home's loop calls back.

    Seen to be an error in the loop.
    """
    push, pull = push_pull
    assert pull.underlying
    wait_once(hub, pull, push)
    duplicate: Any = watch_of(pull).callback
    called: list[bool] = []

    def scene(at: int) -> bool:
        duplicate.calls(lambda: called.append(True))
        interruption = Interruption(at, lambda: duplicate.calls(None))
        interruption.call(duplicate)
        return interruption.happened

    at_each_bytecode(scene, 1)
    assert called


def test_interrupted_as_the_first_send_begins(hub, context):
    """Whatever a signal handler raises there, what is left is of this socket, and no other can get its place in memory.

    Seen to be left alone: a later socket would have got the direction, and its cached time limit, with the place.
    """

    def scene(at: int) -> bool:
        one, other = connected(context, zmq.PAIR, zmq.PAIR)

        def fail() -> None:
            raise KeyboardInterrupt

        interruption = Interruption(at, fail)
        try:
            interruption.call(state_of(one).begin_sending)
        except KeyboardInterrupt:
            pass
        left = directions_being_made()
        assert all(kept is state_of(one) for kept, _ in left.values())
        left.clear()
        one.send(b"sent")
        assert other.recv() == b"sent"
        one.close()
        other.close()
        return interruption.happened

    at_each_bytecode(scene, 3)
