"""`greenzmq.patch` on every hub: what other people's code takes out of `zmq` waits on it."""

from __future__ import annotations

import abc
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
import zmq.asyncio
import zmq.decorators
import zmq.devices
from support.sockets import tick, until

import greenzmq
from greenzmq import GreenHub
from greenzmq.errors import HubError, PatchWarning
from greenzmq.sockets.plain import PlainContext, PlainPoller, PlainSocket


@pytest.fixture
def patched(hub: GreenHub) -> Iterator[GreenHub]:
    """`zmq` is green meanwhile. The tests themselves hold plain classes, of which they would be warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatchWarning)
        with greenzmq.patched():
            yield hub


def later(hub: GreenHub, function: Callable[[], Any]) -> greenzmq.Task[None]:
    """Call it after some rounds of the hub."""

    def run() -> None:
        tick(hub)
        function()

    return hub.spawn(run)


@contextmanager
def opened(context: Any = None) -> Iterator[Any]:
    """A context that ends with its sockets, without linger and without a warning."""
    context = zmq.Context() if context is None else context
    try:
        yield context
    finally:
        context.destroy(linger=0)


def linked(context: Any, first: int, second: int) -> tuple[Any, Any]:
    one, other = context.socket(first), context.socket(second)
    one.bind("inproc://linked")
    other.connect("inproc://linked")
    return one, other


def test_a_receiver_waits_on_the_hub(patched: GreenHub) -> None:
    """``zmq.Context()``, and the common instance; others run while it waits."""
    for context in (zmq.Context(), zmq.Context.instance(), zmq.SyncContext()):
        with opened(context):
            pull, push = linked(context, zmq.PULL, zmq.PUSH)
            ticker = later(patched, lambda: push.send(b"message"))  # noqa: B023
            assert pull.recv() == b"message"
            ticker.get()
            assert isinstance(pull, greenzmq.Socket)


def test_polls_wait_on_the_hub(patched: GreenHub) -> None:
    """A Poller, `zmq_poll`, `select`, and a socket's own `poll`."""
    with opened() as context:
        pull, push = linked(context, zmq.PULL, zmq.PUSH)
        poller = zmq.Poller()
        poller.register(pull, zmq.POLLIN)
        for poll, answer in (
            (poller.poll, [(pull, zmq.POLLIN)]),
            (lambda: zmq.zmq_poll([(pull, zmq.POLLIN)], -1), [(pull, zmq.POLLIN)]),
            (lambda: zmq.select([pull], [], []), ([pull], [], [])),
            (pull.poll, zmq.POLLIN),
        ):
            later(patched, lambda: push.send(b"message"))
            assert poll() == answer
            assert pull.recv() == b"message"


def test_a_proxy_and_a_device_wait_on_the_hub(patched: GreenHub) -> None:
    """`zmq.proxy`, `zmq.proxy_steerable`, `zmq.device`, until their sockets are closed."""
    for run in (zmq.proxy, zmq.proxy_steerable, lambda *sockets: zmq.device(zmq.QUEUE, *sockets)):
        with opened() as context:
            front, back, push, pull = (context.socket(kind) for kind in (zmq.PULL, zmq.PUSH, zmq.PUSH, zmq.PULL))
            for bound, connected in ((front, push), (back, pull)):
                bound.bind(f"inproc://{id(bound)}")
                connected.connect(f"inproc://{id(bound)}")
            task = patched.spawn(run, front, back)
            push.send(b"message")
            assert pull.recv() == b"message"
            front.close()
            with pytest.raises(zmq.ZMQError):
                task.get()


def test_frames_and_trackers_are_green(patched: GreenHub) -> None:
    """A tracker's `wait` parks; what is received with ``copy=False`` is a `zmq.Frame`, and what is tracked as well."""
    with opened() as context:
        pull, push = linked(context, zmq.PULL, zmq.PUSH)
        tracker = push.send(b"tracked" * 10000, copy=False, track=True)
        later(patched, pull.recv)
        tracker.wait(10)
        assert tracker.done
        assert type(tracker) is zmq.MessageTracker
        push.send_multipart([zmq.Frame(b"one"), zmq.Message(b"two")])
        frames = pull.recv_multipart(copy=False)
        assert [(type(frame), frame.bytes) for frame in frames] == [(zmq.Frame, b"one"), (zmq.Frame, b"two")]


def test_a_routing_id_goes_past_the_patch(patched: GreenHub) -> None:
    """pyzmq answers as ever. Seen to fail: the method called itself until the stack was full."""
    with opened() as context:
        socket = context.socket(zmq.PAIR)
        for arguments in ({"routing_id": 1}, {"group": "g"}):
            for send in (socket.send, lambda data, **given: socket.send_multipart([data], **given)):
                with pytest.raises(RuntimeError) as caught:
                    send(b"data", **arguments)
                assert not isinstance(caught.value, RecursionError)
                assert "draft" in str(caught.value).lower()


def test_decorators_give_green_ones(patched: GreenHub) -> None:
    """Also those that were taken out of `zmq.decorators` before."""

    @zmq.decorators.context()
    @zmq.decorators.socket(zmq.PULL)
    def use(context: Any, socket: Any) -> tuple[bool, bool]:
        return isinstance(context, greenzmq.Context), isinstance(socket, greenzmq.Socket)

    assert use() == (True, True)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("ThreadProxy", zmq.devices.proxydevice),
        ("ThreadDevice", zmq.devices.basedevice),
        ("ThreadMonitoredQueue", zmq.devices.monitoredqueuedevice),
    ],
)
def test_a_device_runs_in_a_native_thread(patched: GreenHub, name: str, home: Any) -> None:
    """It shares the inproc addresses of ``zmq.Context.instance()``, and `join` waits on the hub."""
    with opened(zmq.Context.instance()) as context:
        kinds = (zmq.QUEUE, zmq.PULL, zmq.PUSH) if name == "ThreadDevice" else (zmq.PULL, zmq.PUSH)
        device = getattr(zmq.devices, name)(*kinds)
        assert getattr(zmq.devices, name) is getattr(home, name)
        for bind, where in ((device.bind_in, "inproc://in"), (device.bind_out, "inproc://out")):
            bind(where)
        device.start()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.connect("inproc://in")
        pull.connect("inproc://out")
        push.send(b"message")
        assert pull.recv() == b"message"
        push.close()
        pull.close()
        context.term()
        device.join()
        assert device.done


def test_what_stays_plain_passes_for_green(patched: GreenHub) -> None:
    """pyzmq and programs ask ``isinstance(…, zmq.Socket)``: of plain ones too, and of those of `zmq.asyncio`."""
    plain = PlainContext()
    for context in (plain, zmq.Context(), zmq.asyncio.Context(), greenzmq.Context()):
        with context:
            assert isinstance(context, zmq.Context)
            socket = context.socket(zmq.PAIR) if context is not plain else PlainSocket(context, zmq.PAIR)
            assert isinstance(socket, zmq.Socket)
            assert isinstance(zmq.Context(context), zmq.Context)  # a shadow, of any kind
            assert isinstance(zmq.Socket(socket), zmq.Socket)
            socket.close()
    assert isinstance(PlainPoller(), zmq.Poller)
    for kind in (zmq.asyncio.Socket, PlainSocket, greenzmq.Socket):
        assert issubclass(kind, zmq.Socket)
    assert not isinstance(1, zmq.Socket)
    assert not issubclass(int, zmq.Context)


def test_a_subclass_is_an_ordinary_class(patched: GreenHub) -> None:
    """It counts its own instances only, may have its own `send`, and may mix in abstract classes."""

    class Countable(abc.ABC):
        @abc.abstractmethod
        def count(self) -> int: ...

    class Mine(zmq.Socket, Countable):
        sent = 0

        def send(self, *args: Any, **kwargs: Any) -> Any:
            self.__dict__["sent"] = self.sent + 1
            return super().send(*args, **kwargs)

        def count(self) -> int:
            return self.sent

    with opened() as context:
        plain, mine = context.socket(zmq.PULL), context.socket(zmq.PUSH, socket_class=Mine)
        plain.bind("inproc://mine")
        mine.connect("inproc://mine")
        mine.send_multipart([b"one", b"two"])
        assert (plain.recv_multipart(), mine.count()) == ([b"one", b"two"], 2)
        assert isinstance(mine, Mine)
        assert not isinstance(plain, Mine)
        assert not issubclass(zmq.Socket, Mine)


def test_classes_are_generic(patched: GreenHub) -> None:
    """As annotations that are evaluated, and as bases. Seen to fail with ipykernel's."""
    assert zmq.Context[Any].__origin__ is zmq.Context

    class Mine(zmq.Context[zmq.Socket[bytes]]):
        pass

    with Mine() as context:
        assert isinstance(context, zmq.Context)


def test_many_wait_and_are_killed(patched: GreenHub) -> None:
    """The guarantees of green sockets hold: a waiter that is killed costs no message, and the others go on."""
    with opened() as context:
        pull, push = linked(context, zmq.PULL, zmq.PUSH)
        tasks = [patched.spawn(pull.recv) for _ in range(4)]
        until(patched, lambda: len(greenzmq.waiters()) >= len(tasks))
        tasks[0].kill()
        for number in range(1, 4):
            push.send(b"%d" % number)
        assert [task.get() for task in tasks[1:]] == [b"1", b"2", b"3"]


# -- the patch itself --------------------------------------------------------------------------------------------------


def test_it_is_there_for_the_block_only(hub: GreenHub) -> None:
    """Every name that is replaced is pyzmq's own again, in all its modules, also after an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatchWarning)
        with greenzmq.patched(aio=True):
            pass  # all of pyzmq's modules are imported now
    before = everything()
    made: list[Any] = []

    @greenzmq.patched(aio=True)
    def fail() -> None:
        assert everything() != before
        made.append(zmq.Context())
        assert type(made[0]) is not PlainContext
        raise ZeroDivisionError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatchWarning)
        with pytest.raises(ZeroDivisionError):
            fail()
    (context,) = made
    assert everything() == before
    assert zmq.Context is PlainContext
    with opened(context):  # what was made meanwhile goes on
        pull, push = linked(context, zmq.PULL, zmq.PUSH)
        later(hub, lambda: push.send(b"message"))
        assert pull.recv() == b"message"
    greenzmq.unpatch()  # which does nothing
    assert everything() == before


def test_twice_is_once_and_two_hubs_are_an_error(patched: GreenHub) -> None:
    """The error names both calls and where they were made; the patch stays as it was, and is the same the next time."""
    before = everything()
    greenzmq.patch()
    with greenzmq.patched():
        assert everything() == before
    assert everything() == before
    with pytest.raises(HubError, match=r"patch\('selector'\) at .*test_patch_hubs.py.* contradicts .*patch\(\) at"):
        greenzmq.patch("selector")
    assert everything() == before
    kept = zmq.Context
    greenzmq.unpatch()
    with greenzmq.patched():
        assert zmq.Context is kept


def test_a_wrong_hub_changes_nothing() -> None:
    """Unknown, or not installed: the error of `Context(hub=…)`, before anything is replaced."""
    before = everything()
    with pytest.raises(greenzmq.UnknownHubError, match="selector"):
        greenzmq.patch("selektor")
    assert everything() == before


def test_a_patch_for_one_hub_says_so_on_another(hub: GreenHub) -> None:
    """A wait there would stop the hub that runs: the error names the call of `patch`."""
    other = "selector" if hub.hub.name == "gevent" else "gevent"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PatchWarning)
        with greenzmq.patched(other), zmq.Context() as context:
            socket = context.socket(zmq.PULL)
            with pytest.raises(greenzmq.WrongHubError, match=rf"greenzmq.patch\('{other}'\) says {other}, but"):
                socket.recv()
            socket.close()


def test_classes_pickle_by_their_names(patched: GreenHub) -> None:
    """``zmq.Context`` is what a pickle says, whoever reads it."""
    for kind in (zmq.Context, zmq.Socket, zmq.Poller, zmq.Frame):
        data = pickle.dumps(kind)
        assert b"greenzmq" not in data
        assert pickle.loads(data) is kind


def everything() -> dict[tuple[str, str], int]:
    """The identity of whatever lies in the modules of `zmq` that are there."""
    import sys

    return {
        (name, member): id(value)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "zmq" and module is not None
        for member, value in vars(module).items()
        if member not in {"__warningregistry__", "green"}
    } | {("sys", "meta_path"): len(sys.meta_path)}


def test_a_monitored_queue_waits_on_the_hub(patched: GreenHub) -> None:
    """`zmq.devices.monitored_queue`: what passes is published with a prefix."""
    with opened() as context:
        front, push = linked(context, zmq.PULL, zmq.PUSH)
        back, pull, monitor, sub = (context.socket(kind) for kind in (zmq.PUSH, zmq.PULL, zmq.PUB, zmq.SUB))
        for bound, connected in ((back, pull), (monitor, sub)):
            bound.bind(f"inproc://{id(bound)}")
            connected.connect(f"inproc://{id(bound)}")
        sub.subscribe(b"")
        monitor.wait_subscribed()
        task = patched.spawn(zmq.devices.monitored_queue, front, back, monitor, b"in", b"out")
        later(patched, lambda: push.send(b"message"))
        assert pull.recv() == b"message"
        assert sub.recv_multipart() == [b"in", b"message"]
        front.close()
        with pytest.raises(zmq.ZMQError):
            task.get()
