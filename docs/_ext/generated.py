"""Directives whose content is read from the code and the tests, so that no table is typed by hand.

``{generated} NAME`` in Markdown is one of `TABLES`. ``.. api:: greenzmq.Socket`` in reST documents what greenzmq itself
has, and names what it takes over from pyzmq.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from public import ALL, NAMESPACES, PUBLIC
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

GREENLETS = ("gevent", "eventlet", "selector", "asyncio")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- what waits, and what does not ------------------------------------------------------------------------------------


def waits() -> str:
    """Each call of `WAITS`, which the tests make wait on every hub beside a ticker, and what it does on each hub."""
    from support.variants import USUAL, VARIANTS
    from support.ways_to_wait import WAITS

    names = list(dict.fromkeys(variant.name for variant in VARIANTS if variant.id in USUAL))
    rows: dict[tuple[str, ...], list[str]] = {}
    for name in WAITS:
        owner, _, method = name.partition(".")
        cells = (*(_cell(name, hub) for hub in names), _awaited(name))
        rows.setdefault((owner if method else "", *cells), []).append(f"`{method or name}`")
    return table(
        ("of", "call", *names, "aio"),
        [
            (f"`{owner}`" if owner else "the module", ", ".join(calls), *cells)
            for (owner, *cells), calls in rows.items()
        ],
    )


def _cell(name: str, hub: str) -> str:
    if name == "await_" and hub != "asyncio":
        return "–"
    return "thread" if hub == "threading" else "greenlet"


def _awaited(name: str) -> str:
    """What the namespace of awaitable sockets has under this name."""
    import greenzmq.aio

    owner, _, method = name.partition(",")[0].partition(".")
    ours = getattr(greenzmq.aio, owner, None)
    green = getattr(importlib.import_module("greenzmq.asyncio"), owner, None)
    if method == "__exit__" and owner == "Context":
        return "`async with`"
    if owner == "MonitorEvents":
        return "`async for`"
    if method:
        ours, green = getattr(ours, method, None), getattr(green, method, None)
        if inspect.unwrap(ours) is inspect.unwrap(green) and owner in ("Socket", "Context", "Poller"):
            return "`await`"  # composed by pyzmq of a method that is awaitable here: tests/project/test_aio_parity.py
    if owner == "main":
        return "no loop may run"
    if ours is green:
        return "greenlet"
    return "`await`"


def waits_not() -> str:
    """Each public callable that never waits, with the reason, as the tests have them."""
    from project.test_green_surface import CANNOT_WAIT, LOOKS, MODULE

    groups: dict[str, list[str]] = {}
    for name, why in CANNOT_WAIT.items():
        if why not in (MODULE, LOOKS) and not why.startswith(("a protocol", "the namespace")):
            groups.setdefault(why, []).append(f"`{name}`")
    return table(("why not", "calls"), [(why, ", ".join(names)) for why, names in groups.items()])


# --- other tables -----------------------------------------------------------------------------------------------------


def words() -> str:
    from greenzmq.hubs import WORDS

    return table(("word", "hub", "whose word"), [(f"`{word}`", f"`{hub}`", who) for word, hub, who in WORDS])


def passed_on() -> str:
    """The names of pyzmq that every namespace has, unchanged."""
    import zmq

    import greenzmq

    same = [name for name in dict.fromkeys(zmq.__all__) if getattr(greenzmq, name, None) is getattr(zmq, name)]
    functions = [name for name in same if callable(getattr(zmq, name)) and not name.isupper()]
    constants = [name for name in same if name not in functions]
    return "\n\n".join(
        f"**{title}**\n\n{', '.join(f'`{name}`' for name in sorted(names))}"
        for title, names in (("Functions and classes", functions), ("Constants", constants))
    )


def glossary() -> str:
    """The words that the head of the package explains."""
    import greenzmq

    told = inspect.cleandoc(greenzmq.__doc__ or "").partition("written in:\n\n")[2]
    entries = re.findall(r"^(\S.*)\n((?:    .*\n?)+)", told, re.MULTILINE)
    return "\n\n".join(f"{word}\n: {' '.join(meaning.split()).replace('``', '`')}" for word, meaning in entries)


def public() -> str:
    """What `PUBLIC` says."""
    rows = []
    for module, said in PUBLIC.items():
        names = list(said)
        if said == ALL:
            own = set(importlib.import_module("zmq").__all__) if module == "greenzmq" else set()
            names = [name for name in importlib.import_module(module).__all__ if name not in own]
            if own:
                names.append("and all names of `zmq`")
        shown = (name if " " in name else f"`{name}`" for name in names)
        rows.append((f"`{module.replace('.patching', '')}`", ", ".join(shown)))
    namespaces = ", ".join(f"`greenzmq.{name}`" for name in NAMESPACES)
    return table(("module", "names"), [*rows, (namespaces, "as `greenzmq`, each on its hub")])


def examples(folder: str) -> str:
    """The programs of a folder of ``examples/``, with the first sentences of their docstrings."""
    rows = []
    for path in sorted((ROOT / "examples" / folder).glob("*.py")):
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.stem != "children":  # what the programs of one_word share
            link = f"[`{path.name}`](../{path.relative_to(ROOT).as_posix()})"
            rows.append((link, " ".join(told.partition("\n\n")[0].split()).replace("``", "`")))
    return table(("program", "what it shows"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "waits": waits,
    "waits-not": waits_not,
    "words": words,
    "examples": partial(examples, "."),
    "examples-one-word": partial(examples, "one_word"),
    "examples-patterns": partial(examples, "patterns"),
    "glossary": glossary,
    "passed-on": passed_on,
    "public": public,
}


class Generated(SphinxDirective):
    """``{generated} NAME``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = TABLES[self.arguments[0]]()
        node = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), "generated"), self.content_offset, node)
        return list(node.children)


# --- the reference ----------------------------------------------------------------------------------------------------


def find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def own_members(kind: type) -> list[str]:
    """The public members that greenzmq defines, in the order of its sources, subclasses first."""
    found: dict[str, None] = {}
    for cls in kind.__mro__:
        if cls.__module__.startswith("greenzmq"):
            annotated = (name for name in vars(cls) if not name.startswith("_"))
            found.update(dict.fromkeys(name for name in annotated if _is_documented(vars(cls)[name])))
    return list(found)


def _is_documented(member: Any) -> bool:
    if isinstance(member, (staticmethod, classmethod, property)):
        return True
    return inspect.isfunction(member) or (callable(member) and hasattr(member, "__wrapped__"))


def taken_over(kind: type) -> list[str]:
    """The public methods that are pyzmq's own."""
    own = set(own_members(kind))
    names = {
        name
        for cls in kind.__mro__
        if cls.__module__.startswith("zmq")
        for name, member in vars(cls).items()
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, (classmethod, property)))
    }
    return sorted(name for name in names - own if not name.isupper())


class Api(SphinxDirective):
    """``.. api:: greenzmq.Socket``: in reST, since autodoc writes reST."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        node = nodes.container()
        lines = list(self._lines(path, find(path)))
        self.state.nested_parse(StringList(lines, "api"), self.content_offset, node)
        return list(node.children)

    def _lines(self, path: str, what: Any) -> Iterator[str]:
        if not isinstance(what, type):
            yield f".. auto{'function' if callable(what) else 'data'}:: {path}"
            return
        own = own_members(what) if not issubclass(what, BaseException) else []
        yield f".. autoclass:: {path}"
        if own:
            yield f"   :members: {', '.join(own)}"
        if names := taken_over(what):
            yield ""
            yield "   As in pyzmq: " + ", ".join(f"``{name}``" for name in names) + "."


def setup(app: Sphinx) -> dict[str, Any]:
    os.environ.setdefault("COLUMNS", "100")
    app.add_directive("generated", Generated)
    app.add_directive("api", Api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
