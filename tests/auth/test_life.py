"""The life of an authenticator where it is not simple: kills, other threads, coroutines, wrong hubs, forks, options."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
import zmq.asyncio
from greenlet import GreenletExit
from programs.auth_lines import KEY, NEVER
from support.asyncio import loop_name, run_on
from support.auth import Green, Provider, frames
from support.children import Child, need, run
from support.forked import RUNTIMES
from support.sockets import in_hub, until

import greenzmq
import greenzmq.aio
import greenzmq.asyncio
import greenzmq.auth

__all__ = ["loop_name"]


@pytest.fixture
def lab(hub: greenzmq.GreenHub, hub_thread: Any) -> Iterator[Green]:
    lab = hub_thread.call(lambda: Green(hub))
    yield lab
    hub_thread.call(lab.close)


def hang(lab: Any, auth: Any, number: int = 1) -> list[Any]:
    """Callbacks that have begun and never end by themselves; the list gets what ends them."""
    ends: list[Any] = []
    began = []

    def callback(domain: str, key: bytes) -> bool:
        began.append(key)
        try:
            lab.sleep(NEVER)
        except BaseException as error:
            ends.append(error)
            raise
        return True

    auth.configure_curve_callback(credentials_provider=Provider(callback))
    for _ in range(number):
        lab.send(frames(b"CURVE", KEY))
    lab.until(lambda: len(began) == number)
    return ends


# -- the end -----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_after_a_stop(lab: Green) -> None:
    """No waiter, also of callbacks that hang."""
    auth = lab.authenticator()
    ends = hang(lab, auth, 3)
    assert len(greenzmq.waiters()) == 4
    auth.stop()
    assert greenzmq.waiters() == []
    assert [type(error) for error in ends] == [GreenletExit] * 3


def test_a_callback_that_will_not_die_holds_a_stop_for_a_moment_only(lab: Green) -> None:
    """It goes on, its client is refused all the same, and a `start` works."""
    auth, kills, begun = lab.authenticator(), [], []

    def callback(domain: str, key: bytes) -> bool:
        begun.append(True)
        while len(kills) < 2:
            try:
                lab.sleep(NEVER)
            except GreenletExit as error:
                kills.append(error)
        return True

    auth.configure_curve_callback(credentials_provider=Provider(callback))
    asking = lab.send(frames(b"CURVE", KEY))
    lab.until(lambda: begun)
    task = next(iter(auth._server._calls)).task
    auth.stop()
    assert lab.answer(asking)[3] == b"300"
    assert not task.done
    auth.start()
    assert lab.lets_in(b"NULL")
    task.kill()
    assert task.done


def test_a_stop_in_its_own_callback(lab: Green) -> None:
    """It ends all but that callback, whose client is refused."""
    auth, after = lab.authenticator(), []

    def callback(domain: str, key: bytes) -> bool:
        auth.stop()
        lab.sleep()
        after.append(auth.is_alive())
        return True

    auth.configure_curve_callback(credentials_provider=Provider(callback))
    assert lab.ask(b"CURVE", KEY) == (b"300", b"")
    until(lab.hub, lambda: after)
    assert after == [False]


def test_a_stop_in_the_hub(lab: Green) -> None:
    """A callback of the hub cannot wait: the greenlets end soon."""
    auth = lab.authenticator()
    ends = hang(lab, auth)
    in_hub(lab.hub, auth.stop)
    assert not auth.is_alive()
    until(lab.hub, lambda: ends and not greenzmq.waiters())


def test_a_stop_in_another_thread(lab: Green) -> None:
    """The socket is closed in its own thread."""
    auth = lab.authenticator()
    ends = hang(lab, auth)
    thread = threading.Thread(target=auth.stop)
    lab.hub.run_in_thread(lambda: (thread.start(), thread.join()))
    assert not auth.is_alive()
    until(lab.hub, lambda: ends and not greenzmq.waiters())


def test_a_kill_closes_and_warns(lab: Green) -> None:
    """Whoever kills all greenlets opens the servers, and is told so."""
    auth = lab.authenticator()
    lab.sleep()
    auth._server._task.kill()
    assert not auth.is_alive()
    assert "was ended by GreenletExit" in lab.logged()
    auth.start()
    assert lab.lets_in(b"NULL")


def test_a_kill_of_a_callback_refuses_its_client(lab: Green) -> None:
    """Before it has begun, too."""
    auth = lab.authenticator()
    hang(lab, auth)
    calls = auth._server._calls
    next(iter(calls)).task.kill()
    assert lab.answer(lab._asking[-1])[3] == b"500"
    assert not calls
    spawned: list[Any] = []
    auth.configure_curve_callback(credentials_provider=Provider(lambda domain, key: spawned.append(key)))
    asking = lab.send(frames(b"CURVE", KEY))

    def kill_soon() -> None:
        for call in list(calls):
            call.task.kill(block=False)

    note = auth._server.note_begin
    auth._server.note_begin = lambda call: (note(call), call.task.hub.call_soon(kill_soon), kill_soon())
    assert lab.answer(asking) is not None
    assert lab.lets_in(b"NULL")


def test_a_with_block_is_its_life(lab: Green) -> None:
    """It is started if it is not, and stopped in any case."""
    auth = lab.authenticator(start=False)

    def work() -> None:
        with auth as entered:
            assert entered is auth
            assert lab.lets_in(b"NULL")
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert not auth.is_alive()


def test_a_context_that_ends_warns_of_no_socket_of_its(lab: Green) -> None:
    """``with Context()`` warns of sockets that the program has forgotten. This is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lab.new_context() as context:
            auth = lab.authenticator(context)
    assert not auth.is_alive()


def test_term_in_another_thread_ends_it(lab: Green) -> None:
    """While the hub of the authenticator goes round."""
    context = lab.new_context()
    auth = lab.authenticator(context)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: (context.term(), done.append(True)))
    thread.start()
    until(lab.hub, lambda: done)
    thread.join()
    assert not auth.is_alive()


# -- the limits of callbacks -------------------------------------------------------------------------------------------


def test_strangers_do_not_pile_up_greenlets(lab: Green) -> None:
    """More clients than `max_callbacks` are turned away, all others go on, and one line in the log tells."""
    auth = lab.authenticator(max_callbacks=5, callback_timeout=NEVER)
    ends = hang(lab, auth, 5)
    for _ in range(50):
        assert lab.ask(b"CURVE", KEY) == (b"300", b"")
    assert lab.lets_in(b"NULL")
    assert len(greenzmq.waiters()) == 6
    assert lab.logged().count("callbacks run at once") == 1
    next(iter(auth._server._calls)).task.kill()
    auth.configure_curve_callback(credentials_provider=Provider(lambda domain, key: True))
    assert lab.lets_in(b"CURVE", KEY)
    assert len(ends) == 1


def test_a_user_id_may_be_asked_for(lab: Green) -> None:
    """An overridden `curve_user_id` may wait: it runs where a callback does."""

    class Own(greenzmq.auth.Authenticator):
        def curve_user_id(self, client_public_key: bytes) -> str:
            lab.sleep(0.01)
            return f"user {client_public_key[1]}"

    auth = Own(lab.context, log=lab.log)
    with auth:
        auth.configure_curve(location="*")
        slow = lab.send(frames(b"CURVE", KEY))
        assert lab.lets_in(b"NULL")
        assert lab.answer(slow)[5] == b"user 1"


def test_a_mapping_of_passwords_may_wait(lab: Green) -> None:
    """One that asks somebody else holds up nobody."""

    answered: list[bool] = []

    class Directory(dict[str, str]):
        def get(self, name: Any, default: Any = None) -> Any:
            lab.until(lambda: answered)
            return super().get(name, default)

    lab.authenticator().configure_plain(passwords=Directory(user="word"))
    slow = lab.send(frames(b"PLAIN", b"user", b"word"))
    assert lab.lets_in(b"NULL")
    assert lab.answer(slow, 0) is None
    answered.append(True)
    assert lab.answer(slow, 5)[5] == b"user"
    assert not lab.lets_in(b"PLAIN", b"user", b"wrong")


@pytest.mark.runtime("asyncio")
def test_a_coroutine_that_is_late_is_cancelled(lab: Green) -> None:
    """Its client is refused, and nothing of it is left on the loop."""
    ends: list[str] = []

    async def callback(domain: str, key: bytes) -> bool:
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return True

    auth = lab.authenticator(callback_timeout=0.02)
    auth.configure_curve_callback(credentials_provider=Provider(callback))
    assert lab.ask(b"CURVE", KEY) == (b"300", b"")
    until(lab.hub, lambda: ends)
    assert not auth._server._calls


@pytest.mark.parametrize("wrong", [None, "5", float("nan"), -1], ids=str)
def test_a_limit_that_is_no_time(wrong: Any) -> None:
    """An error where it is given."""
    with zmq.Context() as context, pytest.raises((TypeError, ValueError), match="callback_timeout"):
        greenzmq.auth.Authenticator(context, callback_timeout=wrong)


def test_an_encoding_that_does_not_exist() -> None:
    """The same."""
    with zmq.Context() as context, pytest.raises(LookupError):
        greenzmq.auth.Authenticator(context, encoding="klingon")


# -- contexts ----------------------------------------------------------------------------------------------------------


def test_options_of_the_context_are_for_its_own_sockets(lab: Green) -> None:
    """pyzmq's sets them on the handler's socket, too: with ``RCVTIMEO`` it may end."""
    lab.context.rcvtimeo, lab.context.sndtimeo, lab.context.linger = 1, 1, 1000
    lab.context.router_mandatory = 1
    lab.authenticator()
    lab.sleep(0.02)
    assert lab.lets_in(b"NULL")


@pytest.mark.parametrize("kind", [zmq.Context, zmq.asyncio.Context], ids=["zmq", "zmq.asyncio"])
def test_pyzmqs_own_contexts_are_guarded(kind: Any, hub: greenzmq.GreenHub) -> None:
    """By greenlets of the hub that runs here."""
    context = kind()
    with Green(hub) as lab:
        auth = lab.authenticator(context)
        dealer = greenzmq.Socket(context, zmq.DEALER)
        dealer.rcvtimeo = 5000
        dealer.connect("inproc://zeromq.zap.01")
        dealer.send_multipart(frames(b"NULL"))
        assert dealer.recv_multipart()[3] == b"200"
        dealer.close(linger=0)
        with pytest.raises(zmq.ZMQError):
            lab.authenticator(context)
        auth.stop()
        again = lab.authenticator(context)
        context.destroy(linger=0)
        assert not again.is_alive()


@pytest.mark.runtime("gevent", "eventlet", "selector", "asyncio")  # a native thread may wait on any hub
@pytest.mark.parametrize("other", ["gevent", "eventlet", "selector"])
def test_a_hub_that_does_not_run_here_is_an_error(other: str, hub: greenzmq.GreenHub) -> None:
    """pyzmq's `AsyncioAuthenticator` returns, and then nobody gets in."""
    if other == hub.name:
        return
    with greenzmq.Context(hub=other) as context:
        auth = greenzmq.auth.Authenticator(context)
        with pytest.raises(greenzmq.WrongHubError):
            auth.start()
        assert not auth.is_alive()
        context.destroy(linger=0)


IDS = ["greenzmq", "greenzmq.asyncio", "greenzmq.aio"]

# -- coroutines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [greenzmq.Context, greenzmq.asyncio.Context, greenzmq.aio.Context], ids=IDS)
@pytest.mark.parametrize("end", ["stop", "term", "destroy", "loop"])
def test_started_in_a_coroutine(cls: Any, end: str, loop_name: str) -> None:
    """It starts there, on the loop; and ends there, or with the loop."""

    async def main() -> Any:
        context = cls()
        auth = greenzmq.auth.Authenticator(context)
        auth.start()
        dealer = greenzmq.asyncio.Socket(context, zmq.DEALER)
        dealer.connect("inproc://zeromq.zap.01")
        await greenzmq.asyncio.run(dealer.send_multipart, frames(b"NULL"))
        assert (await greenzmq.asyncio.run(dealer.recv_multipart))[3] == b"200"
        dealer.close()
        if end != "loop":
            ending = getattr(auth if end == "stop" else context, end)()
            assert not auth.is_alive()
            if ending is not None:
                await ending
        return auth

    auth = run_on(loop_name, main())
    assert not auth.is_alive()
    auth.context.term()


# -- forks -------------------------------------------------------------------------------------------------------------

FORK = """
import os, sys
from programs.auth_lines import KEY
from support.auth import Green, frames
import greenzmq

def new_one():
    with Green(greenzmq.hub()) as other:
        mine = other.authenticator()
        assert other.lets_in(b"NULL")

def begin_again():
    if name in ("asyncio", "uvloop"):  # the child has no loop yet
        greenzmq.main(new_one, hub=name)
    else:
        new_one()

def program():
    lab = Green(greenzmq.hub())
    auth = lab.authenticator()
    assert lab.lets_in(b"NULL")
    child = os.fork()
    if not child:
        try:
            assert not auth.is_alive()
            auth.stop()
            auth.context.term()
            auth.stop()
            begin_again()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    assert auth.is_alive()
    assert lab.lets_in(b"NULL")
    assert not lab.lets_in(b"CURVE", KEY)
    lab.close()
    print("all right")

name = {!r}
greenzmq.main(program, hub=name)
"""


def runtimes(name: str) -> tuple[str, ...]:
    """What a program on that hub needs besides greenzmq."""
    return (name,) if name in ("gevent", "eventlet", "uvloop") else ()


@pytest.mark.parametrize("name", ["gevent", "eventlet", "selector", "asyncio", "uvloop", "threading"])
def test_a_forked_childs_copy_is_dead(request: pytest.FixtureRequest, name: str) -> None:
    """Its `stop` does nothing, a new one works in the child, and the parent's goes on."""
    child = Child(FORK.format(name), watchdog=False, needs=runtimes(name), imported=RUNTIMES)
    need(request, child)
    done = run(child)
    assert done.out == "all right\n", done


def test_pyzmqs_copy_in_a_child_spins() -> None:
    """`ThreadAuthenticator.stop` in a forked child does not come back."""
    program = """
import os, time
from support.auth import Native
lab = Native()
auth = lab.authenticator()
assert lab.lets_in(b"NULL")
child = os.fork()
if not child:
    auth.stop()
    os._exit(0)
time.sleep(0.5)
print(os.waitpid(child, os.WNOHANG) == (0, 0))
os.kill(child, 9)
os.waitpid(child, 0)
os._exit(0)
"""
    assert run(Child(program, watchdog=False, imported=RUNTIMES)).out == "True\n"


# -- what is for the whole program -------------------------------------------------------------------------------------

EXIT = """
import greenzmq
from support.auth import Green, Provider, frames
from programs.auth_lines import KEY

def program():
    lab = Green(greenzmq.hub())

    def leave(domain, key):
        raise SystemExit(7)

    lab.authenticator().configure_curve_callback(credentials_provider=Provider(leave))
    asking = lab.send(frames(b"CURVE", KEY))
    try:
        greenzmq.hub().sleep(1000)
    finally:
        print(lab.answer(asking)[3], lab.lets_in(b"NULL"), flush=True)

greenzmq.main(program, hub={!r})
"""


@pytest.mark.parametrize("name", ["gevent", "eventlet", "selector", "asyncio", "uvloop", "threading"])
def test_a_callback_that_ends_the_program(request: pytest.FixtureRequest, name: str) -> None:
    """SystemExit is for the program, as in any greenlet; the client is refused before."""
    child = Child(EXIT.format(name), needs=runtimes(name), imported=RUNTIMES)
    need(request, child)
    done = run(child)
    assert done.status == 7, done
    assert done.out in ("b'500' True\n", ""), done  # on asyncio nobody can wait any more
