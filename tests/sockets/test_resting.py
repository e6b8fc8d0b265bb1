"""What a socket keeps from wait to wait: its watch with the loop, a waiter, its timeouts; and when it must not.

That they are used again is counted in test_path_length.py, that a watch rests is part of the contract of hubs.
"""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.inside import expect_eagain, replace_get, state_of, watch_of
from support.invariants import idle
from support.sockets import (
    connected,
    descriptor,
    go_round_without,
    never_switches,
    open_context,
    parked,
    receives,
    until,
)

import greenzmq
import greenzmq.selector
from greenzmq.hubs import Watch


def wait_once(hub: greenzmq.GreenHub, pull: greenzmq.Socket, push: greenzmq.Socket) -> None:
    task = parked(hub, receives, pull.recv)
    push.send(b"waited for")
    assert task.get() == b"waited for"


def in_thread(function: Callable[[], object]) -> None:
    """Call it in a native thread; what it raises comes out."""
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if outcome:
        raise outcome[0]


def test_a_watch_rests_after_a_wait(hub, push_pull):
    """It stays with the loop after a wait, goes on with the next, and an event that nobody waits for stops it.

    gevent's libuv cannot have that: there it is stopped after each wait.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)  # after the first one of a thread that may sleep by itself, it is really stopped
    for _ in range(3):
        wait_once(hub, pull, push)
        watch = watch_of(pull)
        assert (watch.started, watch.lazily_stopped) == (hub.hub.supports_lazy_stop, hub.hub.supports_lazy_stop)
    assert pull.poll(0) == 0  # or the next message would need no signal
    push.send(b"for nobody")
    until(hub, lambda: not watch.started)
    assert not watch.lazily_stopped
    assert pull.recv() == b"for nobody"
    wait_once(hub, pull, push)


def test_a_hub_that_does_something_when_it_stops_lazily(hub, push_pull):
    """Its own `stop_lazily` is called after each wait, however its watches call back.

    Seen to be passed over, when a socket only set the flag: as the base class would.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    watch: Any = watch_of(pull)
    stops: list[bool] = []

    class OwnWatch(type(watch)):  # type: ignore[misc]
        __slots__ = ()
        _fire = __call__ = Watch._fire

        def stop_lazily(self) -> None:
            stops.append(self.started)
            Watch.stop_lazily(self)

    watch.stop()
    watch.__class__ = OwnWatch
    for _ in range(3):
        wait_once(hub, pull, push)
    assert stops == [True] * 3


def test_closed_in_another_thread_before_the_loop_goes_round(hub, push_pull):
    """A receiver that was about to wait got its message at once; then another thread closes the socket, and the
    descriptor is gone before the loop has come to see it: the loop hears nothing of it.

    Seen to abort the process on uvloop and both of gevent's, when a watch rested that had never called back.
    """
    push, pull = push_pull
    fd = descriptor(pull)
    expect_eagain(pull)  # so that it looks, and begins to wait, before it tries
    push.send(b"x")
    with never_switches():
        assert pull.recv() == b"x"
    in_thread(pull.close)
    push.close()
    go_round_without(hub, fd)
    idle(pull)


def test_who_asks_for_the_address_ends_the_rest(hub, push_pull, monkeypatch):
    """In whatever thread that is, the loop is touched in its own.

    Seen to fail when the one who asked stopped the watch.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    watch = watch_of(pull)
    threads = []
    disarm = type(watch)._disarm
    monkeypatch.setattr(type(watch), "_disarm", lambda self: (threads.append(threading.get_ident()), disarm(self))[1])
    in_thread(lambda: pull.underlying)
    until(hub, lambda: not watch.started)
    assert set(threads) <= {hub.hub.thread_id}
    wait_once(hub, pull, push)
    assert not watch.started


def test_who_asks_for_the_address_leaves_the_next_wait_alone(hub, push_pull):
    """The wait may begin before the loop hears of it.

    Seen to hang when the watch was stopped then, though it was at work again.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    in_thread(lambda: pull.underlying)
    hub.hub.call_later(0.01, push.send, b"x")
    with hub.timeout(5):
        assert pull.recv() == b"x"


def test_a_socket_that_was_handed_on_takes_nothing_along(hub):
    """A socket that has waited on one hub waits on another one's thread, and on the first again.

    Seen to fail when a waiter was kept for the next wait: its old hub went on to resume it, in the wrong thread.
    """
    context = greenzmq.Context()
    try:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        wait_once(hub, pull, push)
        begun, received = threading.Event(), []

        def receive() -> None:
            here = greenzmq.selector.hub()
            task = here.spawn(pull.recv)
            until(here, lambda: receives(pull))
            begun.set()
            received.append(task.get())

        thread = threading.Thread(target=receive)
        thread.start()
        assert begun.wait(10)
        push.send(b"over there")
        thread.join()
        assert received == [b"over there"]
        wait_once(hub, pull, push)
    finally:
        context.destroy(linger=0)


def test_in_the_hub_itself_after_a_wait(hub, push_pull):
    """A callback of the hub that would have to wait is refused, though a waiter is at hand; the socket goes on.

    Seen to fail when only who made a new waiter was refused.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    outcome: list[BaseException] = []

    def receive() -> None:
        try:
            pull.recv()
        except BaseException as error:
            outcome.append(error)

    hub.hub.call_soon(receive)
    until(hub, lambda: outcome)
    assert isinstance(outcome[0], greenzmq.BlockingCallError)
    idle(pull)
    wait_once(hub, pull, push)


@pytest.mark.parametrize("limit", [zmq.NOBLOCK, 0], ids=["NOBLOCK", "timeout of 0"])
def test_who_may_not_wait_beside_one_who_does(hub, limit):
    """NOBLOCK and a timeout of 0 are one: Again with nothing there, a message that is there, and the other waits on.

    Seen to fail when under a timeout of 0 nothing was tried where others wait.
    """
    with open_context(hub, turn=0) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        wait_once(hub, pull, push)
        other = parked(hub, receives, pull.recv)
        if not limit:
            pull.rcvtimeo = 0
        with never_switches():
            with pytest.raises(zmq.Again):
                pull.recv(limit)
            push.send(b"for who comes now")
            assert pull.recv(limit) == b"for who comes now"
        assert not other.done
        push.send(b"for the other")
        assert other.get() == b"for the other"
        idle(pull)


def test_an_interrupted_set_leaves_no_old_timeout(hub, context, push_pull, monkeypatch):
    """What comes out of `set` after libzmq has taken the value, as Ctrl-C may, does not keep the next wait from it.

    Seen to fail when the timeout was forgotten only after a `set` that returned.
    """
    push, pull = push_pull
    wait_once(hub, pull, push)
    set_option = zmq.Socket.set

    def interrupted(*args: Any) -> None:
        set_option(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zmq.Socket, "set", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pull.rcvtimeo = 1
    with hub.timeout(5), pytest.raises(zmq.Again):
        pull.recv()


def test_a_timeout_that_is_set_while_it_is_asked_for(hub, push_pull, monkeypatch):
    """A signal handler sets it just after a wait has read it: the next wait has the new one.

    Seen to fail when what was read was kept without a look whether it was set meanwhile.
    """
    push, pull = push_pull

    def asked(get: Callable[..., int], socket: Any, option: int) -> int:
        value = get(socket, option)
        if option == zmq.RCVTIMEO:
            monkeypatch.undo()
            pull.rcvtimeo = 1
        return value

    replace_get(monkeypatch, asked)
    wait_once(hub, pull, push)
    with hub.timeout(5), pytest.raises(zmq.Again):
        pull.recv()


def test_a_dropped_socket_takes_all_of_it_along(hub):
    """A socket that is dropped after a wait, without close(), is collected with what it kept; the loop forgets it."""
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        wait_once(hub, pull, push)
        state, kind, fd = weakref.ref(state_of(pull)), type(watch_of(pull)), descriptor(pull)
        del context.__dict__["kept"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del pull
            until(hub, lambda: state() is None)
        assert [each for each in gc.get_objects() if type(each) is kind and each.fd == fd] == []
        assert fd not in hub.hub.readers
