"""Whatever comes from outside and is parsed by greenzmq itself: it gives a result, or the documented error.

ZAP requests, names and paths of hubs, entry points, environment variables, and what the command line is given. The long
form, ``nox -s torture``, tries each for as long as it says. A coverage-guided fuzzer does the same to the ZAP handler:
``tests/fuzz/zap.py``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import math
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.torture import scale

import greenzmq
from greenzmq import diagnostics, hubs
from greenzmq.auth import Authenticator, zap
from greenzmq.auth.policies import Addresses
from greenzmq.cli import arguments, endpoints
from greenzmq.errors import MissingHubError, UnknownHubError
from greenzmq.hubs import foreign
from greenzmq.sockets import fairness, pyobj

pytestmark = pytest.mark.torture

often = settings(
    max_examples=scale(20_000, 150), deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def fault(kinds: Any, call: Any, *args: Any) -> str | None:
    """The words of the documented error that the call has raised; None if it has returned."""
    try:
        call(*args)
    except kinds as error:
        return str(error)
    return None


# -- ZAP ---------------------------------------------------------------------------------------------------------------

frame = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"1.0", b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"user", b"word", b"127.0.0.1", b"::ffff:1.2.3.4"]
    ),
    st.just(bytes(32)),
)
well_formed = st.tuples(
    st.lists(frame, min_size=1, max_size=3),
    st.lists(frame, min_size=3, max_size=4),
    st.sampled_from([b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"null"]),
    st.lists(frame, max_size=3),
).map(lambda parts: [*parts[0], b"", b"1.0", *parts[1], parts[2], *parts[3]])


class Hub:
    """As much of a hub as `Authenticator._judge` looks at."""

    name = "selector"


@pytest.fixture(scope="module")
def authenticator() -> Any:
    with zmq.Context() as context:
        log = logging.getLogger("fuzz")
        log.propagate = False
        made = Authenticator(context, log=log)
        made.configure_plain(passwords={"user": "word"})
        made.configure_curve(location="*")
        made.deny("1.2.3.4", "fe80::/10")
        yield made


@often
@given(
    frames=st.one_of(st.lists(frame, max_size=14), well_formed), encoding=st.sampled_from(["utf-8", "ascii", "utf-16"])
)
@example(frames=[b"", b"", b"1.0", b"1", b"", b"", b"", b"GSSAPI", b"\0"], encoding="utf-8")  # was an error of ours
def test_zap_requests(frames: list[bytes], encoding: str, authenticator: Any) -> None:
    """Each has an answer with its own id, if it has one and an envelope. 200 is only for who may come in."""
    request = zap.parse(frames, encoding)
    answerable = b"" in frames[1:] and len(frames) - frames.index(b"", 1) >= 3
    assert (request is not None) == answerable
    if request is None:
        return
    body = frames.index(b"", 1) + 1
    verdict = authenticator._judge(request, Hub())
    answer = request.answer(verdict)
    assert answer[:body] == frames[:body]
    assert answer[body : body + 2] == [b"1.0", frames[body + 1]]
    assert len(answer) == body + 6
    assert verdict.status in (b"200", b"400")
    assert b"word" not in str(request).encode() or b"word" in frames[body + 2] + frames[body + 3] + frames[body + 5]
    if verdict.status != b"200":
        assert verdict.user_id == b""
    elif request.mechanism == "PLAIN":
        assert request.credentials == (b"user", b"word")
    else:
        assert (request.mechanism, len(request.credentials)) in (("NULL", 0), ("CURVE", 1), ("GSSAPI", 1))
        assert b"\0" not in verdict.user_id


@often
@given(
    first=st.one_of(st.text(max_size=40), st.ip_addresses().map(str)),
    then=st.one_of(st.text(), st.ip_addresses().map(str)),
)
def test_addresses(first: str, then: str) -> None:
    """What is an address, or a network, is taken, and found again; all else is a ValueError. No client's raises."""
    addresses = Addresses()
    try:
        addresses.deny((first,))
    except ValueError:
        assert addresses.fault(first) is None
    else:
        assert "/" in first or addresses.fault(first) == "Address denied"
    assert addresses.fault(then) in (None, "Address denied")


# -- hubs --------------------------------------------------------------------------------------------------------------

word = st.text(max_size=12)
path = st.tuples(word, st.sampled_from([":", ".", "::", ""]), word).map("".join)


@often
@given(name=st.one_of(word, path, st.sampled_from(["os:path", "greenzmq:Socket", "json:", ":x", "a.b:c", "selector "])))
def test_names_and_paths_of_hubs(name: str) -> None:
    """A hub's class, or an error of greenzmq's that is of use: it names what was given, or what there is."""
    words = fault((UnknownHubError, MissingHubError), hubs.hub_class, name)
    if words is None:
        assert issubclass(hubs.hub_class(name), hubs.Hub)
    else:
        assert "selector" in words or repr(name)[1:-1] in words


@often
@given(entries=st.lists(st.tuples(word, st.one_of(word, path)), max_size=4), asked=word)
def test_entry_points(entries: list[tuple[str, str]], asked: str) -> None:
    """Other packages' entry points, however broken, take nothing away from the hubs that are there."""
    made = [importlib.metadata.EntryPoint(name, value, foreign.GROUP) for name, value in entries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "entry_points", lambda **_: importlib.metadata.EntryPoints(made))
        assert "selector" in [hub.name for hub in hubs.known_hubs()]
        assert hubs.hub_class("selector").name == "selector"
        fault((UnknownHubError, MissingHubError), hubs.hub_class, asked)


# -- the environment ---------------------------------------------------------------------------------------------------

value = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(value, st.floats().map(str), st.integers().map(str))


@often
@given(text=numbers)
def test_environment_turn(text: str) -> None:
    """Milliseconds, or an error that names the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(fairness.ENVIRONMENT, text)
        words = fault(ValueError, fairness.default_turn)
        if words is None:
            assert fairness.default_turn() > 0
        else:
            assert fairness.ENVIRONMENT in words


@often
@given(text=numbers)
def test_environment_pyobj(text: str) -> None:
    """0, 1 or nothing; all else is an error that names the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(pyobj.ENVIRONMENT, text)
        words = fault(ValueError, pyobj.default_pyobj)
        if words is None:
            assert pyobj.default_pyobj() is (text != "0")
        else:
            assert pyobj.ENVIRONMENT in words
        assert (words is None) == (text in ("0", "1", ""))


@often
@given(text=value)
def test_environment_hub(text: str) -> None:
    """A wrong hub is an error that names the variable, where a hub is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "entry_points", lambda **_: importlib.metadata.EntryPoints())  # it would read all files
        patch.setenv(hubs.ENVIRONMENT, text)
        hubs.current_hub()
        words = fault(greenzmq.HubError, hubs.hub_to_wait_on)
        assert words is None or hubs.ENVIRONMENT in words


@often
@given(text=st.one_of(value, st.integers().map(str)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_environment_dump_signal(text: str) -> None:
    """A name that is no signal's is a warning, never an error: it must not break the import."""
    if text.strip().upper().removeprefix("SIG") in ("", "INT", "TERM", "HUP", "USR1", "USR2"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(diagnostics.ENVIRONMENT, text)
        diagnostics.install_from_environment()


# -- the command line --------------------------------------------------------------------------------------------------


@often
@given(text=numbers)
def test_numbers_of_the_command_line(text: str) -> None:
    """A number that is of use, or argparse's own error."""
    for convert, least in ((arguments.whole_number, 1), (arguments.seconds, 0)):
        words = fault(argparse.ArgumentTypeError, convert, text)
        assert repr(text) in words if words is not None else least <= convert(text) < math.inf


kind = st.sampled_from(["router", "dealer", "xsub", "xpub", "pull", "push", "pub", "PULL", "req", "", "routér"])
sign = st.sampled_from(["@", "+", ">", ",", "@@", ",@", ""])
address = st.one_of(
    value,
    st.tuples(
        st.sampled_from(["tcp", "ipc", "inproc", "udp", "TCP", ""]), value, st.one_of(value, st.integers().map(str))
    ).map(lambda parts: f"{parts[0]}://{parts[1]}:{parts[2]}"),
)
sides = st.tuples(kind, st.lists(st.tuples(sign, address), max_size=3)).map(
    lambda parts: parts[0] + "".join(before + where for before, where in parts[1])
)


@often
@given(text=st.one_of(value, sides))
def test_addresses_of_the_command_line(text: str) -> None:
    """A side of a proxy, or argparse's own error."""
    for read in (endpoints.side, endpoints.capture_side):
        words = fault(argparse.ArgumentTypeError, read, text)
        if words is not None:
            assert words
            continue
        found = read(text)
        assert found.kind in (*endpoints.PAIRS, *endpoints.CAPTURES)
        assert found.ways
