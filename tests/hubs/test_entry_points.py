"""Entry points of other packages, which may be wrong or lead to what is broken: their hub is of no use, all else is."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.cli import MAIN, ONLY, python
from support.cli import greenzmq as command

import greenzmq
from greenzmq.hubs import known_hubs, registry
from greenzmq.hubs.selector import SelectorHub

#: Hubs that are broken in all ways that other people's code can be. `NAME` is the module's own.
MODULE = """
from greenzmq.hubs.base import Hub
from greenzmq.hubs.selector import SelectorHub

class Good(SelectorHub):
    name = "good"

class Constructor(SelectorHub):
    def __init__(self):
        raise KeyError("no such setting")

class Get(SelectorHub):
    @classmethod
    def get(cls):
        raise OSError("no such device")

class Current(SelectorHub):
    @classmethod
    def current(cls):
        raise ZeroDivisionError("nobody home")

class Half(Hub):
    name = "half"

class Sealed(SelectorHub):
    def __init_subclass__(cls):
        raise TypeError("sealed")
"""

_numbers = itertools.count()


class Packages:
    """A folder with packages, on the path of this process and of its children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = f"odd_hubs_{next(_numbers)}"  # a new one each time, since Python keeps what it has imported
        self.write(self.module, MODULE)
        self.write(f"{self.module}_syntax", "this is no Python")
        self.write(f"{self.module}_raises", "raise RuntimeError('no licence')")

    def write(self, module: str, source: str) -> None:
        (self.folder / f"{module}.py").write_text(source)

    def add(
        self, package: str, entry_points: str, metadata: str = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
    ) -> None:
        """Install a package with this entry_points.txt."""
        (info := self.folder / f"{package.replace('-', '_')}-1.0.dist-info").mkdir()
        (info / "METADATA").write_text(metadata.format(package))
        (info / "entry_points.txt").write_bytes(entry_points.format(module=self.module).encode("latin-1"))

    def point(self, package: str, **hubs: str) -> None:
        """Install a package that names these hubs."""
        self.add(package, "[greenzmq.hubs]\n" + "".join(f"{name} = {value}\n" for name, value in hubs.items()))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(registry, "_classes", {})
    yield Packages(tmp_path)
    for module in [name for name in sys.modules if name.startswith("odd_hubs_")]:
        del sys.modules[module]


MALFORMED = {
    "empty": "",
    "no module": ":x",
    "dots": "..:x",
    "no attribute": "{module}",
    "colons": "a:b:c",
    "spaces": "one two:three",
    "number": "1:2",
}


def told(call: Callable[[], object], kind: type[greenzmq.HubError] = greenzmq.UnknownHubError) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_malformed(packages: Packages, value: str) -> None:
    """It is shown as what it is wherever hubs are listed, and nobody else's message is lost.

    Seen to fail when `known_hubs` asked each entry point for its module: an AttributeError took the place of the error.
    """
    packages.point("odd", odd=value)
    packages.point("decent", decent="{module}:Good")
    (odd,) = (hub for hub in known_hubs() if hub.name == "odd")
    shown = repr(value.format(module=packages.module))
    assert odd.fault == f"the entry point of package odd says {shown}, not 'package.module:Class'"
    assert not odd.installed
    wrong = told(lambda: greenzmq.Context(hub="nope"))
    assert re.search(r"no hub is named 'nope'\. Installed here: .*selector.*, decent[^.]*\. ", wrong)
    assert f"Unusable: 'odd' ({odd.fault})." in wrong
    assert f"hub 'odd' cannot be used: {odd.fault}. " in told(lambda: greenzmq.use_hub("odd"))
    context = greenzmq.Context(hub="decent")
    context.term()


BROKEN = {
    "no module": ("no_such_module_at_all:Hub", "No module named 'no_such_module_at_all'"),
    "no such class": ("{module}:Nothing", "no attribute 'Nothing'"),
    "syntax": ("{module}_syntax:Hub", "SyntaxError: "),
    "raises": ("{module}_raises:Hub", "RuntimeError: no licence"),
    "abstract": ("greenzmq.hubs.base:Hub", "greenzmq.hubs.base:Hub is abstract and lacks call_later, "),
    "half": ("{module}:Half", ":Half is abstract and lacks call_later, "),
    "no hub": ("os:getcwd", "is not a hub"),
}
UNSTARTABLE = {
    "constructor": ("{module}:Constructor", "KeyError: 'no such setting'"),
    "get": ("{module}:Get", "OSError: no such device"),
    "current": ("{module}:Current", "ZeroDivisionError: nobody home"),
}


@pytest.mark.parametrize(("value", "says"), BROKEN.values(), ids=BROKEN)
def test_broken(packages: Packages, monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    """Whatever its module does, who asks for the hub gets an `UnknownHubError`, at once if that is possible.

    Seen to fail when only import errors were caught, and when an abstract class was one as any other.
    """
    packages.point("odd", odd=value)
    error = told(lambda: greenzmq.Context(hub="odd"))
    assert says in error
    assert "'odd', from package odd" in error
    path = value.format(module=packages.module)
    assert says in told(lambda: greenzmq.use_hub(path))
    assert "no hub is named 'nope'" in told(lambda: greenzmq.Context(hub="nope"))
    for name in ("odd", path):
        monkeypatch.setenv("GREENZMQ_HUB", name)
        error = told(greenzmq.GreenEvent().wait)
        assert error.startswith(f"$GREENZMQ_HUB says {name!r}: ")
        assert says in error


@pytest.mark.parametrize(("value", "says"), UNSTARTABLE.values(), ids=UNSTARTABLE)
def test_unstartable(packages: Packages, monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    """A hub that cannot be made is an error of each wait, which names the class, and who has said so."""
    packages.point("odd", odd=value)
    broken = f"hub {value.format(module=packages.module)} cannot be started: {says}"
    with ThreadPoolExecutor(1) as threads:  # one that has no hub yet
        sleep = threads.submit(lambda: greenzmq.hub("odd").sleep())
        assert told(sleep.result, greenzmq.HubError) == broken
        monkeypatch.setenv("GREENZMQ_HUB", "odd")
        wait = threads.submit(greenzmq.GreenEvent().wait)
        assert told(wait.result, greenzmq.HubError) == f"$GREENZMQ_HUB says 'odd': {broken}"


def test_an_abstract_class() -> None:
    """The same for a class that is given itself."""

    class Half(SelectorHub):
        pass

    Half.__abstractmethods__ = frozenset({"switch"})
    assert "Half is abstract and lacks switch" in told(lambda: greenzmq.use_hub(Half))


def test_two_packages_with_one_name(packages: Packages) -> None:
    """Neither wins: the error names both. Two that mean the same are one."""
    packages.point("odd-one", odd="{module}:Good", same="{module}:Good")
    packages.point("odd-two", odd="{module}:Get", same="{module}:Good")
    (odd,) = (hub for hub in known_hubs() if hub.name == "odd")
    for package, name in (("odd-one", "Good"), ("odd-two", "Get")):
        assert f"'{packages.module}:{name}' of package {package}" in odd.fault
    assert odd.fault in told(lambda: greenzmq.Context(hub="odd"))
    (same,) = (hub for hub in known_hubs() if hub.name == "same")
    assert (same.fault, same.installed) == ("", True)
    greenzmq.Context(hub="same").term()


def test_built_in_names(packages: Packages) -> None:
    """A name that greenzmq itself gives cannot be taken."""
    packages.point("odd", selector="{module}:Get", threading="{module}:Get")
    assert [hub.path for hub in known_hubs() if hub.name == "selector"] == ["greenzmq.hubs.selector:SelectorHub"]
    assert [hub.path for hub in known_hubs() if hub.name == "threading"] == ["greenzmq.hubs.threading:ThreadingHub"]
    greenzmq.Context(hub="threading").term()


UNREADABLE: dict[str, Callable[[Packages], object]] = {
    "no assignment": lambda packages: packages.add("odd", "[greenzmq.hubs]\nnothing here\n"),
    "encoding": lambda packages: packages.add("odd", "[greenzmq.hubs]\nh\xfcb = a:B\n"),
    "no metadata": lambda packages: packages.add("odd", "[greenzmq.hubs]\nodd = a:b:c\n", ""),
    "no section": lambda packages: packages.add("odd", "odd = a:b:c\n"),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_unreadable_files(packages: Packages, how: str) -> None:
    """A package whose files make no sense at all takes away its own hubs only.

    Seen to fail when the standard library's survey was all there was: it raises over the first such package.
    """
    UNREADABLE[how](packages)
    packages.point("decent", decent="{module}:Good")
    assert "decent" in {hub.name for hub in known_hubs() if hub.installed}
    assert re.search("Installed here: .*decent", told(lambda: greenzmq.Context(hub="nope")))
    greenzmq.Context(hub="decent").term()


@pytest.mark.parametrize(("how", "why"), [("no assignment", "TypeError: "), ("encoding", "UnicodeDecodeError: ")])
@pytest.mark.parametrize("metadata", ["Name: odd\n", ""], ids=["named", "nameless"])
def test_what_is_left_out_is_told(packages: Packages, how: str, why: str, metadata: str) -> None:
    """Who asks for its hub learns which package was left out, and why. Seen to hear only that there is none."""
    UNREADABLE[how](packages)
    info = packages.folder / "odd-1.0.dist-info"
    (info / "METADATA").write_text(metadata)
    which = "package odd" if metadata else f"a package without a name in {info}"
    said = f"Left out, since its entry points cannot be read: {which} ({why}"
    for name in ("odd", "decent"):
        error = told(lambda name=name: greenzmq.Context(hub=name))  # type: ignore[misc]
        assert f"no hub is named {name!r}" in error
        assert said in error


def test_nothing_is_left_out(packages: Packages) -> None:
    """A package that can be read is no reason to speak of it, though its hub is of no use."""
    packages.point("odd", odd="a:b:c")
    assert "Left out" not in told(lambda: greenzmq.Context(hub="nope"))


SAMPLES = ["", "no_such_module_at_all:Hub", "greenzmq.hubs.base:Hub", "{module}_raises:Hub", "{module}:Get"]


@pytest.mark.parametrize("value", SAMPLES)
def test_the_commands(packages: Packages, value: str) -> None:
    """`info` shows the broken hub beside the others, `demo` says which one it is; neither shows a traceback.

    `info` says as well which package was left out.
    """
    packages.point("odd", odd=value)
    packages.add("torn", "[greenzmq.hubs]\nh\xfcb = a:B\n")
    program = ONLY.format(only=["odd", "selector"]) + MAIN
    info = python("-c", program, "info")
    assert (info.returncode, info.stderr) == (0, "")
    assert re.search(r"^odd .*(broken|fails: ).*odd", info.stdout, re.MULTILINE)
    assert re.search(r"^selector ", info.stdout, re.MULTILINE)
    assert "Left out, since its entry points cannot be read: package torn (UnicodeDecodeError: " in info.stdout
    demo = command("demo", "--hub", "odd", "--dir", packages.folder)
    assert demo.returncode in (1, 2)
    assert "Traceback" not in demo.stderr
    assert "odd" in demo.stderr
