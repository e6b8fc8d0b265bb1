"""The standard library as it is without the monkey patches of gevent or eventlet.

Fact: monkey patching replaces attributes of modules such as `select`, `selectors` and `_thread`, at any time: before
greenzmq is imported, after that, or after a fork. A runtime saves the originals; but to ask for them we would have to
know each runtime, and `selectors` has no epoll if it was first imported after the patch. Choice: this module loads
private copies, which nobody can patch: a second instance of the C modules, and `selectors` executed once more, with
these instances in place of the public modules. Cost: about a millisecond, once, at import.

No runtime patches `time.monotonic`, `os.getpid` and the C module `_socket`, so these are used as they are.
"""

from __future__ import annotations

import _socket
import builtins
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from types import BuiltinFunctionType, ModuleType
from typing import Any

__all__ = [
    "DefaultSelector",
    "Poll",
    "RLock",
    "allocate_lock",
    "epoll",
    "get_ident",
    "get_native_id",
    "is_main_thread",
    "is_readable",
    "known_threads",
    "local",
    "new_rlock",
    "poll",
    "start_new_thread",
]
__all__ += ["start_thread", "thread_name", "wakeup_pair"]


def _load(name: str, **imports: ModuleType) -> Any:
    """Load a private instance of the module `name`. Its own imports find the modules in `imports` first."""
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
RLock = _thread.RLock
get_ident = _thread.get_ident
get_native_id = _thread.get_native_id
local = _thread._local
new_rlock = _thread.RLock
start_new_thread = _thread.start_new_thread


class _SelectPoll:
    """`select.poll` for Windows, which has select() only: as much of it as greenzmq uses."""

    def __init__(self) -> None:
        self._masks: dict[int, int] = {}

    def register(self, fd: int, mask: int) -> None:
        self._masks[fd] = mask

    def unregister(self, fd: int) -> None:
        del self._masks[fd]

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """`timeout` in milliseconds."""
        readers, writers = ([fd for fd, mask in self._masks.items() if mask & event] for event in (1, 4))
        readable, writable, _ = _select.select(readers, writers, [], timeout / 1000)
        found = {fd: 1 * (fd in readable) | 4 * (fd in writable) for fd in self._masks}
        return [(fd, mask) for fd, mask in found.items() if mask]


Poll: Any = getattr(_select, "poll", _SelectPoll)


def poll(masks: dict[int, int]) -> list[tuple[int, int]]:
    """Ask the system once which descriptors are ready. Does not wait.

    Parameters
    ----------
    masks : dict
        The wanted events of each descriptor, as flags of poll(2): 1 to read, 4 to write, and so on.

    Returns
    -------
    list of (int, int)
        The descriptors that are ready, with their flags.
    """
    asked = Poll()
    for fd, mask in masks.items():
        asked.register(fd, mask)
    ready: list[tuple[int, int]] = asked.poll(0)
    return ready


def is_readable(fd: int) -> bool:
    """Whether `fd` is readable now."""
    return bool(poll({fd: 1}))


def is_main_thread() -> bool:
    """Whether this native thread is the process's main thread, even if monkey patching has renumbered the threads."""
    here: int = _thread.get_native_id()
    # On Linux the main thread has the number of the process, in a forked child, too. Elsewhere Python has noted it.
    return here == os.getpid() or here == threading.main_thread().native_id


def start_thread(function: Callable[[], object], name: str) -> None:
    """Call `function` in a new native thread, a daemon. It must not raise.

    The thread is a `threading.Thread` where that is a native one: then it has its name everywhere, and debuggers,
    profilers and `threading.settrace` know it.

    Raises
    ------
    RuntimeError
        The system, or an interpreter that is about to end, starts no thread.
    """
    start = getattr(threading, "_start_joinable_thread", None) or getattr(threading, "_start_new_thread", None)
    if isinstance(start, BuiltinFunctionType):
        threading.Thread(target=function, name=name, daemon=True).start()
    else:
        start_new_thread(function, ())


def thread_name() -> str:
    """Return this native thread's name, for messages. A thread that `threading` does not know is shown by its number.

    Monkey patching can have this effect on any thread.
    """
    if is_main_thread():
        return "MainThread"
    ident = get_ident()
    for thread in known_threads():
        if thread.ident == ident:
            return thread.name
    return f"thread {ident}"


def known_threads() -> list[threading.Thread]:
    """The threads that `threading` knows, and that run.

    Not by `threading.enumerate`: its lock is a green one under a monkey patch, and native threads that want it at once
    would wait on hubs of the runtime's, for good under eventlet's.
    """
    active: dict[object, threading.Thread] = getattr(threading, "_active", {})
    return list(active.values())


def wakeup_pair() -> tuple[_socket.socket, _socket.socket]:
    """Make two connected non-blocking sockets, on any platform. A byte sent to the second makes the first readable."""
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
            raise OSError("another process has connected to the hub's wake-up socket; try again")
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs
