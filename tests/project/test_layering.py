"""The layout of the package, held: who may import whom, which file knows which runtime, how long things may get.

Every import counts: at the top of a module, inside a function, under ``TYPE_CHECKING``, and `import_module` of a name
that is written out. What is read is the package that the tests import.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenzmq

# The folders, from the lowest to the highest, and in each its modules in the same order. A module imports from those
# that stand before it. A folder that is not taken apart here (cli) stands for all its modules.
LAYERS = {
    "errors": "",
    "process": "unpatched descriptors objects fork",
    "hubs": "base workers _per_thread _timers _wakeup _epoll selector gevent eventlet asyncio threading detection "
    "words foreign registry",
    "waiting": "limits reasons waiter counting turns events lines sync conditions items queues locks scope tasks "
    "threads time_limit bridge futures from_threads groups hub_api pool",
    "sockets": "plain inherited pyobj accelerator fairness messages spurious listeners directions fd_watch waiters "
    "event_wait timeouts unawaited outcomes operations coroutines parts calls fast_methods shared_waiters sleeping "
    "sharing registry counting pending tracker signatures monitors locked barriers socket zerocopy context monitoring "
    "awaitable_signatures awaitable awaitable_context awaitable_monitoring",
    "polling": "fd_set file_poll poll_set entries poller_state poller wait awaitable",
    "proxies": "native green awaitable",
    "decorators": "",
    "devices": "",
    "auth": "zap policies server authenticator",
    "program": "",
    "task_frames": "",
    "diagnostics": "",
    "counts": "",
    "stalls": "",
    "testing": "contract parking sockets stepping switches",
    "names": "",
    "submodules": "",
    "patching": "stand_ins namespaces late patch inherited startup",
    "greenzmq": "",
    "gevent": "",
    "eventlet": "",
    "selector": "",
    "asyncio": "",
    "threading": "",
    "aio": "",
    "cli": "",
    "__main__": "",
}
# What is made of asyncio's futures.
AWAITABLE = (
    "sockets.unawaited",
    "sockets.pending",
    "sockets.awaitable_signatures",
    "sockets.awaitable",
    "sockets.awaitable_context",
    "sockets.awaitable_monitoring",
    "polling.awaitable",
    "proxies.awaitable",
)
# What one would otherwise say of each: modules of one kind that know nothing of each other.
PEERS = (
    ("hubs.gevent", "hubs.eventlet", "hubs.selector", "hubs.asyncio"),
    ("gevent", "eventlet", "selector", "asyncio", "threading", "aio"),
)
# A hub is found by its name, so that no runtime is imported unasked. The bridge is asyncio's, and started by `main`;
# what can be awaited is asyncio's, too.
FOUND_BY_NAME = {
    "hubs.gevent": (),
    "hubs.eventlet": (),
    "hubs.selector": ("hubs.threading",),
    "hubs.threading": (),
    "hubs.asyncio": ("waiting.bridge", "waiting.futures", "program", *AWAITABLE),
    "waiting.futures": AWAITABLE,
    **dict.fromkeys(AWAITABLE, (*AWAITABLE, "aio")),
}
# The package itself is what users import; what it is made of does not.
USE_THE_PACKAGE = ("gevent", "eventlet", "selector", "asyncio", "threading", "aio", "cli", "__main__")

# Each runtime has one file that imports it; everything else asks `sys.modules`.
HOMES = {"gevent": "hubs.gevent", "eventlet": "hubs.eventlet", "asyncio": "hubs.asyncio"}

# An event loop knows nothing of sockets, nor does what is built on event loops alone.
WITHOUT_ZMQ = ("errors", "process", "hubs", "waiting")

MAX_FILE = 500
MAX_FUNCTION = 60


def read_package() -> dict[str, str]:
    """The source of every module by its name inside greenzmq; the package's own is ``greenzmq``."""
    root = Path(greenzmq.__file__).parent
    sources = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name or "greenzmq"] = path.read_text(encoding="utf-8")
    return sources


def order() -> dict[str, int]:
    """The place of each module in the whole order. A package's own file comes after its modules."""
    names = []
    for layer, modules in LAYERS.items():
        names += [f"{layer}.{module}" for module in modules.split()] + [layer]
    return {name: place for place, name in enumerate(names)}


def wrong_imports(sources: dict[str, str]) -> list[str]:
    """What is wrong with the imports of `sources`, one line for each."""
    places = order()
    names = {*sources, *places}
    wrong = []
    for module, source in sources.items():
        entry = entry_of(module, places)
        if entry is None:
            wrong.append(f"{module} is in no layer: give it a place in LAYERS")
            continue
        for line, imported in imports(module, source, names):
            where = f"{module}, line {line}:"
            if imported.startswith("greenzmq."):
                target = next(name for name in prefixes(imported.removeprefix("greenzmq.")) if name in names)
                if not may_import(entry, entry_of(target, places) or target, places):
                    wrong.append(f"{where} imports {target}")
            elif imported.partition(".")[0] in HOMES and module != HOMES[imported.partition(".")[0]]:
                wrong.append(f"{where} imports the runtime {imported}")
            elif imported.partition(".")[0] == "zmq" and {*prefixes(module)} & {*WITHOUT_ZMQ}:
                wrong.append(f"{where} imports zmq")
    return wrong


def may_import(entry: str, target: str, places: dict[str, int]) -> bool:
    """Whether one entry of the order may import another."""
    if entry == target:
        return True
    if any(entry in peers and target in peers for peers in PEERS):
        return False
    if target in FOUND_BY_NAME:
        return entry in FOUND_BY_NAME[target]
    if target == "greenzmq" and entry not in USE_THE_PACKAGE:
        return False
    return target in places and places[target] < places[entry]


def imports(module: str, source: str, names: set[str]) -> Iterator[tuple[int, str]]:
    """Each line on which `module` imports, with the full name that it imports, such as ``greenzmq.errors.Timeout``."""
    full = "greenzmq" if module == "greenzmq" else f"greenzmq.{module}"
    is_package = module == "greenzmq" or any(name.startswith(f"{module}.") for name in names)
    package = full.split(".") if is_package else full.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            found = [".".join((*base, alias.name)) for alias in node.names]
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            found = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        else:
            continue
        for name in found:
            yield node.lineno, "greenzmq.greenzmq" if name == "greenzmq" else name


def called(call: ast.Call) -> str:
    """The last part of the name that is called."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def prefixes(name: str) -> list[str]:
    """``a.b.c``, ``a.b``, ``a``, and at last the package itself."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)] + ["greenzmq"]


def entry_of(module: str, places: dict[str, int]) -> str | None:
    """The entry of the order that holds for `module`: its own, or that of a package which is not taken apart."""
    for name in prefixes(module)[:-1]:
        if name in places and (name == module or not any(other.startswith(f"{name}.") for other in places)):
            return name
    return None


def too_long(sources: dict[str, str]) -> list[str]:
    """Files and functions beyond the sizes that one reads in one sitting."""
    wrong = []
    for module, source in sources.items():
        if (lines := len(source.splitlines())) > MAX_FILE:
            wrong.append(f"{module} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    wrong.append(f"{module}.{node.name} has {lines} lines")
    return wrong


def test_imports_follow_the_layout():
    """No module imports from its own layer or a higher one, a runtime it is not the home of, or zmq under hubs/."""
    assert wrong_imports(read_package()) == []


def test_each_runtime_is_imported_at_home():
    """The file named in HOMES does import its runtime, so the rule above speaks of something."""
    sources = read_package()
    for runtime, home in HOMES.items():
        if home in sources:
            found = {name.partition(".")[0] for _, name in imports(home, sources[home], set(sources))}
            assert runtime in found, f"{home} does not import {runtime}"


def test_what_the_import_does_not_bring():
    """Each of these takes some milliseconds, and imports others; pyzmq and the standard library may need them anyway.

    Seen to fail on each with the import back at the top of the module that had it.
    """
    expensive = {"dataclasses", "importlib.abc", "importlib.resources", "inspect", "multiprocessing", "zmq.devices"}
    said = "import sys; print(*sys.modules)"
    without, with_us = (
        {*subprocess.run([sys.executable, "-c", f"{first}; {said}"], capture_output=True, text=True).stdout.split()}
        for first in ("import zmq, greenlet, concurrent.futures, logging", "import greenzmq.selector")
    )
    assert "greenzmq.selector" in with_us
    assert (with_us - without) & expensive == set()


def test_the_order_has_no_stale_lines():
    """Each entry of the order is a module, or a package that has modules, and stands there once."""
    modules = {*read_package()}
    assert {*order()} <= modules | {prefix for module in modules for prefix in prefixes(module)}
    assert len(order()) == sum(1 + len(modules.split()) for modules in LAYERS.values())


def test_the_map_names_every_file():
    """The map at the head of the package has each folder and file, in the order that the imports keep."""
    assert greenzmq.__doc__ is not None
    text = greenzmq.__doc__.partition("names every file::\n")[2].partition("\nThe words")[0]
    found: list[str] = []
    folder = ""
    for line in filter(None, text.splitlines()):
        indent, names = len(line) - len(line.lstrip()), re.split(r"\s{2,}", line.strip())[0]
        for name in names.split(", "):
            if indent == 4 and name.endswith("/"):
                folder = name[:-1]
            elif indent == 4:
                found.append(name)
            else:
                found.append(f"{folder}.{name}")
    folders = {layer for layer, modules in LAYERS.items() if modules} | {"greenzmq", "cli", "__main__"}
    assert found == [name for name in order() if name not in folders and not name.startswith("testing.")]


def test_nothing_is_too_long():
    """Files have at most 500 lines and functions at most 60, their docstrings included; tests and benchmarks, too."""
    here = Path(__file__).parents[1]
    beside = [*here.rglob("*.py"), *here.with_name("benchmarks").rglob("*.py")]
    assert too_long(read_package() | {str(path): path.read_text(encoding="utf-8") for path in beside}) == []


def test_the_fast_path_is_one_short_file():
    """All of it stands in one C file of less than 600 lines; what threads need besides stands in another."""
    sources = {path.name: path for path in Path(__file__).parents[2].glob("greenzmq/sockets/*.c")}
    assert sources.keys() == {"_fastpath.c", "_shared.c"}
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 600 for path in sources.values())


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        pytest.param(
            "waiting.waiter", "from .tasks import Task", "waiting.waiter, line 1: imports waiting.tasks", id="upwards"
        ),
        pytest.param(
            "waiting.waiter",
            "from . import tasks",
            "waiting.waiter, line 1: imports waiting.tasks",
            id="module-of-package",
        ),
        pytest.param(
            "waiting.waiter",
            "import greenzmq.sockets.socket as t",
            "waiting.waiter, line 1: imports sockets.socket",
            id="absolute",
        ),
        pytest.param(
            "waiting.tasks", "from greenzmq import Context", "waiting.tasks, line 1: imports greenzmq", id="package"
        ),
        pytest.param(
            "testing.parking", "import greenzmq", "testing.parking, line 1: imports greenzmq", id="package-itself"
        ),
        pytest.param("hubs.gevent", "from .eventlet import X", "hubs.gevent, line 1: imports hubs.eventlet", id="peer"),
        pytest.param("hubs", "from . import selector", "hubs, line 1: imports hubs.selector", id="registry"),
        pytest.param("hubs.base", "from .. import diagnostics", "hubs.base, line 1: imports diagnostics", id="two-up"),
        pytest.param(
            "sockets.socket", "def f():\n  from . import context", "sockets.socket, line 2: imports", id="function"
        ),
        pytest.param(
            "errors",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from .hubs.base import Hub",
            "errors, line 3: imports hubs.base",
            id="type-checking",
        ),
        pytest.param(
            "hubs",
            "import importlib\nimportlib.import_module('greenzmq.hubs.gevent')",
            "hubs, line 2: imports hubs.gevent",
            id="import-module",
        ),
        pytest.param("hubs.gevent", "import zmq", "hubs.gevent, line 1: imports zmq", id="zmq-in-a-hub"),
        pytest.param("hubs", "from zmq.error import Again", "hubs, line 1: imports zmq", id="zmq-in-hubs"),
        pytest.param(
            "sockets.socket",
            "import gevent.hub",
            "sockets.socket, line 1: imports the runtime gevent.hub",
            id="runtime",
        ),
        pytest.param("hubs.eventlet", "import asyncio", "hubs.eventlet, line 1: imports the runtime", id="asyncio"),
        pytest.param("gevent", "import gevent", "gevent, line 1: imports the runtime gevent", id="drop-in"),
        pytest.param("diagnostics", "from .cli import main", "diagnostics, line 1: imports cli", id="cli"),
        pytest.param("novelty", "", "novelty is in no layer", id="unknown-module"),
        pytest.param("hubs.novelty", "", "hubs.novelty is in no layer", id="unknown-submodule"),
    ],
)
def test_a_forbidden_import_is_found(module, source, complaint):
    """The check itself: each kind of import that the layout forbids gives exactly one complaint."""
    (found,) = wrong_imports({module: source})
    assert found.startswith(complaint)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("waiting.waiter", "from ..hubs.base import Hub\nfrom ..errors import Timeout"),
        ("hubs", "from . import base\nfrom .base import Hub"),
        ("hubs.gevent", "import gevent\nfrom gevent.hub import Hub\nfrom . import base"),
        ("gevent", "from . import Context"),
        ("cli.demo", "from . import info\nfrom .table import show\nimport greenzmq\nimport zmq"),
        ("sockets.socket", "import zmq\nfrom zmq.sugar import socket\nfrom ..waiting import events"),
    ],
)
def test_an_allowed_import_passes(module, source):
    """The check itself: what the layout allows gives no complaint."""
    assert wrong_imports({module: source}) == []


def test_what_is_too_long_is_found():
    """The check itself: one line more than allowed is found, in a file and in a function."""
    body = "    pass\n" * MAX_FUNCTION
    assert too_long({"m": f"def f():\n{body}"}) == ["m.f has 61 lines"]
    assert too_long({"m": "\n" * MAX_FILE}) == []
    assert too_long({"m": "\n" * (MAX_FILE + 1)}) == ["m has 501 lines"]
