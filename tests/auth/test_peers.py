"""The lines of an authenticator in programs of their own: with pyzmq's, and where a runtime has patched the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from programs.auth_lines import BETTER, LINES
from support.children import Child, Children, need
from support.forked import GREENZMQ

NATIVE = "from programs import auth_lines; auth_lines.run_native({!r})"
#: Seconds within which pyzmq's has done what it does, or hangs.
LIMIT = 2
THEIRS = {name: Child(NATIVE.format(name), limit=LIMIT, imported=GREENZMQ) for name in BETTER}
PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
PATCHED = {
    f"patched {runtime}": Child(
        f"{patch}\nfrom programs import auth_lines\nauth_lines.run_on({runtime!r})", needs=(runtime,), limit=50
    )
    for runtime, patch in PATCHES.items()
}
CHILDREN = THEIRS | PATCHED


@pytest.fixture(scope="module")
def children(request: pytest.FixtureRequest) -> Iterator[Children]:
    """The programs that this run needs."""
    running = Children.of_tests(request, CHILDREN)
    yield running
    running.close()


@pytest.mark.parametrize("child", THEIRS)
def test_pyzmqs_own_gets_it_wrong(child: str, children: Children) -> None:
    """It fails, or hangs. Should pyzmq have mended a line, take ``better`` off it, and out of the documentation."""
    done = children[child]
    fails = done.out.startswith(f"{child} fails: ")
    hangs = not done.out and f"Timeout (0:00:{LIMIT:02})" in done.err
    assert fails or hangs, done


@pytest.mark.parametrize("child", PATCHED)
def test_lines_where_the_runtime_has_patched(child: str, children: Children, request: pytest.FixtureRequest) -> None:
    """All lines hold in the main greenlet of a patched program."""
    need(request, CHILDREN[child])
    done = children[child]
    assert done.out.splitlines() == [f"{name} passes" for name in LINES], done
