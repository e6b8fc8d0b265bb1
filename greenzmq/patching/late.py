"""Who has taken pyzmq's names before `greenzmq.patch` replaced them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ..polling.poller import Poller
from ..sockets.context import Context
from ..sockets.plain import PlainContext, PlainPoller, PlainSocket
from ..sockets.socket import Socket

__all__ = ["describe", "holders"]

_PLAIN = (PlainContext, PlainSocket, PlainPoller)
_GREEN = (Context, Socket, Poller)
#: Packages whose modules are not told of: pyzmq and greenzmq know what they do, and these names are replaced in place.
_EXEMPT = ("zmq", "greenzmq")
_IN_PLACE = ("eventlet.green.zmq",)
#: pyzmq's modules whose classes stay as they are.
_STAY = ("zmq._future", "zmq.asyncio", "zmq.eventloop")


def holders(originals: Iterable[Any], *, themselves: bool = False) -> dict[str, list[str]]:
    """The modules that hold what blocks a hub, and under which names.

    That is: one of the `originals`, and without `themselves` also a subclass of pyzmq's `Context`, `Socket` or
    `Poller`, or an object of such a class. Only what lies in the modules is looked at. Nothing is imported, and no
    ``__getattr__`` is asked.
    """
    known = {id(original) for original in originals}
    found = {}
    for module, names in _modules():
        held = [name for name, value in names if id(value) in known or (not themselves and _is_plain(value))]
        if held:
            found[module] = held
    return found


def describe(found: dict[str, list[str]]) -> str:
    """The text of the warning."""
    shown = "; ".join(f"{module} ({', '.join(sorted(names))})" for module, names in sorted(found.items()))
    return (
        f"greenzmq.patch() came late: these modules hold classes, functions or objects of pyzmq's own, which block the "
        f"hub when they wait: {shown}. Call it before they are imported, or run the program with "
        f"python -m greenzmq run"
    )


def _modules() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if id(module) in seen:  # under a second name
            continue
        seen.add(id(module))
        if name.partition(".")[0] in _EXEMPT or name in _IN_PLACE:
            continue
        try:
            members = object.__getattribute__(module, "__dict__")
        except AttributeError:  # not a module, and without attributes of its own
            continue
        if isinstance(members, dict):
            yield name, list(members.items())


def _is_plain(value: object) -> bool:
    # `type`, and not `isinstance`, which would ask proxies of other libraries for their ``__class__``.
    kind: Any = value if issubclass(type(value), type) else type(value)
    try:
        if not issubclass(kind, _PLAIN) or issubclass(kind, _GREEN):
            return False
    except TypeError:  # a class of others that cannot be asked
        return False
    return not any(base.__module__.startswith(_STAY) for base in kind.__mro__)
