"""What a poll costs: counted, not timed. It grows with what is ready, not with what is registered."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager

import pytest
import zmq
from support.children import Child, run
from support.forked import GREENZMQ
from support.inside import active_entries, fast_sends_left, keep_turn, listeners_of, other_epoll
from support.polling import (
    FEW,
    IN,
    LONG,
    MANY,
    OUT,
    Fds,
    count_calls,
    count_reads,
    count_rounds,
    crowd,
    goes_on,
    is_open,
    pair,
    polling,
)
from support.sockets import address, descriptor, until
from support.waiters import await_signal

import greenzmq
from greenzmq.process import unpatched


def test_events_are_read_of_what_changed_only(hub):
    """With 1,000 registered and 10 ready, a poll reads ``EVENTS`` 10 times, and of the rest not once.

    Seen to fail (1,000 reads) when sockets did not rest.
    """
    with crowd(hub) as (poller, chosen, pushes):
        for push in pushes:
            push.send(b"message")
        with count_reads() as reads:
            for _ in range(3):
                assert poller.poll(0) == [(pull, IN) for pull in chosen]
        assert reads == chosen * 3
        for pull in chosen:
            pull.recv()
        with count_reads() as reads:
            assert poller.poll(0) == []
        assert reads == chosen
        with count_reads() as reads:
            assert poller.poll(0) == poller.poll(1) == []
        assert reads == []
        task = polling(hub, poller)
        with count_reads() as reads:
            pushes[0].send(b"message")
            goes_on(hub, task)
        assert set(reads) == set(chosen[:1])
        assert len(reads) == 1


def test_operations_cost_the_rest_nothing(hub):
    """Sending to, receiving from and asking a few of the registered sockets wakes no other of them."""
    with crowd(hub) as (poller, chosen, pushes):
        for pull, push in zip(chosen, pushes, strict=True):
            push.send(b"1")
            push.send(b"2")
            assert pull.recv(zmq.NOBLOCK) == b"1"
            assert pull.poll(0) == IN
        assert chosen[0].recv() == b"2"
        with count_reads() as reads:
            assert poller.poll(0) == [(pull, IN) for pull in chosen[1:]]
        assert set(reads) <= set(chosen)
        assert len(reads) <= FEW


def test_a_loop_of_operations_between_two_polls(hub, context):
    """However often registered sockets are used between two polls, by whomever: one look at each, in the next poll.

    And all operations but the first take the fast path. Seen to fail, with a look for each send, when operations looked
    for Pollers in which nobody waits.
    """
    left, right = pair(context, sndhwm=0, rcvhwm=0)
    pollers = [greenzmq.Poller(), greenzmq.Poller()]
    for poller in pollers:
        for socket in (left, right):
            poller.register(socket, IN)
        assert poller.poll(0) == []
    with count_reads() as reads:
        for _ in range(50):
            left.send(b"there")
            left.send_multipart([b"there", b"too"])
        hub.run(lambda: [left.send(b"there") for _ in range(50)])
        left.bind(address("inproc"))
        assert right.recv() == b"there"
    assert reads == []
    assert fast_sends_left(left) > 0
    with count_reads() as reads:
        for poller in pollers:
            assert poller.poll(0) == [(right, IN)]
    assert reads == [left, right] * 2


def test_who_waits_is_told_of_operations_at_once(hub, context):
    """Beside a Poller that nobody is in, one in which a greenlet waits: it goes on at once, and both find the message.

    Seen to fail when an operation that took the signal told nobody.
    """
    left, right = pair(context)
    idle_one, waited_in = greenzmq.Poller(), greenzmq.Poller()
    for poller in (idle_one, waited_in):
        poller.register(left, IN)
        assert poller.poll(0) == []
    task = polling(hub, waited_in)
    right.send(b"message")
    right.send(b"message")
    await_signal(left)
    assert left.recv(zmq.NOBLOCK) == b"message"
    goes_on(hub, task, at_once=True)
    assert task.get() == idle_one.poll(0) == [(left, IN)]


def test_descriptors_cost_one_question(hub, monkeypatch):
    """Descriptors are asked for in one system call, whatever their number; the set is told of them by who waits.

    Nor does Python go through those that are not ready. Seen to fail when each of them had a place in the set, which a
    poll asked about and cleared up first; and when each poll made a new object of poll(2).
    """
    asked = []

    class Spy:
        def __init__(self, make=unpatched.Poll):
            self.poll2 = make()

        def __getattr__(self, name):
            asked.append(name)
            return getattr(self.poll2, name)

    monkeypatch.setattr(unpatched, "Poll", Spy)
    with Fds() as files:
        poller = greenzmq.Poller()
        for _ in range(5):
            poller.register(files.pipe()[0], IN)
        assert poller.poll(0) == []
        with count_kernel(poller) as calls:
            assert poller.poll(0) == []
            assert poller.poll(0) == []
        assert calls == []
        assert asked == ["register"] * 5 + ["poll"] * 3


@contextmanager
def count_kernel(poller):
    """The calls of what keeps a Poller's set of descriptors, by name."""
    calls = []

    class Spy:
        def __init__(self, epoll):
            self.epoll = epoll

        def __getattr__(self, name):
            calls.append(name)
            return getattr(self.epoll, name)

    with other_epoll(poller, Spy):
        yield calls


def test_a_signal_changes_nothing_in_the_set(hub, context, push_pull):
    """A turn of "wait, receive" asks the kernel's set: when it signals, after the wait, before the next. That is all.

    Seen to fail (the socket was taken out of the set and put back) when a socket that was ready while nobody listened
    left the set at once; and on asyncio, when the loop went round between the callback and the greenlet.
    """
    push, pull = push_pull
    poller = greenzmq.Poller()
    for socket in (pull, context.socket(zmq.PULL)):
        poller.register(socket, IN)
    received = []

    def turns():
        while len(received) < 4:
            assert poller.poll() == [(pull, IN)]
            received.append(pull.recv())

    def send_one(number):
        push.send(b"message")
        until(hub, lambda: len(received) == number and (number == 4 or listeners_of(pull)))

    task = hub.spawn(turns)
    keep_turn(poller)
    until(hub, lambda: listeners_of(pull))
    send_one(1)
    send_one(2)
    with count_kernel(poller) as calls:
        send_one(3)
    send_one(4)
    assert task.join(LONG / 1000)
    assert calls == ["poll"] * 3


def test_numbers_that_are_used_again_cost_the_rest_nothing(hub):
    """Sockets closed while registered, their numbers given to new ones: the set is not made anew for that.

    Seen to fail when every such number that was ready made the Poller register all its sockets again.
    """
    with crowd(hub, 50) as (poller, chosen, _):
        context = chosen[0].context
        for _ in range(3):
            old = context.socket(zmq.PULL)
            number = descriptor(old)
            poller.register(old, IN)
            assert poller.poll(0) == []
            old.close()
            until(hub, lambda number=number: not is_open(number))
            poller.unregister(old)
            new, push, *others = take_number(context, number)
            poller.register(new, IN)
            push.send(b"message")
            with count_kernel(poller) as calls:
                for _ in range(3):
                    assert poller.poll(0) == [(new, IN)]
            assert len(calls) < 30
            poller.unregister(new)
            for socket in (new, push, *others):
                socket.close()


def take_number(context, number):
    """A PULL whose descriptor has this number, a PUSH connected to it, and others that were made on the way."""
    made = [context.socket(zmq.PULL)]
    while number != descriptor(made[-1]):
        made.append(context.socket(zmq.PULL))
        assert len(made) < 100
    push = context.socket(zmq.PUSH)
    made[-1].bind(address("inproc"))
    push.connect(made[-1].last_endpoint)
    return made[-1], push, *made[:-1]


def test_what_python_does_does_not_grow(hub):
    """A poll makes as many calls with 1,000 sockets registered as with 20, finding nothing, finding one, and waiting.

    Seen to fail when each poll that waits asked all its sockets for their hub.
    """
    counted = [polls(hub, many) for many in (20, MANY)]
    assert counted[0] == counted[1]


def polls(hub, many):
    """The numbers of calls: of a poll that finds nothing, of one that finds something, of one that waits."""
    with crowd(hub, many) as (poller, chosen, pushes):
        numbers = []
        for act in (lambda: None, lambda: pushes[3].send(b"message")):
            act()
            keep_turn(poller)  # turns that do not end in between
            keep_turn(chosen[3])
            with count_calls() as calls:
                poller.poll(0)
                poller.poll(0)
            numbers.append(len(calls))
        chosen[3].recv()
        poller.poll(0)
        task = hub.spawn(wait_and_count, poller)
        hub.sleep()
        hub.sleep()
        pushes[3].send(b"message")
        goes_on(hub, task)
        chosen[3].recv()
        return [*numbers, task.get()]


def wait_and_count(poller):
    """How often a poll that waits calls what a Poller consists of; the hub's own calls vary."""
    with count_calls() as calls:
        poller.poll(LONG)
    return sum("poller" in call or "_greenzmq_choice" in call or "poll_entry" in call for call in calls)


def test_idle_means_idle(hub):
    """While nothing happens, greenlets that poll 1,000 sockets keep the hub no busier than those that poll ten."""
    rounds = []
    for many in (10, MANY):
        with crowd(hub, many) as (poller, _, _), Fds() as files:
            reader, writer = files.pipe()
            poller.register(reader, IN)
            tasks = [polling(hub, poller) for _ in range(3)]
            hub.sleep(0.02)
            with count_rounds(hub) as counted:
                hub.run_in_thread(time.sleep, 0.1)
                rounds.append(counted())
            os.write(writer, b"data")
            goes_on(hub, *tasks)
    assert max(rounds) <= 6, rounds


def test_a_ready_socket_does_not_slow_the_next_poll(hub):
    """What was ready once and is not any more rests again: ten busy polls leave no trace in the eleventh."""
    with crowd(hub, 50) as (poller, chosen, pushes):
        for _ in range(10):
            for push in pushes:
                push.send(b"message")
            for pull, _ in poller.poll(LONG):
                pull.recv()
        assert poller.poll(0) == []
        with count_reads() as reads:
            assert poller.poll(0) == []
        assert reads == []
        assert active_entries(poller) == 0
        for pull in chosen:
            poller.modify(pull, OUT)
            poller.unregister(pull)
        assert len(poller.sockets) == 40


TEN_THOUSAND = """
    import json, resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 10_000 if hard < 0 else min(10_000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(many + 200, hard)) if hard > 0 else hard, hard))
    import greenzmq.selector as zmq
    from support.polling import count_reads, count_rounds, crowd
    hub = zmq.hub()
    result = {"many": many}
    def main():
        with crowd(hub, many) as (poller, chosen, pushes):
            for push in pushes:
                push.send(b"message")
            with count_reads() as reads:
                found = [poller.poll(0) for _ in range(3)] + [poller.poll() for _ in range(3)]
            result["found"] = [sockets == [(pull, 1) for pull in chosen] for sockets in found]
            result["reads"] = len(reads)
            for pull in chosen:
                pull.recv()
            poller.poll(0)
            with count_reads() as reads, count_rounds(hub) as rounds:
                poller.poll(100)
            result["idle reads"], result["idle rounds"] = len(reads), rounds()
    hub.run(main)
    print(json.dumps(result))
"""


def test_ten_thousand():
    """10,000 registered and 10 ready: 10 reads of ``EVENTS`` for each poll, none while idle, a handful of rounds."""
    done = run(Child(TEN_THOUSAND, imported=GREENZMQ))
    assert done.status == 0, done.err
    result = json.loads(done.out)
    if result["many"] < 10_000:
        pytest.fail(f"the system allows {result['many']} open files only: ulimit -Hn 10200")
    assert result["found"] == [True] * 6
    assert result["reads"] == 60
    assert result["idle reads"] == 0
    assert result["idle rounds"] < 10
