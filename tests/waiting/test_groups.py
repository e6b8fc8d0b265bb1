"""Task groups and pools: what ends with what, and what comes out."""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Callable

import pytest
from support.sockets import in_hub, tick, until

import greenzmq


class OtherError(Exception):
    pass


# -- groups ------------------------------------------------------------------------------------------------------------


def failures(block: Callable[[], object]) -> list[str]:
    """What comes out of a block with a group: an ExceptionGroup; on Python 3.10, which has none, the first failure."""
    kind = getattr(builtins, "ExceptionGroup", OtherError)
    with pytest.raises(kind) as raised:
        block()
    return [str(error) for error in getattr(raised.value, "exceptions", [raised.value])]


def test_a_group_ends_when_its_tasks_have(hub):
    """Those, too, that they spawn in the group."""
    log: list[int] = []

    def work(depth: int) -> None:
        hub.sleep()
        if depth:
            group.spawn(work, depth - 1)
        log.append(depth)

    with hub.group() as group:
        group.spawn(work, 3, name="worker")
        assert "1 running" in repr(group)
    assert log == [3, 2, 1, 0]
    with pytest.raises(RuntimeError, match="over"):
        group.spawn(work, 0)


def test_the_first_failure_ends_the_rest(hub):
    """The other tasks are killed, the block's own wait ends, and what failed comes out together."""
    log: list[str] = []

    def wait(name: str) -> None:
        try:
            hub.sleep(1000)
        finally:
            log.append(name)

    def fail() -> None:
        hub.sleep()
        raise OtherError("mine")

    def block() -> None:
        with hub.group() as group:
            group.spawn(wait, "task")
            group.spawn(fail)
            wait("block")

    assert failures(block) == ["mine"]
    assert sorted(log) == ["block", "task"]


def test_a_block_that_raises_ends_its_tasks(hub):
    """An exception of the block's comes out with what its tasks raise on their way out."""
    tasks = []

    def block() -> None:
        with hub.group() as group:
            tasks.append(group.spawn(hub.sleep, 1000))
            hub.sleep()
            raise OtherError("block")

    assert failures(block) == ["block"]
    assert tasks[0].done


def test_a_kill_and_a_limit_end_the_tasks_and_come_out(hub):
    """Neither is wrapped; both wait until the tasks have ended."""
    ended: list[str] = []

    def member() -> None:
        try:
            hub.sleep(1000)
        finally:
            hub.sleep(0.001)
            ended.append("member")

    def program() -> None:
        with hub.group() as group:
            group.spawn(member)

    with pytest.raises(greenzmq.Timeout), hub.timeout(0.005):
        program()
    assert ended == ["member"]
    task = hub.spawn(program)
    tick(hub, task)
    task.kill()
    assert ended == ["member"] * 2
    task = hub.spawn(program)
    tick(hub, task)
    task.kill(KeyError, block=False)
    with pytest.raises(KeyError):
        task.get()


def test_a_task_that_was_killed_has_not_failed(hub):
    """Somebody kills one of them: the others go on."""
    with hub.group() as group:
        task = group.spawn(hub.sleep, 1000)
        other = group.spawn(lambda: (hub.sleep(0.001), "result")[1])
        hub.sleep()
        task.kill()
    assert other.get() == "result"


def test_what_fails_in_its_cleanup_ends_nobodys(hub, monkeypatch):
    """A task that is killed for another's failure comes to its end, also if a third one fails meanwhile.

    Seen to fail: each failure killed all others anew, in the midst of their ``finally``.
    """
    log, told = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: told.append(str(report.exc_value)))

    def clean_up(text: str | None) -> None:
        try:
            hub.sleep(1000)
        finally:
            if text is not None:
                raise OtherError(text)
            for _ in range(10):
                hub.sleep()
            log.append("cleaned up")

    def block() -> None:
        with hub.group() as group:
            for text in (None, "second", "third"):
                group.spawn(clean_up, text)
            hub.sleep()
            raise OtherError("first")

    raised = failures(block)
    assert len(raised) == (3 if hasattr(builtins, "ExceptionGroup") else 1)
    assert raised + told == ["first", "second", "third"]  # what the one exception cannot carry is reported
    assert log == ["cleaned up"]


def test_groups_in_groups(hub):
    """A failure in the outer one ends the inner one's block, whose tasks end first."""
    log: list[str] = []

    def inner() -> None:
        with hub.group() as group:
            group.spawn(note)

    def note() -> None:
        try:
            hub.sleep(1000)
        finally:
            log.append("inner")

    def fail() -> None:
        hub.sleep()
        raise OtherError("outer")

    def block() -> None:
        with hub.group() as outer:
            outer.spawn(fail)
            inner()

    assert failures(block) == ["outer"]
    assert log == ["inner"]


def test_wrong_use_of_a_group(hub):
    """A group that was not entered, or is entered twice, or in the hub itself, says so."""
    group = hub.group()
    with pytest.raises(RuntimeError, match="with hub"):
        group.spawn(int)
    with group, pytest.raises(RuntimeError, match="make another one"):
        group.__enter__()
    assert isinstance(in_hub(hub, lambda: hub.group().__enter__()), greenzmq.BlockingCallError)


# -- pools -------------------------------------------------------------------------------------------------------------


def test_a_pool_limits_how_many_run(hub):
    """`spawn` waits for a place; `map` keeps the order."""
    pool = greenzmq.Pool(2)
    running, most, size, guard = [0], [0], [2], threading.Lock()  # calls may be made in threads

    def work(number: int) -> int:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        for _ in range(5000):  # until so many have run at once as may
            if most[0] >= size[0]:
                break
            greenzmq.hub().sleep(0.001)
        greenzmq.hub().sleep(0.001 * (3 - number % 3))
        with guard:
            running[0] -= 1
        return number * number

    assert pool.map(work, range(7)) == [number * number for number in range(7)]
    assert list(pool.imap(work, range(7))) == [number * number for number in range(7)]
    assert sorted(pool.imap_unordered(work, range(7))) == [number * number for number in range(7)]
    assert most == [2]
    assert pool.map(pow, [2, 3], [3, 2, 1]) == [8, 9]
    size[0] = 3
    with greenzmq.Pool(3) as other:
        tasks = [other.spawn(work, number) for number in range(5)]
    assert [task.done for task in tasks] == [True] * 5
    assert most == [3]


def test_a_pool_whose_call_fails(hub):
    """`map` raises what failed, and ends the rest; the iterators raise it in its place, and go on."""
    pool = greenzmq.Pool(2)
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda n: (greenzmq.hub().sleep(), 1 // n), [1, 0, 1, 1])
    assert pool.join(5)
    results = pool.imap(lambda n: 6 // n, [1, 0, 3])
    assert next(results) == 6
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == [2]

    def numbers():
        yield 1
        raise OtherError

    results = pool.imap_unordered(abs, numbers())
    assert next(results) == 1
    with pytest.raises(OtherError):
        next(results)


def test_an_iterator_that_is_left(hub):
    """It does not run ahead of who takes the results; closed, or dropped, it ends its calls."""
    for way in ("close", "drop", "kill"):
        pool, begun = greenzmq.Pool(2), []
        results = pool.imap_unordered(lambda n, begun=begun: begun.append(n), range(1000))
        next(results)
        until(hub, lambda begun=begun: len(begun) >= 4)
        for _ in range(20):
            hub.sleep()
        assert 4 <= len(begun) <= 8
        if way == "close":
            results.close()
        elif way == "drop":
            del results
        else:
            pool.kill()
            results.close()
        until(hub, lambda pool=pool: pool.free_count() == 2)
        assert len(pool) == 0
        assert len(begun) < 10
