"""What `greenzmq.testing` offers besides the contract of hubs, on every hub."""

from __future__ import annotations

from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import greenlet
import pytest
import zmq
from support.inside import greenlet_of, listeners_of, state_of
from support.sockets import connected, fill, open_context, parked, receives, sends, until

import greenzmq
from greenzmq.testing import ContractError, assert_no_switch, assert_switches, check_socket, wait_all_parked

# -- assert_switches ---------------------------------------------------------------------------------------------------


def test_switches_are_counted(hub):
    """A wait is one switch, a call that need not wait is none; the count can be read meanwhile."""
    with assert_switches(2) as switches:
        hub.sleep(0)
        assert switches.count == 1
        hub.sleep(0.001)
    with open_context(hub) as context, assert_no_switch():
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        push.send(b"x")
        pull.recv()


def sleep_in_block(hub: greenzmq.GreenHub, switches: int, times: int) -> None:
    with assert_switches(switches):
        for _ in range(times):
            hub.sleep(0)


def test_a_wrong_number_of_switches(hub):
    """One switch too few, or too many, fails the block at its end."""
    for times in (0, 2):
        with pytest.raises(AssertionError, match=f"^this greenlet gave up control {times} times, not 1 times$"):
            sleep_in_block(hub, 1, times)


def test_a_switch_where_none_may_be(hub):
    """A switch to any other greenlet counts, not only one to the hub."""
    with pytest.raises(AssertionError, match="gave up control 1 times, not 0"), assert_no_switch():
        greenlet.greenlet(lambda: None).switch()


def test_what_a_block_raises_comes_out(hub):
    """An exception out of the block is not hidden by the count, and the thread's trace function is what it was."""
    seen: list[str] = []
    before = greenlet.settrace(lambda event, _: seen.append(event))
    try:
        with pytest.raises(ZeroDivisionError), assert_switches(7):
            hub.sleep(1 / 0)
        hub.sleep(0)
        assert seen
    finally:
        greenlet.settrace(before)
    assert greenlet.gettrace() is before


def test_blocks_of_several_greenlets_overlap(hub):
    """Each block counts its own greenlet's switches, whichever ends first."""
    tasks = [hub.spawn(sleep_in_block, hub, times, times) for times in (3, 1, 2, 0)]
    with assert_switches(4):  # none of those is this one's
        for _ in range(4):
            hub.sleep(0)
    for task in tasks:
        task.get()
    assert greenlet.gettrace() is None


# -- check_socket ------------------------------------------------------------------------------------------------------


#: What to break where two wait to receive: the object, its attribute, a wrong value, and what has to be said of it.
WRONG = {
    "fast path": ("receiving", "fast_calls_left", 5, "the fast path is closed"),
    "has_waiters": ("", "has_waiters", False, "`has_waiters`"),
    "socket": ("", "socket", None, "`socket` is set"),
    "watch": ("watch", "started", False, "a watch calls back"),
    "hub": ("watch", "hub", None, "on the hub"),
    "watching": ("hub", "readers", {}, "in hub.readers"),
    "first": ("receiving", "first", None, "`has_waiters`|`last` is the last"),
    "last": ("receiving", "last", None, "`last` is the last"),
    "previous": ("receiving.last", "previous", None, "the waiter before it"),
    "other hub": ("receiving.first", "hub", None, "on the socket's hub"),
    "dead": ("receiving.first", "party", SimpleNamespace(dead=True), "has ended"),
}


def test_check_socket_notices(hub, context, monkeypatch):
    """Each invariant that is broken on purpose is noticed, and named."""
    pull, _ = connected(context, zmq.PULL, zmq.PUSH)
    tasks = [parked(hub, receives, pull.recv) for _ in range(2)]
    check_socket(pull)
    for path, name, value, rule in WRONG.values():
        owner = attrgetter(path)(state_of(pull)) if path else state_of(pull)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            with pytest.raises(ContractError, match=rule):
                check_socket(pull)
    with pytest.raises(ContractError, match="greenlets wait on"):
        check_socket(pull, idle=True)
    for task in tasks:
        task.kill()
    check_socket(pull, idle=True)


def test_check_socket_in_every_state(hub, context):
    """The invariants hold before anybody waits, while some wait to receive, to send and for both, and at the end."""
    pair, _ = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
    check_socket(pair, idle=True)
    tasks = [parked(hub, receives, pair.recv)]
    check_socket(pair)
    fill(pair)
    tasks.append(parked(hub, sends, pair.send, b"x"))
    check_socket(pair)
    tasks.append(parked(hub, listeners_of, pair.poll))
    check_socket(pair)
    pair.close()
    check_socket(pair)
    for task in tasks:
        with pytest.raises(zmq.ZMQError):
            task.get()
    check_socket(pair, idle=True)


# -- wait_all_parked ---------------------------------------------------------------------------------------------------


def test_wait_all_parked(hub, context):
    """It comes back when the last message has gone through a chain of greenlets and all wait again; says for what."""
    pairs = [connected(context, zmq.PAIR, zmq.PAIR) for _ in range(5)]
    got: list[bytes] = []

    def pass_on(source: Any, target: Any) -> None:
        while True:
            message = source.recv()
            target.send(message) if target else got.append(message)

    targets = [*(left for left, _ in pairs[1:]), None]
    tasks = [hub.spawn(pass_on, right, target) for (_, right), target in zip(pairs, targets, strict=True)]
    for what in (tasks, hub, hub.hub):
        pairs[0][0].send(b"message")
        found = wait_all_parked(what)
        assert sorted(id(each.greenlet) for each in found) == sorted(id(greenlet_of(task)) for task in tasks)
        assert {each.call for each in found} == {"recv"}
    assert got == [b"message"] * 3
    for task in tasks:
        task.kill()
    assert wait_all_parked(tasks) == wait_all_parked(hub) == []


def test_wait_all_parked_sees_new_tasks(hub):
    """Of a hub it waits for those, too, that its tasks spawn meanwhile."""
    log: list[str] = []
    event = greenzmq.GreenEvent()

    def spawns(depth: int) -> None:
        hub.sleep(0)
        log.append("ran")
        if depth:
            hub.spawn(spawns, depth - 1)
        event.wait()

    hub.spawn(spawns, 4)
    assert len(wait_all_parked(hub)) == len(log) == 5
    event.set()
    assert wait_all_parked(hub) == []


def test_wait_all_parked_gives_up(hub):
    """One that only lets others have their turn does not wait: that is an error, which says where it is."""
    over: list[bool] = []

    def spins() -> None:
        while not over:
            hub.sleep(0)

    task = hub.spawn(spins)
    with pytest.raises(AssertionError, match=r"not all wait, after 0\.01 s: \[<Task .*spins running"):
        wait_all_parked([task], 0.01)
    over.append(True)
    task.join()


def test_wait_all_parked_takes_greenlets(hub):
    """What it is given may be greenlets of whatever kind; one that is dead has no say."""
    event = greenzmq.GreenEvent()
    task = hub.spawn(event.wait)
    dead = greenlet.greenlet(lambda: None)
    dead.switch()
    until(hub, lambda: greenlet_of(task))
    (found,) = wait_all_parked([greenlet_of(task), dead])
    assert found.what == repr(event)
    event.set()
    task.join()
