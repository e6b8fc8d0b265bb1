"""What pip installs: nox sets ``GREENZMQ_TEST_INSTALLED`` where the wheel is what the tests run on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import greenzmq
from greenzmq.sockets import accelerator

pytestmark = pytest.mark.skipif(
    "GREENZMQ_TEST_INSTALLED" not in os.environ, reason="only an installed greenzmq has this; run nox -s tests"
)

HUBS = metadata.entry_points(group="greenzmq.hubs")


def test_the_installed_package_is_tested():
    """Neither the tests nor the processes that they start import the checkout by accident."""
    command = [sys.executable, "-c", "import greenzmq; print(greenzmq.__file__)"]
    seen_by_a_child = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert seen_by_a_child == greenzmq.__file__
    assert Path(greenzmq.__file__).is_relative_to(sys.prefix)


def test_version():
    """The version that pip knows is the one that the package names."""
    assert metadata.version("greenzmq") == greenzmq.__version__


def test_the_fast_path_that_nox_says():
    """The extension is there and used, or switched off, or left out of the wheel: as the session wants to test it."""
    assert accelerator.status().partition(":")[0] == os.environ["GREENZMQ_TEST_FAST_PATH"]


def test_typed():
    """Type checkers are told that the annotations count."""
    assert Path(greenzmq.__file__).with_name("py.typed").is_file()


def test_what_it_has():
    """The package and pytest's plugin alone: what measures and tests it stays in the checkout."""
    folders = {file.parts[0] for file in metadata.files("greenzmq") or () if ".." not in file.parts}
    folders -= {"__pycache__", *(folder for folder in folders if folder.endswith(".dist-info"))}
    assert folders == {"greenzmq", "pytest_greenzmq.py"}
    assert importlib.util.find_spec("greenzmq.benchmarks") is None
    assert "bench" not in metadata.metadata("greenzmq").get_all("Provides-Extra")


def test_the_plugin_of_pytest():
    """pytest finds it by its entry point."""
    (entry,) = (entry for entry in metadata.entry_points(group="pytest11") if entry.name == "greenzmq")
    assert entry.value == "pytest_greenzmq"


def test_what_it_needs():
    """CPython 3.10, pyzmq and greenlet, and nothing else."""
    requirements = [Requirement(line) for line in metadata.requires("greenzmq") or ()]
    always = {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert always == {"greenlet", "pyzmq"}
    assert metadata.metadata("greenzmq")["Requires-Python"] == ">=3.10"
    assert metadata.metadata("greenzmq")["License-Expression"] == "BSD-3-Clause"


def test_the_extra_all_has_every_runtime():
    """``greenzmq[all]`` asks for what each of the other extras for users asks for, by name or by the extra."""
    requirements = [Requirement(line) for line in metadata.requires("greenzmq") or ()]

    def asked_for(extra: str) -> set[str]:
        found = [r for r in requirements if r.marker is not None and r.marker.evaluate({"extra": extra})]
        others = {name for r in found if r.name == "greenzmq" for name in r.extras}
        return {r.name for r in found if r.name != "greenzmq"}.union(*map(asked_for, others))

    extras = {*(metadata.metadata("greenzmq").get_all("Provides-Extra") or ())} - {"all", "test"}
    assert {"gevent", "eventlet", "uvloop", "cli"} <= extras
    assert asked_for("all") == set().union(*map(asked_for, extras))


@pytest.mark.parametrize("name", sorted(HUBS.names))
def test_a_hub_of_the_entry_points_can_be_loaded(name):
    """Each entry point leads to the hub of that name, if its runtime is installed."""
    if name in {"gevent", "eventlet"} and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    assert HUBS[name].load().name == name


def test_both_commands_start():
    """The console script and ``python -m greenzmq`` are the same command."""
    script = Path(sys.executable).with_name("greenzmq")
    usages = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([script], [sys.executable, "-m", "greenzmq"])
    ]
    assert "demo" in usages[0]
    assert usages[0] == usages[1]
