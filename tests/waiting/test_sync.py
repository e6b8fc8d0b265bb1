"""Locks, semaphores, conditions and queues: what they promise beside what `threading` and `queue` do."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq
from support.sockets import in_hub, never_switches, tick, until

import greenzmq
from greenzmq.waiting.sync import Event


class OtherError(Exception):
    pass


# -- names and signatures ----------------------------------------------------------------------------------------------

NAMESAKES = [
    (greenzmq.Lock, threading.Lock(), "acquire release locked"),
    (greenzmq.RLock, threading.RLock(), "acquire release"),
    (greenzmq.Semaphore, threading.Semaphore, "acquire release"),
    (greenzmq.BoundedSemaphore, threading.BoundedSemaphore, "acquire release"),
    (greenzmq.Condition, threading.Condition, "wait wait_for notify notify_all"),
    (greenzmq.GreenEvent, threading.Event, "is_set set clear wait"),
    (greenzmq.Queue, queue.Queue, "put put_nowait get get_nowait qsize empty full join task_done"),
    (greenzmq.LifoQueue, queue.LifoQueue, "put get"),
    (greenzmq.PriorityQueue, queue.PriorityQueue, "put get"),
]


@pytest.mark.parametrize(("ours", "theirs", "names"), NAMESAKES, ids=[ours.__name__ for ours, *_ in NAMESAKES])
def test_names_and_signatures(ours, theirs, names):
    """What is called in the standard library can be called here, with the same arguments and defaults."""
    for name in names.split():
        known = inspect.signature(getattr(ours, name)).parameters
        try:
            expected = inspect.signature(getattr(theirs, name)).parameters
        except ValueError:  # C code that does not say
            continue
        for parameter in expected.values():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                assert known[parameter.name].default == parameter.default, (name, parameter)


@pytest.mark.parametrize("namespace", ["gevent", "eventlet", "selector", "asyncio"])
def test_every_namespace_has_them(namespace):
    """The same classes in each; `Event` stays pyzmq's, and the event is `GreenEvent`."""
    module = greenzmq.namespace(namespace)
    names = "BoundedSemaphore Condition Empty Full GreenEvent LifoQueue Lock Pool PriorityQueue Queue RLock Semaphore"
    for name in [*names.split(), "ShutDown", "TaskGroup"]:
        assert name in module.__all__
        assert getattr(module, name) is getattr(greenzmq, name)
    assert module.Event is zmq.Event
    assert Event is greenzmq.GreenEvent
    assert (greenzmq.Empty, greenzmq.Full) == (queue.Empty, queue.Full)
    assert greenzmq.ShutDown is getattr(queue, "ShutDown", greenzmq.ShutDown)


# -- what need not wait ------------------------------------------------------------------------------------------------


def test_what_is_there_is_taken_without_a_switch(hub):
    """No call that need not wait switches, in a callback of the hub neither."""

    def use() -> None:
        with greenzmq.Lock(), greenzmq.RLock() as _, greenzmq.Semaphore(2):
            for kind in (greenzmq.Queue, greenzmq.LifoQueue, greenzmq.PriorityQueue):
                items = kind(1)
                items.put(1)
                assert items.get() == 1
                items.task_done()
                assert items.join()
                items.close()
                assert list(items) == []
        condition = greenzmq.Condition()
        with condition:
            condition.notify_all()

    with never_switches():
        use()
    assert in_hub(hub, use) is None


@pytest.mark.parametrize("name", ["acquire", "get", "put", "wait"])
def test_a_wait_in_the_hub_is_an_error(hub, name):
    """In a callback a call that would have to wait raises, and leaves nothing behind."""
    lock, empty, full = greenzmq.Lock(), greenzmq.Queue(), greenzmq.Queue(1)
    condition = greenzmq.Condition(greenzmq.Lock())
    lock.acquire()
    full.put(1)
    condition.acquire()
    calls = {"acquire": lock.acquire, "get": empty.get, "put": lambda: full.put(2), "wait": condition.wait}
    assert isinstance(in_hub(hub, calls[name]), greenzmq.BlockingCallError)
    lock.release()
    empty.put(3)
    condition.notify()
    condition.release()
    assert (lock.acquire(False), empty.get(False), full.get(False), condition.acquire(False)) == (True, 3, 1, True)


def test_a_coroutine_that_would_wait_is_told():
    """An asyncio loop is not stopped by a lock or a queue; the error names the cure."""

    async def program() -> None:
        items: greenzmq.Queue[int] = greenzmq.Queue()
        items.put(1)
        assert items.get() == 1
        with pytest.raises(greenzmq.BlockingCallError, match=r"await greenzmq\.asyncio\.run"):
            items.get()

    asyncio.run(program())


# -- first come, first served ------------------------------------------------------------------------------------------


def in_line(hub, take, count=5):
    """Greenlets that wait one after the other, and the list in which each notes when it has had its turn."""
    log: list[int] = []

    def wait(number: int) -> None:
        take()
        log.append(number)

    tasks = []
    for number in range(count):
        tasks.append(hub.spawn(wait, number))
        hub.sleep()
    return tasks, log


def test_first_come_first_served(hub):
    """Each gives what it has to whoever has waited longest; a newcomer, and one that does not block, is last."""
    lock, semaphore, items, full = greenzmq.Lock(), greenzmq.Semaphore(0), greenzmq.Queue(), greenzmq.Queue(1)
    lock.acquire()
    full.put(0)
    for take, give, try_now in (
        (lock.acquire, lock.release, lambda: lock.acquire(False)),
        (semaphore.acquire, semaphore.release, lambda: semaphore.acquire(False)),
        (items.get, lambda: items.put(1), lambda: items.get(False)),
        (lambda: full.put(1), full.get, lambda: full.put(1, False)),
    ):
        tasks, log = in_line(hub, take)
        for number in range(5):
            give()
            with pytest.raises((AssertionError, queue.Empty, queue.Full)):
                assert try_now()
            tasks[number].join()
            assert log == list(range(number + 1))


def test_a_wait_that_ends_early_leaves_the_line(hub):
    """One that is killed, and one whose time is over, are skipped, wherever they stand."""
    items: greenzmq.Queue[int] = greenzmq.Queue()
    tasks, log = in_line(hub, items.get)
    for number in (0, 2, 4):
        tasks[number].kill()
    with pytest.raises(queue.Empty):
        items.get(timeout=0.001)
    items.put(1)
    items.put(2)
    until(hub, lambda: tasks[1].done and tasks[3].done)
    assert log == [1, 3]
    assert items.empty()


def test_one_that_is_killed_when_it_was_woken(hub):
    """What it was woken for goes to the next."""
    for at_once in (True, False):
        items: greenzmq.Queue[int] = greenzmq.Queue()
        tasks, log = in_line(hub, items.get, 2)
        if at_once:
            tasks[0].kill(block=False)
        items.put(1)
        tasks[0].kill(block=False)
        until(hub, lambda tasks=tasks: tasks[0].done)
        if not at_once and not log:
            assert tasks[1].join(5)
        if at_once:
            assert tasks[1].join(5)
            assert log == [1]
        tasks[1].kill()
        assert items.empty()


# -- timeouts and wrong arguments --------------------------------------------------------------------------------------


def test_timeouts(hub):
    """Each call with a timeout says that the time is over, as its namesake does; 0 does not switch."""
    lock, semaphore, items, full = greenzmq.Lock(), greenzmq.Semaphore(0), greenzmq.Queue(), greenzmq.Queue(1)
    condition = greenzmq.Condition()
    lock.acquire()
    full.put(0)
    full.get()
    full.put(0)
    for seconds in (0, 0.002):
        assert lock.acquire(timeout=seconds) is False
        assert semaphore.acquire(timeout=seconds) is False
        with condition:
            assert condition.wait(seconds) is False
            assert condition.wait_for(lambda: 0, seconds) == 0
        assert full.join(seconds) is False
        with pytest.raises(queue.Empty):
            items.get(timeout=seconds)
        with pytest.raises(queue.Full):
            full.put(1, timeout=seconds)
    with never_switches():
        assert not lock.acquire(timeout=0)
        assert not semaphore.acquire(timeout=0)
        with pytest.raises(queue.Empty):
            items.get(timeout=0)


WRONG: list[tuple[Callable[[], object], type[Exception]]] = [
    (lambda: greenzmq.Lock().release(), RuntimeError),
    (lambda: greenzmq.RLock().release(), RuntimeError),
    (lambda: greenzmq.Lock().acquire(False, 1), ValueError),
    (lambda: greenzmq.Lock().acquire(True, -2), ValueError),
    (lambda: greenzmq.Lock().acquire(True, "1"), TypeError),
    (lambda: greenzmq.Lock().acquire(True, float("nan")), ValueError),
    (lambda: greenzmq.Semaphore(-1), ValueError),
    (lambda: greenzmq.Semaphore().acquire(False, 1), ValueError),
    (lambda: greenzmq.Semaphore().release(0), ValueError),
    (lambda: greenzmq.BoundedSemaphore(1).release(), ValueError),
    (lambda: greenzmq.Semaphore(1, bounded=True).release(), ValueError),
    (lambda: greenzmq.Condition().wait(), RuntimeError),
    (lambda: greenzmq.Condition().notify(), RuntimeError),
    (lambda: greenzmq.Condition().notify_all(), RuntimeError),
    (lambda: greenzmq.Condition(threading.Lock()), TypeError),
    (lambda: greenzmq.Queue().get(timeout=-1), ValueError),
    (lambda: greenzmq.Queue(1).put(1, timeout=-1), ValueError),
    (lambda: greenzmq.Queue().task_done(), ValueError),
    (lambda: greenzmq.Queue().get_nowait(), queue.Empty),
    (lambda: greenzmq.Pool(0), ValueError),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_use(number):
    """What `threading` and `queue` refuse is refused, by the same error."""
    call, error = WRONG[number]
    with pytest.raises(error):
        call()


# -- locks and conditions ----------------------------------------------------------------------------------------------


def test_a_lock_tells_who_has_it(hub):
    """Its repr names the holder, and how many wait; so do those who wait, to `waiters`."""
    lock = greenzmq.Lock()
    assert repr(lock) == "<greenzmq.Lock unlocked>"
    with lock:
        task = hub.spawn(lock.acquire)
        tick(hub, task)
        assert "locked by <" in repr(lock)
        assert repr(lock).endswith(", 1 waits>")
        (parked,) = [waiter for waiter in greenzmq.waiters() if waiter.call == "acquire"]
        assert parked.what == repr(lock)
    task.get()
    assert lock.locked()


def test_a_reentrant_lock(hub):
    """Its holder takes it again; others wait until it is released as often; they cannot release it."""
    lock = greenzmq.RLock()
    with lock, lock:
        assert lock.acquire()
        with pytest.raises(RuntimeError, match="does not have"):
            hub.run(lock.release)
        assert hub.run(lock.acquire, False) is False
        lock.release()
    assert not lock.locked()
    assert hub.run(lock.acquire, False)


def test_a_condition_gives_back_a_lock_that_was_taken_twice(hub):
    """`wait` frees a reentrant lock, however often it was taken, and takes it as often again."""
    condition = greenzmq.Condition()

    def wait() -> bool:
        with condition, condition:
            return condition.wait()

    task = hub.spawn(wait)
    tick(hub, task)
    with condition:
        condition.notify()
    assert task.get() is True
    assert hub.run(condition.acquire, False)


def test_a_kill_in_a_condition_comes_when_the_lock_is_back(hub):
    """The killed greenlet waits for the lock first, so its ``with`` releases what it has."""
    condition = greenzmq.Condition(greenzmq.Lock())

    def wait() -> None:
        with condition:
            condition.wait()

    task = hub.spawn(wait)
    tick(hub, task)
    with condition:
        task.kill(block=False)
        tick(hub, task)
        task.kill(OtherError, block=False)
        tick(hub, task)
    with pytest.raises(OtherError):
        task.get()
    assert condition.acquire(False)


def test_a_notification_of_one_that_is_killed_goes_to_another(hub):
    """Seen to be lost by `asyncio.Condition` before Python 3.13."""
    condition = greenzmq.Condition()

    def wait() -> bool:
        with condition:
            return condition.wait()

    tasks = [hub.spawn(wait) for _ in range(2)]
    tick(hub, *tasks)
    with condition:
        tasks[0].kill(block=False)
        condition.notify()
    assert tasks[1].get(5) is True


# -- queues ------------------------------------------------------------------------------------------------------------


def test_the_order_of_each_kind():
    """First in first out, last in first out, the smallest first."""
    for kind, expected in (
        (greenzmq.Queue, [3, 1, 2]),
        (greenzmq.LifoQueue, [2, 1, 3]),
        (greenzmq.PriorityQueue, [1, 2, 3]),
    ):
        items = kind()
        for item in (3, 1, 2):
            items.put(item)
        items.close()
        assert list(items) == expected


def test_an_item_that_cannot_be_compared_is_its_puts_error(hub):
    """The queue goes on without it; a getter never meets the error."""
    items: greenzmq.PriorityQueue[Any] = greenzmq.PriorityQueue(3)
    items.put(1)
    with pytest.raises(TypeError):
        items.put("text")
    items.put(0)
    items.put(2)
    assert [items.get() for _ in range(3)] == [0, 1, 2]
    for _ in range(3):
        items.put(1, False)


def test_closing_a_queue(hub):
    """Putting is over; what is there is given, then every loop over it ends, and every `put` that waits."""
    items: greenzmq.Queue[int] = greenzmq.Queue(1)
    items.put(1)
    putter = hub.spawn(items.put, 2)
    tick(hub, putter)
    items.close()
    for call in (putter.get, lambda: items.put(3)):
        with pytest.raises(greenzmq.ShutDown):
            call()
    assert items.is_shutdown
    assert list(items) == [1]
    with pytest.raises(greenzmq.ShutDown):
        items.get()
    empty: greenzmq.Queue[int] = greenzmq.Queue()
    readers = [hub.spawn(list, empty) for _ in range(3)]
    tick(hub, *readers)
    empty.put(1)
    empty.close()
    assert sorted(reader.get() for reader in readers) == [[], [], [1]]


def test_an_immediate_shutdown_drops_what_is_there(hub):
    """... and lets `join` return, as `queue.Queue.shutdown` does."""
    items: greenzmq.Queue[int] = greenzmq.Queue()
    items.put(1)
    joined = hub.spawn(items.join)
    tick(hub, joined)
    items.shutdown(immediate=True)
    assert joined.get(5) is True
    assert items.empty()


def test_a_time_limit_does_not_end_a_loop(hub):
    """An iterator whose wait has ended by a limit goes on. Seen to be over when it was a generator."""
    items: greenzmq.Queue[int] = greenzmq.Queue()
    iterator = iter(items)
    with pytest.raises(greenzmq.Timeout), hub.timeout(0.001):
        next(iterator)
    items.put(1)
    assert next(iterator) == 1


def test_join(hub):
    """It waits until each item is done with, not until each is taken."""
    items: greenzmq.Queue[int] = greenzmq.Queue()
    for item in range(3):
        items.put(item)
    joined = hub.spawn(items.join)
    for _ in range(3):
        items.get()
        tick(hub, joined)
        items.task_done()
    assert joined.get(5)
    with pytest.raises(ValueError, match="too many times"):
        items.task_done()


def test_a_poller_takes_a_queue(hub):
    """It is ready when there is an item for a newcomer, or when it is closed; also if another thread sees to that."""
    items: greenzmq.Queue[int] = greenzmq.Queue()
    poller = greenzmq.Poller()
    poller.register(items, zmq.POLLIN)
    assert poller.poll(0) == []
    getter = hub.spawn(items.get)
    tick(hub, getter)
    items.put(1)
    assert poller.poll(0) == []  # it is the getter's
    assert getter.get() == 1
    task = hub.spawn(poller.poll)
    tick(hub, task)
    hub.run_in_thread(items.put, 2)
    assert task.get(5) == [(items, zmq.POLLIN)]
    items.get()
    assert poller.poll(0) == []
    items.close()
    assert poller.poll() == [(items, zmq.POLLIN)]
