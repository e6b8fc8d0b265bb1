"""What is public is said in one place, docs/_ext/public.py, and has docstrings that say what a user needs."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import zmq

import greenzmq

ROOT = Path(__file__).parents[2]


def load_public() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public", ROOT / "docs" / "_ext" / "public.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


said = load_public()


def public_names() -> Iterator[tuple[str, str]]:
    """Each public name with its module, without what is pyzmq's own."""
    for module, names in said.PUBLIC.items():
        theirs = {*zmq.__all__} if module == "greenzmq" else set()
        for name in importlib.import_module(module).__all__ if names == said.ALL else names:
            if name not in theirs or getattr(greenzmq, name) is not getattr(zmq, name):
                yield module, name


NAMES = sorted({*public_names()})


@pytest.mark.parametrize("namespace", said.NAMESPACES)
def test_a_namespace_has_the_names_of_the_package(namespace, request):
    """All that `greenzmq` has, each namespace has, but for what would have no meaning there."""
    try:
        module = importlib.import_module(f"greenzmq.{namespace}")
    except greenzmq.MissingHubError as error:
        if not request.config.getoption("--skip-missing-hubs"):
            raise
        pytest.skip(str(error))
    other = {"MonitorEvents"} if namespace == "aio" else set()  # there it is AsyncMonitorEvents
    assert {*greenzmq.__all__} - {*module.__all__} == other


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_it_is_there(module, name):
    """Each public name exists where it is said to be."""
    assert hasattr(importlib.import_module(module), name)
