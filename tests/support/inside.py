"""All that tests know of the inside of greenzmq. Each function here reads or replaces one private thing.

(And each in `support.inside_states`, which is of the states that libzmq's sockets leave behind.)

So a change of the engine changes this file, `greenzmq.testing.sockets` and `greenzmq.diagnostics`, and no test. Only
the tests of a single module (`tests/hubs`, `whom_to_wake`, `Listeners`) import its private parts by name.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import greenlet
import zmq

import greenzmq
from greenzmq import counts, stalls
from greenzmq.hubs import Hub, Watch
from greenzmq.polling import poll_set
from greenzmq.polling import poller as green_poller
from greenzmq.proxies import green
from greenzmq.sockets import (
    accelerator,
    calls,
    counting,
    directions,
    event_wait,
    fairness,
    fd_watch,
    locked,
    operations,
    shared_waiters,
    sharing,
    sleeping,
    timeouts,
    waiters,
)
from greenzmq.sockets import socket as green_socket
from greenzmq.sockets import tracker as trackers
from greenzmq.waiting import counting as waits
from greenzmq.waiting import turns, waiter
from greenzmq.waiting.time_limit import TimeLimit
from greenzmq.waiting.waiter import Waiter

if TYPE_CHECKING:
    import pytest  # not at run time: programs in child processes import this module, too

# -- who waits on a socket --------------------------------------------------------------------------------------------


def state_of(socket: greenzmq.Socket) -> Any:
    """The `SocketState`, which all green objects for one libzmq socket share."""
    return socket._greenzmq_state


def unawaited_of(socket: Any) -> list[Any]:
    """References to the futures of an awaitable socket that nobody waits for; while there are some, no call is fast."""
    return [*socket._greenzmq_state.futures]


def receivers_of(socket: greenzmq.Socket) -> list[Waiter]:
    """The waiters in the queue to receive, in order."""
    return [*socket._greenzmq_state.receiving]


def senders_of(socket: greenzmq.Socket) -> list[Waiter]:
    """The waiters in the queue to send, in order."""
    return [*socket._greenzmq_state.sending]


def listeners_of(socket: greenzmq.Socket) -> Any:
    """The listeners of the socket: Pollers and `Socket.poll`."""
    return socket._greenzmq_state.listeners


def parked_on(socket: greenzmq.Socket) -> int:
    """How many greenlets are parked on the socket itself."""
    state = socket._greenzmq_state
    return sum(1 for queue in (state.receiving, state.sending, state.polling) for _ in queue)


def has_waiters(socket: greenzmq.Socket) -> bool:
    """Whether any greenlet, Poller or task waits on the socket."""
    return socket._greenzmq_state.has_waiters


def hub_of(socket: greenzmq.Socket) -> Hub | None:
    """The hub on which greenlets waited last on the socket."""
    return socket._greenzmq_state.hub


def watch_of(socket: greenzmq.Socket) -> Watch:
    """The watch on the socket's descriptor. A greenlet has to have waited before."""
    watch = socket._greenzmq_state.watch
    assert watch is not None
    return watch


def lease_of(socket: greenzmq.Socket) -> Any:
    """The lease of the native proxy that uses the socket; None if no proxy does."""
    return socket._greenzmq_state.lease


def generation_of(socket: greenzmq.Socket) -> int:
    """How many times ``EVENTS`` of the socket was observed; see `SocketWaiters.generation`."""
    return socket._greenzmq_state.generation


def is_exclusive(socket: greenzmq.Socket) -> bool:
    """Whether only green objects of greenzmq use the socket."""
    return socket._greenzmq_state.exclusive


def is_mid_message(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet is in the middle of sending a message part by part."""
    return socket._greenzmq_state.sending.mid_message is not None


# -- the fast path and the turn ---------------------------------------------------------------------------------------


def expects_eagain(socket: greenzmq.Socket) -> bool:
    """Whether the next receiver reads ``EVENTS`` before it tries."""
    return socket._greenzmq_state.receiving.expect_eagain


def expect_eagain(socket: greenzmq.Socket) -> None:
    """Have the next receiver begin to wait, and read ``EVENTS``, before it tries."""
    socket._greenzmq_state.receiving.expect_eagain = True


def fast_sends_left(socket: greenzmq.Socket) -> int:
    """How many sends may still take the fast path."""
    return socket._greenzmq_state.begin_sending().fast_calls_left


def fast_receives_left(socket: greenzmq.Socket) -> int:
    """How many receives may still take the fast path."""
    return socket._greenzmq_state.receiving.fast_calls_left


def is_shared(socket: greenzmq.Socket) -> bool:
    """Whether native threads may share the socket."""
    return isinstance(socket._greenzmq_state, sharing.SharedState)


def knows_sleepers(socket: greenzmq.Socket) -> bool:
    """Whether the extension has the socket's lock, so that threads may sleep on the socket by themselves."""
    return getattr(socket._greenzmq_state, "has_compiled_lock", False)


def sleeps_alone(socket: greenzmq.Socket) -> bool:
    """Whether a thread sleeps on the socket by itself, in no queue; see `greenzmq.sockets.sleeping`."""
    allowed = [socket._greenzmq_state.lock.allowed(way) for way in (False, True)]
    return any(sleeper is not None and sleeper.waits and sleeper.waiter is None for sleeper in allowed)


def sleep_again_at_once(patch: pytest.MonkeyPatch) -> None:
    """Let threads sleep by themselves also on a socket that another thread has just used meanwhile."""
    patch.setattr(shared_waiters, "PATIENCE", 0)


def interrupt_entering(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the next entering of a shared socket's queue raise `error` before it begins, and the next one at its end."""
    enter, calls = shared_waiters.SharedWaiters.enter, itertools.count()

    def raises(*args: Any) -> None:
        call = next(calls)
        if call > 0:
            enter(*args)
        if call < 2:
            raise error

    patch.setattr(shared_waiters.SharedWaiters, "enter", raises)


def interrupt_watching(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the next start of a shared socket's watch raise `error` before it begins."""
    start, calls = shared_waiters.SharedWaiters.start_watch, itertools.count()

    def raises(*args: Any) -> None:
        if next(calls) == 0:
            raise error
        start(*args)

    patch.setattr(shared_waiters.SharedWaiters, "start_watch", raises)


def one_more_fast_send(socket: greenzmq.Socket) -> None:
    """Let the next send, if it may be fast, be the last one of its turn."""
    sending = state_of(socket).begin_sending()
    sending.fast_calls_left = min(sending.fast_calls_left, 1)


def is_plain_asks(patch: pytest.MonkeyPatch, first: Callable[[], object]) -> None:
    """Have `first` called before a thread that is no task sleeps by itself, which asks whether it still is a plain one.

    Holds for threads that wait in the usual way from now on.
    """
    is_plain = sleeping.is_plain
    patch.setattr(sleeping, "is_plain", lambda: (first(), is_plain())[1])


def opens_compiled_path(socket: greenzmq.Socket) -> bool:
    """Whether the extension may use the socket."""
    return getattr(socket._greenzmq_state, "address", None) is not None


def end_turn(polled: greenzmq.Socket | greenzmq.Poller) -> None:
    """End the turn: the next call that may yield to the hub yields first."""
    state: Any = polled._greenzmq_state
    if isinstance(polled, greenzmq.Poller):
        state.turn.ends_at = 0
        return
    state.turn.ends_at = state.turn.calls_left = 0
    state.receiving.fast_calls_left = state.begin_sending().fast_calls_left = 0


def end_turn_in_the_queue(socket: greenzmq.Socket) -> None:
    """End the turn such that the next sender tries first, and yields only when it stands in the queue."""
    state = socket._greenzmq_state
    sending = state.begin_sending()
    sending.expect_eagain, sending.fast_calls_left = False, 1
    state.turn.ends_at, state.turn.calls_left = 0, 1


def keep_turn(polled: greenzmq.Socket | greenzmq.Poller) -> None:
    """Have the turn last for an hour, so that it does not end during the test."""
    state: Any = polled._greenzmq_state
    state.turn.ends_at = time.monotonic() + 3600


def turn_of(polled: greenzmq.Socket | greenzmq.Poller) -> float:
    """The length of a turn, in seconds."""
    state: Any = polled._greenzmq_state
    return state.turn.seconds


def every_call_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every operation on the slow path yield to the hub, and every second operation take the slow path."""
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    for module in (directions, fairness, turns):
        monkeypatch.setattr(module, "FAST_CALLS", 1)


def replace_yield(patch: pytest.MonkeyPatch, instead: Callable[[Hub], object]) -> Callable[[Hub], object]:
    """Have a socket's operation call `instead` where it yields to the hub. Returns the function it replaces."""
    yields = turns.yield_to_hub
    patch.setattr(turns, "yield_to_hub", instead)
    return yields


# -- what the engine asks libzmq, and makes ---------------------------------------------------------------------------


def replace_get(patch: pytest.MonkeyPatch, instead: Callable[..., int]) -> None:
    """Have the engine call ``instead(get, socket, option)`` to read an option. `get` is the real function."""
    for module in (waiters, operations, timeouts):
        get = module.get_option
        patch.setattr(module, "get_option", lambda socket, option, get=get: instead(get, socket, option))


def replace_waiter(patch: pytest.MonkeyPatch, make: Callable[..., Waiter]) -> None:
    """Have sockets and Pollers call `make` to make a waiter."""
    for module in (operations, event_wait, sharing):
        patch.setattr(module, "Waiter", make)
    patch.setattr(green_poller, "new_waiter", make)


def count_clock(patch: pytest.MonkeyPatch, count: Callable[[], object]) -> None:
    """Call `count` whenever a wait, or the slow path of a call, reads the clock."""
    for module in (operations, waiter):
        patch.setattr(module, "monotonic", lambda: (count(), time.monotonic())[1])


def replace_listener(patch: pytest.MonkeyPatch, make: Callable[..., Any]) -> None:
    """Have ``Socket.poll`` call `make` to make its listener."""
    patch.setattr(event_wait, "WaitingListener", make)


def replace_is_signalled(patch: pytest.MonkeyPatch, instead: Callable[..., bool]) -> None:
    """Have a refused sender call `instead` to find out whether there are unprocessed commands."""
    patch.setattr(fd_watch.FdWatch, "is_signalled", instead)


def is_compiled() -> bool:
    """Whether calls that need not wait are made by the extension."""
    return accelerator.extension is not None


def steps_aside(patch: pytest.MonkeyPatch) -> None:
    """Let the extension seem to have stepped aside just now, with sockets that it already uses."""
    patch.setattr(accelerator, "extension", None)


def observe_perform(patch: pytest.MonkeyPatch, seen: list[Any]) -> None:
    """Have something stand in the place of `SocketState.perform`, as a program's tracing does. It notes the calls."""
    perform = operations.SocketState.perform
    observed = functools.partialmethod(lambda *args: (seen.append(args[1]), perform(*args))[1])
    patch.setattr(operations.SocketState, "perform", observed)


def use_python(patch: pytest.MonkeyPatch) -> None:
    """Have sockets make every call by their methods in Python, also with the extension."""
    for kind in (green_socket.Socket, locked.LockedCalls):
        for name in ("send", "recv", "send_multipart", "recv_multipart"):
            patch.setattr(kind, name, inspect.unwrap(kind.__dict__[name]))


def replace_send(patch: pytest.MonkeyPatch, instead: Callable[..., Any]) -> Callable[..., Any]:
    """Have sockets call `instead` in place of libzmq's `send`. Returns the function that it replaces."""
    use_python(patch)
    send = green_socket._send
    for module in (green_socket, locked, calls):
        patch.setattr(module, "_send", instead)
    patch.setattr(calls.send_message, "__defaults__", (instead,))
    return send


def replace_recv(patch: pytest.MonkeyPatch, instead: Callable[..., Any]) -> None:
    """Have sockets call `instead` in place of libzmq's `recv`."""
    use_python(patch)
    for module in (green_socket, locked, calls):
        patch.setattr(module, "_recv", instead)


def replace_backend(patch: pytest.MonkeyPatch, instead: Any) -> None:
    """Have sockets look up all methods except `send` and `recv` in `instead`, in place of pyzmq's own class."""
    patch.setattr(calls, "BackendSocket", instead)


def replace_awaitable_backend(patch: pytest.MonkeyPatch, stand_in: Callable[[str], Any]) -> None:
    """Have awaitable sockets call ``stand_in("send")`` in place of libzmq's `send`, and so on."""
    from greenzmq.sockets import awaitable  # imports asyncio

    replace_send(patch, stand_in("send"))
    replace_recv(patch, stand_in("recv"))
    replace_backend(patch, SimpleNamespace(recv_into=stand_in("recv_into"), get=calls.BackendSocket.get))
    patch.setattr(awaitable, "_send", stand_in("send"))
    patch.setattr(awaitable, "_send_now", awaitable._attempt)
    patch.setattr(awaitable.Socket, "recv", awaitable.receives_by(stand_in("recv"))(awaitable.Socket.recv))


def count_signals(patch: pytest.MonkeyPatch, count: Callable[[], object]) -> None:
    """Call `count` whenever a loop calls back a socket, or the Pollers of a thread, for a readable descriptor."""
    for kind in (waiters.SocketWaiters, shared_waiters.SharedWaiters):
        on_readable = kind.on_readable
        patch.setattr(kind, "__call__", lambda state, then=on_readable: (count(), then(state))[1])
    call_back = poll_set._call_back
    patch.setattr(poll_set, "_call_back", lambda *of: (count(), call_back(*of))[1])


# -- Pollers ----------------------------------------------------------------------------------------------------------


def polling_in(poller: greenzmq.Poller) -> int:
    """How many greenlets wait in the Poller."""
    return len(poller._greenzmq_state.waiters)


def active_entries(poller: greenzmq.Poller) -> int:
    """How many steady entries the next poll will poll."""
    return len(poller._greenzmq_state.active)


def shares_descriptor(poller: greenzmq.Poller, fd: int) -> bool:
    """Whether a socket's descriptor is in the set of all Pollers of the thread."""
    return fd in poller._greenzmq_state.poll_set._sockets


def is_watched(poller: greenzmq.Poller) -> bool:
    """Whether any hub watches the descriptors of this thread's Pollers."""
    return any(
        on_hub.waiters or any(watch.started and not watch.lazily_stopped for watch in on_hub.watches)
        for on_hub in poller._greenzmq_state.poll_set._hubs.values()
    )


@contextmanager
def other_epoll(poller: greenzmq.Poller, make: Callable[[Any], Any]) -> Iterator[None]:
    """During the block, the Pollers of the thread use ``make(epoll)`` in place of the epoll that they share."""
    fds = poller._greenzmq_state.poll_set._descriptors
    epoll = fds._kernel
    fds._kernel = make(epoll)
    try:
        yield
    finally:
        fds._kernel = epoll


# -- tasks, events, contexts, proxies ---------------------------------------------------------------------------------


def expire(limit: TimeLimit, task: greenzmq.Task[Any]) -> None:
    """Let the time of a limit be over now, that of a block which the task is in. From any thread."""
    limit._hub.call_soon_threadsafe(limit._strike, greenlet_of(task))


def greenlet_of(task: greenzmq.Task[Any]) -> greenlet.greenlet | None:
    """The greenlet that a task runs in, once it has begun."""
    return task._greenlet


def links_of(event: Any) -> int:
    """How many callbacks are linked to an event. Each greenlet that waits for it has linked one."""
    return len(event._links)


def choice_of(made: greenzmq.Context | greenzmq.Socket) -> Any:
    """The hub that was chosen for a context or socket when it was made; None if none was."""
    return made._greenzmq_choice


def has_own(cls: type[zmq.Socket[Any]]) -> tuple[bool, bool]:
    """Whether a class has a `send` of its own, and whether it has a `recv` of its own."""
    return cls._greenzmq_own_send, cls._greenzmq_own_recv  # type: ignore[attr-defined]


def events_of(tracker: zmq.MessageTracker) -> list[Any]:
    """The events that a tracker waits for."""
    return [*trackers._events(tracker)]


def replace_in_proxies(patch: pytest.MonkeyPatch, name: str, make: Callable[[Any], Any]) -> None:
    """Have proxies call ``make(function)`` in place of their function of this name."""
    where, _, attribute = name.rpartition(".")
    owner = getattr(green, where) if where else green
    patch.setattr(owner, attribute, make(getattr(owner, attribute)))


# -- loops ------------------------------------------------------------------------------------------------------------


def loop_of(hub: Any) -> Any:
    """The loop of the runtime that a hub runs on; for eventlet, eventlet's own hub."""
    return getattr(hub, {"gevent": "_loop", "eventlet": "_hub", "asyncio": "loop"}[hub.name])


# -- counts -----------------------------------------------------------------------------------------------------------


def is_counted(socket: greenzmq.Socket) -> bool:
    """Whether anybody counts what is done with the socket: then its state has a class for that."""
    return isinstance(socket._greenzmq_state, counting.CountedState)


def waits_are_counted() -> bool:
    """Whether anything is counted in the process."""
    return bool(waits.active() or waits._inits)


def sees_signal(stats: greenzmq.Stats) -> bool:
    """Whether the thread has seen a signal of the socket that nobody has used yet."""
    return stats._counts.signalled_at is not None


def asks(stats: greenzmq.Stats) -> bool:
    """Whether the thread waits for an answer of the hub."""
    ping = counts._clock._pings.get(stats._counts)
    return ping is not None and not ping.is_answered


def forget_no_state(patch: pytest.MonkeyPatch) -> None:
    """Have the end of a counted socket's state not be noticed."""
    patch.setattr(counting, "_forget", lambda key: None)


# -- the watchdog -----------------------------------------------------------------------------------------------------


def looks_of_watchdog(patch: pytest.MonkeyPatch, hub: Hub, often: int = stalls._LOOKS) -> list[bool]:
    """For each of the watchdog's looks at a hub from now on whether it has found a sign of life.

    It looks so often in the seconds of its limit.
    """
    looks: list[bool] = []
    check = stalls._Watchdog._check

    def noted(watchdog: Any, looked_at: Hub) -> None:
        ping = watchdog._pings.get(looked_at)
        answered = ping is not None and ping.answered
        check(watchdog, looked_at)
        if looked_at is hub:
            looks.append(answered)

    patch.setattr(stalls, "_LOOKS", often)
    patch.setattr(stalls._Watchdog, "_check", noted)
    return looks
