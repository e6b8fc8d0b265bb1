"""`zmq.devices` that do not stop the hub: their proxies run in native threads, also under monkey patches.

pyzmq runs a `ThreadDevice` in a `threading.Thread`. Where gevent or eventlet has patched `threading`, that is a
greenlet, and libzmq's proxy in it would stop the hub for good. Here the thread is a native one, and `join` parks only
the greenlet that calls it. A device of the foreground, such as `Device`, also runs in a native thread; its `start`
parks the caller until the device has ended.

The sockets of a device are plain ones, made in its thread. Their context is plain, too, but it shadows
``Context.instance()`` of the namespace: so inproc addresses are shared with it. Devices that run in a process of their
own are pyzmq's, unchanged.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import zmq
from zmq import devices as _theirs
from zmq.backend import Socket as BackendSocket

from . import hubs
from .polling.poller import Poller
from .process import unpatched
from .process.fork import register_after_fork
from .proxies.green import proxy
from .sockets.context import Context
from .sockets.plain import PlainContext
from .waiting.events import GreenEvent, Linkable
from .waiting.limits import as_limit
from .waiting.tasks import NativeCall
from .waiting.waiter import refuse_to_wait

if TYPE_CHECKING:
    from zmq.devices import Device as Device
    from zmq.devices import MonitoredQueue as MonitoredQueue
    from zmq.devices import ProcessDevice as ProcessDevice
    from zmq.devices import ProcessMonitoredQueue as ProcessMonitoredQueue
    from zmq.devices import ProcessProxy as ProcessProxy
    from zmq.devices import ProcessProxySteerable as ProcessProxySteerable
    from zmq.devices import Proxy as Proxy
    from zmq.devices import ProxySteerable as ProxySteerable
    from zmq.devices import ThreadDevice as ThreadDevice
    from zmq.devices import ThreadMonitoredQueue as ThreadMonitoredQueue
    from zmq.devices import ThreadProxy as ThreadProxy
    from zmq.devices import ThreadProxySteerable as ThreadProxySteerable
    from zmq.devices import monitored_queue as monitored_queue

    from .hubs import Choice

__all__ = _theirs.__all__
__path__: list[str] = []

#: The modules of `zmq.devices` that define its classes. In a namespace each of them is the module `devices` itself.
_MODULES = ("basedevice", "monitoredqueue", "monitoredqueuedevice", "proxydevice", "proxysteerabledevice")

#: pyzmq's own, taken before `greenzmq.patch` can replace them.
_THEIRS = {name: vars(getattr(_theirs, name)).copy() for name in _MODULES} | {"devices": vars(_theirs).copy()}

#: The classes that run a device in this process. Each has pyzmq's class of the same name as a base, and our class named
#: here.
_FAMILY = {
    "ThreadDevice": "Device",
    "Proxy": "Device",
    "ProxySteerable": "Proxy",
    "MonitoredQueue": "Proxy",
    "ThreadProxy": "ThreadDevice",
    "ThreadProxySteerable": "ThreadProxy",
    "ThreadMonitoredQueue": "ThreadProxy",
}


class NativeThread(Linkable):
    """A native thread whose `join` is green. It has the part of `threading.Thread` that pyzmq's devices use.

    Parameters
    ----------
    target : callable
        The function that the thread calls.
    hub : str, type or Hub, optional
        The hub on which `join` waits. None leaves the choice to the rules of `greenzmq.hubs`.

    Attributes
    ----------
    daemon : bool
        If False, the interpreter's end waits until the thread has ended.
    """

    daemon = True

    def __init__(self, target: Callable[[], object], hub: Choice | None = None) -> None:
        super().__init__()
        self._target = target
        self._hub = hub
        self._alive = False
        self._running = unpatched.allocate_lock()  # held while the thread runs

    def start(self) -> None:
        """Start the thread, once. Never switches."""
        if not self._running.acquire(False):
            raise RuntimeError("the thread of a device can be started only once")
        self._alive = True
        register_after_fork(self)
        try:
            unpatched.start_new_thread(self._run, ())
        except BaseException:
            self._end()
            raise
        if not self.daemon:
            atexit.register(self._running.acquire)

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._alive

    def ready(self) -> bool:
        """Whether the thread has ended. See `Waitable`: a Poller can wait for it."""
        return not self._alive

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, or for `timeout` seconds. Switches: when it has to wait."""
        timeout = as_limit(timeout, "the timeout of a device's join()")
        if self._alive and (timeout is None or timeout > 0):
            self._wait(hubs.get_hub(self._hub), timeout)

    def _run(self) -> None:
        try:
            self._target()
        except SystemExit:  # as in a `threading.Thread`
            pass
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))
        finally:
            self._end()

    def _end(self) -> None:
        self._alive = False
        self._running.release()
        self._announce()

    def _greenzmq_after_fork(self) -> None:
        """In a forked child: this thread does not exist, since only the one that called fork does."""
        if self._alive:
            self._end()


class _InForeground:
    """A base for devices of the foreground: the device runs in a native thread, while the calling greenlet waits."""

    _greenzmq_default_hub: Choice | None = None
    done: bool
    run: Callable[[], None]

    def start(self) -> None:
        """Run the device to its end; see `zmq.devices.Device.start`. Switches: always."""
        hub = hubs.get_hub(self._greenzmq_default_hub)
        refuse_to_wait(hub)
        NativeCall(self._greenzmq_run).get(hub)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the device has ended, or for `timeout` seconds. Switches: when it has to wait."""
        timeout = as_limit(timeout, "the timeout of a device's join()")
        if not self.done and (timeout is None or timeout > 0):
            self._greenzmq_ended._wait(hubs.get_hub(self._greenzmq_default_hub), timeout)

    @property
    def _greenzmq_ended(self) -> GreenEvent:
        """Set when the device has ended. Made at the first use, since not all of pyzmq's classes call our `__init__`.

        `join` may use it before the device has started.
        """
        ended: GreenEvent = vars(self).setdefault("_greenzmq_event", GreenEvent())
        return ended

    def _greenzmq_run(self) -> None:
        try:
            self.run()
        finally:
            self._greenzmq_ended.set()


def _monitored_queue(
    in_socket: Any,
    out_socket: Any,
    mon_socket: Any,
    in_prefix: bytes = b"in",
    out_prefix: bytes = b"out",
    *,
    poller: type[Poller] = Poller,
) -> None:
    """Relay between two sockets and publish what passes; see `zmq.devices.monitored_queue`. Switches: when it waits."""
    for name, socket in (("in_socket", in_socket), ("out_socket", out_socket), ("mon_socket", mon_socket)):
        if not isinstance(socket, BackendSocket):
            raise TypeError(f"{name} has to be a Socket, not {socket!r}")
    swap_ids = in_socket.type == out_socket.type == zmq.ROUTER
    ways = {out_socket: (in_socket, out_prefix), in_socket: (out_socket, in_prefix)}
    with poller() as polled:
        for source in ways:
            polled.register(source, zmq.POLLIN)
        while True:
            for source, _ in polled.poll():
                target, prefix = ways[source]
                message = source.recv_multipart()
                if swap_ids:
                    message[:2] = message[:2][::-1]
                target.send_multipart(message)
                mon_socket.send_multipart([prefix, *message])


def for_namespace(namespace: ModuleType) -> ModuleType:
    """Make the module `devices` of one of greenzmq's namespaces. Its devices wait on that namespace's hub."""
    module = ModuleType(f"{namespace.__name__}.devices", __doc__)
    vars(module).update(__all__=__all__, __path__=[])
    _fill(module, namespace.Context, namespace.Poller, namespace.proxy)
    return module


def _fill(module: ModuleType, context_class: type[Context], poller_class: type[Poller], proxy: Any) -> None:
    """Fill `module` with the names of `zmq.devices` and of its modules."""
    hub = context_class._greenzmq_default_hub
    members: dict[str, Any] = vars(module)
    plain = _THEIRS["devices"]
    members.update((name, plain[name]) for name in __all__)
    for name in _MODULES:
        theirs = _THEIRS[name]
        members.update((base, theirs[base]) for base in theirs if base.endswith("Base") or base == "BackgroundDevice")
        members[name] = module
    members["proxy"] = proxy
    members["monitored_queue"] = partial(_monitored_queue, poller=poller_class)
    members["Device"] = type("Device", (_InForeground, plain["Device"]), {"__module__": module.__name__})
    members["Device"]._greenzmq_default_hub = hub
    members["Device"].context_factory = staticmethod(partial(_plain_instance, context_class))
    for name, parent in _FAMILY.items():
        members[name] = type(name, (plain[name], members[parent]), {"__module__": module.__name__})
    members["ThreadDevice"]._launch_class = staticmethod(partial(NativeThread, hub=hub))


def _plain_instance(context_class: type[Context]) -> zmq.Context[Any]:
    """Return a plain context that shadows the common context of a namespace. Its sockets block the native thread."""
    return PlainContext.shadow(context_class.instance())


_fill(sys.modules[__name__], Context, Poller, proxy)
