"""`greenzmq.main`: a program's main function on every hub, by one word."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import os
import signal
from collections.abc import Iterator

import pytest
from support.children import Child, Children, need
from support.forked import GREENZMQ, RUNTIMES, run

import greenzmq

WORDS = ("gevent", "eventlet", "selector", "asyncio", "uvloop", "threading")
NEEDS = {"gevent": ("gevent",), "eventlet": ("eventlet",), "uvloop": ("uvloop",)}
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
WAYS = ("waits", "computes", "computes_beside")

CHILDREN = {
    **{f"report {word}": f"report({word!r})" for word in WORDS},
    **{f"deliver {word}": f"deliver({word!r})" for word in WORDS},
    **{
        f"{way} {name} {word}": f"end_by_signal({word!r}, {int(number)}, '{way} {name}')"
        for way in WAYS
        for name, number in SIGNALS.items()
        for word in WORDS
    },
}
CHILDREN = {
    name: Child(f"from programs import main; main.{call}", needs=NEEDS.get(name.split()[-1], ()), imported=GREENZMQ)
    for name, call in CHILDREN.items()
}


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("report")])
def test_main_returns_raises_and_cleans_up(request, children, child):
    """The result and the exception come out; tasks that still run are killed, contexts destroyed, on every hub."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.out.splitlines(), done.err) == (["42 ['inner', 'outer'] True [True, True]", "'told' True"], "")


FORK = """
import os, sys, zmq, greenzmq
def function():
    context = greenzmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind("inproc://fork")
    push.connect("inproc://fork")
    task = greenzmq.hub().spawn(pull.recv)
    greenzmq.hub().sleep(0.01)
    child = os.fork()
    if not child:
        sys.exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    push.send(b"message")
    print(status, task.get().decode())
greenzmq.main(function, hub=sys.argv[1])
"""


@pytest.mark.parametrize("word", WORDS)
def test_a_forked_child_leaves_by_its_own_status(word):
    """It does not end what its parent has made: a task that waits, a context.

    Seen to fail on asyncio and uvloop with a HubError, and status 1, when main waited for the end of the parent's task.
    """
    for module in NEEDS.get(word, ()):
        pytest.importorskip(module)
    done = run(["-c", FORK, word], environment={**os.environ}, timeout=30, imports=RUNTIMES)
    assert (done.stdout, done.stderr) == ("0 message\n", "")


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith("deliver")])
def test_what_was_sent_arrives(request, children, child):
    """A function that returns right after its last send loses nothing: main waits for what its contexts have to send.

    Seen to fail when main held its contexts by weak references: one that the function had dropped ended beside the
    program, which was gone before the peer came.
    """
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.out, done.err) == ("late\nthe last words\n", "")


@pytest.mark.parametrize("child", [name for name in CHILDREN if name.startswith(WAYS)])
def test_signals_are_raised_in_the_function(request, children, child):
    """Ctrl-C is a KeyboardInterrupt in it, SIGTERM if asked for a SystemExit, whichever greenlet runs at that moment.

    Seen to fail on asyncio with the handler of `asyncio.run`: a CancelledError.
    """
    need(request, CHILDREN[child])
    name = child.split()[1]
    expected = "KeyboardInterrupt " if name == "SIGINT" else f"SystemExit {128 + SIGNALS[name]}"
    done = children[child]
    assert done.out.splitlines() == [expected, f"main {expected.split(maxsplit=1)[0]}", "True True"], done.err


def test_main_under_a_running_loop_names_the_cure():
    """Where a loop runs already there is a better word."""

    async def program():
        for hub in ("asyncio", None):
            with pytest.raises(greenzmq.HubError, match=r"await greenzmq\.asyncio\.run"):
                greenzmq.main(int, hub=hub)

    asyncio.run(program())


def test_main_in_a_task_uses_its_hub(hub):
    """Where a hub runs already, as in a test or a plugin, the function runs on it."""
    assert greenzmq.main(lambda: greenzmq.hub().name) == hub.name
    assert greenzmq.main(greenzmq.hub, hub=hub).hub is hub.hub


def test_errors():
    """A hub that is not there, and signals in a thread, are told before anything runs."""
    ran = []
    with pytest.raises(greenzmq.UnknownHubError):
        greenzmq.main(ran.append, 1, hub="gevnt")
    assert ran == []


@pytest.mark.parametrize("word", WORDS)
def test_namespace(request, word):
    """Each word that a program's settings may have gives a namespace."""
    need(request, Child("", needs=NEEDS.get(word, ())))
    found = greenzmq.namespace(word)
    assert found is importlib.import_module(f"greenzmq.{'asyncio' if word == 'uvloop' else word}")


def test_main_of_a_coroutine(hub):
    """A coroutine function is refused before a loop is started, and what returns a coroutine fails; each says why.

    Seen to fail: on a hub that ran already, main returned the coroutine.
    """

    async def program():
        raise AssertionError("it has run")

    for function in (program, functools.partial(program), lambda *_: program()):
        with pytest.raises(TypeError, match=r"plain functions: in a coroutine write await .*program"):
            greenzmq.main(function)


def test_namespace_of_an_unknown_word():
    """A word that means nothing is told."""
    with pytest.raises(greenzmq.UnknownHubError):
        greenzmq.namespace("twisted")


def test_namespace_of_a_hub_of_another_package(tmp_path, monkeypatch):
    """It has none, and the error says what to write in place of it. Seen to be a ModuleNotFoundError of greenzmq's."""
    (tmp_path / "of_another.py").write_text("import greenzmq.hubs.selector as s\nclass Hub(s.SelectorHub): name = 'x'")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(greenzmq.UnknownHubError, match=r"comes from another package; .*Context\(hub="):
        greenzmq.namespace("of_another:Hub")
