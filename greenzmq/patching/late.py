"""Find the modules that have imported names from `zmq` before `greenzmq.patch` replaced them."""

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
#: Packages that are not searched. The patch takes care of pyzmq, and greenzmq uses pyzmq's classes on purpose.
_EXEMPT = ("zmq", "greenzmq")
#: A module that is not searched, since the patch replaces its names.
_IN_PLACE = ("eventlet.green.zmq",)
#: pyzmq's modules whose classes are not replaced.
_STAY = ("zmq._future", "zmq.asyncio", "zmq.eventloop")


def holders(originals: Iterable[Any], *, themselves: bool = False) -> dict[str, list[str]]:
    """Map each module that holds something which would block a hub to the names under which it does.

    That is one of the `originals`, and without `themselves` also a subclass of pyzmq's `Context`, `Socket` or `Poller`,
    or an object of such a class. Only the dicts of the modules are searched: nothing is imported, and no
    ``__getattr__`` is called.
    """
    known = {id(original) for original in originals}
    found = {}
    for module, names in _modules():
        held = [name for name, value in names if id(value) in known or (not themselves and _is_plain(value))]
        if held:
            found[module] = held
    return found


def describe(found: dict[str, list[str]]) -> str:
    """Return the text of the warning."""
    shown = "; ".join(f"{module} ({', '.join(sorted(names))})" for module, names in sorted(found.items()))
    return (
        f"greenzmq.patch() came late: these modules have pyzmq's own classes, functions or objects already, which "
        f"block the hub when they wait: {shown}. Call it before they are imported, or run the program with "
        f"python -m greenzmq run"
    )


def _modules() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the name and the members of each module that is searched."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if id(module) in seen:  # the module has a second name
            continue
        seen.add(id(module))
        if name.partition(".")[0] in _EXEMPT or name in _IN_PLACE:
            continue
        try:
            members = object.__getattribute__(module, "__dict__")
        except AttributeError:  # an object that is not a module, and has no dict
            continue
        if isinstance(members, dict):
            yield name, list(members.items())


def _is_plain(value: object) -> bool:
    # By `type`, since `isinstance` would call the ``__class__`` of other libraries' proxies.
    kind: Any = value if issubclass(type(value), type) else type(value)
    try:
        if not issubclass(kind, _PLAIN) or issubclass(kind, _GREEN):
            return False
    except TypeError:  # raised by an unusual metaclass
        return False
    return not any(base.__module__.startswith(_STAY) for base in kind.__mro__)
