"""Many who wait on one socket, and all of it ends at once: what that costs grows with how many they are, no faster.

Counted is what is done for waiters, not time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.inside import choice_of, replace_get, replace_listener
from support.inside_states import leave_ended_state
from support.invariants import idle
from support.sockets import connected, fill, open_context, receives, until

import greenzmq
from greenzmq.sockets.socket import address_of
from greenzmq.testing import wait_all_parked
from greenzmq.waiting.waiter import Waiter

FEW, MANY = 20, 80
#: How much more than FEW may MANY cost: as many times as they are, and a little. Squared it would be 16.
TIMES = 1.5 * MANY / FEW


def close(context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]) -> None:
    socket.close()


def close_in_another_thread(
    context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]
) -> None:
    greenzmq.hub(choice_of(context)).run_in_thread(socket.close)


def term(context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]) -> None:
    hub = greenzmq.hub(choice_of(context))
    ending = hub.spawn(context.term)
    for task in tasks:
        task.join()
    for each in context.kept:
        each.close()
    ending.join()


def destroy(context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]) -> None:
    context.destroy(linger=0)


def kill(context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]) -> None:
    for task in tasks:
        task.kill(block=False)


def time_is_over(context: greenzmq.Context, socket: greenzmq.Socket, tasks: list[greenzmq.Task[Any]]) -> None:
    """Those who wait do so with a limit."""


def poll_in_a_poller(socket: greenzmq.Socket) -> None:
    with greenzmq.Poller() as poller:
        poller.register(socket, zmq.POLLIN)
        poller.poll(socket.rcvtimeo)


#: Milliseconds for each wait of `time_is_over`.
LIMIT = 30

WAITS: dict[str, Callable[[greenzmq.Socket], object]] = {
    "recv": lambda socket: socket.recv(),
    "send": lambda socket: socket.send(b"one more"),
    "poll": lambda socket: socket.poll(socket.rcvtimeo),
    "Poller": poll_in_a_poller,
}
ENDS = (close, close_in_another_thread, term, destroy, kill, time_is_over)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a waiter is woken, ``EVENTS`` is read, and a listener's events are looked at."""
    counted: Counter[str] = Counter()
    wake = Waiter.wake

    def count_wake(waiter: Waiter) -> None:
        counted["wake"] += 1
        wake(waiter)

    def count_get(get: Callable[..., int], socket: Any, option: int) -> int:
        counted["EVENTS"] += option == zmq.EVENTS
        return get(socket, option)

    class CountedListener:
        def __init__(self, events: int, wake: Callable[[], object]) -> None:
            self.events, self.wake = events, wake

        def waits(self) -> bool:
            return True

        @property
        def events(self) -> int:
            counted["listener"] += 1
            return self.__dict__["events"]  # type: ignore[no-any-return]

        @events.setter
        def events(self, events: int) -> None:
            self.__dict__["events"] = events

    monkeypatch.setattr(Waiter, "wake", count_wake)
    replace_get(monkeypatch, count_get)
    replace_listener(monkeypatch, CountedListener)
    return counted


def end_many(hub: greenzmq.GreenHub, end: Callable[..., None], wait: Callable[..., object], many: int) -> None:
    with open_context(hub) as context:
        socket, _ = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        fill(socket)
        if end is time_is_over:
            socket.rcvtimeo = socket.sndtimeo = LIMIT

        def waiting() -> None:
            try:
                wait(socket)
            except zmq.ZMQError:
                pass

        tasks = [hub.spawn(waiting) for _ in range(many)]
        if end is not time_is_over:
            wait_all_parked(tasks)
        end(context, socket, tasks)
        for task in tasks:
            task.join()
        if not socket.closed:
            idle(socket)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_end_of_many_costs_what_they_are(hub, cost, end):
    """Whatever ends them, and whatever they wait in: four times as many cost four times as much.

    Seen to fail at `close`, `term` and `destroy` when each who met the end woke all that were left, and in `poll`
    everywhere when each who came or left went through all listeners.
    """
    for name, wait in WAITS.items():
        costs = []
        for many in (FEW, MANY):
            cost.clear()
            end_many(hub, end, wait, many)
            costs.append(dict(cost))
        few, more = costs
        for what, count in more.items():
            assert count <= TIMES * max(few.get(what, 0), FEW), (name, what, few, more)


def test_an_ended_context_wakes_those_behind_a_half_received_message(hub, context, push_pull):
    """Who waits for another greenlet to come to the end of its message meets the end of the context all the same.

    Seen to hang when such a one parked again, as it would for any other signal.
    """
    push, pull = push_pull
    push.send_multipart([b"first", b"last"])
    ended: list[BaseException] = []

    def receive() -> None:
        try:
            pull.recv()
        except zmq.ZMQError as error:
            ended.append(error)

    assert pull.recv() == b"first"
    tasks = [hub.spawn(receive) for _ in range(2)]
    until(hub, lambda: receives(pull))
    ending = hub.spawn(context.term)
    for task in tasks:
        assert task.join(5)
    assert [error.errno for error in ended] == [zmq.ETERM, zmq.ETERM]
    pull.close()
    push.close()
    ending.join()


def test_an_address_of_a_socket_that_has_ended_before(hub, push_pull):
    """What is known of a socket that has ended is no concern of another that libzmq puts in the same place.

    Seen to hang, in a loop, when a new green object or Poller took what was there.
    """
    push, pull = push_pull
    plain = zmq.Socket.shadow(address_of(pull))
    leave_ended_state(pull)
    with greenzmq.Poller(hub=hub) as poller:
        poller.register(plain)
        assert poller.poll(0) == []
        hub.hub.call_later(0.01, push.send, b"polled")
        with hub.timeout(5):
            assert poller.poll() == [(plain, zmq.POLLIN)]
    assert pull.recv() == b"polled"
    leave_ended_state(pull)
    shadow = greenzmq.Socket(shadow=plain)
    hub.hub.call_later(0.01, push.send, b"received")
    with hub.timeout(5):
        assert shadow.recv() == b"received"
