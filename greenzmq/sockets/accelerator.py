"""Whether the compiled fast path is used, and if not, why.

`greenzmq.sockets._fastpath` is an optional extension in C. It is built where there is a compiler, and left out where
not. It finds libzmq's functions in what pyzmq has loaded, and knows what it has to know of pyzmq by asking pyzmq. Where
one of these things is not as it was when the extension was written, greenzmq runs without it: everything is there in
Python. ``python -m greenzmq info`` tells which it is, and so does `status`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from zmq.backend import Socket as BackendSocket
from zmq.constants import SocketOption

__all__ = ["ENVIRONMENT", "CompiledPath", "confirm", "extension", "get_option", "recv", "status", "step_aside", "use"]

#: The environment variable that switches the extension off: any word but 0.
ENVIRONMENT = "GREENZMQ_PURE"
#: What zmq.h says of messages and options holds from one of these to the other.
OLDEST, TOO_NEW = (4, 2, 0), (5, 0, 0)

#: What `_fastpath.h` calls so: the number changes with what the extension takes and gives.
INTERFACE = 5

TYPE = int(SocketOption.TYPE)

#: The extension, or None.
extension: Any = None
#: Why it is not used.
_reason = ""


def _load() -> Any:
    """The extension, ready to read options. Raises `ImportError` if it cannot be used."""
    if os.environ.get(ENVIRONMENT, "0") not in ("", "0"):
        raise ImportError(f"${ENVIRONMENT} is set")
    try:
        found = import_module(f"{__package__}._fastpath")
    except ModuleNotFoundError:
        raise ImportError("it was not built") from None
    if getattr(found, "INTERFACE", 0) != INTERFACE:
        raise ImportError("it was built from an older source; run: pip install -e .")
    backend = import_module(BackendSocket.__module__)
    path = getattr(backend, "__file__", None)
    if not path or path.endswith(".py"):
        raise ImportError(f"pyzmq's backend is {backend.__name__}, which is not compiled")
    version = found.load(path)
    if not OLDEST <= version < TOO_NEW:
        raise ImportError(f"it was not written for libzmq {'.'.join(map(str, version))}")
    # A descriptor is a C int, too, but on Windows, where the extension is not built.
    integers = [int(option) for option in SocketOption if option._opt_type.name in ("int", "fd") and option < 256]
    _use_pyzmq(found, bytes(integers))
    return found


def _use_pyzmq(found: Any, integer_options: bytes) -> None:
    attributes = (BackendSocket.__dict__[name] for name in ("_closed", "underlying"))
    found.use_pyzmq(*attributes, BackendSocket.get, BackendSocket.recv, integer_options)


class CompiledPath:
    """Whether the extension may use one libzmq socket.

    Attributes
    ----------
    address : int or None
        The socket's address, which the extension reads. None, or not set, where it may not use the socket.
    """

    __slots__ = ("address",)
    address: int | None

    def open_compiled_path(self, address: int) -> None:
        """Let the extension use the libzmq socket, which was made just now, until `close_compiled_path`."""
        self.address = address

    def close_compiled_path(self) -> None:
        """The socket is about to be closed, or code of others can close it from now on: leave all calls to Python."""
        self.address = None


def step_aside(why: object) -> None:
    """Go on without the extension: what it has been given already it leaves to Python and pyzmq."""
    global extension, _reason
    if extension is not None:
        _use_pyzmq(extension, b"")
    extension, _reason = None, str(why)


def use(slots: tuple[Any, ...], getcurrent: Any, raise_error: Callable[[int], None]) -> None:
    """Tell the extension what it has to know of greenzmq, or step aside."""
    if extension is not None:
        try:
            extension.use(slots, getcurrent, raise_error)
        except (ImportError, TypeError) as error:
            step_aside(error)


def confirm(socket: Any, expected: int) -> bool:
    """Whether the extension may use a socket, which was made just now with the type `expected`.

    If it reads another type, its functions are not those of the libzmq that has made the socket.
    """
    if extension is not None and (found := get_option(socket, TYPE)) != expected:
        step_aside(f"a socket of type {int(expected)} seems to be of type {found}")
    return extension is not None


def status() -> str:
    """What makes the calls that need not wait: for people."""
    return "compiled" if extension is not None else f"pure Python: {_reason}"


try:
    extension = _load()
except (ImportError, AttributeError, KeyError, TypeError) as error:
    step_aside(error)

#: pyzmq's own `get`, without the green one around it. Typed for the options read by greenzmq, which are all integers.
get_option: Callable[[Any, int], int] = cast("Any", BackendSocket).get if extension is None else extension.get_option
#: pyzmq's own `recv`, the same.
recv: Callable[..., Any] = BackendSocket.recv if extension is None else extension.recv
