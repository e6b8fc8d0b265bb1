"""Which hub a greenlet waits on: section 3 of the design as a table, one process for each situation."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.children import Child, Children, Done, need, run
from support.situations import CHILDREN, RIGHT, Error, Hub

import greenzmq
from greenzmq.hubs.selector import SelectorHub


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """All of this run's situations, on their way."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", CHILDREN)
def test_situation(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """The hub is the expected one by the expected rule, or the error says what to do; asking leaves nothing behind."""
    need(request, CHILDREN[child])
    done = children[child]
    assert (done.status, done.err) == (0, "")
    answers = json.loads(done.out)
    assert len(answers) == len(RIGHT[child]), answers
    for answer, right in zip(answers, RIGHT[child], strict=True):
        check_side_effects(answer)
        if isinstance(right, Hub):
            check_hub(answer, right)
        else:
            check_error(answer, right)


def check_side_effects(answer: dict[str, Any]) -> None:
    """Importing greenzmq, deciding, making sockets, bind and connect import no runtime; nor do messages make a hub."""
    assert answer.get("imported", []) == []
    assert answer.get("created", []) == []


def check_hub(answer: dict[str, Any], right: Hub) -> None:
    assert answer["decided"] == [right.said or right.name, right.rule]
    assert answer["waited"] == right.name
    assert {*answer["made"]} <= {right.name, *(["selector"] if right.name == "foreign" else [])}


def check_error(answer: dict[str, Any], right: Error) -> None:
    """Raised when the context is made, if it can be known then; else at the wait; by `decide` if it cannot tell."""
    refused = answer.get("refused") or answer["waited"]
    assert refused[0] == right.kind, refused
    for text in right.says:
        assert text in refused[1]
    if "refused" in answer:
        return
    assert answer["decided"] == (refused if right.decides is None else [right.decides.name, right.decides.rule])
    assert answer["made"] == []


TEMPORARY_FOLDER = """
import {0}
import {1}
tempfile.TemporaryDirectory().cleanup()
import greenzmq
print(greenzmq.hub().name)
"""


@pytest.mark.parametrize("order", [("eventlet", "tempfile"), ("tempfile", "eventlet")], ids="-".join)
def test_the_hub_of_a_temporary_folder(order: tuple[str, str], request: pytest.FixtureRequest) -> None:
    """eventlet's import brings tempfile since Python 3.11, with its own `os`, whose calls make a hub of eventlet's.

    It is the import of eventlet's DNS that does, which other tests go without.
    """
    child = Child(TEMPORARY_FOLDER.format(*order), (("EVENTLET_NO_GREENDNS", "no"),), ("eventlet",))
    need(request, child)
    is_eventlets = order[0] == "eventlet" and sys.version_info >= (3, 11)
    assert run(child) == Done(0, "eventlet\n" if is_eventlets else "selector\n", "")


class OfAnother(SelectorHub):
    """A hub of another package, since its module is none of greenzmq's."""

    name = "another"


def test_in_the_greenlet_of_a_hub_of_another_package():
    """A wait in a callback is told, though nothing names the hub. Seen to start a selector hub there, and to hang."""
    told: list[str] = []

    def callback() -> None:
        try:
            greenzmq.GreenEvent().wait()
        except greenzmq.BlockingCallError as error:
            told.append(str(error))

    def use() -> None:
        hub = greenzmq.hub(OfAnother)
        hub.hub.call_soon(callback)
        hub.sleep(0.001)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(told) == 1
    assert "OfAnother" in told[0]
