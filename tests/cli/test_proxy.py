"""``python -m greenzmq proxy``: the broker as a process, between sockets of pyzmq's own."""

from __future__ import annotations

import argparse
import os
import signal
import socket as stdlib_socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from support.cli import LIMIT, greenzmq

from greenzmq.cli.endpoints import PAIRS, Side, capture_side, side, wrong_pair

LOCAL = "tcp://127.0.0.1:*"


@contextmanager
def broker(tmp_path: Path, *args: str, **environment: str) -> Iterator[tuple[dict[str, str], subprocess.Popen[str]]]:
    """A running broker that is ready, with its endpoints by side."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "greenzmq", "proxy", *args, "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env={**os.environ, **environment}) as process:
        try:
            end = time.monotonic() + LIMIT
            while not ready.exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.01)
            lines = [line.split() for line in ready.read_text().splitlines()]
            yield {line[0]: line[-1] for line in lines}, process
        finally:
            process.kill()


@pytest.fixture
def theirs() -> Iterator[zmq.Context[Any]]:
    """A context of pyzmq's own."""
    context: zmq.Context[Any] = zmq.Context()
    context.setsockopt(zmq.RCVTIMEO, 20_000)
    yield context
    context.destroy(linger=0)
    _kept.clear()


#: The sockets of a test: the context ends those that are left.
_kept: list[Any] = []


def connected(context: zmq.Context[Any], kind: int, endpoint: str, **options: Any) -> Any:
    socket = context.socket(kind)
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(endpoint)
    _kept.append(socket)
    return socket


def test_requests(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """Clients and workers come and go; a copy of all is published; several endpoints, bound and connected."""
    path = f"ipc://{tmp_path}/front"
    late = theirs.socket(zmq.REP)
    _kept.append(late)
    late.bind(LOCAL)
    elsewhere = late.last_endpoint.decode()
    args = (f"router@{LOCAL},@{path}", f"dealer@{LOCAL},+{elsewhere}", "--capture", f"pub@{LOCAL}", "--hwm", "10000")
    with broker(tmp_path, *args) as (endpoints, process):
        assert endpoints["frontend"] == path
        assert endpoints["backend"] == elsewhere
        copies = connected(theirs, zmq.SUB, endpoints["capture"])
        copies.subscribe(b"")
        clients = [connected(theirs, zmq.REQ, path) for _ in range(3)]
        for number, client in enumerate(clients * 20):
            # A capture socket that has just connected may miss the first ones.
            client.send(b"%d" % number)
            request = None
            while request is None:
                assert process.poll() is None
                request = late.recv() if late.poll(100) else None
            late.send(request * 2)
            assert client.recv() == b"%d" % number * 2
        assert copies.poll(10_000)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (0, "")
        assert [line.split()[:3] for line in out.splitlines()] == [
            ["frontend", "router", "bind"],
            ["frontend", "router", "bind"],
            ["backend", "dealer", "bind"],
            ["backend", "dealer", "connect"],
            ["capture", "pub", "bind"],
        ]
        assert not (tmp_path / "ready").exists()


def test_publications(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """Subscriptions go the other way. This is the broker that python-socketio has its users write."""
    with broker(tmp_path, f"xsub@{LOCAL}", f"xpub@{LOCAL}") as (endpoints, process):
        pub, sub = connected(theirs, zmq.PUB, endpoints["frontend"]), connected(theirs, zmq.SUB, endpoints["backend"])
        sub.subscribe(b"a")
        while not sub.poll(10):
            pub.send(b"b")
            pub.send(b"a")
        assert sub.recv() == b"a"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (0, "")


def test_what_many_send_is_published(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """The broker of python-socketio's documentation."""
    with broker(tmp_path, f"pull@{LOCAL}", f"pub@{LOCAL}") as (endpoints, _):
        subs = [connected(theirs, zmq.SUB, endpoints["backend"]) for _ in range(2)]
        push = connected(theirs, zmq.PUSH, endpoints["frontend"])
        for sub in subs:
            sub.subscribe(b"")
            while not sub.poll(10):
                push.send(b"message")
            assert sub.recv() == b"message"


def test_what_was_received_is_sent_at_the_end(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """Jobs that lie in the broker when the signal comes."""
    args = (f"pull@{LOCAL}", f"push@{LOCAL}", "--capture", f"push@{LOCAL}", "--linger", "20000")
    with broker(tmp_path, *args) as (endpoints, process):
        push = connected(theirs, zmq.PUSH, endpoints["frontend"])
        pull = connected(theirs, zmq.PULL, endpoints["backend"])
        received = connected(theirs, zmq.PULL, endpoints["capture"])
        for number in range(500):
            push.send(b"%d" % number)
        assert pull.recv() == b"0"
        assert [received.recv() for _ in range(500)][-1] == b"499"
        process.send_signal(signal.SIGTERM)
        assert [pull.recv() for _ in range(1, 500)] == [b"%d" % number for number in range(1, 500)]
        _, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (0, "")


def test_a_second_signal_ends_it_at_once(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """Where what is left cannot be sent, and there is time for it."""
    args = (f"pull@{LOCAL}", f"push+ipc://{tmp_path}/nobody", "--capture", f"push@{LOCAL}", "--linger", "600000")
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(tmp_path / "notify"))
        with broker(tmp_path, *args, NOTIFY_SOCKET=str(tmp_path / "notify")) as (endpoints, process):
            push = connected(theirs, zmq.PUSH, endpoints["frontend"])
            push.send(b"job")
            assert connected(theirs, zmq.PULL, endpoints["capture"]).recv() == b"job"
            process.send_signal(signal.SIGTERM)
            assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"STOPPING=1"]
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LIMIT)
            assert process.returncode == 128 + signal.SIGTERM


def test_curve_lets_in_who_is_known(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """Keys from files, as pyzmq writes them; whose certificate is in the folder may connect, and nobody else."""
    keys = tmp_path / "keys"
    known = tmp_path / "known"
    keys.mkdir()
    known.mkdir()
    for name in ("server", "friend", "stranger"):
        public, _ = zmq.auth.create_certificates(keys, name)
        if name == "friend":
            (known / "friend.key").write_text(Path(public).read_text())
    server, _ = zmq.auth.load_certificate(keys / "server.key")
    args = ("--curve", str(keys / "server.key_secret"), "--curve-clients", str(known))
    with broker(tmp_path, f"pull@{LOCAL}", f"push@{LOCAL}", *args) as (endpoints, _):

        def curve(name: str) -> dict[str, Any]:
            public, secret = zmq.auth.load_certificate(keys / f"{name}.key_secret")
            return {"curve_serverkey": server, "curve_publickey": public, "curve_secretkey": secret, "linger": 0}

        pull = connected(theirs, zmq.PULL, endpoints["backend"], **curve("friend"))
        for name in ("stranger", "friend"):
            connected(theirs, zmq.PUSH, endpoints["frontend"], **curve(name)).send(name.encode())
        assert pull.recv() == b"friend"
        assert not pull.poll(300)


def test_statistics_are_printed(tmp_path: Path, theirs: zmq.Context[Any]) -> None:
    """A line for each period, which counts frames."""
    with broker(tmp_path, f"pull@{LOCAL}", f"push@{LOCAL}", "--stats", "0.1") as (endpoints, process):
        push, pull = (
            connected(theirs, zmq.PUSH, endpoints["frontend"]),
            connected(theirs, zmq.PULL, endpoints["backend"]),
        )
        for _ in range(10):
            push.send_multipart([b"two", b"frames"])
            pull.recv_multipart()
        assert process.stdout is not None
        while "in all 20 and 0 frames" not in (line := process.stdout.readline()):
            assert line
        assert line.startswith("frontend to backend ")
        assert " frames/s, back 0 frames/s, " in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    """As systemd's ``Type=notify`` wants it."""
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(tmp_path / "notify"))
        args = (f"pull@{LOCAL}", f"push@{LOCAL}")
        with broker(tmp_path, *args, NOTIFY_SOCKET=str(tmp_path / "notify")) as (_, process):
            assert manager.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_port_in_use(theirs: zmq.Context[Any]) -> None:
    """One line, with the side and the endpoint."""
    with stdlib_socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = greenzmq("proxy", f"router@{LOCAL}", f"dealer@{endpoint}")
    assert done.returncode == 1
    assert done.stderr == f"greenzmq: cannot bind the backend to {endpoint}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("router@tcp://*:5555",), "required: BACKEND"),
        (
            ("router@tcp://*:0", "xpub@tcp://*:0"),
            "a router goes with a dealer, and not with a xpub; the pairs",
        ),
        (("rep@tcp://*:0", "dealer@tcp://*:0"), "'rep' is none of router, dealer, xsub, xpub, pull, push, pub; use"),
        (("tcp://*:0", "dealer@tcp://*:0"), "does not begin with a type and a sign"),
        (("router@*:0", "dealer@tcp://*:0"), "'*:0' is no endpoint"),
        (("router@tcp://", "dealer@tcp://*:0"), "'tcp://' is no endpoint"),
        (("router@tcp://*:70000", "dealer@tcp://*:0"), "'tcp://*:70000' has no port, from 1 to 65535"),
        (("router@tcp://nonsense:1", "dealer@tcp://*:0"), "cannot bind the frontend to tcp://nonsense:1"),
        (("router@tcp://*:0", "dealer@tcp://*:0", "--capture", "sub@tcp://*:0"), "'sub' is none of pub, push"),
        (("router@tcp://*:0", "dealer@tcp://*:0", "--hwm", "-1"), "'-1' is not a whole number"),
        (("router@tcp://*:0", "dealer@tcp://*:0", "--curve-clients", "x"), "go with --curve"),
        (("router@tcp://*:0", "dealer+tcp://a:1", "--curve", "x"), "needs --curve-server"),
        (("router@tcp://*:0,+tcp://a:1", "dealer@tcp://*:0", "--curve", "x"), "either binds or connects"),
        (("router@tcp://*:0", "dealer@tcp://*:0", "--curve", "missing"), "missing has no CURVE certificate"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], fault: str) -> None:
    """Status 2, and what is right."""
    done = greenzmq("proxy", *arguments)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


def test_endpoints_are_read() -> None:
    """Types in any case; signs hold for those that follow; commas in paths are no ends."""
    assert side("ROUTER@tcp://*:1,tcp://*:2,+tcp://a:3,ipc:///x,y,>tcp://b:4") == Side(
        "router",
        (
            ("bind", "tcp://*:1"),
            ("bind", "tcp://*:2"),
            ("connect", "tcp://a:3"),
            ("connect", "ipc:///x,y"),
            ("connect", "tcp://b:4"),
        ),
    )
    assert capture_side("pair+ipc://x").socket_type == zmq.PAIR
    for one, others in PAIRS.items():
        assert [other for other in PAIRS if not wrong_pair(Side(one, ()), Side(other, ()))] == [*others]
    for wrong in ("", "router", "router@", "@tcp://*:1", "router=tcp://*:1", "router@http://x"):
        with pytest.raises(argparse.ArgumentTypeError):
            side(wrong)
