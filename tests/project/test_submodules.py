"""The submodules and attributes of the namespaces: pyzmq's own objects, and errors that name who was asked."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest
import zmq
from programs.submodules import NAMESPACES, SPELLINGS
from support import forked
from support.children import Child, Children, need

RUNTIMES = ("gevent", "eventlet")
PROGRAM = "from programs import submodules; submodules.{}"
CHILDREN = {
    name: Child(PROGRAM.format(f"compare({name!r})"), needs=RUNTIMES, imported=forked.RUNTIMES) for name in SPELLINGS
}
CHILDREN |= {
    name: Child(PROGRAM.format(f"{name}()"), needs=RUNTIMES, imported=forked.RUNTIMES)
    for name in ("others", "from_many_threads")
}
#: Whatever way a namespace is asked for where its runtime is not installed.
WITHOUT = """
from support.asking import hide
hide({0!r})
import greenzmq
for ask in (lambda: greenzmq.{0}, lambda: hasattr(greenzmq, {0!r}), lambda: __import__("greenzmq.{0}")):
    try:
        ask()
    except greenzmq.MissingHubError as error:
        print(isinstance(error, (ImportError, AttributeError)), str(error).partition(",")[0])
"""
CHILDREN |= {f"without {name}": Child(WITHOUT.format(name), imported=forked.BARE) for name in RUNTIMES}
NAMESPACE_LATER = """
import sys, greenzmq
assert "greenzmq.{0}" not in sys.modules
assert "{0}" not in dir(greenzmq)
print(greenzmq.{0}.Context.__module__, "{0}" in dir(greenzmq), greenzmq.{0} is sys.modules["greenzmq.{0}"])
"""
CHILDREN |= {
    f"later {name}": Child(NAMESPACE_LATER.format(name), needs=(name,), imported=forked.RUNTIMES) for name in RUNTIMES
}
CHILDREN |= {
    f"later {name}": Child(NAMESPACE_LATER.format(name), imported=forked.BARE) for name in ("selector", "asyncio")
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


def output(child: str, children: Children, request: pytest.FixtureRequest) -> list[str]:
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    return done.out.splitlines()


@pytest.mark.parametrize("child", SPELLINGS)
def test_every_submodule_is_pyzmqs_own(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """All that pyzmq has, in all namespaces, by each spelling, unless the tables of `programs.submodules` say why not.

    pyzmq's modules keep their own names, specs and loaders. Seen to fail when the namespaces answered for ``__path__``
    with pyzmq's: its files were read a second time.
    """
    assert output(child, children, request) == ["not compared:"]


@pytest.mark.parametrize("child", ["others"])
def test_what_else_is_done_with_names(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """reload, pickle, find_spec, pkgutil, names that do not exist; ours have specs of their own."""
    assert output(child, children, request) == ["all right"]


@pytest.mark.parametrize("child", ["from_many_threads"])
def test_many_threads_import_one_module(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """They all get pyzmq's."""
    assert output(child, children, request) == ["zmq.log.handlers"]


def test_python_m() -> None:
    """``python -m greenzmq.selector.log`` is ``python -m zmq.log``."""
    ours, theirs = (
        subprocess.run([sys.executable, "-m", f"{package}.log", "--help"], capture_output=True, text=True, timeout=60)
        for package in ("greenzmq.selector", "zmq")
    )
    assert "--topic" in ours.stdout
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)


# -- attributes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_an_error_names_the_module_that_was_asked(namespace: str) -> None:
    """Not `zmq`, and what the interpreter suggests is public. Seen to fail when `zmq` was asked for the attribute."""
    module = importlib.import_module(namespace)
    for name in ("nonsense", "Contxt", "__wrapped__", "_zmqq"):
        with pytest.raises(AttributeError) as caught:
            getattr(module, name)
        assert str(caught.value) == f"module {namespace!r} has no attribute {name!r}"
        assert (caught.value.name, caught.value.obj) == (name, module)
        shown = "".join(traceback.format_exception(caught.value))
        assert not re.search("Did you mean: '_[^_]", shown)
    assert {name for name in dir(module) if name.startswith("_") and not name.endswith("__")} == {"_FINISHED_TRACKER"}
    assert {*module.__all__, "error", "utils", "decorators", "devices"} <= {*dir(module)}
    assert [name for name in dir(module) if not hasattr(module, name)] == []


@pytest.mark.parametrize("child", ["later gevent", "later eventlet", "later selector", "later asyncio"])
def test_a_namespace_is_there_when_it_is_asked_for(
    child: str, children: Children, request: pytest.FixtureRequest
) -> None:
    """``import greenzmq; greenzmq.gevent``. Seen to fail when only an import brought it."""
    assert output(child, children, request) == [f"greenzmq.{child.split()[1]} True True"]


@pytest.mark.parametrize("child", ["without gevent", "without eventlet"])
def test_a_missing_runtime_is_no_attribute_error(
    child: str, children: Children, request: pytest.FixtureRequest
) -> None:
    """Nor is it "no such attribute" to `hasattr`: the namespace exists, and its error says what to install."""
    name = child.split()[1]
    assert output(child, children, request) == [f"True hub {name!r} needs the package {name}"] * 3


def test_to_look_around_brings_no_runtime() -> None:
    """`dir`, and whoever asks for all that it names, import nothing that runs: debuggers and documentation do that."""
    program = (
        "import inspect, sys, greenzmq; inspect.getmembers(greenzmq); "
        "print(*sorted({'gevent', 'eventlet', 'asyncio', 'uvloop'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_every_name_of_zmq_has_its_type() -> None:
    """The names that type checkers are told of are all that `zmq` has, but those that each namespace has for itself."""
    names = {*vars(importlib.import_module("greenzmq.names"))}
    own = {"Context", "Poller", "Socket", "SyncContext", "SyncSocket", "device", "proxy", "proxy_steerable", "select"}
    assert {*zmq.__all__} - names == own | {"zmq_poll", "_FINISHED_TRACKER"}
