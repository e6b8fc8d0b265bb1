"""Tasks and native threads: the same on every hub."""

from __future__ import annotations

import contextvars
import functools
import gc
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import pytest
import zmq
from support.children import Child, Children
from support.forked import GREENZMQ
from support.sockets import connected, open_context, until
from support.tasks import NEVER, SOON, BoomError, boom, error_of, waiting_task
from support.variants import VARIANTS, Variant

import greenzmq
from greenzmq import GreenHub, Task

# -- results -----------------------------------------------------------------------------------------------------------


def test_result(hub: GreenHub) -> None:
    """`spawn` returns before the task begins; `get` gives its result to any number of greenlets and times."""

    def collect(*args: Any, **kwargs: Any) -> Any:
        began.append(True)
        hub.sleep()
        return args, kwargs

    began: list[bool] = []
    task = hub.spawn(collect, 1, 2, three=3)
    assert not task.done
    assert began == []
    asking = [hub.spawn(task.get) for _ in range(3)]
    assert [each.get() for each in asking] == [((1, 2), {"three": 3})] * 3
    assert task.done
    assert task.get() is task.get(timeout=0)
    assert hub.run(collect, 4) == ((4,), {})


def test_exception_comes_out(hub: GreenHub) -> None:
    """What a task raises comes out of `get` and `run` as itself, with the lines where it was raised."""
    for ask in (lambda: hub.run(boom, "x"), hub.spawn(boom, "x").get):
        with pytest.raises(BoomError, match="x") as raised:
            ask()
        assert "boom" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    task = hub.spawn(boom)
    assert task.join() is True
    assert error_of(task) is error_of(task)


def test_join(hub: GreenHub) -> None:
    """`join` says whether the task has ended: at once with 0, after the limit, or when it ends. It never raises."""
    log: list[Any] = []
    task = waiting_task(hub, log)
    assert task.join(0) is False
    assert task.join(SOON) is False
    joining = [hub.spawn(task.join), hub.spawn(task.join, NEVER)]
    hub.sleep()
    task.kill(BoomError)
    assert [each.get() for each in joining] == [True, True]
    assert task.join() is task.join(0) is True
    with pytest.raises(BoomError):
        task.get()


def test_get_in_time(hub: GreenHub) -> None:
    """`get` with a limit raises Timeout with that limit, and the task goes on."""
    log: list[Any] = []
    task = waiting_task(hub, log)
    for limit in (0, SOON):
        with pytest.raises(greenzmq.Timeout) as late:
            task.get(timeout=limit)
        assert late.value.seconds == limit
    assert not task.done
    assert log == []
    task.kill()


def test_wait_for_another_threads_task(hub: GreenHub) -> None:
    """A task may be joined, asked and killed from another thread, which waits on a hub of its own."""
    log: list[Any] = []
    task = waiting_task(hub, log)

    def other_thread() -> Any:
        there = greenzmq.hub("selector")
        greenzmq.use_hub("selector", thread=True)
        assert task.join(SOON) is False
        task.kill(BoomError("from afar"))
        assert task.done
        return there.run(str, "fine")

    assert hub.run_in_thread(other_thread) == "fine"
    with pytest.raises(BoomError, match="from afar"):
        task.get()


def test_run_is_killed_with_its_caller(hub: GreenHub) -> None:
    """Whoever is killed in `run` takes the task that it waits for along."""
    log: list[Any] = []

    def inner() -> None:
        try:
            hub.sleep(NEVER)
        finally:
            log.append("ended")

    outer = hub.spawn(hub.run, inner)
    hub.sleep()
    hub.sleep()
    outer.kill()
    until(hub, lambda: log)
    assert log == ["ended"]


# -- kill --------------------------------------------------------------------------------------------------------------


def test_kill_what_waits(hub: GreenHub) -> None:
    """The exception, given as a class or as an object, comes out where the task waits; `kill` waits for the end."""
    log: list[Any] = []
    task = waiting_task(hub, log)
    assert task.kill() is None
    assert task.done
    assert isinstance(log.pop(), greenlet.GreenletExit)
    assert isinstance(task.get(), greenlet.GreenletExit)
    task = waiting_task(hub, log)
    error = BoomError("this one")
    task.kill(error)
    assert log.pop() is error
    assert error_of(task) is error
    task = waiting_task(hub, log)
    task.kill(BoomError)
    assert type(log.pop()) is BoomError
    assert type(error_of(task)) is BoomError


@pytest.mark.parametrize("where", ["recv", "wait_fd", "join", "run_in_thread"])
def test_kill_wherever_it_waits(hub: GreenHub, where: str) -> None:
    """Each way to wait can be killed, and leaves nothing behind in the hub or on the socket."""
    release = threading.Event()
    reader, writer = os.pipe()
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        other = hub.spawn(hub.sleep, NEVER)
        ways: dict[str, Callable[[], Any]] = {
            "recv": pull.recv,
            "wait_fd": lambda: hub.wait_fd(reader),
            "join": other.join,
            "run_in_thread": lambda: hub.run_in_thread(release.wait),
        }
        task = hub.spawn(ways[where])
        for _ in range(3):
            hub.sleep()
        assert not task.done
        task.kill()
        release.set()
        assert isinstance(task.get(), greenlet.GreenletExit)
        assert all(watch.lazily_stopped for watch in hub.hub.readers.values())
        other.kill()
        push.send(b"x")
        assert pull.recv() == b"x"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    "exc", [greenlet.GreenletExit, BoomError, BoomError("object")], ids=["default", "class", "object"]
)
def test_kill_before_it_begins(hub: GreenHub, exc: Any) -> None:
    """A task that has not begun never does; it is done at once, and what killed it is its outcome."""
    began: list[int] = []
    task = hub.spawn(began.append, 1)
    task.kill(exc)
    assert task.done
    hub.sleep()
    assert began == []
    if isinstance(exc, type) and issubclass(exc, greenlet.GreenletExit):
        assert isinstance(task.get(), greenlet.GreenletExit)
    else:
        with pytest.raises(BoomError):
            task.get()


def test_kill_oneself(hub: GreenHub) -> None:
    """In its own task `kill` raises there and then."""
    log: list[Any] = []

    def suicide(exc: Any) -> None:
        try:
            tasks.pop().kill(exc)
        finally:
            log.append("cleaned up")
        log.append("not reached")

    tasks: list[Task[None]] = []
    for exc in (greenlet.GreenletExit, BoomError):
        task = hub.spawn(suicide, exc)
        tasks.append(task)
        assert task.join()
    assert log == ["cleaned up"] * 2
    with pytest.raises(BoomError):
        task.get()


def test_kill_what_refuses(hub: GreenHub) -> None:
    """A task that catches its kill goes on; `kill` waits for it as long as it is told, by default to the end."""
    log: list[Any] = []

    def stubborn() -> str:
        for _ in range(2):
            try:
                hub.sleep(NEVER)
            except BoomError as error:
                log.append(str(error))
        return "done when it likes"

    task = hub.spawn(stubborn)
    hub.sleep()
    task.kill(BoomError("1"), timeout=SOON)
    assert not task.done
    task.kill(BoomError("2"), block=False)
    assert not task.done
    assert log == ["1"]
    assert task.get() == "done when it likes"
    assert log == ["1", "2"]


def test_kill_what_is_done(hub: GreenHub) -> None:
    """Nothing happens, and the result stays what it was; the same for a task that ends in the very same turn."""
    task = hub.spawn(int, "1")
    assert task.get() == 1
    task.kill()
    task.kill(BoomError)
    assert task.get() == 1
    task = hub.spawn(hub.sleep)
    hub.sleep()
    task.kill(BoomError, block=False)  # on its way when the task ends by itself, or after it
    task.join()
    hub.sleep()


def test_kill_twice(hub: GreenHub) -> None:
    """Two kills before the hub goes round: the first one ends the task, the second finds it done."""
    log: list[Any] = []
    task = waiting_task(hub, log)
    task.kill(BoomError("1"), block=False)
    task.kill(BoomError("2"))
    assert [str(error) for error in log] == ["1"]
    with pytest.raises(BoomError, match="1"):
        task.get()


# -- exceptions that nobody asks for -----------------------------------------------------------------------------------


Told = list[tuple[str, type[BaseException], list[str]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What `sys.unraisablehook` is told: the object, the exception, and the functions in its traceback. No garbage is
    collected meanwhile.
    """

    def note(args: Any) -> None:
        functions = [frame.name for frame in traceback.extract_tb(args.exc_traceback)]
        told.append((repr(args.object), args.exc_type, functions))

    told: Told = []
    monkeypatch.setattr(sys, "unraisablehook", note)
    gc.disable()
    yield told
    gc.enable()


def test_failures_that_nobody_asks_for(hub: GreenHub, told: Told) -> None:
    """A failure that nobody has asked for is told once, as soon as the task is dropped; no other is.

    Seen to fail when the frame of the task in the traceback kept the task, until a garbage collection.
    """
    asked = hub.spawn(boom, "asked for")
    with pytest.raises(BoomError):
        asked.get()
    killed = hub.spawn(hub.sleep, NEVER)
    killed.kill()
    joined, kept = hub.spawn(boom, "joined"), hub.spawn(boom, name="kept")
    joined.join()
    hub.sleep()
    assert told == []  # it may still be asked
    del asked, killed, joined
    until(hub, lambda: told)
    del kept
    until(hub, lambda: len(told) > 1)
    assert [name for name, _, _ in told] == [f"<Task {name} failed on {hub.hub!r}>" for name in ("boom", "kept")]
    assert all(kind is BoomError and functions[-1] == "boom" for _, kind, functions in told)


@pytest.mark.parametrize(
    "how", ["at once", "after a wait", "in recv", "killed", "killed before it begins", "with another task's error"]
)
def test_failure_is_told_at_once(hub: GreenHub, told: Told, how: str) -> None:
    """Where nobody keeps the task a failure is told when it happens, in whatever way, with the task's name.

    Seen to fail when the frame of the task in the traceback kept the task, until a garbage collection.
    """

    def fail_later() -> None:
        hub.sleep()
        boom()

    with open_context(hub) as context:
        pull, _ = connected(context, zmq.PULL, zmq.PUSH)
        ways: dict[str, Callable[[], Any]] = {
            "at once": lambda: hub.spawn(boom, name="mine"),
            "after a wait": lambda: hub.spawn(fail_later, name="mine"),
            "in recv": lambda: (hub.spawn(pull.recv, name="mine"), hub.hub.call_soon(pull.close)),
            "killed": lambda: (hub.spawn(hub.sleep, NEVER, name="mine"), hub.sleep())[0].kill(BoomError),
            "killed before it begins": lambda: hub.spawn(hub.sleep, name="mine").kill(BoomError),
            "with another task's error": lambda: hub.spawn(hub.spawn(boom).get, name="mine"),
        }
        ways[how]()
        until(hub, lambda: told)
    ((name, kind, _),) = told
    assert name == f"<Task mine failed on {hub.hub!r}>"
    assert kind is (zmq.ZMQError if how == "in recv" else BoomError)


def test_names_of_tasks(hub: GreenHub) -> None:
    """A task has the name of its function, or the one that it was given; a function's own `name` comes in a partial."""

    def greet(name: str) -> str:
        return f"hello {name}"

    task = hub.spawn(functools.partial(greet, name="world"))
    assert task.name == greet.__qualname__
    assert task.get() == "hello world"
    named = hub.spawn(str, name="greeter")
    assert named.name == "greeter"
    assert "<Task greeter running on " in repr(named)
    assert hub.run(greet, name="world") == "hello world"


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    program = "from programs import tasks; tasks.fail({!r})"
    programs = {v.id: Child(program.format(v.id), needs=v.needs, imported=GREENZMQ) for v in VARIANTS}
    running = Children.of_tests(request, programs)
    yield running
    running.close()


def test_kept_failures_are_told_at_exit(variant: Variant, children: Children) -> None:
    """A failed task that is kept and never asked is told when its process ends; in a forked child it never is.

    Seen to fail when nothing was told at exit, and when the child told it, too.
    """
    done = children[variant.id]
    assert done.status == 0, done.err
    assert done.err.count("Exception ignored in: <Task the divider failed on ") == 1, done.err
    assert done.err.count("ZeroDivisionError") == 1, done.err


# -- coroutines --------------------------------------------------------------------------------------------------------


async def coroutine(*_: object) -> None:
    """What no greenlet can run."""


def returns_coroutine() -> object:
    return coroutine()


class Awaited:
    async def __call__(self) -> None: ...


NOT_PLAIN: dict[str, tuple[Callable[[], Any], str]] = {
    "coroutine function": (lambda: coroutine, "coroutine is a coroutine function"),
    "partial": (lambda: functools.partial(functools.partial(coroutine, 1), 2), "coroutine is a coroutine function"),
    "coroutine": (coroutine, "coroutine(...) is a coroutine, and not a function"),
    "returns a coroutine": (lambda: returns_coroutine, "returns_coroutine has returned the coroutine coroutine(...)"),
    "callable": (Awaited, "has returned the coroutine Awaited.__call__(...)"),
}


@pytest.mark.parametrize(("make", "fault"), NOT_PLAIN.values(), ids=NOT_PLAIN)
@pytest.mark.parametrize("call", ["spawn", "run", "run_in_thread"])
def test_coroutines_are_refused(hub: GreenHub, call: str, make: Callable[[], Any], fault: str) -> None:
    """Whoever gives a coroutine, or a function that returns one, gets a TypeError that says what to do; nothing else
    complains.

    Seen to fail when such a task ended well, and did nothing.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TypeError) as raised:
            getattr(hub, call)(make()).get()  # only a spawned one gets so far
        gc.collect()
    assert not [each for each in caught if "never awaited" in str(each.message)]
    name = "Awaited.__call__" if make is Awaited else "coroutine"
    assert fault in str(raised.value)
    assert f"; greenzmq runs plain functions: in a coroutine write await {name}(...), " in str(raised.value)


# -- contexts and threads ----------------------------------------------------------------------------------------------

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_context_variables(hub: GreenHub) -> None:
    """A task and a native thread see the context at the time of the call, and what they set stays theirs."""

    def change(value: str) -> str:
        seen = variable.get()
        variable.set(value)
        return seen

    variable.set("ours")
    task = hub.spawn(change, "task's")
    variable.set("later")
    assert task.get() == "ours"
    assert hub.run_in_thread(change, "thread's") == "later"
    assert hub.run(change, "run's") == "later"
    assert variable.get() == "later"


def test_native_thread(hub: GreenHub) -> None:
    """The function runs in another native thread with all its arguments, while other tasks go on."""

    def collect(*args: Any, **kwargs: Any) -> Any:
        return threading.get_native_id(), args, kwargs

    thread, *rest = hub.run_in_thread(collect, 1, two=2)
    assert rest == [(1,), {"two": 2}]
    assert thread != threading.get_native_id()
    ticks = []
    release = threading.Event()
    task = hub.spawn(hub.run_in_thread, release.wait)
    for number in range(5):
        hub.sleep(0.001)
        ticks.append(number)
    assert not task.done
    release.set()
    assert task.get() is True


def test_native_threads_run_at_once(hub: GreenHub) -> None:
    """Each call has a thread of its own: ten that wait for each other all come through."""
    barrier = threading.Barrier(10)
    tasks = [hub.spawn(hub.run_in_thread, barrier.wait, 20) for _ in range(10)]
    assert sorted(task.get() for task in tasks) == [*range(10)]


def test_exception_in_a_native_thread(hub: GreenHub) -> None:
    """What the function raises comes out here with its traceback, whatever it is."""
    with pytest.raises(BoomError, match="there") as raised:
        hub.run_in_thread(boom, "there")
    assert "boom" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    with pytest.raises(SystemExit):
        hub.run_in_thread(sys.exit, 3)


def test_killed_while_a_native_thread_works(hub: GreenHub) -> None:
    """The greenlet goes at once; the thread goes on to its end, and its outcome is dropped without a word."""
    ended, release = threading.Event(), threading.Event()

    def work() -> None:
        release.wait()
        ended.set()
        raise BoomError

    task = hub.spawn(hub.run_in_thread, work)
    hub.sleep()
    hub.sleep()
    task.kill()
    assert isinstance(task.get(), greenlet.GreenletExit)
    assert not ended.is_set()
    release.set()
    hub.run_in_thread(ended.wait)
    gc.collect()
    hub.sleep()
