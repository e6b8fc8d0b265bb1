"""A plugin of pytest: tests that run on greenzmq's hubs, and on a stepping hub once for each of many seeds.

pytest loads every plugin that is installed, in every run. So this module stands outside of the package and imports
nothing of it until a test uses one of the fixtures: greenzmq imports zmq and greenlet, and these have to be imported
after what a program patches.

The fixtures, the mark, the options and the settings are listed in docs/testing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from greenzmq import Context, GreenHub
    from greenzmq.testing import SteppingHub

__all__ = ["greenzmq_context", "greenzmq_hub", "greenzmq_stepping"]

HUB, STEPPING = "greenzmq_hub", "greenzmq_stepping"
MARK = (
    "greenzmq(hubs=[...], seeds=100, timeout=60): the hubs and the seconds for a test of greenzmq_hub, "
    "and how many seeds for one of greenzmq_stepping"
)

_hub = pytest.StashKey["PendingHub"]()
_contexts = pytest.StashKey[list[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and settings."""
    group = parser.getgroup("greenzmq", "greenzmq: hubs and schedules")
    group.addoption(
        "--greenzmq-hub",
        action="append",
        metavar="NAME",
        help="run tests of greenzmq_hub on this hub, or on 'all' that are installed; may be given again",
    )
    group.addoption("--greenzmq-seeds", type=int, metavar="N", help="the seeds below N for tests of greenzmq_stepping")
    group.addoption("--greenzmq-seed", type=int, metavar="SEED", help="the one seed for tests of greenzmq_stepping")
    parser.addini("greenzmq_hubs", "hubs for tests of greenzmq_hub, or 'all'", type="args", default=["selector"])
    parser.addini("greenzmq_seeds", "how many seeds for tests of greenzmq_stepping", default="10")
    parser.addini("greenzmq_timeout", "seconds for tests of greenzmq_hub; 0 sets no limit", default="60")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each hub, or of each seed."""
    mark = _marked(metafunc.definition)
    if STEPPING in metafunc.fixturenames:
        seeds = _seeds(metafunc.config, mark)
        metafunc.parametrize(STEPPING, seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)
    elif HUB in metafunc.fixturenames:
        names = _names(metafunc.config, mark)
        metafunc.parametrize(HUB, names, ids=names, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run the body of a test of `greenzmq_hub` in a greenlet of its hub."""
    __tracebackhide__ = True
    pending = pyfuncitem.stash.get(_hub, None)
    if pending is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames  # as pytest's own hook does
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    _run(pending, pyfuncitem.obj, arguments, pyfuncitem.stash.get(_contexts, []))
    return True


@pytest.fixture
def greenzmq_hub(request: pytest.FixtureRequest) -> Iterator[GreenHub]:
    """The hub in whose greenlet the test's body runs, one after another of those that were chosen.

    At the end of the body its tasks are killed, and its contexts are destroyed. A body that takes longer than the limit
    fails, and says who waits for what. Beside `greenzmq_stepping` it is that hub, and the body runs as any other.
    """
    if STEPPING in request.fixturenames:
        import greenzmq

        yield greenzmq.hub(request.getfixturevalue(STEPPING))
        return
    limit = _marked(request.node).get("timeout", request.config.getini("greenzmq_timeout"))
    pending: Any = PendingHub(request.param, float(limit))
    request.node.stash[_hub] = pending
    yield pending
    del request.node.stash[_hub]


@pytest.fixture
def greenzmq_stepping(request: pytest.FixtureRequest) -> Iterator[SteppingHub]:
    """A `SteppingHub`, in one test after another with each of the seeds. The seed is in the test's id."""
    from greenzmq.testing import SteppingHub

    with SteppingHub(request.param) as stepping:
        yield stepping


@pytest.fixture
def greenzmq_context(request: pytest.FixtureRequest) -> Iterator[Context]:
    """A context on the test's hub, or on its stepping hub. Its sockets are closed without linger."""
    import greenzmq

    if STEPPING in request.fixturenames:
        stepping = request.getfixturevalue(STEPPING)
        context = greenzmq.Context(hub=stepping, turn=0)
    else:
        request.getfixturevalue(HUB)
        context = greenzmq.Context()
    request.node.stash[_contexts] = [context]
    yield context
    if not context.closed:
        context.destroy(0)


class PendingHub:
    """What fixtures get for `greenzmq_hub`. The test's own argument is the hub itself.

    Parameters
    ----------
    name : str
        The hub's name.
    limit : float
        Seconds for the body; 0 for no limit.
    """

    def __init__(self, name: str, limit: float) -> None:
        self.name = name
        self.limit = limit

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self!r} has no {name!r}: the hub runs in the body of the test, not in its fixtures")

    def __repr__(self) -> str:
        return f"<hub {self.name} of a test>"


def _run(pending: PendingHub, body: Callable[..., object], arguments: dict[str, Any], contexts: list[Any]) -> None:
    __tracebackhide__ = True
    import greenzmq

    def program() -> None:
        __tracebackhide__ = True
        hub = greenzmq.hub()
        if HUB in arguments:
            arguments[HUB] = hub
        _limited(hub, pending.limit, lambda: body(**arguments))

    try:
        greenzmq.main(program, hub=pending.name)
    finally:
        for context in contexts:  # only now: `main` has killed the tasks that wait on its sockets
            if not context.closed:
                greenzmq.main(context.destroy, 0, hub=pending.name)


def _limited(hub: GreenHub, limit: float, body: Callable[[], object]) -> None:
    """Call the body; if it takes longer than `limit` seconds, fail with a report of all that wait."""
    __tracebackhide__ = True
    if not limit:
        body()
        return
    from greenzmq.diagnostics import report

    over = TimeoutError()
    reports: list[str] = []

    def strike() -> None:
        reports.append(report())

    watching = hub.hub.call_later(limit * 0.999, strike)
    try:
        with hub.timeout(limit, over):
            body()
    except TimeoutError as error:
        if error is not over:
            raise
        raise AssertionError(f"the test has not ended after {limit:g} s\n{''.join(reports)}") from None
    finally:
        watching.cancel()


def _marked(node: Any) -> dict[str, Any]:
    """The arguments of the mark; the closest one counts."""
    arguments: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("greenzmq"))):
        if mark.args or set(mark.kwargs) - {"hubs", "seeds", "timeout"}:
            raise pytest.UsageError(f"{node.nodeid}: @pytest.mark.{MARK}")
        arguments |= mark.kwargs
    return arguments


def _names(config: pytest.Config, mark: dict[str, Any]) -> list[str]:
    names = config.getoption("--greenzmq-hub") or mark.get("hubs") or config.getini("greenzmq_hubs")
    names = [names] if isinstance(names, str) else list(names)
    if "all" not in names:
        return names
    from greenzmq.hubs import known_hubs

    return [hub.name for hub in known_hubs() if hub.installed]


def _seeds(config: pytest.Config, mark: dict[str, Any]) -> list[int]:
    seed = config.getoption("--greenzmq-seed")
    if seed is not None:
        return [seed]
    number = config.getoption("--greenzmq-seeds")
    return list(range(int(mark.get("seeds", config.getini("greenzmq_seeds")) if number is None else number)))
