"""The layout of the package, held: who may import whom, which file knows which runtime, how long things may get.

Every import counts: at the top of a module, inside a function, under ``TYPE_CHECKING``, and `import_module` of a name
that is written out. What is read is the package that the tests import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenzmq

# Every module, from the lowest layer to the highest, with what it may import of greenzmq. A package that is not
# taken apart here (cli) stands for all its modules. Arrows point upwards in this table, to lines that came before.
ALLOWED = {
    "errors": "",
    "limits": "",
    "unpatched": "",
    "forks": "",
    "hubs.base": "errors unpatched",
    "hubs.wakeup": "errors unpatched hubs.base",
    "hubs.timers": "hubs.base",
    "hubs.kernel": "unpatched",
    "hubs.selector": "errors unpatched forks hubs.base hubs.wakeup hubs.timers hubs.kernel",
    "hubs.gevent": "errors unpatched forks hubs.base hubs.wakeup hubs.kernel",
    "hubs.eventlet": "errors unpatched forks hubs.base hubs.wakeup",
    "hubs.asyncio": "errors unpatched forks hubs.base hubs.timers hubs.kernel",
    "hubs.detection": "errors unpatched hubs.base",
    "hubs.registry": "errors hubs.base",
    "hubs": "errors unpatched hubs.base hubs.detection hubs.registry",
    "waiting": "errors unpatched hubs.base hubs.detection",
    "events": "errors limits unpatched hubs.base hubs.detection hubs waiting",
    "locks": "errors unpatched events",
    "scope": "",
    "tasks": "errors limits unpatched forks hubs.base hubs waiting events scope",
    "bridge": "errors hubs.asyncio waiting tasks",
    "green": "errors limits unpatched hubs.base hubs waiting tasks",
    "zerocopy": "unpatched locks",
    "tracker": "limits hubs waiting events tasks",
    "watched": "unpatched hubs.base hubs",
    "turns": "watched",
    "directions": "hubs.base hubs waiting turns",
    "attendance": "errors hubs.base hubs waiting events watched turns directions",
    "readiness": "errors hubs.base hubs waiting events turns directions attendance",
    "coroutines": "hubs directions attendance readiness",
    "parts": "",
    "signatures": "tracker",
    "socket": "errors unpatched forks hubs.base hubs waiting turns directions attendance readiness coroutines green "
    "tracker parts signatures",
    "descriptors": "errors unpatched hubs.base hubs",
    "pollset": "unpatched forks hubs waiting attendance descriptors",
    "entries": "events turns attendance descriptors readiness socket pollset",
    "polls": "errors hubs waiting events turns socket descriptors pollset entries",
    "poller": "hubs coroutines waiting green descriptors entries polls",
    "native_proxies": "errors hubs events tasks readiness socket poller",
    "proxies": "errors hubs waiting events tasks turns green directions attendance readiness socket poller "
    "native_proxies",
    "monitoring": "socket",
    "context": "errors forks hubs.base hubs events locks tasks scope turns green socket zerocopy",
    "decorators": "context socket",
    "program": "errors unpatched hubs.base hubs hubs.asyncio waiting scope bridge green",
    "devices": "unpatched forks hubs waiting events tasks socket poller proxies context",
    "inspection": "hubs waiting events green directions readiness socket poller native_proxies proxies monitoring "
    "tracker context",
    "testing": "errors limits unpatched hubs.base hubs.wakeup hubs waiting tasks green directions readiness socket "
    "inspection",
    "names": "tracker",
    "submodules": "",
    "greenzmq": "errors hubs events tasks green socket poller proxies monitoring tracker context decorators inspection "
    "names submodules program",
    "gevent": "hubs green signatures socket poller proxies decorators devices context names submodules greenzmq",
    "eventlet": "hubs green signatures socket poller proxies decorators devices context names submodules greenzmq",
    "selector": "hubs green signatures socket poller proxies decorators devices context names submodules greenzmq",
    "asyncio": "hubs bridge green signatures socket poller proxies decorators devices context "
    "names submodules greenzmq",
    "cli": "errors hubs green greenzmq asyncio",
    "__main__": "cli greenzmq",
}

# Each runtime has one file that imports it; everything else asks `sys.modules`.
HOMES = {"gevent": "hubs.gevent", "eventlet": "hubs.eventlet", "asyncio": "hubs.asyncio"}

# An event loop knows nothing of sockets, nor does what is built on event loops alone.
WITHOUT_ZMQ = ("errors", "limits", "unpatched", "hubs", "waiting", "events", "locks", "tasks", "green")

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


def wrong_imports(sources: dict[str, str]) -> list[str]:
    """What is wrong with the imports of `sources`, one line for each."""
    names = {*sources, *ALLOWED}
    wrong = []
    for module, source in sources.items():
        entry = entry_of(module)
        if entry is None:
            wrong.append(f"{module} is in no layer: give it a line in ALLOWED")
            continue
        allowed = {entry, *ALLOWED[entry].split()}
        for line, imported in imports(module, source, names):
            where = f"{module}, line {line}:"
            if imported.startswith("greenzmq."):
                target = next(name for name in prefixes(imported.removeprefix("greenzmq.")) if name in names)
                if entry_of(target) not in allowed:
                    wrong.append(f"{where} imports {target}")
            elif imported.partition(".")[0] in HOMES and module != HOMES[imported.partition(".")[0]]:
                wrong.append(f"{where} imports the runtime {imported}")
            elif imported.partition(".")[0] == "zmq" and {*prefixes(module)} & {*WITHOUT_ZMQ}:
                wrong.append(f"{where} imports zmq")
    return wrong


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


def entry_of(module: str) -> str | None:
    """The line of ALLOWED that holds for `module`: its own or that of a package which is not taken apart."""
    for name in prefixes(module)[:-1]:
        if name in ALLOWED and (name == module or not any(other.startswith(f"{name}.") for other in ALLOWED)):
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


def test_the_table_has_no_loops_and_no_stale_lines():
    """Each line of the table names lines before it, and modules that exist."""
    before: set[str] = set()
    for module, allowed in ALLOWED.items():
        assert {*allowed.split()} <= before, f"{module} may import what comes after it"
        before.add(module)
    assert before <= {*read_package()}


def test_nothing_is_too_long():
    """Files have at most 500 lines and functions at most 60, their docstrings included; tests and benchmarks, too."""
    here = Path(__file__).parent
    beside = [*here.rglob("*.py"), *here.with_name("benchmarks").rglob("*.py")]
    assert too_long(read_package() | {str(path): path.read_text(encoding="utf-8") for path in beside}) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        pytest.param("waiting", "from .tasks import Task", "waiting, line 1: imports tasks", id="upwards"),
        pytest.param("waiting", "from . import tasks", "waiting, line 1: imports tasks", id="module-of-package"),
        pytest.param("waiting", "import greenzmq.tasks as t", "waiting, line 1: imports tasks", id="absolute"),
        pytest.param("waiting", "from greenzmq import Context", "waiting, line 1: imports greenzmq", id="package"),
        pytest.param("waiting", "import greenzmq", "waiting, line 1: imports greenzmq", id="package-itself"),
        pytest.param("hubs.gevent", "from .eventlet import X", "hubs.gevent, line 1: imports hubs.eventlet", id="peer"),
        pytest.param("hubs", "from . import selector", "hubs, line 1: imports hubs.selector", id="registry"),
        pytest.param("hubs.base", "from .. import socket", "hubs.base, line 1: imports socket", id="two-up"),
        pytest.param("socket", "def f():\n  from . import context", "socket, line 2: imports context", id="function"),
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
        pytest.param("socket", "import gevent.hub", "socket, line 1: imports the runtime gevent.hub", id="runtime"),
        pytest.param("hubs.eventlet", "import asyncio", "hubs.eventlet, line 1: imports the runtime", id="asyncio"),
        pytest.param("gevent", "import gevent", "gevent, line 1: imports the runtime gevent", id="drop-in"),
        pytest.param("cli.demo", "from ..socket import Socket", "cli.demo, line 1: imports socket", id="cli"),
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
        ("waiting", "from .hubs.base import Hub\nfrom .errors import Timeout"),
        ("hubs", "from . import base\nfrom .base import Hub"),
        ("hubs.gevent", "import gevent\nfrom gevent.hub import Hub\nfrom . import base"),
        ("gevent", "from . import Context"),
        ("cli.demo", "from . import info\nfrom .table import show\nimport greenzmq\nimport zmq"),
        ("socket", "import zmq\nfrom zmq.sugar import socket"),
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
