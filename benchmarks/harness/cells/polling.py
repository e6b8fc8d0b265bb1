"""Pollers: the cost of one poll with many sockets or descriptors registered and one of them ready."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import zmq

from .job import Job, connect, listen, pair

if TYPE_CHECKING:
    from .runtimes import Runtime

__all__ = ["poll_descriptors", "poll_ready", "poll_waiting"]


def take_turns(push: Any, poller: Any, pull: Any, count: int, spent: list[float]) -> None:
    began = time.perf_counter()
    for _ in range(count):
        push.send(b"")
        ready = poller.poll()
        if len(ready) != 1:
            raise AssertionError(f"{len(ready)} sockets are ready, not one")
        pull.recv()
    spent[0] = time.perf_counter() - began


async def take_turns_async(push: Any, poller: Any, pull: Any, count: int, spent: list[float]) -> None:
    began = time.perf_counter()
    for _ in range(count):
        await push.send(b"")
        ready = await poller.poll()
        if len(ready) != 1:
            raise AssertionError(f"{len(ready)} sockets are ready, not one")
        await pull.recv()
    spent[0] = time.perf_counter() - began


def poll_ready(runtime: Runtime, *, sockets: int, count: int) -> Job:
    """One task: send to one of many sockets that a poller has registered, poll, receive."""
    push, poller, pull = _registered(runtime, sockets)
    body = runtime.pick(take_turns, take_turns_async, take_turns)
    spent = [0.0]
    return Job([(body, push, poller, pull, count, spent)], lambda seconds: _per_turn(spent[0], count))


def poll_and_answer(poller: Any, pull: Any, answer: Any, count: int) -> None:
    for _ in range(count):
        poller.poll()
        answer.send(pull.recv())


def send_and_wait(push: Any, answered: Any, count: int) -> None:
    for _ in range(count):
        push.send(b"")
        answered.recv()


async def poll_and_answer_async(poller: Any, pull: Any, answer: Any, count: int) -> None:
    for _ in range(count):
        await poller.poll()
        await answer.send(await pull.recv())


async def send_and_wait_async(push: Any, answered: Any, count: int) -> None:
    for _ in range(count):
        await push.send(b"")
        await answered.recv()


def poll_waiting(runtime: Runtime, *, sockets: int, count: int) -> Job:
    """Two tasks: one sends to one of many sockets, the other is waiting in `poll`, receives and answers."""
    push, poller, pull = _registered(runtime, sockets)
    answer, answered = pair(runtime, "PUSH", "PULL", "inproc")
    tasks = [
        (runtime.pick(poll_and_answer, poll_and_answer_async), poller, pull, answer, count),
        (runtime.pick(send_and_wait, send_and_wait_async), push, answered, count),
    ]
    return Job(tasks, lambda seconds: _per_turn(seconds, count))


def poll_often(poller: Any, count: int, spent: list[float]) -> None:
    began = time.perf_counter()
    for _ in range(count):
        ready = poller.poll()
        if len(ready) != 1:
            raise AssertionError(f"{len(ready)} descriptors are ready, not one")
    spent[0] = time.perf_counter() - began


async def poll_often_async(poller: Any, count: int, spent: list[float]) -> None:
    began = time.perf_counter()
    for _ in range(count):
        ready = await poller.poll()
        if len(ready) != 1:
            raise AssertionError(f"{len(ready)} descriptors are ready, not one")
    spent[0] = time.perf_counter() - began


def poll_descriptors(runtime: Runtime, *, descriptors: int, count: int) -> Job:
    """One task: poll many plain descriptors, one of which is readable all the time."""
    poller = runtime.zmq.Poller()
    # Not copies of one descriptor: the kernel refuses a set that has the same file more than 500 times, in another set.
    pipes = [os.pipe() for _ in range(descriptors)]
    os.write(pipes[descriptors // 2][1], b"x")
    for descriptor, _ in pipes:
        poller.register(descriptor, zmq.POLLIN)
    spent = [0.0]
    body = runtime.pick(poll_often, poll_often_async, poll_often)
    return Job([(body, poller, count, spent)], lambda seconds: _per_turn(spent[0], count))


def _registered(runtime: Runtime, sockets: int) -> tuple[Any, Any, Any]:
    runtime.context.set(zmq.MAX_SOCKETS, sockets + 16)
    poller = runtime.zmq.Poller()
    bound = [listen(runtime, "PULL", "inproc") for _ in range(sockets)]
    for socket, _ in bound:
        poller.register(socket, zmq.POLLIN)
    pull, address = bound[sockets // 2]
    return connect(runtime, "PUSH", address), poller, pull


def _per_turn(seconds: float, count: int) -> dict[str, float]:
    return {"us": seconds / count * 1e6}
