"""All objects of a class, while other threads go on."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator

import pytest

import greenzmq
from greenzmq.process.objects import objects_of


class Kind:
    """What is looked for."""


class Derived(Kind):
    """Of the same kind."""


class Pretends:
    """Says that it is of the kind, and is not."""

    @property
    def __class__(self) -> type:
        raise AssertionError("nobody may ask")


def test_they_are_found() -> None:
    """Those of the class and its subclasses, and no others; nothing keeps them."""
    kept = [Kind(), Derived(), Pretends(), Kind]
    right = {*map(id, kept[:2])}
    assert {*map(id, objects_of(Kind))} == right
    kept.clear()
    assert objects_of(Kind) == []


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_other_threads_go_on(hasty: None) -> None:
    """A tuple that another thread is just filling stays its own.

    Seen to be a SystemError in that thread, for every second or third call of `waiters`, when a loop in Python went
    through all objects.
    """
    ended, errors = threading.Event(), []

    def fill() -> None:
        try:
            while not ended.is_set():
                assert len(tuple(number for number in range(50))) == 50
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fill) for _ in range(2)]
    for thread in threads:
        thread.start()
    gc.collect()  # what is left to collect would make each look longer
    for _ in range(25):
        greenzmq.waiters()
    ended.set()
    for thread in threads:
        thread.join()
    assert errors == []
