"""Who is killed while it waits, where it stands and by what: it costs nobody a message, and the queue is clean."""

from __future__ import annotations

import time
from typing import Any

import pytest
import zmq
from support.inside import parked_on, receivers_of
from support.invariants import check, idle
from support.sockets import connected, open_context, parked, receives, sends, until
from support.tasks import foreign_spawn
from support.waiters import (
    drain,
    fill_up,
    from_fd_callback,
    parked_soon,
    plain,
    signalled,
    waiting_receiver,
    waiting_sender,
)

import greenzmq


def test_timeout_block_around_a_wait(hub, push_pull):
    """``hub.timeout`` ends a wait in the round in which the message comes: the message is received by it or by the
    next.
    """
    push, pull = push_pull

    def limited() -> list[bytes] | None:
        with hub.timeout(0.002, False):
            return pull.recv_multipart()
        return None

    for n in range(30):
        task = hub.spawn(limited)
        until(hub, lambda task=task: receives(pull) or task.done)
        if n % 2:
            signalled_late(push, n)
            pull.get(zmq.EVENTS)
        else:
            signalled_late(push, n)
        got = [task.get()] if task.get() else []
        assert got + drain(pull) == [[b"%d" % n]]
        idle(pull)


def signalled_late(push: greenzmq.Socket, n: int) -> None:
    """A message that comes just when a limit of 2 ms has gone by, without the hub."""
    signalled(push, 0.002)
    plain(push).send(b"%d" % n)


def test_foreign_timeout_around_a_wait(hub):
    """gevent's, or eventlet's, own Timeout comes out of a wait as itself, and the next receiver gets the message."""
    runtime = pytest.importorskip(hub.name) if hub.name in ("gevent", "eventlet") else greenzmq
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)

        def limited() -> BaseException | None:
            limit = runtime.Timeout(0.005)
            start = getattr(limit, "start", None)
            if start is not None and hub.name == "gevent":
                start()
            try:
                if hub.name in ("gevent", "eventlet"):
                    pull.recv()
                else:
                    with hub.timeout(0.005) as limit:
                        pull.recv()
            except runtime.Timeout as error:
                return error if error is limit else None
            finally:
                getattr(limit, "cancel", lambda: None)()
            return None

        target = hub.spawn(limited)
        until(hub, lambda: receives(pull))
        task = waiting_receiver(hub, pull)
        until(hub, lambda: target.done)
        assert target.get() is not None
        check(pull)
        push.send(b"m")
        assert task.get() == [b"m"]
        idle(pull)


def test_foreign_kill(hub, push_pull):
    """A greenlet of gevent's or eventlet's own is killed their way as its message comes: it has it, or the next one."""
    push, pull = push_pull
    got: list[bytes] = []
    for n in range(10):
        tasks = [foreign_spawn(hub, lambda: got.append(pull.recv())), hub.spawn(lambda: got.append(pull.recv()))]
        until(hub, lambda: len(receivers_of(pull)) == 2)
        push.send(b"%d" % n)
        if n % 2:
            pull.get(zmq.EVENTS)
        tasks[0].kill()
        until(hub, lambda n=n: len(got) > n)
        tasks[1].kill()
        idle(pull)
    assert got == [b"%d" % n for n in range(10)]


def test_filled_again_before_the_sender_runs(hub, context):
    """The room of a woken sender is taken again and again: it keeps its place and sends when there is room at last."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
    task = waiting_sender(hub, push, [b"patient"])
    for _ in range(10):
        drain(pull)
        push.get(zmq.EVENTS)
        fill_up(push, [b"rival"])
        hub.sleep()
        check(push)
    drain(pull)
    assert task.join(5)
    assert drain(pull) == [[b"patient"]]
    idle(push)


@pytest.mark.parametrize("end", ["close", "term"])
def test_end_wakes_everybody(hub, context, end):
    """All who wait on a socket, whichever way, learn at once that it is closed, or its context ended, though nobody
    touches it any more."""
    one, other = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1, linger=0)
    tasks = [waiting_receiver(hub, one) for _ in range(3)]
    tasks += [waiting_sender(hub, one, [b"m"]), *(parked(hub, sends, one.send, b"m") for _ in range(2))]
    tasks += [hub.spawn(one.poll) for _ in range(2)]
    until(hub, lambda: parked_on(one) == len(tasks))
    ending = hub.spawn(getattr(one if end == "close" else context, end))
    for task in tasks:
        with pytest.raises(zmq.ZMQError) as caught:
            task.get(timeout=5)
        assert caught.value.errno == (zmq.ENOTSOCK if end == "close" else zmq.ETERM)
    if end == "term":
        idle(one)
        one.close()
        other.close()
    assert ending.join(5)


def test_message_before_the_deadline(hub, context):
    """The message came before RCVTIMEO ended, but the hub was busy until after: the first in the queue receives it, as
    from libzmq, and the second times out.

    Seen to fail when a waiter that had expired did not try once more.
    """
    receiver, sender = connected(context, zmq.PULL, zmq.PUSH)
    receiver.rcvtimeo = 10
    for _ in range(50):  # once does it, unless this machine takes ten milliseconds to get there
        first, second = (parked_soon(hub, receiver, n + 1) for n in range(2))
        in_time: list[bool] = []

        def come(first=first, in_time=in_time) -> None:
            if not first.done:
                in_time.append(True)
                plain(sender).send(b"m")
                time.sleep(0.02)

        from_fd_callback(hub, come)  # so that the timers come before the next look at descriptors
        if in_time:
            assert first.get() == [b"m"]
            with pytest.raises(zmq.Again):
                second.get()
            return
        assert outcomes([first, second]) == []
    raise AssertionError("never in time")


@pytest.mark.parametrize("look", [True, False], ids=["woken-first", "signal-only"])
def test_woken_as_it_expires(hub, context, look):
    """The message comes in the very round in which RCVTIMEO ends: the waiter has it, or the next one gets it; never
    both, never neither.
    """
    receiver, sender = connected(context, zmq.PULL, zmq.PUSH)
    for n in range(20):
        receiver.rcvtimeo = 2
        task = parked_soon(hub, receiver, 1)
        time.sleep(0.001 if n % 4 == 0 else 0.003)  # the hub finds the message and the deadline together
        sender.send(b"%d" % n)
        if look:
            receiver.get(zmq.EVENTS)
        assert task.join(5)
        assert outcomes([task]) + drain(receiver) == [[b"%d" % n]]


def outcomes(tasks: list[greenzmq.Task[Any]]) -> list[Any]:
    """What those tasks got that were neither killed nor timed out."""
    got: list[Any] = []
    for task in tasks:
        try:
            result: Any = task.get()
        except (zmq.Again, greenzmq.Timeout):
            continue
        if not isinstance(result, BaseException):
            got.append(result)
    return got
