"""What is measured, as data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

__all__ = ["GROUPS", "METRICS", "WORKLOADS", "Metric", "Workload", "workload"]


class Metric(NamedTuple):
    """What a repetition says."""

    name: str
    unit: str
    more_is_better: bool = False


METRICS = {
    metric.name: metric
    for metric in (
        Metric("rate", "1/s", more_is_better=True),
        Metric("MB/s", "MB/s", more_is_better=True),
        Metric("p50 us", "us"),
        Metric("p99 us", "us"),
        Metric("us", "us"),
        Metric("send ns", "ns"),
        Metric("recv ns", "ns"),
        Metric("KiB", "KiB"),
        Metric("stall ms", "ms"),
        Metric("busy ms", "ms"),
        Metric("wake-ups/s", "1/s"),
        Metric("CPU ms/s", "ms/s"),
        Metric("CPU s", "s"),
    )
}


class Workload(NamedTuple):
    """One thing to do, and what is looked at."""

    name: str
    group: str
    """A key of `GROUPS`."""
    setup: str
    """The function, ``module.name``."""
    parameters: Mapping[str, Any]
    metrics: tuple[str, ...]
    """Those that are shown, the one that counts first."""
    without: Mapping[str, str] = {}
    """Who cannot do it, or has nothing to do with it, as a pattern, and why."""
    seconds: float = 0.2
    """How long to repeat it."""
    limit: int = 50
    """How often at most."""
    x: float = 0
    """Where it lies on its group's curve; 0 if it is not on one."""

    def why_not(self, contender: str) -> str:
        """Why it is not measured with a contender, or nothing."""
        return next((why for pattern, why in self.without.items() if fnmatchcase(contender, pattern)), "")


GROUPS = {
    "one-way": "PUSH to PULL, one way",
    "multipart": "messages of three frames",
    "round-trip": "REQ and REP, one request at a time",
    "clients": "200 DEALER clients on one ROUTER",
    "ring": "a token in a ring of 500 tasks",
    "receivers": "tasks that receive from one socket",
    "poller": "Poller, one of many sockets ready",
    "descriptors": "Poller of plain descriptors, one ready",
    "poller-waiting": "Poller, waiting until one of many sockets is ready",
    "proxy": "a proxy between two pairs of sockets",
    "ready": "a send and a recv that need not wait",
    "waiters": "sockets with a task that waits",
    "beside": "round trips while other sockets wait",
    "hubs": "hubs in one process, each in its thread",
    "idle": "nothing happens",
    "stall": "the longest stall of a ticker beside a busy loop",
}

NOBODY_WAITS = "there is no waiting in it"
BARE = {"noblock": NOBODY_WAITS, "backend": NOBODY_WAITS}
SAME = {"backend": "it would be no other than noblock"}
ONE_GREENLET = "only one greenlet can wait on a socket"
NOT_FOR_THREADS = "a socket belongs to one thread"
NO_GREEN_POLLER = "its Poller blocks the hub"
TOO_MANY_THREADS = "so many native threads"
SLOW_POLLER = "a poll takes 0.15 s"
SELECT = "its Poller waits in select(), which takes no descriptor above 1023"

CAN_PIN = hasattr(os, "sched_setaffinity")
CANNOT_PIN = "this system cannot keep processes on one core (os.sched_setaffinity)"

SIZES = {"10B": (10, 10_000), "100B": (100, 20_000), "10KB": (10_000, 5_000), "1MB": (1_000_000, 100)}
LARGE = 100
"""The high-water mark for messages of 1 MB, so that a queue holds 100 MB at most."""


def _one_way() -> Iterator[Workload]:
    for transport in ("inproc", "tcp", "ipc"):
        for label, (size, count) in SIZES.items():
            for processes in (1, 2) if transport != "inproc" else (1,):
                for copy in (True, False) if size >= 10_000 and transport != "ipc" else (True,):
                    name = f"one-way/{transport}/{label}"
                    name += "/2-processes" * (processes == 2) + "/zero-copy" * (not copy)
                    parameters: dict[str, Any] = {"transport": transport, "size": size, "count": count}
                    parameters |= {"processes": processes} if processes == 2 else {}
                    parameters |= {} if copy else {"copy": False}
                    parameters |= {"hwm": LARGE} if size >= 1_000_000 else {}
                    metrics = ("MB/s",) if size >= 10_000 else ("rate",)
                    without = BARE if processes == 2 else SAME
                    yield Workload(name, "one-way", "messages.one_way", parameters, metrics, without)


def _round_trips() -> Iterator[Workload]:
    for transport, processes in (("inproc", 1), ("tcp", 1), ("tcp", 2), ("ipc", 2)):
        name = f"round-trip/{transport}" + "/2-processes" * (processes == 2)
        parameters: dict[str, Any] = {"transport": transport, "count": 1000}
        without: Mapping[str, str] = SAME
        if processes == 2:
            parameters |= {"processes": 2, "one_core": True}
            without = BARE if CAN_PIN else {"*": CANNOT_PIN}
        yield Workload(name, "round-trip", "round_trips.round_trip", parameters, ("rate", "p50 us", "p99 us"), without)


def _pollers() -> Iterator[Workload]:
    for sockets, count in ((10, 500), (100, 500), (500, 200), (1000, 50), (10_000, 50)):
        parameters = {"sockets": sockets, "count": count}
        slow = {"zmq.asyncio*": SLOW_POLLER} if sockets > 1000 else {}
        without = SAME | slow
        yield Workload(
            f"poller/{sockets}", "poller", "polling.poll_ready", parameters, ("us",), without, limit=1000, x=sockets
        )
        without = BARE | slow | {"eventlet.green.zmq": NO_GREEN_POLLER}
        without |= {"zmq.green": SELECT} if sockets > 1000 else {}
        name = f"poller-waiting/{sockets}"
        if sockets != 500:
            yield Workload(
                name, "poller-waiting", "polling.poll_waiting", parameters, ("us",), without, limit=1000, x=sockets
            )


def _descriptors() -> Iterator[Workload]:
    for number, count in ((100, 500), (1000, 100)):
        without = SAME | ({"zmq.green": SELECT} if number >= 1000 else {})
        parameters = {"descriptors": number, "count": count}
        name = f"descriptors/{number}"
        yield Workload(name, "descriptors", "polling.poll_descriptors", parameters, ("us",), without, x=number)


def _waiting() -> Iterator[Workload]:
    for sockets in (10, 100, 1000, 10_000):
        without = {"threads": TOO_MANY_THREADS} if sockets > 1000 else {}
        yield Workload(
            f"beside/{sockets}",
            "beside",
            "round_trips.beside",
            {"waiting": sockets, "count": 300},
            ("p50 us",),
            BARE | without,
            x=sockets,
        )
        if sockets >= 1000:
            yield Workload(
                f"waiters/{sockets}",
                "waiters",
                "waiting.waiters",
                {"sockets": sockets},
                ("KiB", "us"),
                {"backend": SAME["backend"]} | without,
                limit=1,
                x=sockets,
            )


STALLED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "one-way": ("messages.one_way", {"transport": "tcp", "size": 100, "count": 50_000}),
    "multipart": ("messages.multipart", {"transport": "tcp", "frames": 3, "size": 100, "count": 20_000}),
    "ready": ("messages.ready", {"size": 100, "count": 100_000}),
    "round-trip": ("round_trips.round_trip", {"transport": "inproc", "count": 5000}),
    "clients": ("round_trips.clients", {"transport": "tcp", "clients": 200, "count": 5000}),
    "poller": ("polling.poll_ready", {"sockets": 100, "count": 2000}),
}


def _stalls() -> Iterator[Workload]:
    for name, (of, parameters) in STALLED.items():
        yield Workload(
            f"stall/{name}", "stall", "stalls.stall", {"of": of, **parameters}, ("stall ms", "busy ms"), BARE, limit=1
        )


WORKLOADS = (
    Workload("ready", "ready", "messages.ready", {"size": 100, "count": 20_000}, ("rate", "send ns", "recv ns")),
    *_one_way(),
    Workload(
        "multipart/tcp/3x100B",
        "multipart",
        "messages.multipart",
        {"transport": "tcp", "frames": 3, "size": 100, "count": 10_000},
        ("rate",),
        SAME,
    ),
    *_round_trips(),
    Workload(
        "clients/200",
        "clients",
        "round_trips.clients",
        {"transport": "tcp", "clients": 200, "count": 4000},
        ("rate",),
        BARE,
    ),
    Workload("ring/500", "ring", "round_trips.ring", {"tasks": 500, "count": 5000}, ("rate",), BARE),
    *(
        Workload(
            f"receivers/{tasks}",
            "receivers",
            "messages.receivers",
            {"transport": "inproc", "receivers": tasks, "size": 100, "count": 10_000},
            ("rate",),
            BARE | ({"zmq.green": ONE_GREENLET, "threads": NOT_FOR_THREADS} if tasks > 1 else {}),
            x=tasks,
        )
        for tasks in (1, 10, 100, 1000)
    ),
    *_pollers(),
    *_descriptors(),
    Workload(
        "proxy/tcp/2x100B",
        "proxy",
        "messages.proxied",
        {"transport": "tcp", "frames": 2, "size": 100, "count": 5000},
        ("rate",),
        BARE | {"eventlet.green.zmq": "its proxy blocks the hub", "zmq.asyncio*": "it has no proxy for coroutines"},
    ),
    *_waiting(),
    *(
        Workload(
            f"hubs/{hubs}",
            "hubs",
            "scale.measure_hubs",
            {"of": "messages.one_way", "transport": "inproc", "size": 100, "hubs": hubs, "count": 20_000},
            ("rate",),
            BARE,
            limit=5,
            x=hubs,
        )
        for hubs in (1, 2, 4, 8)
    ),
    Workload(
        "idle", "idle", "waiting.idle", {"sockets": 100, "duration": 1.5}, ("wake-ups/s", "CPU ms/s"), BARE, limit=1
    ),
    *_stalls(),
)


def workload(name: str) -> Workload:
    """The one of that name."""
    return next(one for one in WORKLOADS if one.name == name)
