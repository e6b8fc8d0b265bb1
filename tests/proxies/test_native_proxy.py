"""libzmq's own proxy in a native thread: its abnormal ends. What both kinds share is in the other two files."""

from __future__ import annotations

import pytest
import zmq
from support.children import Child, run
from support.forked import RUNTIMES
from support.inside import lease_of
from support.proxies import TINY, drain, numbers, running
from support.sockets import open_context, tick, until

import greenzmq

ONE_WAY = (zmq.PULL, zmq.PUSH, zmq.PUSH, zmq.PULL)


def fill_libzmq(proxy):
    """Start the native proxy such that it has message 2 in hand, without room for it. How many were sent after that."""
    proxy.backend.send(b"0")
    for number in (1, 2):
        proxy.client.send(b"%d" % number)
    proxy.start()
    sent = 2  # for which there is room when libzmq has taken the last one before them
    for number in range(sent):
        proxy.client.send_multipart([b"%d" % number, b"tail"])
    return sent


def test_killed_while_libzmq_waits_for_room(hub):
    """A killed native proxy has ended when the kill returns, and the sockets are free; nothing is lost.

    libzmq waits for room with a message in hand: then the kill waits, too, until somebody reads, and the hub goes on.
    """
    with running(hub, *ONE_WAY, options=TINY, native=True, start=False) as proxy:
        sent = fill_libzmq(proxy)
        proxy.task.kill(block=False)
        tick(hub, proxy.task)
        hub.sleep(0.02)
        assert not proxy.task.done
        assert [proxy.worker.recv() for _ in range(3)] == [b"0", b"1", b"2"]
        assert proxy.task.join(10)
        rest = [*drain(hub, proxy.worker, 0), *drain(hub, proxy.frontend, 0)]
        assert [int(parts[0]) for parts in rest] == list(range(sent))


def test_a_control_socket_that_is_closed_ends_it(hub):
    """A native proxy's control socket is this greenlet's: closing it is no crash, but ENOTSOCK and the end."""
    with running(hub, *ONE_WAY, control=(zmq.PAIR, zmq.PAIR), native=True) as proxy:
        assert numbers(proxy)
        proxy.control.close()
        with pytest.raises(zmq.ZMQError) as raised:
            proxy.task.get(10)
        assert raised.value.errno == zmq.ENOTSOCK


def refuses(socket):
    """The socket is closed, as far as Python is concerned."""
    assert socket.closed
    for call in (socket.recv, lambda: socket.send(b"message"), lambda: socket.get(zmq.EVENTS), lambda: socket.poll(0)):
        with pytest.raises(zmq.ZMQError):
            call()
    socket.close()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["frontend", "backend", "capture"])
def test_a_socket_closed_under_libzmq(hub, which):
    """A green socket that a native proxy has is closed for everybody at once, the proxy ends, and then libzmq hears.

    Seen to hang: the thread slept on, in a socket that libzmq's reaper had taken, and the context did not end either.
    """
    with running(hub, *ONE_WAY, capture=True, native=True) as proxy:
        proxy.client.send(b"message")
        assert proxy.worker.recv() == proxy.captured.recv() == b"message"
        closed = proxy.all_sockets()[which]
        address = closed.underlying
        closed.close()
        refuses(closed)
        with pytest.raises(zmq.ZMQError) as raised:
            proxy.task.get(10)
        assert raised.value.errno == zmq.ENOTSOCK
        assert zmq.Socket.shadow(address).closed
        for socket in set(proxy.all_sockets()) - {closed}:
            assert lease_of(socket) is None
            assert socket.get(zmq.EVENTS) >= 0


def test_closed_while_libzmq_waits_for_room(hub):
    """The socket is closed for others at once, and for libzmq when that has got rid of the message in hand."""
    with running(hub, *ONE_WAY, options=TINY, native=True, start=False) as proxy:
        fill_libzmq(proxy)
        address = proxy.frontend.underlying
        proxy.frontend.close()
        refuses(proxy.frontend)
        tick(hub, proxy.task)
        hub.sleep(0.05)
        assert not proxy.task.done
        assert not zmq.Socket.shadow(address).closed, "seen when close() told libzmq at once"
        assert [proxy.worker.recv() for _ in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(zmq.ZMQError):
            proxy.task.get(10)
        assert zmq.Socket.shadow(address).closed


@pytest.mark.parametrize("stuck", [False, True], ids=["idle", "stuck"])
def test_a_context_destroyed_under_libzmq(hub, stuck):
    """destroy() closes the sockets of a native proxy, ends it, also with a message in hand, and returns.

    Seen to end with libzmq's "Bad address" when the sockets were closed under the native thread.
    """
    with running(hub, *ONE_WAY, options=TINY, native=True, start=False) as proxy:
        if stuck:
            fill_libzmq(proxy)
        else:
            proxy.start()
        tick(hub, proxy.task)
        proxy.context.destroy(linger=0)
        until(hub, lambda: proxy.task.done)
        with pytest.raises(zmq.ZMQError):
            proxy.task.get()
        assert proxy.context.closed


def test_what_libzmq_needs_for_itself(hub):
    """A socket on which others wait, or that a native proxy has, is refused, by name; nothing happens to the others."""
    with running(hub, *ONE_WAY, native=True) as proxy, open_context(hub) as context:
        front, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        until(hub, lambda: lease_of(proxy.frontend))
        with pytest.raises(greenzmq.WrongHubError, match="PULL"):
            greenzmq.proxy(proxy.frontend, back, native=True)
        with pytest.raises(greenzmq.WrongHubError, match="PUSH"):
            greenzmq.proxy(front, proxy.backend, native=True)
        waiting = hub.spawn(front.recv)
        tick(hub, waiting)
        with pytest.raises(greenzmq.WrongHubError, match="a greenlet waits on it"):
            greenzmq.proxy(front, back, native=True)
        waiting.kill()
        proxy.client.send(b"message")
        assert proxy.worker.recv() == b"message"
        assert lease_of(front) is lease_of(back) is None


def test_killed_again_while_it_ends(hub):
    """Killed once more while libzmq waits for room: the greenlet goes, and what it closes is closed in time, safely."""
    with running(hub, *ONE_WAY, options=TINY, native=True, start=False) as proxy:
        fill_libzmq(proxy)
        lease = lease_of(proxy.frontend)
        proxy.task.kill(block=False)
        tick(hub, proxy.task)
        proxy.task.kill()
        proxy.frontend.close()
        proxy.backend.close()
        assert lease_of(proxy.frontend) is lease is not None
        assert [proxy.worker.recv() for _ in range(3)] == [b"0", b"1", b"2"]
        until(hub, lambda: lease_of(proxy.frontend) is None)


def test_a_native_proxy_that_cannot_begin(hub, context):
    """With a context that has ended: ContextTerminated, and the sockets can be closed."""
    front, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    ending = hub.spawn(context.term)
    until(hub, lambda: ended(front))
    with pytest.raises(zmq.ContextTerminated):
        greenzmq.proxy(front, back, native=True)
    front.close()
    back.close()
    ending.get()


@pytest.mark.parametrize("lacking", ["threads", "sockets", "one socket"])
def test_a_native_proxy_for_which_there_is_no_room(context, monkeypatch, lacking):
    """No thread can be started, or no inner socket be made: an error, and nothing is left open, nor with the proxy.

    Seen to leave the inner sockets to the garbage collector, with a warning, and the context to wait for them.
    """
    context.max_sockets = {"threads": 4, "one socket": 3, "sockets": 2}[lacking]
    front, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    with monkeypatch.context() as full:
        if lacking == "threads":
            full.setattr("greenzmq.process.unpatched.start_new_thread", no_more_threads)
        with pytest.raises(RuntimeError if lacking == "threads" else zmq.ZMQError) as kept:  # and its frames
            greenzmq.proxy(front, back, native=True)
    assert lease_of(front) is lease_of(back) is None
    front.close()
    back.close()
    context.term()
    assert kept.value


def no_more_threads(*_):
    raise RuntimeError("can't start new thread")


def ended(socket):
    try:
        socket.get(zmq.EVENTS)
    except zmq.ContextTerminated:
        return True
    return False


FORK = """
    import os
    import greenzmq.selector as zmq
    from support.proxies import running
    from support.sockets import until
    hub = zmq.hub()

    def passes(proxy):
        proxy.client.send(b"message")
        assert proxy.worker.recv() == b"message"

    def main():
        ways = (zmq.PULL, zmq.PUSH, zmq.PUSH, zmq.PULL)
        with running(hub, *ways, native=True) as proxy:
            passes(proxy)
            child = os.fork()
            if child == 0:
                for socket in proxy.all_sockets():
                    assert socket.closed
                    socket.close()
                proxy.context.destroy()
                with running(hub, *ways, native=True) as other:
                    passes(other)
                os._exit(0)
            print(os.waitpid(child, 0)[1])
            passes(proxy)
        print("ended")

    hub.run(main)
"""


def test_a_fork_under_libzmq():
    """In the child the sockets are closed, and a native proxy of its own runs; the parent's goes on."""
    done = run(Child(FORK, imported=RUNTIMES))
    assert (done.status, done.out.split(), done.err) == (0, ["0", "ended"], "")
