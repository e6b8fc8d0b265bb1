"""What an authenticator has to do, line by line: its callbacks, and its life; see ``auth_lines.py``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import zmq
from greenlet import GreenletExit
from support.auth import KEY, NEVER, Z85, Provider, better, frames, line

# -- callbacks ---------------------------------------------------------------------------------------------------------


@line
def a_callback_may_ask_a_socket_of_the_same_context(lab: Any) -> None:
    server, client = lab.socket(zmq.REP), lab.socket(zmq.REQ)
    server.bind("inproc://directory")
    client.connect("inproc://directory")

    def callback(domain: str, key: bytes) -> bool:
        client.send(key)
        return client.recv() == b"yes"

    lab.authenticator().configure_curve_callback(credentials_provider=Provider(callback))
    asking = lab.send(frames(b"CURVE", KEY))
    assert server.recv() == Z85
    assert lab.lets_in(b"NULL")
    server.send(b"yes")
    assert lab.answer(asking)[3] == b"200"
    server.close()
    client.close()


@line
def a_coroutine_is_awaited_on_asyncio_and_no_yes_elsewhere(lab: Any) -> None:
    async def callback(domain: str, key: bytes) -> bool:
        await asyncio.sleep(0.001)
        return key == Z85

    lab.authenticator().configure_curve_callback(credentials_provider=Provider(callback))
    if lab.hub.name == "asyncio":
        assert lab.ask(b"CURVE", KEY) == (b"200", Z85)
        assert not lab.lets_in(b"CURVE", KEY[::-1])
    else:
        assert lab.ask(b"CURVE", KEY) == (b"500", b"")
        assert f"this is {lab.hub.name}" in lab.logged()
    assert lab.lets_in(b"NULL")


@better
def a_callback_has_a_limit_of_time(lab: Any) -> None:
    auth = lab.authenticator(callback_timeout=0.05)
    began, ended = [], []

    def callback(domain: str, key: bytes) -> bool:
        began.append(key)
        try:
            lab.sleep(NEVER if len(began) <= 20 else 0)
        finally:
            ended.append(key)
        return True

    auth.configure_curve_callback(credentials_provider=Provider(callback))
    asking = [lab.send(frames(b"CURVE", KEY)) for _ in range(20)]
    for dealer in asking:
        found = lab.answer(dealer)
        assert found is not None, "no answer"
        assert found[3] != b"200"
    lab.until(lambda: len(ended) == 20)  # none is left
    if not lab.runs_threads:
        assert "lab.sleep(NEVER" in lab.logged(), "where it was is not told"
    assert lab.lets_in(b"CURVE", KEY)


@better
def a_callback_that_raises_refuses_its_client_only(lab: Any) -> None:
    errors: list[Any] = [GreenletExit("mine"), ValueError("mine"), BaseException("mine"), zmq.Again(), StopIteration()]
    waiting: list[bytes] = []

    def callback(domain: str, key: bytes) -> bool:
        if key == Z85:
            waiting.append(key)
            lab.until(lambda: not errors)
            return True
        raise errors.pop()

    auth = lab.authenticator()
    auth.configure_curve_callback(credentials_provider=Provider(callback))
    other = lab.send(frames(b"CURVE", KEY))
    lab.until(lambda: waiting)
    while errors:
        found = lab.ask(b"CURVE", KEY[::-1])
        assert found is not None, "no answer"
        assert found[0] != b"200"
    assert lab.answer(other)[3] == b"200"
    assert lab.logged().count("Traceback") == 5
    assert "raise errors.pop()" in lab.logged()
    assert auth.is_alive()


@better
def a_raising_log_ends_nothing(lab: Any) -> None:
    class Log:
        def __getattr__(self, name: str) -> Any:
            raise OSError("the disk is full")

    auth = lab.make(lab.context, log=Log())
    lab._authenticators.append(auth)
    auth.start()
    assert lab.lets_in(b"NULL")
    assert not lab.lets_in(b"PLAIN", b"user", b"word")
    lab.send([b"x"])
    assert lab.lets_in(b"NULL")


# -- life --------------------------------------------------------------------------------------------------------------


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))


@better
def a_second_start_is_an_error_and_leaves_the_first(lab: Any) -> None:
    auth = lab.authenticator()
    assert lab.lets_in(b"NULL")
    before = opened()
    for _ in range(10):
        with pytest.raises(zmq.ZMQError) as caught:
            auth.start()
        assert caught.value.errno == zmq.EADDRINUSE
    lab.until(lambda: opened() <= before)
    assert auth.is_alive()
    assert lab.lets_in(b"NULL")
    auth.stop()
    assert not auth.is_alive()


@line
def a_second_one_is_an_error_and_leaves_the_first(lab: Any) -> None:
    first, second = lab.authenticator(), lab.authenticator(start=False)
    with pytest.raises(zmq.ZMQError) as caught:
        second.start()
    assert caught.value.errno == zmq.EADDRINUSE
    second.stop()
    assert first.is_alive()
    assert not second.is_alive()
    assert lab.lets_in(b"NULL")


@line
def what_was_configured_before_counts(lab: Any) -> None:
    folder, (one,) = lab.keys("one")
    auth = lab.authenticator(start=False)
    auth.configure_plain(passwords={"user": "word"})
    auth.configure_curve(location=folder)
    auth.deny("127.0.0.2")
    auth.start()
    assert lab.lets_in(b"PLAIN", b"user", b"word")
    assert lab.lets_in(b"CURVE", one)
    assert not lab.lets_in(b"NULL", address=b"127.0.0.2")


@better
def it_starts_right_after_it_was_stopped(lab: Any) -> None:
    auth = lab.authenticator(start=False)
    for number in range(300):
        auth.start()
        if number % 10 == 0:
            assert lab.lets_in(b"NULL")
        auth.stop()


@line
def it_may_be_stopped_at_any_time(lab: Any) -> None:
    auth = lab.authenticator(start=False)
    auth.stop()
    auth.start()
    auth.stop()
    auth.stop()
    assert not auth.is_alive()


@better
def a_stop_answers_and_ends_all(lab: Any) -> None:
    began, ended = [], []

    def callback(domain: str, key: bytes) -> bool:
        began.append(key)
        try:
            lab.sleep(NEVER)
        finally:
            ended.append(key)
        return True

    auth = lab.authenticator()
    auth.configure_curve_callback(credentials_provider=Provider(callback))
    asking = [lab.send(frames(b"CURVE", KEY)) for _ in range(5)]
    lab.until(lambda: len(began) == 5)
    unread = [lab.send(frames(b"NULL")) for _ in range(5)]
    auth.stop()
    if lab.runs_threads:
        lab.until(lambda: len(ended) == 5)  # `stop` waits half a second for threads, which a busy machine may exceed
    assert len(ended) == 5
    assert not auth.is_alive()
    for dealer in (*asking, *unread):
        found = lab.answer(dealer)
        assert found is not None, "it is left in the handshake"
        assert found[3] == b"300" or (lab.runs_threads and dealer in unread)  # there it is read at once


@better
def term_ends_it(lab: Any) -> None:
    context = lab.new_context()
    auth = lab.authenticator(context)
    assert lab.answer(lab.send(frames(b"NULL"), context)) is not None
    for dealer in lab._asking:
        dealer.close()
    context.term()
    assert context.closed
    assert not auth.is_alive()
    auth.stop()
    with pytest.raises(zmq.ZMQError):
        auth.start()
    assert not auth.is_alive()


@better
def destroy_ends_it(lab: Any) -> None:
    context = lab.new_context()
    auth = lab.authenticator(context)
    auth.configure_curve_callback(credentials_provider=Provider(lambda domain, key: lab.sleep(NEVER)))
    lab.send(frames(b"CURVE", KEY), context)
    lab.sleep(0.01)
    context.destroy(linger=0)
    assert not auth.is_alive()
    auth.stop()


@line
def is_alive_tells_the_truth(lab: Any) -> None:
    auth = lab.authenticator(start=False)
    assert not auth.is_alive()
    for _ in range(2):
        auth.start()
        assert auth.is_alive()
        auth.stop()
        assert not auth.is_alive()


@line
def all_answers_arrive(lab: Any) -> None:
    """Under load, whoever asks is answered once."""
    lab.authenticator().configure_plain(passwords={"user": "word"})
    asking = [lab.send(frames(b"PLAIN", b"user", b"word", number=b"%d" % number)) for number in range(300)]
    for number, dealer in enumerate(asking):
        found = lab.answer(dealer)
        assert found[2:4] == [b"%d" % number, b"200"]
        assert lab.answer(dealer, 0) is None
