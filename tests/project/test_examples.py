"""The programs of ``examples/``, on every hub: each does what it says and leaves nothing open."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from support import forked
from support.children import is_installed
from support.forked import GREENZMQ, LEAKS_TOLD
from zmq.auth import load_certificate

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HUBS = ("gevent", "eventlet", "selector", "asyncio", "uvloop")


def run(name: str, *arguments: str) -> str:
    """What the example prints."""
    environment = {name: value for name, value in os.environ.items() if name != "GREENZMQ_HUB"}
    arguments = (str(EXAMPLES / name), *arguments)
    done = forked.run([*arguments], environment=environment, timeout=60, imports=GREENZMQ, options=LEAKS_TOLD)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(params=HUBS)
def hub_name(request: pytest.FixtureRequest) -> str:
    """The name of a hub."""
    name: str = request.param
    if name in ("gevent", "eventlet", "uvloop") and not is_installed(name):
        if request.config.getoption("--skip-missing-hubs"):
            pytest.skip(f"{name} is not installed")
        pytest.fail(f"{name} is not installed; --skip-missing-hubs runs the tests without", pytrace=False)
    return name


def test_typed_messages(hub_name: str) -> None:
    """What is no order is refused, and so is pickle."""
    assert run("typed_messages.py", hub_name).splitlines() == [
        "sold: Order(item='lamp', count=3)",
        "refused: no order",
        "refused: Context(pyobj=False) refuses send_pyobj()",
    ]


def test_secure_service(hub_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the key is answered, by its name; a client with another key is not. Keys are only ours to read."""
    monkeypatch.setenv("KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("ADDRESS", "tcp://127.0.0.1:*")
    assert run("secure_service.py", "keys") == ""
    keys = sorted(path for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert [path.name for path in keys] == ["client.key_secret", "client.key", "server.key", "server.key_secret"]
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    before = [path.read_bytes() for path in keys]
    assert "FileExistsError" in failing("secure_service.py", "keys")
    assert [path.read_bytes() for path in keys] == before
    command = [sys.executable, "-u", str(EXAMPLES / "secure_service.py"), "server", hub_name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            monkeypatch.setenv("ADDRESS", server.stdout.readline().split()[-1])
            public = re.search(r'public-key = "(.*)"', keys[1].read_text())
            assert public is not None
            assert run("secure_service.py", "client", hub_name) == f"HELLO, {public[1][:5]}…\n"
            with zmq.Context() as context, context.socket(zmq.REQ) as stranger:
                stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
                stranger.curve_serverkey, _ = load_certificate(tmp_path / "keys" / "server.key")
                stranger.linger, stranger.rcvtimeo = 0, 300
                monitor = stranger.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
                stranger.connect(os.environ["ADDRESS"])
                stranger.send(b"hello")
                assert monitor.poll(10_000), "not refused"
                with pytest.raises(zmq.Again):
                    stranger.recv()
                stranger.disable_monitor()
                monitor.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


def failing(name: str, *arguments: str) -> str:
    """What the example tells when it fails."""
    arguments = (str(EXAMPLES / name), *arguments)
    done = forked.run([*arguments], environment={**os.environ}, timeout=60, imports=GREENZMQ)
    assert done.returncode
    return done.stderr


def test_the_service_is_short() -> None:
    """The code of the service and its client takes 25 lines."""
    text = (EXAMPLES / "secure_service.py").read_text(encoding="utf-8")
    service = text.partition("# -- the service")[2].partition("if __name__")[0]
    code = [line for line in service.splitlines()[1:] if line.strip() and '"""' not in line]
    assert len(code) <= 25
