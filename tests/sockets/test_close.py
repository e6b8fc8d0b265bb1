"""close() under whoever waits, from wherever it is called: in any greenlet, in the hub, between any two bytecodes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from programs.close import ROUNDS, WAITS
from support import torture
from support.children import Child, Children, need
from support.forked import GREENZMQ
from support.hub_thread import new_descriptors, open_descriptors
from support.inside import expect_eagain, listeners_of, parked_on, receivers_of, replace_waiter, senders_of
from support.interruptions import Interruption
from support.invariants import idle
from support.polling import goes_on
from support.random import seeded_random
from support.sockets import (
    address,
    connected,
    descriptor,
    fill,
    go_round_without,
    is_open,
    never_switches,
    open_context,
    parked,
    receives,
    tick,
    until,
)

import greenzmq
from greenzmq.waiting.waiter import Waiter


def in_a_greenlet(hub: greenzmq.GreenHub, close: Callable[[], object]) -> None:
    with never_switches():
        close()


def in_the_hub(hub: greenzmq.GreenHub, close: Callable[[], object]) -> None:
    hub.hub.call_soon(close)
    hub.sleep()


def in_the_finally_of_a_killed_greenlet(hub: greenzmq.GreenHub, close: Callable[[], object]) -> None:
    def run() -> None:
        try:
            hub.sleep(60)
        finally:
            close()

    task = hub.spawn(run)
    tick(hub, task)
    task.kill()


def in_a_finalizer(hub: greenzmq.GreenHub, close: Callable[[], object]) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            close()

    Cycle()
    gc.collect()


@pytest.mark.parametrize(
    "where", [in_a_greenlet, in_the_hub, in_the_finally_of_a_killed_greenlet, in_a_finalizer], ids=lambda f: f.__name__
)
def test_close_tells_all_who_wait(hub, context, where):
    """Whatever waits gets ENOTSOCK at once, in the rounds that it takes to run them all, wherever the socket is closed;
    nobody touches it any more. A second close changes nothing.

    Seen to fail when `close` woke nobody; eventlet.green.zmq and zmq.green leave them waiting for good.
    """
    socket, _ = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    context.kept.append(context.socket(zmq.PAIR))
    fill(socket)
    tasks = {}
    for name, wait in WAITS.items():
        tasks[name] = hub.spawn(wait, socket)
    tick(hub, *tasks.values())

    def close() -> None:
        socket.close()
        socket.close()

    where(hub, close)
    assert socket.closed
    goes_on(hub, *tasks.values(), at_once=True)
    for name, task in tasks.items():
        with pytest.raises(zmq.ZMQError) as caught:
            task.get()
        assert caught.value.errno == zmq.ENOTSOCK, name
    idle(socket)


# -- between two bytecodes --------------------------------------------------------------------------------------------

#: What the greenlet does during which the socket is closed, and what is done before.
SCENES: dict[str, tuple[Callable[[greenzmq.Socket], Any], Callable[[Any, Any], object] | None]] = {
    "recv": (WAITS["recv"], None),
    "recv, at hand": (WAITS["recv"], lambda socket, peer: (peer.send(b"x"), peer.send(b"x"))),
    "recv_multipart, limited": (lambda socket: (socket.set(zmq.RCVTIMEO, 60_000), socket.recv_multipart()), None),
    "send": (WAITS["send"], None),
    "send, full": (WAITS["send"], lambda socket, peer: fill(socket)),
    "poll": (WAITS["poll"], None),
    "Poller": (WAITS["Poller"], None),
}
#: Of how many bytecodes in a row a normal run takes one.
STRIDE = 1 if torture.FACTOR else 71


@pytest.mark.torture
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside others"])
def test_close_between_two_bytecodes(hub, beside):
    """A signal handler, or a finalizer, closes the socket at the k-th bytecode of an operation on it, for each k: the
    operation returns or gets ENOTSOCK, and so do the others that wait; no watch and no waiter is left.

    Seen to fail when `Waiter.park` noted that it was parked after it had asked whether it was woken, when nobody
    looked at `SocketState.ended`, without the guarantee of `Watch.start`, and when a Poller took a socket off its
    list after the look.
    """
    random = seeded_random()
    for name, scene in SCENES.items():
        at = random.randrange(STRIDE)
        while close_at(hub, at, name, scene, beside):
            at += STRIDE


def close_at(hub: greenzmq.GreenHub, at: int, name: str, scene: Any, beside: bool) -> bool:
    """Whether the operation got as far as that."""
    call, prepare = scene
    with open_context(hub) as context:
        socket, peer = connected(context, zmq.DEALER, zmq.DEALER, sndhwm=1, rcvhwm=1)
        fd = descriptor(socket)
        others = [hub.spawn(socket.recv), hub.spawn(socket.poll)] if beside else []
        until(hub, lambda: parked_on(socket) == len(others))
        if prepare is not None:
            prepare(socket, peer)
        interruption = Interruption(at, socket.close)
        task = hub.spawn(interruption.call, call, socket)
        for _ in range(20):
            if task.done or interruption.happened:
                break
            hub.sleep()
        socket.close()
        until(hub, lambda: all(each.done for each in (task, *others)))
        for each in (task, *others):
            # pyzmq's answer to a poll that had not begun is ENOTSUP.
            assert outcome(each) in {None, zmq.ENOTSOCK, zmq.ENOTSUP if name == "poll" else None}, f"{name}, {at}"
        assert fd not in {*hub.hub.readers, *hub.hub.writers}, f"{name}, {at}: a watch is left"
        left = parked_on(socket), receivers_of(socket), senders_of(socket), listeners_of(socket)
        assert not any(left), f"{name}, {at}"
        return interruption.happened


def outcome(task: greenzmq.Task[Any]) -> int | None:
    try:
        task.get()
    except zmq.ZMQError as error:
        return error.errno
    return None


# -- again and again --------------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_open_wait_close_many_times(hub, monkeypatch):
    """Sockets are opened, waited on and closed under their waiters, again and again, on the same few descriptors: each
    waiter is woken once, by what it waits for; nothing is left of the others.

    Seen to fail when `close` left its watch with the hub: the next socket on the number is then refused its own.
    """
    wakes: list[Any] = []
    made: list[Any] = []  # for sockets; a pause has a waiter, too
    wake, wake_now = Waiter.wake, Waiter.wake_now
    replace_waiter(monkeypatch, lambda *args: (made.append(Waiter(*args)), made[-1])[1])
    monkeypatch.setattr(Waiter, "wake", lambda self: (wakes.append(self), wake(self))[1])
    monkeypatch.setattr(Waiter, "wake_now", lambda self: (wakes.append(self), wake_now(self))[1])
    cycles = torture.scale(10_000, 30)
    with open_context(hub) as context:
        connected(context, zmq.PULL, zmq.PUSH)  # the context opens what it needs with its first sockets
        before = open_descriptors()
        for n in range(cycles):
            closed = context.socket(zmq.PULL)
            closed.bind(address("inproc"))
            fd = descriptor(closed)
            task = parked(hub, receives, closed.recv)
            wakes.clear()
            closed.close()
            until(hub, lambda fd=fd: not is_open(fd))
            pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            assert fd in (descriptor(pull), descriptor(push)), "the number is not used again: this proves nothing"
            pull.bind(address("inproc"))
            push.connect(pull.last_endpoint.decode())
            other = parked(hub, receives, pull.recv)
            push.send(b"%d" % n)
            assert other.get() == b"%d" % n
            with pytest.raises(zmq.ZMQError) as caught:
                task.get()
            assert caught.value.errno == zmq.ENOTSOCK
            fds = descriptor(pull), descriptor(push)
            pull.close()
            push.close()
            until(hub, lambda fds=fds: not any(map(is_open, fds)))
            idle(closed, pull)
            assert hub.hub.readers == {}
            woken = [waiter for waiter in wakes if waiter in made]
            assert len(woken) == len(set(map(id, woken))) == 2, n
            made.clear()
        assert not new_descriptors(before)


def test_a_plain_socket_is_closed_behind_the_hubs_back(hub, context):
    """A green object receives from a plain socket, which is then closed, and its descriptor gone, before the loop goes
    round: the loop hears nothing of it.

    Seen to fail when a stopped watch stayed with the loop: uvloop aborted the process.
    """
    plain, peer = context.socket(zmq.PULL, zmq.Socket), context.socket(zmq.PUSH, zmq.Socket)
    plain.bind(address("inproc"))
    peer.connect(plain.last_endpoint.decode())
    green = greenzmq.Socket(plain)
    expect_eagain(green)  # so that it asks, and begins to wait, before it tries
    peer.send(b"x")
    with never_switches():
        assert green.recv() == b"x"
    fd = plain.FD
    plain.close()
    peer.close()
    go_round_without(hub, fd)
    idle(green)


# -- by a signal ------------------------------------------------------------------------------------------------------

CHILDREN = {
    name: Child(
        f"from programs import close; close.run({name!r})",
        needs=(name,) if name != "selector" else (),
        imported=GREENZMQ,
    )
    for name in ("gevent", "eventlet", "selector", "asyncio")
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", CHILDREN)
def test_close_in_a_signal_handler(child, children, request):
    """A handler closes the socket while the hub sleeps: all who wait are told at once. And it does so in the midst of a
    hot loop, again and again: the loop gets ENOTSOCK.

    Seen to fail when the handler's `close` woke nobody; and, on eventlet, when a descriptor that is closed while its
    watch is being started was an error.
    """
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == [*WAITS, f"{ROUNDS} hot loops"]
