"""A call that need not wait is refused nowhere: in the hub's own greenlet, in other threads, past a queue, after waits.

Each of these sockets has waited before: only then a call looks at ``EVENTS`` in place of a first attempt.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from greenlet import greenlet
from support.inside import is_mid_message, parked_on
from support.invariants import idle
from support.sockets import connected, in_hub, open_context, parked, receives, sends, until
from support.waiters import drain, fill_completely, plain, waiting_receiver

import greenzmq
from greenzmq import GreenHub
from greenzmq.asyncio import await_, run

# -- where a call is made that cannot wait -----------------------------------------------------------------------------


def in_thread(hub: GreenHub, function: Callable[[], Any]) -> Any:
    """What ``function()`` returns or raises in a native thread."""

    def call() -> Any:
        try:
            return function()
        except Exception as error:
            return error

    return hub.run_in_thread(call)


def in_coroutine(hub: GreenHub, function: Callable[[], Any]) -> Any:
    """The same in a coroutine, on a loop in a native thread."""

    async def call() -> Any:
        return function()

    return in_thread(hub, lambda: asyncio.run(call()))


Place = Callable[[GreenHub, Callable[[], Any]], Any]
PLACES: dict[str, Place] = {"hub": in_hub, "thread": in_thread, "coroutine": in_coroutine}
places = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


def need_a_place_that_cannot_wait(hub: GreenHub, place: Place) -> None:
    """Another thread can wait where threads share the socket: what it does there is told in tests/threads."""
    if place is in_thread and hub.hub.runs_threads:
        pytest.skip("on native threads another thread waits in its turn")


RECEIVES: dict[str, Callable[[greenzmq.Socket], object]] = {
    "recv": lambda socket: socket.recv(),
    "recv, limited": lambda socket: (socket.set(zmq.RCVTIMEO, 1000), socket.recv())[1],
    "recv_multipart": lambda socket: socket.recv_multipart()[0],
    "recv_into": lambda socket: b"m" * socket.recv_into(bytearray(1)),
    "recv_string": lambda socket: socket.recv_string().encode(),
}
SENDS: dict[str, Callable[[greenzmq.Socket], object]] = {
    "send": lambda socket: socket.send(b"m"),
    "send, limited": lambda socket: (socket.set(zmq.SNDTIMEO, 1000), socket.send(b"m"))[1],
    "send_multipart": lambda socket: socket.send_multipart([b"m"]),
    "send_string": lambda socket: socket.send_string("m"),
}


@contextmanager
def have_waited(hub: GreenHub) -> Iterator[tuple[greenzmq.Socket, greenzmq.Socket]]:
    """A pair of sockets: a greenlet has waited for a message of the first, and one for room in the second."""
    with open_context(hub) as context:
        one, other = connected(context, zmq.PAIR, zmq.PAIR, sndhwm=1, rcvhwm=1)
        receiver = waiting_receiver(hub, one)
        other.send(b"first")
        assert receiver.get() == [b"first"]
        fill_completely(other)
        sender = parked(hub, sends, other.send, b"last")
        drain(one)
        sender.get()
        drain(one)
        yield one, other


@places
@pytest.mark.parametrize("call", RECEIVES)
def test_a_message_is_at_hand(hub: GreenHub, call: str, place: Place) -> None:
    """It is received, whoever asks for it, and the next wait is as any other.

    Seen to fail, with `BlockingCallError` and `HubError`, when the hub was asked for before anybody had tried.
    """
    with have_waited(hub) as (one, other):
        other.send(b"m")
        assert place(hub, lambda: RECEIVES[call](one)) == b"m"
        receiver = parked(hub, receives, one.recv)
        other.send(b"next")
        assert receiver.get() == b"next"
        idle(one, other)


@places
@pytest.mark.parametrize("call", SENDS)
def test_room_is_at_hand(hub: GreenHub, call: str, place: Place) -> None:
    """A message is sent, whoever sends it. Seen to fail as the test above."""
    with have_waited(hub) as (one, other):
        assert place(hub, lambda: SENDS[call](other)) is None
        assert drain(one) == [[b"m"]]
        idle(one, other)


@places
def test_what_would_have_to_wait_is_refused(hub: GreenHub, place: Place) -> None:
    """Where nothing is there the error is that of the place, as before, and nobody stays in a queue."""
    need_a_place_that_cannot_wait(hub, place)
    with have_waited(hub) as (one, other):
        for receive in RECEIVES.values():
            assert isinstance(place(hub, lambda receive=receive: receive(one)), greenzmq.HubError)
        fill_completely(other)
        for send in SENDS.values():
            assert isinstance(place(hub, lambda send=send: send(other)), greenzmq.HubError)
        assert {message for (message,) in drain(one)} == {b"fill"}
        idle(one, other)


@places
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "used"])
def test_the_answer_to_a_request_is_at_hand(hub: GreenHub, fresh: bool, place: Place) -> None:
    """A REQ receives it, with its first `recv` as well; out of turn it gets libzmq's own error.

    Seen to fail: after each `send` its `recv` looks at ``EVENTS`` first.
    """
    with open_context(hub) as context:
        rep, req = connected(context, zmq.REP, zmq.REQ)
        if not fresh:
            answering = hub.spawn(lambda: rep.send(rep.recv()))
            req.send(b"question")
            assert req.recv() == b"question"
            answering.get()
        req.send(b"again")
        rep.send(rep.recv())
        assert place(hub, req.recv) == b"again"
        assert place(hub, req.recv).errno == zmq.EFSM


@pytest.mark.parametrize("place", [in_hub, in_coroutine], ids=["hub", "coroutine"])
def test_a_descriptor_is_ready(hub: GreenHub, place: Place) -> None:
    """`wait_fd` tells what is ready, and with a timeout of 0 that nothing is; a wait is refused, and leaves no watch.

    Seen to fail, with `BlockingCallError` and `WrongHubError`, when it waited for the loop to tell of what is there.
    """
    reader, writer = os.pipe()
    try:
        assert place(hub, lambda: hub.wait_fd(writer, write=True)) == 2
        assert place(hub, lambda: hub.wait_fd(reader, timeout=0)) == 0
        assert isinstance(place(hub, lambda: hub.wait_fd(reader)), greenzmq.HubError)
        assert isinstance(place(hub, lambda: hub.wait_fd(reader, timeout=1)), greenzmq.HubError)
        os.write(writer, b"m")
        assert place(hub, lambda: hub.wait_fd(reader)) == 1
        assert hub.wait_fd(reader) == 1
        os.read(reader, 1)
    finally:
        os.close(writer)
        assert place(hub, lambda: hub.wait_fd(reader)) == 1  # the end of the file
        os.close(reader)
    assert place(hub, lambda: hub.wait_fd(2**20)).errno == errno.EBADF


@places
def test_past_a_queue(hub: GreenHub, place: Place) -> None:
    """A call that cannot wait cannot stand in a queue: it takes what is there, as under NOBLOCK. Who waits waits on.

    Seen to fail: a queue was a reason to wait, whatever was there.
    """
    need_a_place_that_cannot_wait(hub, place)
    with have_waited(hub) as (one, other):
        waiting = parked(hub, receives, one.recv)
        plain(other).send(b"m")
        plain(one).get(zmq.EVENTS)  # the signal: the hub does not learn of the message
        assert place(hub, one.recv) == b"m"
        assert not waiting.done
        other.send(b"next")
        assert waiting.get() == b"next"
        idle(one, other)


@places
def test_in_the_middle_of_anothers_message(hub: GreenHub, place: Place) -> None:
    """The rest of a message that a greenlet has begun to receive, or to send, is that greenlet's alone."""
    need_a_place_that_cannot_wait(hub, place)
    with have_waited(hub) as (one, other):
        go_on = greenzmq.GreenEvent()

        def half_of_each() -> list[bytes]:
            other.send(b"1", zmq.SNDMORE)
            go_on.wait()
            other.send(b"2")
            go_on.clear()
            return [one.recv(), (go_on.wait(), one.recv())[1]]

        owner = hub.spawn(half_of_each)
        until(hub, lambda: is_mid_message(other))
        assert isinstance(place(hub, lambda: other.send(b"between")), greenzmq.HubError)
        go_on.set()
        until(hub, lambda: not go_on.is_set())
        until(hub, lambda: plain(one).rcvmore)
        assert isinstance(place(hub, one.recv), greenzmq.HubError)
        go_on.set()
        assert owner.get() == [b"1", b"2"]
        other.send(b"m")
        assert place(hub, one.recv) == b"m"


def test_beside_greenlets_of_another_thread(hub: GreenHub) -> None:
    """A greenlet waits on the socket, and a native thread uses it: what need not wait is done, and whom it lets go on
    is woken as from a thread.

    Seen to fail with `WrongHubError`; and the hub's `call_soon` was called in that thread.
    """
    with have_waited(hub) as (one, other):
        fill_completely(one)
        waiting = hub.spawn(one.poll, None, zmq.POLLOUT)
        until(hub, lambda: parked_on(one))
        other.send(b"m")
        hub.sleep()
        assert in_thread(hub, one.recv) == b"m"
        drain(other)
        assert waiting.get() == zmq.POLLOUT
        idle(one, other)


@pytest.mark.parametrize("waits", ["recv", "poll"])
def test_who_is_woken_by_another_thread(hub: GreenHub, monkeypatch: pytest.MonkeyPatch, waits: str) -> None:
    """A call in another thread takes the signal, while the hub stands still: nothing but `call_soon_threadsafe` is
    called there, and who waits has the message.

    Seen to fail: those who wait were woken as if it were their own thread.
    """
    called: list[int] = []
    call_soon = hub.hub.call_soon
    monkeypatch.setattr(
        hub.hub, "call_soon", lambda *args: (called.append(threading.get_ident()), call_soon(*args))[1], raising=False
    )
    with have_waited(hub) as (one, other):
        waiting = hub.spawn(getattr(one, waits))
        until(hub, lambda: parked_on(one))
        other.send(b"m")
        thread = threading.Thread(target=lambda: one.get(zmq.EVENTS))
        thread.start()
        thread.join()  # blocks the hub
        assert waiting.get() in (b"m", zmq.POLLIN)
    assert set(called) <= {threading.get_ident()}


# -- at the end of a turn ----------------------------------------------------------------------------------------------


@pytest.mark.runtime("asyncio")
def test_the_end_of_a_turn_in_another_librarys_greenlet(hub: GreenHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the hub cannot go round. Calls that need not wait, and polls of what is ready, go on without.

    Seen to fail with `BlockingCallError`, at a time that depends on the machine.
    """
    monkeypatch.setenv("GREENZMQ_TURN", "1e-9")
    with have_waited(hub) as (one, other):
        poller = greenzmq.Poller(hub=hub)
        poller.register(one)

        def exchange() -> int:
            for _ in range(300):
                other.send(b"m")
                assert one.poll() == zmq.POLLIN
                assert poller.poll() == [(one, zmq.POLLIN | zmq.POLLOUT)]
                assert one.recv() == b"m"
            return 300

        assert in_hub(hub, lambda: greenlet(exchange).switch()) == 300
        poller.close()


# -- besides sockets ---------------------------------------------------------------------------------------------------


@places
def test_what_has_ended(hub: GreenHub, place: Place) -> None:
    """The outcome of a task that has ended is there for whoever asks, and so is a look at one that has not.

    Seen to fail, in a coroutine of another thread, when a hub was asked for before the task.
    """
    task, event = hub.spawn(int, "42"), greenzmq.GreenEvent()
    task.join()
    event.set()
    endless = hub.spawn(hub.sleep, 1000)
    assert place(hub, lambda: (task.join(), task.get(), endless.join(0), event.wait())) == (True, 42, False, True)
    endless.kill()


def test_await_of_a_future_that_is_done() -> None:
    """`await_` gives its result in a coroutine as well. Seen to fail with `BlockingCallError`."""

    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with pytest.raises(greenzmq.BlockingCallError):
            await_(future)
        future.set_result(42)
        assert await_(future) == await run(await_, future) == 42

    asyncio.run(main())
