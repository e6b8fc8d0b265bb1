"""`patch`, `unpatch` and `patched`: other people's ``import zmq`` gets green classes.

The names are replaced inside pyzmq's modules. To put another module into ``sys.modules["zmq"]`` would not be enough:
pyzmq's own helpers would still use the first one, and return plain sockets.

Some modules of pyzmq have to go on with pyzmq's own classes: those for asyncio and event loops, the devices, and the
thread that frees zero-copy buffers. Some of them subclass the classes that are replaced, so they are imported before
the patch. All of them look names up in `zmq` at run time, so in these modules the name `zmq` is replaced by a module
that has the originals (`_Originals`).
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import zmq
from zmq import sugar

from ..errors import HubError, PatchWarning
from . import late
from .namespaces import WAITING, Finder, in_place

if TYPE_CHECKING:
    from ..hubs import Choice
    from .stand_ins import StandIns

__all__ = ["begin_as", "patch", "patched", "unpatch"]

#: pyzmq's modules that keep the originals. Those of `zmq.eventloop` need tornado.
_STAY = (
    *("zmq._future", "zmq.asyncio", "zmq.utils.garbage"),
    *("zmq.eventloop", "zmq.eventloop.future", "zmq.eventloop.zmqstream"),
    *("zmq.devices.basedevice", "zmq.devices.proxydevice", "zmq.devices.proxysteerabledevice"),
    *("zmq.devices.monitoredqueue", "zmq.devices.monitoredqueuedevice", "zmq.devices"),
)
#: pyzmq's modules in which the exported names are replaced.
_EXPORTING = (zmq, sugar, sugar.context, sugar.frame, sugar.poll, sugar.socket, sugar.tracker)

#: Names that a module may have imported before the patch without harm.
_WAIT_FOR_NOTHING = ("Frame", "Message")
_ORIGINALS = {name: vars(zmq)[name] for name in WAITING}


class _Originals(ModuleType):
    """Stands in for `zmq` in the modules that keep the originals."""

    def __getattr__(self, name: str) -> Any:
        return getattr(zmq, name)


_originals = _Originals("zmq")
vars(_originals).update(_ORIGINALS)


class _Patch:
    """The patch that is in force.

    Parameters
    ----------
    made : StandIns
        The objects that replace pyzmq's.
    call : str
        The call of `patch`, and where it was made, for messages.

    Attributes
    ----------
    awaitable : bool
        The names in `zmq.asyncio` are replaced, too.
    """

    def __init__(self, made: StandIns, call: str) -> None:
        self.made = made
        self.call = call
        self.awaitable = False
        self._finder = Finder(made.names)
        self._undo: list[tuple[dict[str, Any], str, Any, Any]] = []

    def begin(self) -> None:
        """Replace the names."""
        staying = [module for module in map(_imported, _STAY) if module is not None]
        for module in staying:
            for name in {"zmq", "_zmq"} & vars(module).keys():
                self._replace(module, name, _originals)
        for module in _EXPORTING:
            for name in {*WAITING} & {*module.__all__}:
                self._replace(module, name, self.made.names[name])
        for module in staying:
            if module.__name__.startswith("zmq.devices"):
                for name in module.__all__:
                    self._replace(module, name, self.made.devices[name])
        for module, name, new in in_place(self.made.names):
            self._replace(module, name, new)
        self._finder.start()

    def begin_awaitable(self) -> None:
        """Replace the names in `zmq.asyncio` as well."""
        from .stand_ins import awaitable_stand_ins

        for name, new in awaitable_stand_ins().items():
            for member, value in new.items():
                self._replace(importlib.import_module(name), member, value)
        self.awaitable = True

    def _replace(self, module: ModuleType, name: str, new: Any) -> None:
        members = vars(module)
        self._undo.append((members, name, members[name], new))
        members[name] = new

    def end(self) -> list[str]:
        """Put the originals back, except where somebody else has replaced a name meanwhile. Returns these names."""
        self._finder.stop()
        left = []
        for members, name, old, new in reversed(self._undo):
            if members.get(name) is new:
                members[name] = old
            else:
                left.append(f"{members['__name__']}.{name}")
        return left


_active: _Patch | None = None


def patch(hub: Choice | None = None, *, aio: bool = False) -> None:
    """Replace names in `zmq`, so that code which imports it from now on gets green classes, and runs on a hub.

    The names are ``zmq.Context``, ``Socket``, ``Poller``, ``select``, ``zmq_poll``, ``proxy``, ``proxy_steerable``,
    ``device``, ``Frame``, ``Message``, ``MessageTracker``, ``SyncContext``, ``SyncSocket``, those of `zmq.decorators`,
    and the devices of `zmq.devices` that run in threads. `zmq.green` and `eventlet.green.zmq` get the same names, on
    the same hub, whatever they are called.

    `zmq.asyncio` (without `aio`), `zmq.eventloop` and the devices that run in processes of their own stay pyzmq's. So
    do contexts and sockets that were made before. All of these count as instances of the new ``zmq.Context`` and
    ``zmq.Socket``.

    Call this first, before other modules import names from `zmq`, and in one thread. A second call does nothing, unless
    it adds `aio`. A forked child has the patch of its parent. A new program that is started does not have it; ``python
    -m greenzmq run`` gives it to those, too.

    Parameters
    ----------
    hub : str, type or Hub, optional
        The hub for contexts that name none. None leaves the choice to the rules of `greenzmq.hubs`, at each wait.
    aio : bool
        Replace ``Context``, ``Socket`` and ``Poller`` in `zmq.asyncio` as well, by those of `greenzmq.aio`. A later
        call may add this.

    Raises
    ------
    HubError
        `patch` was called for another hub before.
    UnknownHubError, MissingHubError
        The hub cannot be used.

    Warns
    -----
    PatchWarning
        The call came late. The message lists the modules that already have plain classes, functions or objects, which
        would block the hub.

    Notes
    -----
    Switches: never.

    It imports `asyncio`, and tornado if that is installed, because pyzmq's modules for them have to be imported before
    the names are replaced.
    """
    _patch(hub, aio, 3)


def begin_as(speaker: str, hub: Choice | None, *, aio: bool) -> None:
    """`patch`, but messages name `speaker` as what has called it."""
    _patch(hub, aio, 3, speaker)


def _patch(hub: Choice | None, aio: bool, level: int, speaker: str = "") -> None:
    global _active
    from .stand_ins import shown, stand_ins  # only now: with it come `zmq.devices`, and so `multiprocessing`

    made = stand_ins(hub)
    caller = sys._getframe(level - 1)
    call = speaker or f"greenzmq.patch({shown(hub)}) at {caller.f_code.co_filename}:{caller.f_lineno}"
    if _active is not None:
        if made is not _active.made:
            raise HubError(f"{call} contradicts {_active.call}; withdraw that first: greenzmq.unpatch()")
        if aio and not _active.awaitable:
            late_ones = late.holders(_awaitable_originals(), themselves=True)
            _active.begin_awaitable()
            _warn(late_ones, level + 1)
        return
    originals = [value for name, value in _ORIGINALS.items() if name not in _WAIT_FOR_NOTHING]
    found = late.holders(originals + (_awaitable_originals() if aio else []))
    new = _Patch(made, call)
    new.begin()
    _active = new
    if aio:
        new.begin_awaitable()
    _warn(found, level + 1)


def _awaitable_originals() -> list[Any]:
    """The classes of `zmq.asyncio`, before they are replaced."""
    module = importlib.import_module("zmq.asyncio")
    return [vars(module)[name] for name in ("Context", "Socket", "Poller")]


def _warn(found: dict[str, list[str]], level: int) -> None:
    if found:
        warnings.warn(late.describe(found), PatchWarning, stacklevel=level)


def unpatch() -> None:
    """Undo `patch`: `zmq` has pyzmq's own objects again. Does nothing if there is no patch.

    Green contexts and sockets stay green. Modules that have imported names from `zmq` meanwhile keep the green ones.

    Warns
    -----
    PatchWarning
        Somebody else has replaced some of the names after `patch`. These are left as they are.

    Notes
    -----
    Switches: never.
    """
    global _active
    before, _active = _active, None
    if before is not None and (left := before.end()):
        warnings.warn(
            f"greenzmq.unpatch() leaves names that others have replaced since the patch: {', '.join(left)}",
            PatchWarning,
            stacklevel=2,
        )


@contextmanager
def patched(hub: Choice | None = None, *, aio: bool = False) -> Iterator[None]:
    """`patch` for the time of a block, or of a function's call if it is used as a decorator. An earlier patch stays.

    Parameters
    ----------
    hub, aio
        As for `patch`.
    """
    outer = _active
    try:
        _patch(hub, aio, 4)
        yield
    finally:
        if _active is not None and _active is not outer:
            unpatch()


def _imported(name: str) -> ModuleType | None:
    """Import a module of pyzmq's, and return it. None if a package that it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "zmq":
            raise
        return None
