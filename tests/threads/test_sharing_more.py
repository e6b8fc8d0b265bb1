"""What else threads do with a socket that they share: parts by hand, Pollers, proxies, its end, its class."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support import torture
from support.inside import parked_on, receivers_of, senders_of
from support.inside_states import act_before_queue
from support.sockets import connected, descriptor
from support.threads import LOST, Gate, eventually, on_threads, parked_in_order
from support.waiters import drain, fill_completely, plain

import greenzmq
from greenzmq.errors import BarrierTimeout
from greenzmq.sockets import barriers
from greenzmq.sockets.locked import LockedCalls
from greenzmq.testing import check_socket

pytestmark = pytest.mark.runtime("threads")

#: For each of `THREADS` threads; the long form has 10^5.
THREADS, MESSAGES = 8, torture.scale(100_000, 200)


def numbered(thread: int, message: int) -> list[bytes]:
    return [b"%d" % thread, b"%d" % message]


def each_once(got: list[list[Any]], messages: int = MESSAGES) -> None:
    """Of each thread's messages each came once, and what a receiver got of one sender came in its order."""
    counted = Counter(tuple(map(int, message)) for received in got for message in received)
    assert counted == Counter(itertools.product(range(THREADS), range(messages)))
    for received in got:
        for sender in range(THREADS):
            mine = [int(message) for thread, message in received if int(thread) == sender]
            assert mine == sorted(mine)


# -- parts -------------------------------------------------------------------------------------------------------------


def test_parts_by_hand_stay_together(hub, context):
    """Threads send and receive messages part by part: no other thread's part comes between."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=10, rcvhwm=10)
    messages = MESSAGES // 10

    def send(thread: int) -> None:
        for message in range(messages):
            for part in range(3):
                push.send(b"%d %d %d" % (thread, message, part), zmq.SNDMORE)
            push.send(b"")

    def receive(_: int) -> list[list[bytes]]:
        got = []
        for _ in range(messages):
            parts = [pull.recv()]
            while pull.rcvmore:
                parts.append(pull.recv())
            got.append(parts)
        return got

    receivers = [hub.spawn(receive, n) for n in range(THREADS)]
    on_threads(hub, THREADS, send)
    got = [message for task in receivers for message in task.get(60)]
    assert sorted(got) == sorted(
        [*(b"%d %d %d" % (thread, message, part) for part in range(3)), b""]
        for thread in range(THREADS)
        for message in range(messages)
    )


def test_first_part_while_another_thread_is_about_to_wait(hub, context, monkeypatch):
    """A thread finds nothing, and before it joins the queue another one receives a first part: that gets the rest."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    gate = Gate()

    def receive() -> list[bytes]:
        parts = [pull.recv()]
        gate.pass_()
        return [*parts, pull.recv()]

    def between() -> None:
        push.send_multipart([b"1", b"2"])
        begun.append(hub.spawn(receive))
        gate.wait_until_reached()

    begun: list[Any] = []
    act_before_queue(monkeypatch, between)
    other = hub.spawn(pull.recv)
    eventually(lambda: begun and (receivers_of(pull) or other.done))
    gate.open()
    assert begun[0].get(LOST) == [b"1", b"2"]
    push.send(b"3")
    assert other.get(LOST) == b"3"


def test_next_part_while_another_thread_begins_to_wait(hub, context, monkeypatch):
    """A thread in the middle of a message is about to wait, since its last call has waited. Before it joins the queue
    another one does, and leaves the rest to it: it gets that, and does not wait for ever.
    """
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    assert pull.underlying, "so that all is done in Python"
    others: list[Any] = []

    def receive() -> list[bytes]:
        parts = [pull.recv()]
        act_before_queue(monkeypatch, lambda: others.extend(parked_in_order(hub, receivers_of, [pull.recv], pull)))
        return [*parts, pull.recv()]

    (receiver,) = parked_in_order(hub, receivers_of, [receive], pull)
    push.send_multipart([b"1", b"2"])
    assert receiver.get(LOST) == [b"1", b"2"]
    push.send(b"3")
    assert others[0].get(LOST) == b"3"


@pytest.mark.parametrize("how", ["returns", "killed"])
def test_a_thread_that_ends_inside_a_message(hub, context, how):
    """A thread has received the first part, and ends: the others, which waited for it, go on."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    gate = Gate()

    def half() -> None:
        pull.recv()
        gate.pass_()
        if how == "killed":
            hub.sleep(1000)

    half_done = hub.spawn(half)
    eventually(lambda: receivers_of(pull))
    (waiting,) = parked_in_order(hub, lambda s: receivers_of(s)[1:], [pull.recv], pull)
    push.send_multipart([b"1", b"2"])
    gate.wait_until_reached()
    assert not waiting.done
    gate.open()
    if how == "killed":
        half_done.kill()
    assert waiting.get(5) == b"2"


# -- Pollers and proxies -----------------------------------------------------------------------------------------------


def test_pollers_of_many_threads(hub, context):
    """Each thread has its Poller for the same socket: all hear of each message, and each message is taken once."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    messages = MESSAGES

    def work(_: int) -> list[list[bytes]]:
        poller, got = greenzmq.Poller(), []
        poller.register(pull, zmq.POLLIN)
        with poller:
            while True:
                assert dict(poller.poll(20_000)) == {pull: zmq.POLLIN}
                try:
                    message = pull.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    continue
                if message == [b"", b"end"]:
                    push.send_multipart(message)  # for the next
                    return got
                got.append(message)

    workers = [hub.spawn(work, n) for n in range(4)]
    on_threads(hub, THREADS, lambda n: [push.send_multipart(numbered(n, m)) for m in range(messages)] and None)
    push.send_multipart([b"", b"end"])
    each_once([task.get(60) for task in workers], messages)
    drain(pull)
    check_socket(pull, idle=True)


def test_a_poller_is_one_threads(hub, context):
    """Two threads that wait in one Poller are told of it, with both their names."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    poller = greenzmq.Poller()
    poller.register(pull, zmq.POLLIN)
    first = hub.spawn(poller.poll, name="first")
    eventually(lambda: first.hub is not hub.hub and first.hub.has_work())
    with pytest.raises(greenzmq.WrongHubError, match="in first>"):
        hub.spawn(poller.poll).get(5)
    push.send(b"m")
    assert first.get(5) == [(pull, zmq.POLLIN)]


def test_a_proxy_beside_other_threads(hub, context):
    """A proxy moves messages while other threads use its sockets, too: each message comes once, in one piece."""
    front, ask = connected(context, zmq.ROUTER, zmq.DEALER)
    back, serve = connected(context, zmq.DEALER, zmq.ROUTER)
    proxy = hub.spawn(greenzmq.proxy, front, back)
    messages = MESSAGES

    def answer() -> int:
        served = 0
        while True:
            peer, client, *message = serve.recv_multipart()
            if message == [b"", b"end"]:
                return served
            serve.send_multipart([peer, client, *message])
            served += 1

    def beside() -> int:
        for looks in itertools.count():
            if proxy.done:
                return looks
            front.poll(0)
            back.get(zmq.EVENTS)
            hub.sleep(0)
        raise AssertionError

    server, other = hub.spawn(answer), hub.spawn(beside)

    def client(thread: int) -> list[list[bytes]]:
        got = []
        for message in range(messages):
            ask.send_multipart(numbered(thread, message))
            got.append(ask.recv_multipart())
        return got

    got = on_threads(hub, THREADS, client)
    counted = Counter(tuple(map(int, message)) for received in got for message in received)
    assert counted == Counter(itertools.product(range(THREADS), range(messages)))
    ask.send_multipart([b"", b"end"])
    assert server.get(5) == THREADS * messages
    proxy.kill()
    assert other.get(5) > 0


# -- the end -----------------------------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[Any, Any], object]] = {
    "close": lambda context, sockets: [socket.close() for socket in sockets],
    "destroy": lambda context, sockets: context.destroy(linger=0),
    "term": lambda context, sockets: context.term(),
}


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
@pytest.mark.parametrize("how", ENDS)
def test_the_end_while_all_wait(hub, how, transport):
    """Threads wait in every way, on one socket and on others; one thread ends it all, and each gets the error."""
    context = greenzmq.Context(hub=hub)
    _, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
    fill_completely(push)
    idle, _ = connected(context, zmq.PAIR, zmq.PAIR, transport)
    sockets = context.__dict__["kept"]

    def wait(call: Callable[[], object]) -> int | None:
        try:
            call()
        except zmq.ZMQError as error:
            if how == "term":
                close_all()
            return error.errno
        return None

    def close_all() -> None:
        for socket in sockets:
            socket.close(linger=0)

    def poll() -> object:
        poller = greenzmq.Poller()
        poller.register(idle, zmq.POLLIN)
        return poller.poll()

    calls = [
        idle.recv,
        idle.recv,
        idle.recv_multipart,
        lambda: push.send(b"x"),
        lambda: push.send(b"x"),
        idle.poll,
        poll,
    ]
    waiting = [hub.spawn(wait, call, name=f"waits {n}") for n, call in enumerate(calls)]
    eventually(lambda: len(receivers_of(idle)) == 3 and len(senders_of(push)) == 2 and parked_on(idle) == 4)
    eventually(lambda: waiting[-1].hub is not hub.hub and waiting[-1].hub.has_work())
    hub.spawn(ENDS[how], context, [idle, push] if how == "close" else sockets).get(20)
    ends = {zmq.ETERM, zmq.ENOTSOCK} if how == "term" else {zmq.ENOTSOCK}
    assert {task.get(20) for task in waiting} <= ends
    context.destroy(linger=0)
    context.__dict__.pop("kept")


@pytest.mark.torture
def test_closed_while_others_use_it(hub, context):
    """A thread closes the socket in the midst of the operations of others: each gets ENOTSOCK, and no crash comes."""
    for _ in range(torture.scale(2_000, 20)):
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=2, rcvhwm=2)
        ready = threading.Barrier(5)

        def use(call: Callable[[], object], ready: threading.Barrier = ready) -> int | None:
            ready.wait(20)
            try:
                while True:
                    call()
            except zmq.ZMQError as error:
                return error.errno

        calls = [pull.recv, lambda push=push: push.send(b"x"), lambda pull=pull: pull.get(zmq.EVENTS), pull.poll]
        users = [hub.spawn(use, call) for call in calls]
        ready.wait(20)
        for socket in (pull, push):
            hub.spawn(socket.close, 0).get(20)
        assert {task.get(20) for task in users} <= {zmq.ENOTSOCK, zmq.ENOTSUP}


def test_sockets_come_and_go_on_the_same_numbers(hub, context):
    """Sockets are opened, waited on in a thread, and closed by another, on the same few descriptors."""
    numbers = set()
    for number in range(40):
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        numbers.add(descriptor(pull))
        task = hub.spawn(pull.recv)
        eventually(lambda pull=pull: receivers_of(pull))
        if number % 2:
            push.send(b"m")
            assert task.get(5) == b"m"
        pull.close()
        push.close()
        if not number % 2:
            with pytest.raises(zmq.ZMQError):
                task.get(5)
        context.__dict__["kept"].clear()
    assert len(numbers) < 40


# -- what it is --------------------------------------------------------------------------------------------------------


class Counting(greenzmq.Socket):
    """A program's own class."""

    def send(self, *args: Any, **kwargs: Any) -> Any:
        self.context.counted.append(args)
        return super().send(*args, **kwargs)


def test_a_class_of_the_programs_own(hub):
    """Its methods are called first, and get to the lock by their ``super()``."""
    context = greenzmq.Context(hub=hub)
    context.__dict__["counted"] = counted = []
    push = context.socket(zmq.PUSH, socket_class=Counting)
    pull = context.socket(zmq.PULL)
    assert isinstance(push, Counting)
    assert isinstance(push, LockedCalls)
    assert type(push).__mro__.index(Counting) < type(push).__mro__.index(LockedCalls)
    pull.bind("inproc://own")
    push.connect("inproc://own")
    on_threads(hub, 4, lambda n: [push.send(b"%d" % n) for _ in range(50)] and None)
    on_threads(hub, 1, lambda n: push.send_multipart([b"a", b"b"]) and None)
    assert len(counted) == 202
    assert len(drain(pull)) == 201
    context.destroy(linger=0)


@pytest.mark.parametrize("name", ["gevent", "eventlet", "selector", "asyncio"])
def test_sockets_of_other_hubs_have_no_lock(name):
    """They are of the same classes as ever, and so pay nothing."""
    if name in ("gevent", "eventlet"):
        pytest.importorskip(name)
    context = greenzmq.Context(hub=name)
    with context.socket(zmq.PUSH) as socket:
        assert type(socket) is greenzmq.Socket
        assert not isinstance(socket, LockedCalls)
        assert not hasattr(socket._greenzmq_state, "lock")
    zmq.Context.term(context)


def test_which_sockets_are_shared(hub, monkeypatch):
    """Those made where the hub was said, or found, to be that of native threads; and what shadows one of them."""
    context = greenzmq.Context()
    made = hub.spawn(context.socket, zmq.PUSH).get()  # by what runs there
    made_here: list[Any] = []
    assert isinstance(made, LockedCalls)
    assert isinstance(greenzmq.Socket.shadow(made.underlying), LockedCalls)

    def elsewhere() -> None:
        made_here.append(context.socket(zmq.PUSH))
        monkeypatch.setenv("GREENZMQ_HUB", "threads")
        made_here.append(context.socket(zmq.PUSH))

    hub.run_in_thread(elsewhere)
    assert [isinstance(socket, LockedCalls) for socket in made_here] == [False, True]
    context.destroy(linger=0)


def test_plain_threads_take_part(hub, context):
    """Threads that the program has started itself share sockets just as well; each has a hub as soon as it waits."""
    pull, push = connected(context, zmq.PULL, zmq.PUSH)
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(pull.recv())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4):
        push.send(b"%d" % number)
    for thread in threads:
        thread.join(20)
    assert sorted(got) == [b"0", b"1", b"2", b"3"]
    assert plain(pull).get(zmq.EVENTS) == 0


# -- barriers ----------------------------------------------------------------------------------------------------------


def test_a_barrier_holds_the_lock(hub, context, monkeypatch):
    """Each call on the socket that `wait_subscribed` makes, its last one, which disconnects, among them."""
    called, get, disconnect = [], barriers._get, zmq.Socket.disconnect

    def checks(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(socket: Any, *args: Any) -> Any:
            if isinstance(socket, LockedCalls):
                assert socket._greenzmq_lock._is_owned(), name
                called.append(name)
            return call(socket, *args)

        return checked

    monkeypatch.setattr(barriers, "_get", checks("get", get))
    monkeypatch.setattr(zmq.Socket, "disconnect", checks("disconnect", disconnect), raising=False)
    pub, sub = connected(context, zmq.PUB, zmq.SUB)
    waiting = hub.spawn(pub.wait_subscribed, b"topic", LOST)
    with pytest.raises(BarrierTimeout):
        pub.wait_subscribed(b"other", 0)
    sub.subscribe(b"topic")
    waiting.get(LOST)
    with pytest.raises(TypeError):
        sub.wait_subscribed(b"topic")
    assert called.count("disconnect") == 2
    assert called.count("get") > 4


# -- monitors ----------------------------------------------------------------------------------------------------------


def test_two_threads_end_a_monitoring(hub, context, monkeypatch):
    """One by the socket, the other by the monitor: that one is closed only when the first has ended."""
    gate, order, monitor = Gate(), [], zmq.Socket.monitor

    def end(socket: Any, addr: Any, *args: Any) -> None:
        if addr is None:
            gate.pass_()
            order.append("ended")
        monitor(socket, addr, *args)

    def close() -> None:
        theirs.close()
        order.append("closed")

    socket = context.socket(zmq.PULL)
    theirs = socket.get_monitor_socket()
    monkeypatch.setattr(zmq.Socket, "monitor", end, raising=False)
    ending = hub.spawn(socket.disable_monitor)
    gate.wait_until_reached()
    closing = hub.spawn(close)
    assert not closing.join(0.05)
    gate.open()
    for task in (ending, closing):
        task.get(LOST)
    assert order == ["ended", "closed"]


def test_a_socket_and_its_monitor_are_closed_at_once(hub, monkeypatch):
    """The monitor of a barrier, which the socket closes itself: neither waits for the lock that the other one has."""
    gate, close = Gate(), barriers.ObservedState.close

    def close_late(state: Any) -> None:
        gate.pass_()
        close(state)

    with greenzmq.Context(hub=hub, barriers=True) as observed:
        socket = observed.socket(zmq.PULL)
        monitor = socket.get_monitor_socket()
        with monkeypatch.context() as patched:
            patched.setattr(barriers.ObservedState, "close", close_late)
            closing = hub.spawn(socket.close)
            gate.wait_until_reached()  # with the lock of `socket`
        other = hub.spawn(monitor.close)
        assert not other.join(0.05)
        gate.open()
        for task in (closing, other):
            task.get(LOST)
        assert socket.closed
        assert monitor.closed
