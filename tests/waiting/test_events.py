"""GreenEvent, waited for alone; in a Poller beside a socket it is in ``test_waitables.py``."""

from __future__ import annotations

import threading

import zmq
from support.inside import links_of
from support.polling import goes_on, waiting
from support.sockets import never_switches, until

import greenzmq
from greenzmq import selector

# --- the event --------------------------------------------------------------------------------------------------------


def test_set_wakes_all_who_wait(hub):
    """Every waiter gets True, in the order of arrival; later ones do not wait at all."""
    event, order = greenzmq.GreenEvent(), []
    assert not event.is_set()
    tasks = [waiting(hub, event) for _ in range(3)]
    for number, task in enumerate(tasks):
        hub.spawn(lambda number=number, task=task: order.append((number, task.get())))
    hub.sleep()
    event.set()
    until(hub, lambda: len(order) == 3)
    assert order == [(0, True), (1, True), (2, True)]
    assert event.is_set()
    with never_switches():
        assert event.wait()
        assert event.wait(0)


def test_time_runs_out(hub):
    """False after the timeout; no time only looks. Nothing is left behind in the event."""
    event = greenzmq.GreenEvent()
    with never_switches():
        assert event.wait(0) is False
        assert event.wait(-1) is False
    assert event.wait(0.01) is False
    assert links_of(event) == 0


def test_clear_does_not_call_back_who_was_woken(hub):
    """Set and cleared before the waiter runs: it was set while it waited, so True. Who comes later waits."""
    event = greenzmq.GreenEvent()
    task = waiting(hub, event)
    event.set()
    event.clear()
    goes_on(hub, task, at_once=True)
    assert task.get() is True
    assert event.wait(0.01) is False


def test_a_killed_waiter_leaves_nothing(hub):
    """A kill comes out of wait() as it is, and the others still wake."""
    event = greenzmq.GreenEvent()
    first, second = waiting(hub, event), waiting(hub, event)
    first.kill()
    assert links_of(event) == 1
    event.set()
    goes_on(hub, second, at_once=True)
    assert links_of(event) == 0


def test_set_in_a_hub_callback(hub):
    """set() never switches, so the hub itself may call it; wait() in there is an error that says so."""
    event, errors = greenzmq.GreenEvent(), []

    def wait_in_hub():
        try:
            event.wait()
        except greenzmq.BlockingCallError as error:
            errors.append(error)

    hub.hub.call_soon(wait_in_hub)
    task = waiting(hub, event)
    hub.hub.call_soon(event.set)
    goes_on(hub, task, at_once=True)
    assert len(errors) == 1
    assert links_of(event) == 0


def test_a_native_thread_sets_it(hub):
    """500 times set from a thread that then waits for the greenlet's answer: no wake-up is lost on the way."""
    there, back = greenzmq.GreenEvent(), threading.Semaphore(0)

    def run():
        for _ in range(500):
            there.set_threadsafe()
            back.acquire()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for _ in range(500):
        assert there.wait(10)
        there.clear()
        back.release()
    thread.join(10)
    assert not thread.is_alive()


def test_waiters_in_several_threads(hub):
    """One event, waited for on this hub and on the loops of two other threads: one set() wakes them all."""
    event, results = greenzmq.GreenEvent(), []
    threads = [
        threading.Thread(target=lambda: results.append(selector.hub().run(event.wait, 10)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    task = waiting(hub, event, 10)
    until(hub, lambda: links_of(event) == 3)
    event.set()
    assert task.get() is True
    for thread in threads:
        thread.join(10)
    assert results == [True, True]


def test_pyzmqs_event_is_still_there():
    """``Event`` is pyzmq's enum of monitor events, in every namespace; hence the name GreenEvent."""
    assert greenzmq.Event is selector.Event is zmq.Event
    assert selector.GreenEvent is greenzmq.GreenEvent
