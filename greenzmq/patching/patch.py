"""`patch`, `unpatch` and `patched`: other people's ``import zmq`` gets green classes.

The names are replaced in pyzmq's modules. To put another module into ``sys.modules["zmq"]`` would not do: pyzmq's own
helpers would go on with the first one, and hand out plain sockets.

pyzmq's asyncio and event-loop modules, its devices and the thread that frees zero-copy buffers have to go on with
pyzmq's own classes. Some of these modules subclass what is replaced, so they are imported before. And all of them look
names up in `zmq` when they run, so they get a module in its place that has the originals.
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
from .stand_ins import StandIns, awaitable_stand_ins, shown, stand_ins

if TYPE_CHECKING:
    from ..hubs import Choice

__all__ = ["begin_as", "patch", "patched", "unpatch"]

#: pyzmq's modules that go on with the originals. Those of `zmq.eventloop` need tornado.
_STAY = (
    *("zmq._future", "zmq.asyncio", "zmq.utils.garbage"),
    *("zmq.eventloop", "zmq.eventloop.future", "zmq.eventloop.zmqstream"),
    *("zmq.devices.basedevice", "zmq.devices.proxydevice", "zmq.devices.proxysteerabledevice"),
    *("zmq.devices.monitoredqueue", "zmq.devices.monitoredqueuedevice", "zmq.devices"),
)
#: pyzmq's modules in which the names are replaced that they export.
_EXPORTING = (zmq, sugar, sugar.context, sugar.frame, sugar.poll, sugar.socket, sugar.tracker)

#: Those that stay harmless in the hands of modules that were imported before.
_WAIT_FOR_NOTHING = ("Frame", "Message")
_ORIGINALS = {name: vars(zmq)[name] for name in WAITING}


class _Originals(ModuleType):
    """Stands for `zmq` in the modules that go on with the originals."""

    def __getattr__(self, name: str) -> Any:
        return getattr(zmq, name)


_originals = _Originals("zmq")
vars(_originals).update(_ORIGINALS)


class _Patch:
    """A patch that holds.

    Parameters
    ----------
    made : StandIns
        What is put in the place of pyzmq's names.
    call : str
        The call, and where it was made.

    Attributes
    ----------
    awaitable : bool
        The names in `zmq.asyncio` are replaced, too.
    """

    def __init__(self, made: StandIns, call: str) -> None:
        self.made = made
        self.call = call
        self.awaitable = False
        self._finder = Finder()
        self._undo: list[tuple[dict[str, Any], str, Any, Any]] = []

    def begin(self) -> None:
        """Replace the names."""
        staying = [module for module in map(_imported, _STAY) if module is not None]
        replaced = list(in_place())  # asks for the runtimes, which may be missing: before anything has changed
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
        for module, name, new in replaced:
            self._replace(module, name, new)
        self._finder.start()

    def begin_awaitable(self) -> None:
        """Replace the names in `zmq.asyncio` as well."""
        for name, new in awaitable_stand_ins().items():
            for member, value in new.items():
                self._replace(importlib.import_module(name), member, value)
        self.awaitable = True

    def _replace(self, module: ModuleType, name: str, new: Any) -> None:
        members = vars(module)
        self._undo.append((members, name, members[name], new))
        members[name] = new

    def end(self) -> list[str]:
        """Put the originals back. Returns what somebody else has replaced meanwhile, and is left alone."""
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
    """Have everybody who imports `zmq` from now on get green classes: other people's programs run on a hub, unchanged.

    In place are ``zmq.Context``, ``Socket``, ``Poller``, ``select``, ``zmq_poll``, ``proxy``, ``proxy_steerable``,
    ``device``, ``Frame``, ``Message``, ``MessageTracker``, ``SyncContext``, ``SyncSocket``, `zmq.decorators` and the
    devices of `zmq.devices` that run in threads. `zmq.green` is `greenzmq.gevent`, and `eventlet.green.zmq` is
    `greenzmq.eventlet`, whatever `hub` says.

    `zmq.asyncio` (without `aio`), `zmq.eventloop` and what runs in processes of its own stay pyzmq's. So do contexts
    and sockets made before. All of these pass for instances of the new ``zmq.Context`` and ``zmq.Socket``.

    Call it first, before modules take names out of `zmq`, in one thread. A call that is repeated does nothing. A forked
    child has the patch of its parent; a program that is started anew has not (``python -m greenzmq run`` gives it to
    those, too).

    Parameters
    ----------
    hub : str, type or Hub, optional
        The hub for contexts that name none. None leaves it to the rules, at each wait.
    aio : bool
        Put those of `greenzmq.aio` in place of ``Context``, ``Socket`` and ``Poller`` in `zmq.asyncio`, too. May be
        added by a later call.

    Raises
    ------
    HubError
        It was called for another hub before.
    UnknownHubError, MissingHubError
        The hub cannot be used.

    Warns
    -----
    PatchWarning
        It came late: lists the modules that hold plain classes, functions or objects, which would block the hub.

    Notes
    -----
    Switches: never. It imports `asyncio`, and tornado if that is installed, since pyzmq's modules for them have to be
    there before.
    """
    _patch(hub, aio, 3)


def begin_as(speaker: str, hub: Choice | None, *, aio: bool) -> None:
    """`patch` for `speaker`, which messages name in its place."""
    _patch(hub, aio, 3, speaker)


def _patch(hub: Choice | None, aio: bool, level: int, speaker: str = "") -> None:
    global _active
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
    """Take `patch` back: `zmq` has pyzmq's own names again. Does nothing if there is no patch.

    Green contexts and sockets go on as they are, and so does what has taken names out of `zmq` meanwhile.

    Warns
    -----
    PatchWarning
        Somebody else has replaced some of the names after `patch`; these are left as they are.

    Notes
    -----
    Switches: never.
    """
    global _active
    before, _active = _active, None
    if before is not None and (left := before.end()):
        warnings.warn(
            f"greenzmq.unpatch() leaves what others have replaced since: {', '.join(left)}", PatchWarning, stacklevel=2
        )


@contextmanager
def patched(hub: Choice | None = None, *, aio: bool = False) -> Iterator[None]:
    """`patch` for a block, or as a decorator for a function; if there was a patch before, it stays.

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
    """A module of pyzmq's, imported; None if what it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "zmq":
            raise
        return None
