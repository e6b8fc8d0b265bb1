"""The standard library as it was before gevent or eventlet patched it.

Monkey patching swaps attributes of modules such as `select`, `selectors` and `_thread`, at a time that nobody can know
here: before greenzmq is imported, after it, or after a fork. Asking the runtime for its saved originals means to know
every runtime, and gives a `selectors` without `epoll` if that was imported first after the patch. So this module loads
private copies, which nobody can patch: a second instance of the C modules, and `selectors` executed once more with
those in place of the public ones. The cost is paid once, at import: about a millisecond.

`time.monotonic`, `os.getpid` and the C module `_socket` are patched by nobody and are used as they are.
"""

from __future__ import annotations

import _socket
import builtins
import importlib.util
import os
import sys
import threading
from types import ModuleType
from typing import Any

__all__ = [
    "DefaultSelector",
    "allocate_lock",
    "epoll",
    "get_ident",
    "is_main_thread",
    "is_readable",
    "local",
    "poll",
    "start_new_thread",
]
__all__ += ["thread_name", "wakeup_pair"]


def _load(name: str, **imports: ModuleType) -> Any:
    """A private instance of module `name`, for which ``import x`` finds `imports`, then the public modules."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    if not imports:
        spec.loader.exec_module(module)
        return module

    def find(wanted: str, *args: Any, **kwargs: Any) -> ModuleType:
        return imports.get(wanted) or builtins.__import__(wanted, *args, **kwargs)

    module.__dict__["__builtins__"] = {**builtins.__dict__, "__import__": find}
    exec(spec.loader.get_code(name), module.__dict__)  # type: ignore[attr-defined]
    return module


_thread = _load("_thread")
_select = _load("select")
_selectors = _load("selectors", select=_select)

epoll = getattr(_select, "epoll", None)
DefaultSelector = _selectors.DefaultSelector
allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
local = _thread._local
start_new_thread = _thread.start_new_thread


def poll(masks: dict[int, int]) -> list[tuple[int, int]]:
    """What is ready now of the events that are wanted of each descriptor, as poll(2) numbers them: 1, 4 and so on."""
    if not hasattr(_select, "poll"):
        readers, writers = ([fd for fd, mask in masks.items() if mask & event] for event in (1, 4))
        readable, writable, _ = _select.select(readers, writers, [], 0)
        found = {fd: 1 * (fd in readable) | 4 * (fd in writable) for fd in masks}
        return [(fd, mask) for fd, mask in found.items() if mask]
    asked = _select.poll()
    for fd, mask in masks.items():
        asked.register(fd, mask)
    ready: list[tuple[int, int]] = asked.poll(0)
    return ready


def is_readable(fd: int) -> bool:
    """Whether `fd` is readable now."""
    return bool(poll({fd: 1}))


def is_main_thread() -> bool:
    """Whether this native thread is the process's first, even if monkey patching has renumbered the threads."""
    here: int = _thread.get_native_id()
    return here == os.getpid() or here == threading.main_thread().native_id  # the first is Linux's rule, fork included


def thread_name() -> str:
    """This native thread's name, for messages; its number where monkey patching keeps `threading` from knowing it."""
    if is_main_thread():
        return "MainThread"
    ident = get_ident()
    for thread in threading.enumerate():
        if thread.ident == ident:
            return thread.name
    return f"thread {ident}"


def wakeup_pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected non-blocking sockets: a byte sent to the second makes the first readable, on every platform."""
    if sys.platform != "win32":
        ours, theirs = _socket.socketpair()
    else:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        theirs = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        theirs.connect(listener.getsockname())
        fd, address = listener._accept()
        ours = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
        listener.close()
        if address != theirs.getsockname():
            raise OSError("a stranger connected to the wake-up socket of the hub")
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs
