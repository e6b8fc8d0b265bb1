"""The objects that `greenzmq.patch` puts in the place of pyzmq's: green classes that pass for pyzmq's own.

Programs, and pyzmq itself, ask ``isinstance(x, zmq.Context)``. This has to stay true for contexts and sockets that are
pyzmq's own: those made before the patch, and those of `zmq.asyncio` and `zmq.eventloop`. So each class here is a
subclass of a green class, and counts instances of pyzmq's class as its own instances. Subclasses that a program makes
of it are ordinary classes, and count only their own instances.
"""

from __future__ import annotations

import importlib
from abc import ABCMeta
from collections.abc import Callable
from functools import partial
from types import GenericAlias, ModuleType
from typing import TYPE_CHECKING, Any

from zmq import devices

from .. import hubs
from ..devices import for_namespace as devices_for_namespace
from ..polling import poller as polling
from ..program import LOOPS, namespace
from ..proxies import green as proxies
from ..sockets import context as contexts
from ..sockets import socket as sockets
from ..sockets.plain import PlainContext, PlainFrame, PlainPoller, PlainSocket
from ..sockets.tracker import MessageTracker

if TYPE_CHECKING:
    from ..hubs import Choice

__all__ = ["StandIns", "awaitable_stand_ins", "shown", "stand_ins"]

#: The hubs that have a namespace: a module of greenzmq.
_NAMESPACES = ("gevent", "eventlet", "selector", "threading", *LOOPS)


#: The namespace of awaitable sockets, imported only if it is wanted, since it imports asyncio's hub.
_AWAITABLE = "greenzmq.aio"


class _StandsIn(ABCMeta):
    """The metaclass of the classes that stand in for pyzmq's.

    It is an `ABCMeta`, so that programs can still combine these classes with abstract ones.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        theirs = vars(cls).get("_greenzmq_stands_in_for")
        return super().__instancecheck__(instance) if theirs is None else isinstance(instance, theirs)

    def __subclasscheck__(cls, subclass: type) -> bool:
        theirs = vars(cls).get("_greenzmq_stands_in_for")
        return super().__subclasscheck__(subclass) if theirs is None else issubclass(subclass, theirs)


class StandIns:
    """The stand-ins for one hub.

    Parameters
    ----------
    choice : str, type or Hub, or None
        The hub; None leaves the choice to the rules of `greenzmq.hubs`, at each wait.

    Attributes
    ----------
    names : dict
        The objects for `zmq`, by name.
    devices : dict
        The objects for `zmq.devices`, by name.
    """

    def __init__(self, choice: Choice | None) -> None:
        speaker = f"greenzmq.patch({shown(choice)})"
        socket, context, poller = _green_classes(choice)
        own = {} if choice is None else {"_greenzmq_default_hub": choice, "_greenzmq_speaker": speaker}
        new_socket = _stand_in("Socket", PlainSocket, socket, own)
        new_context = _stand_in(
            "Context", PlainContext, context, own | {"_socket_class": new_socket, "_instance": None}
        )
        new_poller = _stand_in("Poller", PlainPoller, poller, own)
        # Not a subclass of our own Frame. pyzmq itself makes a Frame for each frame that is received with
        # ``copy=False``. And the tracker is green anyway, since pyzmq makes it by the name that is replaced, too.
        new_frame = _stand_in("Frame", PlainFrame, PlainFrame, {})
        self.names: dict[str, Any] = {
            "Context": new_context,
            "SyncContext": new_context,
            "Socket": new_socket,
            "SyncSocket": new_socket,
            "Poller": new_poller,
            "Frame": new_frame,
            "Message": new_frame,
            "MessageTracker": MessageTracker,
            "select": partial(polling.select, poller=new_poller),
            "zmq_poll": partial(polling.zmq_poll, poller=new_poller),
            "proxy": _on(choice, proxies.proxy),
            "proxy_steerable": _on(choice, proxies.proxy_steerable),
            "device": _on(choice, proxies.device),
        }
        as_module = ModuleType("zmq")
        vars(as_module).update(self.names)
        made = devices_for_namespace(as_module)
        self.devices: dict[str, Any] = {name: getattr(made, name) for name in devices.__all__}


def stand_ins(choice: Choice | None) -> StandIns:
    """Return the stand-ins for a hub. They are always the same for one hub, as a program may have kept some of them.

    Raises
    ------
    UnknownHubError, MissingHubError
        The hub cannot be used.
    """
    choice = "asyncio" if choice in LOOPS else choice
    kind = choice if choice is None else hubs.hub_class(choice)
    key = choice if isinstance(choice, hubs.Hub) else kind
    if key not in _made:
        _made[key] = StandIns(choice)
    return _made[key]


_made: dict[Any, StandIns] = {}


def awaitable_stand_ins() -> dict[str, dict[str, Any]]:
    """What to put in `zmq.asyncio`, and in `zmq._future`, by the module's name and the name in there."""
    if not _awaitable:
        from zmq import _future
        from zmq import asyncio as theirs

        ours = importlib.import_module(_AWAITABLE)
        socket = _stand_in("Socket", theirs.Socket, ours.Socket, {"__module__": "zmq.asyncio"})
        of_context = {"__module__": "zmq.asyncio", "_socket_class": socket, "_instance": None}
        # A ZMQStream asks by this class whether a socket's calls give futures.
        either = _StandsIn("_AsyncSocket", (), {"_greenzmq_stands_in_for": (_future._AsyncSocket, ours.Socket)})
        _awaitable["zmq._future"] = {"_AsyncSocket": either}
        _awaitable["zmq.asyncio"] = {
            "Socket": socket,
            "Context": _stand_in("Context", theirs.Context, ours.Context, of_context),
            "Poller": _stand_in("Poller", theirs.Poller, ours.Poller, {"__module__": "zmq.asyncio"}),
        }
    return _awaitable


_awaitable: dict[str, dict[str, Any]] = {}


def _green_classes(choice: Choice | None) -> tuple[type, type, type]:
    """Return `Socket`, `Context` and `Poller` of a hub's namespace, or else of greenzmq itself."""
    if isinstance(choice, str) and choice in _NAMESPACES:
        module = namespace(choice)
        return module.Socket, module.Context, module.Poller
    return sockets.Socket, contexts.Context, polling.Poller


def _stand_in(name: str, theirs: type, green: type, own: dict[str, Any]) -> Any:
    """Make a subclass of `green` that passes for `theirs`, and is pickled under the name of `theirs`."""
    described: dict[str, Any] = {"__module__": "zmq", "__qualname__": name, "__doc__": green.__doc__}
    if hasattr(theirs, "__class_getitem__"):
        described["__class_getitem__"] = classmethod(GenericAlias)  # programs write ``zmq.Context[Any]``
    return _StandsIn(name, (green,), described | own | {"_greenzmq_stands_in_for": theirs})


def _on(choice: Choice | None, function: Callable[..., int]) -> Callable[..., int]:
    return function if choice is None else partial(function, hub=choice)


def shown(choice: Choice | None) -> str:
    """Return the hub as messages show it as an argument."""
    if choice is None:
        return ""
    return choice.__qualname__ if isinstance(choice, type) else repr(choice)
