"""`Waiter.reason`: what a wait is for is told by the waiter, and by no frame's locals. What is told of each wait is in
`test_inspection.py`.
"""

from __future__ import annotations

import ast
import gc
import inspect
import weakref
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.inside import greenlet_of
from support.sockets import until

import greenzmq
from greenzmq import diagnostics
from greenzmq.waiting.waiter import Waiter, new_waiter


def of_task(task: greenzmq.Task[Any]) -> list[diagnostics.ParkedGreenlet]:
    found = (parked for parked in greenzmq.waiters() if parked.greenlet is greenlet_of(task))
    return [parked for parked in found if parked.what != "its next turn"]


def test_a_wait_without_a_reason(hub):
    """Where nobody has said what a wait is for, that is what is told."""
    task = hub.spawn(lambda: new_waiter(hub.hub).park())
    until(hub, lambda: of_task(task))
    assert of_task(task)[0].what == "for an unknown reason"
    task.kill()


def test_a_private_class(hub, context):
    """A program's own class tells its calls, whatever it is called. Seen to fail when those of a `_Class` told none."""

    class _Own(greenzmq.Socket):
        pass

    pull = context.socket(zmq.PULL, socket_class=_Own)
    task = hub.spawn(pull.recv)
    until(hub, lambda: of_task(task))
    assert of_task(task)[0].call == "recv"
    task.kill()


def test_the_reason_ends_with_the_wait(hub):
    """A waiter that outlives its wait, as one does whose traceback is kept, keeps nothing of what it was for."""
    event = greenzmq.GreenEvent()
    waiter = new_waiter(hub.hub, reason=event)
    reference = weakref.ref(event)
    del event
    assert reference() is not None
    waiter.close()
    assert reference() is None


def test_no_cycle_outlives_a_wait(hub):
    """What was waited for is gone when its owner drops it, without a garbage collection."""

    def wait() -> list[weakref.ref[Any]]:
        event = greenzmq.GreenEvent()
        poller = greenzmq.Poller(hub=hub)
        poller.register(event, zmq.POLLIN)
        tasks = [hub.spawn(wait) for wait in (poller.poll, event.wait)]
        until(hub, lambda: all(of_task(task) for task in tasks))
        for task in tasks:
            task.kill()
        return [weakref.ref(what) for what in (event, poller)]

    gc.collect()
    gc.disable()
    try:
        references = wait()
        hub.sleep(0.01)
        assert [reference() for reference in references] == [None] * 2
    finally:
        gc.enable()


def test_to_ask_keeps_nothing(hub):
    """A socket is gone when its owner drops it, whoever asked meanwhile. Seen to fail when frames' locals were read."""

    def wait(name: str) -> weakref.ref[Any]:
        pull = context.socket(zmq.PULL)
        task = hub.spawn(getattr(pull, name))
        hub.sleep(0.01)
        greenzmq.waiters()
        task.kill()
        pull.close()
        return weakref.ref(pull)

    gc.collect()
    gc.disable()
    try:
        with greenzmq.Context(hub=hub.hub) as context:
            references = [wait(name) for name in ("poll", "recv")]
            hub.sleep(0.01)
            assert [reference() for reference in references] == [None] * 2
    finally:
        gc.enable()


# -- the source --------------------------------------------------------------------------------------------------------


class Locals(ast.NodeVisitor):
    """Where a file reads locals of a frame: the function, and which one; "?" for all that is not one literal name."""

    def __init__(self) -> None:
        self.function = ""
        self.found: list[tuple[str, str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self.function = self.function, node.name
        self.generic_visit(node)
        self.function = before

    def visit_Call(self, node: ast.Call) -> None:
        got = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "get" else None
        if isinstance(got, ast.Attribute) and got.attr == "f_locals" and isinstance(node.args[0], ast.Constant):
            self.found.append((self.function, str(node.args[0].value)))
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "f_locals":
            self.found.append((self.function, "?"))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value == "f_locals":
            self.found.append((self.function, "?"))


def locals_read(source: str) -> list[tuple[str, str]]:
    visitor = Locals()
    visitor.visit(ast.parse(source))
    return visitor.found


def test_no_local_is_read_but_one():
    """What a function calls its locals is its own business, but for `self` of `Waiter.park`."""
    package = Path(greenzmq.__file__).parent
    files = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in package.rglob("*.py")}
    found = {file: read for file, source in files.items() if (read := locals_read(source))}
    assert found == {"diagnostics.py": [("_parked_in", "self")]}
    assert [*inspect.signature(Waiter.park).parameters] == ["self"]


@pytest.mark.parametrize(
    "source", ["frame.f_locals['self']", "frame.f_locals.get(name)", "getattr(frame, 'f_locals')", "x = f.f_locals"]
)
def test_a_local_that_is_read_is_found(source):
    """The check itself."""
    assert locals_read(source) == [("", "?")]
