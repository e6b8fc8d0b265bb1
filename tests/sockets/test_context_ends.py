"""The end of a context where nothing can park, and what comes out of its ``with`` block."""

from __future__ import annotations

import pytest
import zmq
from support.children import Child, need, run
from support.forked import RUNTIMES
from support.sockets import address, connected, open_context, parked, receives, tick, until

import greenzmq


def in_hub(hub, function):
    """What ``function()`` raises in a callback of the hub, or None."""
    outcome = []

    def callback() -> None:
        try:
            function()
        except Exception as error:
            outcome.append(error)
        else:
            outcome.append(None)

    hub.hub.call_soon(callback)
    until(hub, lambda: outcome)
    return outcome.pop()


def with_block(context, error=None):
    with context:
        if error is not None:
            raise error


ENDS = {
    "term": lambda context: context.term(),
    "destroy": lambda context: context.destroy(),
    "destroy(linger=0)": lambda context: context.destroy(linger=0),
    "with": with_block,
}


@pytest.mark.parametrize("how", ENDS)
def test_with_nothing_to_wait_for_a_context_ends_in_the_hub(hub, how):
    """In a callback of the hub a context ends when its sockets are closed, used or not, or when it has had none.

    Seen to fail with a `BlockingCallError`.
    """
    for used in (False, True):
        context = greenzmq.Context(hub=hub)
        if used:
            left, right = connected(context, zmq.PAIR, zmq.PAIR, transport="tcp")
            left.send(b"x")
            assert right.recv() == b"x"
            left.close()
            right.close()
        assert in_hub(hub, lambda context=context: ENDS[how](context)) is None
        assert context.closed


@pytest.mark.filterwarnings("ignore:Destroying context:ResourceWarning")
@pytest.mark.parametrize("how", ["destroy", "with"])
def test_open_sockets_are_closed_in_the_hub(hub, how):
    """`destroy` and `with` in a callback close what is open, wake those who wait there, and end the context."""
    context = greenzmq.Context(hub=hub)
    opened = connected(context, zmq.PAIR, zmq.PAIR)
    tasks = [parked(hub, receives, socket.recv) for socket in opened]
    assert in_hub(hub, lambda: ENDS[how](context)) is None
    assert context.closed
    for task in tasks:
        with pytest.raises(zmq.ZMQError):
            task.get()


def lingering(hub):
    """A context with a closed socket whose message nobody has taken, and the address where it can be taken."""
    context, where = greenzmq.Context(hub=hub), address("ipc")
    context.reconnect_ivl = 1
    with context.socket(zmq.PUSH) as push:
        push.connect(where)
        push.send(b"x")
    return context, where


def is_usable(context):
    try:
        context.socket(zmq.PULL).close()
    except zmq.ZMQError:
        return False
    return True


def test_the_end_goes_on_where_it_cannot_be_waited_for(hub, monkeypatch):
    """With an unsent message a callback's `term` is an error that says so; the end has begun, and can be waited for."""
    monkeypatch.setattr(greenzmq.sockets.context, "PATIENCE", 0.01)
    context, where = lingering(hub)
    error = in_hub(hub, context.term)
    assert isinstance(error, greenzmq.BlockingCallError)
    assert "LINGER" in str(error)
    assert ("await greenzmq.asyncio.run(" if hub.name == "asyncio" else "greenzmq.hub().spawn(") in str(error)
    until(hub, lambda: not is_usable(context))
    assert not context.closed
    ending = hub.spawn(context.term)
    tick(hub, ending)
    with open_context(hub) as other, other.socket(zmq.PULL) as pull:
        pull.bind(where)
        assert pull.recv() == b"x"
        ending.get()
    assert context.closed


@pytest.mark.parametrize("place", ["in a greenlet", "in the hub"])
def test_with_keeps_the_error_of_its_block(hub, monkeypatch, place):
    """What has ended the block comes out of ``with Context()``; what goes wrong with the end is a warning beside it.

    Seen to fail in the hub: the `BlockingCallError` stood in its place.
    """
    monkeypatch.setattr(greenzmq.sockets.context, "PATIENCE", 0.01)
    error = OSError("the real problem")
    context, where = lingering(hub)
    if place == "in the hub":
        with pytest.warns(RuntimeWarning, match="after OSError.'the real problem'.: .* is ending") as warned:
            assert in_hub(hub, lambda: with_block(context, error)) is error
        assert warned[0].filename == __file__
    else:
        task = hub.spawn(with_block, context, error)
        tick(hub, task)
    with open_context(hub) as other, other.socket(zmq.PULL) as pull:
        pull.bind(where)
        assert pull.recv() == b"x"
        context.term()
        if place == "in a greenlet":
            with pytest.raises(OSError, match="the real problem"):
                task.get()


@pytest.mark.filterwarnings("error::ResourceWarning", "error::RuntimeWarning")
def test_with_keeps_the_error_where_warnings_are_errors(hub):
    """Under ``-W error`` the warning of a socket that was left open does not hide the block's error."""
    context = greenzmq.Context(hub=hub)
    socket = context.socket(zmq.PULL)
    with pytest.raises(OSError, match="the real problem"):
        with_block(context, OSError("the real problem"))
    with pytest.raises(ResourceWarning):
        with_block(context)
    socket.close()
    context.term()


def test_what_is_thrown_into_the_end_comes_out(hub):
    """A kill or a time limit that meets the end of a ``with`` block is no error of the end: it goes where it has to."""
    context, where = lingering(hub)
    with pytest.raises(greenzmq.Timeout), hub.timeout(0.01):
        with_block(context, OSError("the real problem"))
    with open_context(hub) as other, other.socket(zmq.PULL) as pull:
        pull.bind(where)
        assert pull.recv() == b"x"
        context.term()


@pytest.mark.parametrize("name", ["greenzmq", "greenzmq.selector", "greenzmq.gevent", "greenzmq.eventlet"])
def test_term_at_exit(name, request):
    """What `atexit` calls can end a context that was used. Seen to fail on CPython 3.12: it starts no thread then."""
    runtime = name.rpartition(".")[2]
    needs = (runtime,) if runtime in ("gevent", "eventlet") else ()
    child = Child(AT_EXIT.format(name), needs=needs, imported=RUNTIMES)
    need(request, child)
    done = run(child)
    assert (done.status, done.out, done.err) == (0, "True\n", "")


AT_EXIT = """
    import atexit
    import {} as zmq

    def end():
        context.destroy()
        print(context.closed)

    context = zmq.Context()
    atexit.register(end)
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://x")
    right.connect("inproc://x")
    task = zmq.hub().spawn(left.recv)
    zmq.hub().sleep()
    right.send(b"x")
    assert task.get() == b"x"
"""


def test_term_in_a_thread_without_that_hub(hub):
    """A context whose hub belongs to another thread ends in a plain thread. Seen to fail with a `HubError`."""
    context = greenzmq.Context(hub=hub.hub)
    hub.run_in_thread(context.term)
    assert context.closed
