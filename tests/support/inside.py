"""What tests know of greenzmq's inside. Every look at a private thing, and every change of one, is a function here.

So a change of the engine changes this file, `greenzmq.testing.sockets` and `greenzmq.diagnostics`, and no test. The
tests of one module's own parts (`tests/hubs`, `whom_to_wake`, `Listeners`) import these by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import greenlet
import zmq

import greenzmq
from greenzmq.hubs import Hub, Watch
from greenzmq.polling import poll_set
from greenzmq.polling import poller as green_poller
from greenzmq.proxies import green
from greenzmq.sockets import calls, directions, event_wait, fairness, fd_watch, operations, registry, timeouts, waiters
from greenzmq.sockets import socket as green_socket
from greenzmq.sockets import tracker as trackers
from greenzmq.waiting import waiter
from greenzmq.waiting.waiter import Waiter

if TYPE_CHECKING:
    import pytest  # programs come by here, too, that need little and patch much

# -- who waits on a socket --------------------------------------------------------------------------------------------


def state_of(socket: greenzmq.Socket) -> Any:
    """What all green objects for one libzmq socket share."""
    return socket._greenzmq_state


def receivers_of(socket: greenzmq.Socket) -> list[Waiter]:
    """Those who stand in the queue to receive, the first first."""
    return [*socket._greenzmq_state.receiving]


def senders_of(socket: greenzmq.Socket) -> list[Waiter]:
    """Those who stand in the queue to send, the first first."""
    return [*socket._greenzmq_state.sending]


def listeners_of(socket: greenzmq.Socket) -> Any:
    """Those who wait for events and take nothing."""
    return socket._greenzmq_state.waiters.listeners


def parked_on(socket: greenzmq.Socket) -> int:
    """How many greenlets are parked on the socket itself."""
    waiters = socket._greenzmq_state.waiters
    return sum(1 for queue in (waiters.receiving, waiters.sending, waiters.polling) for _ in queue)


def has_waiters(socket: greenzmq.Socket) -> bool:
    """Whether anybody waits, in whatever way."""
    return socket._greenzmq_state.waiters.has_waiters


def hub_of(socket: greenzmq.Socket) -> Hub | None:
    """The hub on which greenlets last waited."""
    return socket._greenzmq_state.waiters.fd_watch.hub


def watch_of(socket: greenzmq.Socket) -> Watch:
    """The watch on the socket's descriptor, once there was a wait."""
    watch = socket._greenzmq_state.waiters.fd_watch.watch
    assert watch is not None
    return watch


def lease_of(socket: greenzmq.Socket) -> Any:
    """The lease of the native proxy that has the socket; None if there is none."""
    return socket._greenzmq_state.lease


def generation_of(socket: greenzmq.Socket) -> int:
    """How often it has been looked at what the socket can do."""
    return socket._greenzmq_state.waiters.generation


def is_exclusive(socket: greenzmq.Socket) -> bool:
    """Whether only green objects know the socket."""
    return socket._greenzmq_state.waiters.fd_watch.exclusive


def is_mid_message(socket: greenzmq.Socket) -> bool:
    """Whether a greenlet is in the middle of a message that it sends part by part."""
    return socket._greenzmq_state.sending.mid_message is not None


def leave_ended_state(socket: greenzmq.Socket) -> None:
    """What is known of a socket that has ended stands under the address of this one, as after a reuse by libzmq."""
    before = registry._states[registry.address_of(socket)] = operations.SocketState(0)
    before.waiters.wake_all()


# -- the fast path and the turn ---------------------------------------------------------------------------------------


def expects_eagain(socket: greenzmq.Socket) -> bool:
    """Whether the next receiver reads EVENTS before it tries."""
    return socket._greenzmq_state.receiving.expect_eagain


def expect_eagain(socket: greenzmq.Socket) -> None:
    """The next receiver looks, and begins to wait, before it tries."""
    socket._greenzmq_state.receiving.expect_eagain = True


def fast_sends_left(socket: greenzmq.Socket) -> int:
    """How many sends may still take the fast path."""
    return socket._greenzmq_state.sending.fast_calls_left


def end_turn(polled: greenzmq.Socket | greenzmq.Poller) -> None:
    """The next call that may yield to the hub does so first."""
    state: Any = polled._greenzmq_state
    if isinstance(polled, greenzmq.Poller):
        state.turn.ends_at = 0
        return
    state.turn.ends_at = state.turn.calls_left = 0
    state.receiving.fast_calls_left = state.sending.fast_calls_left = 0


def end_turn_in_the_queue(socket: greenzmq.Socket) -> None:
    """The turn is over, but a sender tries before that is noticed: it yields when it stands in the queue."""
    state = socket._greenzmq_state
    state.sending.expect_eagain, state.sending.fast_calls_left = False, 1
    state.turn.ends_at, state.turn.calls_left = 0, 1


def keep_turn(polled: greenzmq.Socket | greenzmq.Poller) -> None:
    """No turn ends in this test: it has just begun, and lasts."""
    state: Any = polled._greenzmq_state
    state.turn.ends_at = time.monotonic() + 3600


def turn_of(polled: greenzmq.Socket | greenzmq.Poller) -> float:
    """How long a turn lasts, in seconds."""
    return polled._greenzmq_state.turn.seconds


def every_call_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation on the slow path lets the hub go round, and every second one takes the slow path."""
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    for module in (directions, fairness):
        monkeypatch.setattr(module, "FAST_CALLS", 1)


def replace_yield(patch: pytest.MonkeyPatch, instead: Callable[[Hub], object]) -> Callable[[Hub], object]:
    """Have a socket's operation call this where it lets the hub go round. What it calls otherwise."""
    yields = fairness.yield_to_hub
    patch.setattr(fairness, "yield_to_hub", instead)
    return yields


# -- what the engine asks libzmq, and makes ---------------------------------------------------------------------------


def replace_get(patch: pytest.MonkeyPatch, instead: Callable[..., int]) -> None:
    """Have the engine call ``instead(get, socket, option)`` for each option that it asks for; `get` is the real one."""
    for module in (waiters, operations, timeouts):
        get = module.get_option
        patch.setattr(module, "get_option", lambda socket, option, get=get: instead(get, socket, option))


def replace_waiter(patch: pytest.MonkeyPatch, make: Callable[..., Waiter]) -> None:
    """Have sockets and Pollers make their waiters by this."""
    for module in (operations, event_wait):
        patch.setattr(module, "Waiter", make)
    patch.setattr(green_poller, "new_waiter", make)


def count_clock(patch: pytest.MonkeyPatch, count: Callable[[], object]) -> None:
    """Call `count` whenever a wait, or the slow path of a call, reads the clock."""
    for module in (operations, waiter):
        patch.setattr(module, "monotonic", lambda: (count(), time.monotonic())[1])


def replace_listener(patch: pytest.MonkeyPatch, make: Callable[..., Any]) -> None:
    """Have ``Socket.poll`` make its listener by this."""
    patch.setattr(event_wait, "WaitingListener", make)


def replace_is_signalled(patch: pytest.MonkeyPatch, instead: Callable[..., bool]) -> None:
    """Have a refused sender call this to know whether commands lie unprocessed."""
    patch.setattr(fd_watch.FdWatch, "is_signalled", instead)


def replace_send(patch: pytest.MonkeyPatch, instead: Callable[..., Any]) -> Callable[..., Any]:
    """Have sockets call this in place of libzmq's `send`, for whole messages, too. What they call otherwise."""
    send = green_socket._send
    for module in (green_socket, calls):
        patch.setattr(module, "_send", instead)
    patch.setattr(calls.send_message, "__defaults__", (instead,))
    return send


def replace_recv(patch: pytest.MonkeyPatch, instead: Callable[..., Any]) -> None:
    """Have sockets call this in place of libzmq's `recv`."""
    for module in (green_socket, calls):
        patch.setattr(module, "_recv", instead)


def replace_backend(patch: pytest.MonkeyPatch, instead: Any) -> None:
    """Have sockets take what is neither `send` nor `recv` from this in place of pyzmq's own class."""
    patch.setattr(calls, "BackendSocket", instead)


def count_signals(patch: pytest.MonkeyPatch, count: Callable[[], object]) -> None:
    """Call `count` whenever a loop tells a socket, or the Pollers of a thread, that a descriptor is readable."""
    on_readable, tell = waiters.SocketWaiters.on_readable, poll_set._tell
    patch.setattr(waiters.SocketWaiters, "on_readable", lambda state: (count(), on_readable(state))[1])
    patch.setattr(poll_set, "_tell", lambda reference: (count(), tell(reference))[1])


# -- Pollers ----------------------------------------------------------------------------------------------------------


def polling_in(poller: greenzmq.Poller) -> int:
    """How many greenlets wait in the Poller."""
    return len(poller._greenzmq_state.waiters)


def active_entries(poller: greenzmq.Poller) -> int:
    """How many of the registered the next poll looks at."""
    return len(poller._greenzmq_state.active)


def shares_descriptor(poller: greenzmq.Poller, fd: int) -> bool:
    """Whether a socket's descriptor is in the set of all Pollers of the thread."""
    return fd in poller._greenzmq_state.poll_set._sockets


def is_watched(poller: greenzmq.Poller) -> bool:
    """Whether any Poller of the thread keeps a hub busy."""
    return any(
        on_hub.waiters or any(watch.started and not watch.lazily_stopped for watch in on_hub.watches)
        for on_hub in poller._greenzmq_state.poll_set._hubs.values()
    )


@contextmanager
def other_epoll(poller: greenzmq.Poller, make: Callable[[Any], Any]) -> Iterator[None]:
    """For the block ``make(epoll)`` stands in place of the `epoll` that the Pollers of the thread share."""
    fds = poller._greenzmq_state.poll_set._descriptors
    epoll = fds._kernel
    fds._kernel = make(epoll)
    try:
        yield
    finally:
        fds._kernel = epoll


# -- tasks, events, contexts, proxies ---------------------------------------------------------------------------------


def greenlet_of(task: greenzmq.Task[Any]) -> greenlet.greenlet | None:
    """The greenlet that a task runs in, once it has begun."""
    return task._greenlet


def links_of(event: Any) -> int:
    """How many wait for an event, or have linked to it."""
    return len(event._links)


def choice_of(made: greenzmq.Context | greenzmq.Socket) -> Any:
    """What its maker has said of the hub to wait on."""
    return made._greenzmq_choice


def has_own(cls: type[zmq.Socket[Any]]) -> tuple[bool, bool]:
    """Whether a class has a `send` of its own, and a `recv`."""
    return cls._greenzmq_own_send, cls._greenzmq_own_recv  # type: ignore[attr-defined]


def events_of(tracker: zmq.MessageTracker) -> list[Any]:
    """The events that a tracker waits for."""
    return [*trackers._events(tracker)]


def replace_in_proxies(patch: pytest.MonkeyPatch, name: str, make: Callable[[Any], Any]) -> None:
    """Have proxies call ``make(function)`` in place of their `function` of this name."""
    where, _, attribute = name.rpartition(".")
    owner = getattr(green, where) if where else green
    patch.setattr(owner, attribute, make(getattr(owner, attribute)))


# -- loops ------------------------------------------------------------------------------------------------------------


def loop_of(hub: Any) -> Any:
    """The runtime's own loop, or eventlet's hub, behind a hub."""
    return getattr(hub, {"gevent": "_loop", "eventlet": "_hub", "asyncio": "loop"}[hub.name])
