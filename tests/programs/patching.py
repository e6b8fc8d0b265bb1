"""The programs of test_patch_programs.py: a process that is patched, and code in it that knows nothing of greenzmq.

Each prints what has passed. The functions import pyzmq's modules where they use them, as other people's modules do that
are imported after the patch.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

#: What one imports to get which hub, besides `zmq` itself.
GREEN = {"gevent": "zmq.green", "eventlet": "eventlet.green.zmq"}


def foreign(source: str) -> types.ModuleType:
    """A module of others, made of `source`."""
    module = types.ModuleType("foreign")
    exec(source, vars(module))
    return module


SPELLINGS = (
    "import zmq; Context = zmq.Context; Poller = zmq.Poller; select = zmq.select",
    "from zmq import Context, Poller, select",
    "from zmq import *",
    "from zmq.sugar import Context, Poller, select",
    "from zmq.sugar.context import Context; from zmq.sugar.poll import Poller, select",
    "import {green} as zmq; Context = zmq.Context; Poller = zmq.Poller; select = zmq.select",
    "from {package} import {last} as zmq; Context = zmq.Context; Poller = zmq.Poller; select = zmq.select",
    "from {green} import Context, Poller, select",
)


def spellings(runtime: str) -> list[str]:
    package, _, last = GREEN[runtime].rpartition(".")
    return [spelling.format(green=GREEN[runtime], package=package, last=last) for spelling in SPELLINGS]


def rendezvous(runtime: str, module: Any) -> None:
    """A receiver of `module` waits on the runtime's hub, for a sender that comes after some turns of the others."""
    runs: Any = importlib.import_module(runtime)
    context = module.Context()
    pull, push = context.socket(7), context.socket(8)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint.decode())
    poller = module.Poller()
    poller.register(pull, 1)
    for wait in (
        lambda: poller.poll() and pull.recv(),
        lambda: module.select([pull], [], []) and pull.recv(),
        lambda: pull.poll() and pull.recv(),
        pull.recv,
    ):

        def send() -> None:
            for _ in range(5):
                runs.sleep(0)
            push.send(b"message")

        runs.spawn(send)
        assert wait() == b"message"
    context.destroy(linger=0)


def waits(runtime: str) -> None:
    """Every spelling of an import."""
    for spelling in spellings(runtime):
        rendezvous(runtime, foreign(spelling))
    print("waits")


def helpers(runtime: str) -> None:
    """pyzmq's own helpers make green sockets: imported before the patch or after it."""
    import zmq
    import zmq.decorators
    import zmq.log.handlers
    from zmq.utils.monitor import recv_monitor_message

    import greenzmq

    handler = zmq.log.handlers.PUBHandler("inproc://log")
    assert isinstance(handler.socket, greenzmq.Socket), handler.socket
    handler.ctx.destroy(linger=0)

    @zmq.decorators.context()
    @zmq.decorators.socket(zmq.PAIR)
    def decorated(context: Any, socket: Any) -> None:
        assert isinstance(context, greenzmq.Context), context
        assert isinstance(socket, greenzmq.Socket), socket

    decorated()
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    monitor = socket.get_monitor_socket()
    importlib.import_module(runtime).spawn(socket.bind, "tcp://127.0.0.1:*")
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_LISTENING
    context.destroy(linger=0)
    print("helpers")


def devices(runtime: str) -> None:
    """A device in a thread has a native one, and `join` lets the others run."""
    import zmq
    from zmq.devices import ThreadProxy

    runs: Any = importlib.import_module(runtime)
    context = zmq.Context.instance()
    device = ThreadProxy(zmq.PULL, zmq.PUSH)
    idents: list[int] = []
    run_device = device.run_device
    device.run_device = lambda: (idents.append(native_id()), run_device())
    device.bind_in("inproc://in")
    device.bind_out("inproc://out")
    device.start()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.connect("inproc://in")
    pull.connect("inproc://out")
    push.send(b"message")
    assert pull.recv() == b"message"
    assert idents != [native_id()]
    ended: list[str] = []
    runs.spawn(lambda: (runs.sleep(0), ended.append("sockets"), push.close(), pull.close(), context.term()))
    device.join()
    assert ended == ["sockets"]
    print("devices")


def native_id() -> int:
    return threading.get_native_id()


def forked(runtime: str) -> None:
    """A forked child is patched, too."""
    child = os.fork()
    if not child:
        status = 1
        try:
            rendezvous(runtime, foreign("from zmq import *"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    print("forked")


def unpatched(runtime: str) -> None:
    """Everything is as it was: what lies in pyzmq's modules, what is found by an import, and what the classes are."""
    import greenzmq

    greenzmq.unpatch()
    zmq: Any = importlib.import_module("zmq")
    for name in ("Context", "Socket", "Poller", "Frame", "MessageTracker", "select", "zmq_poll", "proxy", "device"):
        assert not getattr(zmq, name).__module__.startswith("greenzmq"), name
        assert type(getattr(zmq, name)).__module__ != "functools", name
    assert type(zmq.Context) is type
    for green in GREEN.values():
        if green.partition(".")[0] in sys.modules or importlib.util.find_spec(green.partition(".")[0]):
            module: Any = importlib.import_module(green)
            assert not module.Context.__module__.startswith("greenzmq"), module
    print("unpatched")


def run(runtime: str) -> None:
    for check in (waits, helpers, devices, forked, unpatched):
        check(runtime)


# -- what stays pyzmq's ------------------------------------------------------------------------------------------------


def stays() -> None:
    """`zmq.asyncio`, a ZMQStream of tornado's, and pyzmq's thread for zero-copy work as before, on plain sockets."""
    import asyncio

    import zmq
    import zmq.asyncio
    from zmq.eventloop.zmqstream import ZMQStream
    from zmq.utils import garbage

    import greenzmq

    def is_plain(thing: object) -> bool:
        return not isinstance(thing, (greenzmq.Context, greenzmq.Socket, greenzmq.Poller))

    async def program() -> None:
        with zmq.asyncio.Context() as context:
            pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            assert is_plain(context)
            assert is_plain(pull)
            assert is_plain(pull._shadow_sock)
            pull.bind("inproc://asyncio")
            push.connect("inproc://asyncio")
            poller = zmq.asyncio.Poller()
            poller.register(pull, zmq.POLLIN)
            green = zmq.Context(context).socket(zmq.PAIR)  # a Poller of zmq.asyncio takes these, too
            assert not is_plain(green)
            poller.register(green, zmq.POLLIN)
            await push.send(b"message" * 20000, copy=False)
            assert await poller.poll(10000) == [(pull, zmq.POLLIN)]
            assert len(await pull.recv()) == 140000
            green.close(0)
            context.destroy(linger=0)
        with zmq.Context() as context:
            pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            pull.bind("inproc://tornado")
            push.connect("inproc://tornado")
            stream = ZMQStream(pull)
            assert is_plain(stream.poller)
            received: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
            stream.on_recv(received.set_result)
            push.send(b"message")
            assert await received == [b"message"]
            stream.close()
            context.destroy(linger=0)

    asyncio.run(program())
    assert is_plain(garbage.gc.context)
    print("stays")


def process_device() -> None:
    """A device in a process of its own is libzmq's proxy."""
    import zmq
    from zmq.devices import ProcessProxy

    context = zmq.Context()
    device = ProcessProxy(zmq.PULL, zmq.PUSH)
    ports = device.bind_in_to_random_port("tcp://127.0.0.1"), device.bind_out_to_random_port("tcp://127.0.0.1")
    device.start()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.connect(f"tcp://127.0.0.1:{ports[0]}")
    pull.connect(f"tcp://127.0.0.1:{ports[1]}")
    push.send(b"message")
    assert pull.recv() == b"message"
    device.launcher.terminate()
    device.join()
    context.destroy(linger=0)
    print("process device")


def warned(call: Callable[[], None]) -> list[str]:
    """The warnings of greenzmq that `call` gives, with the file that they blame."""
    import warnings

    from greenzmq.errors import PatchWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PatchWarning)
        call()
    return [f"{os.path.basename(one.filename)}: {one.message}" for one in caught if one.category is PatchWarning]


def awaitable() -> None:
    """`zmq.asyncio` has our awaitable sockets: a cancelled `recv` loses nothing. Those of before pass for them."""
    import asyncio

    import zmq
    import zmq.asyncio
    from zmq.eventloop.zmqstream import ZMQStream
    from zmq.utils.monitor import recv_monitor_message

    import greenzmq.aio

    assert issubclass(zmq.asyncio.Socket, greenzmq.aio.Socket)

    async def program() -> None:
        async with zmq.asyncio.Context() as context:
            pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            assert isinstance(context, zmq.Context)
            assert type(pull) is zmq.asyncio.Socket
            monitor = pull.get_monitor_socket()
            pull.bind("tcp://127.0.0.1:*")
            assert (await recv_monitor_message(monitor))["event"] == zmq.EVENT_LISTENING
            push.connect(pull.last_endpoint.decode())
            for number in range(20):
                waiting = asyncio.ensure_future(pull.recv())
                await asyncio.sleep(0)
                await push.send(b"%d" % number)
                waiting.cancel()
                assert await pull.recv() == b"%d" % number
            poller = zmq.asyncio.Poller()
            poller.register(pull, zmq.POLLIN)
            await push.send(b"message")
            assert await poller.poll(10000) == [(pull, zmq.POLLIN)]
            assert await pull.recv() == b"message"
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stream = ZMQStream(pull)  # which makes a plain socket of one whose calls give futures
            received: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
            stream.on_recv(received.set_result)
            await push.send(b"message")
            assert await received == [b"message"]
            stream.close()
            monitor.close(0)
            push.close(0)
            pull.close(0)

    asyncio.run(program())
    greenzmq.unpatch()
    assert not issubclass(zmq.asyncio.Socket, greenzmq.Socket)
    print("awaitable")


def eventloop(namespace: str) -> None:
    """The names of a namespace's `eventloop`, in the spellings of circus, with a stream on a green socket."""
    import asyncio
    import importlib
    import warnings

    import zmq.eventloop.zmqstream

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyzmq says that `ioloop` is deprecated
        package = importlib.import_module(f"{namespace}.eventloop")
        ioloop = importlib.import_module(f"{namespace}.eventloop.ioloop")
        zmqstream = importlib.import_module(f"{namespace}.eventloop.zmqstream")
        scope: dict[str, Any] = {}
        exec(f"from {namespace}.eventloop import ioloop, zmqstream\nimport {namespace}.eventloop.zmqstream", scope)
    assert scope["zmqstream"] is zmqstream is zmq.eventloop.zmqstream
    assert package.IOLoop is ioloop.IOLoop is importlib.import_module("tornado.ioloop").IOLoop
    assert issubclass(ioloop.PeriodicCallback, object)
    module = importlib.import_module(namespace)

    async def program() -> list[bytes]:
        context = module.Context()
        pull, push = context.socket(module.PULL), context.socket(module.PUSH)
        pull.bind("inproc://stream")
        push.connect("inproc://stream")
        stream = zmqstream.ZMQStream(pull)
        received: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        stream.on_recv(received.set_result)
        sender = zmqstream.ZMQStream(push, ioloop.IOLoop.current())
        sender.send_multipart([b"one", b"two"])
        message = await received
        stream.close()
        sender.close()
        context.destroy(linger=0)
        return message

    assert asyncio.run(program()) == [b"one", b"two"]
    print("eventloop")
