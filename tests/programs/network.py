"""The program of test_network.py: two hosts, each a network namespace of its own, whose link is cut and restored.

All hubs at once, each in a thread of its own. Prints the names of those that came through, or why it cannot be done.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

import zmq
from support import peers

NEWUSER, NEWNET, PDEATHSIG = 0x10000000, 0x40000000, 1
#: Milliseconds: between heartbeats, until a silent peer counts as gone, until a connection is tried once more.
HEARTBEAT, SILENCE, CONNECT = 20, 200, 100
#: Seconds for one step of all hubs together.
PATIENCE = 20


def run(*variant_ids: str) -> None:
    if reason := leave_network():
        print(f"skip: {reason}")
        return
    host = Host()
    try:
        endpoint = host.link()
        print(json.dumps(sorted(cut_and_restore(host, endpoint, variant_ids))))
    finally:
        host.end()


def leave_network() -> str:
    """Go into a network namespace of this process's own; why not, if that cannot be."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(NEWNET) and unshare(NEWUSER | NEWNET):
        return f"no network namespace is permitted: {os.strerror(ctypes.get_errno())}"
    try:
        ip("link", "add", "gz-try", "type", "veth", "peer", "name", "gz-other")
    except subprocess.CalledProcessError as error:
        return f"no virtual link is permitted: {error.stderr.strip()}"
    ip("link", "delete", "gz-try")
    return ""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Host:
    """The other host: a process in a namespace of its own, with an echo."""

    def __init__(self) -> None:
        here, there = os.pipe()
        self._go, go = os.pipe()[::-1]
        self.pid = os.fork()
        if not self.pid:
            self._be(there, go)
        os.close(there)
        os.close(go)
        self._lines = open(here)  # noqa: SIM115  # closed with the process

    def link(self) -> str:
        """Connect the two; where the echo can be reached."""
        self._lines.readline()
        ip("link", "add", "gz0", "type", "veth", "peer", "name", "gz1", "netns", str(self.pid))
        ip("address", "add", "10.0.0.1/24", "dev", "gz0")
        ip("link", "set", "gz0", "up")
        os.write(self._go, b"\n")
        endpoint: str = json.loads(self._lines.readline())[1]
        return endpoint

    def cut(self) -> None:
        ip("link", "set", "gz0", "down")

    def restore(self) -> None:
        ip("link", "set", "gz0", "up")

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _be(self, out: int, go: int) -> None:
        try:
            ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)  # it has the output that the tests read to its end
            ctypes.CDLL(None).unshare(NEWNET)
            os.dup2(out, 1)
            os.write(1, b"\n")
            os.read(go, 1)
            ip("address", "add", "10.0.0.2/24", "dev", "gz1")
            ip("link", "set", "gz1", "up")
            peers.run("echo", "tcp://10.0.0.2:*", "0")
        finally:
            os._exit(1)


def cut_and_restore(host: Host, endpoint: str, variant_ids: tuple[str, ...]) -> list[str]:
    # Only now: the other host is a process without any of it.
    from support.hub_thread import HubThread
    from support.variants import VARIANTS

    variants = [variant for variant in VARIANTS if variant.id in variant_ids]
    barrier = threading.Barrier(len(variants) + 1, timeout=PATIENCE)
    done: list[str] = []

    def use(variant: Any) -> None:
        thread = HubThread(variant)
        thread.call(lambda: come_through(thread.hub, endpoint, barrier))
        thread.close()
        done.append(variant.id)

    for variant in variants:
        variant.load()
    threads = [threading.Thread(target=use, args=(variant,), daemon=True) for variant in variants]
    for thread in threads:
        thread.start()
    barrier.wait()
    host.cut()
    barrier.wait()
    host.restore()
    for thread in threads:
        thread.join(PATIENCE)
    return done


def come_through(contract_hub: Any, endpoint: str, barrier: threading.Barrier) -> None:
    from support.load import Load, connect
    from support.sockets import open_context, tick

    import greenzmq

    hub = greenzmq.GreenHub.of(contract_hub)
    with open_context(hub) as context:
        options = {"heartbeat_ivl": HEARTBEAT, "heartbeat_timeout": SILENCE, "connect_timeout": CONNECT}
        dealer = connect(context, endpoint, **options)
        with greenzmq.monitor_events(dealer, zmq.EVENT_DISCONNECTED) as events:
            load = Load(hub, dealer)
            load.wait_for_more()
            hub.run_in_thread(barrier.wait)
            assert next(events)["event"] == zmq.EVENT_DISCONNECTED
            tick(hub, *load.tasks)
            hub.run_in_thread(barrier.wait)
            load.wait_for_more()
            load.end()
