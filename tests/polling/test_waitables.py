"""What is waited for in a Poller beside sockets and descriptors: events, tasks, and whatever is `Waitable`."""

from __future__ import annotations

import gc
import textwrap
import threading
from typing import Any

import pytest
from support.inside import links_of
from support.polling import IN, OUT, goes_on, pair, polling, waiting
from support.sockets import never_switches, tick, until

import greenzmq
from greenzmq import selector
from greenzmq.waiting import events

# --- in a Poller ------------------------------------------------------------------------------------------------------


def test_a_socket_and_an_event(hub, context):
    """Whichever comes first ends the poll; what lasts is reported again; the order is that of registration."""
    socket, peer = pair(context)
    event = greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    poller.register(event)  # with the default flags: POLLIN is all there is to report
    poller.register(socket, IN)
    assert event in poller
    with never_switches():
        assert poller.poll(0) == []
    task = polling(hub, poller)
    event.set()
    goes_on(hub, task, at_once=True)
    assert task.get() == poller.poll() == poller.poll(0) == [(event, IN)]
    peer.send(b"message")
    assert poller.poll() == [(event, IN), (socket, IN)]
    event.clear()
    assert poller.poll() == [(socket, IN)]
    assert socket.recv() == b"message"
    task = polling(hub, poller)
    peer.send(b"message")
    goes_on(hub, task)
    assert task.get() == [(socket, IN)]


def test_what_is_set_and_cleared_is_not_reported(hub):
    """To be ready is a level: an event cleared before the greenlet runs leaves it waiting, for the next set()."""
    event = greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    poller.register(event, IN)
    task = polling(hub, poller)
    event.set()
    event.clear()
    tick(hub, task)
    event.set()
    goes_on(hub, task, at_once=True)
    assert task.get() == [(event, IN)]


def test_events_in_a_poller_are_set_by_threads(context):
    """500 times set from a native thread while a greenlet polls the event beside a socket: no wake-up is lost."""
    socket, _ = pair(context)
    event, back = greenzmq.GreenEvent(), threading.Semaphore(0)
    poller = greenzmq.Poller()
    for what in (socket, event):
        poller.register(what, IN)

    def run():
        for _ in range(500):
            event.set_threadsafe()
            back.acquire()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for _ in range(500):
        assert poller.poll() == [(event, IN)]
        event.clear()
        back.release()
    thread.join(10)
    assert not thread.is_alive()


class Late:
    """Calls back from another thread while it is being linked, and is ready only when asked the third time."""

    def __init__(self):
        self.asked = 0

    def ready(self):
        self.asked += 1
        return self.asked >= 3

    def rawlink(self, callback):
        thread = threading.Thread(target=callback, args=(self,))
        thread.start()
        thread.join()

    def unlink(self, callback):
        pass


def test_a_call_back_before_there_is_a_waiter_counts(hub):
    """Another thread may call back before the greenlet has parked: it looks again before it parks.

    Seen to fail with the look at `_dirty` taken out of Poller.poll, and with the entry taken out of `_active` after
    the look instead of before it.
    """
    late = Late()
    assert isinstance(late, greenzmq.Waitable)
    poller = greenzmq.Poller()
    poller.register(late, IN)
    task = hub.spawn(poller.poll)
    goes_on(hub, task, at_once=True)
    assert task.get() == [(late, IN)]


class Faulty(greenzmq.GreenEvent):
    """Raises where it is told to."""

    def __init__(self):
        super().__init__()
        self.faults = set()

    def ready(self):
        return self.check("ready") or super().ready()

    def rawlink(self, callback):
        self.check("rawlink")
        super().rawlink(callback)

    def unlink(self, callback):
        self.check("unlink")
        super().unlink(callback)

    def check(self, name):
        if name in self.faults:
            raise ZeroDivisionError(name)


def test_what_raises_is_asked_again(hub, context):
    """What a waitable raises comes out of the poll, each time, and harms neither the others nor later polls.

    Seen to hang with a waitable that had raised once and was asked no more.
    """
    socket, peer = pair(context)
    for fault in ("ready", "rawlink", "unlink"):
        faulty = Faulty()
        poller = greenzmq.Poller()
        for what in (socket, faulty):
            poller.register(what, IN)
        faulty.faults = {fault}
        for timeout in (0, 10, None):
            with pytest.raises(ZeroDivisionError, match=fault):
                poller.poll(timeout)
        faulty.faults.clear()
        task = polling(hub, poller)
        faulty.faults = {fault}
        peer.send(b"message")
        goes_on(hub, task)
        assert task.get() == [(socket, IN)], "a waitable at rest is not asked"
        assert socket.recv() == b"message"
        faulty.faults.clear()
        task = polling(hub, poller)
        faulty.set()
        goes_on(hub, task)
        assert task.get() == [(faulty, IN)]


class Ready:
    """Always ready; keeps its callbacks, for somebody who calls back late."""

    def __init__(self):
        self.callbacks = []

    def ready(self):
        return bool(self.callbacks)

    def rawlink(self, callback):
        self.callbacks.append(callback)

    def unlink(self, callback):
        pass


def test_a_late_call_back(hub):
    """What another thread calls back when it is unregistered already is not reported: seen to be, for ever."""
    late = Ready()
    poller = greenzmq.Poller()
    event = greenzmq.GreenEvent()
    for what in (late, event):
        poller.register(what, IN)
    assert poller.poll(0) == [(late, IN)]
    poller.unregister(late)
    for callback in late.callbacks:
        callback(late)
    assert poller.poll(0) == []
    task = polling(hub, poller)
    for callback in late.callbacks:
        callback(late)
    tick(hub, task)
    event.set()
    goes_on(hub, task)
    assert task.get() == [(event, IN)]


def test_a_waitable_that_changes_the_poller(hub):
    """One whose `ready` unregisters the next, and registers another: who was unregistered is neither asked nor linked.

    Seen to leave a link in the event.
    """

    class Meddler(Ready):
        def ready(self):
            if event in poller:
                poller.unregister(event)
                poller.register(other, IN)
            return False

    event, other = greenzmq.GreenEvent(), greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    for what in (Meddler(), event):
        poller.register(what, IN)
    assert poller.poll(0) == []
    assert links_of(event) == 0
    task = polling(hub, poller)
    other.set()
    goes_on(hub, task)
    assert task.get() == [(other, IN)]


def test_several_pollers_and_waiters_of_one_event(hub):
    """Two Pollers, one of them with two greenlets in it, and a plain wait(): one set() is enough for all."""
    event = greenzmq.GreenEvent()
    pollers = [greenzmq.Poller() for _ in range(2)]
    for poller in pollers:
        poller.register(event, IN)
    tasks = [polling(hub, pollers[0]), polling(hub, pollers[0]), polling(hub, pollers[1])]
    alone = waiting(hub, event)
    event.set()
    goes_on(hub, *tasks, alone, at_once=True)
    assert [task.get() for task in tasks] == [[(event, IN)]] * 3


def test_nothing_is_left_in_the_event(hub):
    """Unregistered, killed in the poll, or collected with its Poller: the event holds no link any more."""
    event = greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    poller.register(event, IN)
    task = polling(hub, poller, 10_000)
    assert links_of(event) == 1
    task.kill()
    poller.unregister(event)
    assert links_of(event) == 0
    poller.register(event, IN)
    assert poller.poll(0) == []
    assert links_of(event) == 1
    del poller, task
    gc.collect()
    assert links_of(event) == 0


def test_an_event_is_polled_for_pollin_alone(hub):
    """Other flags are refused at once, by modify() too, which then changes nothing."""
    event = greenzmq.GreenEvent()
    poller = greenzmq.Poller()
    with pytest.raises(ValueError, match="POLLIN"):
        poller.register(event, OUT)
    assert event not in poller
    poller.register(event, IN)
    with pytest.raises(ValueError, match="POLLIN"):
        poller.modify(event, OUT)
    assert poller.sockets == [(event, IN)]
    task = polling(hub, poller)
    event.set()
    goes_on(hub, task, at_once=True)


def test_select_and_zmq_poll_take_events(hub, context):
    """Both stand on the Poller: an event may be among what select() reads from."""
    socket, _ = pair(context)
    event = greenzmq.GreenEvent()
    hub.spawn(event.set)
    assert greenzmq.select([socket, event], [], []) == ([event], [], [])
    assert greenzmq.zmq_poll([(socket, OUT), (event, IN)], 1000) == [(socket, OUT), (event, IN)]


# --- other things to wait for -----------------------------------------------------------------------------------------


def test_a_task_in_a_poller(hub, context):
    """A socket and the end of a task, polled together; a task that failed is ready, too."""
    socket, _ = pair(context)
    event = greenzmq.GreenEvent()
    task = hub.spawn(event.wait)
    assert isinstance(task, greenzmq.Waitable)
    poller = greenzmq.Poller()
    for what in (socket, task):
        poller.register(what, IN)
    polls = polling(hub, poller)
    event.set()
    goes_on(hub, polls, at_once=True)
    assert polls.get() == [(task, IN)]
    failed = hub.spawn(lambda: 1 / 0)
    poller.unregister(task)
    poller.register(failed, IN)
    assert poller.poll() == [(failed, IN)]
    with pytest.raises(ZeroDivisionError):
        failed.get()


def test_a_task_of_another_thread(hub):
    """A task that runs on another thread's loop is polled here."""
    end, tasks = threading.Semaphore(0), []

    def run():
        other = selector.hub()
        tasks.append(other.spawn(end.acquire))
        other.run(tasks[0].join)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(hub, lambda: tasks)
    poller = greenzmq.Poller()
    poller.register(tasks[0], IN)
    polls = polling(hub, poller)
    end.release()
    assert polls.get() == [(tasks[0], IN)]
    thread.join(10)


def queue_class() -> Any:
    """The Queue in the docstring of `greenzmq.waiting.events`, as it is written there."""
    _, _, example = events.__doc__.partition("A queue::\n\n")
    source, _, _ = textwrap.dedent(example).partition("queue = Queue()")
    names: dict[str, Any] = {}
    exec("import collections, greenzmq\n" + source, names)
    return names["Queue"]


def test_the_queue_of_the_documentation(hub, context):
    """The documented example works: a greenlet waits for a socket and the queue, and get() waits for an item."""
    socket, peer = pair(context)
    queue = queue_class()()
    assert isinstance(queue, greenzmq.Waitable)
    poller = greenzmq.Poller()
    for what in (socket, queue):
        poller.register(what, IN)
    polls = polling(hub, poller)
    queue.put("item")
    goes_on(hub, polls, at_once=True)
    assert polls.get() == [(queue, IN)]
    assert queue.get() == "item"
    peer.send(b"message")
    assert poller.poll() == [(socket, IN)]
    getter = hub.spawn(queue.get)
    tick(hub, getter)
    queue.put("another")
    assert getter.get() == "another"


@pytest.mark.runtime("gevent")
def test_gevents_own_events_and_greenlets(hub):
    """The protocol is gevent's: its Event, AsyncResult and Greenlet can be registered as they are."""
    import gevent
    from gevent.event import AsyncResult, Event

    for make, fulfil in ((Event, Event.set), (AsyncResult, AsyncResult.set)):
        what = make()
        poller = greenzmq.Poller()
        poller.register(what, IN)
        assert poller.poll(0) == []
        task = polling(hub, poller)
        fulfil(what)
        goes_on(hub, task, at_once=True)
        assert task.get() == [(what, IN)]
    sleeper = gevent.spawn(gevent.sleep, 0.01)
    assert greenzmq.select([sleeper], [], [], 10) == ([sleeper], [], [])
