"""`greenzmq.patch` in processes of its own: under gevent and eventlet, in every order of import, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.children import Child, Children, need

CHECKS = ["waits", "helpers", "devices", "forked", "unpatched"]
MONKEY = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
#: What a program begins with: {monkey} patches the standard library, {hub} is what `patch` is told.
ORDERS = {
    "runtime first": "{monkey}\nimport greenzmq; greenzmq.patch({hub})",
    "patch first": "import greenzmq; greenzmq.patch({hub})\n{monkey}",
    "zmq first": "import zmq, zmq.decorators, zmq.utils.garbage\n{monkey}\nimport greenzmq; greenzmq.patch({hub})",
    "namespace first": "{monkey}\nimport {green}\nimport greenzmq; greenzmq.patch({hub})",
    "all of zmq first": "{monkey}\nimport zmq.asyncio, zmq.devices, zmq.log.handlers\n"
    "import greenzmq; greenzmq.patch({hub})",
}
GREEN = {"gevent": "zmq.green", "eventlet": "eventlet.green.zmq"}
SAID = {"said": "{!r}", "by the rules": ""}


def program(runtime: str, order: str, said: str) -> Child:
    start = ORDERS[order].format(monkey=MONKEY[runtime], green=GREEN[runtime], hub=SAID[said].format(runtime))
    return Child(f"{start}\nfrom programs import patching\npatching.run({runtime!r})", needs=(runtime,))


RUN = {
    f"{runtime}, {order}, {said}": program(runtime, order, said)
    for runtime in MONKEY
    for order in ORDERS
    for said in SAID
}
PLAIN = {
    "stays": Child(
        "import greenzmq; greenzmq.patch()\nfrom programs import patching\npatching.stays()", needs=("tornado",)
    ),
    "stays, imported before": Child(
        "import zmq.asyncio, zmq.eventloop.zmqstream, greenzmq; greenzmq.patch()\n"
        "from programs import patching\npatching.stays()",
        needs=("tornado",),
    ),
    "awaitable": Child(
        "import greenzmq; greenzmq.patch(aio=True)\nfrom programs import patching\npatching.awaitable()",
        needs=("tornado",),
    ),
    "awaitable, later": Child(
        "import greenzmq; greenzmq.patch(); greenzmq.patch(aio=True); greenzmq.patch()\n"
        "from programs import patching\npatching.awaitable()",
        needs=("tornado",),
    ),
    "process device": Child(
        "import multiprocessing; multiprocessing.set_start_method('fork')\n"
        "import greenzmq; greenzmq.patch()\nfrom programs import patching\npatching.process_device()"
    ),
}
#: A program that is late in several ways, and one that is not. `lazy` must not be asked for anything.
LATE = """
import sys, types
import zmq
from zmq import Context, POLLIN, error
early, harmless, lazy = (types.ModuleType(name) for name in ("early", "harmless", "lazy"))
exec('''
import zmq, zmq.asyncio
class Mine(zmq.Context): pass
class Other(zmq.asyncio.Context): pass
context = Mine()
from zmq import Poller as P, proxy, zmq_poll, Frame
''', vars(early))
exec("import zmq; from zmq import POLLIN, Again", vars(harmless))
awaitable = types.ModuleType("awaitable")
exec("from zmq.asyncio import Context, Poller", vars(awaitable))
sys.modules["awaitable"] = awaitable
lazy.__getattr__ = lambda name: sys.exit(f"lazy was asked for {name}")
class Proxy:
    @property
    def __class__(self):
        sys.exit("an object was asked for its class")
harmless.proxy = Proxy()
sys.modules.update(early=early, harmless=harmless, lazy=lazy, nothing=None)
from programs import patching
import greenzmq
for call in (greenzmq.patch, greenzmq.patch, lambda: greenzmq.patch(aio=True), greenzmq.unpatch):
    print(patching.warned(call))
early.context.destroy()
"""
OTHERS_REPLACE = """
import zmq, greenzmq
from programs import patching
greenzmq.patch()
zmq.select = replaced = lambda *args: None
print(patching.warned(greenzmq.unpatch))
assert zmq.select is replaced
"""
SAME = """
import importlib, zmq, greenzmq
greenzmq.patch("selector")
for name in ("zmq.green", "eventlet.green.zmq"):
    module = importlib.import_module(name)
    print(module.Context is zmq.Context, module.error is zmq.error, hasattr(module, "nonsense"), module.POLLIN == 1)
"""
NO_RUNTIME = """
import sys, greenzmq
greenzmq.patch()
print(sorted({"gevent", "eventlet"} & {*sys.modules}))
"""
TOLD = {
    "late": Child(LATE),
    "others replace": Child(OTHERS_REPLACE),
    "same": Child(SAME, needs=("eventlet",)),
    "no runtime": Child(NO_RUNTIME),
}
CHILDREN = RUN | PLAIN | TOLD


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


@pytest.mark.parametrize("child", RUN)
def test_other_peoples_code_waits_on_the_hub(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """Every spelling of an import, pyzmq's helpers and devices, a forked child; and `unpatch` takes all of it back."""
    assert output(child, children, request) == CHECKS


@pytest.mark.parametrize("child", PLAIN)
def test_what_stays_pyzmqs(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """`zmq.asyncio`, tornado's streams, pyzmq's thread for zero-copy, and devices in processes."""
    assert output(child, children, request) == [child.partition(",")[0]]


@pytest.mark.parametrize("child", ["late"])
def test_who_came_first_is_told(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The names by module, once, blamed on the caller. Nothing is asked that could answer for itself."""
    first, second, third, last = output(child, children, request)
    assert "late" in first
    assert "__main__ (Context); early (Mine, P, context, proxy, zmq_poll). Call" in first
    assert "harmless" not in first
    assert "they wait: awaitable (Context, Poller). Call" in third
    assert first[2:].startswith("patching.py: ")  # where `call()` stands
    assert (second, last) == ("[]", "[]")


@pytest.mark.parametrize("child", ["others replace"])
def test_unpatch_leaves_what_others_have_replaced(
    child: str, children: Children, request: pytest.FixtureRequest
) -> None:
    """And says so."""
    (told,) = output(child, children, request)
    assert "greenzmq.unpatch() leaves names that others have replaced since the patch: zmq.select" in told


@pytest.mark.parametrize("child", ["same"])
def test_the_namespaces_are_on_the_hub_that_was_said(
    child: str, children: Children, request: pytest.FixtureRequest
) -> None:
    """`zmq.green` without gevent, `eventlet.green.zmq` without eventlet: python-socketio imports that on every hub."""
    assert output(child, children, request) == ["True True False True"] * 2


@pytest.mark.parametrize("child", ["no runtime"])
def test_the_patch_brings_no_runtime(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """Neither gevent nor eventlet, unless it is told so."""
    assert output(child, children, request) == ["[]"]
