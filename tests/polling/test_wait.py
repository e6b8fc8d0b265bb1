"""`greenzmq.wait`: the first of things of all kinds that is ready."""

from __future__ import annotations

import asyncio
import math
import os

import pytest
import zmq
from support.sockets import connected, fill, never_switches, open_context, tick

import greenzmq
import greenzmq.aio


def test_whatever_can_be_waited_for(hub):
    """Sockets, queues, events, tasks, groups, pools, descriptors and files: each is returned as it was given."""
    end, other_end = os.pipe()
    with open_context(hub) as context, open(end, "rb", buffering=0) as file:
        pull, push = connected(context, zmq.PULL, zmq.PUSH)
        items, event, gate = greenzmq.Queue(), greenzmq.GreenEvent(), greenzmq.GreenEvent()
        task = hub.spawn(gate.wait)
        makes_ready = {
            pull: lambda: push.send(b"message"),
            items: lambda: items.put(1),
            event: event.set,
            task: gate.set,
            file: lambda: os.write(other_end, b"x"),
        }
        things = list(makes_ready)
        assert greenzmq.wait(things, 0) == []
        for thing, make_ready in makes_ready.items():
            waiting = hub.spawn(greenzmq.wait, things)
            tick(hub, waiting)
            make_ready()
            assert waiting.get(5) == [thing]
            things.remove(thing)
        assert greenzmq.wait(makes_ready, 5) == list(makes_ready)
        with never_switches():
            assert greenzmq.wait([end], 0) == [end]
    os.close(other_end)


def test_events_of_a_socket(hub):
    """A socket is waited for to be read, unless its events are named; one thing may be named twice."""
    with open_context(hub) as context:
        pull, push = connected(context, zmq.PULL, zmq.PUSH, sndhwm=1, rcvhwm=1)
        assert greenzmq.wait([push], 0) == []
        assert greenzmq.wait([(push, zmq.POLLOUT), push]) == [push]
        fill(push)
        waiting = hub.spawn(greenzmq.wait, [(push, zmq.POLLOUT)])
        tick(hub, waiting)
        pull.recv()
        pull.recv()
        assert waiting.get(5) == [push]


def test_timeouts(hub):
    """Seconds, of which no part is lost; 0 and less do not wait; infinity is for ever."""
    event = greenzmq.GreenEvent()
    assert greenzmq.wait([event], 0.0001) == []
    assert greenzmq.wait([event], -1) == []
    with never_switches():
        assert greenzmq.wait([event], 0) == []
    assert greenzmq.wait([]) == []
    for seconds in (None, math.inf):
        waiting = hub.spawn(greenzmq.wait, [event], seconds)
        tick(hub, waiting)
        event.set()
        assert waiting.get(5) == [event]
        event.clear()


def test_a_kill_leaves_nothing(hub):
    """Whoever waits next is told of what the killed one was not."""
    items = greenzmq.Queue()
    waiting = hub.spawn(greenzmq.wait, [items])
    tick(hub, waiting)
    waiting.kill(block=False)
    items.put(1)
    assert greenzmq.wait([items]) == [items]
    waiting.join()
    assert items._links == {}


@pytest.mark.parametrize(("things", "error"), [([object()], TypeError), (None, TypeError)])
def test_wrong_things(hub, things, error):
    """What cannot be waited for is told."""
    with pytest.raises(error):
        greenzmq.wait(things, 0)
    with pytest.raises(TypeError, match=r"wait\(\) takes a number of seconds"):
        greenzmq.wait([], "1")


@pytest.mark.runtime("asyncio", "eventlet", "gevent", "selector", "threading")
def test_each_namespace_waits_on_its_hub(hub):
    """`wait` of a namespace; in greenzmq.aio it is awaited."""
    event = greenzmq.GreenEvent()
    waiting = hub.spawn(greenzmq.namespace(hub.name).wait, [event])
    tick(hub, waiting)
    event.set()
    assert waiting.get(5) == [event]


def test_wait_in_a_coroutine():
    """It gives an awaitable, and the loop goes on."""

    async def program() -> None:
        items: greenzmq.Queue[int] = greenzmq.Queue()
        asyncio.get_running_loop().call_later(0.01, items.put, 1)
        assert await greenzmq.aio.wait([items]) == [items]
        assert await greenzmq.aio.wait([items], 0) == [items]

    asyncio.run(program())
