"""The benchmarks' scripts that count instructions and measure latency, floors, and round trips that share a core."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import instructions
import latency
import pytest
import zmq
from harness import floors, runner
from harness.cells import workloads
from harness.open_loop import Generator, intervals
from harness.results import Results

BENCHMARKS = Path(runner.__file__).parents[1]
LIMIT = 50
"""Seconds for one process; one takes some seconds under valgrind."""


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, timeout=LIMIT)


# --- one core ---------------------------------------------------------------------------------------------------------

AFFINITIES = """\
import json, os, sys
command, harness = json.loads(sys.argv[1]), sys.argv[2]
sys.path.insert(0, harness)
from cells import contenders, peer, round_trips, runtimes
asked = dict(transport="tcp", count=10, processes=2, one_core=True)
runtime = runtimes.make(contenders.contender("threads"))
job = round_trips.round_trip(runtime, **asked)
wanted = dict(contender="threads", setup="round_trips.round_trip", parameters=asked | job.peer, peer=True, directory="")
other = peer.Peer(command, wanted)
cores = [
    sorted(os.sched_getaffinity(int(thread)))
    for process in (os.getpid(), other.process.pid)
    for thread in os.listdir(f"/proc/{process}/task")
]
other.close()
print(json.dumps(cores))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which threads a process has")
def test_both_processes_of_a_round_trip_are_on_one_core():
    """Every thread of both, those of libzmq, too, may run on one core, the same for all.

    Seen to fail when the context had a socket before the thread was pinned.
    """
    ran = run("-c", AFFINITIES, json.dumps(runner.COMMAND), BENCHMARKS / "harness")
    assert ran.returncode == 0, ran.stderr
    cores = json.loads(ran.stdout)
    assert len(cores) >= 6
    assert cores == [[min(os.sched_getaffinity(0))]] * len(cores)


def test_round_trips_of_two_processes_need_a_system_that_can_pin(monkeypatch):
    """They say that they are pinned; where that cannot be done, they say so, and there is no figure."""

    def two_processes() -> list[workloads.Workload]:
        return [one for one in workloads._round_trips() if one.parameters.get("processes") == 2]

    monkeypatch.setattr(workloads, "CAN_PIN", True)
    assert [one.parameters["one_core"] for one in two_processes()] == [True, True]
    assert [one.why_not("threads") for one in two_processes()] == ["", ""]
    monkeypatch.setattr(workloads, "CAN_PIN", False)
    assert {one.why_not(name) for one in two_processes() for name in ("threads", "noblock")} == {workloads.CANNOT_PIN}


# --- floors -----------------------------------------------------------------------------------------------------------


def results_of(rates: dict[str, float], workload: str, metric: str, fast_path: str | None) -> Results:
    document = {"format": 1, "began": "-", "seconds": 1, "options": {}, "machine": {}, "left_out": {}, "workloads": []}
    cells = {workload: {name: {"rounds": [{metric: [rate]}]} for name, rate in rates.items()}}
    versions = {} if fast_path is None else {"fast path": fast_path}
    return Results(document | {"versions": versions, "cells": cells})


@pytest.mark.parametrize(
    ("fast_path", "wanted"),
    [
        ("compiled", [("1.7 × zmq.Socket's NOBLOCK calls", False), ("1.3 × the backend class's NOBLOCK calls", True)]),
        (
            "pure Python: $GREENZMQ_PURE is set",
            [("0.65 × zmq.Socket's NOBLOCK calls", True), ("the backend class's NOBLOCK calls", True)],
        ),
        (None, [("0.65 × zmq.Socket's NOBLOCK calls", True), ("the backend class's NOBLOCK calls", True)]),
    ],
    ids=["compiled", "pure", "not told"],
)
def test_floors_are_those_of_the_fast_path(fast_path, wanted):
    """With the compiled fast path more is demanded; results that do not say what they had are taken as without."""
    rates = {"noblock": 10.0, "backend": 12.0, "greenzmq-gevent": 16.0}
    found = floors.evaluate(results_of(rates, "ready", "rate", fast_path))
    assert [(one.floor.words, one.is_met) for one in found if one.ratio] == wanted


def test_a_floor_may_be_a_number():
    """A ticker beside a hot awaitable socket comes 5 ms late at most, whatever its peer does."""
    for stall, share, met in ((4.0, 1.25, True), (10.0, 0.5, False)):
        verdicts = floors.evaluate(results_of({"greenzmq.aio": stall}, "stall/ready", "stall ms", "compiled"))
        (one,) = (one for one in verdicts if one.floor.limit)
        assert one.ratio is not None
        assert (one.floor.limit, one.ratio.value, one.is_met) == (5, share, met)


# --- instructions -----------------------------------------------------------------------------------------------------

LOG = "==7== \n==7== I   refs:      88,787,348\n==7== LLd misses:     4,015,501  (2,954,940 rd + 1,060,561 wr)\n"


def test_what_cachegrind_says():
    """The number is read from its log; a log without one is an error that shows it."""
    assert instructions.number_in(LOG, "instructions") == 88_787_348
    assert instructions.number_in(LOG, "lines") == 4_015_501
    with pytest.raises(ValueError, match=r"lines .*Killed"):
        instructions.number_in("Killed", "lines")


def test_shares_and_the_floor():
    """Hubs are compared with zmq.green, awaitable sockets with zmq.asyncio on their loop; the floor has two numbers."""
    operation = instructions.FLOOR[0]
    counts = {
        name: {operation: value}
        for name, value in (
            ("zmq.green", 1000.0), ("zmq.asyncio", 2000.0), ("greenzmq-gevent", 260.0), ("greenzmq.aio", 500.0)
        )
    }  # fmt: skip
    cells = [instructions.cell(counts, name, operation) for name in counts]
    assert cells == ["1,000", "2,000 (2.00)", "260 (0.26)", "500 (0.25)"]
    assert instructions.peer("greenzmq.aio+uvloop") == "zmq.asyncio+uvloop"
    assert [instructions.verdict(counts, compiled).rpartition(" ")[2] for compiled in (True, False)] == [
        "missed", "met",
    ]  # fmt: skip
    assert instructions.verdict({}, True) == ""


def test_without_valgrind(monkeypatch, capsys):
    """Exit status 2, and a line that says what is missing; so with a contender that is not there."""
    assert instructions.main(["--contender", "nobody"]) == 2
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    assert instructions.main([]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "instructions.py: no contender of that name: see python benchmarks --list",
        "instructions.py: valgrind is not installed",
    ]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_are_counted():
    """A send and a recv of pyzmq take some thousand instructions; the difference leaves out the start, 10^8 of them."""
    operation = "ready send + recv"
    arguments = ("--contender", "noblock", "--operation", operation, "--scale", "0.4", "--json")
    ran = run(BENCHMARKS / "instructions.py", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert 1_000 < json.loads(ran.stdout)["instructions"]["noblock"][operation] < 50_000


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_lines_are_counted():
    """Of a send and a recv over and over everything is in the cache; and of what has no tasks there is no ring."""
    operations = ("--operation", "ready send + recv", "--operation", "hop in a ring of 500")
    arguments = ("--contender", "noblock", "--scale", "0.4", "--json", "--lines")
    ran = run(BENCHMARKS / "instructions.py", *operations, *arguments)
    assert ran.returncode == 0, ran.stderr
    ((operation, lines),) = json.loads(ran.stdout)["lines"]["noblock"].items()
    assert (operation, lines < 10) == ("ready send + recv", True), lines


# --- latency ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def generator() -> Iterator[Generator]:
    made = Generator()
    yield made
    made.close()


class Service(threading.Thread):
    """Sends each message back, but none before it has `hold` of them."""

    def __init__(self, generator: Generator, count: int, hold: int = 1) -> None:
        super().__init__(daemon=True)
        context = generator.context
        self.pull, self.push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        self.pull.connect(generator.requests)
        self.push.connect(generator.answers)
        self.count, self.hold = count, hold
        self.start()

    def run(self) -> None:
        held = [self.pull.recv() for _ in range(self.hold)]
        for message in held:
            self.push.send(message)
        for _ in range(self.count - len(held)):
            self.push.send(self.pull.recv())
        self.pull.close()
        self.push.close()


def test_times_at_which_messages_are_due():
    """They ascend, end in time, are as many as the rate says (six standard deviations), and those of the seed."""
    due = list(intervals(1000, 10, seed=1))
    assert due == sorted(due) == list(intervals(1000, 10, seed=1)) != list(intervals(1000, 10, seed=2))
    assert due[-1] < 10e9
    assert abs(len(due) - 10_000) < 600


def test_a_service_that_stops_is_charged_with_all_that_waited(generator):
    """No message is left out while nothing is answered: each has waited at least until the last was due."""
    due = [number * 1_000_000 for number in range(20)]
    service = Service(generator, len(due), hold=len(due))
    passed = generator.run(due, LIMIT)
    service.join(LIMIT)
    assert len(passed.latencies) == len(passed.lateness) == len(due)
    # In the order in which they were sent, since both queues keep it.
    assert all(latency >= due[-1] - when for latency, when in zip(passed.latencies, due, strict=True))


def test_a_latency_begins_when_the_message_was_to_be_sent(generator, monkeypatch):
    """What could be sent only later, since a queue was full, counts from when it was due."""
    send, refusals = generator._send, iter(range(100))

    def full_at_first(number: int) -> bool:
        if next(refusals, None) is None:
            return send(number)
        # With a time of its own, since nothing else makes the clock go on.
        threading.Event().wait(0.0005)
        return False

    monkeypatch.setattr(generator, "_send", full_at_first)
    service = Service(generator, 2)
    passed = generator.run([0, 1], LIMIT)
    service.join(LIMIT)
    assert min(passed.lateness) >= 100 * 500_000
    assert all(one >= late for one, late in zip(passed.latencies, passed.lateness, strict=True))


def test_capacity(generator):
    """It is known when all messages are back; a service that sends none back is an error, not a wait for ever."""
    service = Service(generator, 200, hold=10)
    assert generator.capacity(200, 10, LIMIT) > 0
    service.join(LIMIT)
    with pytest.raises(TimeoutError, match="0 of 5 answers"):
        generator.capacity(5, 10, 0.01)
    with pytest.raises(TimeoutError, match="0 of 1 answers"):
        generator.run([0], 0.01)


def test_nobody_waits_for_an_answer_to_nothing(generator, monkeypatch):
    """When all answers are there, the next messages are sent at once. Seen to fail: it cost 0.1 s each time."""
    send, wait = generator._send, generator._wait
    sent: list[int] = []
    under_way: list[int] = []

    def count_sent(number: int) -> bool:
        return send(number) and not sent.append(number)

    def count_under_way(began: float, limit: float, received: int, count: int) -> None:
        under_way.append(len(sent) - received)
        wait(began, limit, received, count)

    monkeypatch.setattr(generator, "_send", count_sent)
    monkeypatch.setattr(generator, "_wait", count_under_way)
    service = Service(generator, 20)
    # Without a service that is connected nothing can be sent, and that is worth waiting for.
    assert generator.push.poll(LIMIT * 1000, zmq.POLLOUT)
    generator.capacity(20, 1, LIMIT)
    service.join(LIMIT)
    assert {*under_way} <= {1}


class Histogram:
    """In place of hdrhistogram's, where that is not installed: each value as it is."""

    def __init__(self, shortest: int, longest: int, digits: int) -> None:
        self.values: list[int] = []

    def record_value(self, value: int) -> None:
        self.values.append(value)

    def get_total_count(self) -> int:
        return len(self.values)

    def get_value_at_percentile(self, share: float) -> int:
        values = sorted(self.values)
        return values[min(len(values) - 1, int(len(values) * share / 100))]


@pytest.fixture
def histograms(monkeypatch):
    """hdrhistogram if it is installed."""
    try:
        import hdrh.histogram  # noqa: F401
    except ImportError:
        module = type(sys)("hdrh.histogram")
        module.HdrHistogram = Histogram
        monkeypatch.setitem(sys.modules, "hdrh", type(sys)("hdrh"))
        monkeypatch.setitem(sys.modules, "hdrh.histogram", module)


def test_the_latency_of_services(histograms, capsys):
    """Each has its capacity, 70 % of it, and percentiles that ascend."""
    few = ("--rounds", "1", "--seconds", "0.05", "--count", "500", "--json")
    assert latency.main(["--contender", "threads", "--contender", "greenzmq-sel*", *few]) == 0
    found = json.loads(capsys.readouterr().out)["latency"]
    assert list(found) == ["threads", "greenzmq-selector"]
    for figures in found.values():
        assert figures["rate"] == pytest.approx(0.7 * figures["capacity"])
        assert 0 < figures["p50"] <= figures["p99"] <= figures["p99.9"]
        assert figures["messages"] > 0


def test_latency_without_what_it_needs(monkeypatch, capsys, histograms):
    """Exit status 2, and a line that says what is missing."""
    assert latency.main(["--contender", "noblock"]) == 2
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    assert latency.main([]) == 2
    said = capsys.readouterr().err
    assert "there is no contender of that name" in said
    assert "hdrhistogram is not installed: python -m pip install hdrhistogram" in said
