"""The program of test_tracker.py where `threading` is patched: trackers wait on the runtime's hub."""

from __future__ import annotations

import importlib
from typing import Any

import zmq


def run(runtime: str) -> None:
    """Wait for zero-copy messages: in vain, then with a ticker beside, then many times over."""
    namespace: Any = importlib.import_module(f"greenzmq.{runtime}")
    hub = namespace.hub()

    def main() -> None:
        context = namespace.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind("inproc://trackers")
        pull.connect("inproc://trackers")
        tracker = push.send(bytes(100_000), copy=False, track=True)
        try:
            tracker.wait(0.01)
        except zmq.NotDone:
            print("not done")
        waiting = hub.spawn(tracker.wait)
        for _ in range(20):
            hub.sleep(0.001)
        print("waits" if not waiting.done else "returned")
        pull.recv()
        waiting.get(20)
        for _ in range(200):
            waiting = hub.spawn(push.send(bytes(100_000), copy=False, track=True).wait)
            hub.sleep()
            pull.recv()
            waiting.get(20)
        context.destroy(linger=0)
        print("done")

    hub.run(main)
