"""`hub.call_from_thread` and `hub.submit`: what native threads have a hub do."""

from __future__ import annotations

import concurrent.futures
import contextvars
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from greenlet import GreenletExit, getcurrent
from support.children import Child, Children, need
from support.forked import RUNTIMES
from support.hub_thread import HubThread
from support.sockets import in_hub, open_context, until
from support.tasks import BoomError, boom
from support.variants import Variant

import greenzmq
from greenzmq import GreenHub
from greenzmq.errors import BlockingCallError, HubError
from greenzmq.process import unpatched

pytestmark = pytest.mark.all_loops


@pytest.fixture
def hub(contract_hub: Any, hub_thread: HubThread) -> GreenHub:
    """As programs get it, which on eventlet has it hear threads."""
    return hub_thread.call(lambda: greenzmq.hub(contract_hub))


def in_thread(hub: GreenHub, function: Callable[[], Any]) -> Any:
    """The outcome of `function` in a plain native thread, while the hub runs the others."""
    return hub.run_in_thread(function)


@pytest.mark.cooperative("there each submitted function has a thread of its own")
def test_the_result_comes_back(hub: GreenHub) -> None:
    """With all arguments; the function runs in a greenlet of the hub, where it may wait."""

    def work(*args: Any, **kwargs: Any) -> Any:
        hub.sleep()
        return args, kwargs, threading.get_ident(), greenzmq.hub().hub is hub.hub

    expected = ((1, 2), {"three": 3}, threading.get_ident(), True)
    assert in_thread(hub, lambda: hub.call_from_thread(work, 1, 2, three=3)) == expected
    assert in_thread(hub, lambda: hub.submit(work, 1, 2, three=3).result(30)) == expected


def test_the_exception_comes_out(hub: GreenHub) -> None:
    """As itself, from `call_from_thread`, `result` and `exception`."""
    with pytest.raises(BoomError, match="x"):
        in_thread(hub, lambda: hub.call_from_thread(boom, "x"))
    error = in_thread(hub, lambda: hub.submit(boom, "x").exception())
    assert isinstance(error, BoomError)
    with pytest.raises(TypeError, match="coroutine function"):
        hub.submit(coroutine)


async def coroutine() -> None: ...


def test_a_thread_uses_a_green_socket(hub: GreenHub) -> None:
    """While greenlets wait on it. Done without the hub, the wait of two threads would be a WrongHubError."""
    with open_context(hub) as context:
        pair, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        pair.bind("inproc://threads")
        other.connect("inproc://threads")
        received = hub.spawn(lambda: [other.recv() for _ in range(4)])

        def talk() -> bytes:
            for number in range(4):
                hub.call_from_thread(pair.send, b"%d" % number)
            return hub.call_from_thread(pair.recv)

        answer = hub.spawn(in_thread, hub, talk)
        assert received.get() == [b"0", b"1", b"2", b"3"]
        other.send(b"answer")
        assert answer.get() == b"answer"


@pytest.mark.cooperative("there each submitted function has a thread of its own")
def test_many_threads_at_once(hub: GreenHub) -> None:
    """Every call is made once, and those of one thread begin in order."""
    calls: list[tuple[int, int]] = []

    def work(thread: int) -> int:
        submitted = [hub.submit(lambda number=number: calls.append((thread, number))) for number in range(200)]
        done, undone = concurrent.futures.wait(submitted, 30)
        assert not undone
        assert sum(1 for _ in concurrent.futures.as_completed(submitted, 30)) == 200
        return len(done)

    tasks = [hub.spawn(in_thread, hub, lambda thread=thread: work(thread)) for thread in range(4)]
    assert [task.get() for task in tasks] == [200] * 4
    for thread in range(4):
        assert [number for who, number in calls if who == thread] == [*range(200)]


@pytest.mark.cooperative("there each submitted function has a thread of its own")
def test_a_call_is_cancelled(hub: GreenHub) -> None:
    """Before it has begun, when it does not begin; while it waits, when its task is killed; and not after its end."""
    seen: list[Any] = []

    def wait() -> None:
        seen.append("begun")
        try:
            hub.sleep(60)
        except GreenletExit:
            seen.append("killed")
            raise

    early = hub.submit(wait)
    assert early.cancel()
    late = hub.submit(wait)
    until(hub, lambda: seen)
    assert late.running()
    assert in_thread(hub, late.cancel)
    until(hub, lambda: len(seen) == 2)
    assert seen == ["begun", "killed"]
    for future in (early, late):
        assert future.cancelled()
        assert future.done()
        for ask in (future.result, future.exception):
            with pytest.raises(concurrent.futures.CancelledError):
                ask()
    ended = hub.submit(int)
    assert ended.result() == 0
    assert not ended.cancel()


def test_a_caller_that_gives_up_takes_the_call_with_it(hub: GreenHub) -> None:
    """A greenlet of the same hub is killed, or its time is over, while it waits for the result."""
    begun: list[Any] = []
    ended: list[Any] = []

    def wait() -> None:
        begun.append(True)
        try:
            hub.sleep(60)
        finally:
            ended.append(True)

    task = hub.spawn(hub.call_from_thread, wait)
    until(hub, lambda: begun and len(greenzmq.waiters()) >= 2)
    task.kill()
    until(hub, lambda: ended)
    seconds = 0.01
    while len(begun) < 2:  # on a busy machine a short time may be over before the call has begun
        with pytest.raises(greenzmq.Timeout), hub.timeout(seconds):
            hub.call_from_thread(wait)
        seconds *= 4
    until(hub, lambda: len(ended) == 2)


def test_a_wait_has_a_limit(hub: GreenHub) -> None:
    """In threads and in greenlets; the function goes on."""
    event = greenzmq.GreenEvent()
    future = hub.submit(event.wait)
    for timeout in (0.01, 0, -1):
        for ask in (future.result, future.exception):
            with pytest.raises(concurrent.futures.TimeoutError):
                ask(timeout)
            with pytest.raises(concurrent.futures.TimeoutError):
                in_thread(hub, lambda: ask(timeout))  # noqa: B023
    with pytest.raises(ValueError, match="NaN"):
        future.result(float("nan"))
    event.set()
    assert future.result() is True


def test_a_greenlet_of_the_hub_parks(hub: GreenHub) -> None:
    """It need not be another thread. In the hub's own greenlet a wait is an error, and what need not wait works."""
    current = getcurrent()
    assert hub.call_from_thread(lambda: getcurrent() is current) is False
    future = hub.submit(hub.sleep)
    assert isinstance(in_hub(hub, lambda: hub.call_from_thread(hub.sleep, 0.05)), BlockingCallError)
    future.result()
    assert in_hub(hub, future.result) is None


def test_another_hubs_greenlet_parks_there(hub: GreenHub, variant: Variant) -> None:
    """The other thread's hub goes on meanwhile: its ticker lets the function here end."""
    other = HubThread(variant)
    try:
        event = greenzmq.GreenEvent()

        def there() -> Any:
            theirs = GreenHub.of(other.hub)
            ticker = theirs.spawn(lambda: (theirs.sleep(), event.set()))
            result = hub.call_from_thread(event.wait)
            ticker.get()
            return result

        assert in_thread(hub, lambda: other.call(there)) is True
    finally:
        other.close()


def test_the_threads_context_variables_are_seen(hub: GreenHub) -> None:
    """As in `run_in_thread`, the other way round. What the function sets is its own."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def work() -> int:
        before = variable.get()
        variable.set(before + 1)
        return before

    def thread() -> list[int]:
        variable.set(7)
        return [hub.call_from_thread(work), hub.call_from_thread(work), variable.get()]

    assert in_thread(hub, thread) == [7, 7, 7]
    assert variable.get() == 0


def test_what_nobody_asks_for_is_reported(hub: GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception, when the future is dropped; not if somebody has seen it, nor a cancellation."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: told.append((report.exc_value, repr(report.object))))
    futures = [hub.submit(boom, "seen"), hub.submit(boom, "lost"), hub.submit(hub.sleep, 60)]
    until(hub, futures[1].done)
    assert isinstance(futures[0].exception(), BoomError)
    futures.pop().cancel()
    futures.clear()
    gc.collect()
    until(hub, lambda: told)
    assert [str(error) for error, _ in told] == ["lost"]
    assert told[0][1].startswith("<HubFuture of boom finished on")


@pytest.mark.cooperative("there each submitted function has a thread of its own")
def test_a_hub_that_has_ended_is_told(variant: Variant) -> None:
    """What it had not begun yet fails as well: no thread waits for ever."""
    thread = HubThread(variant)
    hub = GreenHub.of(thread.hub)
    waiting: list[Any] = []
    if variant.name != "gevent":  # which runs what is pending as it ends
        waiting.append(thread.call_in_main(lambda: hub.submit(int)))
    thread.close()
    del thread
    for future in waiting:
        with pytest.raises(HubError, match="has ended before it could begin <HubFuture of int pending"):
            future.result(10)
    with pytest.raises(HubError, match="has ended"):
        hub.submit(int)
    with pytest.raises(HubError, match="has ended"):
        hub.call_from_thread(int)


@pytest.mark.runtime("eventlet")
@pytest.mark.main_greenlet
def test_eventlet_hears_threads_while_nobody_waits_in_greenzmq(hub: GreenHub) -> None:
    """All greenlets wait in eventlet's own calls. Seen to hang before `greenzmq.hub()` had the hub hear threads."""
    import eventlet.event

    called = eventlet.event.Event()
    unpatched.start_new_thread(hub.call_from_thread, (called.send, 1))
    with eventlet.Timeout(10):
        assert called.wait() == 1


# -- processes of their own --------------------------------------------------------------------------------------------

PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "nothing": "",
}
#: Native threads, where `threading` may be patched: one gets a result, one waits for a future, one is cancelled.
PATCHED = """
import concurrent.futures
import greenzmq
from greenzmq.process import unpatched
def program():
    hub = greenzmq.hub()
    got, stayed, ended = [], [], []
    def direct():
        got.append(hub.call_from_thread(lambda: (hub.sleep(0.01), "direct")[1]))
    def waits():
        future = hub.submit(lambda: (hub.sleep(0.01), "waited")[1])
        try:
            future.result(0.001)
        except concurrent.futures.TimeoutError:
            pass
        got.append(future.result())
    def stays():
        try:
            hub.call_from_thread(lambda: (stayed.append(True), hub.sleep(60)))
        except concurrent.futures.CancelledError:
            ended.append("cancelled by the end of main")
    for function in (direct, waits, stays):
        unpatched.start_new_thread(function, ())
    while len(got) < 2 or not stayed:
        hub.sleep(0.001)
    return got, ended
got, ended = greenzmq.main(program, hub={hub!r})
import time
while not ended:
    time.sleep(0.001)
print(sorted(got), ended)
"""
#: A forked child asks the hub of a thread that it has not inherited.
FORKED = """
import os, greenzmq
from greenzmq.process import unpatched
hubs = []
def thread():
    hub = greenzmq.hub("selector")
    hubs.append(hub)
    hub.sleep(60)
unpatched.start_new_thread(thread, ())
while not hubs:
    pass
assert hubs[0].call_from_thread(int) == 0
child = os.fork()
if not child:
    try:
        hubs[0].call_from_thread(int)
    except greenzmq.HubError as error:
        print(str(error).rpartition(">")[2], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
CHILDREN = {
    f"{patch}, {hub}": Child(
        f"{PATCHES[patch]}\n{PATCHED.replace('{hub!r}', repr(hub))}", needs=tuple({patch, hub} & {"gevent", "eventlet"})
    )
    for patch, hub in [
        ("gevent", "gevent"),
        ("eventlet", "eventlet"),
        ("gevent", "selector"),
        ("nothing", "selector"),
        ("nothing", "gevent"),
        ("nothing", "eventlet"),
        ("nothing", "asyncio"),
    ]
}
CHILDREN["forked"] = Child(FORKED, watchdog=False, imported=RUNTIMES)


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", [name for name in CHILDREN if name != "forked"])
def test_native_threads_beside_patches(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """Their waits are native ones, whatever is patched; and the end of `main` ends their calls."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.err, done.out) == ("", "['direct', 'waited'] ['cancelled by the end of main']\n")


@pytest.mark.parametrize("child", ["forked"])
def test_a_forked_child_is_told(child: str, children: Children) -> None:
    """The hub of another thread does not run there."""
    assert (children[child].err, children[child].out) == ("", " has ended: it runs nothing any more\n")
