"""The messages in the package's sources: of errors, of warnings, and of what is logged or told on standard error."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import greenzmq

__all__ = ["Message", "messages"]

PACKAGE = Path(greenzmq.__file__).parent
#: In these the message is the rule of the contract that is broken; or it stands below the command's usage.
SKIPPED = ("testing/contract/", "cli/arguments.py", "cli/endpoints.py")
#: They have no text of ours.
WITHOUT_TEXT = {"NotImplementedError", "StopIteration", "StopAsyncIteration", "CancelledError", "GreenletExit"}
#: What comes out of a module that looks for an attribute or a feature, and is caught there or is Python's own text.
INTERNAL = {"sockets/accelerator.py": "ImportError", "process/unpatched.py": "ImportError"}


@dataclass(frozen=True)
class Message:
    """A message as the source has it, with ``…`` for what is put in."""

    kind: str
    text: str
    place: str


def messages() -> list[Message]:
    """Every message, in the order of files and lines."""
    paths = [*sorted(PACKAGE.rglob("*.py")), PACKAGE.with_name("pytest_greenzmq.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    functions = {
        node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
    found = []
    for path, tree in trees.items():
        name = path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else path.name
        if not name.startswith(SKIPPED):
            found += [message for message in _in_file(name, tree, functions) if INTERNAL.get(name) != message.kind]
    return list(dict.fromkeys(found))


def _in_file(name: str, tree: ast.Module, functions: dict[str, ast.FunctionDef]) -> Iterator[Message]:
    for scope in ast.walk(tree):
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for call in (node for node in ast.walk(scope) if isinstance(node, ast.Call)):
                for kind, argument in _spoken(call):
                    for text in _texts(argument, scope, functions):
                        yield Message(kind, re.sub(r"%[rsg]", "…", text), f"{name}:{call.lineno}")


def _spoken(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The arguments of a call that are messages, if it makes an error or a warning, or writes to a log."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called in {"warn", "warn_explicit"}:
        kinds = [getattr(arg, "id", "") for arg in call.args[1:3]]
        yield next((kind for kind in kinds if kind.endswith("Warning")), "UserWarning"), call.args[0]
    elif called == "tell" and call.args and ast.unparse(call.args[0]) in {"logging.WARNING", "logging.ERROR"}:
        yield "log", call.args[1]
    elif called == "call_exception_handler" and isinstance(call.args[0], ast.Dict):  # asyncio's, which logs it
        said = dict(zip((getattr(key, "value", None) for key in call.args[0].keys), call.args[0].values, strict=True))
        yield "log", said["message"]
    elif _is_error(called) and called not in WITHOUT_TEXT:
        yield from ((called, argument) for argument in call.args)


def _is_error(name: str) -> bool:
    builtin = getattr(builtins, name, None)
    if isinstance(builtin, type) and issubclass(builtin, BaseException):
        return True
    ours = name.endswith(("Error", "Timeout")) and name.lstrip("_")[:1].isupper()
    return ours or name in {"kind", "ours"}  # the class of another error, with more said


def _texts(node: ast.expr, scope: ast.AST, functions: dict[str, ast.FunctionDef]) -> list[str]:
    """What a message may be: itself, what its variable was given, or what the function returns that makes it."""
    if isinstance(node, ast.Name):
        given = [
            each.value
            for each in ast.walk(scope)
            if isinstance(each, ast.Assign) and node.id in {getattr(target, "id", "") for target in each.targets}
        ]
        return [text for value in given for text in _texts(value, scope, {})]
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in functions:
        made = functions[getattr(node.func, "id", getattr(node.func, "attr", ""))]
        returned = [each.value for each in ast.walk(made) if isinstance(each, ast.Return) and each.value is not None]
        return [text for value in returned for text in _texts(value, made, {})]
    if isinstance(node, ast.Tuple):
        return [text for each in node.elts for text in _texts(each, scope, functions)]
    text = template(node)
    return [text] if " " in text and sum(map(str.isalpha, text)) > 1 else []


def template(node: ast.expr) -> str:
    """A string or an f-string, with ``…`` for what is put in; empty for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
