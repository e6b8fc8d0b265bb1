"""The program of test_fork_threads: forks while threads use shared sockets, and hold their locks."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import Any

import zmq as pyzmq

import greenzmq
import greenzmq.threading as zmq

FORKS = 20


def child(pull: Any, tasks: list[Any]) -> None:
    """What was the parent's is refused, and new things work."""
    hub = zmq.hub()
    for call in (pull.recv, lambda: pull.get(pyzmq.EVENTS), lambda: pull.send(b"x")):
        try:
            call()
        except pyzmq.ZMQError:
            pass
        else:
            raise AssertionError(f"{call} works")
    pull.close()
    assert all(task.join(5) for task in tasks), "the parent's threads are not here, so nobody may wait for them"
    context = zmq.Context()
    left, right = context.socket(pyzmq.PAIR), context.socket(pyzmq.PAIR)
    left.bind("inproc://child")
    right.connect("inproc://child")
    answering = hub.spawn(lambda: left.send(left.recv()))
    right.send(b"question")
    assert right.recv() == b"question"
    answering.get(5)
    context.destroy(linger=0)


def in_child(call: Callable[[], None]) -> int:
    """The status of a forked child that makes this call."""
    pid = os.fork()
    if not pid:
        try:
            with zmq.hub().timeout(20):
                call()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def run() -> None:
    def program() -> None:
        hub, context = zmq.hub(), zmq.Context()
        pull, push = context.socket(pyzmq.PULL), context.socket(pyzmq.PUSH)
        pull.bind("inproc://parent")
        push.connect("inproc://parent")
        ended: list[int] = []

        def send() -> None:
            while not ended:
                push.send(b"m")

        def receive() -> int:
            received = 0
            while pull.recv() == b"m":
                received += 1
            return received

        senders, receivers = [hub.spawn(send) for _ in range(2)], [hub.spawn(receive) for _ in range(2)]
        for _ in range(FORKS):
            hub.sleep(0.005)
            assert in_child(lambda: child(pull, [*senders, *receivers])) == 0, "the child failed"
        ended.append(1)
        for task in senders:
            task.get()
        for _ in receivers:
            push.send(b"end")
        assert all(task.get() > 0 for task in receivers)
        print("all right")

    greenzmq.main(program, hub="threading")


if __name__ == "__main__":
    run()
