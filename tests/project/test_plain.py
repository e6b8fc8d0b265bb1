"""greenzmq never looks up at call time what `greenzmq.patch` replaces in `zmq`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import greenzmq

#: What `greenzmq.patch` replaces in `zmq`.
REPLACED = {
    *("Context", "Socket", "Poller", "Frame", "Message", "MessageTracker", "SyncContext", "SyncSocket"),
    *("select", "zmq_poll", "proxy", "proxy_steerable", "device"),
}
#: The one file that takes them from there, and those that use greenzmq under the name zmq.
TAKES_THEM = {"sockets/plain.py"}
USES_OURS = {"cli/exchange.py"}


def looked_up(source: str) -> list[str]:
    """What a module takes from `zmq` by name, or looks up in it when it runs. Annotations are text, and not run."""
    tree = ast.parse(source)
    annotations: set[ast.AST] = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if (annotation := getattr(node, field, None)) is not None:
                annotations |= {*ast.walk(annotation)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node not in annotations:
            if node.value.id in {"zmq", "_zmq"} and node.attr in REPLACED:
                found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and not node.level and re.match(r"zmq(\.sugar.*)?$", node.module or ""):
            found += [f"line {node.lineno}: {name.name}" for name in node.names if name.name in REPLACED]
    return found


def test_nothing_replaced_is_looked_up():
    """Seen to fail: under patch, ``send(…, routing_id=1)`` called itself until the stack was full."""
    root = Path(greenzmq.__file__).parent
    sources = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    assert sources.keys() >= TAKES_THEM | USES_OURS
    wrong = {name: found for name, source in sources.items() if (found := looked_up(source))}
    assert {*wrong} - USES_OURS == TAKES_THEM, wrong


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("isinstance(x, zmq.Socket)", ["line 1: zmq.Socket"]),
        ("def f():\n    return _zmq.Context", ["line 2: _zmq.Context"]),
        ("from zmq import Poller", ["line 1: Poller"]),
        ("from zmq.sugar.frame import Frame as F", ["line 1: Frame"]),
        ("def f(x: zmq.Socket[Any]) -> zmq.Frame:\n    y: list[zmq.Frame] = zmq.POLLIN", []),
        ("from zmq.backend import Socket", []),
        ("from .plain import Socket", []),
    ],
)
def test_the_check_itself(source, found):
    """Run-time uses and imports are found; annotations, constants and the backend's classes are not meant."""
    assert looked_up(source) == found
