"""One owner for each field: no file writes what a class of another file has declared.

Classes of one file may be one structure, such as a queue and what stands in it. What is read is the package that the
tests import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenzmq

ROOT = Path(greenzmq.__file__).parent

#: Writes to another class's field that stay, each with its reason.
KEPT = {
    ("hubs/eventlet.py", "_selector"): "asyncio's own, of eventlet's loop in a forked child",
    ("hubs/eventlet.py", "greenlet"): "eventlet's own, of its listeners",
    ("hubs/_per_thread.py", "place"): "a thread's local",
    ("hubs/asyncio.py", "job"): "a worker's next call, given in line: each awaited call passes there",
    ("polling/poll_set.py", "reference"): "a thread's local",
    ("polling/poller_state.py", "_closed"): "pyzmq's own, of a plain socket that a fork has copied",
    ("testing/contract/timers.py", "held"): "what a check lets a timer hold",
    ("testing/contract/watches.py", "held"): "what a check lets a watch hold",
    ("sockets/locked.py", "fast_calls_left"): "as in sockets/socket.py",
    ("sockets/socket.py", "fast_calls_left"): "the fast path counts down in line: a call would cost more than a recv",
    ("sockets/awaitable.py", "fast_calls_left"): "its own fast path",
    ("waiting/futures.py", "first"): "the usual case of `Waiter.close`, in line: every wait ends there",
    ("waiting/futures.py", "last"): "the same",
    ("sockets/fd_watch.py", "lazily_stopped"): "as `Watch.lazily_stopped` allows: every wait passes there",
    ("sockets/waiters.py", "lazily_stopped"): "as `Watch.can_stop_lazily` allows: the same",
    (
        "polling/awaitable.py",
        "_poller_class",
    ): "the awaitable Socket's: it and its Poller need each other",
}


def sources() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}


def declared(tree: ast.AST) -> set[str]:
    """The fields of the classes in a file: in ``__slots__``, annotated, or written through ``self``."""
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and is_self(each.value):
                names.add(each.attr)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                names.add(statement.target.id)
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                names |= {each.value for each in ast.walk(statement.value) if isinstance(each, ast.Constant)}
    return names


def is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def foreign_writes(sources: dict[str, str]) -> Iterator[tuple[str, int, str]]:
    """The file, line and field of each write to what only classes of other files have declared."""
    trees = {file: ast.parse(source) for file, source in sources.items()}
    fields = {file: declared(tree) for file, tree in trees.items()}
    ours = set().union(*fields.values())
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                if not is_self(node.value) and node.attr in ours - fields[file]:
                    yield file, node.lineno, node.attr


def test_no_file_writes_the_fields_of_anothers_classes():
    """Seen to fail when five files wrote what is now `SocketWaiters`, and eighteen places the fast calls of a
    direction."""
    found = [(file, line, attr) for file, line, attr in foreign_writes(sources()) if (file, attr) not in KEPT]
    assert found == []


def test_each_exception_is_still_one():
    """What is kept is done."""
    done = {(file, attr) for file, _, attr in foreign_writes(sources())}
    assert {*KEPT} <= done


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def f(waiter):\n    waiter.woken = True", 2),
        ("def f(waiter):\n    waiter.woken += 1", 2),
        ("def f(waiter):\n    (waiter.woken, x) = 1, 2", 2),
        ("def f(waiter):\n    del waiter.woken", 2),
        ("def f(self):\n    for self.other.woken in ():\n        pass", 2),
    ],
)
def test_a_write_is_found(source, line):
    """The check itself, on each kind of statement that writes."""
    owner = "class Waiter:\n    __slots__ = ('woken',)"
    assert [*foreign_writes({"owner.py": owner, "other.py": source})] == [("other.py", line, "woken")]
    assert [*foreign_writes({"owner.py": owner + "\n" + source})] == []
