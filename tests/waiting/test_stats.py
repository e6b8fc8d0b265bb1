"""`greenzmq.stats`: what is counted is what was done, on every hub; and nothing stays behind when nobody counts."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.aio import a_pair, finished, on_loops, until_receiving
from support.asyncio import loop_name
from support.children import Child, run
from support.forked import RUNTIMES
from support.inside import (
    asks,
    expect_eagain,
    fast_sends_left,
    forget_no_state,
    is_counted,
    sees_signal,
    waits_are_counted,
)
from support.sockets import address, connected, each, open_context, parked, receives, until

import greenzmq
import greenzmq.aio
from greenzmq.waiting.waiter import Waiter

__all__ = ["loop_name"]

#: How long a greenlet keeps its hub. Only lower bounds are asserted.
LONG = 0.03


@pytest.fixture(autouse=True)
def nothing_is_left():
    """After each test nothing is counted."""
    yield
    assert not waits_are_counted()


def keep_the_hub(noticed: Callable[[], bool]) -> None:
    """Keep the thread until this is noticed by another one, and for a while after."""
    while not noticed():
        time.sleep(0.001)
    time.sleep(LONG)


# -- messages ---------------------------------------------------------------------------------------------------------

#: Ways to send one message and to receive it.
MESSAGES: dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]] = {
    "part": (lambda s: s.send(b"m"), lambda s: s.recv()),
    "no-copy": (lambda s: s.send(b"m", copy=False), lambda s: s.recv(copy=False)),
    "tracked": (lambda s: s.send(b"m", copy=False, track=True), lambda s: s.recv(copy=False, track=True)),
    "multipart": (lambda s: s.send_multipart([b"m", b"n"]), lambda s: s.recv_multipart()),
    "string": (lambda s: s.send_string("m"), lambda s: s.recv_string()),
    "noblock": (lambda s: s.send(b"m", zmq.NOBLOCK), lambda s: s.recv(zmq.NOBLOCK)),
    "into": (lambda s: s.send(b"m"), lambda s: s.recv_into(bytearray(1))),
    "parts": (lambda s: (s.send(b"m", zmq.SNDMORE), s.send(b"n")), lambda s: (s.recv(), s.recv())),
    "mixed": (
        lambda s: (s.send_multipart([b"l", b"m"], zmq.SNDMORE), s.send(b"n")),
        lambda s: (s.recv(), s.recv_multipart()),
    ),
}


@each("way", MESSAGES)
def test_messages(push_pull, way):
    """Each is one message, of however many parts. While nobody has to wait that is all there is to count."""
    send, receive = MESSAGES[way]
    push, pull = push_pull
    with greenzmq.stats(push) as of_push, greenzmq.stats(pull) as of_pull:
        for _ in range(3):
            send(push)
        for _ in range(3):
            receive(pull)
        with pytest.raises(zmq.Again):
            pull.recv(zmq.NOBLOCK)
    for counted, sent, received in ((of_push, 3, 0), (of_pull, 0, 3)):
        assert (counted.sent, counted.received) == (sent, received)
        assert (counted.waits, counted.switches, counted.events_reads, counted.lag.count) == (0, 0, 0, 0)


def test_afterwards_all_is_as_before(hub, push_pull):
    """The socket is fast again and has its own class once the last one has stopped."""
    push, pull = push_pull
    push.send(b"m")
    pull.recv()
    its_class = type(push._greenzmq_state)
    before = fast_sends_left(push)
    first = greenzmq.stats(push)
    with greenzmq.stats(push) as second:
        push.send(b"m")
        assert fast_sends_left(push) == 0
        first.stop()
        assert is_counted(push)
        push.send(b"m")
    assert (first.sent, second.sent) == (1, 2)
    assert type(push._greenzmq_state) is its_class
    push.send(b"m")
    push.send(b"m")
    assert (first.sent, second.sent) == (1, 2)
    assert fast_sends_left(push) > 0 < before
    assert [pull.recv() for _ in range(4)] == [b"m"] * 4


def test_a_socket_that_alternates(hub, context):
    """A REQ and a REP work as ever: what is out of order is an error, and nothing is counted for it."""
    rep, req = connected(context, zmq.REP, zmq.REQ)
    with greenzmq.stats(req) as of_req, greenzmq.stats(rep) as of_rep:
        task = hub.spawn(lambda: [rep.send(rep.recv()) for _ in range(3)])
        for _ in range(3):
            req.send(b"question")
            with pytest.raises(zmq.ZMQError, match="cannot be accomplished"):
                req.send(b"another")
            assert req.recv() == b"question"
            with pytest.raises(zmq.ZMQError, match="cannot be accomplished"):
                req.recv()
        task.get()
    assert (of_req.sent, of_req.received, of_rep.sent, of_rep.received) == (3, 3, 3, 3)


class OwnSocket(greenzmq.Socket):
    """Whole messages go part by part through these."""

    def send(self, *args: Any, **kwargs: Any) -> Any:
        return super().send(*args, **kwargs)

    def recv(self, *args: Any, **kwargs: Any) -> Any:
        return super().recv(*args, **kwargs)


def test_other_views_and_classes(hub, push_pull, context):
    """A socket is one, by whatever object it is used: one that shadows it, or one of a class with its own `send`."""
    push, pull = push_pull
    own = OwnSocket(shadow=push)
    with greenzmq.stats(push) as counted, greenzmq.stats(own) as of_own:
        own.send_multipart([b"l", b"m"])
        push.send(b"n")
        greenzmq.Socket(shadow=push).send(b"o")
    assert (counted.sent, of_own.sent) == (3, 3)
    assert [pull.recv_multipart() for _ in range(3)] == [[b"l", b"m"], [b"n"], [b"o"]]


# -- waits ------------------------------------------------------------------------------------------------------------


def test_waits(hub, pair):
    """A receiver that waits is one wait, with one switch, and a lag that is not negative; reads of EVENTS are few."""
    one, other = pair
    with greenzmq.stats(one) as counted:
        for number in range(1, 4):
            task = parked(hub, receives, one.recv)
            assert (counted.waits, counted.switches) == (number - 1, number)
            other.send(b"m")
            assert task.get() == b"m"
            assert (counted.waits, counted.received, counted.lag.count) == (number, number, number)
    assert 1 <= counted.events_reads <= 6
    with greenzmq.stats(one) as of_one:
        other.send(b"m")
        expect_eagain(one)
        one.recv()  # stands in the queue, but need not park
    assert (of_one.waits, of_one.switches, of_one.events_reads, of_one.lag.count) == (0, 0, 1, 0)
    assert 0 <= counted.lag.mean <= counted.lag.max


def test_a_poll_waits_too(hub, pair):
    """`Socket.poll` that waits; one that need not is a read of EVENTS."""
    one, other = pair
    with greenzmq.stats(one) as counted:
        assert one.poll(0) == 0
        assert (counted.events_reads, counted.waits) == (1, 0)
        assert one.EVENTS == zmq.POLLOUT
        assert counted.events_reads == 2
        task = hub.spawn(one.poll)
        until(hub, lambda: counted.switches)
        other.send(b"m")
        assert task.get() == zmq.POLLIN
    assert (counted.waits, counted.switches, counted.received, counted.lag.count) == (1, 1, 0, 1)


def test_a_wait_in_vain(hub, pair):
    """One that is killed has no lag; one whose time is over has one, from then on."""
    one, _ = pair
    with greenzmq.stats(one) as counted:
        task = parked(hub, receives, one.recv)
        task.kill()
        assert (counted.waits, counted.switches, counted.lag.count) == (1, 1, 0)
        one.rcvtimeo = 1
        with pytest.raises(zmq.Again):
            one.recv()
    assert (counted.waits, counted.lag.count, counted.received) == (2, 1, 0)


def test_a_wait_that_began_before(hub, pair):
    """It is not counted, but what it receives is. One that ends after the counting does no harm."""
    one, other = pair
    task = parked(hub, receives, one.recv)
    with greenzmq.stats(one) as counted:
        other.send(b"m")
        task.get()
        assert (counted.received, counted.waits) == (1, 0)
        task = parked(hub, receives, one.recv)
    other.send(b"m")
    assert task.get() == b"m"
    assert counted.received == 1


def test_the_end_of_a_turn(hub):
    """A yield of a hot loop is a wait and a switch, without a lag."""
    with open_context(hub, turn=0.001) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=0, rcvhwm=0)
        with greenzmq.stats(push) as counted:
            while not counted.switches:
                push.send(b"m")
        assert (counted.waits, counted.switches, counted.lag.count) == (1, 1, 0)
        assert counted.sent >= 1
        pull.close()


# -- the lag ----------------------------------------------------------------------------------------------------------


def test_lag_of_a_socket(hub, pair):
    """While a greenlet keeps the hub a message waits, and that is seen: from the signal on, not from the next round."""
    one, other = pair
    with greenzmq.stats(one) as counted:
        task = parked(hub, receives, one.recv)
        other.send(b"m")
        keep_the_hub(lambda: sees_signal(counted))
        task.get()
        assert counted.lag.max >= LONG
        counted.reset()
        task = parked(hub, receives, one.recv)
        assert not sees_signal(counted)  # the last one is used
        task.kill()


def test_lag_of_a_time_limit(hub, pair):
    """A receiver whose time is over while a greenlet keeps the hub goes on too late by that."""
    one, _ = pair
    one.rcvtimeo = 1

    def keep_it() -> None:
        over = time.monotonic() + 0.001
        keep_the_hub(lambda: time.monotonic() > over)

    with greenzmq.stats(one) as counted:
        task = hub.spawn(one.recv)
        keeper = hub.spawn(keep_it)  # its turn comes next, before the hub looks at the time
        with pytest.raises(zmq.Again):
            task.get()
        keeper.get()
    assert counted.lag.max >= LONG


@pytest.mark.cooperative("a thread of its own may block")
def test_lag_of_a_hub(hub):
    """A greenlet that keeps the hub shows, whether or not anybody waits; also if the hub has not gone round since."""
    with greenzmq.stats(hub) as counted:
        keep_the_hub(lambda: asks(counted))
        until(hub, lambda: counted.lag.max >= LONG)
        counted.reset()
        keep_the_hub(lambda: asks(counted))
    assert counted.lag.max >= LONG


# -- hubs -------------------------------------------------------------------------------------------------------------


def test_a_hub(hub, push_pull):
    """All sockets, those that are made later, too; and waits of every kind."""
    push, pull = push_pull
    with greenzmq.stats(hub) as counted, greenzmq.stats(hub.hub) as of_hub:
        with open_context(hub) as later:
            one, other = connected(later, zmq.PAIR, zmq.PAIR)
            assert is_counted(one) is is_counted(push) is True
            for sender, receiver in ((push, pull), (one, other)):
                sender.send(b"m")
                receiver.recv()
        hub.sleep(0.001)
        hub.sleep()
        queue: Any = greenzmq.Queue()
        task = hub.spawn(queue.get)
        until(hub, lambda: counted.switches > 2)
        queue.put(1)
        task.get()
    assert not is_counted(push)
    for each_of in (counted, of_hub):
        assert (each_of.sent, each_of.received) == (2, 2)
        assert each_of.switches >= each_of.waits >= 3


@pytest.mark.cooperative("its hubs count as one")
def test_another_threads_work(hub, push_pull):
    """What another thread does with a socket is not its hub's."""
    push, pull = push_pull
    with greenzmq.stats(hub) as counted, greenzmq.stats(push) as of_push:
        hub.run_in_thread(push.send, b"m")
        pull.recv()
    assert (counted.sent, counted.received, of_push.sent) == (0, 1, 1)


@pytest.mark.runtime("threads")
def test_threads(hub, context):
    """Messages and waits of many threads on one socket are counted exactly."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=2, rcvhwm=2)
    with greenzmq.stats(push) as of_push, greenzmq.stats(pull) as of_pull, greenzmq.stats(hub) as of_hub:
        senders = [hub.spawn(lambda: [push.send(b"m") for _ in range(100)]) for _ in range(4)]
        receivers = [hub.spawn(lambda: [pull.recv() for _ in range(100)]) for _ in range(4)]
        for task in senders + receivers:
            task.get()
    assert (of_push.sent, of_pull.received) == (400, 400)
    assert (of_hub.sent, of_hub.received) == (400, 400)
    assert of_push.waits + of_pull.waits <= of_hub.waits


def test_another_kind_of_waiter(hub):
    """A subclass that sets its fields itself is counted, also if its module is imported later; and once, if not."""
    inits = Waiter.__init__
    with greenzmq.stats(hub) as counted:

        class OwnWaiter(Waiter):
            __slots__ = ()

            def __init__(self, hub: Any) -> None:
                super().__init__(hub, 0.0)

        waiter = OwnWaiter(hub.hub)
        waiter.park()
        waiter.close()
    assert (counted.waits, counted.switches) == (1, 1)
    assert Waiter.__init__ is inits
    waiter = OwnWaiter(hub.hub)
    waiter.close()
    assert counted.waits == 1


# -- asyncio ----------------------------------------------------------------------------------------------------------


@on_loops
async def test_awaitable_sockets() -> None:
    """A task that awaits is counted as a greenlet that waits; a cancelled one has no lag; the loop is a hub."""
    async with a_pair() as (push, pull):
        with greenzmq.stats(push) as of_push, greenzmq.stats(pull) as of_pull:
            for _ in range(2):
                await push.send(b"m")
                await push.send_multipart([b"m", b"n"])
                assert (await pull.recv(), await pull.recv_multipart()) == (b"m", [b"m", b"n"])
            assert (of_push.sent, of_pull.received) == (4, 4)
            assert (of_pull.waits, of_pull.switches, of_pull.lag.count) == (0, 0, 0)
            waiting = asyncio.ensure_future(finished(pull.recv()))
            await until_receiving(pull)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (of_pull.waits, of_pull.switches, of_pull.lag.count) == (1, 1, 0)
            waiting = asyncio.ensure_future(finished(pull.recv()))
            await until_receiving(pull)
            await push.send(b"m")
            keep_the_hub(lambda: sees_signal(of_pull))
            assert await waiting == b"m"
            assert (of_pull.waits, of_pull.switches, of_pull.received) == (2, 2, 5)
            assert of_pull.lag.max >= LONG
            unawaited = pull.recv()
            await push.send(b"m")
            assert (unawaited.result(), of_pull.received, of_pull.waits) == (b"m", 6, 2)
        await push.send(b"m")
        await pull.recv()
        assert of_push.sent == 6


# -- the object -------------------------------------------------------------------------------------------------------


def test_the_object(push_pull):
    """It is read live, set to 0, and shown; when it is gone nothing is counted."""
    push, pull = push_pull
    counted = greenzmq.stats(push)
    push.send(b"m")
    shown = repr(counted)
    assert f"{push!r} for " in shown
    assert "1 sent, 0 received, 0 waits, 0 switches, 0 reads of EVENTS, no lag>" in shown
    names = {"sent", "received", "waits", "switches", "events_reads", "seconds", "lag_count", "lag_mean", "lag_max"}
    assert counted.as_dict().keys() == names
    assert counted.as_dict()["sent"] == 1
    before = counted.seconds
    assert counted.seconds >= before > 0
    counted.reset()
    push.send(b"m")
    assert (counted.sent, counted.is_counting) == (1, True)
    counted.stop()
    counted.stop()
    push.send(b"m")
    assert (counted.sent, counted.is_counting) == (1, False)
    assert counted.seconds == counted.seconds
    assert "stopped after" in repr(counted)
    counted.reset()
    assert (counted.sent, counted.seconds) == (0, 0)
    assert [pull.recv() for _ in range(3)] == [b"m"] * 3


def test_it_is_dropped(hub, push_pull):
    """Nobody can read it any more, so its counting ends."""
    push, _ = push_pull
    counted = greenzmq.stats(push)
    assert is_counted(push)
    del counted
    gc.collect()
    until(hub, lambda: not is_counted(push) and not waits_are_counted())


def test_a_closed_socket(hub, context):
    """What was counted can be read after the close; a closed one cannot be counted."""
    _, push = connected(context, zmq.PULL, zmq.PUSH)
    with greenzmq.stats(push) as counted:
        push.send(b"m")
        push.close()
        assert counted.sent == 1
    assert counted.sent == 1
    with pytest.raises(zmq.ZMQError):
        greenzmq.stats(push)


def test_sockets_come_and_go(hub, monkeypatch):
    """Of many sockets, one after the other, each is counted, though their states get the same addresses; also where a
    signal handler's exception has kept it from being forgotten that one has gone."""
    for forgets in (True, False):
        if not forgets:
            forget_no_state(monkeypatch)
        with greenzmq.stats(hub) as counted, open_context(hub) as context:
            for _ in range(5):
                with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
                    one.bind(address("inproc"))
                    other.connect(one.last_endpoint.decode())
                    one.send(b"m")
                    other.recv()
                del one, other
        assert (counted.sent, counted.received) == (5, 5)


def test_wrong_arguments():
    """What cannot be counted is said, with the cure."""
    context = zmq.Context()
    with context, context.socket(zmq.PULL) as socket, pytest.raises(TypeError, match=r"make it by greenzmq\.Context"):
        greenzmq.stats(socket)  # type: ignore[arg-type]
    for wrong in (None, "gevent", 1, greenzmq.Socket):
        with pytest.raises(TypeError, match=r"stats\(\) takes a green or awaitable socket, or a hub"):
            greenzmq.stats(wrong)  # type: ignore[arg-type]


def test_begin_and_end_in_threads(push_pull):
    """Many threads begin and end at once: in the end nothing is counted."""
    push, _ = push_pull

    def begin_and_end() -> None:
        for _ in range(50):
            greenzmq.stats(push).stop()

    threads = [threading.Thread(target=begin_and_end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not is_counted(push)


FORKS = """
import os, greenzmq
hub, context = greenzmq.hub("selector"), greenzmq.Context(hub="selector")
counted = greenzmq.stats(hub)
if os.fork():
    _, status = os.wait()
    raise SystemExit(status)
one, other = context.__class__(hub="selector").socket(greenzmq.PAIR), None
while not counted.lag.count:
    hub.sleep(0.001)
assert counted.waits
os._exit(0)
"""


def test_a_forked_child():
    """It goes on to count, with a thread of its own."""
    done = run(Child(FORKS, watchdog=False, imported=RUNTIMES))
    assert (done.status, done.out, done.err) == (0, "", "")
