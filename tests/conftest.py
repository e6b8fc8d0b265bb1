"""What all tests share: the `hub` fixture, which runs a test on every hub, and the checks that nothing is left behind.

The body of a test that uses `hub` (or `contract_hub`) runs in a greenlet of that hub, in a native thread of its own.
pytest sets up the other fixtures in its own thread, as usual; a fixture that has to do something on the hub calls
`hub_thread`. With the mark ``main_greenlet`` the body runs in the main greenlet of the hub's thread instead.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
import zmq
from support.forked import stop_servers
from support.hub_thread import HubThread, forget_native_hub, new_descriptors, open_descriptors
from support.parsing import mend_parser
from support.sockets import connected, keep_sockets, open_context
from support.variants import USUAL, VARIANTS, Variant

import greenzmq
from greenzmq.errors import MissingHubError
from greenzmq.hubs.base import Hub
from greenzmq.waiting.hub_api import GreenHub

THREAD = pytest.StashKey[HubThread]()
FAILED = pytest.StashKey[bool]()

_loaded: set[Variant] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("greenzmq")
    group.addoption("--hub", action="append", metavar="NAME", help="run only on this hub; may be given again")
    group.addoption("--all-loops", action="store_true", help="run on every loop of each runtime, not on the usual ones")
    group.addoption("--skip-missing-hubs", action="store_true", help="skip the hubs that are not installed")


def pytest_configure(config: pytest.Config) -> None:
    mend_parser()
    if not config.getoption("--all-loops"):
        os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")  # half of its import, for names that no test has looked up
    # In a job that a shell has put into the background SIGINT is ignored, and in all programs that tests start, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "main_greenlet: run the body in the main greenlet of the hub's thread")
    config.addinivalue_line(
        "markers", "runtime(*names): run only on these runtimes, each on all its loops, or on these variants"
    )
    config.addinivalue_line("markers", "cooperative(why): does not hold on native threads, for this reason")
    config.addinivalue_line("markers", "all_loops: run on every loop of each runtime, since loops are what is tested")
    config.addinivalue_line("markers", "torture: has a long form, which nox -s torture runs; see torture.py")
    known = [variant.id for variant in VARIANTS]
    for name in config.getoption("--hub") or ():
        if name not in known:
            raise pytest.UsageError(f"--hub {name}: there is no such hub; there are {', '.join(known)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("--hub")
    every_loop = metafunc.config.getoption("--all-loops") or metafunc.definition.get_closest_marker("all_loops")
    runtimes = metafunc.definition.get_closest_marker("runtime")
    cooperative = metafunc.definition.get_closest_marker("cooperative")
    in_main = metafunc.definition.get_closest_marker("main_greenlet")
    chosen = [
        variant
        for variant in VARIANTS
        if (variant.id in wanted if wanted else every_loop or variant.id in USUAL or variant.on_request)
        and (wanted or not variant.guest)
        and (runtimes is None or variant.name in runtimes.args or variant.id in runtimes.args)
        and (not in_main or variant.main_parks)
        and not (cooperative and variant.name == "threading")
        and not (variant.on_request and (runtimes is None or variant.id not in runtimes.args))
    ]
    metafunc.parametrize("variant", chosen, ids=[variant.id for variant in chosen], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """While thousands of tests are made nothing is garbage, and each process of a run makes all of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    zmq.Context().term()  # the first context makes libzmq open descriptors that it keeps for good
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Have the process ended if the interpreter's end hangs. While the tests run, pytest itself ends one that hangs."""
    faulthandler.dump_traceback_later(float(config.getini("faulthandler_timeout")), exit=True, file=sys.__stderr__)
    stop_servers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[FAILED] = not report.passed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with missing_hubs_skipped(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with missing_hubs_skipped(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """What a test has made in pytest's own thread must not decide on which hub the next one runs there."""
    yield
    forget_native_hub()


@contextlib.contextmanager
def missing_hubs_skipped(item: pytest.Item) -> Iterator[None]:
    """With ``--skip-missing-hubs``, skip a test in which a runtime that is not installed was asked for in any way."""
    try:
        yield
    except MissingHubError as error:
        if not item.config.getoption("--skip-missing-hubs"):
            raise
        pytest.skip(str(error))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    __tracebackhide__ = True
    thread = pyfuncitem.stash.get(THREAD, None)
    if thread is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    call = thread.call_in_main if pyfuncitem.get_closest_marker("main_greenlet") else thread.call
    call(lambda: pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Variant:
    """The runtime and loop that this test runs on, installed and imported."""
    variant: Variant = request.param
    if missing := variant.missing:
        what = f"examples/{variant.name}_hub" if variant.guest else f"'.[{variant.extra}]'"
        message = f"{missing} is not installed: python -m pip install -e {what}"
        if request.config.getoption("--skip-missing-hubs"):
            pytest.skip(message)
        pytest.fail(f"{message}, or pass --skip-missing-hubs", pytrace=False)
    if variant not in _loaded:
        variant.load()
        HubThread(variant).close()  # the first loop makes libuv open descriptors that it keeps for good
        _loaded.add(variant)
    return variant


def drop_failure() -> None:
    """Free what the frames of a failed test refer to, such as tasks.

    An error of a task that nobody has seen is reported when the task is freed. This has to happen in the test that has
    made the task, and not in a later one, which would then fail.
    """
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
    gc.collect()


@pytest.fixture
def hub_thread(variant: Variant, request: pytest.FixtureRequest) -> Iterator[HubThread]:
    """The thread of the hub on which this test runs. At its end nothing may be left in the hub, and no file open."""
    before = open_descriptors()
    thread = request.node.stash[THREAD] = HubThread(variant, checked=True)
    yield thread
    if request.node.stash.get(FAILED, True):
        drop_failure()
        return
    del request.node.stash[THREAD]
    if leftovers := thread.finish():
        pytest.fail(f"left in the hub: {leftovers}", pytrace=False)
    if descriptors := new_descriptors(before):
        pytest.fail(f"left open: {descriptors}", pytrace=False)
    # What exists now is kept by pytest, hypothesis and the runtimes, and lives on. Each test collects garbage
    # several times. Without the freeze each collection would visit all these objects, and take most of the tests' time.
    gc.freeze()


@pytest.fixture
def contract_hub(hub_thread: HubThread) -> Hub:
    """The hub of this test, as `greenzmq.hubs.base` defines hubs."""
    return hub_thread.hub


@pytest.fixture
def hub(contract_hub: Hub, variant: Variant) -> GreenHub:
    """The hub of this test, as programs use it."""
    return variant.green(contract_hub)


@pytest.fixture
def context(hub: GreenHub, hub_thread: HubThread) -> Iterator[greenzmq.Context]:
    """A context on the hub. Its sockets live as long as it does, and are closed without linger."""
    opened = contextlib.ExitStack()
    yield hub_thread.call(lambda: keep_sockets(opened.enter_context(open_context(hub))))
    hub_thread.call(opened.close)


@pytest.fixture
def push_pull(context: greenzmq.Context, hub_thread: HubThread) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """A connected PUSH and PULL."""
    pull, push = hub_thread.call(lambda: connected(context, zmq.PULL, zmq.PUSH))
    return push, pull


@pytest.fixture
def pair(context: greenzmq.Context, hub_thread: HubThread) -> tuple[greenzmq.Socket, greenzmq.Socket]:
    """Two connected PAIR sockets."""
    return hub_thread.call(lambda: connected(context, zmq.PAIR, zmq.PAIR))
