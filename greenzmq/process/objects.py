"""All objects of a class, as the garbage collector knows them, without harm to other threads."""

from __future__ import annotations

import gc
from typing import TypeVar

__all__ = ["objects_of"]

T = TypeVar("T")


def objects_of(kind: type[T]) -> list[T]:
    """The living objects of a class that is written in Python, and of its subclasses, in any order.

    Fact: among the objects that `gc.get_objects` returns are tuples that other threads are just filling, and CPython
    raises `SystemError` in a thread whose tuple has got a second reference meanwhile. Choice: ask for what refers to
    the classes, as their instances do. That holds the GIL, and returns little else.
    """
    kinds: list[type[T]] = [kind]
    for each in kinds:
        kinds += each.__subclasses__()
    return [what for what in gc.get_referrers(*kinds) if issubclass(type(what), kind)]
