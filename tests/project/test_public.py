"""What is public is said in one place, docs/_ext/public.py, and has docstrings that say what a user needs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq
import zmq.devices
from support.ways_to_wait import WAITS

import greenzmq

ROOT = Path(__file__).parents[2]


def load_public() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public", ROOT / "docs" / "_ext" / "public.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


said = load_public()


def public_names() -> Iterator[tuple[str, str]]:
    """Each public name with its module, without what is pyzmq's own."""
    for module, names in said.PUBLIC.items():
        theirs = {*zmq.__all__} if module == "greenzmq" else set()
        for name in importlib.import_module(module).__all__ if names == said.ALL else names:
            if name not in theirs or getattr(greenzmq, name) is not getattr(zmq, name):
                yield module, name


NAMES = sorted({*public_names()})


@pytest.mark.parametrize("namespace", said.NAMESPACES)
def test_a_namespace_has_the_names_of_the_package(namespace, request):
    """All that `greenzmq` has, each namespace has, but for what has no meaning there; and all it names is there."""
    try:
        module = importlib.import_module(f"greenzmq.{namespace}")
    except greenzmq.MissingHubError as error:
        if not request.config.getoption("--skip-missing-hubs"):
            raise
        pytest.skip(str(error))
    other = {"MonitorEvents"} if namespace == "aio" else set()  # there it is AsyncMonitorEvents
    assert {*greenzmq.__all__} - {*module.__all__} == other
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_each_is_there():
    """Each public name exists where it is said to be."""
    assert [f"{module}.{name}" for module, name in NAMES if not hasattr(importlib.import_module(module), name)] == []


# --- docstrings -------------------------------------------------------------------------------------------------------


def documented() -> Iterator[tuple[str, Any]]:
    """Each public class and function that greenzmq defines, and each public method and property of these classes."""
    for module, name in NAMES:
        what = getattr(importlib.import_module(module), name)
        if not getattr(what, "__module__", "").startswith("greenzmq"):
            continue
        if isinstance(what, type):
            yield f"{module}.{name}", what
            for method in dir(what):
                owner = next((cls for cls in what.__mro__ if method in vars(cls)), object)
                if not method.startswith("_") and owner.__module__.startswith("greenzmq") and is_code(owner, method):
                    yield f"{module}.{name}.{method}", getattr(what, method)
        elif inspect.isfunction(inspect.unwrap(what)):
            yield f"{module}.{name}", what


def is_code(owner: type, method: str) -> bool:
    member = inspect.getattr_static(owner, method)
    return inspect.isfunction(member) or isinstance(member, (property, staticmethod, classmethod))


DOCUMENTED = dict(documented())
#: What a docstring says that leaves the parameters to another one.
ELSEWHERE = re.compile(
    r"[Ss]ee(?: also)? `|as `|[Aa]s for `|as in pyzmq|`\w+` for |under its old name|`\w+` in one word"
)


def untold(what: Any) -> list[str]:
    """The parameters of which the docstring says nothing, and does not say either where to look."""
    if isinstance(what, property) or (isinstance(what, type) and issubclass(what, NOT_OURS)):
        return []
    text = inspect.getdoc(what) or ""
    left_out = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [each.name for each in inspect.signature(what).parameters.values() if each.kind not in left_out]
    named = [name for name in names if name != "self" and not re.search(rf"\b{name}\b", text)]
    return [] if ELSEWHERE.search(text) else named


#: Classes whose parameters are documented by pyzmq, or by Python.
NOT_OURS = (zmq.Socket, zmq.Context, zmq.Frame, zmq.MessageTracker, zmq.devices.Device, BaseException)


def test_all_have_docstrings():
    """Every public class, function, method and property says what it is."""
    assert len(DOCUMENTED) > 200
    assert [name for name, what in DOCUMENTED.items() if not inspect.getdoc(what)] == []


def test_all_parameters_are_told():
    """Each parameter is named in the docstring, or that names the function which has the same ones.

    Seen to fail on the arguments of `Condition.wait_for` and `Pool.imap`.
    """
    assert {name: wrong for name, what in DOCUMENTED.items() if (wrong := untold(what))} == {}


def test_all_times_have_units():
    """A time is told in seconds or milliseconds, wherever a parameter is one."""
    times = {"timeout", "seconds", "linger", "turn", "delay", "interval"}
    wrong = []
    for name, what in DOCUMENTED.items():
        if inspect.isfunction(what) and times & {*inspect.signature(what).parameters}:
            text = inspect.getdoc(what) or ""
            if not re.search(r"[Ss]econd", text) and not ELSEWHERE.search(text):
                wrong.append(name)
    assert wrong == []


def test_all_sections_have_types():
    """Parameters and attributes stand there with their types, or with where to look."""
    sections = re.compile(r"^(?:Parameters|Attributes)\n-+\n((?:.|\n)*?)(?=\n\n\w|\Z)", re.MULTILINE)
    wrong = [
        f"{name}: {head}"
        for name, what in DOCUMENTED.items()
        for section in sections.findall(inspect.getdoc(what) or "")
        for head, told in re.findall(r"^(\S.*)\n    (.*)", section, re.MULTILINE)
        if " : " not in head and not told.startswith(("As ", "See "))
    ]
    assert wrong == []


def test_all_say_when_they_switch():
    """Whatever can wait says when it gives control to the hub; it is one of those that tests make wait."""
    for name in {each.partition(",")[0] for each in WAITS}:
        places = [f"{module}.{name}" for module in ("greenzmq", "greenzmq.asyncio") if f"{module}.{name}" in DOCUMENTED]
        assert places or "__" in name or name.partition(".")[0] in ("Socket", "MessageTracker"), name
        for place in places:
            assert re.search(r"[Ss]witches", inspect.getdoc(DOCUMENTED[place]) or ""), place


EXAMPLES = """
import doctest, importlib, sys
results = [doctest.testmod(importlib.import_module(name)) for name in sys.argv[1:]]
print(sum(result.failed for result in results), sum(result.attempted for result in results))
"""


def test_examples_in_docstrings_are_right():
    """What a docstring shows at a prompt is what Python prints there, in a process of its own."""
    package = Path(greenzmq.__file__).parent
    paths = [
        path for path in package.rglob("*.py") if re.search("^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in sorted(paths)]
    command = [sys.executable, "-W", "ignore", "-c", EXAMPLES, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    failed, tried = map(int, done.stdout.splitlines()[-1].split())
    assert failed == 0, done.stdout
    assert tried > 30


def test_help_begins_with_what_a_user_needs():
    """Every public name is said before the map, which is for those who work on greenzmq."""
    head, the_map = (greenzmq.__doc__ or "").split("The map of the package")
    assert the_map
    said_there = {*re.findall(r"\w+", head)}
    own = {name for module, name in NAMES if module in ("greenzmq", "greenzmq.patching")}
    assert own - {*zmq.__all__} - said_there == set()
